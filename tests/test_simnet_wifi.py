"""The Wi-Fi cell: airtime, retries, and group frames that wait for the beacon."""

from __future__ import annotations

from functools import partial
from ipaddress import IPv4Address

import pytest

from bcast.datagram import Datagram, Endpoint
from bcast.errors import ArgumentError
from bcast.simnet import GilbertElliott, Lan, Link, Segment, WifiMode

PORT = 28232
GROUP = IPv4Address("239.255.110.72")
TO_GROUP = Endpoint(GROUP, PORT)


class Cell:
    """Stations that note what they hear, and when."""

    def __init__(
        self,
        stations: int,
        mode: WifiMode,
        *,
        loss: float = 0.0,
        burst: GilbertElliott | None = None,
        trace: int | None = None,
    ) -> None:
        self.lan = Lan(1, trace=trace)
        self.segment: Segment = self.lan.segment(wifi=mode, loss=loss, burst=burst, delay=(0, 0))
        self.links: list[Link] = []
        self.heard: list[list[tuple[float, Datagram]]] = []
        for number in range(stations):
            link = self.lan.host(f"station{number}").connect(self.segment)
            self.links.append(link)
            self.heard.append([])
            link.listen(PORT, partial(self._hear, self.heard[-1]), [GROUP])

    def _hear(self, heard: list[tuple[float, Datagram]], datagram: Datagram) -> None:
        heard.append((self.lan.now, datagram))

    def times(self, station: int) -> list[float]:
        return [time for time, _ in self.heard[station]]


def test_airtimes_are_those_of_the_standard() -> None:
    """For 150 bytes of payload: 214 bytes of frame, at 6 and 65 Mbit/s."""
    mode = WifiMode()
    access = 121.5e-6
    assert mode.group_airtime(178) == pytest.approx(access + (214 * 8 + 22) / 6e6)
    assert mode.airtime(178) == pytest.approx(access + (214 * 8 + 22) / 65e6 + 44e-6)


def test_group_frames_wait_for_the_beacon_and_come_in_a_bunch() -> None:
    mode = WifiMode(dtim=0.1)
    cell = Cell(3, mode)
    for time in (0.01, 0.03, 0.05, 0.15):
        cell.lan.at(time, lambda: cell.links[0].send(b"x" * 100, TO_GROUP))
    cell.lan.run(1)
    airtime = mode.group_airtime(128)
    expected = [0.1 + airtime, 0.1 + 2 * airtime, 0.1 + 3 * airtime, 0.2 + airtime]
    assert cell.times(1) == pytest.approx(expected)
    assert cell.times(2) == pytest.approx(expected)
    # The sender's own system loops them back at once.
    assert cell.times(0) == pytest.approx([0.01, 0.03, 0.05, 0.15])


def test_without_sleepers_group_frames_go_out_at_once() -> None:
    mode = WifiMode(dtim=0)
    cell = Cell(2, mode)
    cell.links[0].send(b"x" * 100, TO_GROUP)
    cell.lan.run(1)
    assert cell.times(1) == pytest.approx([mode.airtime(128) + mode.group_airtime(128)])


def test_unicast_goes_by_the_access_point_and_shares_the_air() -> None:
    mode = WifiMode()
    cell = Cell(11, mode)
    for link in cell.links[1:]:
        link.send(b"x" * 150, Endpoint(cell.links[0].address(), PORT))
    cell.lan.run(1)
    each = 2 * mode.airtime(178)
    assert cell.times(0) == pytest.approx([each * number for number in range(1, 11)])


def test_group_frames_go_first_after_the_beacon() -> None:
    mode = WifiMode(dtim=0.01)
    cell = Cell(2, mode)
    cell.links[0].send(b"group", TO_GROUP)
    for _ in range(200):
        cell.links[0].send(b"x" * 150, Endpoint(cell.links[1].address(), PORT))
    cell.lan.run(1)
    [(time, _)] = [(t, d) for t, d in cell.heard[1] if d.payload == b"group"]
    longest = 2 * mode.airtime(178)
    assert 0.01 < time < 0.01 + longest + mode.group_airtime(33) + 1e-9
    assert cell.times(1)[-1] == pytest.approx(
        mode.airtime(33) + 200 * longest + mode.group_airtime(33)
    )


def test_unicast_is_repeated_until_it_arrives_and_group_frames_are_not() -> None:
    mode = WifiMode()
    cell = Cell(2, mode, loss=0.3)
    for number in range(1_000):
        cell.lan.at(
            number,
            partial(cell.links[0].send, b"x" * 150, Endpoint(cell.links[1].address(), PORT)),
        )
        cell.lan.at(number + 0.5, partial(cell.links[0].send, b"group", TO_GROUP))
    cell.lan.run(2_000)
    unicast = [time for time, datagram in cell.heard[1] if datagram.payload != b"group"]
    assert len(unicast) == 1_000
    taken = [time % 1 / mode.airtime(178) for time in unicast]
    assert sum(taken) / 1_000 == pytest.approx(2 / 0.7, rel=0.05)
    assert (len(cell.heard[1]) - 1_000) / 1_000 == pytest.approx(0.7, abs=0.05)


def test_a_far_station_costs_airtime_and_loses_groups() -> None:
    mode = WifiMode(dtim=0)
    cell = Cell(1, mode)
    far = cell.lan.host("far").connect(cell.segment, loss=0.3)
    heard: list[bytes] = []
    far.listen(PORT, lambda datagram: heard.append(datagram.payload), [GROUP])
    for number in range(1_000):
        cell.lan.at(number, partial(cell.links[0].send, b"one", Endpoint(far.address(), PORT)))
        cell.lan.at(number, partial(cell.links[0].send, b"all", TO_GROUP))
    cell.lan.run(1_000)
    assert heard.count(b"one") == 1_000
    assert heard.count(b"all") / 1_000 == pytest.approx(0.7, abs=0.05)


def test_unicast_that_never_gets_through_is_lost() -> None:
    mode = WifiMode(attempts=3)
    cell = Cell(2, mode, loss=1, trace=10)
    cell.links[0].send(b"x" * 150, Endpoint(cell.links[1].address(), PORT))
    cell.lan.run(1)
    assert [(str(line.fate), line.time) for line in cell.lan.trace] == [
        ("sent", 0.0),
        ("lost", pytest.approx(3 * mode.airtime(178))),
    ]


def test_a_bad_period_of_a_station_stops_what_it_sends_too() -> None:
    cell = Cell(2, WifiMode(dtim=0), burst=GilbertElliott(0.5, 0.5))
    for number in range(4_000):
        cell.lan.at(
            number / 100,
            partial(cell.links[0].send, b"x", Endpoint(cell.links[1].address(), PORT)),
        )
    cell.lan.run(50)
    assert len(cell.heard[1]) / 4_000 == pytest.approx(0.25, abs=0.08)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"group_rate": 0}, "no rate"),
        ({"rate": float("inf")}, "no rate"),
        ({"dtim": -1}, "no DTIM interval"),
        ({"attempts": 0}, "0 attempts"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        WifiMode(**arguments)
