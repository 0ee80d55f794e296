"""Binary templates: what they read, what they write, and what they refuse."""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.accessory.layout import Layout, make_hex
from bcast.accessory.template import Misfit, Missing, Own, Reading, Template, Value, Writing
from tests.templates import making

#: Of "abc" with four bytes where the checksum itself stands.
SEEDED = crc32(bytes.fromhex("6162635a6b7c8d"))

OWN = Own("10.0.0.7", 4000, "02:00:00:00:00:07", "seven", "seven.local")


def layout(text: str, **parts: str) -> Layout:
    made: dict[str, Template] = {}
    for name, inner in parts.items():
        made[name] = make_hex(inner, making(**made))
    return make_hex(text, making(**made))


def read(text: str, payload: str, **parts: str) -> dict[str, Value]:
    reading = Reading()
    layout(text, **parts).read(bytes.fromhex(payload), reading)
    return reading.values


def write(text: str, values: dict[str, Value], **parts: str) -> str:
    writing = Writing(values, own=OWN, random=Random(1))
    return layout(text, **parts).write(writing).hex()


def refusal(text: str, payload: str, **parts: str) -> str:
    with pytest.raises(Misfit) as caught:
        read(text, payload, **parts)
    return caught.value.reason


@pytest.mark.parametrize(
    ("text", "payload", "values"),
    [
        ("{a:u8} {b:u16} {c:u24} {d:u32} {e:u64}", "010002000003" + "00" * 12, None),
        ("{a:u16le} {b:u24le} {c:u32le}", "0100020000ffffffff", {"a": 1, "b": 2, "c": 2**32 - 1}),
        ("c4 {:u10=8}{a:u22}", "c4 02 00 00 4d", {"a": 77}),
        ("2{:u1=0}{:u3=length(a)}{a:uint}", "22 03e7", {"a": 999}),
        ('"Art-Net" 00 {a:u16le}', "4172742d4e6574 00 0021", {"a": 0x2100}),
        ("01 # one {\n02 {a:mac}", "0102 02000000000a", {"a": "02:00:00:00:00:0a"}),
        ("{a:macle} {b:ip4} {c:ip4le}", "0a0000000002 0a4d000a 0a004d0a", None),
        ("{a:ip6}", "20010db8" + "00" * 11 + "01", {"a": "2001:db8::1"}),
        ("{a:uuid}", "00112233445566778899aabbccddeeff", None),
        (
            "{a:uuidle}",
            "33221100554477668899aabbccddeeff",
            {"a": "00112233-4455-6677-8899-aabbccddeeff"},
        ),
        ("{a:str(6)} {b:str(4,space)}", "6c616d700000 61622020", {"a": "lamp", "b": "ab"}),
        ("{a:str(8,utf-16le)}", "e4000a0100000000", {"a": "äĊ"}),
        ("{a:cstr} {b:cstr}", "616200 00", {"a": "ab", "b": ""}),
        ("{a:bytes(2)} {:pad(2)} {b:bytes}", "0102 0000 030405", {"a": "0102", "b": "030405"}),
        ("{a:bytes} {b:u16} ff", "010203 0004 ff", {"a": "010203", "b": 4}),
        ("{:u8=length(all)} {a:str}", "04616263", {"a": "abc"}),
        ("{:u16=length(after)} {a:str}", "0003616263", {"a": "abc"}),
        ("00 {:u8=length(before)} {a:str}", "0001616263", {"a": "abc"}),
        ("{:leb128=length(after)} {a:bytes}", "8101" + "11" * 129, {"a": "11" * 129}),
        ("{:ber=length(a)} {a:bytes} 00", "8181" + "11" * 129 + "00", {"a": "11" * 129}),
        (
            "{a:str} {:u32=crc32(all,5a6b7c8d)}",
            f"616263{crc32(bytes.fromhex('6162635a6b7c8d')):08x}",
            None,
        ),
        ("{a:str} {:u8=xor8(before)}", "6162 03", {"a": "ab"}),
        ("{:u8=sum8(body)} {body:bytes}", "06 010203", {"body": "010203"}),
        ("{:u16le=sum16(after)} {a:bytes}", "0600 010203", {"a": "010203"}),
        ("{a:u8}[{b:u8}[{c:u8}]]", "01", {"a": 1}),
        ("{a:u8}[{b:u8}[{c:u8}]]", "0102", {"a": 1, "b": 2}),
        ("{a:u8}[{b:u8}[{c:u8}]]", "010203", {"a": 1, "b": 2, "c": 3}),
        ("{a:u8}[ff {b:u8}] {c:u8}", "01 02", {"a": 1, "c": 2}),
        ("{a:u8}[ff {b:u8}] {c:u8}", "01 ff03 02", {"a": 1, "b": 3, "c": 2}),
        ("{a:coap}[ff {b:str}]", "bb2e77656c6c2d6b6e6f776e04636f7265 ff 78", None),
        ("{a:coap}[ff {b:str}]", "c128", {"a": "c128"}),
        ("{a:u8} {b:u8} {a:u8}", "010201", {"a": 1, "b": 2}),
    ],
)
def test_one_text_reads_and_writes(
    text: str, payload: str, values: dict[str, Value] | None
) -> None:
    payload = payload.replace(" ", "")
    found = read(text, payload)
    if values is not None:
        assert found == values
    assert write(text, found) == payload


