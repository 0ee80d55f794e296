"""From bytes to messages: any datagram is a message, or is rejected with a named reason.

Nothing is allocated by a length that a peer announced, nothing recurs, and a datagram is read
once from front to end.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from functools import lru_cache
from typing import NoReturn

from bcast.errors import DecodeError
from bcast.messages import (
    MAX_ATTRIBUTE_KEY,
    MAX_ATTRIBUTES,
    MAX_NAME,
    MAX_SERVICES,
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
from bcast.wire.layout import (
    ANNOUNCE,
    ANNOUNCE_FORMAT,
    ANNOUNCE_SIZE,
    BEAT,
    BEAT_FORMAT,
    BEAT_SIZE,
    CRITICAL,
    FILTER_BLOOM,
    FLAG_MORE,
    GOODBYE,
    HEADER_FORMAT,
    HEADER_SIZE,
    MAGIC,
    MAJOR_VERSION,
    MAX_DATAGRAM,
    MAX_FILTER_HASHES,
    MAX_INTERVAL,
    MAX_PARTS,
    MAX_PROBE_TYPES,
    MIN_FILTER,
    MIN_INTERVAL,
    PROBE,
    PROBE_FORMAT,
    PROBE_SIZE,
    QUERY,
    QUERY_FORMAT,
    QUERY_SIZE,
    REPLY,
    REPLY_FORMAT,
    REPLY_SIZE,
    TAG_HEAD,
    TAG_SIZE,
    TLV_FILTER,
    TLV_SERVICE,
    TLV_TAG,
    TLV_TYPES,
)

__all__ = ["Decoder", "Reason", "decode"]


class Reason(enum.StrEnum):
    """Why a datagram is no message. What is counted, and shown in statistics, by these names."""

    TOO_SHORT = "too-short"
    TOO_LARGE = "too-large"
    MAGIC = "magic"
    VERSION = "version"
    TYPE = "type"
    TAG = "tag"
    TRUNCATED = "truncated"
    CRITICAL = "critical"
    DUPLICATE = "duplicate"
    TOO_MANY = "too-many"
    RANGE = "range"
    PART = "part"
    FILTER = "filter"
    TEXT = "text"


_TYPE = re.compile(rb"[a-z0-9_.-]{1,63}")

#: Payloads that a `Decoder` remembers: the probes of a prober that knows 20,000 peers are 20 at a
#: time, and what is answered to the first comes before the last has reached everybody.
_REMEMBERED = 256

#: Fields that follow the fixed part, by type and value.
_Fields = list[tuple[int, bytes]]


def decode(payload: bytes) -> Message:
    """The message that a datagram is. Raises `DecodeError`, with a `Reason`, and nothing else.

    Checks where the tag stands, not whether it is right: see `bcast.wire.keys.is_authentic`.
    """
    size = len(payload)
    if size < HEADER_SIZE:
        _reject(Reason.TOO_SHORT, f"{size} bytes are fewer than a header has")
    if size > MAX_DATAGRAM:
        _reject(Reason.TOO_LARGE, f"{size} bytes are more than {MAX_DATAGRAM}")
    values = HEADER_FORMAT.unpack_from(payload)
    magic, version, kind, flags, key_id, realm, id, epoch, sequence = values
    if magic != MAGIC:
        _reject(Reason.MAGIC, f"it doesn't begin with {MAGIC:x}")
    if version >> 4 != MAJOR_VERSION:
        _reject(Reason.VERSION, f"version {version >> 4} of the protocol is unknown")
    if kind not in _READERS:
        _reject(Reason.TYPE, f"message type {kind} is unknown")
    least, read = _READERS[kind]
    end = size
    if key_id:
        end -= TAG_SIZE
        if end >= least and payload[end : end + 2] != TAG_HEAD:
            _reject(Reason.TAG, "it names a key, and has no tag at its end")
    if end < least:
        _reject(Reason.TOO_SHORT, f"{size} bytes are too few for message type {kind}")
    header = Header(id, epoch, sequence, realm, key_id, flags & FLAG_MORE == FLAG_MORE)
    return read(header, payload, end)


class Decoder:
    """`decode` for whom the same payload objects come many times over: each is decoded once.

    The last few are remembered, because a prober that knows many peers sends several probes at
    once, which reach everybody interleaved with one another and with answers.
    """

    __slots__ = ("_recent",)

    def __init__(self) -> None:
        # By the identity of the payload, which is kept so that no other object gets it.
        self._recent: dict[int, tuple[bytes, Message | DecodeError]] = {}

    def decode(self, payload: bytes) -> Message:
        """As `bcast.wire.decode`."""
        known = self._recent.get(id(payload))
        outcome = known[1] if known is not None else self._decode_anew(payload)
        if isinstance(outcome, DecodeError):
            raise outcome.with_traceback(None)
        return outcome

    def _decode_anew(self, payload: bytes) -> Message | DecodeError:
        outcome: Message | DecodeError
        try:
            outcome = decode(payload)
        except DecodeError as error:
            outcome = error
        if len(self._recent) >= _REMEMBERED:
            del self._recent[next(iter(self._recent))]
        self._recent[id(payload)] = payload, outcome
        return outcome


def _reject(reason: Reason, why: str) -> NoReturn:
    raise DecodeError(f"the datagram is no message of bcast: {why}", reason=reason)


def _fields(payload: bytes, at: int, end: int, *wanted: int) -> _Fields:
    """The fields of the wanted types; the framing of all, up to ``end``, is checked."""
    found = []
    while at < end:
        kind = payload[at]
        start = at + 2
        if start > end:
            _reject(Reason.TRUNCATED, "a field has no length")
        length = payload[at + 1]
        if length == 255:
            start += 2
            if start > end:
                _reject(Reason.TRUNCATED, "a field has half a length")
            length = payload[at + 2] << 8 | payload[at + 3]
        at = start + length
        if at > end:
            _reject(Reason.TRUNCATED, "a field is longer than the rest of the datagram")
        if kind in wanted:
            found.append((kind, payload[start:at]))
        elif kind == TLV_TAG:
            _reject(Reason.TAG, "a tag stands before the end, or names no key")
        elif kind & CRITICAL:
            _reject(Reason.CRITICAL, f"field type {kind} is unknown and critical")
    return found


def _read_probe(header: Header, payload: bytes, end: int) -> Probe:
    values = PROBE_FORMAT.unpack_from(payload, HEADER_SIZE)
    nonce, elapsed, window, low, high, number, hashes, kind = values
    high = high or 65_536
    if low >= high:
        _reject(Reason.RANGE, "its range of slots is empty")
    types: tuple[int, ...] = ()
    filter = b""
    seen = 0
    for field, value in _fields(payload, PROBE_SIZE, end, TLV_TYPES, TLV_FILTER):
        if seen & 1 << field:
            _reject(Reason.DUPLICATE, f"field type {field} stands there twice")
        seen |= 1 << field
        if field == TLV_TYPES:
            types = _read_types(value)
        elif kind == FILTER_BLOOM:
            if len(value) < MIN_FILTER or not 1 <= hashes <= MAX_FILTER_HASHES:
                _reject(Reason.FILTER, f"a filter of {len(value)} bytes and {hashes} hashes")
            filter = value
        # A filter of another kind is for later versions: whoever can't read it answers.
    if not filter:
        hashes = 0
    return Probe(header, nonce, elapsed, window, low, high, number, types, filter, hashes)


def _read_types(value: bytes) -> tuple[int, ...]:
    if len(value) > MAX_PROBE_TYPES * 4:
        _reject(Reason.TOO_MANY, f"more than {MAX_PROBE_TYPES} types")
    if not value or len(value) % 4:
        _reject(Reason.RANGE, f"{len(value)} bytes are not whole hashes of types")
    return tuple(int.from_bytes(value[at : at + 4], "big") for at in range(0, len(value), 4))


def _read_reply(header: Header, payload: bytes, end: int) -> Reply:
    values = REPLY_FORMAT.unpack_from(payload, HEADER_SIZE)
    nonce, version, interval, part, parts = values
    _check_state(version, interval)
    services = _read_services(payload, REPLY_SIZE, end, part, parts)
    return Reply(header, nonce, version, interval, part, parts, services)


def _read_announcement(header: Header, payload: bytes, end: int) -> Announcement:
    version, interval, part, parts = ANNOUNCE_FORMAT.unpack_from(payload, HEADER_SIZE)
    _check_state(version, interval)
    services = _read_services(payload, ANNOUNCE_SIZE, end, part, parts)
    return Announcement(header, version, interval, part, parts, services)


def _read_beat(header: Header, payload: bytes, end: int) -> Beat:
    return Beat(header, *_read_presence(payload, end))


def _read_goodbye(header: Header, payload: bytes, end: int) -> Goodbye:
    return Goodbye(header, *_read_presence(payload, end))


def _read_presence(payload: bytes, end: int) -> tuple[int, int, int]:
    version, interval, offered = BEAT_FORMAT.unpack_from(payload, HEADER_SIZE)
    _check_state(version, interval)
    if end > BEAT_SIZE:
        _fields(payload, BEAT_SIZE, end)
    return version, interval, offered


def _read_query(header: Header, payload: bytes, end: int) -> Query:
    nonce, known, part, reason = QUERY_FORMAT.unpack_from(payload, HEADER_SIZE)
    if part >= MAX_PARTS:
        _reject(Reason.PART, f"part {part} can't be there")
    _fields(payload, QUERY_SIZE, end)
    return Query(header, nonce, known, part, reason, end - QUERY_SIZE)


_READERS: dict[int, tuple[int, Callable[[Header, bytes, int], Message]]] = {
    PROBE: (PROBE_SIZE, _read_probe),
    REPLY: (REPLY_SIZE, _read_reply),
    ANNOUNCE: (ANNOUNCE_SIZE, _read_announcement),
    BEAT: (BEAT_SIZE, _read_beat),
    GOODBYE: (BEAT_SIZE, _read_goodbye),
    QUERY: (QUERY_SIZE, _read_query),
}


def _check_state(version: int, interval: int) -> None:
    if not version:
        _reject(Reason.RANGE, "a state has no version 0")
    if not MIN_INTERVAL <= interval <= MAX_INTERVAL:
        _reject(Reason.RANGE, f"a beat every {interval} s")


def _read_services(
    payload: bytes, at: int, end: int, part: int, parts: int
) -> tuple[Service, ...]:
    if part >= parts or parts > MAX_PARTS:
        _reject(Reason.PART, f"part {part} of {parts} can't be there")
    fields = _fields(payload, at, end, TLV_SERVICE)
    if len(fields) > MAX_SERVICES:
        _reject(Reason.TOO_MANY, f"{len(fields)} services")
    return tuple([_read_service(value) for _, value in fields])


def _read_service(value: bytes) -> Service:
    attributes: dict[str, str] = {}
    end = len(value)
    count = 0
    try:
        port = value[0] << 8 | value[1]
        at = 5 + value[4]
        name = value[5:at].decode()
        if not 6 <= at <= 5 + MAX_NAME:
            _reject(Reason.RANGE, f"a name of {at - 5} bytes")
        stop = at + 1 + value[at]
        type = _read_type(value[at + 1 : stop])
        at = stop
        while at < end:
            middle = at + 1 + value[at]
            stop = middle + 1 + value[middle]
            if not 1 < middle - at <= MAX_ATTRIBUTE_KEY + 1:
                _reject(Reason.RANGE, f"an attribute key of {middle - at - 1} bytes")
            attributes[value[at + 1 : middle].decode()] = value[middle + 1 : stop].decode()
            count += 1
            at = stop
    except IndexError:
        at = end + 1
    except UnicodeDecodeError:
        _reject(Reason.TEXT, "a text is not UTF-8")
    if at > end:
        _reject(Reason.TRUNCATED, "a service ends in the middle of a text")
    if count > MAX_ATTRIBUTES:
        _reject(Reason.TOO_MANY, f"a service with {count} attributes")
    if count != len(attributes):
        _reject(Reason.DUPLICATE, "a service has an attribute twice")
    return Service.unchecked(name, type, port, attributes)


@lru_cache(maxsize=256)
def _read_type(value: bytes) -> str:
    """The types on a LAN are few, and looking one up is faster than checking it."""
    if not _TYPE.fullmatch(value):
        _reject(Reason.TEXT, "a service type has other signs than a-z, 0-9, _, . and -")
    return value.decode()
