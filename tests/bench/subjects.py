"""The programs that are measured where the command line isn't: run as scripts, one a process.

``subjects.py NAME ARGUMENT...``. Receivers say "listening on port N" on stderr, go on until
SIGINT or SIGTERM, and then print a JSON object; senders print theirs when they are done.
"""

from __future__ import annotations

import json
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from types import FrameType

import bcast

__all__ = ["main"]

_BUFFER = 4 * 1024 * 1024


def receiver(interface: str, group: str, port: str) -> None:
    """`bcast.Receiver`, of whose datagrams the payload is read."""
    with _open(interface, group, port) as opened:
        for datagram in opened:
            datagram.payload  # noqa: B018
        _tell(opened)


def receiver_all(interface: str, group: str, port: str) -> None:
    """`bcast.Receiver`, of whose datagrams source, destination, TTL and time are read too."""
    with _open(interface, group, port) as opened:
        for datagram in opened:
            datagram.payload, datagram.source, datagram.destination  # noqa: B018
            datagram.ttl, datagram.time_ns  # noqa: B018
        _tell(opened)


def receiver_slow(interface: str, group: str, port: str, microseconds: str) -> None:
    """`bcast.Receiver` in a program that works for some time on each datagram."""
    work = int(microseconds) * 1000
    with _open(interface, group, port) as opened:
        for _ in opened:
            end = time.perf_counter_ns() + work
            while time.perf_counter_ns() < end:
                pass
        _tell(opened)


def recvfrom(interface: str, group: str, port: str) -> None:
    """A socket and a loop, as short as Python allows: payload and source, nothing else."""
    count = 0
    _on_signals(_end)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        opened.bind(("", int(port)))
        request = struct.pack(
            "=4s4si", socket.inet_aton(group), bytes(4), socket.if_nametoindex(interface)
        )
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        print(f"listening on port {port}", file=sys.stderr, flush=True)
        try:
            while True:
                opened.recvfrom(65_536)
                count += 1
        except _EndError:
            pass
    print(json.dumps({"datagrams": count}))


def send_many(interface: str, group: str, port: str, count: str, batch: str, length: str) -> None:
    """`bcast.Sender.send_many`, as fast as it goes."""
    payloads = _payloads(int(batch), int(length))
    with bcast.Sender(interface) as sender:

        def send() -> int:
            return sum(s.count for s in sender.send_many(payloads, to=group, port=int(port)).sent)

        _race(send, int(count))


def sendto(interface: str, group: str, port: str, count: str, batch: str, length: str) -> None:
    """``socket.sendto`` in a loop."""
    payloads = _payloads(int(batch), int(length))
    to = (group, int(port))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        request = struct.pack("=4s4si", bytes(4), bytes(4), socket.if_nametoindex(interface))
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)

        def send() -> int:
            for payload in payloads:
                opened.sendto(payload, to)
            return len(payloads)

        _race(send, int(count))


def _open(interface: str, group: str, port: str) -> bcast.Receiver:
    opened = bcast.Receiver(interface, port=int(port), groups=group, family=4)
    _on_signals(opened.stop)
    print(f"listening on port {port}", file=sys.stderr, flush=True)
    return opened


def _tell(opened: bcast.Receiver) -> None:
    counted = opened.statistics
    print(json.dumps({"datagrams": counted.datagrams, "drops": counted.kernel_drops}))


class _EndError(Exception):
    """A signal asked to end."""


def _end() -> None:
    raise _EndError


def _on_signals(then: Callable[[], object]) -> None:
    def handle(number: int, frame: FrameType | None) -> None:
        then()

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)


def _payloads(count: int, length: int) -> list[bytes]:
    return [i.to_bytes(4, "big") + bytes(length - 4) for i in range(count)]


def _race(send: Callable[[], int], count: int) -> None:
    """Sends ``count`` datagrams after a warm-up, and prints what they took."""
    send()
    sent = 0
    cpu, began = time.process_time_ns(), time.perf_counter_ns()
    while sent < count:
        sent += send()
    wall, cpu = time.perf_counter_ns() - began, time.process_time_ns() - cpu
    print(json.dumps({"sent": sent, "cpu_ns": cpu, "wall_ns": wall}))


_SUBJECTS: dict[str, Callable[..., None]] = {
    "receiver": receiver,
    "receiver-all": receiver_all,
    "receiver-slow": receiver_slow,
    "recvfrom": recvfrom,
    "send-many": send_many,
    "sendto": sendto,
}


def main() -> None:
    """Runs the program that the command line names."""
    _SUBJECTS[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
