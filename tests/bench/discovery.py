"""``discovery``: how soon all peers of a LAN are found on real sockets, by how many datagrams.

Every peer has its place in a network namespace of its own, on one bridge (up to 400; where there
are more peers, several share one), and the bridge loses the copies that it is told to (`lan`).
All peers answer from one process (`crowd`), which is what limits large searches: it takes about
75 us an answer and 20 us a probe that isn't answered, so 400 hosts that would answer side by side
take 30 ms here, and 2,000 take 150 ms, above the goal. The searcher is a
`bcast.Browser` in another process and namespace, without root, that is granted the receive buffer
that any process is by default. Times are in milliseconds from when the first datagram left to
when the program had the event; ``t50`` and ``t99`` are when it had half and 99 % of the peers,
and all are medians over the runs, with the worst run in parentheses.

``datagrams`` are those that anybody sent until all were found and 0.15 s more, as the bridge
counts them, over the least there can be: one probe, and each peer answers until an answer gets
through. ``lost`` is the share of copies that was lost, counted; ``drops`` those that found the
searcher's buffer full; ``frames`` those that the kernel dropped on the way, anywhere on the
machine, because a processor's backlog was full.

Where it is allowed (as root), all of it runs in the real-time class, so that other work on the
machine slows it down less.

``mdns`` is the same LAN at 10 % loss, searched by `bcast.Browser` and by python-zeroconf, which is
installed into a virtual environment for as long as that takes.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bcast.lab import Host, Lab, LabError, Running, lab_unavailable
from tests.bench.lan import Counts, Lan, environment, lan, script
from tests.bench.measure import print_table
from tests.bench.processes import pause, resume, softnet_drops

__all__ = ["ONLY", "Case", "Run", "measure", "run"]

ONLY = ("R1", "R2", "R3", "R4", "R5", "R6", "mdns")

_HOSTS = 400
#: How long is searched for those that are missing.
_SECONDS = 10.0
_PATIENCE = 60.0
#: How much more often R1 is repeated than the others: it costs nothing.
_MORE = 3
_MDNS_RUNS = 5
_FROZEN = 0.060
_STALL = 40.0
_LOSSES = (0.0, 0.1, 0.3)


@dataclass(frozen=True, slots=True)
class Case:
    """One row: what is searched for, and what it should be like.

    ``goal`` and ``worst`` are milliseconds until ``quantile`` of the peers are found; ``missing``
    is the share of them that may be missing after a second; ``datagrams`` is over the bound.
    """

    targets: tuple[str, ...]
    peers: int
    loss: float = 0.0
    goal: float | None = None
    worst: float | None = None
    quantile: float = 1.0
    missing: float | None = None
    datagrams: float | None = None
    opening: str = "auto"
    stall: float = 0.0
    frozen: float = 0.0
    searchers: int = 1
    no_drops: bool = False
    what: str = ""

    @property
    def name(self) -> str:
        peers = f"{self.peers} peer{'s' if self.peers > 1 else ''}"
        loss = f", {self.loss:.0%}" if self.peers > 1 else ""
        return f"{self.targets[0]} {peers}{loss}{', ' if self.what else ''}{self.what}"


@dataclass(frozen=True, slots=True)
class Run:
    """One search: when peers were found (seconds), the searcher's and the bridge's counts."""

    times: tuple[float, ...]
    expected: int
    drops: int
    counts: Counts
    #: Frames that the whole machine dropped because a backlog was full.
    frames: int = 0

    def quantile(self, share: float) -> float:
        """Milliseconds until this share of the peers were found; infinite if they weren't."""
        wanted = max(1, math.ceil(share * self.expected))
        return self.times[wanted - 1] * 1000 if len(self.times) >= wanted else math.inf

    def missing(self, seconds: float) -> int:
        return self.expected - sum(time <= seconds for time in self.times)


class _Told(NamedTuple):
    """What a searcher says: when it found peers, in seconds, and its drops."""

    times: tuple[float, ...]
    drops: int


