"""docs/protocol.md is right: its test vectors, and its constants, are those of the code."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import tomllib
from functools import reduce
from ipaddress import IPv4Address
from pathlib import Path
from random import Random
from typing import Any

import pytest

from bcast.datagram import Endpoint
from bcast.discovery.responder import Responder
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
from bcast.wire import Reason, decode, encode, service_size
from bcast.wire.filters import build, contains, entry
from bcast.wire.hashes import id64, mix64, realm_hash, slot, type_hash
from bcast.wire.keys import Keyring, is_authentic, tag
from tests.machines import ETH, SOURCE, attached, datagram, hear, run

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "protocol.md"

if not DOCUMENT.exists():
    pytest.skip("docs/protocol.md isn't here", allow_module_level=True)

TEXT = DOCUMENT.read_text("utf-8")

Vector = dict[str, Any]


def read_vectors() -> dict[str, list[Vector]]:
    found: dict[str, list[Vector]] = {}
    for block in re.findall(r"^```toml\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE):
        for name, vectors in tomllib.loads(block).items():
            found.setdefault(name, []).extend(vectors)
    return found


VECTORS = read_vectors()
KINDS: dict[str, type[Message]] = {
    "PROBE": Probe,
    "REPLY": Reply,
    "ANNOUNCE": Announcement,
    "BEAT": Beat,
    "GOODBYE": Goodbye,
    "QUERY": Query,
}


def vectors(name: str) -> pytest.MarkDecorator:
    """A parameter for each vector of that name."""
    return pytest.mark.parametrize(
        "vector", VECTORS[name], ids=lambda v: v.get("name") or v.get("what")
    )


def number(text: str) -> int:
    return int(text, 16)


def message_of(vector: Vector) -> Message:
    """The message that a vector's fields say."""
    fields = dict(vector)
    kind = KINDS[fields.pop("name").partition(",")[0]]
    del fields["untagged"], fields["tagged"]
    header = Header(
        bytes.fromhex(fields.pop("id")), *(fields.pop(f) for f in ("epoch", "sequence", "realm"))
    )._replace(more=fields.pop("more"))
    for name, value in fields.items():
        if name == "nonce":
            fields[name] = number(value)
        elif name == "filter":
            fields[name] = bytes.fromhex(value)
        elif name == "types":
            fields[name] = tuple(value)
        elif name == "services":
            fields[name] = tuple(Service(**service) for service in value)
    return kind(header=header, **fields)


def key() -> bytes:
    found = re.search(r"under key 1, which is\n`([0-9a-f]{32})`", TEXT)
    assert found
    return bytes.fromhex(found[1])


RING = Keyring({1: key()}, 1)


# --- vectors


def test_every_message_is_there_with_little_and_with_all_in_it() -> None:
    names = [vector["name"].partition(",")[0] for vector in VECTORS["message"]]
    assert names == [name for name in KINDS for _ in range(2)]


@vectors("message")
def test_messages(vector: Vector) -> None:
    message = message_of(vector)
    untagged, tagged = bytes.fromhex(vector["untagged"]), bytes.fromhex(vector["tagged"])
    assert encode(message).hex() == untagged.hex()
    assert decode(untagged) == message
    assert encode(message, RING).hex() == tagged.hex()
    assert decode(tagged) == message._replace(header=message.header._replace(key_id=1))
    assert is_authentic(tagged, RING)
    assert not is_authentic(untagged, RING)


def test_the_reference_service_has_the_size_that_is_said() -> None:
    [lamp] = [v for v in VECTORS["message"] if v["name"].endswith("of the reference service")]
    [service] = lamp["services"]
    sizes = len(service["name"]), len(service["type"]), len(service["attributes"])
    assert sizes == (16, 13, 6)
    size = service_size(Service(**service))
    assert (size, 48 + size, 48 + size + 18) == (110, 158, 176)
    assert "(158 bytes, 176 with a tag)" in TEXT


@vectors("accepted")
def test_what_is_accepted(vector: Vector) -> None:
    datagram, plain = bytes.fromhex(vector["datagram"]), bytes.fromhex(vector["as"])
    assert datagram != plain
    assert decode(datagram) == decode(plain)
    assert encode(decode(datagram)) == plain


@vectors("rejected")
def test_what_is_rejected(vector: Vector) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(bytes.fromhex(vector["datagram"]) + bytes(vector.get("zeros", 0)))
    assert caught.value.reason == vector["reason"]


def test_every_reason_is_explained_and_shown() -> None:
    table = TEXT[TEXT.index("| reason | the datagram |") : TEXT.index("A FILTER of an unknown")]
    assert re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE) == list(Reason)
    assert {vector["reason"] for vector in VECTORS["rejected"]} == set(Reason)


@vectors("mix64")
def test_mix64(vector: Vector) -> None:
    assert mix64(number(vector["x"])) == number(vector["result"])


@vectors("slot")
def test_slots(vector: Vector) -> None:
    stands_for = id64(bytes.fromhex(vector["id"]))
    assert stands_for == number(vector["id64"])
    assert slot(stands_for, number(vector["nonce"])) == vector["slot"]


@vectors("type")
def test_types(vector: Vector) -> None:
    assert type_hash(vector["text"]) == vector["hash"]


@vectors("realm")
def test_realms(vector: Vector) -> None:
    assert realm_hash(vector["text"]) == vector["hash"]


@vectors("due")
def test_due_times(vector: Vector) -> None:
    place = vector["slot"] - vector["low"]
    due = vector["window"] * place / (vector["high"] - vector["low"])
    assert due == pytest.approx(vector["milliseconds"], abs=1e-6)


