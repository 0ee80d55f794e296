"""From messages to bytes, and how a peer's services are cut into parts that fit datagrams."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable

from bcast.errors import ArgumentError
from bcast.messages import (
    MAX_SERVICES,
    Announcement,
    Beat,
    Goodbye,
    Message,
    Probe,
    Query,
    Reply,
    Service,
)
from bcast.wire.keys import Keyring, tag
from bcast.wire.layout import (
    ANNOUNCE,
    ANNOUNCE_FORMAT,
    BEAT,
    BEAT_FORMAT,
    FILTER_BLOOM,
    FLAG_MORE,
    GOODBYE,
    HEADER_FORMAT,
    HEADER_SIZE,
    MAGIC,
    MAX_DATAGRAM,
    MAX_FILTER_HASHES,
    MAX_INTERVAL,
    MAX_PARTS,
    MAX_PROBE_TYPES,
    MIN_FILTER,
    MIN_INTERVAL,
    MIN_PROBE,
    PROBE,
    PROBE_FORMAT,
    QUERY,
    QUERY_FORMAT,
    REPLY,
    REPLY_FORMAT,
    REPLY_SIZE,
    TAG_SIZE,
    TLV_FILTER,
    TLV_PAD,
    TLV_SERVICE,
    TLV_TYPES,
    VERSION,
)

__all__ = ["encode", "pack_services", "parts_of", "service_size"]

#: What the services of a part may take: any part fits a tagged reply.
_ROOM = MAX_DATAGRAM - REPLY_SIZE - TAG_SIZE


def encode(
    message: Message, keyring: Keyring | None = None, *, packed: bytes | None = None
) -> bytes:
    """The datagram that says the message: with a keyring tagged by its current key.

    ``packed``: what `pack_services` made of the message's services, for who says the same ones
    again and again; only for a reply or an announcement.

    The key id of the header is that of the key, or 0, whatever ``message.header`` has. Raises
    `ArgumentError` if a field is out of its range, or the datagram would be over 1,200 bytes.
    Never does for what `decode` returned.
    """
    kind, write = _WRITERS[type(message)]
    header = message.header
    if len(header.id) != 16:
        raise ArgumentError(f"an id has 16 bytes, not {len(header.id)}", "")
    key_id = keyring.current if keyring is not None else 0
    flags = FLAG_MORE if header.more else 0
    try:
        start = HEADER_FORMAT.pack(
            *(MAGIC, VERSION, kind, flags, key_id, header.realm),
            *(header.id, header.epoch, header.sequence),
        )
        datagram = start + (write(message) if packed is None else write(message, packed))
    except struct.error as error:
        raise ArgumentError(f"the message can't be sent: {error}", "") from error
    if keyring is not None:
        datagram += tag(datagram, keyring.keys[key_id])
    if len(datagram) > MAX_DATAGRAM:
        raise ArgumentError(
            f"a message of {len(datagram)} bytes is too large",
            f"cut it into parts of at most {MAX_DATAGRAM}",
        )
    return datagram


def pack_services(said: Reply | Announcement) -> bytes:
    """The services of a message as bytes. Raises `ArgumentError` for a part that can't be."""
    if not 0 <= said.part < said.parts <= MAX_PARTS:
        raise ArgumentError(f"there is no part {said.part} of {said.parts} of a state", "")
    if len(said.services) > MAX_SERVICES:
        raise ArgumentError(
            f"{len(said.services)} services are too many for a part", f"use {MAX_SERVICES}"
        )
    first = said.part * MAX_SERVICES
    return b"".join([_write_service(s, first + n) for n, s in enumerate(said.services)])


def service_size(service: Service) -> int:
    """The bytes that a service takes in a reply or an announcement."""
    return len(_write_service(service, 0))


def parts_of(services: Iterable[Service]) -> tuple[tuple[Service, ...], ...]:
    """The services, in their order, in as few parts as fit replies: at least one, at most 16.

    Raises `ArgumentError` if a service doesn't fit into a datagram, or all of them not into 16.
    """
    parts: list[tuple[Service, ...]] = [()]
    left = _ROOM
    for service in services:
        size = service_size(service)
        if size > _ROOM:
            raise ArgumentError(
                f"the service {service.name!r} takes {size} bytes",
                f"give it fewer or shorter attributes: at most {_ROOM} fit a datagram",
            )
        if size > left or len(parts[-1]) == MAX_SERVICES:
            parts.append(())
            left = _ROOM
        parts[-1] += (service,)
        left -= size
    if len(parts) > MAX_PARTS:
        raise ArgumentError(
            f"the services take {len(parts)} datagrams",
            f"offer fewer services, or fewer attributes: {MAX_PARTS} are the most",
        )
    return tuple(parts)


