"""The command `bcast` on the hosts of a lab, and witnesses that aren't bcast.

What the command says it did is checked against what a raw socket at the other end of the cable
saw, and what it says it received against what a plain socket sent.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import SystemRandom
from typing import Any, NamedTuple, TypeVar

import bcast
from bcast.lab import Host, Lab, Running, lab_unavailable

__all__ = [
    "ALL_HOSTS",
    "COMMAND",
    "FLOOD",
    "LISTENING",
    "PATIENCE",
    "Lan",
    "Sighting",
    "Wire",
    "any_lab",
    "datagrams",
    "end_listeners",
    "environment",
    "events",
    "eventually",
    "flood",
    "free_port",
    "heard",
    "in_shell",
    "listen",
    "pause",
    "proceed",
    "run_bcast",
    "say",
    "start_bcast",
    "two_networks",
]

_Found = TypeVar("_Found")

#: What starts the command.
COMMAND = (sys.executable, "-m", "bcast")
#: Seconds after which a test gives up: many, because machines are slow that do nothing but test.
PATIENCE = 20.0


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """What to add to a command's environment: this bcast, and complaints about what it leaks."""
    folder = str(Path(bcast.__file__).parent.parent)
    others = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([folder, others] if others else [folder])
    return {"PYTHONPATH": path, "PYTHONWARNINGS": "default::ResourceWarning", **(more or {})}


@contextmanager
def any_lab() -> Iterator[Lab]:
    """A lab of whichever kind can be had here. Commands run without capabilities in either."""
    with Lab(privileged=bool(lab_unavailable(False))) as lab:
        yield lab


def run_bcast(
    host: Host,
    *args: str,
    status: int = 0,
    input: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = PATIENCE,
) -> subprocess.CompletedProcess[str]:
    """Runs ``bcast ARGS`` without capabilities; it must end with ``status``, and in good order."""
    done = host.run(
        [*COMMAND, *args],
        check=False,
        input=input,
        env=environment(env),
        timeout=timeout,
        capable=False,
    )
    said = f"bcast {' '.join(args)} ended with {done.returncode}: {done.stdout}{done.stderr}"
    assert done.returncode == status, said
    assert "Traceback" not in done.stderr, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    return done


def start_bcast(
    host: Host, *args: str, until: str = "", env: Mapping[str, str] | None = None
) -> Running:
    """Starts ``bcast ARGS`` without capabilities, and waits until it writes ``until``."""
    running = host.start([*COMMAND, *args], env=environment(env), capable=False)
    if until:
        running.wait_for(until, timeout=PATIENCE)
    return running


def events(text: str) -> list[dict[str, Any]]:
    """The objects of JSON Lines, each with its event."""
    found = [json.loads(line) for line in text.splitlines()]
    assert all("event" in each for each in found)
    return found


def eventually(look: Callable[[], _Found | None], timeout: float = PATIENCE) -> _Found:
    """What ``look`` returns, once it is something."""
    deadline = time.monotonic() + timeout
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {timeout} s in vain"
        time.sleep(0.01)
    return found


def free_port() -> int:
    """A UDP port of this machine that nobody has now.

    It isn't one of those that the system gives to whoever needs any, beside us and meanwhile.
    """
    while True:
        port = SystemRandom().randrange(10_000, 28_000)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        return port


