from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bcast.cli.messages import MessageReader, describe, message_object
from bcast.cli.show import JsonFormat, TextFormat
from bcast.errors import DecodeError
from bcast.messages import (
    Announcement,
    Attributes,
    Beat,
    Goodbye,
    Header,
    Message,
    Probe,
    Query,
    Reply,
    Service,
)
from bcast.wire import MAGIC, decode, encode
from bcast.wire.keys import Keyring
from tests.strategies import NASTY, keyrings, messages, services
from tests.test_show import datagram, obeyed

ID = bytes.fromhex("3fa9c2d4" + "00112233" * 3)
HEADER = Header(ID, 0x0A1B2C3D, 7)
HEAD = "id 3fa9c2d4  epoch 0a1b2c3d  sequence 7"
NONCE = 0x0123_4567_89AB_CDEF
LAMP = Service("lamp-1", "_lamp", 80, Attributes({"fw": "1.4", "room": "living room"}))
KEYRING = Keyring({1: bytes(16), 2: bytes(range(16))}, 2)

LINES: dict[str, tuple[Message, list[str]]] = {
    "a plain probe": (
        Probe(HEADER, NONCE),
        [f"probe  {HEAD}  nonce 0123456789abcdef  round 0  elapsed 0 ms"],
    ),
    "a full probe": (
        Probe(HEADER, 1, 250, 40, 4096, 8192, 3, (0xBEEF,), bytes(64), 6),
        [
            f"probe  {HEAD}  nonce 0000000000000001  round 3  elapsed 250 ms  window 40 ms"
            "  slots 4096 to 8191  types 0000beef  filter 64 bytes, 6 hashes"
        ],
    ),
    "a reply": (
        Reply(HEADER._replace(realm=0x1A2B), NONCE, 5, 30, services=(LAMP,)),
        [
            f"reply  {HEAD}  realm 1a2b  nonce 0123456789abcdef  version 5  interval 30 s",
            'lamp-1  _lamp  port 80  fw=1.4  room="living room"',
        ],
    ),
    "the short form of a reply": (
        Reply(HEADER._replace(more=True), NONCE, 5, 30),
        [f"reply  {HEAD}  nonce 0123456789abcdef  version 5  interval 30 s  more parts"],
    ),
    "an announcement in parts": (
        Announcement(HEADER, 5, 30, 2, 3, (Service("a", "_b"), Service("c", "_d"))),
        [f"announcement  {HEAD}  version 5  interval 30 s  part 2 of 3", "a  _b", "c  _d"],
    ),
    "a beat": (Beat(HEADER, 5, 30, 2), [f"beat  {HEAD}  version 5  interval 30 s  services 2"]),
    "a goodbye": (
        Goodbye(HEADER, 5, 30, 2),
        [f"goodbye  {HEAD}  version 5  interval 30 s  services 2"],
    ),
    "a query": (
        Query(HEADER, NONCE, 4, 1, 2, 352),
        [f"query  {HEAD}  nonce 0123456789abcdef  known 4  part 1  reason 2"],
    ),
}


@pytest.mark.parametrize(("message", "lines"), LINES.values(), ids=LINES.keys())
def test_lines(message: Message, lines: list[str]) -> None:
    assert describe(message) == lines
    assert MessageReader().text(encode(message)) == (True, lines)


@pytest.mark.parametrize(
    ("tagged", "keyring", "said", "authentic"),
    [
        (None, None, "", None),
        (KEYRING, None, "tagged (key 2)", None),
        (KEYRING, KEYRING, "authentic (key 2)", True),
        (Keyring({2: bytes(20)}, 2), KEYRING, "not authentic (key 2)", False),
        (Keyring({3: bytes(20)}, 3), KEYRING, "not authentic (key 3)", False),
        (None, KEYRING, "not tagged", False),
    ],
)
def test_what_is_said_about_tags(
    tagged: Keyring | None, keyring: Keyring | None, said: str, authentic: bool | None
) -> None:
    payload = encode(Beat(HEADER, 5, 30, 2), tagged)
    reader = MessageReader(keyring)
    _, (line,) = reader.text(payload)
    assert line.partition("services 2")[2].strip() == said
    told = json.loads("{" + reader.members(payload)[1:] + "}")["message"]
    assert (told["tagged"], told["key_id"]) == (
        tagged is not None,
        tagged.current if tagged else None,
    )
    assert told.get("authentic") is authentic
    assert ("authentic" in told) is (keyring is not None)


def test_objects() -> None:
    assert message_object(
        Reply(HEADER._replace(realm=0x1A2B), NONCE, 5, 30, services=(LAMP,))
    ) == {
        "kind": "reply",
        "id": ID.hex(),
        "epoch": "0a1b2c3d",
        "sequence": 7,
        "realm": "1a2b",
        "more": False,
        "tagged": False,
        "key_id": None,
        "nonce": "0123456789abcdef",
        "version": 5,
        "interval": 30,
        "part": 0,
        "parts": 1,
        "services": [
            {
                "name": "lamp-1",
                "type": "_lamp",
                "port": 80,
                "attributes": {"fw": "1.4", "room": "living room"},
            }
        ],
    }
    probe = message_object(Probe(HEADER, 1, 250, 40, 4096, 65_536, 3, (0xBEEF,), bytes(64), 6))
    assert (probe["elapsed"], probe["window"]) == (0.25, 0.04)
    assert (probe["low"], probe["high"], probe["round"]) == (4096, 65_536, 3)
    assert (probe["types"], probe["filter_size"], probe["filter_hashes"]) == (["0000beef"], 64, 6)
    assert probe["realm"] is None
    query = message_object(Query(HEADER, 1, 4, 1, 2, 352))
    assert [query[n] for n in ("known", "part", "reason", "padding")] == [4, 1, 2, 352]
    assert message_object(Goodbye(HEADER, 5, 30, 2))["offered"] == 2


