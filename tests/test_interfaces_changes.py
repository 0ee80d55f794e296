from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.datagram import Address, Interface, InterfaceFlag, Kind
from bcast.interfaces.changes import (
    FIELDS,
    InterfaceAdded,
    InterfaceChange,
    InterfaceChanged,
    InterfaceRemoved,
    differences,
)

UP, RUNNING = InterfaceFlag.UP, InterfaceFlag.RUNNING
ABLE = InterfaceFlag.BROADCAST | InterfaceFlag.MULTICAST


def address(text: str, *, broadcast: str | None = None, tentative: bool = False) -> Address:
    value, _, prefix_length = text.partition("/")
    return Address(
        ip_address(value),
        int(prefix_length),
        IPv4Address(broadcast) if broadcast else None,
        tentative,
    )


V4 = address("10.9.1.1/24", broadcast="10.9.1.255")
ETH1 = Interface("eth1", 3, Kind.VETH, UP | RUNNING | ABLE, 1500, "02:00:00:00:00:01", (V4,))


def but(**changes: object) -> Interface:
    return dataclasses.replace(ETH1, **changes)  # type: ignore[arg-type]


def said(before: Interface, after: Interface) -> str:
    (change,) = differences([before], [after])
    assert str(change) == change.sentence
    return change.sentence


def test_appearing_and_disappearing() -> None:
    (added,) = differences([], [ETH1])
    assert (added, added.sentence) == (InterfaceAdded(ETH1), "eth1 appeared")
    (removed,) = differences([ETH1], [])
    assert (removed, removed.sentence) == (InterfaceRemoved(ETH1), "eth1 was deleted")
    assert str(added) == added.sentence
    assert str(removed) == removed.sentence


def test_nothing_changed() -> None:
    assert differences([ETH1], [but()]) == ()


def test_same_name_with_another_index_is_another_interface() -> None:
    other = but(index=9)
    assert differences([ETH1], [other]) == (InterfaceRemoved(ETH1), InterfaceAdded(other))


def test_deleted_and_created_again_with_the_same_index() -> None:
    for after in (ETH1, but(name="x")):
        removed, added = differences([ETH1], [after], {3})
        assert removed == InterfaceRemoved(ETH1, replaced=True)
        assert added == InterfaceAdded(after)
        assert removed.sentence == "eth1 was replaced"


def test_deletion_of_what_is_gone_or_was_never_known_adds_nothing() -> None:
    assert differences([ETH1], [], {3}) == (InterfaceRemoved(ETH1),)
    assert differences([], [ETH1], {3}) == (InterfaceAdded(ETH1),)
    assert differences([], [], {3}) == ()


@pytest.mark.parametrize(
    ("after", "changed", "sentence"),
    [
        (but(name="lan0"), ("name",), "is now called lan0"),
        (but(flags=ABLE), ("flags",), "went down"),
        (but(flags=UP | ABLE), ("flags",), "lost its carrier"),
        (but(flags=UP | RUNNING), ("flags",), "is no longer broadcast and is no longer multicast"),
        (but(mtu=9000), ("mtu",), "has an MTU of 9000 bytes now"),
        (but(addresses=()), ("addresses",), "lost 10.9.1.1/24"),
        (but(addresses=(V4, address("fe80::1%eth1/64"))), ("addresses",), "got fe80::1%eth1/64"),
        (
            but(addresses=(address("10.9.1.2/24"),)),
            ("addresses",),
            "lost 10.9.1.1/24 and got 10.9.1.2/24",
        ),
        (
            but(addresses=(address("10.9.1.1/24", broadcast="10.9.1.127"),)),
            ("addresses",),
            "has 10.9.1.127 as the broadcast address of 10.9.1.1/24 now",
        ),
        (but(enslaved_to="br0"), ("enslaved_to",), "is a port of br0 now"),
        (
            but(hardware_address="02:00:00:00:00:02"),
            ("hardware_address",),
            "has 02:00:00:00:00:02 as its hardware address now",
        ),
        (but(kind=Kind.WIFI), ("kind",), "is of the kind wifi now"),
        (but(plumbing=True), ("plumbing",), "became container plumbing"),
        (
            but(flags=ABLE, addresses=(), mtu=900),
            ("flags", "mtu", "addresses"),
            "went down, lost 10.9.1.1/24 and has an MTU of 900 bytes now",
        ),
    ],
)
def test_change_names_its_fields_and_says_it(
    after: Interface, changed: tuple[str, ...], sentence: str
) -> None:
    assert differences([ETH1], [after]) == (InterfaceChanged(ETH1, after, changed),)
    assert said(ETH1, after) == f"eth1 {sentence}"


