"""Made-up time, and the same run for the same seed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.datagram import Endpoint, Family
from bcast.errors import ArgumentError
from bcast.simnet import Fate, GilbertElliott, Lan, WifiMode
from tests.recorders import Echo, Recorder

PORT = 28232
GROUP = IPv4Address("239.255.110.72")
TO_GROUP = Endpoint(GROUP, PORT)
PROJECT = Path(__file__).parent.parent

_SEGMENTS: list[dict[str, Any]] = [
    {"loss": 0.2, "duplicate": 0.1, "reorder": 0.1},
    {"loss": 0.1, "burst": GilbertElliott(0.05, 0.2), "families": list(Family)},
    {"loss": 0.2, "jitter": 0.001},
    {"loss": 0.3, "wifi": WifiMode()},
]


def story(seed: int, arguments: dict[str, Any]) -> Lan:
    """A search that repeats itself, with a stall, a death and a cable that is pulled."""
    lan = Lan(seed, trace=5_000)
    segment = lan.segment(**arguments)
    for number in range(8):
        host = lan.host(f"peer{number}")
        host.connect(segment, buffer=3_000, drain=1_000)
        host.run(Echo(), port=PORT, groups=[GROUP])
    asking = lan.host("asking")
    link = asking.connect(segment)
    asking.run(Recorder(), port=PORT, groups=[GROUP])
    for time in range(20):
        payload = asking.random.randbytes(20)
        source = Endpoint(link.address(), 9)
        lan.at(time / 50, partial(link.send, payload, TO_GROUP, source=source))
    lan.at(0.1, lambda: lan.hosts[1].freeze(0.1))
    lan.at(0.2, lan.hosts[2].stop)
    lan.at(0.25, lan.hosts[3].links[0].down)
    lan.run(1)
    return lan


def digests() -> list[str]:
    return [story(5, arguments).digest for arguments in _SEGMENTS]


# --- time


def test_things_happen_in_the_order_of_time_and_then_of_planning() -> None:
    lan = Lan()
    happened: list[tuple[float, str]] = []

    def note(name: str) -> None:
        happened.append((lan.now, name))

    for time, name in ((2, "c"), (1, "a"), (2, "d"), (1, "b"), (4, "e")):
        lan.at(time, partial(note, name))
    lan.run(3)
    assert happened == [(1, "a"), (1, "b"), (2, "c"), (2, "d")]
    assert lan.now == 3
    lan.run(4)
    assert happened[-1] == (4, "e")


def test_what_happens_may_plan_more() -> None:
    lan = Lan()
    times: list[float] = []

    def again() -> None:
        times.append(lan.now)
        lan.at(lan.now + 1, again)

    lan.at(0, again)
    lan.run(3.5)
    assert times == [0, 1, 2, 3]


def test_a_run_ends_when_the_predicate_holds_or_at_its_limit() -> None:
    lan = Lan()
    happened: list[int] = []
    for time in range(1, 5):
        lan.at(time, partial(happened.append, time))
    assert lan.run_until(lambda: 2 in happened, 10)
    assert (lan.now, happened) == (2, [1, 2])
    assert not lan.run_until(lambda: 9 in happened, 3.5)
    assert (lan.now, happened) == (3.5, [1, 2, 3])
    assert lan.run_until(lambda: True, 3.5)
    assert lan.now == 3.5


def test_an_hour_of_silence_takes_no_time() -> None:
    lan = Lan()
    host = lan.host("host")
    host.connect(lan.segment())
    machine = Recorder()
    machine.timer = 3_600.0
    host.run(machine, port=PORT)
    lan.run(86_400)
    assert machine.timers == [3_600.0]


# --- the same again


@given(st.integers(0, 2**64), st.sampled_from(_SEGMENTS))
def test_the_same_seed_leads_to_the_same_trace(seed: int, arguments: dict[str, Any]) -> None:
    first, second = story(seed, arguments), story(seed, arguments)
    assert first.trace == second.trace
    assert first.digest == second.digest
    assert story(seed + 1, arguments).digest != first.digest


def test_the_trace_does_not_depend_on_the_process() -> None:
    """Whatever order the hashes of that process have."""
    code = "from tests.test_simnet_lan import digests; print(*digests())"
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stdout.split() == digests()


def test_a_trace_tells_the_fate_of_each_datagram() -> None:
    lan = Lan(trace=100)
    segment = lan.segment(delay=(0.001, 0.001))
    host = lan.host("peer")
    link = host.connect(segment, buffer=2_304, drain=100)
    host.run(Recorder(), port=PORT)
    sender = lan.host("sender").connect(segment)
    to = Endpoint(link.address(), PORT)
    for payload in (b"1", b"2", b"3", b"4"):
        sender.send(payload, to, source=Endpoint(sender.address(), 9))
    sender.send(b"5", Endpoint(link.address(), 7), source=Endpoint(sender.address(), 9))
    sender.send(b"6", Endpoint(IPv4Address("10.0.0.99"), 7), source=Endpoint(sender.address(), 9))
    lan.run(1)
    fates = [(line.host, line.size, line.fate) for line in lan.trace]
    assert fates == [
        *[("sender", 1, Fate.SENT)] * 6,
        ("sender", 1, Fate.NOBODY),
        ("peer", 1, Fate.RECEIVED),
        ("peer", 1, Fate.RECEIVED),
        ("peer", 1, Fate.RECEIVED),
        ("peer", 1, Fate.DROPPED),
        ("peer", 1, Fate.NOBODY),
    ]
    line = lan.trace[7]
    assert (line.time, line.interface, line.source.port, line.destination) == (
        0.001,
        "eth0",
        9,
        to,
    )


def test_a_trace_keeps_its_last_lines_and_digests_all() -> None:
    long, short, none = (Lan(trace=limit) for limit in (100, 2, 0))
    for lan in (long, short, none):
        link = lan.host("host").connect(lan.segment())
        for number in range(5):
            link.send(bytes([number]), TO_GROUP, source=Endpoint(link.address(), 9))
        lan.run(1)
    assert len(long.trace) == 5
    assert short.trace == long.trace[-2:]
    assert none.trace == ()
    assert len({lan.digest for lan in (long, short, none)}) == 1


def test_hosts_are_known_in_their_order() -> None:
    lan = Lan()
    hosts = [lan.host(name) for name in "zyx"]
    assert lan.hosts == tuple(hosts)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda lan: Lan(trace=-1), "trace of -1 lines"),
        (lambda lan: lan.trace, "keeps no trace"),
        (lambda lan: lan.digest, "keeps no trace"),
        (lambda lan: lan.at(0.5, print), "past, or never"),
        (lambda lan: lan.run(0.5), "past, or never"),
        (lambda lan: lan.run(float("inf")), "past, or never"),
        (lambda lan: lan.run_until(bool, 0.5), "past, or never"),
        (lambda lan: lan.segment("lan"), "a segment lan already"),
        (lambda lan: lan.host("host"), "a host host already"),
        (lambda lan: lan.segment("other", families=()), "without a family"),
        (lambda lan: lan.segment("other", network="10.0.0.1/24"), "no IPv4 network"),
        (lambda lan: lan.segment("other", network="lamp"), "no IPv4 network"),
        (lambda lan: lan.segment("other", network="10.0.0.0/31"), "no room for two hosts"),
    ],
)
def test_what_cannot_be_is_refused(wrong: Any, message: str) -> None:
    lan = Lan()
    lan.segment()
    lan.host("host")
    lan.run(1)
    with pytest.raises(ArgumentError, match=message):
        wrong(lan)


# --- its documentation


def test_the_examples_of_the_documentation_run_and_print_what_they_say() -> None:
    text = (PROJECT / "docs" / "simnet.md").read_text("utf-8")
    examples = re.findall(r"```python\n(.*?)```\n(?:\n```\n(.*?)```)?", text, re.DOTALL)
    assert len(examples) >= 2
    for code, printed in examples:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stderr == ""
        assert done.stdout == printed
