from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from bcast.errors import ArgumentError
from bcast.messages import Announcement, Beat, Header, Message, Probe, Query, Reply, Service
from bcast.wire import MAX_DATAGRAM, decode, encode, parts_of, service_size
from bcast.wire.keys import Keyring, is_authentic
from tests.strategies import keyrings, messages

HEADER = Header(bytes(range(16)), 0x01020304, 0x05060708)
RING = Keyring({1: b"k" * 16}, 1)
LAMP = Service("lamp-1", "_lamp", 80, {"fw": "1.4"})


@given(messages)
def test_what_is_encoded_decodes_to_the_same(message: Message) -> None:
    payload = encode(message)
    assert decode(payload) == message
    assert len(payload) <= MAX_DATAGRAM


@given(messages, keyrings())
def test_what_is_tagged_decodes_to_the_same_under_its_key(
    message: Message, keyring: Keyring
) -> None:
    payload = encode(message, keyring)
    header = message.header._replace(key_id=keyring.current)
    assert decode(payload) == message._replace(header=header)
    assert is_authentic(payload, keyring)
    assert len(payload) <= MAX_DATAGRAM


@given(messages)
def test_the_key_id_is_that_of_the_key_that_was_used(message: Message) -> None:
    header = message.header._replace(key_id=7)
    assert encode(message._replace(header=header)) == encode(message)


def test_sizes_are_those_that_the_protocol_counts_on() -> None:
    reference = Service("n" * 16, "t" * 13, 80, {f"key{n}": "v" * size for n, size in SIZES})
    assert service_size(reference) == 110
    sizes: dict[Message, tuple[int, int]] = {
        Probe(HEADER, 1): (96, 114),
        Reply(HEADER, 1, 1, 30, services=(reference,)): (158, 176),
        Announcement(HEADER, 1, 30, services=(reference,)): (150, 168),
        Beat(HEADER, 1, 30, 1): (40, 58),
        Query(HEADER, 1): (48, 66),
        Query(HEADER, 1, padding=400 - 48): (400, 418),
    }
    for message, (bare, tagged) in sizes.items():
        assert (len(encode(message)), len(encode(message, RING))) == (bare, tagged), message


#: Six values that make the reference service.
SIZES = enumerate((6, 6, 6, 6, 6, 7))


@pytest.mark.parametrize("padding", [*range(12), 255, 256, 257, 258, 259, 300, 1_152])
def test_a_query_is_padded_to_the_byte(padding: int) -> None:
    payload = encode(Query(HEADER, 1, padding=padding))
    added = 2 if padding == 1 else padding  # a field has a head
    assert len(payload) == 48 + added
    assert decode(payload) == Query(HEADER, 1, padding=added)


@pytest.mark.parametrize(
    ("size", "head"), [(254, "03fe"), (255, "03ff00ff"), (256, "03ff0100"), (1_092, "03ff0444")]
)
def test_a_length_of_255_and_more_takes_the_long_form(size: int, head: str) -> None:
    probe = Probe(HEADER, 1, filter=bytes(size), filter_hashes=6)
    payload = encode(probe)
    assert payload[52:].hex().startswith(head)
    assert decode(payload) == probe


