"""Hypothesis strategies for the values of bcast.

Every value is one that a system could hand out: an address's scope is its interface, a tentative
address is IPv6, a loopback interface has loopback addresses, a tunnel has no broadcast address.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from bcast.datagram import (
    Address,
    Datagram,
    Endpoint,
    Family,
    Group,
    Interface,
    InterfaceFlag,
    IPAddress,
    Kind,
)
from bcast.device import Device, Sighting
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
from bcast.sockets.batch import Batch, Row, source_key
from bcast.wire import service_size
from bcast.wire.keys import Keyring

__all__ = [
    "NASTY",
    "addresses",
    "announcements",
    "batches",
    "beats",
    "datagrams",
    "destination_addresses",
    "devices",
    "endpoints",
    "families",
    "goodbyes",
    "groups",
    "headers",
    "hostile_names",
    "interface_names",
    "interfaces",
    "ip_addresses",
    "is_link_scoped",
    "keyrings",
    "messages",
    "payloads",
    "ports",
    "probes",
    "queries",
    "replies",
    "rows",
    "scopes_travel",
    "services",
    "times_ns",
    "usable_interfaces",
]

families = st.sampled_from(Family)
ports = st.integers(1, 65_535)

#: What a kernel can stamp: nanoseconds since 1970 in 63 bits, which end in 2262.
times_ns = st.integers(0, 2**63 - 1)

#: Names as systems give them.
interface_names = st.from_regex(r"[a-z]{2,6}[0-9]{1,2}", fullmatch=True)

#: Sequences that do something to a terminal: colours, titles, cursor, 8-bit controls, overrides of
#: the direction of writing, invisible characters, line separators.
NASTY = (
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\r\n",
    "\x08\x7f\x00",
    "\t\x0b\x0c",
    "\x1c\x1d\x1e\x85",
    "\u202e\u2066\u2069",
    "\u200b\u200d\ufeff",
    "\u2028\u2029",
    "\U000e0001\ue000",
)

#: Names that Linux accepts as well (dev_valid_name in net/core/dev.c forbids only "/", ":" and
#: blanks; "%" is for its own numbering). What isn't UTF-8 comes as surrogates, from os.fsdecode.
hostile_names = (
    st.lists(
        st.one_of(
            st.sampled_from([n for n in NASTY if not any(c.isspace() or c == "\0" for c in n)]),
            st.characters(categories=("L", "N", "P", "S", "Cf", "Cc")),
            st.integers(0xDC80, 0xDCFF).map(chr),
        ),
        min_size=1,
        max_size=8,
    )
    .map("".join)
    .filter(lambda name: not any(c in "/:%\0" or c.isspace() for c in name))
)

#: Payloads: any bytes, text, and text with sequences in it that a terminal would obey.
payloads: SearchStrategy[bytes] = st.one_of(
    st.binary(max_size=80),
    st.text(max_size=40).map(lambda text: text.encode(errors="replace")),
    st.lists(
        st.one_of(
            st.sampled_from(NASTY).map(lambda text: text.encode(errors="surrogatepass")),
            st.text("abc {}\\\n", max_size=12).map(str.encode),
            st.binary(max_size=3),
        ),
        max_size=6,
    ).map(b"".join),
)

Networks = Sequence[IPv4Network | IPv6Network]

_UP = InterfaceFlag.UP | InterfaceFlag.RUNNING
_BROADCAST = InterfaceFlag.BROADCAST | InterfaceFlag.MULTICAST
_POINT_TO_POINT = InterfaceFlag.POINT_TO_POINT | InterfaceFlag.NOARP
_LINK_LOCAL = IPv6Network("fe80::/64")
_GLOBAL = (IPv6Network("2001:db8::/32"), IPv6Network("fd00::/8"))
_PRIVATE = tuple(
    IPv4Network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16")
)
_ETHERNET_LIKE = (
    Kind.ETHERNET,
    Kind.WIFI,
    Kind.BRIDGE,
    Kind.BOND,
    Kind.VLAN,
    Kind.VETH,
    Kind.MACVLAN,
    Kind.DUMMY,
    Kind.OTHER,
)


def is_link_scoped(address: IPAddress) -> bool:
    """Whether an address means nothing without its interface (RFC 4007, section 6)."""
    if isinstance(address, IPv4Address):
        return False
    if address.is_multicast:
        return address.packed[1] & 0x0F in (1, 2)
    return address.is_link_local


def _scoped(address: IPAddress, name: str) -> IPAddress:
    """The address, with its interface where it needs one."""
    return IPv6Address(f"{address}%{name}") if is_link_scoped(address) else address


def _within(network: IPv4Network | IPv6Network) -> SearchStrategy[IPAddress]:
    """Hosts of a network: neither its first nor its last address."""
    first = int(network.network_address)
    kind = IPv4Address if isinstance(network, IPv4Network) else IPv6Address
    return st.integers(first + 1, first + network.num_addresses - 2).map(kind)


def _hosts(family: Family) -> SearchStrategy[IPAddress]:
    networks: Networks = _PRIVATE if family is Family.IPV4 else (_LINK_LOCAL, *_GLOBAL)
    return st.sampled_from(networks).flatmap(_within)


@st.composite
def ip_addresses(draw: DrawFn, name: str | None = None, family: Family | None = None) -> IPAddress:
    """Addresses of hosts. A link-local one has its scope; ``name`` is the interface's."""
    host = draw(_hosts(draw(families) if family is None else family))
    return _scoped(host, draw(interface_names) if name is None else name)


