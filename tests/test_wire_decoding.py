from __future__ import annotations

from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bcast.errors import DecodeError
from bcast.messages import (
    Announcement,
    Beat,
    Goodbye,
    Header,
    Message,
    Probe,
    Query,
    Reply,
    Service,
)
from bcast.wire import Decoder, Reason, decode, encode
from bcast.wire.keys import Keyring
from tests.fuzz.corpus import fewest, read_corpus
from tests.fuzz.mutations import mutate
from tests.fuzz.targets import check_decode
from tests.strategies import keyrings, messages

ID = "000102030405060708090a0b0c0d0e0f"
HEADER = Header(bytes.fromhex(ID), 0x11121314, 0x21222324)
#: What follows the type in a header without flags, key and realm.
REST = f"00 00 0000 {ID} 11121314 21222324"
NONCE, NONCE_HEX = 0xA1A2A3A4A5A6A7A8, "a1a2a3a4a5a6a7a8"
LAMP = Service("lamp-1", "_lamp", 80, {"fw": "1.4", "on": "", "où": "é☃"})
LAMP_HEX = (
    "10 26 0050 0000 06 6c616d702d31 05 5f6c616d70"
    "02 6677 03 312e34 02 6f6e 00 03 6fc3b9 05 c3a9e29883"
)
BARE = Service("x", "y")

#: Written by hand from the specification.
DATAGRAMS: list[tuple[Message, str]] = [
    (
        Probe(HEADER, NONCE),
        f"bd50 10 01 {REST} {NONCE_HEX} 0000 0000 0000 0000 00 00 00 00 00 2a" + "00" * 42,
    ),
    (
        Probe(
            *(HEADER._replace(realm=0x7788, more=True), NONCE, 1_000, 258, 4_096, 65_535, 3),
            *((1, 0xFFFFFFFF), bytes(range(1, 31)), 6),
        ),
        f"bd50 10 01 01 00 7788 {ID} 11121314 21222324 {NONCE_HEX} 03e8 0102 1000 ffff 03 06 01 00"
        f"01 08 00000001 ffffffff 03 1e {bytes(range(1, 31)).hex()} 00 00",
    ),
    (
        Reply(HEADER, NONCE, 7, 30, 0, 1, (LAMP,)),
        f"bd50 10 02 {REST} {NONCE_HEX} 00000007 001e 00 01 {LAMP_HEX}",
    ),
    (
        Reply(HEADER._replace(more=True), NONCE, 1, 3_600, 0, 3),
        f"bd50 10 02 01 {REST[2:]} {NONCE_HEX} 00000001 0e10 00 03",
    ),
    (
        Announcement(HEADER, 2**32 - 1, 1, 2, 3, (BARE, BARE)),
        f"bd50 10 03 {REST} ffffffff 0001 02 03"
        "10 08 0000 0020 01 78 01 79  10 08 0000 0021 01 78 01 79",
    ),
    (Beat(HEADER, 7, 30, 2), f"bd50 10 04 {REST} 00000007 001e 0002"),
    (Goodbye(HEADER, 7, 30, 2), f"bd50 10 05 {REST} 00000007 001e 0002"),
    (Query(HEADER, NONCE, 6, 15, 513), f"bd50 10 06 {REST} {NONCE_HEX} 00000006 0f 00 0201"),
    (
        Query(HEADER, NONCE, padding=5),
        f"bd50 10 06 {REST} {NONCE_HEX} 00000000 00 00 0000 00 03 000000",
    ),
]

SAMPLES = [
    encode(message, keyring)
    for message, _ in DATAGRAMS
    for keyring in (None, Keyring({1: b"k" * 16}, 1))
]


def hex(text: str) -> bytes:
    return bytes.fromhex(text)


@pytest.mark.parametrize(("message", "datagram"), DATAGRAMS)
def test_messages_are_these_bytes(message: Message, datagram: str) -> None:
    assert encode(message).hex() == hex(datagram).hex()
    assert decode(hex(datagram)) == message


BEAT_HEX = DATAGRAMS[5][1]
QUERY_HEX = DATAGRAMS[7][1]