def test_padding_takes_the_long_form_where_the_short_one_would_be_too_short() -> None:
    assert encode(Query(HEADER, 1, padding=256))[48:] == b"\0\xfe" + bytes(254)
    assert encode(Query(HEADER, 1, padding=257))[48:] == b"\0\xff\0\xfd" + bytes(253)


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (Beat(Header(b"short", 1, 1), 1, 30, 1), "an id has 16 bytes, not 5"),
        (Beat(Header(bytes(16), 2**32, 1), 1, 30, 1), "can't be sent"),
        (Beat(Header(bytes(16), 1, -1), 1, 30, 1), "can't be sent"),
        (Beat(Header(bytes(16), 1, 1, realm=65_536), 1, 30, 1), "can't be sent"),
        (Beat(HEADER, 0, 30, 1), "no version 0"),
        (Beat(HEADER, 1, 0, 1), "0 s are no interval between beats: use 1 to 3600"),
        (Beat(HEADER, 1, 3_601, 1), "3601 s"),
        (Beat(HEADER, 1, 30, 65_536), "can't be sent"),
        (Reply(HEADER, 2**64, 1, 30), "can't be sent"),
        (Reply(HEADER, 1, 1, 30, part=1), "no part 1 of 1"),
        (Reply(HEADER, 1, 1, 30, part=-1), "no part -1 of 1"),
        (Announcement(HEADER, 1, 30, parts=17), "no part 0 of 17"),
        (Announcement(HEADER, 1, 30, services=(LAMP,) * 17), "17 services are too many"),
        (Query(HEADER, 1, part=16), "no part 16"),
        (Query(HEADER, 1, padding=-1), "negative"),
        (Query(HEADER, 1, padding=1_153), "1201 bytes is too large"),
        (Query(HEADER, 1, padding=10**12), "too large"),
        (Probe(HEADER, 1, low=5, high=5), "no slots from 5 to 5"),
        (Probe(HEADER, 1, high=65_537), "no slots"),
        (Probe(HEADER, 1, low=-1), "no slots"),
        (Probe(HEADER, 1, types=(1,) * 9), "can't ask for 9 types: ask for 8, or any"),
        (Probe(HEADER, 1, types=(2**32,)), "can't be sent"),
        (Probe(HEADER, 1, filter=bytes(7), filter_hashes=6), "filter"),
        (Probe(HEADER, 1, filter=bytes(8), filter_hashes=17), "filter"),
        (Probe(HEADER, 1, filter=bytes(8)), "filter"),
        (Probe(HEADER, 1, filter_hashes=6), "without a filter"),
        (Probe(HEADER, 1, filter=bytes(1_145), filter_hashes=6), "1201 bytes is too large"),
    ],
)
def test_what_no_peer_would_accept_is_not_sent(message: Message, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        encode(message)


def test_the_tag_counts_too() -> None:
    query = Query(HEADER, 1, padding=1_200 - 48)
    assert len(encode(query)) == MAX_DATAGRAM
    with pytest.raises(ArgumentError, match="1218 bytes is too large"):
        encode(query, RING)


# --- parts


def service(size: int, number: int = 0) -> Service:
    """A service that takes so many bytes."""
    name = f"{number:04}"
    attributes: dict[str, str] = {}
    for key in "abcdefghij":
        left = size - service_size(Service(name, "_lamp", 1, attributes))
        if not left:
            break
        # Less than a pair takes, or what the long form of a length adds, must not be left over.
        attributes[key] = "v" * min(200, left - 3) if left < 200 or left > 220 else "v" * 150
    made = Service(name, "_lamp", 1, attributes)
    assert service_size(made) == size
    return made


def sizes(parts: tuple[tuple[Service, ...], ...]) -> list[int]:
    return [len(part) for part in parts]


def test_nothing_to_offer_is_one_part_without_services() -> None:
    assert parts_of(()) == ((),)


def test_services_fill_parts_in_their_order() -> None:
    offered = [service(100, n) for n in range(25)]
    parts = parts_of(offered)
    assert sizes(parts) == [11, 11, 3]
    assert [s for part in parts for s in part] == offered


def test_a_part_has_at_most_16_services() -> None:
    assert sizes(parts_of([LAMP] * 40)) == [16, 16, 8]


def test_every_part_fits_a_tagged_reply() -> None:
    [[largest]] = parts_of([service(1_134)])
    reply = Reply(HEADER, 1, 1, 30, services=(largest,))
    assert len(encode(reply, RING)) == MAX_DATAGRAM
    with pytest.raises(ArgumentError, match=r"'0007' takes 1135 bytes: .* at most 1134 fit"):
        parts_of([service(1_135, 7)])


def test_a_state_has_at_most_16_parts() -> None:
    assert len(parts_of([service(1_000, n) for n in range(16)])) == 16
    with pytest.raises(ArgumentError, match="take 17 datagrams: offer fewer"):
        parts_of([service(1_000, n) for n in range(17)])


@given(messages)
def test_what_one_message_carries_is_one_part(message: Message) -> None:
    carried: Any = getattr(message, "services", ())
    assert parts_of(carried) == (carried,)
    assert sum(map(service_size, carried)) <= 1_134
