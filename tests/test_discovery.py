"""A prober and responders on one wire without delay: the two sides understand each other."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from random import Random

import pytest

from bcast.datagram import Address, Datagram, Endpoint, Family, Interface
from bcast.device import Added, Cause, Changed, DeviceEvent, Removed, Restarted
from bcast.discovery.prober import Prober
from bcast.discovery.responder import Responder
from bcast.domain import Domain
from bcast.machine import Attached, Machine, Outgoing, Received
from bcast.messages import Service
from bcast.wire.keys import Keyring
from tests.machines import BOTH, ETH, FLAGS, LAMP, large

KEYS = Keyring({1: b"k" * 16}, 1)


class Host:
    """A machine with an interface, and the addresses of its own sockets there."""

    def __init__(
        self, number: int, machine: Machine[object], families: tuple[Family, ...]
    ) -> None:
        addresses = (
            Address(IPv4Address(f"10.0.2.{number}"), 24, IPv4Address("10.0.2.255")),
            Address(ip_address(f"fe80::{number}%eth2"), 64),
        )
        self.machine = machine
        self.interface = Interface("eth2", 2, ETH.kind, FLAGS, 1500, None, addresses)
        self.own = {Family(a.address.version): Endpoint(a.address, 50_000) for a in addresses}
        self.attached = Attached(self.interface, families, 512)


class Wire:
    """Brings everything to everybody it is for, at once, as long as it is plugged in."""

    def __init__(self) -> None:
        self.now = 0.0
        self.hosts: list[Host] = []

    def add(self, machine: Machine[object], families: tuple[Family, ...] = BOTH[:1]) -> Host:
        host = Host(len(self.hosts) + 1, machine, families)
        self.hosts.append(host)
        machine.interfaces_changed([host.attached], self.now)
        return host

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while True:
            self.settle()
            times = [time for host in self.hosts if (time := host.machine.get_timer()) is not None]
            if not times or min(times) > until:
                break
            self.now = max(self.now, min(times))
            for host in self.hosts:
                host.machine.handle_timer(self.now)
        self.now = until

    def settle(self) -> None:
        while sent := [(h, o) for h in self.hosts for o in h.machine.datagrams_to_send(self.now)]:
            for host, one in sent:
                self.bring(host, one)

    def bring(self, sender: Host, sent: Outgoing) -> None:
        to = sent.destination
        family = Family(to.address.version)
        for host in self.hosts:
            if family in host.attached.families and (
                to.address.is_multicast or to == host.own[family]
            ):
                one = Datagram(sent.payload, sender.own[family], to, host.interface, 0, 255)
                host.machine.receive_datagrams(Received(host.interface, [one]), self.now)


def prober(*types: str, domain: Domain | None = None) -> Prober:
    return Prober(random=Random(7), domain=domain, types=types)


def responder(
    *services: Service,
    seed: int = 1,
    domain: Domain | None = None,
    id: bytes | None = None,
    interval: float | None = None,
) -> Responder:
    random = Random(seed)
    offered = services or (LAMP,)
    if domain is None:
        return Responder(offered, random=random, id=id, interval=interval)
    return Responder(offered, random=random, domain=domain, id=id, interval=interval)


def events(machine: Prober) -> list[DeviceEvent]:
    found = []
    while (event := machine.next_event()) is not None:
        found.append(event)
    return found


@pytest.mark.parametrize("families", [BOTH, BOTH[:1], BOTH[1:]])
@pytest.mark.parametrize("keyring", [None, KEYS])
def test_a_search_finds_each_peer_by_one_answer(
    families: tuple[Family, ...], keyring: Keyring | None
) -> None:
    domain = Domain(realm="test", keyring=keyring)
    wire, searching = Wire(), prober(domain=domain)
    peers = [responder(seed=n, domain=domain) for n in range(20)]
    for peer in peers:
        wire.add(peer, families)
    wire.run(10.0)
    wire.add(searching, families)
    wire.run(1.0)
    assert len(searching.devices) == 20
    assert {type(event) for event in events(searching)} == {Added}
    assert {peer.statistics.replies for peer in peers} == {1}
    assert {device.name for device in searching.devices} == {"lamp-1"}


def test_domains_and_types_dont_see_one_another() -> None:
    wire, searching = Wire(), prober("_cam")
    wire.add(responder(seed=1))
    wire.add(responder(Service("cam", "_cam"), seed=2, domain=Domain(realm="other")))
    wire.add(responder(Service("cam", "_cam"), seed=3, domain=Domain(keyring=KEYS)))
    wire.add(responder(Service("cam-4", "_cam"), seed=4))
    wire.add(searching)
    wire.run(2.0)
    assert [device.name for device in searching.devices] == ["cam-4"]


def test_services_of_several_parts_are_fetched() -> None:
    wire, searching = Wire(), prober()
    wire.add(responder(*large(5)))
    wire.add(searching)
    wire.run(2.0)
    assert sorted(device.name for device in searching.devices) == [f"lamp-{n}" for n in range(5)]
    assert all(device.attributes["b"] == "y" * 250 for device in searching.devices)


def test_what_happens_to_a_peer_is_told_within_moments() -> None:
    wire, searching = Wire(), prober()
    wire.add(searching)
    peer = responder(id=b"i" * 16, interval=5)
    wire.add(peer)
    wire.run(4.0)
    assert [type(event) for event in events(searching)] == [Added]
    peer.offer([Service("lamp-1", "_lamp", 81, LAMP.attributes)], wire.now)
    wire.run(0.2)
    [event] = events(searching)
    assert isinstance(event, Changed)
    assert (event.changed, event.device.port) == (("port",), 81)
    wire.run(600.0)
    assert events(searching) == []
    peer.leave(wire.now)
    wire.run(5.0)
    [event] = events(searching)
    assert isinstance(event, Removed)
    assert event.cause == Cause.GOODBYE
    assert peer.finished
    assert peer.next_event() is None


def test_a_restart_is_one_event_and_silence_the_end() -> None:
    wire, searching = Wire(), prober()
    wire.add(searching)
    wire.add(responder(id=b"i" * 16, interval=5))
    wire.run(20.0)
    events(searching)
    gone = wire.hosts.pop()
    again = wire.add(responder(id=b"i" * 16, interval=5, seed=2))
    assert again.own == gone.own
    wire.run(30.0)
    assert [type(event) for event in events(searching)] == [Restarted]
    wire.hosts.pop()
    wire.run(60.0)
    assert [e.cause for e in events(searching) if isinstance(e, Removed)] == [Cause.SILENCE]
    assert searching.devices == ()