@vectors("filter")
def test_filters(vector: Vector) -> None:
    nonce = number(vector["nonce"])
    if "peers" in vector:
        entries = [number(peer["entry"]) for peer in vector["peers"]]
        assert entries == [
            entry(id64(bytes.fromhex(peer["id"])), peer["epoch"], peer["version"])
            for peer in vector["peers"]
        ]
    else:
        entries = [mix64(n) for n in range(vector["first"], vector["last"] + 1)]
    filter = bytes.fromhex(vector["filter"])
    assert build(entries, nonce) == (filter, vector["hashes"])
    assert all(contains(filter, vector["hashes"], one, nonce) for one in entries)
    if "mistaken" in vector:
        others = range(vector["last"] + 1, vector["last"] + 301)
        taken = [n for n in others if contains(filter, vector["hashes"], mix64(n), nonce)]
        assert taken == vector["mistaken"]


@vectors("tag")
def test_tags(vector: Vector) -> None:
    assert bytes.fromhex(vector["key"]) == RING.keys[vector["key_id"]]
    datagram, expected = bytes.fromhex(vector["datagram"]), bytes.fromhex(vector["tag"])
    assert tag(datagram, RING.keys[1]) == expected
    assert is_authentic(datagram + expected, RING)


class Fixed(Random):
    """Draws the epoch that a vector says."""

    def getrandbits(self, bits: int, /) -> int:
        return ANSWERING["epoch"] if bits == 32 else super().getrandbits(bits)


[ANSWERING] = VECTORS["answering"]


@vectors("answer")
def test_answers(vector: Vector) -> None:
    interval = ANSWERING["interval"]
    peer = Responder(
        [Service(**ANSWERING["service"])],
        random=Fixed(1),
        id=bytes.fromhex(ANSWERING["id"]),
        interval=interval,
    )
    peer.interfaces_changed(attached(ETH), 0.0)
    asked = bytes.fromhex(vector["asked"])
    own = Endpoint(IPv4Address("10.0.2.1"), 50_000)
    hear(peer, 0.0, datagram(asked, destination=own))
    sent = [(0.0, one) for one in peer.datagrams_to_send(0.0)] + run(peer, until=2.0)
    replies = [(now, decode(one.payload)) for now, one in sent if one.destination == SOURCE]
    if not vector["reply"]:
        assert replies == []
        return
    [(now, reply)] = replies
    assert now * 1_000 == pytest.approx(vector["milliseconds"], abs=1e-6)
    # It has announced itself before, if the answer had to wait.
    expected = decode(bytes.fromhex(vector["reply"]))
    assert reply._replace(header=reply.header._replace(sequence=0)) == expected
    assert encode(expected).hex() == "".join(vector["reply"].split())


# --- constants

ROW = re.compile(r"^\| ([A-Z_]+) \| `([^`]+)` \|[^|]*\|[^|]*\| ?([\w.]*) \|$", re.MULTILINE)
CONSTANTS = {name: (value, where) for name, value, where in ROW.findall(TEXT)}


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_constant_is_the_codes(name: str) -> None:
    value, where = CONSTANTS[name]
    stated = ast.literal_eval(value)
    if not where:
        return  # a rule for others
    module, _, variable = f"bcast.{where}".rpartition(".")
    package = module.rpartition(".")[0]
    if importlib.util.find_spec(package) is None or importlib.util.find_spec(module) is None:
        pytest.skip(f"there is no {module} yet")
    assert getattr(importlib.import_module(module), variable) == pytest.approx(stated)


def test_every_number_that_is_named_is_in_the_table() -> None:
    before = TEXT[: TEXT.index("## Constants")]
    table = TEXT[TEXT.index("## Constants") : TEXT.index("## Test vectors")]
    rows = re.findall(r"^\| ([A-Z_]+) \|", table, re.MULTILINE)
    assert rows == list(CONSTANTS), "every row is understood"
    named = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", before))
    named = {name for name in named if not name.startswith(("SO_", "IP_"))}  # socket options
    assert named <= set(CONSTANTS)
    assert {"QUIET", "GAP", "EAGER", "JITTER", "DEAF"} <= set(re.findall(r"\b[A-Z]+\b", before))


@pytest.mark.parametrize(
    ("name", "value"), re.findall(r"\b([A-Z]+_?[A-Z_]*) \(([0-9][^);]*)\)", TEXT)
)
def test_a_number_beside_its_name_is_that_of_the_table(name: str, value: str) -> None:
    """As in "QUIET (3)", with a unit or not."""
    if name not in CONSTANTS:
        assert name in ("RFC",), name
        return
    stated = ast.literal_eval(CONSTANTS[name][0])
    scale = 0.001 if " ms" in value else 0.01 if "%" in value else 1
    first, *more = (number_of(text) * scale for text in re.split(r", (?=\d+ )| and ", value))
    if isinstance(stated, tuple):
        assert (first, *more) == pytest.approx(stated)
    else:
        assert first == pytest.approx(stated)


def number_of(text: str) -> float:
    found = re.match(r"0x[0-9a-fA-F]+|[0-9][0-9,]*(?:\.[0-9]+)?", text.strip())
    assert found, text
    digits = found[0].replace(",", "")
    factors = re.findall(r"× ([0-9.]+)", text)
    value = float(int(digits, 16) if digits.startswith("0x") else digits)
    return reduce(lambda product, factor: product * float(factor), factors, value)
