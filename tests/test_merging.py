"""One row a device, whatever was heard of it and in whichever order."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from bcast.foreign.merging import Merger
from bcast.messages import Attributes

MAC = "02:00:00:77:00:0a"
UUID = "4d696e69-444c-164e-9d41-02000077000a"


def device(
    protocol: str,
    id: str = "",
    at: int | Iterable[int] = 1,
    *,
    name: str = "",
    port: int = 0,
    on: int = 2,
    **attributes: str,
) -> Device:
    places = [at] if isinstance(at, int) else list(at)
    sightings = tuple(
        Sighting(f"eth{on}", on, IPv4Address(f"10.0.{on}.{n}"), 9999, protocol) for n in places
    )
    return Device(
        id or f"{protocol}-{places}",
        name,
        "",
        port,
        Attributes(attributes),
        sightings,
        (protocol,),
        1,
    )


def told(merger: Merger) -> list[DeviceEvent]:
    found = []
    while (event := merger.next_event()) is not None:
        found.append(event)
    return found


def merged(*devices: Device, merge: bool = True) -> Merger:
    merger = Merger(merge=merge)
    for one in devices:
        merger.take(Added(one))
    return merger


def protocols(merger: Merger) -> list[tuple[str, ...]]:
    return [row.protocols for row in merger.devices]


# -- who belongs together -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (device("kasa", mac="02-00-00-77-00-0A"), device("wiz", "02000077000a", 7)),
        (device("knx", MAC, 1), device("lifx", MAC.upper(), 9, on=3)),
        (device("ssdp", UUID), device("wsd", f"urn:uuid:{UUID.upper()}", 5)),
        (device("bcast", UUID.replace("-", "")), device("ssdp", UUID, 5)),
        # One that was heard twice under different ids, by what it calls its hardware.
        (device("kasa", "one", mac=MAC), device("kasa", "two", mac=MAC)),
        # Nothing but the address.
        (device("kasa", at=5), device("coap", at=5)),
        (device("bcast", "f" * 30, at=5), device("coap", at=5)),
        (device("kasa", at=(4, 5)), device("coap", at=(5, 6))),
        (device("kasa", at=5, mac=MAC), device("ssdp", UUID, at=5)),
    ],
)
def test_one_device(one: Device, other: Device) -> None:
    for pair in ((one, other), (other, one)):
        merger = merged(*pair)
        [row] = merger.devices
        assert row.id == pair[0].id
        assert set(row.protocols) == {one.protocols[0], other.protocols[0]}
        assert set(row.sightings) == {*one.sightings, *other.sightings}
        assert len(merged(*pair, merge=False)) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (device("kasa", at=5), device("coap", at=6)),
        # An address is one interface's.
        (device("kasa", at=5, on=2), device("coap", at=5, on=3)),
        (device("kasa", at=5, mac=MAC), device("knx", "02:00:00:77:00:0b", at=5)),
        # Not what names a device, but something that it knows.
        (device("kasa", at=5, gateway_mac=MAC), device("knx", MAC, at=6)),
        (device("kasa", mac="00:00:00:00:00:00"), device("knx", "000000000000", at=6)),
        (device("kasa", "one", at=5), device("kasa", "two", at=5)),
    ],
)
def test_two_devices(one: Device, other: Device) -> None:
    assert len(merged(one, other)) == 2


def test_several_of_a_protocol_at_one_address_stay_apart() -> None:
    """Accessories of a gateway, or of a test: nobody can tell which speaks what else."""
    kasa, wiz, more = (
        device("kasa", "a", at=5),
        device("wiz", "b", at=5),
        device("kasa", "c", at=5),
    )
    merger = merged(kasa, wiz)
    assert protocols(merger) == [("kasa", "wiz")]
    merger.take(Added(more))
    assert protocols(merger) == [("kasa",), ("wiz",), ("kasa",)]
    events = told(merger)
    assert [type(e) for e in events] == [Added, Changed, Changed, Added, Added]
    merger.take(Removed(more, Cause.SILENCE))
    assert protocols(merger) == [("kasa", "wiz")]
    assert [type(e) for e in told(merger)] == [Removed, Removed, Changed]


def test_who_contradicts_another_at_an_address_keeps_all_apart() -> None:
    other = "02:00:00:77:00:0b"
    kasa, lifx, ssdp = device("kasa", MAC, 5), device("lifx", other, 5), device("ssdp", "s", 5)
    merger = merged(kasa, ssdp)
    assert protocols(merger) == [("kasa", "ssdp")]
    merger.take(Added(lifx))
    assert protocols(merger) == [("kasa",), ("ssdp",), ("lifx",)]


def test_two_rows_turn_out_to_be_one() -> None:
    merger = merged(device("kasa", "a", at=5), device("ssdp", "b", at=6))
    told(merger)
    merger.take(Changed(device("ssdp", "b", at=(6, 5)), ("sightings",)))
    gone, changed = told(merger)
    assert isinstance(gone, Removed)
    assert (gone.device.id, gone.cause) == ("b", Cause.MERGED)
    assert isinstance(changed, Changed)
    assert changed.changed == ("protocols", "sightings")


# -- what a row shows -----------------------------------------------------------------------------


def test_what_is_known_is_put_together_and_native_peers_know_best() -> None:
    foreign = device("kasa", at=5, name="Plug", model="HS100", fw="0.9")
    native = device("bcast", "7" * 32, at=5, name="plug-1", port=80, fw="1.0")
    [row] = merged(foreign, native).devices
    assert (row.name, row.port, row.protocols) == ("plug-1", 80, ("bcast", "kasa"))
    assert row.attributes == {"model": "HS100", "fw": "1.0"}
    # Whoever knows the row by its id goes on knowing it.
    assert row.id == foreign.id


def test_ids_differ() -> None:
    rows = merged(device("kasa", "10.0.2.5", 5), device("wiz", "10.0.2.5", 5), merge=False).devices
    assert [row.id for row in rows] == ["10.0.2.5", "10.0.2.5@wiz"]


def test_what_happens_to_a_device_happens_to_its_row() -> None:
    kasa, ssdp = device("kasa", at=5), device("ssdp", at=5)
    merger = merged(kasa, ssdp)
    told(merger)
    merger.take(Suspect(kasa))
    assert told(merger) == []
    merger.take(Suspect(ssdp))
    [event] = told(merger)
    assert isinstance(event, Suspect)
    merger.take(Changed(kasa, ()))
    [event] = told(merger)
    assert isinstance(event, Changed)
    assert event.changed == ()
    merger.take(Restarted(ssdp))
    assert [type(e) for e in told(merger)] == [Restarted]
    merger.take(Removed(kasa, Cause.SILENCE))
    [event] = told(merger)
    assert isinstance(event, Changed)
    assert event.changed == ("protocols", "sightings")
    assert event.device.id == kasa.id
    merger.take(Removed(ssdp, Cause.GOODBYE))
    [event] = told(merger)
    assert isinstance(event, Removed)
    assert (event.device.id, event.cause) == (kasa.id, Cause.GOODBYE)
    assert merger.devices == ()


def test_when_it_was_heard_makes_no_event() -> None:
    kasa = device("kasa", at=5)
    merger = merged(kasa)
    told(merger)
    later = Device(
        kasa.id, "", "", 0, kasa.attributes, kasa.sightings, kasa.protocols, probes_answered=9
    )
    merger.renew([later, device("wiz", at=7)])
    assert merger.devices == (later,)
    assert told(merger) == []


# -- whatever happens -----------------------------------------------------------------------------

KEYS = [(protocol, id) for protocol in ("bcast", "kasa", "wiz") for id in ("a", "b")]
MACS = ("", MAC, "02:00:00:77:00:0b")
happenings = st.lists(
    st.tuples(
        st.sampled_from(KEYS),
        st.one_of(
            st.none(),
            st.tuples(st.sets(st.integers(1, 3), min_size=1), st.sampled_from(MACS)),
        ),
    ),
    max_size=25,
)


@given(happenings)
def test_rows_follow_from_who_is_there_and_events_tell_them(
    happened: list[tuple[tuple[str, str], tuple[set[int], str] | None]],
) -> None:
    merger = Merger()
    there: dict[tuple[str, str], Device] = {}
    rows: dict[str, Device] = {}
    for key, state in happened:
        if state is None:
            if (gone := there.pop(key, None)) is not None:
                merger.take(Removed(gone, Cause.SILENCE))
        else:
            places, mac = state
            one = device(*key, sorted(places), mac=mac)
            merger.take(Changed(one, ("sightings",)) if key in there else Added(one))
            there[key] = one
        for event in told(merger):
            id = event.device.id
            if isinstance(event, Removed):
                del rows[id]
            else:
                assert (id in rows) is isinstance(event, Changed)
                rows[id] = event.device
        assert {row.id: row for row in merger.devices} == rows
        fresh = merged(*there.values())
        assert _groups(fresh) == _groups(merger)
    assert sum(len(row.sightings) for row in rows.values()) == sum(
        len(one.sightings) for one in there.values()
    )


def _groups(merger: Merger) -> set[frozenset[Sighting]]:
    return {frozenset((*row.sightings,)) for row in merger.devices}
