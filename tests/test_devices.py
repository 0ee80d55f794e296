from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.cli.devices import (
    HEADINGS,
    cells_of,
    counts_object,
    counts_parts,
    device_object,
    event_line,
    event_object,
    in_order,
    table_lines,
)
from bcast.device import (
    Added,
    Cause,
    Changed,
    Device,
    DeviceEvent,
    Removed,
    Restarted,
    Sighting,
    Suspect,
)
from bcast.discovery.prober import SearchStatistics
from bcast.driver import Traffic
from tests.strategies import devices

# 2026-11-23T04:48:14Z
NOON = 1_795_409_294_000_000_001
ID = "0123456789abcdef" * 2
SEEN = (
    Sighting("eth0", 2, IPv4Address("10.9.1.7"), 40_000, "bcast", 0.00123456789, NOON),
    Sighting("eth1", 3, IPv4Address("10.9.2.7"), 40_001, "bcast", None, 0),
    Sighting("eth1", 3, IPv6Address("fe80::7%eth1"), 40_002, "bcast", 0.0004, NOON),
)
LAMP = Device(ID, "lamp-1", "_lamp", 80, {"fw": "1.4"}, SEEN, probes_answered=2)
EVIL = "\x1b[2J\u202eevil\n\x9b"


def test_a_row_says_where_to_reach_it() -> None:
    assert cells_of(LAMP) == ("lamp-1", "_lamp", "10.9.1.7:80 +2", "eth0,eth1", "0.4 ms", "bcast")
    only6 = Device(ID, "a", "_b", 80, {}, SEEN[2:])
    assert cells_of(only6)[2:] == ("[fe80::7%eth1]:80", "eth1", "0.4 ms", "bcast")
    # Without a port there is none to show, and nobody was asked for a latency.
    unasked = Device(ID, "a", "_b", 0, {}, SEEN[1:2])
    assert cells_of(unasked)[2:] == ("10.9.2.7", "eth1", "-", "bcast")
    assert cells_of(Device(ID, "a", "_b", 0))[2:] == ("-", "-", "-", "bcast")


def test_a_table_has_columns() -> None:
    plug = Device(ID, "plug", "_plug", 0, {}, SEEN[:1])
    assert table_lines([LAMP, plug]) == [
        "NAME    TYPE   ADDRESS         INTERFACES  LATENCY  PROTOCOLS",
        "lamp-1  _lamp  10.9.1.7:80 +2  eth0,eth1   0.4 ms   bcast",
        "plug    _plug  10.9.1.7        eth0        1.2 ms   bcast",
    ]
    assert table_lines([LAMP], details=True)[2:] == [f"    id {ID}  fw=1.4"]
    assert table_lines([]) == ["  ".join(HEADINGS)]


def test_devices_are_in_order() -> None:
    names = [("b", "_x"), ("a", "_x"), ("c", "_a")]
    ordered = in_order(Device(ID, name, type, 0) for name, type in names)
    assert [device.name for device in ordered] == ["c", "a", "b"]


def test_an_object_has_all_names() -> None:
    assert device_object("found", LAMP) == {
        "event": "found",
        "protocols": ["bcast"],
        "id": ID,
        "name": "lamp-1",
        "type": "_lamp",
        "port": 80,
        "attributes": {"fw": "1.4"},
        "sightings": [
            {
                "interface": "eth0",
                "index": 2,
                "address": "10.9.1.7",
                "port": 40_000,
                "protocol": "bcast",
                "latency": 0.001235,
                "last_heard": "2026-11-23T04:48:14.000000001Z",
            },
            {
                "interface": "eth1",
                "index": 3,
                "address": "10.9.2.7",
                "port": 40_001,
                "protocol": "bcast",
                "latency": None,
                "last_heard": None,
            },
            {
                "interface": "eth1",
                "index": 3,
                "address": "fe80::7%eth1",
                "port": 40_002,
                "protocol": "bcast",
                "latency": 0.0004,
                "last_heard": "2026-11-23T04:48:14.000000001Z",
            },
        ],
        "probes_answered": 2,
    }


