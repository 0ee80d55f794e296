"""Machines that are told anything at all, by anybody: they never fail, and never grow."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from random import Random

from bcast.datagram import Datagram, Endpoint, Interface
from bcast.device import Added, Removed
from bcast.discovery.prober import Prober
from bcast.discovery.responder import Responder
from bcast.domain import Domain
from bcast.machine import Attached, Machine, Received
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
from bcast.wire import MAX_DATAGRAM, decode, encode
from bcast.wire.keys import Keyring
from tests.machines import BOTH, ETH, WLAN

__all__ = ["KEYS", "Ordeal", "random_message", "random_script", "run_script"]

KEYS = Keyring({1: b"0123456789abcdef"}, 1)

_SERVICES = (
    Service("lamp", "_lamp", 80, {"fw": "1"}),
    Service("\x1b[2J\u202e", "_lamp", 0, {"\x07": "v" * 255}),
    Service("n" * 63, "t" * 63, 65_535),
)

#: Where datagrams come from: hosts of the link, a group, another network.
_SOURCES = tuple(
    Endpoint(ip_address(text), port)
    for text in ("10.0.2.7", "10.0.2.8", "fe80::7%eth2", "10.0.2.255", "239.1.2.3", "192.0.2.1")
    for port in (4_000, 4_001, 0)
)

_TO = Endpoint(IPv4Address("10.0.2.1"), 28_232)

_MAX_PEERS = 16

#: Seconds that pass: none, a round, a beat, three beats missed.
_PAUSES = (0.0, 0.0, 0.0, 0.001, 0.05, 1.0, 31.0, 120.0)


class Ordeal:
    """A prober and a responder that somebody torments; ``keyed``: they have a key."""

    def __init__(self, seed: int, *, keyed: bool) -> None:
        domain = Domain(keyring=KEYS if keyed else None)
        self.now = 0.0
        self.prober = Prober(random=Random(seed), domain=domain, max_peers=_MAX_PEERS)
        lamp = Service("lamp", "_lamp", 80, {"fw": "1"})
        self.responder = Responder([lamp], random=Random(seed + 1), domain=domain)
        self.machines: tuple[Machine[object], ...] = (self.prober, self.responder)
        #: The nonces of the prober's last questions, and what both last sent.
        self.nonces: list[int] = [0]
        self.sent: list[bytes] = []
        self._shown: set[str] = set()
        self.attach((ETH, WLAN))

    def attach(self, interfaces: tuple[Interface, ...]) -> None:
        for machine in self.machines:
            machine.interfaces_changed([Attached(i, BOTH, 512) for i in interfaces], self.now)
        self._look()

    def pause(self, seconds: float) -> None:
        self.now += seconds
        for machine in self.machines:
            due = machine.get_timer()
            if due is not None and due <= self.now:
                machine.handle_timer(self.now)
        self._look()

    def feed(self, payload: bytes, source: int = 0, *, wifi: bool = False, ttl: int = 255) -> None:
        interface = WLAN if wifi else ETH
        there = _SOURCES[source % len(_SOURCES)]
        datagram = Datagram(payload, there, _TO, interface, 0, ttl)
        for machine in self.machines:
            machine.receive_datagrams(Received(interface, (datagram,)), self.now)
        self._look()

    def _look(self) -> None:
        """What must hold after everything."""
        for machine in self.machines:
            out = machine.datagrams_to_send(self.now)
            for outgoing in out:
                assert len(outgoing.payload) <= MAX_DATAGRAM
                message = decode(outgoing.payload)
                if isinstance(message, Probe | Query):
                    self.nonces = [*self.nonces[-7:], message.nonce]
            self.sent = [*self.sent[-7:], *(outgoing.payload for outgoing in out)]
            machine.get_timer()
        while self.responder.next_event() is not None:
            pass
        while (event := self.prober.next_event()) is not None:
            if isinstance(event, Removed):
                self._shown.remove(event.device.id)
            else:
                assert (event.device.id in self._shown) is not isinstance(event, Added)
                self._shown.add(event.device.id)
        devices = {device.id for device in self.prober.devices}
        assert devices == self._shown
        assert len({id.partition("/")[0] for id in devices}) <= _MAX_PEERS
        assert self.prober.statistics.found <= _MAX_PEERS


def run_script(script: bytes) -> None:
    """Torments a pair of machines by the bytes of a script: what, from where, and how long."""
    ordeal = Ordeal(1, keyed=bool(script[:1] and script[0] & 1))
    at = 1
    while at + 4 <= len(script):
        what, where, low, high = script[at : at + 4]
        size = min(low | high << 8, 1_300)
        payload = bytearray(script[at + 4 : at + 4 + size])
        at += 4 + size
        if what & 1 and len(payload) >= 40:
            payload[32:40] = ordeal.nonces[(what >> 1) % len(ordeal.nonces)].to_bytes(8, "big")
        if what & 8:
            ordeal.attach(((ETH, WLAN), (ETH,), (), (WLAN,))[where & 3])
        ordeal.feed(bytes(payload), where, wifi=bool(what & 16), ttl=255 - (what >> 7))
        ordeal.pause(_PAUSES[what >> 4 & 7])


def random_message(random: Random, nonces: list[int]) -> Message:
    """One of few peers says something that it may say, in few states."""
    header = Header(
        bytes([random.randrange(40)]) * 16,
        random.randrange(3),
        random.choice((0, 1, 2, 70, 2**31, 2**32 - 1)),
        more=random.random() < 0.2,
    )
    nonce = random.choice(nonces)
    version = random.randrange(1, 4)
    interval = random.choice((1, 30, 3_600))
    services = tuple(random.sample(_SERVICES, random.randrange(4)))
    parts = random.choice((1, 1, 1, 3, 16))
    part = random.randrange(parts)
    return random.choice(
        (
            Reply(header, nonce, version, interval, part, parts, services),
            Reply(header, nonce, version, interval),
            Announcement(header, version, interval, part, parts, services),
            Beat(header, version, interval, len(services)),
            Goodbye(header, version, interval, len(services)),
            Query(header, nonce, version, part, 0, random.choice((0, 352))),
            Probe(header, nonce, random.randrange(65_536), random.choice((0, 5, 65_535))),
        )
    )


def random_script(random: Random) -> bytes:
    """A script of valid messages: what a search may begin with."""
    script = bytearray([random.randrange(2)])
    for _ in range(random.randrange(1, 24)):
        payload = encode(
            random_message(random, [random.getrandbits(64)]),
            KEYS if script[0] & 1 else None,
        )
        # Mostly with the nonce of an open question, seldom with a change of interfaces.
        what = random.randrange(256) | 1
        if random.random() < 0.9:
            what &= ~8
        where = random.choice((0, 0, 0, 3, random.randrange(256)))
        script += bytes((what, where)) + len(payload).to_bytes(2, "little") + payload
    return bytes(script)