def in_shell(host: Host, script: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Runs a shell's command line, in which "$@" is the command and its arguments."""
    return host.run(
        ["sh", "-c", script, "sh", *COMMAND, *args],
        env=environment(),
        check=False,
        capable=False,
        timeout=PATIENCE,
    )


def pause(running: Running) -> None:
    """Stops a command of a lab in its tracks (SIGSTOP)."""
    if sys.platform == "win32":
        raise NotImplementedError
    os.kill(running.pid, signal.SIGSTOP)


def proceed(running: Running) -> None:
    """Lets it go on. nsenter, its parent, stops itself along with it and has to be told too."""
    if sys.platform == "win32":
        raise NotImplementedError
    stat = Path(f"/proc/{running.pid}/stat").read_text().rpartition(")")[2].split()
    os.kill(running.pid, signal.SIGCONT)
    eventually(lambda: Path(f"/proc/{stat[1]}/stat").read_text().rpartition(")")[2][1] == "T")
    os.kill(int(stat[1]), signal.SIGCONT)


class Sighting(NamedTuple):
    """A UDP datagram as it came over a cable."""

    source: str
    source_port: int
    destination: str
    port: int
    ttl: int
    payload: bytes


_WATCH = """
import json, signal, socket, struct, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as wire:
    wire.setblocking(False)
    wire.bind((sys.argv[1], 3))  # ETH_P_ALL
    print("watching", flush=True)
    signal.sigwait({signal.SIGTERM})
    while True:
        try:
            frame, (_, protocol, kind, *_) = wire.recvfrom(1 << 16)
        except BlockingIOError:
            break
        if kind == socket.PACKET_OUTGOING:
            continue
        if protocol == 0x0800 and frame[9] == 17:
            head = 4 * (frame[0] & 15)
            family, ttl, addresses = socket.AF_INET, frame[8], (frame[12:16], frame[16:20])
            assert not int.from_bytes(frame[6:8], "big") & 0x3FFF, "a fragment"
        elif protocol == 0x86DD and frame[6] in (17, 44):
            assert frame[6] == 17, "a fragment"
            head, family, ttl = 40, socket.AF_INET6, frame[7]
            addresses = (frame[8:24], frame[24:40])
        else:
            continue
        ports = struct.unpack_from("!HHH", frame, head)
        source, destination = (socket.inet_ntop(family, a) for a in addresses)
        payload = frame[head + 8 : head + ports[2]].hex()
        print(json.dumps([source, ports[0], destination, ports[1], ttl, payload]))
"""


class Wire:
    """Watches what arrives at an interface of a host, with a raw socket, from now on."""

    def __init__(self, host: Host, interface: str = "eth0") -> None:
        self._watching = host.start_python(_WATCH, interface, capable=True)
        self._watching.wait_for("watching", timeout=PATIENCE)

    def seen(self) -> list[Sighting]:
        """Ends the watch: the UDP datagrams that arrived, in order."""
        assert self._watching.terminate(timeout=PATIENCE) == 0, self._watching.errors()
        found = [json.loads(line) for line in self._watching.output().splitlines()[1:]]
        return [
            Sighting(source, source_port, destination, port, ttl, bytes.fromhex(payload))
            for source, source_port, destination, port, ttl, payload in found
        ]


ALL_HOSTS = "255.255.255.255"
#: What `bcast listen` says on standard error once nothing is missed any more.
LISTENING = "listening on port"


class Lan(NamedTuple):
    """`a` is on two networks, blue by eth0 and green by eth1; `b` is on blue, `c` on green."""

    a: Host
    b: Host
    c: Host


def two_networks(lab: Lab) -> Lan:
    """10.9.1.0/24 and fd00:1::/64 are blue, 10.9.2.0/24 and fd00:2::/64 green; `a` has ...1."""
    blue, green = lab.segment("blue"), lab.segment("green")
    lan = Lan(lab.host("a"), lab.host("b"), lab.host("c"))
    lan.a.connect(blue, unique_local="fd00:1::1/64")
    lan.b.connect(blue, unique_local="fd00:1::2/64")
    lan.a.connect(green, unique_local="fd00:2::1/64")
    lan.c.connect(green, unique_local="fd00:2::2/64")
    return lan


_listening: list[Running] = []


def listen(host: Host, *args: str, port: int = 2222) -> Running:
    """Starts ``bcast listen`` and waits until it does."""
    listening = start_bcast(host, "listen", "-p", str(port), *args, until=LISTENING)
    _listening.append(listening)
    return listening


def end_listeners() -> None:
    """So that a test that fails doesn't make others fail that listen on the same port."""
    while _listening:
        _listening.pop().kill()


def datagrams(listening: Running) -> list[dict[str, Any]]:
    """What a listener with --json has heard so far."""
    return [e for e in events(listening.output()) if e["event"] == "datagram"]


def heard(listening: Running) -> list[dict[str, Any]]:
    """Ends a listener with --json: the datagrams it heard."""
    assert listening.interrupt() == 0, listening.errors()
    return datagrams(listening)


_SAY = """
import json, socket, struct, sys
for source, ports, destination, interface, ttl, payload, times in json.load(sys.stdin):
    index = socket.if_nametoindex(interface)
    six = ":" in destination
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as said:
        said.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        said.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        said.setsockopt(socket.SOL_SOCKET, 25, interface.encode() + b"\\0")  # SO_BINDTODEVICE
        if six:
            said.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            said.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, ttl)
            said.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
            scope = index if source.startswith("fe80") else 0
            said.bind((source or "::", ports[0], 0, scope))
            to = (destination, ports[1], 0, index)
        else:
            request = struct.pack("4s4si", bytes(4), bytes(4), index)
            said.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)
            said.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
            said.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
            said.bind((source, ports[0]))
            to = (destination, ports[1])
        for _ in range(times):
            said.sendto(bytes.fromhex(payload), to)
"""


def say(
    host: Host,
    *messages: tuple[str, int, bytes],
    interface: str = "eth0",
    source: str = "",
    source_port: int = 0,
    ttl: int = 1,
    times: int = 1,
) -> None:
    """Sends (destination, port, payload) from a host with plain sockets, in order."""
    wanted = [
        (source, (source_port, port), destination, interface, ttl, payload.hex(), times)
        for destination, port, payload in messages
    ]
    host.python(_SAY, input=json.dumps(wanted), timeout=PATIENCE)


#: Broadcasts without a pause, by eth0 to port 2222.
FLOOD = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as said:
    said.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    said.setsockopt(socket.SOL_SOCKET, 25, b"eth0\\0")
    said.connect(("255.255.255.255", 2222))
    for _ in range(int(sys.argv[1])):
        said.send(b"x" * 200)
"""


def flood(host: Host, count: int) -> None:
    """Sends ``count`` broadcasts of 200 bytes as fast as it can."""
    host.python(FLOOD, str(count), timeout=30.0)
