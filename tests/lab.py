"""A LAN of the real kernel: hosts, bridges and cables on one Linux machine, without root.

::

    with Lab() as lab:                               # as an ordinary user
        blue = lab.network("blue", subnet="10.9.1.0/24")
        a, b = lab.host("a"), lab.host("b")
        a.connect(blue)                              # eth0, 10.9.1.1/24, fe80::...
        b.connect(blue)
        listener = b.start(["bcast", "listen"])
        listener.wait_for("listening")
        a.run(["bcast", "send", "hello"])

A host is a network namespace, a network is a bridge in a namespace of its own, a cable is a
veth pair. The file system and /sys are the machine's. So is /proc, except for /proc/net and
/proc/sys/net: a command finds itself there as /proc/self, not by what it takes for its id.

**Rootless** (the default) everything lives in a user namespace that the caller's own user owns.
Commands run as that user, without any capability over the network: in a user namespace below the
one that owns it. (Root's show up as uid 65534; they still own root's files, and may write
/proc/sys/net.) `Namespace.setup` runs with all capabilities. **Privileged**, there is no user
namespace, and commands run as root with root's capabilities.

**Nothing is left behind.** All processes live in a process namespace whose first process reads a
pipe that only the caller holds the other end of: when the lab is closed, or its process dies
(also of SIGKILL), that process ends and the kernel kills all others, daemons included. The
network namespaces have no other holder, no name in /run/netns and no mount.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    ip_address,
)
from itertools import count
from pathlib import Path
from typing import IO, Self

import bcast
from bcast.errors import ArgumentError, BcastError

__all__ = [
    "Host",
    "Lab",
    "LabError",
    "Link",
    "Namespace",
    "Network",
    "Running",
    "lab_unavailable",
]

#: The lab's first process: prints its process id, then makes a network namespace for each line
#: it reads (the commands that set it up) and prints the process id of what holds it, or none.
_HOLDER = """
read -r pid rest </proc/self/stat; echo "=$pid"
while read -r setup; do
    unshare --net sh -ec "$setup"'
        read -r pid rest </proc/self/stat; echo "=$pid"
        exec sleep infinity >/dev/null 2>&1' 2>&1 || echo = &