@st.composite
def addresses(draw: DrawFn, name: str = "eth0", family: Family | None = None) -> Address:
    """Addresses of an interface that can broadcast."""
    address = draw(ip_addresses(name, family))
    if isinstance(address, IPv6Address):
        length = 64 if address.is_link_local else draw(st.sampled_from([48, 64, 127, 128]))
        return Address(address, length, tentative=draw(st.booleans()))
    length = draw(st.integers(8, 32))
    last = IPv4Network((int(address), length), strict=False).broadcast_address
    return Address(address, length, last if length <= 30 else None)


@st.composite
def _loopback_addresses(draw: DrawFn, name: str) -> Sequence[Address]:
    own: tuple[Address, ...] = (
        Address(IPv4Address("127.0.0.1"), 8),
        Address(IPv4Address("127.0.1.1"), 8),
        Address(IPv6Address("::1"), 128),
        Address(IPv6Address(f"fe80::1%{name}"), 64),  # as macOS has it
    )
    return draw(st.lists(st.sampled_from(own), unique=True))


@st.composite
def interfaces(
    draw: DrawFn,
    names: SearchStrategy[str] = interface_names,
    families: Sequence[Family] = tuple(Family),
) -> Interface:
    """Interfaces in any state: up or down, with and without addresses, enslaved, plumbing."""
    name = draw(names)
    index = draw(st.integers(1, 2**31 - 1))
    up = draw(st.sampled_from([_UP, _UP, _UP, InterfaceFlag.UP, InterfaceFlag(0)]))
    kind = draw(st.sampled_from(Kind))
    mac = draw(st.one_of(st.none(), st.binary(min_size=6, max_size=6).map(lambda b: b.hex(":"))))
    own: Sequence[Address]
    if kind is Kind.LOOPBACK:
        own = [a for a in draw(_loopback_addresses(name)) if a.family in families]
        able = draw(st.sampled_from([InterfaceFlag(0), InterfaceFlag.MULTICAST]))
        flags = up | able | InterfaceFlag.LOOPBACK
        return Interface(name, index, kind, flags, 65_536, None, tuple(own))
    each = [addresses(name, family) for family in families]
    own = draw(st.lists(st.one_of(each), max_size=4, unique_by=lambda a: a.address))
    if kind not in _ETHERNET_LIKE:  # a tunnel, or cellular
        able = draw(st.sampled_from([InterfaceFlag(0), InterfaceFlag.MULTICAST]))
        alone = tuple(
            Address(a.address, 32 if a.family is Family.IPV4 else a.prefix_length, None, False)
            for a in own
        )
        mtu = draw(st.integers(1280, 9000))
        return Interface(name, index, kind, up | able | _POINT_TO_POINT, mtu, None, alone)
    return Interface(
        name,
        index,
        kind,
        up | _BROADCAST,
        draw(st.integers(576, 9216)),
        mac,
        tuple(own),
        enslaved_to=draw(st.sampled_from([None, None, None, "br0"])),
        plumbing=draw(st.sampled_from([False, False, True])),
    )


def usable_interfaces(
    names: SearchStrategy[str] = interface_names,
) -> SearchStrategy[Interface]:
    """Interfaces that are used by default."""
    return interfaces(names).filter(lambda interface: interface.usable)


