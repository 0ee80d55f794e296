"""What is shown of a search that failed."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_address

from bcast.cli.timeline import Timeline
from bcast.device import Added, Cause, Changed, Device, Removed, Restarted, Sighting, Suspect

START = 1_700_000_000_000_000_000
MS = 1_000_000


def sighting(interface: str, address: str, ms: int) -> Sighting:
    return Sighting(interface, 2, ip_address(address), 4, "bcast", None, START + ms * MS)


FIRST = sighting("eth0", "10.9.1.7", 1)
SECOND = sighting("eth1", "10.9.2.7", 250)
LAMP = Device("aa", "lamp", "_lamp", 80, {}, (FIRST,))


def shown(timeline: Timeline) -> list[str]:
    first, *lines = timeline.lines(["eth0", "eth1"])
    assert first == "what was heard, in seconds since the search began:"
    return lines


def test_nothing_is_said_of_each_interface() -> None:
    assert shown(Timeline(START)) == ["eth0: nothing", "eth1: nothing"]


def test_each_interface_has_what_it_heard_when_it_heard_it() -> None:
    timeline = Timeline(START)
    both = replace(LAMP, sightings=(FIRST, SECOND))
    changed = replace(both, sightings=(sighting("eth0", "10.9.1.7", 400), SECOND))
    timeline.note(Added(LAMP), START + 5 * MS, matches=True)
    timeline.note(Changed(both, ("sightings",)), START + 255 * MS, matches=True)
    timeline.note(Changed(changed, ("port",)), START + 405 * MS, matches=False)
    timeline.note(Suspect(changed), START + 3_000 * MS, matches=True)
    timeline.note(
        Removed(replace(both, sightings=()), Cause.SILENCE), START + 4_000 * MS, matches=True
    )
    assert shown(timeline) == [
        "eth0:",
        "     0.001  added      lamp  _lamp  from 10.9.1.7",
        "     0.400  changed    lamp  _lamp  (port)  (doesn't match)  from 10.9.1.7",
        "     3.000  suspect    lamp  _lamp",
        "     4.000  removed    lamp  _lamp  (silence)",
        "eth1:",
        "     0.250  changed    lamp  _lamp  (sightings)  from 10.9.2.7",
        "     3.000  suspect    lamp  _lamp",
        "     4.000  removed    lamp  _lamp  (silence)",
    ]


def test_what_was_heard_nowhere_is_shown_too() -> None:
    timeline = Timeline(START)
    timeline.note(Restarted(replace(LAMP, sightings=())), START + MS, matches=True)
    timeline.note(Changed(replace(LAMP, sightings=()), ()), START + MS, matches=True)
    assert shown(timeline)[2:] == [
        "-:",
        "     0.001  changed    lamp  _lamp  (answers again)",
        "     0.001  restarted  lamp  _lamp",
    ]


def test_a_flood_is_shortened_and_harmless() -> None:
    timeline = Timeline(START)
    for number in range(5_000):
        evil = Sighting("eth0", 2, IPv4Address("10.9.1.7"), 4, "bcast", None, START + number * MS)
        device = Device(str(number), f"\x1b[2J{number}", "_x", 0, {}, (evil,))
        timeline.note(Added(device), START, matches=True)
    first, *lines = shown(timeline)
    assert first == "  (4900 earlier events are left out)"
    assert len(lines) == 102
    assert lines[1] == "     4.900  added      \\x1b[2J4900  _x  from 10.9.1.7"
