"""Who a peer is and what it offers, and the datagrams in which it says so."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import NamedTuple

from bcast.errors import ArgumentError
from bcast.messages import Announcement, Beat, Goodbye, Header, Reply, Service
from bcast.wire import encode, pack_services, parts_of
from bcast.wire.filters import entry
from bcast.wire.hashes import id64, type_hash
from bcast.wire.keys import Keyring

__all__ = ["ID_SIZE", "Offering"]

ID_SIZE = 16

_U32 = 0xFFFF_FFFF


class _Part(NamedTuple):
    services: tuple[Service, ...]
    packed: bytes
    size: int  # bytes of a reply with it


class Offering:
    """A peer's id, epoch and state, and the count of what it has sent.

    Each datagram has the next sequence number, whatever way it goes and to whomever: so that of
    two the later is known, and a repeated one too. Who hears only some of them can't take gaps for
    losses; what was lost of the beats, their times tell (see `bcast.discovery.schedule`).

    Raises `ArgumentError` for an id that hasn't 16 bytes, and for services that don't fit into 16
    parts.
    """

    def __init__(
        self,
        services: Iterable[Service],
        *,
        random: Random,
        id: bytes | None,
        realm: int,
        keyring: Keyring | None,
    ) -> None:
        if id is not None and len(id) != ID_SIZE:
            raise ArgumentError(f"an id of {len(id)} bytes can't be sent", f"use {ID_SIZE} bytes")
        self.id = random.randbytes(ID_SIZE) if id is None else bytes(id)
        self.id64 = id64(self.id)
        self._random = random
        self._realm = realm
        self._keyring = keyring
        self._begin_epoch()
        self.version = 0
        self.change(services)

    def _begin_epoch(self) -> None:
        self.epoch = self._random.getrandbits(32)
        self._sequence = -1

    def change(self, services: Iterable[Service]) -> None:
        """Offers these services from now on: a new version."""
        parts = parts_of(services)
        self.version = self.version % _U32 + 1
        #: The hashes of the types that are offered.
        self.types = frozenset(type_hash(s.type) for services in parts for s in services)
        self._count = sum(map(len, parts))
        self._parts = [_Part(services, b"", 0) for services in parts]
        for number, services in enumerate(parts):
            reply = self._reply(Header(self.id, 0, 0), 0, 1, number, services)
            size = len(encode(reply, self._keyring))
            self._parts[number] = _Part(services, pack_services(reply), size)
        self._look()

    def _look(self) -> None:
        #: What stands for this peer, in this state, in the filters of probers.
        self.entry = entry(self.id64, self.epoch, self.version)

    def _header(self, more: bool = False) -> Header:
        if self._sequence == _U32:
            # After 50 days of answering at the highest rate. What follows must not look old.
            self._begin_epoch()
            self._look()
        self._sequence += 1
        return Header(self.id, self.epoch, self._sequence, self._realm, more=more)

    def _reply(
        self, header: Header, nonce: int, interval: int, part: int, services: tuple[Service, ...]
    ) -> Reply:
        return Reply(header, nonce, self.version, interval, part, len(self._parts), services)

    def fits(self, room: int, part: int = 0) -> bool:
        """Whether there is such a part, and a reply with it has at most ``room`` bytes."""
        return part < len(self._parts) and self._parts[part].size <= room

    def reply(self, nonce: int, interval: int, part: int = 0) -> bytes:
        """A reply with one part of the services; says if there are others."""
        header = self._header(more=len(self._parts) > 1)
        services, packed, _ = self._parts[part]
        reply = self._reply(header, nonce, interval, part, services)
        return encode(reply, self._keyring, packed=packed)

    def short_reply(self, nonce: int, interval: int, *, more: bool) -> bytes:
        """A reply without services; ``more`` if the other should ask for them."""
        reply = self._reply(self._header(more), nonce, interval, 0, ())
        return encode(reply, self._keyring)

    def announcement(self, interval: int) -> bytes:
        header = self._header(more=len(self._parts) > 1)
        services, packed, _ = self._parts[0]
        said = Announcement(header, self.version, interval, 0, len(self._parts), services)
        return encode(said, self._keyring, packed=packed)

    def beat(self, interval: int) -> bytes:
        return encode(Beat(self._header(), self.version, interval, self._count), self._keyring)

    def goodbye(self, interval: int) -> bytes:
        return encode(Goodbye(self._header(), self.version, interval, self._count), self._keyring)
