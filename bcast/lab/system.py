"""What a lab needs of the system: its tools, and why it may refuse."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from bcast.errors import LabError

__all__ = [
    "HOLDS",
    "SYSTEM_FOLDERS",
    "check_proc",
    "entrance",
    "has_tool",
    "kernel_has_ipv6",
    "not_linux",
    "powerless",
    "refusal",
    "tool",
]

#: The command that holds a namespace, which does nothing.
HOLDS = "sleep infinity"
#: Ordinary users often don't have these folders in PATH, but `ip` may be there.
SYSTEM_FOLDERS = ("/usr/sbin", "/sbin")
_PACKAGES = {
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "tc": "iproute2",
    "unshare": "util-linux",
}
_NOBODY = 65534


def tool(name: str) -> str:
    """The path of a command. Raises `LabError` with the package to install."""
    found = _find(name)
    if found is None:
        raise LabError(f"there is no command {name}", f"install {_PACKAGES[name]}")
    return found


def has_tool(name: str) -> bool:
    """Whether there is such a command."""
    return _find(name) is not None


def _find(name: str) -> str | None:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS])
    return shutil.which(name, path=path)


def not_linux() -> LabError:
    """The error of every other system."""
    return LabError("a lab needs Linux: it is made of network namespaces")


def check_proc() -> None:
    """Raises `LabError` where processes have other ids than in /proc, by which a lab ends them."""
    try:
        known = os.readlink("/proc/self")
    except OSError as error:
        raise LabError(f"/proc can't be read: {error.strerror}", "mount it") from None
    if known != str(os.getpid()):
        raise LabError(
            "/proc is that of another process namespace",
            "mount the own one; inside a lab, use that lab's hosts",
        )


def refusal(privileged: bool) -> str:
    """What to do about a system that refuses namespaces: the settings that forbid them."""
    if privileged:
        return "root needs CAP_SYS_ADMIN for it: run the container with --privileged"
    for name, forbids, remedy in (
        ("kernel/unprivileged_userns_clone", "0", "1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
        ("user/max_user_namespaces", "0", "10000"),
    ):
        try:
            value = Path("/proc/sys", name).read_text().strip()
        except OSError:
            continue
        if value == forbids:
            setting = name.replace("/", ".")
            return f"{setting} is {value}; as root, sysctl -w {setting}={remedy} allows it"
    return "a container forbids it by default: run it with --security-opt seccomp=unconfined"


def entrance(pid: int) -> list[str]:
    """The beginning of a command line that runs on the host which ``pid`` holds.

    From inside the lab as from outside: only those namespaces are entered that we aren't in, so
    that from inside the command has our own process id. Raises `LabError` if it is gone.
    """
    if sys.platform != "linux":
        raise not_linux()
    gone = f"there is no lab with process {pid} any more, or it is somebody else's"
    try:
        # Another process may have its id by now, and its network could be the machine's.
        line = Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").replace("\0", " ")
        if line != HOLDS:
            raise LabError(gone)
    except OSError:
        raise LabError(gone) from None
    enter = [tool("nsenter"), "--target", str(pid), "--net"]
    for name, option in (("user", ["--user", "--preserve-credentials"]), ("pid", ["--pid"])):
        try:
            ours, theirs = (os.stat(f"/proc/{one}/ns/{name}") for one in ("self", str(pid)))
        except OSError:
            raise LabError(gone) from None
        if (ours.st_dev, ours.st_ino) != (theirs.st_dev, theirs.st_ino):
            enter += option
    return [*enter, "--"]


def powerless() -> list[str]:
    """Arguments of unshare that take a command every capability over the lab's network.

    In a user namespace below the one that owns the network there are none to be had, whatever
    the command then does. It shows the caller's own ids; root would show 0, and is nobody.
    """
    if sys.platform != "linux":
        raise not_linux()
    user, group = os.getuid() or _NOBODY, os.getgid() or _NOBODY
    return ["--user", f"--map-user={user}", f"--map-group={group}"]


def kernel_has_ipv6() -> bool:
    """Whether interfaces can have IPv6 addresses."""
    return os.path.exists("/proc/net/if_inet6")
