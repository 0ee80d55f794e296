"""``flood``: every datagram is either received or counted as dropped.

**Steady**: 20,000 datagrams of 200 bytes a second, for some seconds, to ``listen --json
>/dev/null`` and to a `bcast.Receiver`. Nothing should be lost. What ``listen`` has read is what
the kernel counts as read in its namespace.

**As fast as possible**: 500,000 datagrams to receivers that are too slow for that: ``listen
--json`` into a pipe and ``listen --write``, which are stopped for 100 ms every 150 ms, and a
`bcast.Receiver` in a program that works 20 us on each datagram. What they say in the end
(datagrams and kernel drops), and what the interface dropped before it came to them, should add
up to what was sent, exactly. The capture file is read again: by `bcast.CaptureReader`, and by
capinfos where that is installed.

``unread`` is what the kernel counts, for comparison; ``machine`` is what all network namespaces
of the machine dropped in that time because their backlog was full: the interface's part of it is
in ``interface``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import bcast
from bcast.lab import LabError, Running
from tests.bench.measure import print_table
from tests.bench.network import GROUP, INTERFACE, LENGTH, Cable, bcast_command, cable, subject
from tests.bench.processes import children, pause, queue, resume, softnet_drops, traffic

__all__ = ["run"]

_RATE = 20_000
_SECONDS = 5
_FLOOD = 500_000
_HEADER = (
    *("receiver", "1000/s", "sent", "received", "kernel drops", "interface"),
    *("unaccounted", "unread", "machine"),
)
_LISTEN = ("listen", "-i", INTERFACE, "-g", GROUP, "-4")


@dataclass(frozen=True, slots=True)
class _Told:
    """What a receiver says in the end; None where it doesn't."""

    datagrams: int | None
    drops: int | None


def run() -> None:
    """Runs all floods and prints the balances."""
    with cable() as network:
        _steady(network)
        _fast(network)


def _steady(network: Cable) -> None:
    count = _RATE * _SECONDS
    contestants = {
        "listen --json >/dev/null": _quietly(bcast_command(*_LISTEN, "--json", "-p")),
        "Receiver": subject("receiver", INTERFACE, GROUP),
    }
    rows = []
    failures = {}
    for port, (name, command) in enumerate(contestants.items(), start=28_500):
        args = [*command, str(port)]
        try:
            rows.append(_flood(network, name, args, port, count, _RATE, hinder=False)[0])
        except LabError as error:
            failures[name] = str(error)
    title = f"flood: {_RATE} datagrams of {LENGTH} bytes a second for {_SECONDS} s"
    print_table(title, _HEADER, rows, failures)


def _fast(network: Cable) -> None:
    capture = network.folder / "capture.pcapng"
    network.folder.chmod(0o777)
    contestants = {
        "listen --json | tail": [
            *("sh", "-c", '"$@" | tail -n 1', "sh"),
            *bcast_command(*_LISTEN, "--json", "-p"),
        ],
        "listen --write": bcast_command(*_LISTEN, "-w", str(capture), "-p"),
        "Receiver, 20 us of work": subject("receiver-slow", INTERFACE, GROUP),
    }
    rows = []
    failures = {}
    told: dict[str, _Told] = {}
    for port, (name, command) in enumerate(contestants.items(), start=28_510):
        listens = name.startswith("listen")
        args = [*command, str(port), *([] if listens else ["20"])]
        try:
            row, told[name] = _flood(network, name, args, port, _FLOOD, 0.0, hinder=listens)
            rows.append(row)
        except LabError as error:
            failures[name] = str(error)
    title = f"flood: {_FLOOD} datagrams of {LENGTH} bytes, as fast as possible"
    print_table(title, _HEADER, rows, failures)
    if "listen --write" in told:
        _print_capture(capture, told["listen --write"])


def _flood(
    network: Cable,
    name: str,
    command: Sequence[str],
    port: int,
    count: int,
    rate: float,
    *,
    hinder: bool,
) -> tuple[tuple[str, ...], _Told]:
    """Floods one receiver; returns its row of the table, and what it says itself."""
    with network.start(command, port=port) as running:
        # In a pipeline the shell waits for the two others, and the first of them listens.
        pid = next(iter(children(running.pid)), running.pid)
        before, machine = traffic(pid, INTERFACE), softnet_drops()
        with _hindered(pid) if hinder else nullcontext():
            sent = network.send(count, port=port, rate=rate)
        _await_empty(pid, port)
        after, machine = traffic(pid, INTERFACE), softnet_drops() - machine
        told = _end(running, pid)
    read = after.read - before.read if told.datagrams is None else told.datagrams
    unread = after.unread - before.unread
    drops = unread if told.drops is None else told.drops
    dropped = after.dropped - before.dropped
    missing = sent.sent - read - drops - dropped
    seconds = sent.wall_ns / 1e9
    row = (
        name,
        f"{sent.sent / seconds / 1000:.0f}",
        *map(str, (sent.sent, read, drops, dropped, missing, unread, machine)),
    )
    return row, told


def _quietly(command: Sequence[str]) -> list[str]:
    return ["sh", "-c", 'exec "$@" >/dev/null', "sh", *command]


def _await_empty(pid: int, port: int) -> None:
    """Waits until the queue has been empty for some looks, and what was read is worked off."""
    empty = 0
    deadline = time.monotonic() + 60.0
    while empty < 20 and time.monotonic() < deadline:
        time.sleep(0.02)
        empty = empty + 1 if queue(pid, port).memory == 0 else 0


@contextmanager
def _hindered(pid: int) -> Iterator[None]:
    """Keeps stopping a process for the time of the block."""
    done = threading.Event()

    def hinder() -> None:
        while not done.wait(0.05):
            pause(pid)
            done.wait(0.1)
            resume(pid)

    thread = threading.Thread(target=hinder)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _end(running: Running, pid: int) -> _Told:
    """Ends a receiver as Ctrl-C does, and reads the counts of its last words."""
    resume(pid)
    os.kill(pid, signal.SIGINT)
    running.wait(timeout=30.0)
    if running.output():
        told = json.loads(running.output().splitlines()[-1])
        return _Told(told["datagrams"], told.get("kernel_drops", told.get("drops")))
    summary = re.search(r"^(\d+) datagrams.*kernel drops (\d+)", running.errors(), re.MULTILINE)
    return _Told(int(summary[1]), int(summary[2])) if summary else _Told(None, None)


def _print_capture(capture: Path, told: _Told) -> None:
    """Compares what ``listen --write`` said with what is in the file."""
    rows = [("listen's summary", str(told.datagrams), str(told.drops))]
    with bcast.CaptureReader(capture) as reader:
        count = sum(1 for _ in reader)
        rows.append(("CaptureReader", str(count), str(reader.drops)))
    if shutil.which("capinfos"):
        asked = ["capinfos", "-T", "-M", "-r", "-c", str(capture)]
        said = subprocess.run(asked, capture_output=True, text=True, check=False)
        rows.append(("capinfos", said.stdout.split("\t")[-1].strip() or said.stderr, ""))
    print_table("flood: the file of listen --write", ("by", "datagrams", "kernel drops"), rows)
