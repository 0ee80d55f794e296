"""Entering network namespaces from within a program: sockets stay in the one they were opened in.

Linux only. Imports nothing of bcast: programs that know nothing of it use it too.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Sequence

__all__ = ["allow_files", "enter", "hosts", "open_places"]

_NETWORK = 0x4000_0000  # CLONE_NEWNET, linux/sched.h


def allow_files() -> None:
    """Allows this process as many open files as it may have: peers have several sockets each."""
    if sys.platform == "win32":
        raise NotImplementedError
    import resource

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def enter(place: int) -> None:
    """Moves the calling thread into the network namespace of a file descriptor."""
    _call("setns", place, _NETWORK)


def open_places(holder: int, numbers: Sequence[int]) -> list[int]:
    """File descriptors of the namespaces that another process holds (see `hosts`)."""
    return [os.open(f"/proc/{holder}/fd/{number}", os.O_RDONLY) for number in numbers]


def hosts(bridge: str, first: str, neighbours: str) -> None:
    """Makes hosts on a bridge of the own namespace, and holds them until it is killed.

    Each is a namespace that has no other holder than this process and the sockets in it.
    ``first`` is their addresses: ``10.9.1.0/20x400``. Each knows the ``neighbours``
    (``ADDRESS=HARDWARE``, separated by commas) beforehand, because what is measured isn't how
    long 400 hosts take to ask for one of them. Prints the file descriptors.
    """
    start, _, count = first.partition("x")
    address, _, length = start.partition("/")
    base = [int(part) for part in address.split(".")]
    me = os.readlink("/proc/self")
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    allow_files()
    places = []
    for number in range(int(count)):
        _call("unshare", _NETWORK)
        places.append(os.open("/proc/self/ns/net", os.O_RDONLY))
        try:
            # Without IPv6, so that there is one group to send to, and no address to wait for.
            with open("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w") as setting:
                setting.write("1")
        except OSError:
            pass  # no IPv6, or /proc/sys is read-only
        high, low = divmod(base[3] + number, 256)
        ip = f"{base[0]}.{base[1]}.{base[2] + high}.{low}"
        lines = [
            "link set lo up",
            f"link add eth0 type veth peer name host{number} netns /proc/{me}/fd/{own}",
            f"addr add {ip}/{length} brd + dev eth0",
            "link set eth0 up",
        ]
        for neighbour in neighbours.split(","):
            there, _, hardware = neighbour.partition("=")
            lines.append(f"neigh add {there} lladdr {hardware} nud permanent dev eth0")
        _ip(lines)
    enter(own)
    _ip([f"link set host{number} master {bridge} up" for number in range(int(count))])
    print("places", *places, flush=True)
    while True:
        time.sleep(3600)


def _ip(lines: Sequence[str]) -> None:
    """Runs `ip` commands where this process is now."""
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n", text=True, check=True)


def _call(name: str, *args: int) -> None:
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    if function(*args):
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


if __name__ == "__main__":
    hosts(*sys.argv[1:])
