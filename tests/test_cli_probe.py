from __future__ import annotations

from ipaddress import IPv4Address
from itertools import count

import pytest

from bcast.cli.probe import ProbePayload, ask
from bcast.datagram import Address, Interface, InterfaceFlag, Kind
from bcast.domain import Domain
from bcast.errors import ArgumentError
from bcast.messages import Beat, Header, Probe, Reply
from bcast.wire import MIN_PROBE, TAG_SIZE, decode, encode
from bcast.wire.hashes import realm_hash
from bcast.wire.keys import Keyring, is_authentic

ETH0 = Interface("eth0", 2, Kind.ETHERNET, InterfaceFlag.UP, 1500)
ETH1 = Interface("eth1", 3, Kind.ETHERNET, InterfaceFlag.UP, 1500)
SOURCE = Address(IPv4Address("192.168.1.5"), 24)
KEYRING = Keyring({4: bytes(range(16))}, 4)


class Bench:
    """A payload with made-up time and randomness, of which every piece is another one."""

    def __init__(self, domain: Domain | None = None) -> None:
        self.now = 100.0
        numbers = count(1)
        self.payload = ProbePayload(
            domain or Domain(),
            random=lambda size: next(numbers).to_bytes(size, "big"),
            clock=lambda: self.now,
        )

    def raw(self, sequence: int, interface: Interface) -> bytes:
        return self.payload.fill(sequence, interface, SOURCE, 0)

    def probe(self, sequence: int, interface: Interface) -> Probe:
        message = decode(self.raw(sequence, interface))
        assert isinstance(message, Probe)
        return message


def reply(nonce: int, realm: int = 0) -> Reply:
    return Reply(Header(bytes(16), 1, 2, realm), nonce, 1, 30)


def test_it_asks_all_who_are_there() -> None:
    bench = Bench()
    assert len(bench.raw(1, ETH0)) == MIN_PROBE
    probe = bench.probe(1, ETH0)
    assert (probe.low, probe.high, probe.window) == (0, 65_536, 0)
    assert (probe.types, probe.filter, probe.round, probe.elapsed) == ((), b"", 0, 0)
    assert (probe.header.realm, probe.header.sequence) == (0, 0)


def test_all_destinations_of_a_round_get_the_same_and_each_interface_another() -> None:
    bench = Bench()
    four, other = bench.raw(1, ETH0), bench.raw(1, ETH1)
    assert bench.raw(1, ETH0) == four
    assert bench.raw(1, ETH1) == other
    first, second = decode(four), decode(other)
    assert isinstance(first, Probe)
    assert isinstance(second, Probe)
    assert first.header.id != second.header.id
    assert first.nonce != second.nonce


def test_the_next_round_is_a_new_one_of_the_same_search() -> None:
    bench = Bench()
    first = bench.probe(1, ETH0)
    bench.now += 1.25
    second = bench.probe(2, ETH0)
    assert second.header == first.header._replace(sequence=1)
    assert second.nonce != first.nonce
    assert (second.round, second.elapsed) == (1, 1250)
    assert bench.probe(2, ETH1).elapsed == 0, "its search began only now"
    bench.now += 100_000
    assert bench.probe(257, ETH0).round == 0


def test_what_counts_as_an_answer() -> None:
    bench = Bench()
    nonces = [bench.probe(n, one).nonce for n in (1, 2) for one in (ETH0, ETH1)]
    answers = bench.payload.is_answered_by
    assert all(answers(encode(reply(nonce))) for nonce in nonces)
    assert not answers(encode(reply(nonces[0] ^ 1 << 63)))
    assert not answers(encode(reply(nonces[0], realm=5)))
    assert not answers(encode(Beat(Header(bytes(16), 1, 2), 1, 30, 1)))
    assert not answers(bench.raw(2, ETH0))
    assert not answers(b"pong")
    assert not answers(b"")


def test_a_realm_and_a_key() -> None:
    bench = Bench(Domain("lab", keyring=KEYRING))
    raw = bench.raw(1, ETH0)
    assert len(raw) == MIN_PROBE + TAG_SIZE
    assert is_authentic(raw, KEYRING)
    probe = bench.probe(1, ETH0)
    assert probe.header.realm == realm_hash("lab")
    answer = reply(probe.nonce, realm_hash("lab"))
    assert bench.payload.is_answered_by(encode(answer, KEYRING))
    assert not bench.payload.is_answered_by(encode(answer))
    assert not bench.payload.is_answered_by(encode(answer, Keyring({4: bytes(16)}, 4)))


def test_probing_for_ever_takes_no_memory() -> None:
    bench = Bench()
    first = bench.probe(1, ETH0).nonce
    for number in range(2, 5_000):
        last = bench.probe(number, ETH0).nonce
    assert bench.payload.is_answered_by(encode(reply(last)))
    assert not bench.payload.is_answered_by(encode(reply(first)))


def test_each_run_is_somebody_else() -> None:
    asked = [ask("bcast", Domain(), None).questions[0] for _ in range(2)]
    probes = [decode(question.payload.fill(1, ETH0, SOURCE, 0)) for question in asked]
    assert len({probe.header.id for probe in probes}) == 2


def test_an_unknown_protocol() -> None:
    with pytest.raises(ArgumentError, match="nosuch"):
        ask("nosuch", Domain(), None)