def _field(kind: int, value: bytes) -> bytes:
    length = len(value)
    if length < 255:
        return bytes((kind, length)) + value
    return bytes((kind, 255, length >> 8, length & 0xFF)) + value


def _padding(size: int) -> bytes:
    """A field of ``size`` bytes with its head, which takes two: 1 becomes 2."""
    if not size:
        return b""
    if size <= 256:
        return bytes((TLV_PAD, max(0, size - 2))).ljust(size, b"\0")
    # The long form, though 253 and 254 bytes would fit the short one: then no size is missing.
    return _LONG_PAD.pack(TLV_PAD, 255, size - 4).ljust(size, b"\0")


_LONG_PAD = struct.Struct(">BBH")


def _write_probe(probe: Probe) -> bytes:
    if not 0 <= probe.low < probe.high <= 65_536:
        raise ArgumentError(f"there are no slots from {probe.low} to {probe.high}", "")
    if len(probe.types) > MAX_PROBE_TYPES:
        raise ArgumentError(
            f"a probe can't ask for {len(probe.types)} types", f"ask for {MAX_PROBE_TYPES}, or any"
        )
    hashes = probe.filter_hashes
    if probe.filter:
        if len(probe.filter) < MIN_FILTER or not 1 <= hashes <= MAX_FILTER_HASHES:
            raise ArgumentError("the filter of the probe is none that can be sent", "")
    elif hashes:
        raise ArgumentError("a probe without a filter has no hash functions", "")
    datagram = PROBE_FORMAT.pack(
        *(probe.nonce, probe.elapsed, probe.window, probe.low, probe.high & 0xFFFF),
        *(probe.round, hashes, FILTER_BLOOM if probe.filter else 0),
    )
    if probe.types:
        datagram += _field(TLV_TYPES, struct.pack(f">{len(probe.types)}I", *probe.types))
    if probe.filter:
        datagram += _field(TLV_FILTER, probe.filter)
    return datagram + _padding(max(0, MIN_PROBE - HEADER_SIZE - len(datagram)))


def _write_reply(reply: Reply, packed: bytes | None = None) -> bytes:
    _check_state(reply)
    services = pack_services(reply) if packed is None else packed
    fixed = (reply.nonce, reply.version, reply.interval, reply.part, reply.parts)
    return REPLY_FORMAT.pack(*fixed) + services


def _write_announcement(said: Announcement, packed: bytes | None = None) -> bytes:
    _check_state(said)
    services = pack_services(said) if packed is None else packed
    fixed = (said.version, said.interval, said.part, said.parts)
    return ANNOUNCE_FORMAT.pack(*fixed) + services


def _write_presence(said: Beat | Goodbye) -> bytes:
    _check_state(said)
    fixed = (said.version, said.interval, said.offered)
    return BEAT_FORMAT.pack(*fixed)


def _write_query(query: Query) -> bytes:
    if not 0 <= query.part < MAX_PARTS:
        raise ArgumentError(f"there is no part {query.part} of a state", "")
    if query.padding < 0:
        raise ArgumentError("padding can't be negative", "")
    fixed = (query.nonce, query.known, query.part, query.reason)
    start = QUERY_FORMAT.pack(*fixed)
    return start + _padding(min(query.padding, MAX_DATAGRAM))


_WRITERS: dict[type[Message], tuple[int, Callable[..., bytes]]] = {
    Probe: (PROBE, _write_probe),
    Reply: (REPLY, _write_reply),
    Announcement: (ANNOUNCE, _write_announcement),
    Beat: (BEAT, _write_presence),
    Goodbye: (GOODBYE, _write_presence),
    Query: (QUERY, _write_query),
}


def _check_state(said: Reply | Announcement | Beat | Goodbye) -> None:
    if not said.version:
        raise ArgumentError("a state has no version 0", "begin with 1")
    if not MIN_INTERVAL <= said.interval <= MAX_INTERVAL:
        raise ArgumentError(
            f"{said.interval} s are no interval between beats",
            f"use {MIN_INTERVAL} to {MAX_INTERVAL}",
        )


def _write_service(service: Service, index: int) -> bytes:
    name = service.name.encode()
    type = service.type.encode()
    value = [struct.pack(">HHB", service.port, index, len(name)), name, bytes((len(type),)), type]
    for pair in service.attributes.items():
        for text in pair:
            data = text.encode()
            value += bytes((len(data),)), data
    return _field(TLV_SERVICE, b"".join(value))