def test_sentences_the_other_way() -> None:
    down = but(flags=ABLE, addresses=())
    assert said(down, ETH1) == "eth1 came up and got 10.9.1.1/24"
    assert said(down, but(flags=UP | ABLE, addresses=())) == "eth1 came up without carrier"
    assert said(but(flags=UP | ABLE), ETH1) == "eth1 got a carrier"
    assert said(but(enslaved_to="br0"), ETH1) == "eth1 left br0"
    checked = but(addresses=(address("fe80::1%eth1/64", tentative=True),))
    usable = but(addresses=(address("fe80::1%eth1/64"),))
    assert said(checked, usable) == "eth1 may use fe80::1%eth1/64"
    assert said(usable, checked) == "eth1 must not use fe80::1%eth1/64"


def test_new_name_takes_no_link_local_address_away() -> None:
    before = but(addresses=(V4, address("fe80::1%eth1/64")))
    after = but(name="lan0", addresses=(V4, address("fe80::1%lan0/64")))
    assert said(before, after) == "eth1 is now called lan0"


def test_other_order_of_addresses() -> None:
    two = (V4, address("10.9.2.1/24"))
    assert said(but(addresses=two), but(addresses=two[::-1])) == (
        "eth1 has its addresses in another order"
    )


def test_sentence_is_bounded_and_harmless_on_a_terminal() -> None:
    many = tuple(address(f"10.9.{n}.1/24") for n in range(200))
    sentence = said(but(addresses=()), but(addresses=many))
    assert sentence.endswith("10.9.4.1/24 and 195 more")
    evil = but(name="\x1b[2J", enslaved_to="\x1b")
    for change in (*differences([evil], []), *differences([], [evil])):
        assert change.sentence.isprintable()
    assert said(evil, ETH1).isprintable()
    assert said(ETH1, evil).isprintable()


addresses = st.builds(
    Address,
    address=st.sampled_from(["10.0.0.1", "10.0.0.2", "fe80::1", "fd00::1"]).map(ip_address),
    prefix_length=st.sampled_from([8, 24]),
    broadcast=st.none(),
    tentative=st.booleans(),
)
interfaces = st.builds(
    Interface,
    name=st.sampled_from(["eth0", "eth1", "lan"]),
    index=st.integers(1, 5),
    kind=st.sampled_from(Kind),
    flags=st.integers(0, 127).map(InterfaceFlag),
    mtu=st.integers(1280, 1282),
    hardware_address=st.none() | st.just("02:00:00:00:00:01"),
    addresses=st.lists(addresses, max_size=3).map(tuple),
    enslaved_to=st.none() | st.just("br0"),
    plumbing=st.booleans(),
)
listings = st.lists(interfaces, max_size=5, unique_by=lambda i: i.index).map(
    lambda listing: tuple(sorted(listing, key=lambda i: i.index))
)


def applied(
    before: tuple[Interface, ...], changes: tuple[InterfaceChange, ...]
) -> tuple[Interface, ...]:
    """What somebody has who only follows the events; every event must fit what they have."""
    known = {interface.index: interface for interface in before}
    for change in changes:
        index = change.interface.index
        if isinstance(change, InterfaceAdded):
            assert index not in known
            known[index] = change.interface
        elif isinstance(change, InterfaceRemoved):
            assert known.pop(index) == change.interface
        else:
            assert known[index] == change.before
            known[index] = change.interface
    return tuple(known[index] for index in sorted(known))


@given(listings, listings, st.sets(st.integers(1, 6)))
def test_differences_applied_to_before_give_after(
    before: tuple[Interface, ...], after: tuple[Interface, ...], deleted: set[int]
) -> None:
    changes = differences(before, after, deleted)
    assert applied(before, changes) == after
    assert all(change.sentence and "\n" not in change.sentence for change in changes)
    if not deleted:
        assert bool(changes) == (before != after)


@given(interfaces, interfaces)
def test_changed_names_exactly_the_fields_that_differ(a: Interface, b: Interface) -> None:
    after = dataclasses.replace(b, index=a.index)
    for change in differences([a], [after]):
        assert isinstance(change, InterfaceChanged)
        for name in FIELDS:
            assert (name in change.changed) == (getattr(a, name) != getattr(after, name))


def test_every_field_but_the_index_is_compared() -> None:
    assert {"index", *FIELDS} == {field.name for field in dataclasses.fields(Interface)}