done
"""
#: Namespaces inherit these from the machine; where /proc/sys is read-only they stay as they are.
_FORGET_MACHINE = "; ".join(
    f"{{ echo 0 >/proc/sys/net/ipv4/{name}; }} 2>/dev/null || :"
    for name in ("ip_forward", "conf/all/rp_filter", "conf/default/rp_filter")
)
_PACKAGES = {"ip": "iproute2", "nsenter": "util-linux", "unshare": "util-linux"}
#: Ordinary users often don't have these folders in PATH, but `ip` may be there.
_SYSTEM_FOLDERS = ("/usr/sbin", "/sbin")
_BRIDGE = "bridge"
_NOBODY = 65534
_NEXT = "next"


class LabError(BcastError):
    """The lab can't be made, or a command in it failed, or didn't do in time what it should."""


@dataclass(frozen=True, slots=True)
class Link:
    """One end of a cable: the interface ``name`` on the host of that name.

    ``index`` and ``hardware_address`` are unique in the lab. ``link_local``, which has no scope
    here, is None without IPv6.
    """

    host: str
    name: str
    index: int
    hardware_address: str
    address: IPv4Interface | None
    link_local: IPv6Address | None
    unique_local: IPv6Interface | None


class Running:
    """A command that was started and may still run. Its output is read as it comes.

    As a context manager it is killed at the end of the block.
    """

    def __init__(self, process: subprocess.Popen[str], what: str) -> None:
        self._process = process
        self._what = what
        self._changed = threading.Condition()
        self._lines: list[tuple[bool, str]] = []  # (is it an error line, line with its end)
        self._returned: set[int] = set()
        self._open_streams = 2
        self._readers = [
            threading.Thread(target=self._read, args=(process.stdout, False), daemon=True),
            threading.Thread(target=self._read, args=(process.stderr, True), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The command's process id as the caller's system counts (inside the lab it differs)."""
        while (child := _child_of(self._process.pid)) is None:
            if self.status is not None:
                raise LabError(f"{self._what} is no longer running")
            time.sleep(0.001)
        return child

    @property
    def status(self) -> int | None:
        """None while it runs; its exit status; or minus the signal that it died of."""
        return self._process.poll()

    def output(self) -> str:
        """What it wrote to stdout so far."""
        return self._written(errors=False)

    def errors(self) -> str:
        """What it wrote to stderr so far."""
        return self._written(errors=True)

    def wait_for(self, text: str, *, timeout: float = 5.0) -> str:
        """The next line of stdout or stderr that contains ``text``, without its line end.

        Lines that were written before count, each line is returned once. Raises `LabError` when
        there was none after ``timeout`` seconds, or the command ended without it.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            seen = 0
            while True:
                for number in range(seen, len(self._lines)):
                    line = self._lines[number][1]
                    if number not in self._returned and text in line:
                        self._returned.add(number)
                        return line.rstrip("\r\n")
                seen = len(self._lines)
                remaining = deadline - time.monotonic()
                if not self._open_streams or remaining <= 0:
                    break
                self._changed.wait(remaining)
            ended = not self._open_streams
            written = "".join(line for _, line in self._lines)
        when = "before it ended" if ended else f"within {timeout:g} s"
        raise LabError(f"{self._what} wrote no {text!r} {when}; it wrote: {written or 'nothing'}")

    def wait(self, *, timeout: float = 10.0) -> int:
        """Its exit status (minus the signal that it died of). Raises `LabError` on timeout."""
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self._what} was still running after {timeout:g} s") from None
        for reader in self._readers:
            reader.join(timeout=1.0)  # something that it left running may hold them open
        return status

    def send_signal(self, number: int) -> None:
        """Sends it a signal; nothing if it has ended."""
        try:
            os.kill(self.pid, number)
        except (LabError, ProcessLookupError):
            pass

    def interrupt(self, *, timeout: float = 5.0) -> int:
        """Like `terminate`, with what Ctrl-C sends (SIGINT)."""
        return self._end(signal.SIGINT, timeout)

    def terminate(self, *, timeout: float = 5.0) -> int:
        """Sends SIGTERM, and returns its exit status (minus the signal that it died of).

        Raises `LabError` when it didn't end within ``timeout`` seconds; then it is killed.
        """
        return self._end(signal.SIGTERM, timeout)

    def kill(self) -> None:
        """Kills it and its process group, and waits until it is gone."""
        _kill(self._process)
        self._finish()

    def _end(self, number: signal.Signals, timeout: float) -> int:
        self.send_signal(number)
        try:
            return self.wait(timeout=timeout)
        except LabError:
            self.kill()
            raise LabError(
                f"{self._what} didn't end within {timeout:g} s of {number.name}, and was killed"
            ) from None

    def _finish(self) -> None:
        """Waits for what was killed, and closes its pipes."""
        self._process.wait()
        for reader in self._readers:
            reader.join(timeout=5.0)
        with self._changed:
            if self._open_streams:
                return  # a daemon that it started has them; the lab's end closes them
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def _read(self, stream: IO[str], errors: bool) -> None:
        for line in stream:
            with self._changed:
                self._lines.append((errors, line))
                self._changed.notify_all()
        with self._changed:
            self._open_streams -= 1
            self._changed.notify_all()

    def _written(self, *, errors: bool) -> str:
        with self._changed:
            return "".join(line for is_error, line in self._lines if is_error is errors)


class Namespace:
    """A network namespace of a lab, in which commands can run: a host, or the place of a bridge.

    Made by `Lab.host` and `Lab.network`. ``pid`` is the process that holds it.
    """

    def __init__(self, lab: Lab, name: str, pid: int) -> None:
        self._lab = lab
        self.name = name
        self.pid = pid

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def run(
        self,
        args: Sequence[str],
        *,
        input: str | None = None,
        timeout: float = 10.0,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        capable: bool | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end; its output is text (UTF-8, whatever isn't is replaced).

        ``env`` adds to the caller's environment. ``capable`` says whether it has all capabilities
        over the lab's network, or none; by default as `Lab` says. Raises `LabError` when the
        command doesn't exist, doesn't end within ``timeout`` seconds (then it is killed, with its
        process group) or, with ``check``, its exit status isn't 0.
        """
        process = self._spawn(args, env=env, capable=capable, feed=input is not None)
        with process:
            try:
                output, errors = process.communicate(input, timeout)
            except subprocess.TimeoutExpired:
                _kill(process)
                raise LabError(
                    f"{self._saying(args)} was still running after {timeout:g} s",
                    f"it wrote: {_rest_of(process)}",
                ) from None
            except BaseException:
                _kill(process)
                raise
        status = process.returncode
        if check and status:
            ended = f"ended with status {status}"
            if status < 0:
                ended = f"was killed by {signal.Signals(-status).name}"
            said = errors.strip() or output.strip() or "it wrote nothing"
            raise LabError(f"{self._saying(args)} {ended}", said)
        return subprocess.CompletedProcess(list(args), status, output, errors)

    def start(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        capable: bool | None = None,
    ) -> Running:
        """Starts a command, which is killed with all it started when the lab is closed.

        The arguments are those of `run`. Raises `LabError` when the command doesn't exist.
        """
        process = self._spawn(args, env=env, capable=capable, feed=False)
        running = Running(process, self._saying(args))
        self._lab._running.append(running)
        return running

    def python(
        self,
        code: str,
        *args: str,
        input: str | None = None,
        timeout: float = 10.0,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        capable: bool | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """`run` with this interpreter, ``code`` and its ``sys.argv[1:]``; it can import bcast."""
        command = [sys.executable, "-c", code, *args]
        env = _with_bcast(env)
        return self.run(
            command, input=input, timeout=timeout, check=check, env=env, capable=capable
        )

    def start_python(
        self,
        code: str,
        *args: str,
        env: Mapping[str, str] | None = None,
        capable: bool | None = None,
    ) -> Running:
        """`start` as `python` runs. What it prints comes at once (PYTHONUNBUFFERED)."""
        env = {"PYTHONUNBUFFERED": "1", **_with_bcast(env)}
        return self.start([sys.executable, "-c", code, *args], env=env, capable=capable)

    def setup(self, *commands: str, timeout: float = 10.0) -> str:
        """Runs command lines (``"ip link set eth0 down"``) in order, with all capabilities.

        Quoted as in a shell, but there is none. Returns what they wrote to stdout. Raises
        `LabError` at the first that fails.
        """
        path = os.environ.get("PATH", os.defpath)
        env = {"PATH": os.pathsep.join((path, *_SYSTEM_FOLDERS)), "LC_ALL": "C"}
        return "".join(
            self.run(shlex.split(line), timeout=timeout, env=env, capable=True).stdout
            for line in commands
        )

    def set_sysctl(self, name: str, value: int | str) -> None:
        """Sets a kernel setting of this namespace: ``net.ipv4.igmp_max_memberships``.

        With slashes instead of dots where an interface's name has a dot. Raises `ArgumentError`
        for one that isn't a namespace's but the machine's, `LabError` when it can't be written.
        """
        path = name if "/" in name else name.replace(".", "/")
        if not path.startswith(("net/ipv4/", "net/ipv6/")) or ".." in path:
            raise ArgumentError(f"{name} isn't a setting of a network namespace")
        script = 'printf "%s" "$1" >"/proc/sys/$2"'
        self.run(["sh", "-c", script, "sh", str(value), path], capable=True)

    def _batch(self, lines: Sequence[str]) -> None:
        """Runs several `ip` commands in one process."""
        ip = _tool("ip")
        self.run([ip, "-batch", "-"], input="\n".join(lines) + "\n", capable=True)

    def _spawn(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None,
        capable: bool | None,
        feed: bool,
    ) -> subprocess.Popen[str]:
        lab = self._lab
        lab._require_open()
        environment = {**os.environ, **(env or {})}
        # The file system is the machine's, so the command can be looked for here.
        if not args or shutil.which(args[0], path=environment.get("PATH")) is None:
            raise LabError(f"on {self.name} there is no command {args[0] if args else ''!r}")
        enter = [_tool("nsenter"), "--target", str(self.pid), "--net", "--pid"]
        if not lab.privileged:
            enter += ["--user", "--preserve-credentials"]
        if not (lab.privileged if capable is None else capable):
            enter += [_tool("unshare"), *_powerless(), "--"]
        return subprocess.Popen(
            [*enter, *args],
            stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )

    def _saying(self, args: Sequence[str]) -> str:
        line = shlex.join(args).replace("\n", " ")
        return f"on {self.name}, {line if len(line) <= 100 else line[:97] + '...'}"


class Network(Namespace):
    """A bridge named ``bridge``, in a namespace that has no address of its own.

    Each of its ports is named after the index of the interface at the other end: ``port101``.
    ``subnet`` is where hosts get their addresses from.
    """

    def __init__(self, lab: Lab, name: str, pid: int, subnet: IPv4Network) -> None:
        super().__init__(lab, name, pid)
        self.subnet = subnet
        self._hosts = subnet.hosts()
        self._taken: set[IPv4Address] = set()

    def _address(self, wanted: str | None) -> IPv4Interface | None:
        if wanted is None:
            return None
        length = self.subnet.prefixlen
        if wanted != _NEXT:
            address = _ipv4(wanted if "/" in wanted else f"{wanted}/{length}")
            self._taken.add(address.ip)
            return address
        for host in self._hosts:
            if host not in self._taken:
                return IPv4Interface((host, length))
        raise LabError(f"network {self.name} ({self.subnet}) has no free address left")


class Host(Namespace):
    """A host of the lab: no interface but the loopback one until it is connected."""

    def __init__(self, lab: Lab, name: str, pid: int) -> None:
        super().__init__(lab, name, pid)
        self.links: list[Link] = []

    def connect(
        self,
        network: Network,
        *,
        name: str | None = None,
        address: str | None = _NEXT,
        ipv6: bool = True,
        unique_local: str | None = None,
    ) -> Link:
        """Connects this host to a network by a new interface, which can be used at once.

        ``name`` defaults to the next of eth0, eth1, ... ``address`` is an IPv4 address, with or
        without prefix length, ``"next"`` for the network's next free one, or None for none.
        Without ``ipv6`` it has no IPv6 address; with it a link-local one, and ``unique_local``
        (with prefix length) where that is given. No duplicate address detection delays them.
        Raises `ArgumentError` for what isn't an address, `LabError` when the system refuses.
        """
        link = self._lab._link(
            self, name or self._free_name(), network._address(address), ipv6, unique_local
        )
        port, port_index = f"port{link.index}", next(self._lab._indexes)
        network._batch(
            [
                f"link add name {port} index {port_index} type veth peer {_end(link)} "
                f"netns /proc/{self.pid}/ns/net",
                *_quiet(port),
                f"link set {port} master {_BRIDGE} up",
            ]
        )
        self._plug(link)
        return link

    def default_route(self, via: str) -> None:
        """Routes all that isn't on its networks to a gateway's address, or out of an interface.

        The address's family is the route's family; by an interface it is an IPv4 route.
        """
        try:
            family, by = f"-{ip_address(via).version}", "via"
        except ValueError:
            family, by = "-4", "dev"
        self.run([_tool("ip"), family, "route", "replace", "default", by, via], capable=True)

    def _free_name(self) -> str:
        taken = {link.name for link in self.links}
        return next(name for number in count() if (name := f"eth{number}") not in taken)

    def _plug(self, link: Link) -> None:
        """Brings up an interface that exists, with its addresses."""
        name = link.name
        lines = [*_quiet(name), f"link set {name} up"]
        if link.address is not None:
            broadcast = "brd +" if link.address.network.prefixlen < 31 else ""
            lines.append(f"addr add {link.address} {broadcast} dev {name}")
        if link.link_local is not None:
            lines.append(f"addr add {link.link_local}/64 dev {name} nodad")
        if link.unique_local is not None:
            lines.append(f"addr add {link.unique_local} dev {name} nodad")
        self._batch(lines)
        self.links.append(link)


class Lab:
    """A LAN of the real kernel, rootless or ``privileged`` (see the module).

    A context manager; or `open` and `close` it. Raises `LabError` where the system doesn't allow
    one (`lab_unavailable` asks beforehand). One thread at a time may build it; commands may be
    run from several. Once closed it stays closed.
    """

    def __init__(self, *, privileged: bool = False) -> None:
        self.privileged = privileged
        #: The lab's first process, as the machine counts; 0 before it is opened.
        self.pid = 0
        self.hosts: dict[str, Host] = {}
        self.networks: dict[str, Network] = {}
        #: No two interfaces share an index, so that an index that strayed from another host is
        #: noticed. Above those that the kernel gives itself.
        self._indexes = count(101)
        self._running: list[Running] = []
        self._holder: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Makes the empty lab. Raises `LabError` with the reason when the system refuses."""
        if sys.platform != "linux":
            raise _not_linux()
        if self.pid:
            raise LabError("a lab can be opened once", "make another one")
        if self.privileged and os.geteuid() != 0:
            raise LabError("a privileged lab needs root", "use Lab() without privileged")
        tools = [_tool(name) for name in ("unshare", "nsenter", "ip")]
        folders = dict.fromkeys(os.path.dirname(tool) for tool in tools)
        path = os.pathsep.join([os.environ.get("PATH", os.defpath), *folders])
        user = [] if self.privileged else ["--user", "--map-root-user"]
        self._holder = subprocess.Popen(
            [tools[0], *user, "--pid", "--fork", "--kill-child", "sh", "-c", _HOLDER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": path, "LC_ALL": "C"},
            encoding="utf-8",
            errors="replace",
            bufsize=1,
            cwd="/",
            start_new_session=True,
        )
        try:
            self.pid = self._read_pid("the system refuses to make namespaces")
        except LabError as error:
            self.close()
            raise LabError(error.message, _refusal(self.privileged)) from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Kills all that runs in the lab; its namespaces and cables vanish with it.

        When it returns, none of its processes is left. Closing twice is harmless.
        """
        holder, self._holder = self._holder, None
        if holder is None:
            return
        with holder:
            assert holder.stdin is not None
            holder.stdin.close()
            try:
                holder.wait(timeout=5.0)
            except subprocess.TimeoutExpired:
                holder.kill()  # and unshare's --kill-child kills the rest
        for running in self._running:
            running._finish()
        self._running.clear()

    def host(self, name: str, *, loopback: bool = True) -> Host:
        """A new host, connected to nothing; ``loopback`` says whether its lo is up."""
        self._require_new(name, self.hosts)
        commands = [_FORGET_MACHINE]
        if loopback:
            commands.append("ip link set lo up")
        host = self.hosts[name] = Host(self, name, self._namespace(commands))
        return host

    def network(self, name: str, *, subnet: str | None = None) -> Network:
        """A new network without hosts. ``subnet`` defaults to 10.9.1.0/24, 10.9.2.0/24, ..."""
        self._require_new(name, self.networks)
        index = next(self._indexes)
        try:
            network = IPv4Network(subnet or f"10.9.{len(self.networks) + 1}.0/24")
        except ValueError as error:
            raise ArgumentError(f"{subnet!r} isn't an IPv4 network: {error}") from None
        create = f"ip link add {_BRIDGE} index {index} address {_hardware(index)} type bridge"
        commands = [
            create,
            *(f"ip {line}" for line in _quiet(_BRIDGE)),
            f"ip link set {_BRIDGE} up",
        ]
        made = self.networks[name] = Network(self, name, self._namespace(commands), network)
        return made

    def wire(
        self,
        a: Host,
        a_name: str,
        b: Host,
        b_name: str,
        *,
        addresses: tuple[str, str] | None = None,
        ipv6: bool = True,
    ) -> tuple[Link, Link]:
        """Connects two hosts by a cable without a bridge; ``addresses`` with prefix lengths."""
        ours, theirs = (_ipv4(each) for each in addresses) if addresses else (None, None)
        left = self._link(a, a_name, ours, ipv6, None)
        right = self._link(b, b_name, theirs, ipv6, None)
        a._batch(
            [f"link add {_end(left)} type veth peer {_end(right)} netns /proc/{b.pid}/ns/net"]
        )
        a._plug(left)
        b._plug(right)
        return left, right

    def _link(
        self,
        host: Host,
        name: str,
        address: IPv4Interface | None,
        ipv6: bool,
        unique_local: str | None,
    ) -> Link:
        index = next(self._indexes)
        ipv6 = ipv6 and _kernel_has_ipv6()
        try:
            local = IPv6Interface(unique_local) if unique_local and ipv6 else None
        except ValueError as error:
            raise ArgumentError(f"{unique_local!r} isn't an IPv6 address: {error}") from None
        # The modified EUI-64 identifier of the hardware address (RFC 4291, appendix A).
        link_local = IPv6Address((0xFE80 << 112) + 0xFF_FE00_0000 + index) if ipv6 else None
        return Link(host.name, name, index, _hardware(index), address, link_local, local)

    def _namespace(self, commands: Sequence[str]) -> int:
        holder = self._require_open()
        assert holder.stdin is not None
        try:
            holder.stdin.write("; ".join(commands) + "\n")
        except BrokenPipeError:
            raise LabError("the lab's first process was killed") from None
        return self._read_pid("the system refuses a network namespace")

    def _read_pid(self, refused: str) -> int:
        holder = self._require_open()
        assert holder.stdout is not None
        said = []
        for line in holder.stdout:
            mark, _, pid = line.strip().partition("=")
            if pid and not mark:
                return int(pid)
            said.append(line.strip())
            if line.strip() == "=":
                break
        raise LabError(f"{refused} ({' '.join(said).rstrip(' =') or 'its process died'})")

    def _require_open(self) -> subprocess.Popen[str]:
        if self._holder is None:
            raise LabError("the lab isn't open", "use it in a with block")
        return self._holder

    def _require_new(self, name: str, taken: Mapping[str, Namespace]) -> None:
        if name in taken:
            raise ArgumentError(f"the lab has a {name!r} already", "choose another name")


@cache
def lab_unavailable(privileged: bool) -> str:
    """Why `Lab` doesn't work here, as a sentence; empty if it does. Tries it once (30 ms)."""
    try:
        with Lab(privileged=privileged) as lab:
            host = lab.host("trial")
            host.connect(lab.network("trial"))
            host.run(["true"])
    except LabError as error:
        return str(error)
    return ""


def _refusal(privileged: bool) -> str:
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


def _not_linux() -> LabError:
    return LabError("a lab needs Linux: it is made of network namespaces")


def _tool(name: str) -> str:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SYSTEM_FOLDERS])
    found = shutil.which(name, path=path)
    if found is None:
        raise LabError(f"there is no command {name}", f"install {_PACKAGES[name]}")
    return found