@pytest.mark.parametrize(
    ("text", "payload", "reason"),
    [
        ("0102", "0103", "0103 at byte 0, not 0102"),
        ("0102", "01", "it is 1 bytes too short"),
        ("0102", "010203", "1 bytes more than are described"),
        ("{a:u16=7}", "0008", "a is 8, not 7"),
        ("0{:u4=2}", "13", "10 at byte 0, not 0"),
        ("{a:u8} {a:u8}", "0102", "a is 2 here and 1 there"),
        ("{:u8=length(all)} {a:str}", "0561", "it says that 3 bytes more follow than there are"),
        ("{:u8=length(all)} {a:u8}", "0161", "it says that it is 1 bytes shorter than it is"),
        ("{:u8=length(all)} {a:u8}", "036162", "1 bytes more than are described"),
        ("{:u8=length(a)} {a:str} 00", "0361 00", "a has 1 bytes too few"),
        ("00 {:u8=length(before)} {a:str}", "000361", "1 bytes before this, not 3"),
        ("{a:cstr} {:u8=length(a)}", "6100 03", "a has 2 bytes, not 3"),
        ("{:u32=crc32(all)} {a:str}", "0000000061", f"crc32 is {crc32(bytes(4) + b'a'):x}, not 0"),
        ("{a:cstr}", "616263", "a has no zero byte at its end"),
        ("{a:leb128}", "ffff", "a number has no end"),
        ("{a:leb128}", "ff" * 10, "a number of more than 63 bits"),
        ("{a:ber}", "80", "a length that takes 0 bytes"),
        ("{:u8=length(a)}{a:uint}", "00", "a number of 0 bytes"),
        ("{a:coap}", "f0", "an option with the reserved 15"),
        ("{a:coap}", "c5 00", "an option is cut off"),
        ("{a:bytes}", "00" * 3000, "3000 bytes in one value, more than 2048"),
    ],
)
def test_what_doesnt_fit_is_refused_with_a_reason(text: str, payload: str, reason: str) -> None:
    assert refusal(text, payload) == reason


@pytest.mark.parametrize(
    ("text", "values", "words"),
    [
        ("{a:u8}", {"a": 256}, "256 doesn't fit 8 bits"),
        ("{a:u8}", {"a": "x"}, "'x' isn't a number"),
        ("{a:u8}", {"a": True}, "True isn't a number"),
        ("{a:mac}", {"a": "zz"}, "'zz' isn't a hardware address"),
        ("{a:ip4}", {"a": "1.2.3.400"}, "'1.2.3.400' isn't an IPv4 address"),
        ("{a:str(3)}", {"a": "four"}, "'four' takes 4 bytes, and there is room for 3"),
        ("{a:str(9)}", {"a": "a\0b"}, "contains what it is padded with"),
        ("{a:str(3,ascii)}", {"a": "ä"}, "'ä' can't be written in ascii"),
        ("{a:bytes(2)}", {"a": "01"}, "'01' has 1 bytes, not 2"),
        ("{:u8=length(a)}{a:bytes}", {"a": "00" * 256}, "256 doesn't fit 8 bits"),
    ],
)
def test_what_cant_be_written_is_refused(text: str, values: dict[str, Value], words: str) -> None:
    with pytest.raises(Misfit) as caught:
        write(text, values)
    assert words in caught.value.reason
    with pytest.raises(Missing):
        write(text, {})


