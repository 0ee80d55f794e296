from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
import types
import unicodedata
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bcast.cli.show import JsonFormat, TextFormat, printable, sanitize
from bcast.datagram import Datagram, Endpoint, Interface, InterfaceFlag, Kind
from bcast.messages import Beat, Header
from bcast.sockets.batch import Batch, Row, source_key
from bcast.wire import MAGIC, encode
from tests.command import environment
from tests.strategies import NASTY, batches, datagrams, hostile_names, payloads, times_ns

ETH1 = Interface("eth1", 3, Kind.ETHERNET, InterfaceFlag.UP, 1500)
SOURCE = Endpoint(IPv4Address("192.168.1.20"), 1900)
DESTINATION = Endpoint(IPv4Address("192.168.1.5"), 43210)
#: 2026-11-23 14:03:25.947076123 UTC
TIME = 1_795_442_605_947_076_123
#: A message of bcast's own.
BEAT = encode(Beat(Header(bytes(16), 1, 2), 3, 30, 4))
HEAD = "14:03:25.947076  eth1  192.168.1.20:1900 > 192.168.1.5:43210  ttl 64  {} bytes"

Format = JsonFormat | TextFormat
FORMATS: dict[str, Callable[[], Format]] = {
    "json": JsonFormat,
    "auto": TextFormat,
    "text": lambda: TextFormat("text"),
    "hex": lambda: TextFormat("hex"),
}
SHAPES = ("auto", "text", "hex")


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The local time of the text format is UTC."""
    if sys.platform == "win32":
        pytest.skip("no tzset on Windows")
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def datagram(payload: bytes, ttl: int | None = 64, time_ns: int = TIME) -> Datagram:
    return Datagram(payload, SOURCE, DESTINATION, ETH1, time_ns, ttl)


def obeyed(text: str) -> set[str]:
    """Characters that do something to a terminal or to the reading of what follows."""
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")}


def shows_as_it_is(payload: bytes) -> bool:
    """Whether a payload is text without any character that isn't visible."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return False
    return bool(text) and all(c == " " or unicodedata.category(c)[0] not in "CZ" for c in text)


nasty_payloads = [text.encode(errors="surrogatepass") for text in NASTY]


# --- nothing a peer sends reaches the terminal as it is


@pytest.mark.parametrize("shape", FORMATS)
@pytest.mark.parametrize("payload", nasty_payloads)
def test_nothing_that_a_terminal_obeys_is_shown(shape: str, payload: bytes) -> None:
    for sent in (payload, b"HTTP/1.1 200 OK\r\nST: " + payload + b"\r\n", payload * 40):
        assert obeyed(FORMATS[shape]().datagram(datagram(sent))) <= {"\n"}


@given(datagrams(hostile_names), st.sampled_from(sorted(FORMATS)))
@example(Datagram(b"\x1b[2J", SOURCE, DESTINATION, ETH1), "text")
@example(Datagram(b"a \xe2\x80\xae b c d e f g h i", SOURCE, DESTINATION, ETH1), "auto")
def test_no_payload_and_no_name_reaches_the_terminal_raw(one: Datagram, shape: str) -> None:
    one = without_scopes(one)
    shown = FORMATS[shape]().datagram(one)
    assert obeyed(shown) <= {"\n"}
    assert shown.endswith("\n")
    shown.encode()  # no surrogate either


def without_scopes(one: Datagram) -> Datagram:
    source, destination = (
        Endpoint(type(e.address)(e.address.packed), e.port) for e in (one.source, one.destination)
    )
    return Datagram(one.payload, source, destination, one.interface, one.time_ns, one.ttl)


@given(datagrams(hostile_names), st.sampled_from(SHAPES))
@example(
    Datagram(
        b"hi",
        Endpoint(IPv6Address("fe80::1%\x1b[2J"), 1),
        Endpoint(IPv6Address("ff02::1%\x1b[2J"), 2),
        Interface("\x1b[2J", 3, Kind.ETHERNET, InterfaceFlag.UP, 1500),
    ),
    "text",
)
def test_no_scope_reaches_the_terminal_raw(one: Datagram, shape: str) -> None:
    assert obeyed(TextFormat(shape).datagram(one)) <= {"\n"}


