"""A port that several machines of one driver have: all of them hear what is sent to it, once."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from bcast.datagram import Group
from bcast.driver import Driver
from bcast.machine import Door
from tests.command import PATIENCE, free_port
from tests.echo import Echo
from tests.loopback import loopback, nothing_leaks

if sys.platform != "linux":
    pytest.skip("the loopback interface is used as Linux has it", allow_module_level=True)

GROUP = IPv4Address("239.255.7.7")


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def driver() -> Iterator[Driver[bytes]]:
    lo = loopback("127.0.0.1")
    opened: Driver[bytes]
    with nothing_leaks(), Driver(None, interfaces="lo", list_interfaces=lambda: (lo,)) as opened:
        yield opened


def say(payload: bytes, there: IPv4Address | str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        sending.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sending.setsockopt(
            socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1")
        )
        sending.bind(("127.0.0.1", 0))
        sending.sendto(payload, (str(there), port))


@pytest.mark.parametrize("there", ["127.0.0.1", "127.255.255.255", GROUP])
def test_each_hears_everything_once(
    driver: Driver[bytes], port: int, there: IPv4Address | str
) -> None:
    machines = [Echo(), Echo(), Echo()]
    doors = [
        Door(port, (Group(GROUP),)),
        Door(port, (Group(GROUP),), sends=False),
        Door(port, (Group(GROUP),)),
    ]
    for machine, door in zip(machines, doors, strict=True):
        driver.add(machine, [door])
    elsewhere = Echo()
    driver.add(elsewhere, [Door(0)])
    for number in range(3):
        say(b"%d" % number, there, port)
    driver.wait(PATIENCE)
    driver.turn()
    assert [machine.payloads for machine in machines] == [[b"0", b"1", b"2"]] * 3
    assert elsewhere.payloads == []


def test_who_comes_later_takes_nothing_from_the_others(driver: Driver[bytes], port: int) -> None:
    first, second = Echo(), Echo()
    driver.add(first, [Door(port)])
    say(b"alone", "127.0.0.1", port)
    driver.wait(PATIENCE)
    driver.add(second, [Door(port)])
    say(b"both", "127.0.0.1", port)
    driver.wait(PATIENCE)
    assert first.payloads == [b"alone", b"both"]
    assert second.payloads == [b"both"]
