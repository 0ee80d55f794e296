"""What the kernel tells about a process and its network namespace, by /proc.

All functions take the process id as this system counts.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Queue",
    "Traffic",
    "children",
    "cpu_ns",
    "drain",
    "pause",
    "queue",
    "resident",
    "resume",
    "softnet_drops",
    "traffic",
]

# How often it is looked whether something has happened yet, in seconds. The look costs time on
# another core than the process that is measured, if there is one.
_LOOK = 0.004


@dataclass(frozen=True, slots=True)
class Queue:
    """The receive queue of a UDP port: the memory it takes, and the datagrams it dropped."""

    memory: int
    drops: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """Counters of a network namespace and of one interface in it, since they were made.

    ``read`` are the UDP datagrams that programs have taken out of their sockets,
    ``unread`` those that found a full receive buffer, ``dropped`` and ``arrived`` what the
    interface dropped and received.
    """

    read: int
    unread: int
    arrived: int
    dropped: int


def cpu_ns(pid: int) -> int:
    """User and system time of all threads so far, in nanoseconds, of a process that waits."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks)


def resident(pid: int) -> int:
    """Resident memory in kB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) if found else 0


def children(pid: int) -> list[int]:
    """The process ids of a process's children."""
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def queue(pid: int, port: int) -> Queue:
    """The IPv4 queue of a port in the process's namespace, all its sockets together."""
    memory = drops = 0
    for line in Path(f"/proc/{pid}/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port:
            memory += int(fields[4].rpartition(":")[2], 16)
            drops += int(fields[-1])
    return Queue(memory, drops)


def traffic(pid: int, interface: str) -> Traffic:
    """The counters of the process's namespace (IPv4 and IPv6) and of an interface in it."""
    read = unread = 0
    names, values = re.findall(
        r"^Udp: (.*)$", Path(f"/proc/{pid}/net/snmp").read_text(), re.MULTILINE
    )
    told = dict(zip(names.split(), map(int, values.split()), strict=True))
    read, unread = told["InDatagrams"], told["InErrors"]
    for line in Path(f"/proc/{pid}/net/dev").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name.strip() == interface:
            fields = [int(value) for value in rest.split()]
            return Traffic(read, unread, fields[1], fields[3])
    return Traffic(read, unread, 0, 0)


def softnet_drops() -> int:
    """Frames that the whole machine dropped because a backlog was full (other people's too)."""
    lines = Path("/proc/net/softnet_stat").read_text().splitlines()
    return sum(int(line.split()[1], 16) for line in lines)


def pause(pid: int) -> None:
    """Stops a process (SIGSTOP) and waits until it has stopped."""
    if sys.platform == "win32":
        raise NotImplementedError
    os.kill(pid, signal.SIGSTOP)
    while _status(pid)[0] not in "TX":
        time.sleep(0.0005)


def resume(pid: int) -> None:
    """Continues a paused process; to be called again until it is known to run."""
    if sys.platform == "win32":
        raise NotImplementedError
    # nsenter stops, soon after, when its child is stopped, and doesn't go on when that does.
    for stopped in (pid, int(_status(pid)[1])):
        if _status(stopped)[0] in "TX":
            os.kill(stopped, signal.SIGCONT)


def drain(pid: int, port: int, *, settle: float = 0.0, timeout: float = 20.0) -> int:
    """Continues a paused process until its queue is empty; returns the CPU time that took, in ns.

    It is over when the process has used none for three looks, and ``settle`` seconds have
    passed, in which it may do what it does from time to time (write what it has gathered).
    Raises TimeoutError.
    """
    before = cpu_ns(pid)
    resume(pid)
    deadline = time.monotonic() + timeout
    quiet = time.monotonic() + settle
    last, same = before, 0
    while same < 3 or time.monotonic() < quiet:
        time.sleep(_LOOK)
        resume(pid)
        now = cpu_ns(pid)
        idle = now == last and queue(pid, port).memory == 0 and _status(pid)[0] == "S"
        last, same = now, same + 1 if idle else 0
        if time.monotonic() > deadline:
            raise TimeoutError(f"port {port} wasn't drained within {timeout:g} s")
    return last - before


def _status(pid: int) -> list[str]:
    """State, parent, and the rest of /proc/PID/stat (proc(5)) after the command's name."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
