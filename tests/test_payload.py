from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.datagram import Address, Interface, InterfaceFlag, Kind
from bcast.errors import ArgumentError
from bcast.payload import Template, parse_hex
from bcast.timestamp import rfc3339
from tests.strategies import addresses, interfaces, times_ns

ETH0 = Interface("eth0", 2, Kind.ETHERNET, InterfaceFlag.UP, 1500, "02:00:00:00:01:01")
OWN = Address(IPv4Address("192.168.1.5"), 24)
NOON = 1_795_435_200_000_000_123

NAMES = ("seq", "interface", "address", "mac", "time")


def fill(
    payload: bytes,
    sequence: int = 7,
    interface: Interface = ETH0,
    source: Address = OWN,
    time_ns: int = NOON,
) -> bytes:
    return Template(payload).fill(sequence, interface, source, time_ns)


# --- hex


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("01ff7a", b"\x01\xff\x7a"),
        ("01 ff 7a", b"\x01\xff\x7a"),
        ("01:FF:7a", b"\x01\xff\x7a"),
        ("  01ff\n7a\t", b"\x01\xff\x7a"),
        ("", b""),
        (" ", b""),
    ],
)
def test_hex(text: str, expected: bytes) -> None:
    assert parse_hex(text) == expected


@given(st.binary(), st.sampled_from(["", " ", ":", "\n"]), st.booleans())
def test_hex_is_read_as_it_is_written(payload: bytes, separator: str, upper: bool) -> None:
    text = separator.join(f"{byte:02x}" for byte in payload)
    assert parse_hex(text.upper() if upper else text) == payload


@pytest.mark.parametrize(("text", "digits"), [("abc", "3"), ("01 f", "1"), ("0", "1")])
def test_half_a_byte_is_refused_with_the_number_of_digits(text: str, digits: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parse_hex(text)
    assert digits in caught.value.message
    assert "two digits" in caught.value.advice


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("0x01", "x"),
        ("01,ff", ","),
        ("hello", "h"),
        ("01 ff 7g", "g"),
        ("g", "g"),
        ("\u0661\u0661", "\u0661"),  # digits, but Arabic ones
        ("01\x1b[2J", r"\x1b"),
    ],
)
def test_the_first_wrong_digit_is_quoted(text: str, wrong: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parse_hex(text)
    assert f"'{wrong}'" in caught.value.message
    assert "01 ff 7a" in caught.value.advice


@given(st.text(max_size=30))
def test_any_text_is_hex_or_a_bad_argument(text: str) -> None:
    try:
        payload = parse_hex(text)
    except ArgumentError:
        return
    digits = "".join(c for c in text if c in "0123456789abcdefABCDEF")
    assert payload.hex() == digits.lower()


@pytest.mark.parametrize("text", ["1:2", "1 2"])
def test_a_byte_is_not_put_together_across_a_separator(text: str) -> None:
    with pytest.raises(ArgumentError):
        parse_hex(text)


# --- templates


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"{seq}", b"7"),
        (b"{interface}", b"eth0"),
        (b"{address}", b"192.168.1.5"),
        (b"{mac}", b"02:00:00:00:01:01"),
        (b"{time}", b"2026-11-23T12:00:00.000000123Z"),
        (b"I am {address} on {interface}!", b"I am 192.168.1.5 on eth0!"),
        (b"{seq}{seq}", b"77"),
        (b"", b""),
        (b"{{seq}}", b"{seq}"),
        (b"{{{seq}}}", b"{7}"),
        (b"{{}}", b"{}"),
        (b'{{"n":{seq}}}', b'{"n":7}'),
        (b"\x00\xff{seq}\xff", b"\x00\xff7\xff"),
    ],
)
def test_templates(payload: bytes, expected: bytes) -> None:
    assert fill(payload) == expected


