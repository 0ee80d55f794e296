"""What a receiver counts of each interface."""

from __future__ import annotations

import pytest

from bcast.counts import Counts
from bcast.datagram import Interface, InterfaceFlag, Kind
from bcast.sockets.batch import Batch


def interface(name: str, index: int = 3, mtu: int = 1500) -> Interface:
    return Interface(name, index, Kind.ETHERNET, InterfaceFlag.UP, mtu)


def batch(of: Interface, *payloads: bytes) -> Batch:
    source = bytes(16)
    return Batch.of_rows(of, 2222, [(0, source, bytes(4), 1, payload) for payload in payloads])


def test_counts_of_a_name_go_on_whatever_happens_to_its_sockets() -> None:
    counts = Counts()
    before, after = interface("eth0"), interface("eth0", index=9)
    counts.opened(before, 4096)
    counts.received(batch(before, b"one", b""))
    counts.closed(before, 3)
    counts.opened(after, 8192)
    counts.received(batch(after, b"three"))
    told = counts.statistics([(after, 4)])
    assert (told.datagrams, told.bytes, told.kernel_drops) == (3, 8, 7)
    [one] = told.interfaces.values()
    assert one.interface is after
    assert (one.datagrams, one.bytes, one.kernel_drops, one.buffer) == (3, 8, 7, 8192)


def test_interfaces_are_counted_apart() -> None:
    counts = Counts()
    eth0, eth1 = interface("eth0"), interface("eth1", 4)
    counts.received(batch(eth0, b"12"))
    counts.received(batch(eth1, b"345"))
    told = counts.statistics([(eth0, 1), (eth1, None)])
    assert (told.datagrams, told.bytes, told.kernel_drops) == (2, 5, 1)
    assert [(n, i.bytes, i.kernel_drops) for n, i in told.interfaces.items()] == [
        ("eth0", 2, 1),
        ("eth1", 3, None),
    ]


@pytest.mark.parametrize(("drops", "total"), [(None, None), (0, 0)])
def test_what_nobody_counts_is_unknown_and_not_none(drops: int | None, total: int | None) -> None:
    assert Counts().statistics([(interface("eth0"), drops)]).kernel_drops == total


def test_names_without_number_do_not_fill_the_memory() -> None:
    counts = Counts()
    heard = interface("heard")
    counts.received(batch(heard, b"hi"))
    for number in range(1000):
        one = interface(f"veth{number}")
        counts.opened(one, 4096)
        counts.closed(one, 0)
    kept = counts.statistics(()).interfaces
    assert len(kept) < 200
    assert kept["heard"].datagrams == 1