@pytest.mark.parametrize(
    ("event", "name", "more", "ending"),
    [
        (Added(LAMP), "added", {}, ""),
        (Changed(LAMP, ("port", "type")), "changed", {"changed": ["port", "type"]}, "port, type"),
        (Changed(LAMP, ()), "changed", {"changed": []}, "answers again"),
        (Suspect(LAMP), "suspect", {}, ""),
        (Restarted(LAMP), "restarted", {}, ""),
        (Removed(LAMP, Cause.GOODBYE), "removed", {"cause": "goodbye"}, "goodbye"),
        (Removed(LAMP, Cause.SILENCE), "removed", {"cause": "silence"}, "silence"),
        (Removed(LAMP, Cause.PATH), "removed", {"cause": "path"}, "path"),
    ],
)
def test_events(event: DeviceEvent, name: str, more: dict[str, object], ending: str) -> None:
    told = event_object(event, NOON)
    assert told == device_object(name, LAMP) | {"time": "2026-11-23T04:48:14.000000001Z"} | more
    assert list(told)[:2] == ["event", "time"]
    line = event_line(event, NOON)
    assert line.split()[1:4] == [name, "lamp-1", "_lamp"]
    assert line.endswith(f"  ({ending})" if ending else "0.4 ms  bcast")


@given(st.lists(devices(), max_size=5), st.booleans())
def test_nothing_of_a_peer_reaches_the_terminal_as_it_is(
    found: list[Device], details: bool
) -> None:
    lines = table_lines(found, details=details)
    assert len(lines) == 1 + len(found) * (1 + details)
    for line in [*lines, *(cell for device in found for cell in cells_of(device))]:
        assert line.isprintable()
    for device in found:
        assert json.loads(json.dumps(device_object("found", device)))["name"] == device.name
        assert json.dumps(device_object("found", device)).isascii()


def test_a_hostile_name_is_shown_as_escapes() -> None:
    evil = Device(ID, EVIL, "_lamp", 80, {EVIL: EVIL})
    shown = "\n".join(table_lines([evil], details=True))
    assert r"\x1b[2J\u202eevil\n\x9b" in shown
    assert "\x1b" not in shown


# --- what the summary says


def statistics(
    missing: float | None = 0.0, rejected: dict[str, int] | None = None
) -> SearchStatistics:
    return SearchStatistics(7, 1, 4, 3, missing, 0, 0, rejected or {})


@pytest.mark.parametrize(
    ("there", "missing", "sentence"),
    [
        (3, 0.0, "no sign that any is missing"),
        (3, 0.04, "no sign that any is missing"),
        (3, 0.3, "one may be missing (the estimate is 0.3)"),
        (100, 2.6, "some 3 may be missing"),
        # Nobody can tell who wasn't heard from nobody who was, or before a round is over.
        (0, 0.0, "no telling how many are missing"),
        (3, None, "no telling how many are missing"),
    ],
)
def test_the_estimate_claims_no_more_than_it_knows(
    there: int, missing: float | None, sentence: str
) -> None:
    told = statistics(missing)
    assert counts_parts(there, told, Traffic())[0] == sentence
    known = None if "no telling" in sentence else missing
    assert counts_object(there, told, Traffic())["estimated_missing"] == known


def test_losses_are_told_apart() -> None:
    told = statistics(rejected={"realm": 2, "key": 1})
    traffic = Traffic(received=9, bytes=900, kernel_drops=5, lost=1)
    assert counts_parts(3, told, traffic)[1:] == [
        "kernel drops 5",
        "rejected 3 (1 key, 2 realm)",
        "not sent 1",
    ]
    assert counts_object(3, told, traffic) == {
        "probes": 7,
        "queries": 1,
        "replies": 4,
        "estimated_missing": 0.0,
        "refused": 0,
        "rejected": 3,
        "rejected_reasons": {"key": 1, "realm": 2},
        "datagrams": 9,
        "bytes": 900,
        "kernel_drops": 5,
        "not_sent": 1,
    }
    assert counts_parts(3, statistics(), Traffic())[1:] == ["kernel drops unknown", "rejected 0"]
    full = SearchStatistics(7, 1, 4, 3, 0.0, 0, 8, {})
    assert "no room for 8" in counts_parts(3, full, Traffic())
