from __future__ import annotations

import json
import struct
import tomllib
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.accessory.conversation import Heard, conversation
from bcast.accessory.description import Decoded
from bcast.accessory.draft import draft
from bcast.accessory.loading import load
from bcast.accessory.mistakes import DescriptionError
from bcast.cli.drafting import draft_of
from bcast.errors import ArgumentError, CaptureError
from tests.accessories import ALL_ROLES, CAPTURES, CATALOGUE, captured

APP, LAMP, OTHER = "192.0.2.1", "192.0.2.21", "192.0.2.22"


def asked(payload: bytes, port: int = 40_001) -> Heard:
    return Heard(payload, APP, port, "255.255.255.255", 9_000)


def replied(payload: bytes, source: str = LAMP, port: int = 40_001) -> Heard:
    return Heard(payload, source, 9_000, APP, port)


def message(text: str, name: str) -> dict[str, object]:
    document = tomllib.loads(text)
    found = [m for role in ("probe", "reply", "announcement") for m in document.get(role, [])]
    named: dict[str, dict[str, object]] = {m["name"]: m for m in found}
    return named[name]


def sketch(text: str, name: str) -> str:
    found = message(text, name)
    if "hex" in found:
        return " ".join(str(found["hex"]).split())
    return str(next(found[k] for k in ("text", "json", "headers", "xml") if k in found))


# --- who asks and who answers


def test_what_is_answered_is_a_probe_and_what_is_not_an_announcement() -> None:
    beacon = Heard(b"I am", OTHER, 9_000, "192.0.2.255", 9_000)
    follow_up = Heard(b"more?", APP, 40_002, LAMP, 9_000)
    talk = conversation(
        [asked(b"who?"), beacon, replied(b"me"), follow_up, replied(b"this", port=40_002)]
    )
    assert [one.role for one in talk.spoken] == [
        *("probe", "announcement", "reply", "probe", "reply")
    ]
    assert [one.follows for one in talk.spoken] == [False, False, False, True, False]
    assert talk.spoken[4].probe is follow_up
    assert (talk.port, talk.group, talk.passed) == (9_000, "", 0)


def test_a_reply_belongs_to_the_probe_of_its_ports() -> None:
    first, second = asked(b"a"), asked(b"b")._replace(destination_port=9_001)
    talk = conversation(
        [first, second, replied(b"from a"), replied(b"b")._replace(source_port=9_001)]
    )
    assert [one.probe for one in talk.spoken[2:]] == [first, second]


def test_a_reply_may_go_to_another_port() -> None:
    text = draft([asked(b'{"cmd":"scan"}'), replied(b'{"ip":"x"}', port=4_002)], name="x")
    assert message(text, "reply")["to"] == "source:4002"


# --- what is recognised


def test_random_ids_that_come_back_are_echoes() -> None:
    heard = []
    for number in (0x1234, 0x9876):
        payload = struct.pack(">4sHB", b"SCAN", number, 1)
        heard += [asked(payload), replied(struct.pack(">4sHB", b"HERE", number, 2))]
    text = draft(heard, name="x")
    assert sketch(text, "probe") == '"SCAN" {_random:bytes(2)~random(4)} 01'
    assert sketch(text, "reply") == '"HERE" {random:bytes(2)=probe._random} 02'


def test_own_addresses_lengths_texts_and_checksums_are_found() -> None:
    def reply(source: str, name: bytes) -> Heard:
        body = bytes(map(int, source.split("."))) + name.ljust(12, b"\0")
        payload = b"\x01\x02" + struct.pack("<H", len(body) + 8) + body
        return replied(payload + struct.pack(">I", crc32(payload)), source)

    text = draft([asked(b"\1\1"), reply(LAMP, b"Hall"), reply(OTHER, b"Kitchen")], name="x")
    assert sketch(text, "reply") == (
        "0102 {:u16le=length(all)} {address:ip4~own.address} {name:str(12)~Hall}"
        " {:u32=crc32(before)}"
    )


