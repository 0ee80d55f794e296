from __future__ import annotations

import copy
import pickle
import socket
import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.datagram import (
    Datagram,
    Endpoint,
    Interface,
    InterfaceFlag,
    IPAddress,
    Kind,
    address_of,
)
from bcast.sockets.batch import Batch, Part, Row, endpoint_of, source_key
from tests.strategies import (
    batches,
    hostile_names,
    interfaces,
    ip_addresses,
    is_link_scoped,
    ports,
    scopes_travel,
)

ETH7 = Interface("eth7", 7, Kind.ETHERNET, InterfaceFlag.UP, 1500)
ROWS: list[Row] = [
    (5, source_key(("10.0.0.1", 4000)), bytes([255] * 4), 64, b"one"),
    (6, source_key(("10.0.0.2", 4001)), bytes([239, 1, 2, 3]), -1, b""),
    (7, source_key(("10.0.0.1", 4000)), bytes([10, 0, 0, 9]), 0, b"three"),
]


def some() -> Batch:
    return Batch.of_rows(ETH7, 2222, list(ROWS))


# --- raw addresses


def test_an_ipv4_source_is_a_sockaddr_in() -> None:
    """struct sockaddr_in (netinet/in.h): family, port and address in network order, 8 zeros."""
    key = source_key(("192.168.1.5", 0x1234))
    assert key == struct.pack("=H", socket.AF_INET) + b"\x12\x34\xc0\xa8\x01\x05" + bytes(8)


def test_an_ipv6_source_is_a_sockaddr_in6() -> None:
    """struct sockaddr_in6: family, port, flow label (which isn't kept), address, scope."""
    key = source_key(("fe80::5%eth7", 0x1234, 99, 7))
    address = bytes.fromhex("fe800000000000000000000000000005")
    family = struct.pack("=H", socket.AF_INET6)
    assert key == family + b"\x12\x34" + bytes(4) + address + struct.pack("=I", 7)


def test_a_source_of_a_real_socket() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        other.settimeout(5)
        one.sendto(b"hi", other.getsockname())
        _, source = other.recvfrom(10)
        expected = Endpoint(IPv4Address("127.0.0.1"), one.getsockname()[1])
    assert endpoint_of(source_key(source), ETH7) == expected


@given(ip_addresses("eth7"), ports)
def test_endpoints_come_back(address: IPAddress, port: int) -> None:
    text = str(address)
    key = source_key((text, port) if address.version == 4 else (text, port, 0, 7))
    assert len(key) == (16 if address.version == 4 else 28)
    assert endpoint_of(key, ETH7) == Endpoint(address, port)


@given(ip_addresses("eth7"), ip_addresses("eth7"), ports, ports)
def test_a_key_stands_for_one_endpoint(
    one: IPAddress, other: IPAddress, one_port: int, other_port: int
) -> None:
    keys = [
        source_key((str(a), p) if a.version == 4 else (str(a), p, 0, 7))
        for a, p in ((one, one_port), (other, other_port))
    ]
    assert (keys[0] == keys[1]) is ((one, one_port) == (other, other_port))


@pytest.mark.parametrize(
    ("text", "scoped"),
    [
        ("10.0.0.1", False),
        ("169.254.1.1", False),
        ("224.0.0.1", False),
        ("fe80::1", True),
        ("febf::1", True),
        ("fec0::1", False),
        ("fd00::1", False),
        ("::1", False),
        ("ff01::1", True),
        ("ff02::1", True),
        ("ff12::1", True),
        ("ff32::1", True),
        ("ff03::1", False),
        ("ff05::1", False),
        ("ff0e::1", False),
    ],
)
def test_what_means_nothing_without_an_interface_gets_it(text: str, scoped: bool) -> None:
    packed = (IPv6Address if ":" in text else IPv4Address)(text).packed
    assert str(address_of(packed, ETH7.name, ETH7.index)) == (f"{text}%eth7" if scoped else text)


@given(st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)))
def test_any_packed_address_is_an_address(packed: bytes) -> None:
    address = address_of(packed, ETH7.name, ETH7.index)
    assert address.packed == packed
    assert ("%" in str(address)) is is_link_scoped(address)


@given(interfaces(hostile_names))
def test_any_interface_name_can_be_a_scope(interface: Interface) -> None:
    address = address_of(IPv6Address("fe80::1").packed, interface.name, interface.index)
    assert str(address) == f"fe80::1%{interface.name}"