def _cases(peers: int) -> list[Case]:
    """What is measured with that many peers."""
    if peers == 10:
        return [Case(("R5",), 10, loss, datagrams=1.6) for loss in _LOSSES]
    if peers == 100:
        goals = ((15.0, 40.0), (50.0, 100.0), (90.0, 200.0))
        return [
            *(
                Case(("R2", "R5"), 100, loss, goal, worst, datagrams=1.10)
                for loss, (goal, worst) in zip(_LOSSES, goals, strict=True)
            ),
            Case(("R6",), 100, searchers=10, datagrams=1.1, what="10 at once"),
            Case(("R6",), 100, 0.1, searchers=10, datagrams=1.1, what="10 at once"),
            Case(("R6",), 100, frozen=_FROZEN, datagrams=1.2, what="frozen for 60 ms"),
        ]
    if peers == 400:
        stalled = "searcher stalls for 40 ms"
        return [
            *(
                Case(("R3", "R5"), 400, loss, goal, worst, missing=missing, datagrams=1.10)
                for loss, goal, worst, missing in (
                    (0.0, 40.0, 80.0, 0.0),
                    (0.1, 100.0, 200.0, 0.0),
                    (0.3, 200.0, 500.0, 0.001),
                )
            ),
            Case(("R6",), 400, 0.0, _STALL + 40, stall=_STALL, no_drops=True, what=stalled),
            Case(("R6",), 400, frozen=_FROZEN, datagrams=1.2, what="frozen for 60 ms"),
        ]
    if peers == 2000:
        return [
            Case(("R4", "R5"), 2000, loss, goal, quantile=0.99, datagrams=1.10)
            for loss, goal in zip(_LOSSES, (100.0, 250.0, 500.0), strict=True)
        ]
    return [Case(("R5",), peers, loss) for loss in _LOSSES]


