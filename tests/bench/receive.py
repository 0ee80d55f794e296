"""``receive``: CPU time a datagram, with a full queue.

Every contestant is a process with a socket of its own on the receiving host; all of them wait.
In each round every contestant has its turn, and the reference has one right before each: a
machine that is slow for a moment is so for both. In its turn it is stopped (SIGSTOP), 4,000
multicast datagrams of 200 bytes are put into its receive buffer of 4 MiB (that none was dropped
and all are there is checked), it is continued, and the user and system time that it takes until
the queue is empty and it sleeps again (/proc/PID/task/*/schedstat, nanoseconds) is divided by
their number. Neither the sender nor a wake-up for each datagram is in that time, so it can be
repeated on a busy machine. The processes are started several times, and the first turn of each
is thrown away.

- reference: `reference.c`, recvmmsg with everything decoded;
- Receiver: iterated, the payload of each datagram read; then the other attributes, too;
- listen --json: to /dev/null, payloads of plain text, of JSON (printable ASCII, too, but full of
  quotation marks) and of random bytes;
- listen --write: the same datagrams into a file in memory and one on disk, until they are
  written;
- recvfrom: a plain loop in Python, for orientation: it knows no time, destination or TTL.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bcast.lab import LabError, Running
from tests.bench.measure import Goal, Series, at_most, print_table
from tests.bench.network import GROUP, INTERFACE, LENGTH, Cable, bcast_command, cable, subject
from tests.bench.processes import drain, pause, queue

__all__ = ["run"]

_PORT = 28_300
_WANTED = 4_000
_STARTS = 3
# listen --write gathers what it writes for at most half a second.
_UNTIL_WRITTEN = 0.6


@dataclass(frozen=True, slots=True)
class _Contestant:
    """One row of the table. Those that share ``program`` are the same process."""

    name: str
    program: str
    goal: Goal | None = None
    payload: str = "text"
    settle: float = 0.0


class _Result:
    """The samples of a contestant, and those of the reference right before each."""

    def __init__(self) -> None:
        self.samples = Series()
        self.reference = Series()
        self.failure = ""


@dataclass(frozen=True, slots=True)
class _Process:
    """A receiver that runs, and its port."""

    running: Running
    pid: int
    port: int


def run(rounds: int) -> None:
    """Measures ``rounds`` rounds (at least one for each start) and prints the table."""
    with _files() as (in_memory, on_disk):
        contestants = [
            _Contestant("Receiver, payload read", "receiver", at_most(1.75)),
            _Contestant("Receiver, all attributes read", "receiver-all"),
            _Contestant("listen --json, text payload", "json", at_most(3.5)),
            _Contestant("listen --json, JSON payload", "json", at_most(3.5), "json"),
            _Contestant("listen --json, random payload", "json", at_most(3.5), "binary"),
            _Contestant(
                "listen --write, memory", "write-memory", at_most(2.7), settle=_UNTIL_WRITTEN
            ),
            _Contestant("recvfrom loop, payload and source", "recvfrom"),
        ]
        programs = {
            "receiver": subject("receiver", INTERFACE, GROUP),
            "receiver-all": subject("receiver-all", INTERFACE, GROUP),
            "recvfrom": subject("recvfrom", INTERFACE, GROUP),
            "json": _listen("--json", "", "/dev/null"),
            "write-memory": _listen("-w", str(in_memory), "/dev/null"),
        }
        if on_disk is not None:
            row = _Contestant(
                "listen --write, disk", "write-disk", at_most(2.7), settle=_UNTIL_WRITTEN
            )
            contestants.insert(-1, row)
            programs["write-disk"] = _listen("-w", str(on_disk), "/dev/null")
        results = {contestant.name: _Result() for contestant in contestants}
        count = _WANTED
        for _ in range(_STARTS):
            with cable() as network:
                count = _measure(
                    network, contestants, programs, results, max(1, rounds // _STARTS), count
                )
    _print(contestants, results, count)


def _listen(option: str, file: str, output: str) -> list[str]:
    """The command of ``bcast listen``, to which ``--port N`` can be appended."""
    command = bcast_command("listen", "-i", INTERFACE, "-g", GROUP, "-4", option)
    if file:
        command.append(file)
    return ["sh", "-c", f'exec "$@" >{output}', "sh", *command, "-p"]


def _measure(
    network: Cable,
    contestants: list[_Contestant],
    programs: dict[str, list[str]],
    results: dict[str, _Result],
    rounds: int,
    count: int,
) -> int:
    """Starts the programs and lets them take turns; returns how many datagrams a turn had."""
    running = network.start_reference(port=_PORT)
    reference = _Process(running, running.pid, _PORT)
    count = _warm_up(network, reference, count)
    waiting: dict[str, _Process] = {}
    for port, (program, command) in enumerate(programs.items(), start=_PORT + 1):
        try:
            running = network.start([*command, str(port)], port=port)
            waiting[program] = _Process(running, running.pid, port)
            count = _warm_up(network, waiting[program], count)
        except LabError as error:
            for contestant in contestants:
                if contestant.program == program:
                    results[contestant.name].failure = str(error)
    for number in range(rounds):
        # Another one begins each time: nobody always comes after the same neighbour.
        turn = number % len(contestants)
        for contestant in contestants[turn:] + contestants[:turn]:
            result = results[contestant.name]
            if not result.failure:
                result.reference.add(_turn(network, reference, contestant.payload, count))
                ours = waiting[contestant.program]
                sample = _turn(network, ours, contestant.payload, count, contestant.settle)
                result.samples.add(sample)
    return count


def _warm_up(network: Cable, process: _Process, count: int) -> int:
    """The first turn, which doesn't count; returns how many datagrams, up to ``count``, fit."""
    fitting = network.room(process.pid, process.port, count)
    _drain(process, _UNTIL_WRITTEN)
    return min(count, fitting)