def test_numbers_from_a_command_line_are_text() -> None:
    assert write("{a:u16}{b:u8}", {"a": "77", "b": "0x0b"}) == "004d0b"


def test_unknown_half_bytes_are_anything_and_written_as_zero() -> None:
    assert read("a? ??{a:u8}", "a7ff01") == {"a": 1}
    assert refusal("a? ??{a:u8}", "b7ff01") == "b0 at byte 0, not a0"
    assert write("a? ??{a:u8}", {"a": 1}) == "a00001"


def test_an_echo_is_checked_against_the_probe() -> None:
    text = "{_n:u16=probe._n} {a:u8}"
    for probe in ({"_n": 7}, {}, None):
        reading = Reading(probe)
        layout(text).read(bytes.fromhex("000701"), reading)
        assert reading.values == {"_n": 7, "a": 1}
    with pytest.raises(Misfit, match="_n is 7, the probe has 8"):
        layout(text).read(bytes.fromhex("000701"), Reading({"_n": 8}))
    writing = Writing({"a": 1, "_n": 3}, own=OWN, random=Random(1), probe={"_n": 8})
    assert layout(text).write(writing).hex() == "000801"


def test_own_and_random_values_are_written() -> None:
    text = "{:ip4~own.address}{:u16~own.port}{:mac~own.mac}{x:u16~random()}{x:u16}"
    payload = write(text, {})
    assert payload.startswith("0a0000070fa0020000000007")
    assert payload[-8:-4] == payload[-4:]


def test_parts_stand_in_place() -> None:
    text = "01 {:@head} {b:u8}"
    assert read(text, "01 0002 03", head="{a:u16}") == {"a": 2, "b": 3}
    assert write(text, {"a": 2, "b": 3}, head="{a:u16}") == "01000203"


def test_the_first_part_that_fits_is_taken() -> None:
    parts = {"local": "00", "remote": "20 {_network:u16}"}
    text = "01 {:@local|remote} {a:u8}"
    assert read(text, "01 00 07", **parts) == {"a": 7}
    assert read(text, "01 20 0003 07", **parts) == {"a": 7, "_network": 3}
    assert write(text, {"a": 7}, **parts) == "010007"
    assert write(text, {"a": 7, "_network": 3}, **parts) == "0120000307"
    assert refusal(text, "01 30 0003 07", **parts) == "30 at byte 1, not 20"


def test_items_that_may_repeat_make_lists() -> None:
    parts = {
        "named": "{:u8=length(all)} 01 {name:str}",
        "service": "{:u8=length(all)} 02 {service:u8}[{version:u8}]",
    }
    text = "00 {:each(named,service*)}"
    values: dict[str, Value] = {"name": "ab", "service": [7, 8], "version": [None, 2]}
    payload = "00 04016162 030207 04020802"
    assert read(text, payload, **parts) == values
    assert write(text, dict(values), **parts) == payload.replace(" ", "")
    # Other orders are read too, but not two of what comes once.
    assert read(text, "00 030207 04016162 04020802", **parts) == values
    assert "not 02" in refusal(text, "00 04016162 04016162", **parts)
    assert "more than 64 items" in refusal(text, "00" + "030207" * 65, **parts)


def test_a_count_says_how_many_items_there_are() -> None:
    text = "{:u8=count(items)} {items:each(one*)} {z:u8}"
    assert read(text, "02 0102 ff", one="{a:u8}") == {"a": [1, 2], "z": 255}
    assert write(text, {"a": [1, 2], "z": 255}, one="{a:u8}") == "020102ff"
    assert "too short" in refusal(text, "05 0102 ff", one="{a:u8}")


def test_nested_alternatives_dont_explode() -> None:
    parts = {"p0": "{:u8=length(all)} 00 {_x0:bytes}"}
    for n in range(1, 9):
        parts[f"p{n}"] = f"00 {{:each(p{n - 1}*)}} {n:02x}"
    text = "{:each(p8*)}"
    reason = refusal(text, "00" * 1200, **parts)
    assert reason


# --- invariants


class _Kind(NamedTuple):
    type: str
    values: st.SearchStrategy[Any]