@pytest.mark.parametrize(
    ("datagram", "message"),
    [
        (BEAT_HEX.replace("bd50 10", "bd50 1f"), Beat(HEADER, 7, 30, 2)),
        (BEAT_HEX.replace("bd50 10 04 00", "bd50 10 04 fe"), Beat(HEADER, 7, 30, 2)),
        (f"{BEAT_HEX} 7e 03 010203 00 00 10 00 01 00", Beat(HEADER, 7, 30, 2)),
        (QUERY_HEX.replace("0f 00", "0f ff"), Query(HEADER, NONCE, 6, 15, 513)),
        (f"{QUERY_HEX} 55 01 00 00 00", Query(HEADER, NONCE, 6, 15, 513, padding=5)),
        (f"{QUERY_HEX} 00 ff 0000", Query(HEADER, NONCE, 6, 15, 513, padding=4)),
        (
            # Not padded; kind 2 of filters; the last byte is reserved.
            f"bd50 10 01 {REST} {NONCE_HEX} 0000 0000 0000 0000 00 06 02 ff 03 02 0102",
            Probe(HEADER, NONCE),
        ),
        (
            f"bd50 10 01 {REST} {NONCE_HEX} 0000 0000 0000 0000 00 06 01 00 01 ff 0004 00000001",
            Probe(HEADER, NONCE, types=(1,)),
        ),
        (
            f"bd50 10 02 {REST} {NONCE_HEX} 00000007 001e 00 01 {LAMP_HEX[:10]} ffff"
            f"{LAMP_HEX[15:]}",
            Reply(HEADER, NONCE, 7, 30, services=(LAMP,)),
        ),
    ],
    ids=[
        *("minor version", "flags", "other fields", "reserved byte", "padding", "long length"),
        *("kind of filter", "long types", "index"),
    ],
)
def test_what_later_versions_may_add_is_ignored(datagram: str, message: Message) -> None:
    assert decode(hex(datagram)) == message


PROBE = f"bd50 10 01 {REST} {NONCE_HEX} 0000 0000"
REPLY = f"bd50 10 02 {REST} {NONCE_HEX}"
OFFER = f"{REPLY} 00000001 001e 00 01"


