"""`bcast.capture.frames`: headers that others accept, and any frame taken apart."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bcast.capture.frames import Frame, Link, Skip, header, parse, payload_sum

PORTS = st.integers(0, 65_535)
TTLS = st.integers(0, 255)
ADDRESSES = st.sampled_from([4, 16]).flatmap(
    lambda size: st.tuples(*[st.binary(min_size=size, max_size=size)] * 2)
)
PAYLOADS = st.one_of(
    st.binary(max_size=600),
    # Sizes around the limits of the sum, of bytes that make it largest.
    st.sampled_from([0, 1, 255, 256, 257, 511, 512, 513, 1472, 65_507]).map(b"\xff".__mul__),
)


def ones_complement_sum(data: bytes) -> int:
    """The sum of RFC 1071, word by word, with the carries folded in."""
    total = 0
    for high, low in zip(data[::2], data[1::2] + b"\0" * (len(data) % 2), strict=True):
        total += high << 8 | low
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def datagram(
    payload: bytes = b"hello",
    source: str = "192.0.2.1",
    destination: str = "255.255.255.255",
    ports: tuple[int, int] = (1000, 28232),
    ttl: int = 64,
) -> bytes:
    """A whole IP datagram."""
    packed, total = header(
        ip_address(source).packed,
        ports[0],
        ip_address(destination).packed,
        ports[1],
        ttl,
        len(payload),
    )
    checksum = 65535 - (total + payload_sum(payload)) % 65535
    return packed + checksum.to_bytes(2, "big") + payload


def ipv6(extensions: bytes, following: int, *, cut: int = 0) -> bytes:
    """An IPv6 datagram with other headers between IP and UDP."""
    whole = datagram(source="2001:db8::1", destination="ff05::2")
    size = len(whole) - 40 + len(extensions)
    start = whole[:4] + size.to_bytes(2, "big") + bytes((following,)) + whole[7:40]
    return (start + extensions + whole[40:])[: 40 + size - cut]


IPV4 = datagram()
IPV6 = datagram(source="fe80::1", destination="ff02::1")
FRAME = Frame(bytes((192, 0, 2, 1)), 1000, b"\xff" * 4, 28232, 64, b"hello")
FRAME6 = Frame(
    ip_address("fe80::1").packed, 1000, ip_address("ff02::1").packed, 28232, 64, b"hello"
)
MACS = bytes(12)


@given(ADDRESSES, PORTS, PORTS, TTLS, PAYLOADS)
def test_headers_carry_the_checksums_that_rfc_1071_asks_for(
    addresses: tuple[bytes, bytes], source_port: int, port: int, ttl: int, payload: bytes
) -> None:
    source, destination = addresses
    packed, total = header(source, source_port, destination, port, ttl, len(payload))
    checksum = 65535 - (total + payload_sum(payload)) % 65535
    udp = packed[20 if len(source) == 4 else 40 :] + checksum.to_bytes(2, "big") + payload
    # Sent as it is, 0 would mean that there is no checksum.
    assert checksum != 0
    pseudo = source + destination + struct.pack(">II", len(udp), 17)
    assert ones_complement_sum(pseudo + udp) == 0xFFFF
    if len(source) == 4:
        assert ones_complement_sum(packed[:20]) == 0xFFFF
    assert parse(Link.RAW, packed + checksum.to_bytes(2, "big") + payload) == Frame(
        source, source_port, destination, port, ttl, payload
    )


@given(PAYLOADS)
@example(b"")
def test_payload_sum_is_the_ones_complement_sum(payload: bytes) -> None:
    assert payload_sum(payload) % 65535 == ones_complement_sum(payload) % 65535


def test_a_checksum_of_zero_is_sent_as_all_ones() -> None:
    _, total = header(bytes(4), 0, bytes(4), 0, 0, 2)
    whole = datagram((-total % 65535).to_bytes(2, "big"), "0.0.0.0", "0.0.0.0", (0, 0), 0)
    assert whole[26:28] == b"\xff\xff"


def test_an_ip_checksum_of_zero_stays_zero() -> None:
    # Only UDP has a second zero. The source makes up what the other fields lack to 0xffff.
    packed, _ = header(bytes(4), 1, bytes(4), 2, 1, 0)
    missing = packed[10:12]
    packed, _ = header(missing + bytes(2), 1, bytes(4), 2, 1, 0)
    assert packed[10:12] == b"\0\0"


def test_headers_byte_by_byte() -> None:
    assert IPV4.hex(" ", -2) == (
        "4500 0021 0000 4000 4011 78cb c000 0201 ffff ffff 03e8 6e48 000d 87d0 6865 6c6c 6f"
    )
    assert IPV6[:8].hex(" ", -2) == "6000 0000 000d 1140"
    assert IPV6[40:46].hex(" ", -2) == "03e8 6e48 000d"


@pytest.mark.parametrize(("size", "limit"), [(4, 65_507), (16, 65_527)])
def test_a_payload_may_be_as_long_as_the_length_fields_say(size: int, limit: int) -> None:
    header(bytes(size), 1, bytes(size), 2, 1, limit)
    with pytest.raises(struct.error):
        header(bytes(size), 1, bytes(size), 2, 1, limit + 1)


@pytest.mark.parametrize(
    ("link", "begin"),
    [
        (Link.RAW, b""),
        (Link.RAW_BSD, b""),
        (Link.RAW_OPENBSD, b""),
        (Link.ETHERNET, MACS + b"\x08\x00"),
        (Link.ETHERNET, MACS + b"\x81\x00\x00\x07\x08\x00"),
        (Link.ETHERNET, MACS + b"\x88\xa8\x00\x07\x81\x00\x00\x08\x08\x00"),
        (Link.LINUX_COOKED, bytes(14) + b"\x08\x00"),
        (Link.LINUX_COOKED, bytes(14) + b"\x81\x00\x00\x07\x08\x00"),
        (Link.LINUX_COOKED_2, b"\x08\x00" + bytes(18)),
        (Link.NULL, b"\x02\0\0\0"),
        (Link.NULL, b"\0\0\0\x02"),
        (Link.LOOP, b"\0\0\0\x02"),
        (Link.IPV4, b""),
    ],
)
def test_ipv4_is_found_on_every_link(link: Link, begin: bytes) -> None:
    assert parse(link, begin + IPV4) == FRAME
    # Ethernet pads short frames, and some links leave their check sequence on.
    assert parse(link, begin + IPV4 + b"pad") == FRAME
    for end in range(len(begin + IPV4)):
        assert parse(link, (begin + IPV4)[:end]) is Skip.CUT_SHORT


@pytest.mark.parametrize(
    ("link", "begin"),
    [
        (Link.RAW, b""),
        (Link.ETHERNET, MACS + b"\x86\xdd"),
        (Link.LINUX_COOKED, bytes(14) + b"\x86\xdd"),
        (Link.LINUX_COOKED_2, b"\x86\xdd" + bytes(18)),
        *((Link.NULL, family.to_bytes(4, "little")) for family in (10, 23, 24, 28, 30)),
        (Link.LOOP, b"\0\0\0\x1e"),
        (Link.IPV6, b""),
    ],
)
def test_ipv6_is_found_on_every_link(link: Link, begin: bytes) -> None:
    assert parse(link, begin + IPV6 + b"pad") == FRAME6
    for end in range(len(begin + IPV6)):
        assert parse(link, (begin + IPV6)[:end]) is Skip.CUT_SHORT


def test_ip_options_are_passed_over() -> None:
    options = b"\x94\x04\0\0"
    whole = b"\x46\0" + (len(IPV4) + 4).to_bytes(2, "big") + IPV4[4:20] + options + IPV4[20:]
    assert parse(Link.RAW, whole) == FRAME


@pytest.mark.parametrize(
    ("extensions", "following"),
    [
        (bytes((17, 0)) + bytes(6), 0),
        (bytes((60, 0)) + bytes(6) + bytes((17, 1)) + bytes(14), 0),
        (bytes((17, 0)) + bytes(6), 43),
        # One whole datagram in a fragment header.
        (bytes((17, 0, 0, 0, 1, 2, 3, 4)), 44),
    ],
)
def test_extension_headers_are_passed_over(extensions: bytes, following: int) -> None:
    frame = parse(Link.RAW, ipv6(extensions, following))
    assert isinstance(frame, Frame)
    assert (frame.payload, frame.destination_port) == (b"hello", 28232)
    for cut in range(1, len(extensions) + 14):
        assert parse(Link.RAW, ipv6(extensions, following, cut=cut)) is Skip.CUT_SHORT


def _changed(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


@pytest.mark.parametrize(
    ("link", "data", "reason"),
    [
        (147, IPV4, Skip.UNKNOWN_LINK),
        (Link.ETHERNET, MACS + b"\x08\x06" + bytes(28), Skip.NOT_IP),
        (Link.ETHERNET, MACS + b"\x00\x2e" + bytes(46), Skip.NOT_IP),
        (Link.ETHERNET, MACS + b"\x08\x00" + IPV6, Skip.NOT_IP),
        (Link.ETHERNET, MACS + b"\x86\xdd" + IPV4 + bytes(20), Skip.NOT_IP),
        (Link.ETHERNET, MACS + b"\x81\x00\0\0" * 9, Skip.TOO_MANY_HEADERS),
        (Link.NULL, b"\x07\0\0\0" + IPV4, Skip.NOT_IP),
        (Link.LOOP, b"\x02\0\0\0" + IPV4, Skip.NOT_IP),
        (Link.RAW, b"\x00" + IPV4[1:], Skip.NOT_IP),
        (Link.RAW, _changed(IPV4, 9, b"\x06"), Skip.NOT_UDP),
        (Link.RAW, _changed(IPV6, 6, b"\x3a"), Skip.NOT_UDP),
        # The first of several fragments, the last one, and one in IPv6.
        (Link.RAW, _changed(IPV4, 6, b"\x20\x00"), Skip.FRAGMENT),
        (Link.RAW, _changed(IPV4, 6, b"\x00\xb9"), Skip.FRAGMENT),
        (Link.RAW, ipv6(bytes((17, 0, 0, 1, 0, 0, 0, 0)), 44), Skip.FRAGMENT),
        (Link.RAW, ipv6(bytes((17, 0, 1, 0, 0, 0, 0, 0)), 44), Skip.FRAGMENT),
        (Link.RAW, ipv6((bytes((0, 0)) + bytes(6)) * 30, 0), Skip.TOO_MANY_HEADERS),
        # An IP header shorter than 20 bytes, a total length shorter than it.
        (Link.RAW, _changed(IPV4, 0, b"\x44"), Skip.BAD_LENGTH),
        (Link.RAW, _changed(IPV4, 2, b"\x00\x13"), Skip.BAD_LENGTH),
        (Link.RAW, _changed(IPV4, 2, b"\x00\x00"), Skip.BAD_LENGTH),
        # No room for the UDP header; a UDP length shorter than that, or longer than IP's.
        (Link.RAW, _changed(IPV4, 2, b"\x00\x1b"), Skip.BAD_LENGTH),
        (Link.RAW, _changed(IPV4, 24, b"\x00\x07"), Skip.BAD_LENGTH),
        (Link.RAW, _changed(IPV4, 24, b"\x00\x0e"), Skip.BAD_LENGTH),
        (Link.RAW, _changed(IPV6, 4, b"\x00\x07"), Skip.BAD_LENGTH),
        # An extension header longer than the datagram.
        (Link.RAW, ipv6(bytes((17, 200)) + bytes(6), 60), Skip.BAD_LENGTH),
    ],
)
def test_what_is_no_datagram_has_a_reason(link: int, data: bytes, reason: Skip) -> None:
    assert parse(link, data) is reason


def test_what_follows_a_shorter_datagram_is_no_payload() -> None:
    frame = parse(Link.RAW, _changed(IPV4, 24, b"\x00\x0a"))
    assert isinstance(frame, Frame)
    assert frame.payload == b"he"


@given(st.sampled_from([*Link, 147]), st.binary(max_size=120))
def test_any_bytes_are_a_frame_or_a_reason(link: int, data: bytes) -> None:
    assert isinstance(parse(link, data), (Frame, Skip))


@given(st.sampled_from([IPV4, IPV6, ipv6(bytes((17, 0)) + bytes(6), 0)]), st.data())
def test_a_changed_frame_never_holds_more_than_its_bytes(
    whole: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = _changed(whole, at, data.draw(st.binary(min_size=1, max_size=1)))
    frame = parse(Link.RAW, changed)
    assert isinstance(frame, Skip) or frame.payload in changed
