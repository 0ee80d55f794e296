"""Sockets that send: options that one destination needs don't stay on for the others."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import NamedTuple

import pytest

from bcast.datagram import Address, Endpoint, Interface, InterfaceFlag, Kind
from bcast.destinations import ALL_HOSTS, Target
from bcast.legs import leg_to
from bcast.outlets import Outlet
from bcast.sockets import bsd, linux
from bcast.sockets.plan import Platform

FLAGS = InterfaceFlag.UP | InterfaceFlag.RUNNING | InterfaceFlag.BROADCAST
FOUR = Address(IPv4Address("10.9.1.1"), 24, IPv4Address("10.9.1.255"))
ETH7 = Interface("eth7", 7, Kind.ETHERNET, FLAGS, 1500, None, (FOUR,))


class Options(NamedTuple):
    """A socket that writes down the options that are set on it."""

    written: list[tuple[int, int, int]]

    def getsockname(self) -> tuple[str, int]:
        return "0.0.0.0", 4000

    def setsockopt(self, level: int, number: int, value: int) -> None:
        self.written.append((level, number, value))


@pytest.mark.parametrize("used", [linux, bsd.system("freebsd14")], ids=["linux", "freebsd"])
def test_what_all_hosts_need_is_taken_back(
    used: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bcast.legs.platform", used)
    everybody = leg_to(ETH7, Target(FOUR, ALL_HOSTS, all_hosts=True), 9)
    somebody = leg_to(ETH7, Target(FOUR, IPv4Address("10.9.1.7")), 9)
    assert everybody is not None
    assert somebody is not None
    opened = Options([])
    outlet = Outlet(opened, ETH7, FOUR.address)  # type: ignore[arg-type, unused-ignore]
    assert outlet.here == Endpoint(FOUR.address, 4000)
    outlet.prepare(everybody)
    outlet.prepare(everybody)
    # Once, and taken back before anything else is sent.
    set_now = [(o.level, o.number, int(o.value)) for o in used.all_hosts(FOUR)[1]]
    assert opened.written == set_now
    outlet.prepare(somebody)
    assert opened.written == set_now + [(level, number, 0) for level, number, _ in set_now]
    outlet.prepare(everybody)
    assert opened.written[-len(set_now) or 9 :] == set_now
