"""``bcast send --probe``: asks the native peers of every interface who is there."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic

from bcast.datagram import Address, Interface
from bcast.domain import Domain
from bcast.errors import ArgumentError, DecodeError
from bcast.messages import Header, Probe, Reply
from bcast.payload import Template
from bcast.wire import decode, encode
from bcast.wire.keys import Keyring, is_authentic

__all__ = ["ProbePayload", "ask"]

# Nonces to which replies still count. Probes may be repeated for days.
_NONCES = 4096


class ProbePayload(Template):
    """A payload that is another probe on each interface and in each round.

    Each interface's probes have an id of their own, so that a peer that hears two interfaces
    answers on both; to all destinations of a round goes the same one, so that it answers once.
    """

    def __init__(
        self,
        domain: Domain,
        *,
        random: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(b"")
        self._domain = domain
        self._random = random
        self._clock = clock
        # Id, epoch and time of the first probe, by the index of the interface.
        self._probers: dict[int, tuple[bytes, int, float]] = {}
        # Those of the current round.
        self._round = 0
        self._made: dict[int, bytes] = {}
        # In the order in which they were sent; the values say nothing.
        self._nonces: dict[int, None] = {}

    def fill(self, sequence: int, interface: Interface, source: Address, time_ns: int) -> bytes:
        """The probe of an interface for round ``sequence``, counted from 1."""
        if sequence != self._round:
            self._round = sequence
            self._made.clear()
        if interface.index not in self._made:
            self._made[interface.index] = self._make(sequence - 1, interface.index)
        return self._made[interface.index]

    def is_answered_by(self, payload: bytes) -> bool:
        """Whether a datagram is a reply to one of the probes, of the realm, and authentic."""
        try:
            message = decode(payload)
        except DecodeError:
            return False
        keyring = self._domain.keyring
        return (
            isinstance(message, Reply)
            and message.nonce in self._nonces
            and message.header.realm == self._domain.realm_hash
            and (keyring is None or is_authentic(payload, keyring))
        )

    def _make(self, number: int, index: int) -> bytes:
        now = self._clock()
        if index not in self._probers:
            self._probers[index] = self._random(16), int.from_bytes(self._random(4), "big"), now
        id, epoch, began = self._probers[index]
        nonce = int.from_bytes(self._random(8), "big")
        self._nonces[nonce] = None
        if len(self._nonces) > _NONCES:
            del self._nonces[next(iter(self._nonces))]
        header = Header(id, epoch, number & 0xFFFF_FFFF, self._domain.realm_hash)
        elapsed = int((now - began) * 1000) & 0xFFFF
        probe = Probe(header, nonce, elapsed=elapsed, round=number & 0xFF)
        return encode(probe, self._domain.keyring)


def ask(protocol: str, realm: str, port: int, keyring: Keyring | None) -> ProbePayload:
    """What to send to learn who speaks a protocol. Raises `ArgumentError` for an unknown one."""
    if protocol != "bcast":
        raise ArgumentError(
            f"there is no protocol {protocol!r} to probe for",
            "bcast is the only one so far; --probe alone means it",
        )
    return ProbePayload(Domain(realm, port, keyring=keyring))