@given(payloads, st.sampled_from(SHAPES))
def test_a_payload_cannot_look_like_another_datagram(payload: bytes, shape: str) -> None:
    """Whatever comes after the first line is indented, and the first line begins with the head."""
    first, *rest = TextFormat(shape).datagram(datagram(payload)).removesuffix("\n").split("\n")
    assert "  eth1  192.168.1.20:1900 > 192.168.1.5:43210  ttl 64  " in first[:70]
    assert all(line.startswith("    ") for line in rest)


@given(st.text())
@example("".join(NASTY))
def test_sanitized_text_is_printable(text: str) -> None:
    clean = sanitize(text)
    assert clean.isprintable()
    assert obeyed(clean) == set()
    if text.isprintable():
        assert clean == text


@given(st.text(st.characters(max_codepoint=0x7F, exclude_characters="\\")))
def test_sanitized_text_still_says_what_it_was(text: str) -> None:
    assert sanitize(text).encode().decode("unicode_escape") == text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("eth0", "eth0"),
        ("Küche ☕", "Küche ☕"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\u202eb", r"a\u202eb"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\udcff", r"\udcff"),
        ("", ""),
    ],
)
def test_what_becomes_of_text(text: str, clean: str) -> None:
    assert sanitize(text) == clean


@given(payloads)
def test_what_counts_as_printable(payload: bytes) -> None:
    expected = payload.decode() if shows_as_it_is(payload) else None
    assert printable(payload) == expected


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"hello", "hello"),
        ("Küche ☕".encode(), "Küche ☕"),
        (b"", None),
        (b"a\nb", None),
        (b"\xff\xfe", None),
        ("a\u00a0b".encode(), None),
        ("a\u202eb".encode(), None),
    ],
)
def test_printable(payload: bytes, text: str | None) -> None:
    assert printable(payload) == text


# --- JSON


@given(batches(hostile_names))
@example(Batch.of_rows(ETH1, 7, [(TIME, source_key(("192.168.1.20", 9)), bytes(4), 1, BEAT[:2])]))
def test_a_json_line_says_everything_and_nothing_else(batch: Batch) -> None:
    shown = JsonFormat().batch(batch)
    assert shown.isascii()
    lines = shown.splitlines(keepends=True)
    assert len(lines) == len(batch)
    for line, one in zip(lines, batch.datagrams(), strict=True):
        assert line.endswith("}\n")
        expected: dict[str, Any] = {
            "event": "datagram",
            "interface": batch.interface.name,
            "index": batch.interface.index,
            "source": str(one.source.address),
            "source_port": one.source.port,
            "destination": str(one.destination.address),
            "destination_port": batch.port,
            "ttl": one.ttl,
            "length": len(one.payload),
            "payload": one.payload.hex(),
        }
        if shows_as_it_is(one.payload):
            expected["text"] = one.payload.decode()
        told: dict[str, Any] = json.loads(line)
        assert next(iter(told)) == "event"
        if one.payload.startswith(BEAT[:2]):
            # Nothing that these strategies draw is a whole message.
            assert told.pop("rejected")
        assert nanoseconds(told.pop("time")) == one.time_ns
        assert told == expected
        assert bytes.fromhex(told["payload"]) == one.payload


def nanoseconds(text: str) -> int:
    whole, fraction = text.removesuffix("Z").split(".")
    assert len(fraction) == 9
    year, month, day = map(int, whole[:10].split("-"))
    hour, minute, second = map(int, whole[11:].split(":"))
    # Days since 1970 by the civil calendar, the year beginning in March.
    year, month = (year, month - 3) if month > 2 else (year - 1, month + 9)
    days = year * 365 + year // 4 - year // 100 + year // 400
    days += (153 * month + 2) // 5 + day - 1 - 719_468
    return (((days * 24 + hour) * 60 + minute) * 60 + second) * 10**9 + int(fraction)


