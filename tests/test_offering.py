from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.discovery.offering import Offering
from bcast.errors import ArgumentError
from bcast.messages import Announcement, Beat, Goodbye, Header, Reply, Service
from bcast.wire import MAX_DATAGRAM, decode
from bcast.wire.filters import entry
from bcast.wire.hashes import id64, type_hash
from bcast.wire.keys import Keyring, is_authentic

LAMP = Service("lamp-1", "_lamp", 80, {"fw": "1.4"})
KEYS = Keyring({3: b"k" * 16}, 3)


def offering(
    *services: Service, id: bytes | None = None, keyring: Keyring | None = None
) -> Offering:
    return Offering(services, random=Random(1), id=id, realm=77, keyring=keyring)


def large(count: int) -> tuple[Service, ...]:
    """Services of which two fit a datagram."""
    return tuple(
        Service(f"lamp-{n}", f"_type{n}", n, {"a": "x" * 250, "b": "y" * 250})
        for n in range(count)
    )


def test_a_peer_says_what_it_offers() -> None:
    made = offering(LAMP)
    header = Header(made.id, made.epoch, 0, 77)
    said = decode(made.reply(99, 30))
    assert said == Reply(header, 99, 1, 30, 0, 1, (LAMP,))
    said = decode(made.announcement(31))
    assert said == Announcement(header._replace(sequence=1), 1, 31, 0, 1, (LAMP,))
    assert decode(made.beat(32)) == Beat(header._replace(sequence=2), 1, 32, 1)
    assert decode(made.goodbye(33)) == Goodbye(header._replace(sequence=3), 1, 33, 1)


def test_an_id_is_random_unless_it_is_given_and_an_epoch_always() -> None:
    random = Random(1)
    made = [Offering((), random=random, id=None, realm=0, keyring=None) for _ in range(2)]
    assert made[0].id != made[1].id
    stable = [Offering((), random=random, id=b"i" * 16, realm=0, keyring=None) for _ in range(2)]
    assert {one.id for one in stable} == {b"i" * 16}
    assert stable[0].epoch != stable[1].epoch
    with pytest.raises(ArgumentError, match="an id of 15 bytes can't be sent: use 16 bytes"):
        offering(id=b"i" * 15)


def test_a_change_is_a_new_version_that_no_filter_knows_yet() -> None:
    made = offering(LAMP)
    assert made.types == {type_hash("_lamp")}
    assert made.entry == entry(id64(made.id), made.epoch, 1)
    made.change([])
    assert made.version == 2
    assert made.types == set()
    assert made.entry == entry(id64(made.id), made.epoch, 2)
    said = decode(made.reply(1, 30))
    assert isinstance(said, Reply)
    assert (said.version, said.services, said.header.more) == (2, (), False)
    made.version = 0xFFFF_FFFF
    made.change([LAMP])
    assert made.version == 1, "0 is none"


def test_services_that_dont_fit_change_nothing() -> None:
    made = offering(LAMP)
    for wrong in (large(33), large(1) * 300):
        with pytest.raises(ArgumentError, match="16 are the most"):
            made.change(wrong)
    assert made.version == 1
    assert decode(made.beat(30)) == Beat(Header(made.id, made.epoch, 0, 77), 1, 30, 1)


@pytest.mark.parametrize("keyring", [None, KEYS])
def test_what_doesnt_fit_a_datagram_is_said_in_parts(keyring: Keyring | None) -> None:
    services = large(5)
    made = offering(*services, keyring=keyring)
    found: list[Service] = []
    for part in range(3):
        payload = made.reply(9, 30, part)
        said = decode(payload)
        assert isinstance(said, Reply)
        assert (said.part, said.parts, said.header.more) == (part, 3, True)
        found += said.services
        assert made.fits(len(payload), part)
        assert not made.fits(len(payload) - 1, part)
        assert len(payload) <= MAX_DATAGRAM
    assert tuple(found) == services
    assert not made.fits(10_000, 3), "there is no such part"
    announced = decode(made.announcement(30))
    assert isinstance(announced, Announcement)
    assert (announced.part, announced.parts, announced.header.more) == (0, 3, True)
    assert announced.services == services[:2]
    beat = decode(made.beat(30))
    assert isinstance(beat, Beat)
    assert beat.offered == 5


@pytest.mark.parametrize("more", [False, True])
def test_the_short_form_has_no_services(more: bool) -> None:
    for count in (0, 1, 5):
        payload = offering(*large(count), keyring=KEYS).short_reply(9, 30, more=more)
        said = decode(payload)
        assert isinstance(said, Reply)
        assert (said.nonce, said.part, said.services, said.header.more) == (9, 0, (), more)
        assert len(payload) == 66


def test_with_keys_everything_is_tagged() -> None:
    made = offering(LAMP, keyring=KEYS)
    for payload in (
        made.reply(1, 30),
        made.short_reply(1, 30, more=True),
        made.announcement(30),
        made.beat(30),
        made.goodbye(30),
    ):
        assert is_authentic(payload, KEYS)
        assert decode(payload).header.key_id == 3


@given(st.lists(st.sampled_from(["reply", "announcement", "beat", "goodbye"]), max_size=20))
def test_each_datagram_has_the_next_number(kinds: list[str]) -> None:
    made = offering(LAMP)
    said = [
        decode(made.reply(1, 30) if kind == "reply" else getattr(made, kind)(30)) for kind in kinds
    ]
    assert [one.header.sequence for one in said] == list(range(len(said)))
    assert {one.header.epoch for one in said} <= {made.epoch}


def test_when_the_numbers_are_used_up_a_new_epoch_begins() -> None:
    made = offering(LAMP)
    epoch, known = made.epoch, made.entry
    made._sequence = 0xFFFF_FFFE
    assert decode(made.beat(30)).header == Header(made.id, epoch, 0xFFFF_FFFF, 77)
    header = decode(made.beat(30)).header
    assert header == Header(made.id, made.epoch, 0, 77)
    assert made.epoch != epoch
    assert made.entry != known