@pytest.mark.parametrize("name", ["100% LAN", "em0/1"])
def test_a_name_that_is_no_scope_does_not_stop_a_receiver(name: str) -> None:
    """A scope can't have these signs in it; a name on Windows can."""
    odd = Interface(name, 7, Kind.OTHER, InterfaceFlag.UP, 1500)
    assert address_of(IPv6Address("fe80::1").packed, odd.name, odd.index) == IPv6Address(
        "fe80::1%7"
    )


# --- batches


def test_a_batch() -> None:
    batch = some()
    assert len(batch) == 3
    assert batch.size == 8
    assert batch.payloads == [b"one", b"", b"three"]
    assert batch.rows == ROWS
    assert (batch.interface, batch.port) == (ETH7, 2222)


def test_the_datagrams_of_a_batch() -> None:
    one, two, three = some().datagrams()
    source = Endpoint(IPv4Address("10.0.0.1"), 4000)
    there = Endpoint(IPv4Address("255.255.255.255"), 2222)
    assert one == Datagram(b"one", source, there, ETH7, 5, 64)
    assert two.ttl is None
    assert two.payload == b""
    assert two.destination == Endpoint(IPv4Address("239.1.2.3"), 2222)
    assert three.ttl == 0
    assert three.time_ns == 7
    assert three.source == source
    assert {d.interface for d in (one, two, three)} == {ETH7}


@given(batches())
def test_a_received_datagram_is_as_good_as_one_that_was_built(batch: Batch) -> None:
    assert len(batch) == len(batch.rows) == len(batch.datagrams())
    for received, (time_ns, source, destination, ttl, payload) in zip(
        batch.datagrams(), batch.rows, strict=True
    ):
        built = Datagram(
            payload,
            endpoint_of(source, batch.interface),
            Endpoint(
                address_of(destination, batch.interface.name, batch.interface.index), batch.port
            ),
            batch.interface,
            time_ns,
            None if ttl < 0 else ttl,
        )
        assert received == built
        assert built == received
        assert hash(received) == hash(built)
        assert repr(received) == repr(built)
        assert received.time == built.time


@scopes_travel
@given(batches())
def test_a_received_datagram_leaves_its_batch_behind_when_it_travels(batch: Batch) -> None:
    for received in batch.datagrams():
        for again in (pickle.loads(pickle.dumps(received)), copy.copy(received)):
            assert type(again) is Datagram
            assert again == received


def test_a_received_datagram_is_immutable() -> None:
    received = some().datagrams()[0]
    for name in ("payload", "source", "destination", "interface", "time_ns", "ttl", "time"):
        with pytest.raises(AttributeError):
            setattr(received, name, getattr(received, name))


def test_rows_are_decoded_once_and_not_before_somebody_looks() -> None:
    loads = []

    def parts() -> list[Part]:
        loads.append(1)
        return [((0, t, to, ttl), (source,), data) for t, source, to, ttl, data in ROWS]

    batch = Batch(ETH7, 2222, [row[4] for row in ROWS], parts, 8)
    received = batch.datagrams()
    assert [d.payload for d in received] == [b"one", b"", b"three"]
    assert received[0].interface == ETH7
    assert (len(batch), batch.size) == (3, 8)
    assert batch.first(3) is batch
    assert loads == []
    assert [d.time_ns for d in received] == [5, 6, 7]
    assert batch.rows == ROWS
    assert batch.keep(lambda row: True).rows == ROWS
    assert loads == [1]


@given(batches(), st.integers(0, 7))
def test_the_first_datagrams_of_a_batch(batch: Batch, count: int) -> None:
    first = batch.first(count)
    assert first.rows == batch.rows[:count]
    assert first.payloads == batch.payloads[:count]
    assert first.size == sum(map(len, first.payloads))
    assert (first.interface, first.port) == (batch.interface, batch.port)
    assert first.datagrams() == batch.datagrams()[:count]


@given(batches(), st.sets(st.integers(0, 6)))
def test_a_batch_without_what_is_not_wanted(batch: Batch, positions: set[int]) -> None:
    wanted = [row for i, row in enumerate(batch.rows) if i in positions]
    chosen = iter([i in positions for i in range(len(batch))])
    kept = batch.keep(lambda row: next(chosen))
    assert kept.rows == wanted
    assert kept.payloads == [row[4] for row in wanted]
    assert kept.size == sum(map(len, kept.payloads))
    assert (kept.interface, kept.port) == (batch.interface, batch.port)
    assert len(batch.rows) == len(batch.payloads), "the batch itself is as it was"
