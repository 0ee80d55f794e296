"""``sweep``: how soon one search by all protocols finds what speaks each of them.

On a LAN of namespaces (`bcast.lab`) each catalogue protocol has a host of its own, on which
``bcast impersonate`` plays an accessory, and one host has ``bcast announce``; all of them have
finished announcing that they are new. Another host searches with `bcast.Browser`, each time in a
new process: seconds from the start of the search, with all descriptions still to be loaded, to
the event that a device was found, median (worst) of the rounds. The goal, which the worst round
has to meet, is the longest that the protocol itself may take and half a second: the delay of its
replies (where the probe says it, what ours says), or the period of those who only announce
themselves. Rounds begin at random, so that nobody's period is in step with them.

Then ``bcast discover --expect N`` for all N. Each begins when the one with the longest period has
just been heard: so that is the last to be found, and what is told is how long after its datagram
the command ended.

At last one process plays a hundred accessories of all protocols on a LAN of its own, and it is
counted how many of them a search misses that lasts as long as the largest goal.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from random import Random
from statistics import median
from typing import Any, NamedTuple

from bcast.accessory.catalogue import load_named, names
from bcast.accessory.description import Decoded, Description
from bcast.accessory.forms import MAX_DELAY, Form, Role
from bcast.accessory.template import Own, Value
from bcast.destinations import NATIVE
from bcast.discovery.schedule import ANNOUNCEMENTS, JITTER
from bcast.lab import Host, Lab, LabError, lab_unavailable
from tests.bench.lan import environment, script
from tests.bench.measure import print_table
from tests.bench.network import bcast_command

__all__ = ["run"]

_PROBES: tuple[Role, ...] = ("probe",)

#: Seconds that may be added to what a protocol takes by itself.
_SLACK = 0.5
#: Seconds after the last device in which the command is to end.
_PROMPT = 0.2
#: Devices of the crowd.
_MANY = 100
#: How many times the goal is waited for who isn't found.
_MORE = 2.0
_PATIENCE = 60.0

_HEADER = ("search", "median (worst)", "goal", "")


class _Protocol(NamedTuple):
    """What is searched for: the worst delay of its replies, or its period if nobody is asked."""

    name: str
    delay: float
    period: float

    @property
    def goal(self) -> float:
        return max(self.delay, self.period) + _SLACK


class _Command(NamedTuple):
    """Seconds that a run of the command took, and those that were left after the last device."""

    took: float
    after: float


def run(rounds: int) -> None:
    """Measures all, and prints one table."""
    began = time.monotonic()
    described = [_protocol(description) for description in map(load_named, names())]
    protocols = [*described, _Protocol(NATIVE, 0.0, 0.0)]
    slowest = max(protocols, key=lambda one: (one.period, one.delay))
    random = Random(1)
    with _lab() as lab:
        searcher = _populate(lab, described)
        found = [
            _search(searcher, len(protocols), _MORE * slowest.goal)
            for _ in _turns(rounds, slowest, random)
        ]
        commands = _commands(searcher, len(protocols), slowest, rounds)
    with _lab() as lab:
        searcher = _populate_crowd(lab)
        crowds = [
            _search(searcher, _MANY, slowest.goal, merge=False)
            for _ in _turns(rounds, slowest, random)
        ]
    load = " ".join(f"{one:.1f}" for one in os.getloadavg()) if hasattr(os, "getloadavg") else ""
    print_table(
        f"sweep: {rounds} rounds, {time.monotonic() - began:.0f} s, load {load}; seconds",
        _HEADER,
        [
            *(_row(one, found) for one in protocols),
            *_command_rows(commands, len(protocols)),
            *_crowd_rows(crowds, slowest.goal),
        ],
    )


# --- what is to be expected


def _protocol(description: Description) -> _Protocol:
    """What a description says about how long its accessories take.

    Raises `LabError` if an extra is missing that it needs.
    """
    if description.needs:
        raise LabError(f"{description.name}: {description.needs}")
    delay = period = 0.0
    messages = [form for form in description.messages if form.sent]
    probes = [form for form in messages if form.role == "probe" and not form.after]
    for probe in probes:
        values = _asked(description, probe)
        for form in messages:
            if form.role == "reply" and probe.name in form.answers:
                delay = max(delay, min(_number(form.delay[1], values), MAX_DELAY))
    if not probes:
        told = [form.every for form in messages if form.role == "announcement"]
        known = (_number(every, {}) for every in told if every is not None)
        period = min(known, default=0.0)
    return _Protocol(description.name, delay, period)


def _asked(description: Description, probe: Form) -> dict[str, Value]:
    """What our probe says."""
    own = Own("10.9.1.1", description.port, "02:00:00:00:00:01", "1", "searcher")
    payload = description.encode(probe, {}, own=own, random=Random(1), now=0.0)
    decoded = description.decode(payload, roles=_PROBES)
    return dict(decoded.values) if isinstance(decoded, Decoded) else {}


def _number(said: float | str, values: dict[str, Value]) -> float:
    told = values.get(said) if isinstance(said, str) else said
    return float(told) if isinstance(told, int | float) else MAX_DELAY


# --- the LANs


@contextmanager
def _lab() -> Iterator[Lab]:
    privileged = sys.platform != "win32" and os.geteuid() == 0 and not lab_unavailable(True)
    with Lab(privileged=privileged) as lab:
        yield lab


def _populate(lab: Lab, described: Sequence[_Protocol]) -> Host:
    """One host for each protocol and the native one, and one who searches, which is returned."""
    lan = lab.segment()
    commands: dict[str, tuple[str, ...]] = {
        one.name: ("impersonate", one.name) for one in described
    }
    commands[NATIVE] = ("announce", "lamp", "_lamp", "-p", "80")
    started = []
    for name, command in commands.items():
        host = lab.host(name.replace("_", "-"))
        host.connect(lan)
        started.append(host.start(bcast_command(*command), env=environment(), capable=False))
    for running in started:
        running.wait_for("Ctrl-C ends", timeout=_PATIENCE)
    return _searcher(lab)


def _populate_crowd(lab: Lab) -> Host:
    """One host for all, and one who searches, which is returned."""
    lan = lab.segment()
    crowd = lab.host("crowd")
    crowd.connect(lan)
    command = script("sweeping", "impersonate", str(_MANY))
    running = crowd.start(command, env=environment(), capable=False)
    running.wait_for("impersonating", timeout=_PATIENCE)
    return _searcher(lab)


def _searcher(lab: Lab) -> Host:
    host = lab.host("searcher")
    host.connect(lab.segments[0])
    # Nobody is to be found because it has just appeared.
    time.sleep(ANNOUNCEMENTS[-1] + 2 * JITTER)
    return host


def _turns(rounds: int, slowest: _Protocol, random: Random) -> Iterator[int]:
    """Rounds that begin at any time between two announcements of anybody."""
    for number in range(rounds):
        time.sleep(slowest.period * random.random())
        yield number


# --- searching


def _search(
    searcher: Host, expected: int, seconds: float, *, merge: bool = True
) -> list[tuple[str, float]]:
    """The protocol of each device that was found, and when."""
    arguments = (str(expected), str(seconds), "yes" if merge else "no")
    done = searcher.run(
        script("sweeping", "search", *arguments),
        env=environment(),
        capable=False,
        timeout=seconds + _PATIENCE,
    )
    said: list[tuple[str, float]] = json.loads(done.stdout.partition("result ")[2])
    return said


def _commands(searcher: Host, expected: int, slowest: _Protocol, rounds: int) -> list[_Command]:
    """Runs ``bcast discover --expect`` so often, and once before with the slowest alone."""
    limit = str(_MORE * slowest.goal)
    _discover(searcher, "--expect", "1", "-t", limit, "--protocol", slowest.name)
    taken = []
    for _ in range(rounds):
        began = time.time()
        said = _discover(searcher, "--expect", str(expected), "-t", limit)
        ended = time.time()
        devices = [event for event in said if event["event"] == "found"]
        if len(devices) < expected:
            taken.append(_Command(math.inf, math.inf))
        else:
            taken.append(_Command(ended - began, ended - _last_heard(devices, slowest.name)))
    return taken


def _discover(searcher: Host, *args: str) -> list[dict[str, Any]]:
    """The events that it writes."""
    command = bcast_command("discover", "--json", *args)
    done = searcher.run(command, env=environment(), capable=False, check=False, timeout=_PATIENCE)
    if done.returncode > 1:
        raise LabError(f"discover ended with status {done.returncode}", done.stderr.strip())
    return [json.loads(line) for line in done.stdout.splitlines()]


def _last_heard(devices: Sequence[dict[str, Any]], protocol: str) -> float:
    """When the device of a protocol was heard, in seconds since 1970."""
    return max(
        datetime.fromisoformat(sighting["last_heard"]).timestamp()
        for device in devices
        for sighting in device["sightings"]
        if sighting["protocol"] == protocol
    )


# --- printing


def _row(protocol: _Protocol, found: Sequence[Sequence[tuple[str, float]]]) -> Sequence[str]:
    first = [
        min((when for name, when in one if name == protocol.name), default=math.inf)
        for one in found
    ]
    return protocol.name, _cell(first), *_bound(max(first), protocol.goal)


def _command_rows(commands: Sequence[_Command], expected: int) -> Iterator[Sequence[str]]:
    name = f"discover --expect {expected}"
    after = [one.after for one in commands]
    yield name, _cell([one.took for one in commands]), "", ""
    yield f"{name}: after the last device", _cell(after), *_bound(max(after), _PROMPT)


def _crowd_rows(
    found: Sequence[Sequence[tuple[str, float]]], goal: float
) -> Iterator[Sequence[str]]:
    name = f"{_MANY} accessories in one process"
    last = [one[-1][1] if len(one) >= _MANY else math.inf for one in found]
    missed = [_MANY - len(one) for one in found]
    yield name, _cell(last), *_bound(max(last), goal)
    yield f"{name}: missed", f"{median(missed):g} ({max(missed)})", "0", _verdict(not any(missed))


def _bound(worst: float, goal: float) -> tuple[str, str]:
    return f"<= {goal:g}", _verdict(worst <= goal)


def _verdict(met: bool) -> str:
    return "met" if met else "MISSED"


def _cell(taken: Sequence[float]) -> str:
    return f"{_time(median(taken))} ({_time(max(taken))})"


def _time(seconds: float) -> str:
    return "never" if math.isinf(seconds) else f"{seconds:.2f}"
