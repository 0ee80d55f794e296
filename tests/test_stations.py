"""Several machines on one driver, and machines that have doors, over the loopback interface."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from bcast.channels import InterfaceFailed, InterfaceReady
from bcast.datagram import Endpoint, Family, Group
from bcast.destinations import ALL_HOSTS, DEFAULT_GROUPS
from bcast.driver import Driver
from bcast.errors import PortTakenError
from bcast.machine import Door, Outgoing
from bcast.receiver import Receiver
from tests.command import free_port
from tests.echo import Echo, everybody
from tests.loopback import Watcher, loopback, nothing_leaks

if sys.platform != "linux":
    pytest.skip("the loopback interface is used as Linux has it", allow_module_level=True)

HERE = IPv4Address("127.0.0.1")
ELSEWHERE = Group(IPv4Address("239.1.2.3"))


@pytest.fixture
def now() -> list[float]:
    return [100.0]


@pytest.fixture
def driver(now: list[float]) -> Iterator[Driver[bytes]]:
    lo = loopback("127.0.0.1")
    with (
        nothing_leaks(),
        Driver[bytes](
            None, interfaces="lo", clock=lambda: now[0], list_interfaces=lambda: (lo,)
        ) as made,
    ):
        yield made


def say(driver: Driver[bytes], machine: Echo, payload: bytes, there: Endpoint, door: int) -> None:
    index = machine.attached[-1][0].interface.index
    machine.outgoing.append(Outgoing(payload, index, there, door))
    driver.flush(100.0)
    driver.turn()


def port_of(machine: Echo, door: int) -> int:
    [attached] = machine.attached[-1]
    [port] = [one.port for one in attached.doorways if one.door == door]
    return port


def test_each_machine_hears_by_its_own_doors(driver: Driver[bytes]) -> None:
    one, other, third = free_port(), free_port(), free_port()
    lamps, plugs = Echo(b"lamp"), Echo(b"plug")
    driver.add(lamps, [Door(one, (ELSEWHERE,)), Door()], name="lamps")
    driver.add(plugs, [Door(other), Door(third)], name="plugs")
    # From the port that replies are expected at, or from one that nobody else has.
    say(driver, lamps, b"who", Endpoint(ALL_HOSTS, other), 0)
    driver.turn()
    [question] = [d for r in plugs.received for d in r.datagrams]
    assert question.source == Endpoint(HERE, port_of(lamps, 0))
    assert question.destination == Endpoint(ALL_HOSTS, other)
    say(driver, plugs, b"from the port", question.source, third)
    driver.turn()
    [answer] = [d for r in lamps.received for d in r.datagrams]
    assert (answer.payload, answer.source) == (b"from the port", Endpoint(HERE, third))
    # A group is joined by the door that wants it, and only there.
    say(driver, plugs, b"to the group", Endpoint(ELSEWHERE.address, one), other)
    say(driver, plugs, b"to nobody", Endpoint(ELSEWHERE.address, other), other)
    assert lamps.payloads[-1] == b"to the group"
    assert b"to nobody" not in plugs.payloads
    assert driver.traffic.sent == 4


def test_a_machine_without_doors_is_not_told_of_any(now: list[float]) -> None:
    lo = loopback("127.0.0.1")
    port, other = free_port(), free_port()
    native, foreign = Echo(), Echo()
    with Driver(
        native,
        port=port,
        groups=DEFAULT_GROUPS,
        interfaces="lo",
        clock=lambda: now[0],
        list_interfaces=lambda: (lo,),
    ) as driver:
        driver.add(foreign, [Door(other)])
        native.say(b"hello", everybody(port))
        foreign.say(b"ignored", Endpoint(HERE, other))  # by a door that there isn't
        driver.flush(100.0)
        driver.turn()
        assert [a.doorways for a in native.attached[-1]] == [()]
        assert native.payloads == [b"hello"]
        assert foreign.payloads == []
        # Both wake the driver up.
        native.timer, foreign.timer = 102.0, 101.0
        assert driver.due() == 101.0
        now[0] = 103.0
        driver.turn()
        assert (native.called, foreign.called) == ([103.0], [103.0])


def test_a_port_that_is_taken_is_told_and_the_others_go_on(
    driver: Driver[bytes], now: list[float]
) -> None:
    taken, free = free_port(), free_port()
    stuck, fine = Echo(), Echo()
    with Receiver("lo", port=taken, share=False):
        driver.add(stuck, [Door(taken)], name="kasa")
        with pytest.raises(PortTakenError, match=f"kasa: lo: UDP port {taken} is taken"):
            driver.raise_if_none()
        driver.add(fine, [Door(free), Door(taken)], name="wiz")
        driver.raise_if_none()
        told = driver.changes()
        assert [str(n.sentence).partition(" by ")[0] for n in told] == [
            f"{name}: lo: UDP port {taken} is taken" for name in ("kasa", "wiz")
        ]
        assert all(isinstance(n, InterfaceFailed) for n in told)
        assert stuck.attached == []
        assert [one.door for one in fine.attached[-1][0].doorways] == [free]
        now[0] += 1.5
        driver.turn()
        assert driver.changes() == []
    now[0] += 1.5
    driver.turn()
    # What was taken works as soon as it is free.
    assert all(isinstance(n, InterfaceReady) for n in driver.changes())
    assert port_of(stuck, taken) == port_of(fine, taken) == taken


def test_a_port_that_is_only_preferred(driver: Driver[bytes]) -> None:
    wanted = free_port()
    first, second = Echo(), Echo()
    driver.add(first, [Door(wanted, or_any=True)])
    assert port_of(first, wanted) == wanted
    unshared = free_port()
    with Receiver("lo", port=unshared, share=False):
        driver.add(second, [Door(unshared, or_any=True)])
        assert port_of(second, unshared) != unshared
    assert driver.changes() == []
    say(driver, second, b"who", Endpoint(HERE, wanted), unshared)
    driver.turn()
    assert [d.source.port for r in first.received for d in r.datagrams] == [
        port_of(second, unshared)
    ]


def test_a_door_that_only_hears(driver: Driver[bytes]) -> None:
    port = free_port()
    hearing, saying = Echo(), Echo()
    driver.add(hearing, [Door(port, sends=False)])
    driver.add(saying, [Door()])
    say(driver, saying, b"I am here", Endpoint(ALL_HOSTS, port), 0)
    assert hearing.payloads == [b"I am here"]
    say(driver, hearing, b"nothing", Endpoint(HERE, port), port)
    assert hearing.payloads == [b"I am here"]
    assert driver.traffic.lost == 1


def test_a_machine_whose_sockets_somebody_else_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bcast.driver.InterfaceWatcher", Watcher)
    Watcher.made.clear()
    ended: list[str] = []
    with nothing_leaks(), Driver[bytes](None, interfaces="lo", clock=lambda: 100.0) as driver:
        machine = Echo()
        driver.at_close(lambda: ended.append("first"))
        driver.at_close(lambda: ended.append("last"))
        driver.add(machine, (), families=(Family.IPV4, Family.IPV6))
        driver.raise_if_none()  # there is nothing to be opened
        assert driver.states == ()
        [attached] = machine.attached[-1]
        assert (attached.interface.name, attached.doorways) == ("lo", ())
        assert Family.IPV4 in attached.families
        [watcher] = Watcher.made
        watcher.tell(loopback("127.0.0.9"))
        driver.turn()
        [attached] = machine.attached[-1]
        assert [str(one) for one in attached.interface.addresses] == ["127.0.0.9/8"]
        assert attached.families == (Family.IPV4,)
        watcher.tell()
        driver.turn()
        assert machine.attached[-1] == ()
        port = free_port()
        driver.add(Echo(), [Door(port)])
        assert driver.states == ()
        failed = InterfaceReady(loopback(), 7)
        driver.note(failed)
        assert driver.changes()[-1] == failed
        assert not ended
    assert ended == ["last", "first"]