def service(value: str) -> str:
    return f"{OFFER} 10 {len(hex(value)):02x} {value}"


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        ("", Reason.TOO_SHORT),
        (BEAT_HEX[: -len(" 00000007 001e 0002")][:-2], Reason.TOO_SHORT),
        (BEAT_HEX[:-2], Reason.TOO_SHORT),
        (f"bd50 10 04 00 01 {REST[6:]} 00000007 001e 0002", Reason.TOO_SHORT),
        (BEAT_HEX + "00 ff 0481" + "00" * 1_157, Reason.TOO_LARGE),
        ("bd51" + BEAT_HEX[4:], Reason.MAGIC),
        ("50bd" + BEAT_HEX[4:], Reason.MAGIC),
        (BEAT_HEX.replace("bd50 10", "bd50 00"), Reason.VERSION),
        (BEAT_HEX.replace("bd50 10", "bd50 20"), Reason.VERSION),
        (BEAT_HEX.replace("bd50 10 04", "bd50 10 00"), Reason.TYPE),
        (BEAT_HEX.replace("bd50 10 04", "bd50 10 07"), Reason.TYPE),
        (f"{BEAT_HEX} 7f 10" + "00" * 16, Reason.TAG),
        (f"bd50 10 04 00 01 {REST[6:]} 00000007 001e 0002 00 10" + "00" * 16, Reason.TAG),
        (f"bd50 10 04 00 01 {REST[6:]} 00000007 001e 0002 7f 0f" + "00" * 16, Reason.TAG),
        (
            f"bd50 10 04 00 01 {REST[6:]} 00000007 001e 0002" + f"7f 10 {'00' * 16}" * 2,
            Reason.TAG,
        ),
        (
            f"bd50 10 04 00 01 {REST[6:]} 00000007 001e 0002 00 12 7f 10" + "00" * 16,
            Reason.TRUNCATED,
        ),
        (f"{BEAT_HEX} 00", Reason.TRUNCATED),
        (f"{BEAT_HEX} 00 01", Reason.TRUNCATED),
        (f"{BEAT_HEX} 00 ff 00", Reason.TRUNCATED),
        (f"{BEAT_HEX} 00 ff ffff", Reason.TRUNCATED),
        (f"{BEAT_HEX} 80 00", Reason.CRITICAL),
        (f"{BEAT_HEX} 00 00 ff 01 00", Reason.CRITICAL),
        (f"{OFFER} 90 00", Reason.CRITICAL),
        (f"{PROBE} 0001 0001 00 00 00 00", Reason.RANGE),
        (f"{PROBE} 0002 0001 00 00 00 00", Reason.RANGE),
        (f"{PROBE} 0000 0000 00 00 00 00 01 00", Reason.RANGE),
        (f"{PROBE} 0000 0000 00 00 00 00 01 03 010203", Reason.RANGE),
        (f"{PROBE} 0000 0000 00 00 00 00 01 24" + "00" * 36, Reason.TOO_MANY),
        (f"{PROBE} 0000 0000 00 00 00 00" + "01 04 00000001" * 2, Reason.DUPLICATE),
        (f"{PROBE} 0000 0000 00 06 01 00" + "03 08 0102030405060708" * 2, Reason.DUPLICATE),
        (f"{PROBE} 0000 0000 00 06 01 00 03 07 01020304050607", Reason.FILTER),
        (f"{PROBE} 0000 0000 00 06 01 00 03 00", Reason.FILTER),
        (f"{PROBE} 0000 0000 00 00 01 00 03 08 0102030405060708", Reason.FILTER),
        (f"{PROBE} 0000 0000 00 11 01 00 03 08 0102030405060708", Reason.FILTER),
        (f"{REPLY} 00000000 001e 00 01", Reason.RANGE),
        (f"{REPLY} 00000001 0000 00 01", Reason.RANGE),
        (f"{REPLY} 00000001 0e11 00 01", Reason.RANGE),
        (BEAT_HEX.replace("00000007", "00000000"), Reason.RANGE),
        (BEAT_HEX.replace("10 04", "10 05").replace("001e", "0000"), Reason.RANGE),
        (f"bd50 10 03 {REST} 00000001 0000 00 01", Reason.RANGE),
        (f"{REPLY} 00000001 001e 00 00", Reason.PART),
        (f"{REPLY} 00000001 001e 01 01", Reason.PART),
        (f"{REPLY} 00000001 001e 00 11", Reason.PART),
        (f"bd50 10 03 {REST} 00000001 001e 10 11", Reason.PART),
        (QUERY_HEX.replace("0f 00", "10 00"), Reason.PART),
        (OFFER + "10 08 0000 0000 01 78 01 79" * 17, Reason.TOO_MANY),
        (service(""), Reason.TRUNCATED),
        (service("0000 00"), Reason.TRUNCATED),
        (service("0000 0000 02 78"), Reason.TRUNCATED),
        (service("0000 0000 01 78"), Reason.TRUNCATED),
        (service("0000 0000 01 78 02 79"), Reason.TRUNCATED),
        (service("0000 0000 01 78 01 79 01"), Reason.TRUNCATED),
        (service("0000 0000 01 78 01 79 01 6b"), Reason.TRUNCATED),
        (service("0000 0000 01 78 01 79 01 6b 01"), Reason.TRUNCATED),
        (service("0000 0000 00 01 79"), Reason.RANGE),
        (service(f"0000 0000 40 {'78' * 64} 01 79"), Reason.RANGE),
        (service("0000 0000 01 78 00"), Reason.TEXT),
        (service(f"0000 0000 01 78 40 {'79' * 64}"), Reason.TEXT),
        (service("0000 0000 01 78 01 41"), Reason.TEXT),
        (service("0000 0000 01 78 02 790a"), Reason.TEXT),
        (service("0000 0000 01 78 01 ff"), Reason.TEXT),
        (service("0000 0000 01 80 01 79"), Reason.TEXT),
        (service("0000 0000 03 eda080 01 79"), Reason.TEXT),
        (service("0000 0000 01 78 01 79 01 c3 00"), Reason.TEXT),
        (service("0000 0000 01 78 01 79 01 6b 02 c080"), Reason.TEXT),
        (service("0000 0000 01 78 01 79 00 00"), Reason.RANGE),
        (service(f"0000 0000 01 78 01 79 40 {'6b' * 64} 00"), Reason.RANGE),
        (service("0000 0000 01 78 01 79 01 6b 00 01 6b 01 31"), Reason.DUPLICATE),
        (
            service("0000 0000 01 78 01 79" + "".join(f"01 {n:02x} 00" for n in range(65))),
            Reason.TOO_MANY,
        ),
    ],
)
def test_what_is_no_message_is_rejected_with_the_reason(datagram: str, reason: Reason) -> None:
    with pytest.raises(DecodeError, match="no message of bcast: ") as caught:
        decode(hex(datagram))
    assert caught.value.reason == reason