def _powerless() -> list[str]:
    """Arguments of unshare that take a command every capability over the lab's network.

    In a user namespace below the one that owns the network there are none to be had, whatever
    the command then does. It shows the caller's own ids; root would show 0, and is nobody.
    """
    if sys.platform != "linux":
        raise _not_linux()
    user, group = os.getuid() or _NOBODY, os.getgid() or _NOBODY
    return ["--user", f"--map-user={user}", f"--map-group={group}"]


def _with_bcast(env: Mapping[str, str] | None) -> dict[str, str]:
    """The environment in which Python finds this bcast, installed or not."""
    folder = str(Path(bcast.__file__).parent.parent)
    env = dict(env or {})
    others = env.get("PYTHONPATH", os.environ.get("PYTHONPATH"))
    return {**env, "PYTHONPATH": os.pathsep.join([folder, others] if others else [folder])}


def _ipv4(text: str) -> IPv4Interface:
    try:
        return IPv4Interface(text)
    except ValueError as error:
        raise ArgumentError(f"{text!r} isn't an IPv4 address: {error}") from None


def _kernel_has_ipv6() -> bool:
    return os.path.exists("/proc/net/if_inet6")


def _hardware(index: int) -> str:
    """A locally administered address, one for each index."""
    return f"02:00:00:00:{index >> 8:02x}:{index & 0xFF:02x}"