def _turn(
    network: Cable, process: _Process, payload: str, count: int, settle: float = 0.0
) -> float:
    """One turn of one process; returns the CPU time a datagram in nanoseconds."""
    pid, port = process.pid, process.port
    pause(pid)
    before = queue(pid, port)
    network.send(1, port=port, payload=payload)
    one = queue(pid, port).memory
    network.send(count - 1, port=port, payload=payload)
    filled = queue(pid, port)
    if filled.drops != before.drops or filled.memory != count * one:
        raise LabError(
            f"the queue of port {port} doesn't hold the {count} datagrams that were sent",
            f"{filled.memory} bytes of {count * one}, {filled.drops - before.drops} dropped",
        )
    return _drain(process, settle) / count


def _drain(process: _Process, settle: float) -> int:
    try:
        return drain(process.pid, process.port, settle=settle)
    except FileNotFoundError:
        wrote = process.running.errors()
        raise LabError(f"the receiver of port {process.port} ended", wrote) from None


@contextmanager
def _files() -> Iterator[tuple[Path, Path | None]]:
    """Two file names, in memory and on disk; only one where these are the same."""
    with tempfile.TemporaryDirectory(prefix="bcast-bench-") as folder:
        memory = Path("/dev/shm")
        disk = Path(folder)
        os.chmod(disk, 0o777)
        if not memory.is_dir() or memory.stat().st_dev == disk.stat().st_dev:
            yield disk / "capture.pcapng", None
            return
        with tempfile.TemporaryDirectory(prefix="bcast-bench-", dir=memory) as other:
            os.chmod(other, 0o777)
            yield Path(other) / "capture.pcapng", disk / "capture.pcapng"


def _print(contestants: list[_Contestant], results: dict[str, _Result], count: int) -> None:
    references = [sample for result in results.values() for sample in result.reference.samples]
    rows = [("C recvmmsg, all decoded (reference)", *Series(references).cells(1000), "1.00", "")]
    failures = {}
    for contestant in contestants:
        result = results[contestant.name]
        if result.failure:
            failures[contestant.name] = result.failure
            continue
        ratio = result.samples.over(result.reference)
        verdict = contestant.goal.verdict(ratio) if contestant.goal else ""
        rows.append((contestant.name, *result.samples.cells(1000), f"{ratio:.2f}", verdict))
    rounds = max(len(result.samples.samples) for result in results.values())
    print_table(
        f"receive: CPU time a datagram of {LENGTH} bytes, {count} waiting in the queue, "
        f"{rounds} rounds",
        ("contestant", "us", "min-max", "x C", "goal"),
        rows,
        failures,
    )