def test_the_most_that_fits_is_accepted() -> None:
    attributes = {chr(n): "" for n in range(63)} | {"k" * 63: "v" * 255}
    largest = Service("n" * 63, "t" * 63, 65_535, attributes)
    said = Announcement(HEADER, 1, 30, 15, 16, (largest,))
    assert decode(encode(said)) == said
    many = Announcement(HEADER, 1, 30, services=(BARE,) * 16)
    assert decode(encode(many)) == many
    probe = Probe(HEADER, 1, low=65_535, types=tuple(range(8)), filter=bytes(8), filter_hashes=16)
    assert decode(encode(probe)) == probe
    full = Probe(HEADER, 1, filter=b"\xff" * 1_144, filter_hashes=1)
    assert len(encode(full)) == 1_200
    assert decode(encode(full)) == full


# --- the same payload many times


def test_a_decoder_decodes_a_payload_that_comes_again_once() -> None:
    decoder = Decoder()
    payload, other = SAMPLES[0], SAMPLES[4]
    first, second = decoder.decode(payload), decoder.decode(other)
    assert first == decode(payload)
    assert second == decode(other)
    # As the probes of a prober that knows many come to many peers, interleaved.
    assert [decoder.decode(one) for one in (payload, other) * 3] == [first, second] * 3
    again = decoder.decode(payload)
    assert again is first
    assert decoder.decode(other) is second
    # Equal is not the same: that it is equal would have to be found out.
    assert decoder.decode(bytes(bytearray(payload))) is not again


def test_a_decoder_forgets_what_is_long_past() -> None:
    decoder = Decoder()
    payload = SAMPLES[0]
    first = decoder.decode(payload)
    for _ in range(1_000):
        decoder.decode(bytes(bytearray(SAMPLES[4])))
    again = decoder.decode(payload)
    assert again == first
    assert again is not first


def test_a_decoder_rejects_again_what_it_rejected() -> None:
    decoder = Decoder()
    for _ in range(3):
        with pytest.raises(DecodeError) as caught:
            decoder.decode(b"bad")
        assert caught.value.reason == Reason.TOO_SHORT
        assert len(caught.traceback) == 2, "it doesn't grow each time"
    assert decoder.decode(SAMPLES[0]) == decode(SAMPLES[0])


# --- any bytes


@given(st.binary(max_size=1_300))
@example(b"")
def test_any_bytes_are_a_message_or_rejected(payload: bytes) -> None:
    check_decode(payload)
    for kind in range(1, 7):
        check_decode(b"\xbd\x50\x10%c\x00\x00" % kind + payload)


@given(messages, keyrings())
def test_whatever_is_missing_at_the_end_is_noticed(message: Message, keyring: Keyring) -> None:
    """By the tag: where a field ends, a datagram without one still says something when cut."""
    tagged = encode(message, keyring)
    for size in range(len(tagged)):
        with pytest.raises(DecodeError) as caught:
            decode(tagged[:size])
        # What stands where a tag would begin may look like the head of one.
        assert caught.value.reason in (Reason.TOO_SHORT, Reason.TAG, Reason.TRUNCATED)


#: Examples that hypothesis draws (slowly), and datagrams that each is changed into (quickly):
#: 12,000 in the default profile, two millions in the long one.
EXAMPLES = min(settings().max_examples, 1_000)
MUTATIONS = 200 if EXAMPLES < 1_000 else 2_000


@settings(max_examples=EXAMPLES)
@given(messages, messages, st.integers(0, 2**64))
def test_changed_datagrams_are_messages_or_rejected(
    message: Message, other: Message, seed: int
) -> None:
    random = Random(seed)
    keyring = Keyring({1: b"k" * 16}, 1)
    valid = [encode(m, k) for m in (message, other) for k in (None, keyring)]
    for _ in range(MUTATIONS):
        check_decode(mutate(random.choice(valid), random.choice(valid), random))


def test_mutations_reach_every_reason() -> None:
    """Otherwise they say nothing about it."""
    random = Random(1)
    left = set(Reason)
    valid = [*SAMPLES, encode(Announcement(HEADER, 1, 30, services=(BARE,) * 16))]
    for _ in range(200_000):
        try:
            decode(mutate(random.choice(valid), random.choice(valid), random))
        except DecodeError as error:
            left.discard(Reason(error.reason))
            if not left:
                return
    assert left == set()


def test_what_the_searches_found_is_tried_again() -> None:
    found = read_corpus("decode")
    assert found
    for payload in found:
        check_decode(payload)


def test_of_what_a_search_found_the_fewest_are_kept() -> None:
    alike = [encode(Beat(HEADER._replace(sequence=n), 1, 1, n)) for n in range(5)]
    kept = fewest([*alike, b"bad", b"BAD", hex(QUERY_HEX)], check_decode)
    assert len(kept) == 3
    assert {hex(QUERY_HEX)} < set(kept)