def _end(link: Link) -> str:
    return f"name {link.name} index {link.index} address {link.hardware_address}"


def _quiet(name: str) -> list[str]:
    """`ip` commands that keep the kernel from giving an interface an IPv6 address itself.

    That address would take 1 to 2 s of duplicate address detection.
    """
    return [f"link set {name} addrgenmode none"] if _kernel_has_ipv6() else []


def _child_of(parent: int) -> int | None:
    """The process id of a process's child, None if it has none."""
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return int(children[0]) if children else None
    except OSError:
        pass  # it is gone, or the kernel was built without this file
    for process in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = process.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            return int(process.parent.name)
    return None


def _kill(process: subprocess.Popen[str]) -> None:
    """Kills a command, then what is left of its process group.

    ``process`` is nsenter, which waits for the command that it forked. It must outlive that:
    otherwise the command's remains would fall to a process that may never collect them.
    """
    if sys.platform != "linux":
        raise _not_linux()
    while process.returncode is None:
        child = _child_of(process.pid)
        try:
            if child is not None:
                os.kill(child, signal.SIGKILL)
            # nsenter stops with its child, and would not see it die.
            os.kill(process.pid, signal.SIGCONT)
            ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if ended is not None:
                # Not collected yet, so that the group's number can't be anybody else's.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        except (ProcessLookupError, ChildProcessError):
            process.poll()
        time.sleep(0.001)


def _rest_of(process: subprocess.Popen[str]) -> str:
    """What a killed command has written."""
    try:
        output, errors = process.communicate(timeout=1.0)
    except subprocess.TimeoutExpired:  # a daemon that it started holds them open
        return "nothing that could be read"
    return errors.strip() or output.strip() or "nothing"