def run(peers: Sequence[int], runs: int, only: Sequence[str] = ()) -> None:
    """Measures the targets for each number of peers, and prints them."""
    wanted = set(only or ONLY)
    rows = []
    began = time.monotonic()
    if "R1" in wanted:
        rows += _loopback(runs * _MORE)
    mdns: list[Sequence[str]] = []
    with _zeroconf() if "mdns" in wanted else ExitStack() as python:
        for count in [1, *peers] if isinstance(python, str) else peers:
            cases = [case for case in _cases(count) if wanted.intersection(case.targets)]
            cases = [] if count == 1 else cases
            compared = isinstance(python, str) and count in (1, 100, 400)
            if not cases and not compared:
                continue
            each = math.ceil(count / _HOSTS)
            with lan(count // each, max((case.searchers for case in cases), default=1)) as made:
                natives = made.start(script("natives", "announce", str(each)), "announced")
                _hurry(natives)
                rows += [_row(case, measure(made, case, natives, runs)) for case in cases]
                if isinstance(python, str) and compared:
                    case = Case(("mdns",), count, 0.1)
                    mdns.append(_compared("bcast", count, measure(made, case, natives, runs)))
                    made.stop()
                    made.lose(1.0)
                    found = _measure_mdns(made, python, count)
                    mdns.append(_compared("python-zeroconf", count, found))
    took = time.monotonic() - began
    load = " ".join(f"{one:.1f}" for one in os.getloadavg()) if hasattr(os, "getloadavg") else ""
    about = f"{runs} runs, {took:.0f} s, load {load}"
    if rows:
        print_table(f"discovery: {about}", _HEADER, rows)
    if mdns:
        print_table("discovery: 10 % loss, 10 s", _MDNS_HEADER, mdns)


# --- searching


def measure(made: Lan, case: Case, natives: Sequence[Running], runs: int) -> list[Run]:
    """Searches ``runs`` times, and once before that doesn't count; peers must be announced."""
    made.lose(case.loss)
    command = _search_command("eth0", case)
    results: list[Run] = []
    with _searchers(made.searchers[: case.searchers], command) as searchers:
        for number in range(-1, runs):
            before, frames = made.counts(), softnet_drops()
            found = _search(searchers, natives if case.frozen else (), case.frozen)
            counts, frames = made.counts().since(before), softnet_drops() - frames
            for one in found if number >= 0 else ():
                results.append(Run(one.times, case.peers, one.drops, counts, frames))
                frames = 0
    return results


def _search(
    searchers: Sequence[Running], stopped: Sequence[Running], seconds: float
) -> list[_Told]:
    """Lets all of them search at once, with some processes stopped until so long after."""
    for searcher in searchers:
        searcher.wait_for("ready", timeout=_PATIENCE)
    pids = [running.pid for running in stopped]
    try:
        for pid in pids:
            pause(pid)
        _begin(searchers)
        if stopped:
            searchers[0].wait_for("left", timeout=_PATIENCE)
            time.sleep(seconds)
    finally:
        for pid in pids:
            resume(pid)
    return [_result(searcher) for searcher in searchers]


def _begin(searchers: Sequence[Running]) -> None:
    if sys.platform == "win32":
        raise NotImplementedError
    for searcher in searchers:
        searcher.send_signal(signal.SIGUSR1)


def _result(searcher: Running) -> _Told:
    said = json.loads(searcher.wait_for("result", timeout=_PATIENCE).partition(" ")[2])
    return _Told(tuple(said["times"]), said["drops"])


def _search_command(interface: str, case: Case) -> list[str]:
    tells = "yes" if case.frozen else "no"
    arguments = (str(case.peers), case.opening, str(case.stall), str(_SECONDS), tells)
    return script("natives", "search", interface, *arguments)


@contextmanager
def _searchers(hosts: Sequence[Host], command: Sequence[str]) -> Iterator[list[Running]]:
    """A searching program on each host, without capabilities."""
    started: list[Running] = []
    try:
        started += [host.start(command, env=environment(), capable=False) for host in hosts]
        for searcher in started:
            searcher.wait_for("started", timeout=_PATIENCE)
        _hurry(started)
        yield started
    finally:
        for searcher in started:
            searcher.kill()


def _hurry(started: Sequence[Running]) -> None:
    """Lets programs go before other work of the machine, where that is allowed."""
    if sys.platform != "linux":
        return
    for running in started:
        try:
            os.sched_setscheduler(running.pid, os.SCHED_RR, os.sched_param(1))
        except PermissionError:
            pass


def _loopback(runs: int) -> list[Sequence[str]]:
    """R1: one `bcast.Announcer` and one `bcast.Browser`, both with asyncio, over loopback."""
    rows = []
    privileged = sys.platform != "win32" and os.geteuid() == 0 and not lab_unavailable(True)
    with Lab(privileged=privileged) as lab:
        host = lab.host("loopback")
        with _searchers([host], script("natives", "announce-one", "lo")) as announcers:
            announcers[0].wait_for("announced", timeout=_PATIENCE)
            for case in (
                Case(("R1",), 1, goal=1.0, worst=10.0, opening="all", what="opening all"),
                Case(("R1",), 1, goal=4.0, opening="sample", what="opening sample"),
            ):
                with _searchers([host], _search_command("lo", case)) as searchers:
                    found = [_search(searchers, (), 0.0)[0] for _ in range(runs + 1)][1:]
                none = Counts(0, 0, 0, 0)
                results = [Run(one.times, 1, one.drops, none) for one in found]
                rows.append(_row(case, results))
    return rows


# --- python-zeroconf


def _measure_mdns(made: Lan, python: str, count: int) -> list[Run]:
    announcers = made.start(script("multicast_dns", "announce", python=python), "announced")
    _hurry(announcers)
    made.lose(0.1)
    searcher = made.searchers[0]
    arguments = (str(searcher.links[0].address()), str(count), str(_SECONDS))
    command = script("multicast_dns", "search", *arguments, python=python)
    results = []
    with _searchers([searcher], command) as searchers:
        for number in range(-1, _MDNS_RUNS):
            before, frames = made.counts(), softnet_drops()
            searchers[0].wait_for("ready", timeout=_PATIENCE)
            _begin(searchers)
            times = _result(searchers[0]).times
            if number >= 0:
                counts, frames = made.counts().since(before), softnet_drops() - frames
                results.append(Run(times, count, 0, counts, frames))
    return results


@contextmanager
def _zeroconf() -> Iterator[str]:
    """An interpreter that has python-zeroconf, for the time of the block."""
    with tempfile.TemporaryDirectory(prefix="bcast-bench-") as folder:
        os.chmod(folder, 0o755)
        python = str(Path(folder, "bin", "python"))
        env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        install = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        try:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True, env=env)
            subprocess.run([*install, "zeroconf"], check=True, env=env)
        except (OSError, subprocess.CalledProcessError) as error:
            raise LabError(
                f"python-zeroconf can't be installed ({error})", "leave it out with --only"
            ) from error
        told = "import importlib.metadata as m; print(m.version('zeroconf'))"
        version = subprocess.run([python, "-c", told], check=True, capture_output=True, text=True)
        print(f"python-zeroconf {version.stdout.strip()}", flush=True)
        yield python