def test_json_keeps_what_says_which_message_it_is() -> None:
    text = draft(
        [
            asked(b'{"method": "find"}'),
            replied(b'{"method": "find", "mac": "02:00:00:00:00:0A", "name": "Hall", "on": true}'),
        ],
        name="x",
    )
    assert sketch(text, "probe") == '{"method": "find"}'
    assert sketch(text, "reply") == (
        '{"method": "find", "mac": "{id:mac(:,upper)~own.mac}", "name": "{name~Hall}",'
        ' "on": "{on~true}"}'
    )


def test_two_kinds_of_datagrams_are_two_messages() -> None:
    text = draft([asked(b"AT+A\r"), asked(b"AT+B\r"), replied(b"+ok=1,2")], name="x")
    assert (sketch(text, "probe"), sketch(text, "probe_2")) == ("AT+A\r", "AT+B\r")


# --- the whole


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_draft_of_a_capture_decodes_that_capture(name: str) -> None:
    """What was heard fits what was drafted from it, with nothing added by hand."""
    description = load(draft_of(str(CAPTURES / f"{name}.pcap")), file=name)
    for datagram in captured(name):
        decoded = description.decode(datagram.payload, roles=ALL_ROLES)
        assert isinstance(decoded, Decoded), decoded


LEAVES = st.one_of(st.text(max_size=12), st.integers(-9, 10**6), st.booleans(), st.none())
#: What is called "*" in a template is all that isn't listed.
KEYS = st.text(min_size=1, max_size=8).filter(lambda key: key != "*")
OBJECTS = st.recursive(
    st.dictionaries(KEYS, LEAVES, max_size=4),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner | st.lists(inner, max_size=2)),
    max_leaves=4,
)
LINES = st.dictionaries(
    st.text("ABCab-", min_size=1, max_size=8),
    st.text(max_size=12).map(lambda t: " ".join(t.split())),
)
PAYLOADS = st.one_of(
    st.binary(max_size=60),
    OBJECTS.map(lambda made: json.dumps(made).encode()),
    OBJECTS.map(lambda made: b"\1\2\3\4" + json.dumps(made).encode() + b"\5"),
    LINES.map(
        lambda made: "\r\n".join(["A * HTTP/1.1", *(f"{k}: {made[k]}" for k in made)]).encode()
    ),
    st.text("abc=,;:{[]}'\\\"\r\n ", max_size=20).map(str.encode),
    st.sampled_from(
        (b"<a><b c='d'>e</b></a>", b"<a xmlns='u:v'><b>{f}</b></a>", b"<x:a xmlns:x='y'/>")
    ),
)


@given(st.lists(st.tuples(PAYLOADS, st.booleans()), min_size=1, max_size=6))
def test_a_draft_of_anything_is_a_description_that_decodes_it(
    payloads: list[tuple[bytes, bool]],
) -> None:
    heard = [asked(p) if is_asked else replied(p) for p, is_asked in payloads]
    spoken = conversation(heard).spoken
    if not spoken:
        return
    text = draft(heard, name="any")
    try:
        description = load(text, file="any.toml")
    except DescriptionError as error:
        # What nothing constant tells apart is for a person to tell apart; the draft says so.
        if not all("taken for" in m.message and m.message in text for m in error.mistakes):
            raise
        return
    for one in spoken:
        decoded = description.decode(one.heard.payload, roles=ALL_ROLES)
        assert isinstance(decoded, Decoded), decoded


def test_hex_is_enough() -> None:
    text = draft_of("5a524501 32690ea7, 5a524501e6761d14")
    assert sketch(text, "reply").startswith('"ZRE" 01')
    assert "write it here" in text


@pytest.mark.parametrize(
    ("stem", "name"),
    [("Lux Meter", "lux-meter"), ("2026-11-23", "mine-2026-11-23"), ("_", "mine")],
)
def test_a_draft_is_called_like_its_capture(stem: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{stem}.pcap"
    path.write_bytes((CAPTURES / "zre.pcap").read_bytes())
    assert load(draft_of(str(path)), file="x.toml").name == name


def test_what_is_neither_says_so(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="neither a file nor hex digits"):
        draft_of("no such thing")
    (tmp_path / "x.pcap").write_bytes(b"nothing")
    with pytest.raises(CaptureError):
        draft_of(str(tmp_path / "x.pcap"))
    with pytest.raises(ArgumentError, match="no datagram"):
        draft([], name="x")