@given(st.lists(times_ns, min_size=1))
@example([0, TIME, TIME + 1, TIME + 10**9, TIME, 0])
def test_times_are_exact_in_whatever_order_they_come(times: list[int]) -> None:
    shape = JsonFormat()
    for time_ns in times:
        told = json.loads(shape.datagram(datagram(b"", time_ns=time_ns)))
        assert nanoseconds(told["time"]) == time_ns


def test_a_json_line() -> None:
    assert JsonFormat().datagram(datagram(b"hi")) == (
        '{"event":"datagram","time":"2026-11-23T14:03:25.947076123Z","interface":"eth1","index":3,'
        '"source":"192.168.1.20","source_port":1900,"destination":"192.168.1.5",'
        '"destination_port":43210,"ttl":64,"length":2,"payload":"6869","text":"hi"}\n'
    )
    told = json.loads(JsonFormat().datagram(datagram(b"\x00", ttl=None)))
    assert told["ttl"] is None
    assert "text" not in told


# --- text


@pytest.mark.usefixtures("utc")
@pytest.mark.parametrize(
    ("payload", "shape", "shown"),
    [
        (b"hello", "auto", "  hello"),
        (b"hello\n", "auto", "  hello"),
        (b"hello\x1b[31m world of broadcasts", "auto", r"  hello\x1b[31m world of broadcasts"),
        ("Küche".encode(), "auto", "  Küche"),
        (b"", "auto", ""),
        (b"", "hex", ""),
        (b"", "text", ""),
        (b"\xff\x00A", "text", r"  \xff\x00A"),
        (b"\xff\x00A", "auto", f"\n    0000  {'ff 00 41':<48}  ..A"),
        (b"hi", "hex", f"\n    0000  {'68 69':<48}  hi"),
        (b"a\nb", "text", "\n    a\n    b"),
        (b"a\tb", "auto", r"  a\tb"),
    ],
)
def test_a_text_line(payload: bytes, shape: str, shown: str) -> None:
    told = TextFormat(shape).datagram(datagram(payload))
    assert told == HEAD.format(len(payload)) + shown + "\n"