def test_what_an_interface_does_not_have_is_empty() -> None:
    bare = Interface("tun0", 3, Kind.TUNNEL, InterfaceFlag.UP, 1500)
    assert fill(b"<{mac}>", interface=bare) == b"<>"


def test_the_address_is_without_its_scope_which_means_nothing_to_others() -> None:
    source = Address(IPv6Address("fe80::5%eth0"), 64)
    assert fill(b"{address}", source=source) == b"fe80::5"


def test_values_are_not_templates_themselves() -> None:
    tricky = Interface("{seq}{{", 3, Kind.OTHER, InterfaceFlag.UP, 1500)
    assert fill(b"{interface}", interface=tricky) == b"{seq}{{"


def test_a_template_is_filled_anew_each_time() -> None:
    template = Template(b"{seq} {time}")
    assert template.fill(1, ETH0, OWN, 0) == b"1 1970-01-01T00:00:00.000000000Z"
    assert template.fill(2, ETH0, OWN, 1) == b"2 1970-01-01T00:00:00.000000001Z"


@given(st.binary())
def test_a_template_without_braces_is_itself(payload: bytes) -> None:
    plain = payload.replace(b"{", b"").replace(b"}", b"")
    assert fill(plain) == plain


@given(st.one_of(st.binary(), st.text("{}ab").map(str.encode)))
def test_doubled_braces_are_braces(payload: bytes) -> None:
    assert fill(payload.replace(b"{", b"{{").replace(b"}", b"}}")) == payload


@given(
    st.lists(st.one_of(st.binary(max_size=5), st.sampled_from(NAMES)), max_size=8),
    st.integers(1, 10**6),
    interfaces(),
    addresses(),
    times_ns,
)
def test_every_piece_is_where_it_was(
    pieces: list[bytes | str], sequence: int, interface: Interface, source: Address, now: int
) -> None:
    values = {
        "seq": str(sequence),
        "interface": interface.name,
        "address": str(source.address).partition("%")[0],
        "mac": interface.hardware_address or "",
        "time": rfc3339(now),
    }
    payload = expected = b""
    for piece in pieces:
        if isinstance(piece, str):
            payload += b"{%s}" % piece.encode()
            expected += values[piece].encode()
        else:
            payload += piece.replace(b"{", b"{{").replace(b"}", b"}}")
            expected += piece
    assert fill(payload, sequence, interface, source, now) == expected


@pytest.mark.parametrize(
    ("payload", "wrong"),
    [
        (b"{ip}", "{ip}"),
        (b"{Seq}", "{Seq}"),
        (b"{seq }", "{seq }"),
        (b"{}", "{}"),
        (b"{seq", "{"),
        (b"seq}", "}"),
        (b"{seq}}", "}"),
        (b"{{seq}", "}"),
        (b'{"n":{seq}}', "{"),
        (b"{\x1b[2J}", r"{\x1b[2J}"),
        (b"{\xff}", "{\ufffd}"),
    ],
)
def test_what_is_no_value_is_quoted_and_the_values_are_listed(payload: bytes, wrong: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        Template(payload)
    assert f"'{wrong}'" in caught.value.message
    for name in NAMES:
        assert f"{{{name}}}" in caught.value.advice
    assert "{{ }}" in caught.value.advice


@given(st.one_of(st.binary(), st.text("{}seq").map(str.encode)))
def test_any_bytes_are_a_template_or_a_bad_argument(payload: bytes) -> None:
    with suppress(ArgumentError):
        fill(payload)


def test_a_long_mistake_is_quoted_in_part() -> None:
    with pytest.raises(ArgumentError) as caught:
        Template(b"{" + bytes(60_000) + b"}")
    assert len(str(caught.value)) < 500


def test_a_name_that_is_not_utf_8_goes_out_as_the_system_has_it() -> None:
    odd = Interface("eth\udcff", 3, Kind.OTHER, InterfaceFlag.UP, 1500)
    assert fill(b"{interface}", interface=odd) == b"eth\xff"