# --- what peers say stays what they say


def said_by(payload: bytes, keyring: Keyring | None = None) -> tuple[list[str], dict[str, Any]]:
    """What a terminal gets about a message, and what a program gets."""
    shown = TextFormat(keyring=keyring).datagram(datagram(payload))
    head, _, first = shown.partition(f"  {len(payload)} bytes  ")
    assert "\n" not in head
    object = JsonFormat(keyring=keyring).datagram(datagram(payload))
    assert object.isascii()
    assert object.endswith("}\n")
    return first.removesuffix("\n").split("\n    "), json.loads(object)


@given(messages, st.none() | keyrings())
def test_any_message_is_shown_harmlessly_and_completely(
    message: Message, keyring: Keyring | None
) -> None:
    payload = encode(message, keyring)
    lines, told = said_by(payload, keyring)
    assert obeyed("".join(lines)) == set()
    services = message.services if isinstance(message, Reply | Announcement) else ()
    assert len(lines) == 1 + len(services)
    assert told["protocol"] == "bcast"
    shown = told["message"]
    assert shown["id"] == message.header.id.hex()
    assert shown.get("services", []) == [
        {"name": s.name, "type": s.type, "port": s.port, "attributes": dict(s.attributes)}
        for s in services
    ]
    assert shown["authentic" if keyring else "sequence"] == (
        True if keyring else message.header.sequence
    )


@pytest.mark.parametrize("text", [*NASTY, "".join(NASTY)[:20], "x" * 63, " ", "\\x1b[2J", '"'])
def test_hostile_names_and_values_are_quoted(text: str) -> None:
    service = Service(text, "_lamp", 1, Attributes({text: text * (255 // len(text.encode()))}))
    lines, told = said_by(encode(Announcement(HEADER, 1, 30, services=(service,))))
    assert len(lines) == 2
    assert obeyed("".join(lines)) == set()
    (shown,) = told["message"]["services"]
    assert shown["name"] == text
    assert shown["attributes"] == dict(service.attributes)


def announced(*services: Service) -> Announcement:
    return Announcement(HEADER, 1, 30, services=services)


LOOKALIKES = (
    Service("a  _b", "_c"),
    Service("a", "_b", 80),
    Service("a  _b  port 80", "_b"),
    Service("a", "_b", 0, {"k": "v  l=w"}),
    Service("a", "_b", 0, {"k": "v", "l": "w"}),
    Service("a", "_b", 0, {"k": 'v"  l="w'}),
    Service("a", "_b", 0, {"k": ""}),
    Service("a", "_b", 0, {"k=": ""}),
    Service("a", "_b", 0, {"k": "="}),
    Service("\n", "_b"),
    Service("\\n", "_b"),
    Service('"\\n"', "_b"),
)


@given(services(), services())
@example(LOOKALIKES[0], LOOKALIKES[1])
def test_a_service_does_not_look_like_another(one: Service, other: Service) -> None:
    lines = {tuple(said_by(encode(announced(s)))[0]) for s in (one, other)}
    assert len(lines) == len({one, other})


def test_lookalikes_are_told_apart() -> None:
    lines, _ = said_by(encode(announced(*LOOKALIKES)))
    assert len(set(lines)) == 1 + len(LOOKALIKES)


# --- what is no message


@st.composite
def begun(draw: st.DrawFn) -> bytes:
    """Bytes that begin like a message: any, or a message that something was done to."""
    if draw(st.booleans()):
        return MAGIC.to_bytes(2, "big") + draw(st.binary(max_size=80))
    payload = bytearray(encode(draw(messages)))
    for _ in range(draw(st.integers(0, 3))):
        payload[draw(st.integers(2, len(payload) - 1))] = draw(st.integers(0, 255))
    return bytes(payload[: draw(st.integers(2, len(payload)))])


@given(st.lists(begun(), min_size=1, max_size=4))
def test_whatever_is_no_message_is_counted_with_its_reason(payloads: list[bytes]) -> None:
    expected: dict[str, int] = {}
    for payload in payloads:
        try:
            decode(payload)
            reason = ""
        except DecodeError as error:
            reason = error.reason
            expected[reason] = expected.get(reason, 0) + 1
        lines, told = said_by(payload)
        assert obeyed("".join(lines)) == set()
        assert told.get("rejected", "") == reason
        assert ("message" in told) is not bool(reason)
        assert not reason or lines[0].startswith(f"rejected ({reason}): ")
    for way in (MessageReader.text, MessageReader.members, MessageReader.count):
        reader = MessageReader()
        for payload in payloads:
            way(reader, payload)
        assert reader.rejected == expected


def test_a_name_that_is_not_text() -> None:
    payload = encode(Announcement(HEADER, 1, 30, services=(Service("lamp", "_lamp"),)))
    lines, told = said_by(payload.replace(b"lamp", b"la\xff\x1b", 1))
    assert told["rejected"] == "text"
    assert lines[:1] == [
        "rejected (text): the datagram is no message of bcast: a text is not UTF-8"
    ]
