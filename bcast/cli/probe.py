"""``bcast send --probe``: asks everybody on every interface who is there."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from random import SystemRandom
from socket import gethostname
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from bcast.datagram import Address, Family, Interface
from bcast.destinations import DEFAULT_GROUPS, NATIVE
from bcast.domain import Domain
from bcast.errors import ArgumentError, DecodeError
from bcast.messages import Header, Probe, Reply
from bcast.payload import Template
from bcast.wire import decode, encode
from bcast.wire.keys import is_authentic

if TYPE_CHECKING:
    from bcast.accessory.description import Description
    from bcast.accessory.forms import Form

__all__ = ["Asked", "Question", "ask"]

# Native peers take nothing that has come through a router.
_TTL = 255

# Nonces to which replies still count. Probes may be repeated for days.
_NONCES = 4096


class Question(NamedTuple):
    """A probe, and where it goes unless something else is said."""

    payload: Template
    destinations: tuple[str, ...]
    port: int


class Asked(NamedTuple):
    """What is asked: probes, what they are sent from (0: any port) and with (``ttl``), and whose
    the answers are (``spoken``)."""

    questions: tuple[Question, ...]
    is_answered_by: Callable[[bytes], bool]
    source_port: int = 0
    ttl: int | None = None
    spoken: tuple[Description, ...] = ()


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


class ForeignPayload(Template):
    """A payload that is a probe of a described protocol, as each interface would say it."""

    def __init__(self, description: Description, form: Form, source_port: int) -> None:
        super().__init__(b"")
        self._description = description
        self._form = form
        self._source_port = source_port
        self._random = SystemRandom()
        #: The values that were sent, the last ones of each interface.
        self.sent: dict[int, Mapping[str, Any]] = {}
        self._made: dict[tuple[int, int], bytes] = {}

    def fill(self, sequence: int, interface: Interface, source: Address, time_ns: int) -> bytes:
        """The probe of an interface for round ``sequence``, counted from 1."""
        key = sequence, interface.index
        if key not in self._made:
            self._made = {k: v for k, v in self._made.items() if k[0] == sequence}
            self._made[key] = self._make(interface, source, time_ns)
        return self._made[key]

    def _make(self, interface: Interface, source: Address, time_ns: int) -> bytes:
        from bcast.accessory.description import Decoded
        from bcast.accessory.template import Own
        from bcast.foreign.asking import ASKED

        own = Own(
            str(source.address).partition("%")[0],
            self._source_port,
            interface.hardware_address or "",
            f"{self._random.getrandbits(128):032x}",
            gethostname().partition(".")[0],
        )
        now = time_ns / 1e9
        payload = self._description.encode(self._form, {}, own=own, random=self._random, now=now)
        decoded = self._description.decode(payload, roles=ASKED)
        if isinstance(decoded, Decoded):
            self.sent[interface.index] = decoded.values
        return payload


def ask(protocol: str, domain: Domain, family: Family | None) -> Asked:
    """What to send to learn who speaks a protocol. Raises `ArgumentError` for an unknown one, and
    for one in which nobody is asked."""
    if protocol == NATIVE:
        payload = ProbePayload(domain)
        groups = [g for g in DEFAULT_GROUPS if family is None or g.family is family]
        to = tuple(str(group.address) for group in groups)
        question = Question(payload, to, domain.port)
        return Asked((question,), payload.is_answered_by, ttl=_TTL)
    from bcast.sweep import load_all

    [description] = load_all([protocol], family)
    return _ask(description)


def _ask(description: Description) -> Asked:
    from bcast.accessory.description import Decoded
    from bcast.foreign.asking import HEARD
    from bcast.foreign.doors import asking_door, ports_of

    forms = [f for f in description.messages if f.role == "probe" and not f.after]
    if not forms:
        raise ArgumentError(
            f"nobody is asked in {description.name}: its accessories announce themselves",
            f"hear them with bcast listen --protocol {description.name}",
        )
    payloads = [ForeignPayload(description, form, asking_door(form)) for form in forms]
    questions = [
        Question(payload, (description.group if kind == "group" else kind,), port)
        for form, payload in zip(forms, payloads, strict=True)
        for kind in [form.to.kind]
        for port in ports_of(description, form)
    ]

    def is_answer(payload: bytes) -> bool:
        names = [(form.name, one.sent) for form, one in zip(forms, payloads, strict=True)]
        indexes = {index for _, sent in names for index in sent}
        for index in indexes:
            probes = {name: sent[index] for name, sent in names if index in sent}
            decoded = description.decode(payload, roles=HEARD, probes=probes)
            if isinstance(decoded, Decoded):
                return True
        return False

    return Asked(tuple(questions), is_answer, asking_door(forms[0]), None, (description,))
