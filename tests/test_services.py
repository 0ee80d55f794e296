"""Services of DNS-SD as devices, in made-up time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from bcast.datagram import Address, Family, Interface, IPAddress
from bcast.device import Added, Cause, Changed, Device, DeviceEvent, Removed
from bcast.discovery.rejection import Rejection
from bcast.errors import ArgumentError
from bcast.foreign.merging import Merger
from bcast.foreign.services import Seen, Services, check_service_type
from bcast.machine import Attached
from tests.machines import ETH

BOTH = Family.IPV4, Family.IPV6
ONE = replace(
    ETH,
    name="eth0",
    index=2,
    addresses=(Address(IPv4Address("10.9.1.1"), 24), Address(IPv6Address("fd00:1::1"), 64)),
)
OTHER = replace(ETH, name="eth1", index=3, addresses=(Address(IPv4Address("10.9.2.1"), 24),))
NOW = 100.0


def services(*interfaces: Interface, families: tuple[Family, ...] = BOTH, **more: int) -> Services:
    made = Services(since=1_000.0, **more)
    attach(made, *(interfaces or (ONE, OTHER)), families=families)
    return made


def attach(machine: Services, *interfaces: Interface, families: tuple[Family, ...] = BOTH) -> None:
    machine.interfaces_changed([Attached(one, families, 0) for one in interfaces], NOW)


def printer(*addresses: str, port: int = 631, name: str = "Printer", **attributes: str) -> Seen:
    found: Sequence[IPAddress] = [ip_address(one) for one in addresses or ("10.9.1.2",)]
    return Seen(f"{name}._ipp._tcp.local", name, "_ipp._tcp", port, found, attributes)


def events(machine: Services | Merger) -> list[DeviceEvent]:
    found = []
    while (event := machine.next_event()) is not None:
        found.append(event)
    return found


def places(device: Device) -> list[str]:
    return [f"{one.interface} {one.address}" for one in device.sightings]


def test_a_service_is_a_device() -> None:
    machine = services()
    machine.see(printer(rp="ipp/print"), NOW)
    [event] = events(machine)
    assert isinstance(event, Added)
    device = event.device
    assert machine.devices == (device,)
    assert (device.name, device.type, device.port) == ("Printer", "_ipp._tcp", 631)
    assert (device.id, device.protocols) == ("Printer._ipp._tcp.local", ("mdns",))
    assert device.attributes == {"rp": "ipp/print"}
    assert device.probes_answered == 1
    [sighting] = device.sightings
    assert (sighting.interface, sighting.index, sighting.protocol) == ("eth0", 2, "mdns")
    assert (sighting.port, sighting.latency) == (5353, None)
    assert sighting.last_heard_ns == 1_100 * 10**9


@pytest.mark.parametrize(
    ("addresses", "where"),
    [
        (["10.9.2.2"], ["eth1 10.9.2.2"]),
        (["10.9.1.2", "10.9.2.2"], ["eth0 10.9.1.2", "eth1 10.9.2.2"]),
        (["fd00:1::2"], ["eth0 fd00:1::2"]),
        # An index or a name as scope: receivers write the name.
        (["fe80::2%3"], ["eth1 fe80::2%eth1"]),
        (["fe80::2%eth0"], ["eth0 fe80::2%eth0"]),
        (["10.9.1.2", "192.168.1.2"], ["eth0 10.9.1.2"]),
        # Off the links, or nobody can tell which.
        (["192.168.1.2"], []),
        (["fe80::2"], []),
        (["fe80::2%9"], []),
        (["169.254.1.2"], []),
        (["224.0.0.251", "0.0.0.0", "10.9.1.255"], []),
    ],
)
def test_each_address_is_of_the_interface_on_whose_link_it_is(
    addresses: list[str], where: list[str]
) -> None:
    machine = services()
    machine.see(printer(*addresses), NOW)
    assert [place for device in machine.devices for place in places(device)] == where
    off_link = {} if where else {Rejection.OFF_LINK: 1}
    assert machine.statistics.rejected == off_link


def test_link_local_addresses_are_of_the_only_interface_or_of_one_that_has_such() -> None:
    alone = services(OTHER)
    alone.see(printer("169.254.1.2", "fe80::2"), NOW)
    assert places(alone.devices[0]) == ["eth1 169.254.1.2", "eth1 fe80::2%eth1"]
    near = replace(OTHER, addresses=(Address(IPv4Address("169.254.7.7"), 16),))
    both = services(ONE, near)
    both.see(printer("169.254.1.2"), NOW)
    assert places(both.devices[0]) == ["eth1 169.254.1.2"]


def test_a_family_that_is_not_wanted_is_left_out() -> None:
    machine = services(families=(Family.IPV4,))
    machine.see(printer("fd00:1::2", "10.9.1.2"), NOW)
    assert places(machine.devices[0]) == ["eth0 10.9.1.2"]


def test_what_changes_is_told_once() -> None:
    machine = services()
    machine.see(printer(), NOW)
    machine.see(printer(), NOW + 1)
    machine.see(printer(port=632, rp="x"), NOW + 2)
    machine.see(printer("10.9.1.2", "fd00:1::2", port=632, rp="x"), NOW + 3)
    machine.see(printer("10.9.1.3", port=632), NOW + 4)
    machine.lose("Printer._ipp._tcp.local", Cause.GOODBYE)
    machine.lose("Printer._ipp._tcp.local", Cause.GOODBYE)
    added, *changes, removed = events(machine)
    assert isinstance(added, Added)
    assert [one.changed for one in changes if isinstance(one, Changed)] == [
        ("port", "attributes"),
        ("sightings",),
        ("attributes", "sightings"),
    ]
    assert isinstance(removed, Removed)
    assert removed.cause is Cause.GOODBYE
    assert machine.devices == ()


def test_an_interface_goes_and_takes_what_was_there_only() -> None:
    machine = services()
    machine.see(printer("10.9.1.2", "10.9.2.2", name="both"), NOW)
    machine.see(printer("10.9.2.3", name="one"), NOW)
    events(machine)
    attach(machine, ONE)
    changed, removed = events(machine)
    assert isinstance(changed, Changed)
    assert places(changed.device) == ["eth0 10.9.1.2"]
    assert isinstance(removed, Removed)
    assert (removed.device.name, removed.cause) == ("one", Cause.PATH)


def test_who_is_not_heard_of_after_all_is_asked_anew_is_gone() -> None:
    machine = services()
    machine.see(printer(name="here"), NOW)
    machine.see(printer(name="gone"), NOW)
    machine.renew(NOW)
    machine.see(printer(name="here"), NOW + 1)
    events(machine)
    timer = machine.get_timer()
    assert timer is not None
    machine.handle_timer(timer - 0.1)
    assert events(machine) == []
    machine.handle_timer(timer)
    [event] = events(machine)
    assert isinstance(event, Removed)
    assert (event.device.name, event.cause) == ("gone", Cause.SILENCE)
    assert machine.get_timer() is None


def test_it_is_quiet_when_all_questions_had_time() -> None:
    machine = services()
    assert not machine.quiet
    machine.note_question(NOW)
    machine.note_question(NOW + 1)
    timer = machine.get_timer()
    assert timer is not None
    assert timer > NOW + 2
    machine.handle_timer(timer - 0.1)
    assert not machine.quiet
    machine.handle_timer(timer)
    assert machine.quiet
    assert machine.statistics.probes == 2
    failed = services()
    failed.note_failure()
    assert failed.quiet


def test_a_flood_is_bounded() -> None:
    machine = services(max_devices=3)
    for number in range(5):
        machine.see(printer(name=f"p{number}"), NOW)
    assert len(machine.devices) == 3
    assert machine.statistics.rejected == {Rejection.FULL: 2}
    many = printer(*(f"10.9.1.{number}" for number in range(2, 250)), name="p0")
    machine.see(many._replace(attributes={str(n): "" for n in range(500)}), NOW)
    assert len(machine.devices[0].sightings) == 16
    assert len(machine.devices[0].attributes) == 64


def test_one_row_with_what_other_protocols_say() -> None:
    machine = services()
    machine.see(printer(), NOW)
    uuid = "2fac1234-31f8-11b4-a222-08002b34c003"
    cast = printer("10.9.1.7", name="Cast", id=uuid.replace("-", ""))
    machine.see(cast, NOW)
    merger = Merger()
    at = machine.devices[0].sightings[0]
    near = Device("x", "", "", 0, sightings=(replace(at, protocol="ssdp"),), protocols=("ssdp",))
    merger.take(Added(near))
    merger.take(Added(Device(uuid, "", "", 0, protocols=("ssdp",))))
    for event in events(machine):
        merger.take(event)
    assert [one.protocols for one in merger.devices] == [("ssdp", "mdns")] * 2
    assert [one.name for one in merger.devices] == ["Printer", "Cast"]


def test_an_id_that_homekit_makes_up_names_no_hardware() -> None:
    machine = services()
    machine.see(printer(id="AA:BB:CC:DD:EE:FF"), NOW)
    merger = Merger()
    at = machine.devices[0].sightings[0]
    kasa = Device(
        "k", "", "", 0, {"mac": "02:00:00:00:00:05"}, (replace(at, protocol="kasa"),), ("kasa",)
    )
    merger.take(Added(kasa))
    merger.take(Added(machine.devices[0]))
    assert [one.protocols for one in merger.devices] == [("kasa", "mdns")]


@pytest.mark.parametrize("type", ["_ipp._tcp", "_sleep-proxy._udp", "_printer._sub._http._tcp"])
def test_types_of_services(type: str) -> None:
    assert check_service_type(type) == type


@pytest.mark.parametrize(
    "type", ["_lamp", "lamp", "ipp._tcp", "_ipp._sctp", "_ipp._tcp.local", "_._tcp", "_tcp"]
)
def test_what_services_can_not_be_of(type: str) -> None:
    with pytest.raises(ArgumentError, match=r"no type of DNS-SD.* like _[a-z]+\._tcp"):
        check_service_type(type)