@pytest.mark.parametrize("control", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_only_line_feeds_end_lines(control: str) -> None:
    shown = TextFormat("text").datagram(datagram(f"before{control}after".encode()))
    assert shown.endswith(f"  before{sanitize(control)}after\n")


@pytest.mark.usefixtures("utc")
def test_an_ssdp_reply() -> None:
    reply = (
        b"HTTP/1.1 200 OK\r\n"
        b"CACHE-CONTROL: max-age=1800\r\n"
        b"ST: upnp:rootdevice\r\n"
        b"USN: uuid:2fac1234-31f8-11b4-a222-08002b34c003::upnp:rootdevice\r\n"
        b"EXT:\r\n"
        b"LOCATION: http://192.168.1.20:8080/description.xml\r\n"
        b"\r\n"
    )
    told = TextFormat().datagram(datagram(reply))
    assert "ssdp reply found  " in told
    assert "  id=2fac1234-31f8-11b4-a222-08002b34c003" in told
    assert TextFormat("text").datagram(datagram(reply)) == (
        HEAD.format(len(reply)) + "\n"
        "    HTTP/1.1 200 OK\n"
        "    CACHE-CONTROL: max-age=1800\n"
        "    ST: upnp:rootdevice\n"
        "    USN: uuid:2fac1234-31f8-11b4-a222-08002b34c003::upnp:rootdevice\n"
        "    EXT:\n"
        "    LOCATION: http://192.168.1.20:8080/description.xml\n"
        "    \n"
    )


@pytest.mark.usefixtures("utc")
def test_a_hex_dump() -> None:
    payload = bytes(range(0x10, 0x18)) + b"discover\x7f\x80~ \x00"
    assert TextFormat().datagram(datagram(payload)) == (
        HEAD.format(len(payload)) + "\n"
        "    0000  10 11 12 13 14 15 16 17  64 69 73 63 6f 76 65 72  ........discover\n"
        "    0010  7f 80 7e 20 00                                    ..~ .\n"
    )


@given(st.binary(min_size=1, max_size=300))
def test_a_hex_dump_has_every_byte_at_its_offset(payload: bytes) -> None:
    _, *lines = TextFormat("hex").datagram(datagram(payload)).splitlines()
    found = b""
    for line in lines:
        assert int(line[4:8], 16) == len(found)
        found += bytes.fromhex(line[10:58])
    assert found == payload


def test_the_largest_datagram_still_lines_up() -> None:
    _, *lines = TextFormat("hex").datagram(datagram(bytes(65_527))).splitlines()
    assert len(lines) == 4096
    assert {line.index("..") for line in lines} == {60}


@pytest.mark.usefixtures("utc")
def test_an_ipv6_endpoint_is_in_brackets_and_an_unknown_ttl_is_a_question_mark() -> None:
    source = Endpoint(IPv6Address("fe80::1%eth1"), 5353)
    group = Endpoint(IPv6Address("ff02::fb%eth1"), 5353)
    shown = TextFormat().datagram(Datagram(b"hi", source, group, ETH1, TIME))
    assert shown == (
        "14:03:25.947076  eth1  [fe80::1%eth1]:5353 > [ff02::fb%eth1]:5353  ttl ?  2 bytes  hi\n"
    )


@pytest.mark.parametrize("payload", nasty_payloads)
def test_text_stays_text_when_little_of_it_is_odd(payload: bytes) -> None:
    plain = b"HTTP/1.1 200 OK, and a lot more of what people can read without effort. " * 4
    assert "HTTP/1.1 200 OK" in TextFormat().datagram(datagram(plain))
    try:
        payload.decode()
    except UnicodeDecodeError:
        return
    assert "HTTP/1.1 200 OK" in TextFormat().datagram(datagram(plain + payload))


@pytest.mark.parametrize(
    ("payload", "text"),
    [(b"\x011234567", True), (b"\x01123456", False), (b"\x01\x02" + b"a" * 14, True)],
)
def test_more_than_one_odd_character_in_eight_is_binary(payload: bytes, text: bool) -> None:
    shown = TextFormat().datagram(datagram(payload))
    assert (f"{len(payload)} bytes  \\x01" in shown) is text
    assert ("\n    0000  01 " in shown) is not text


# --- bcast's own messages (what they say is tested with bcast.cli.messages)


def test_what_is_looked_for_is_how_messages_begin() -> None:
    assert BEAT.startswith(MAGIC.to_bytes(2, "big"))
    for payload, words in ((BEAT, "  beat  id "), (BEAT[:2], "rejected (too-short)")):
        assert words in TextFormat().datagram(datagram(payload))


@pytest.mark.parametrize("shape", ["text", "hex"])
def test_who_asks_for_the_payload_gets_it(shape: str) -> None:
    form = TextFormat(shape)
    assert "beat" not in form.datagram(datagram(BEAT))
    begin = {"text": r"\xbdP", "hex": "bd 50 10 04"}[shape]
    assert begin in form.datagram(datagram(BEAT))
    assert "rejected (too-short)" in form.datagram(datagram(BEAT[:20]))
    assert form.rejected == {"too-short": 1}


def test_what_is_rejected_is_dumped() -> None:
    first, second, third = TextFormat().datagram(datagram(BEAT[:20])).splitlines()
    assert "20 bytes  rejected (too-short): the datagram is no message of bcast" in first
    assert second.startswith("    0000  bd 50 10 04 ")
    assert third.startswith("    0010  ")


beginnings = st.sampled_from([BEAT, BEAT[:-1], BEAT[:2], BEAT[:1], BEAT[1:], b"hi", b""])


@given(st.lists(beginnings, max_size=6))
def test_batches_of_all_kinds(payloads: list[bytes]) -> None:
    source = source_key(("192.168.1.20", 1900))
    rows: list[Row] = [(TIME, source, DESTINATION.address.packed, 64, p) for p in payloads]
    batch = Batch.of_rows(ETH1, DESTINATION.port, rows)
    rejected = [p for p in payloads if p[:2] == BEAT[:2] and p != BEAT]
    counted = JsonFormat()
    counted.count(batch)
    assert counted.rejected == ({"too-short": len(rejected)} if rejected else {})
    for make in FORMATS.values():
        by_batch, one_by_one = make(), make()
        shown = by_batch.batch(batch)
        assert shown == "".join(map(one_by_one.datagram, batch.datagrams()))
        assert by_batch.rejected == one_by_one.rejected == counted.rejected


def test_without_a_message_nothing_is_loaded_for_them() -> None:
    code = (
        "import sys, bcast.cli.listen, bcast.cli.send, bcast.receiver, bcast.sender\n"
        "print(*(name for name in sys.modules if name.startswith('bcast')))"
    )
    env = {**os.environ, **environment()}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    loaded = done.stdout.split()
    assert "bcast.cli.show" in loaded
    assert not {"bcast.wire", "bcast.messages", "bcast.domain", "bcast.cli.probe"} & set(loaded)


# --- batches


@pytest.mark.parametrize("shape", FORMATS)
@given(several=st.lists(batches(hostile_names), max_size=4))
def test_a_batch_is_its_datagrams_one_after_the_other(shape: str, several: list[Batch]) -> None:
    by_batch, one_by_one = FORMATS[shape](), FORMATS[shape]()
    for batch in several:
        expected = "".join(one_by_one.datagram(one) for one in batch.datagrams())
        assert by_batch.batch(batch) == expected
        assert by_batch.batch(batch) == expected, "the second time all addresses are known"


def test_the_same_address_on_another_interface_or_port_is_shown_as_such() -> None:
    key = source_key(("fe80::1", 9, 0, 3))
    row = (TIME, key, IPv6Address("ff02::1").packed, 64, b"hi")
    shape = JsonFormat()
    for interface in (ETH1, Interface("eth2", 4, Kind.ETHERNET, InterfaceFlag.UP, 1500)):
        for port in (1, 2):
            told = json.loads(shape.batch(Batch.of_rows(interface, port, [row])))
            assert told["source"] == f"fe80::1%{interface.name}"
            assert told["destination"] == f"ff02::1%{interface.name}"
            assert told["destination_port"] == port


_NOT_STATE = (type, types.ModuleType, types.FunctionType)


def entries(root: object) -> int:
    """How many entries all dictionaries have that are reachable from an object's attributes."""
    count, seen, left = 0, {id(root)}, [root]
    while left:
        for found in gc.get_referents(left.pop()):
            if id(found) in seen or isinstance(found, _NOT_STATE):
                continue
            seen.add(id(found))
            left.append(found)
            count += len(found) if isinstance(found, dict) else 0
    return count


def from_many(number: int) -> Row:
    packed = IPv4Address(0x0A000000 + number)
    return TIME, source_key((str(packed), 1000)), packed.packed, 64, b""


@pytest.mark.parametrize("shape", FORMATS)
def test_forged_addresses_do_not_fill_the_memory(shape: str) -> None:
    form = FORMATS[shape]()
    rows = [from_many(number) for number in range(10_000)]
    most = 0
    for start in range(0, len(rows), 64):
        batch = Batch.of_rows(ETH1, 7, rows[start : start + 64])
        text = form.batch(batch)
        if start % 1024 == 0:
            most = max(most, entries(form))
            assert text == "".join(map(FORMATS[shape]().datagram, batch.datagrams()))
    # JSON keeps some of them; and there is what is there in any case.
    assert most <= 4096 + 50
    assert shape != "json" or most > 1000


def test_interfaces_that_come_and_go_do_not_fill_the_memory() -> None:
    form = JsonFormat()
    sizes = []
    for number in range(10_000):
        other = Interface(f"veth{number}", number, Kind.VETH, InterfaceFlag.UP, 1500)
        form.batch(Batch.of_rows(other, 7, [from_many(1)]))
        if number in (4_000, 9_999):
            sizes.append(entries(form))
    assert sizes[1] <= sizes[0] * 1.1
