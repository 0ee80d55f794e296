"""What tests of machines need: interfaces, peers, and whoever talks to them, from time 0.0."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, ip_address
from random import Random

from hypothesis import strategies as st

from bcast.datagram import Address, Datagram, Endpoint, Family, Interface, InterfaceFlag, Kind
from bcast.destinations import DEFAULT_GROUPS
from bcast.discovery.responder import Responder
from bcast.domain import Domain
from bcast.machine import Attached, Machine, Outgoing, Received
from bcast.messages import (
    Header,
    Message,
    Probe,
    Query,
    Reply,
    Service,
)
from bcast.wire import decode, encode
from bcast.wire.hashes import realm_hash, type_hash
from bcast.wire.keys import Keyring

__all__ = [
    "ANYBODY",
    "BOTH",
    "ETH",
    "GROUP",
    "GROUP6",
    "KEYS",
    "LAMP",
    "LOOPBACK",
    "OTHER",
    "OTHER_KEYS",
    "SOURCE",
    "WLAN",
    "ask",
    "attached",
    "datagram",
    "header",
    "hear",
    "interface",
    "large",
    "probe",
    "replies",
    "responder",
    "run",
    "said",
    "services",
]

ANYBODY = Domain()
BOTH = (Family.IPV4, Family.IPV6)
FLAGS = (
    InterfaceFlag.UP | InterfaceFlag.RUNNING | InterfaceFlag.BROADCAST | InterfaceFlag.MULTICAST
)
GROUP, GROUP6 = (Endpoint(group.address, 28232) for group in DEFAULT_GROUPS)
KEYS = Keyring({1: b"k" * 16, 2: b"o" * 16}, 1)
OTHER_KEYS = Keyring({1: b"x" * 16}, 1)
LAMP = Service("lamp-1", "_lamp", 80, {"fw": "1.4"})
SOURCE = Endpoint(IPv4Address("10.0.2.7"), 40_000)


def interface(index: int = 2, kind: Kind = Kind.ETHERNET) -> Interface:
    addresses = (
        Address(IPv4Address(f"10.0.{index}.1"), 24, IPv4Address(f"10.0.{index}.255")),
        Address(ip_address(f"fe80::1%eth{index}"), 64),
    )
    return Interface(f"eth{index}", index, kind, FLAGS, 1500, None, addresses)


LOOPBACK = Interface(
    *("lo", 1, Kind.LOOPBACK, FLAGS | InterfaceFlag.LOOPBACK, 65_536, None),
    (Address(IPv4Address("127.0.0.1"), 8),),
)
ETH, WLAN, OTHER = interface(), interface(kind=Kind.WIFI), interface(3)


def attached(*interfaces: Interface, families: tuple[Family, ...] = BOTH) -> list[Attached]:
    return [Attached(one, families, 512) for one in interfaces]


def responder(
    *services: Service,
    on: Iterable[Attached] = tuple(attached(ETH)),
    domain: Domain = ANYBODY,
    seed: int = 1,
    id: bytes | None = None,
    interval: float | None = None,
) -> Responder:
    made = Responder(
        services or (LAMP,), random=Random(seed), domain=domain, id=id, interval=interval
    )
    made.interfaces_changed(tuple(on), 0.0)
    return made


def header(who: int = 1, sequence: int = 0, realm: str = "") -> Header:
    return Header(who.to_bytes(16, "big"), 5, sequence, realm_hash(realm))


def probe(
    nonce: int = 1,
    who: int = 1,
    *,
    elapsed: int = 0,
    window: int = 0,
    low: int = 0,
    high: int = 65_536,
    types: tuple[str, ...] = (),
) -> Probe:
    """With the nonces, the sequence numbers count up."""
    hashes = tuple(type_hash(one) for one in types)
    start = header(who, sequence=nonce & 0xFFFF)
    return Probe(start, nonce, elapsed, window, low, high, types=hashes)


def datagram(
    message: Message | bytes,
    source: Endpoint = SOURCE,
    destination: Endpoint = GROUP,
    on: Interface = ETH,
    ttl: int | None = 255,
    keyring: Keyring | None = None,
) -> Datagram:
    payload = message if isinstance(message, bytes) else encode(message, keyring)
    return Datagram(payload, source, destination, on, 0, ttl)


def hear(machine: Machine[object], now: float, *datagrams: Datagram, drained: bool = True) -> None:
    machine.receive_datagrams(Received(datagrams[0].interface, datagrams, drained=drained), now)


def ask(machine: Machine[object], now: float, *messages: Probe | Query) -> list[Outgoing]:
    """What is said at once to who sends these messages in one go."""
    to = {Probe: GROUP, Query: Endpoint(IPv4Address("10.0.2.1"), 50_000)}
    hear(machine, now, *[datagram(one, destination=to[type(one)]) for one in messages])
    return machine.datagrams_to_send(now)


def run(machine: Machine[object], until: float) -> list[tuple[float, Outgoing]]:
    """All that is sent until then, by a driver that is never late."""
    sent = []
    while (now := machine.get_timer()) is not None and now <= until:
        machine.handle_timer(now)
        sent += [(now, one) for one in machine.datagrams_to_send(now)]
        after = machine.get_timer()
        assert after is None or after > now
    return sent


def said(sent: Iterable[Outgoing]) -> list[Message]:
    return [decode(one.payload) for one in sent]


def replies(sent: Iterable[Outgoing]) -> list[Reply]:
    return [one for one in said(sent) if isinstance(one, Reply)]


def large(count: int) -> list[Service]:
    """Services of which two fit a datagram."""
    pairs = {"a": "x" * 250, "b": "y" * 250}
    return [Service(f"lamp-{n}", "_lamp", n, pairs) for n in range(count)]


pairs = st.dictionaries(st.text("abc", min_size=1, max_size=9), st.text(max_size=60), max_size=5)
services = st.lists(
    st.builds(
        Service, st.text("xyz", min_size=1, max_size=20), st.just("_lamp"), st.just(1), pairs
    ),
    max_size=20,
)