# --- printing

_HEADER = (
    *("search", "t50", "t99", "all", "goal", ""),
    *("missing at 1 s", "datagrams", "goal", "", "lost", "drops", "frames"),
)
_MDNS_HEADER = ("searcher", "t50", "t99", "all", "never found", "lost", "frames")


def _row(case: Case, runs: Sequence[Run]) -> Sequence[str]:
    searches = len(runs)
    missing = sum(one.missing(1.0) for one in runs)
    drops = sum(one.drops for one in runs)
    goal, verdict = "", ""
    if case.goal is not None:
        taken = [one.quantile(case.quantile) for one in runs]
        met = median(taken) <= case.goal and max(taken) <= (case.worst or math.inf)
        if case.missing is not None:
            met = met and missing <= case.missing * case.peers * searches
        met = met and not (case.no_drops and drops)
        worst = f" ({case.worst:g})" if case.worst else ""
        label = "t99 " if case.quantile < 1 else ""
        goal, verdict = f"{label}<= {case.goal:g}{worst}", _verdict(met)
    datagrams, bound, bounded = "", "", ""
    if runs[0].counts.copies:
        over = [one / case.searchers for one in _over(runs, case.peers, case.loss)]
        datagrams = f"{median(over):.2f} ({max(over):.2f})"
        if case.datagrams is not None:
            bound = f"<= {case.datagrams:g}"
            bounded = _verdict(median(over) <= case.datagrams)
    return (
        case.name,
        *(_cell([one.quantile(share) for one in runs]) for share in (0.5, 0.99, 1.0)),
        *(goal, verdict, f"{missing} of {case.peers * searches}", datagrams, bound, bounded),
        *(_lost(runs), str(drops), str(_frames(runs))),
    )


def _compared(name: str, peers: int, runs: Sequence[Run]) -> Sequence[str]:
    never = [one.missing(_SECONDS) for one in runs]
    return (
        f"{name}, {peers} peer{'s' if peers > 1 else ''}",
        *(_cell([one.quantile(share) for one in runs]) for share in (0.5, 0.99, 1.0)),
        f"{median(never):g} ({max(never)})",
        *(_lost(runs), str(_frames(runs))),
    )


def _over(runs: Sequence[Run], peers: int, loss: float) -> list[float]:
    """How many times the least number of datagrams were sent."""
    least = 1 + peers / (1 - loss)
    return [(one.counts.groups + one.counts.others) / least for one in runs]


def _lost(runs: Sequence[Run]) -> str:
    copies = sum(one.counts.copies for one in runs)
    return f"{sum(one.counts.lost for one in runs) / copies:.1%}" if copies else ""


def _frames(runs: Sequence[Run]) -> int:
    return sum(one.frames for one in runs)


def _cell(taken: Sequence[float]) -> str:
    middle, worst = median(taken), max(taken)
    return f"{_time(middle)} ({_time(worst)})"


def _time(milliseconds: float) -> str:
    if math.isinf(milliseconds):
        return "never"
    return f"{milliseconds:.1f}" if milliseconds < 100 else f"{milliseconds:.0f}"


def _verdict(met: bool) -> str:
    return "met" if met else "MISSED"