@st.composite
def endpoints(draw: DrawFn, name: str | None = None, family: Family | None = None) -> Endpoint:
    """Endpoints of hosts. A link-local one has its scope; ``name`` is the interface's."""
    return Endpoint(draw(ip_addresses(name, family)), draw(ports))


@st.composite
def _group_addresses(draw: DrawFn, family: Family) -> IPAddress:
    if family is Family.IPV4:
        return IPv4Address(draw(st.integers(0xE0000000, 0xEFFFFFFF)))
    # ff, flags (0 to 3: permanent or transient, with a prefix or not), scope 1 to 14, group.
    flags, scope = draw(st.integers(0, 3)), draw(st.integers(1, 14))
    rest = draw(st.integers(1, 2**112 - 1))
    return IPv6Address(0xFF << 120 | flags << 116 | scope << 112 | rest)


@st.composite
def groups(draw: DrawFn, family: Family | None = None) -> Group:
    """Groups of any scope, some with a source (which has no scope)."""
    chosen = draw(families) if family is None else family
    networks: Networks = _PRIVATE if chosen is Family.IPV4 else _GLOBAL
    source = draw(st.one_of(st.none(), st.sampled_from(networks).flatmap(_within)))
    return Group(draw(_group_addresses(chosen)), source)


@st.composite
def destination_addresses(
    draw: DrawFn, interface: Interface, family: Family | None = None
) -> IPAddress:
    """Where a datagram that arrived on ``interface`` may have gone to."""
    chosen = draw(families) if family is None else family
    choices = [_hosts(chosen), _group_addresses(chosen)]
    if chosen is Family.IPV4:
        directed = [a.broadcast for a in interface.addresses if a.broadcast]
        choices.append(st.sampled_from([IPv4Address("255.255.255.255"), *directed]))
    return _scoped(draw(st.one_of(choices)), interface.name)


_ttls = st.integers(-1, 255)


@st.composite
def datagrams(draw: DrawFn, names: SearchStrategy[str] = interface_names) -> Datagram:
    """Datagrams as they arrive; the scopes of their addresses are their interface."""
    interface = draw(interfaces(names))
    family = draw(families)
    ttl = draw(_ttls)
    return Datagram(
        draw(payloads),
        draw(endpoints(interface.name, family)),
        Endpoint(draw(destination_addresses(interface, family)), draw(ports)),
        interface,
        draw(times_ns),
        None if ttl < 0 else ttl,
    )


@st.composite
def rows(draw: DrawFn, interface: Interface, family: Family) -> Row:
    """One datagram as a reader has it: raw addresses, without scopes."""
    source = draw(endpoints(interface.name, family))
    sockaddr: tuple[str, int] | tuple[str, int, int, int] = (str(source.address), source.port)
    if family is Family.IPV6:
        scope = interface.index if is_link_scoped(source.address) else 0
        sockaddr = (str(source.address).partition("%")[0], source.port, 0, scope)
    destination = draw(destination_addresses(interface, family))
    return draw(times_ns), source_key(sockaddr), destination.packed, draw(_ttls), draw(payloads)


@st.composite
def batches(
    draw: DrawFn, names: SearchStrategy[str] = interface_names, max_size: int = 6
) -> Batch:
    """Batches of one port of one interface, of one family, as one socket reads them."""
    interface = draw(interfaces(names))
    family = draw(families)
    found = draw(st.lists(rows(interface, family), max_size=max_size))
    return Batch.of_rows(interface, draw(ports), found)


#: For tests that pickle addresses: early releases of Python 3.11 lose the scope on the way.
scopes_travel = pytest.mark.skipif(
    pickle.loads(pickle.dumps(IPv6Address("fe80::1%eth0"))) != IPv6Address("fe80::1%eth0"),
    reason="this Python loses the scope of a pickled address",
)


# --- what native peers say


def _numbers(bits: int, least: int = 0) -> SearchStrategy[int]:
    return st.integers(least, (1 << bits) - 1)