_HEX = st.binary(max_size=20).map(bytes.hex)
_ASCII = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=8)
_FIXED = [
    *(_Kind(f"u{n}", st.integers(0, 2**n - 1)) for n in (8, 16, 24, 32, 40, 64)),
    *(_Kind(f"u{n}le", st.integers(0, 2**n - 1)) for n in (8, 16, 32, 48)),
    _Kind("ip4", st.ip_addresses(v=4).map(str)),
    _Kind("ip4le", st.ip_addresses(v=4).map(str)),
    _Kind("ip6", st.ip_addresses(v=6).map(str)),
    _Kind("mac", st.binary(min_size=6, max_size=6).map(lambda b: b.hex(":"))),
    _Kind("macle", st.binary(min_size=6, max_size=6).map(lambda b: b.hex(":"))),
    _Kind("uuid", st.uuids().map(str)),
    _Kind("uuidle", st.uuids().map(str)),
    _Kind("bytes(3)", st.binary(min_size=3, max_size=3).map(bytes.hex)),
    _Kind("str(8)", _ASCII),
    _Kind("str(8,space,latin-1)", _ASCII),
    _Kind("cstr", _ASCII),
    _Kind("leb128", st.integers(0, 2**63 - 1)),
    _Kind("ber", st.integers(0, 2**56 - 1)),
]
_CONSTANTS = ["00", "ff", '"ab"', "??", "{:pad(2)}"]


@st.composite
def messages(draw: st.DrawFn) -> tuple[str, dict[str, Value]]:
    """A template of fields, sized ones, bits and a rest, with values for all its names."""
    pieces: list[str] = []
    values: dict[str, Value] = {}
    for number in range(draw(st.integers(0, 6))):
        name = f"n{number}"
        form = draw(st.sampled_from(["fixed", "fixed", "sized", "bits", "constant", "literal"]))
        if form == "constant":
            pieces.append(draw(st.sampled_from(_CONSTANTS)))
        elif form == "literal":
            pieces.append(f"{{:u16={draw(st.integers(0, 65535))}}}")
        elif form == "sized":
            kind = draw(st.sampled_from(["u8", "u16le", "leb128", "ber"]))
            pieces.append(f"{{:{kind}=length({name})}} {{{name}:bytes}}")
            values[name] = draw(_HEX)
        elif form == "bits":
            bits = draw(st.integers(1, 7))
            values[name], values[f"{name}b"] = (
                draw(st.integers(0, 2**bits - 1)),
                draw(st.integers(0, 2 ** (16 - bits) - 1)),
            )
            pieces.append(f"{{{name}:u{bits}}}{{{name}b:u{16 - bits}}}")
        else:
            kind = draw(st.sampled_from(_FIXED))
            pieces.append(f"{{{name}:{kind.type}}}")
            values[name] = draw(kind.values)
    if draw(st.booleans()):
        pieces.append("{rest:bytes}")
        values["rest"] = draw(_HEX)
        # Behind the rest only what has a fixed length.
        pieces.append(draw(st.sampled_from(["", "0000aa55", "{:u32=crc32(before)}"])))
    head = draw(st.sampled_from(["", "{:u16=length(all)}", "{:u8=length(after)}"]))
    # Two checksums can't cover each other.
    if draw(st.booleans()) and not any("crc32" in piece for piece in pieces):
        head += "{:u16le=crc16-modbus(all,ffff)}"
    return " ".join((head, *pieces)), values


@given(messages())
def test_what_is_written_is_read_again(message: tuple[str, dict[str, Value]]) -> None:
    text, values = message
    try:
        payload = write(text, dict(values))
    except Misfit as misfit:
        # Lengths in one byte may not suffice; nothing else can go wrong.
        if "doesn't fit 8 bits" in misfit.reason:
            return
        raise
    assert read(text, payload) == values


@given(messages(), st.data())
def test_no_bytes_raise_anything_but_a_misfit(
    message: tuple[str, dict[str, Value]], data: st.DataObject
) -> None:
    text, values = message
    template = layout(text)
    try:
        payload = bytearray(template.write(Writing(values, own=OWN, random=Random(1))))
    except Misfit:
        payload = bytearray()
    for _ in range(data.draw(st.integers(0, 3))):
        if payload:
            payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    payload = payload[: data.draw(st.integers(0, len(payload)))] + data.draw(st.binary())
    reading = Reading()
    try:
        template.read(bytes(payload), reading)
    except Misfit:
        pass
    else:
        # What was read can be written, and means the same.
        again = write(text, dict(reading.values))
        assert read(text, again) == reading.values