def _texts(least: int, most: int) -> SearchStrategy[str]:
    """Texts of so many bytes of UTF-8, long ones too (which are slow to draw letter by letter)."""
    short = st.text(st.characters(codec="utf-8"), min_size=least, max_size=max(least, most // 8))
    long = st.builds(
        lambda sign, size: sign * max(least, size // len(sign.encode())),
        st.sampled_from("aé☃😀"),
        st.integers(max(least, 4), most),
    )
    return st.one_of(short, long).filter(lambda text: least <= len(text.encode()) <= most)


@st.composite
def services(draw: DrawFn, most: int = 20) -> Service:
    """With at most so many attributes; every one fits a datagram of its own."""
    pairs = draw(st.dictionaries(_texts(1, 63), _texts(0, 255), max_size=most))
    while sum(len(f"{key}{value}".encode()) + 2 for key, value in pairs.items()) > 990:
        pairs.popitem()
    kind = draw(st.text("abz09_.-", min_size=1, max_size=63))
    return Service(draw(_texts(1, 63)), kind, draw(_numbers(16)), Attributes(pairs))


headers = st.builds(
    Header,
    st.binary(min_size=16, max_size=16),
    epoch=_numbers(32),
    sequence=_numbers(32),
    realm=_numbers(16),
    key_id=st.just(0),  # the encoder's: that of the key it is given
    more=st.booleans(),
)

_intervals = st.integers(1, 3_600)
_versions = _numbers(32, 1)


@st.composite
def probes(draw: DrawFn) -> Probe:
    low, high = sorted(draw(st.sets(st.integers(0, 65_536), min_size=2, max_size=2)))
    filter = draw(st.one_of(st.just(b""), st.binary(min_size=8, max_size=1_092)))
    return Probe(
        draw(headers),
        draw(_numbers(64)),
        elapsed=draw(_numbers(16)),
        window=draw(_numbers(16)),
        low=low,
        high=high,
        round=draw(_numbers(8)),
        types=tuple(draw(st.lists(_numbers(32), max_size=8))),
        filter=filter,
        filter_hashes=draw(st.integers(1, 16)) if filter else 0,
    )


@st.composite
def _part(draw: DrawFn) -> dict[str, Any]:
    """The fields of a part of a state, which fits a tagged reply."""
    parts = draw(st.integers(1, 16))
    offered = draw(st.lists(services(3), max_size=16))
    while sum(map(service_size, offered)) > 1_134:
        offered.pop()
    return {
        "version": draw(_versions),
        "interval": draw(_intervals),
        "part": draw(st.integers(0, parts - 1)),
        "parts": parts,
        "services": tuple(offered),
    }


@st.composite
def replies(draw: DrawFn) -> Reply:
    return Reply(draw(headers), draw(_numbers(64)), **draw(_part()))


@st.composite
def announcements(draw: DrawFn) -> Announcement:
    return Announcement(draw(headers), **draw(_part()))


beats = st.builds(Beat, headers, _versions, _intervals, _numbers(16))
goodbyes = st.builds(Goodbye, headers, _versions, _intervals, _numbers(16))
queries = st.builds(
    Query,
    headers,
    _numbers(64),
    known=_numbers(32),
    part=st.integers(0, 15),
    reason=_numbers(16),
    padding=st.one_of(st.just(0), st.integers(2, 1_134)),
)

#: Every message that can be sent, with or without a tag.
messages: SearchStrategy[Message] = st.one_of(
    probes(), replies(), announcements(), beats, goodbyes, queries
)


@st.composite
def keyrings(draw: DrawFn) -> Keyring:
    keys = draw(
        st.dictionaries(
            st.integers(1, 255), st.binary(min_size=16, max_size=64), min_size=1, max_size=3
        )
    )
    return Keyring(keys, draw(st.sampled_from(sorted(keys))))


@st.composite
def sightings(draw: DrawFn) -> Sighting:
    """Where a device was heard."""
    name = draw(interface_names)
    endpoint = draw(endpoints(name))
    latency = draw(st.none() | st.floats(0, 60))
    heard = draw(st.integers(0, 2**62))
    index = draw(st.integers(1, 2**31 - 1))
    return Sighting(name, index, endpoint.address, endpoint.port, "bcast", latency, heard)


@st.composite
def devices(draw: DrawFn) -> Device:
    """A device, as a hostile peer could make one."""
    service = draw(services())
    number = draw(st.integers(0, 255))
    return Device(
        draw(st.binary(min_size=16, max_size=16)).hex() + (f"/{number}" if number else ""),
        service.name,
        service.type,
        service.port,
        service.attributes,
        tuple(draw(st.lists(sightings(), max_size=4))),
        probes_answered=draw(st.integers(0, 9)),
    )
