"""What native peers say to one another, and the service that one of them offers. Layer 1.

The words are those of WS-Discovery: a *probe* asks who is there and offers what. (In multicast
DNS, RFC 6762 section 8.1, a probe asks whether a name is taken.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Self

from bcast.errors import ArgumentError
from bcast.values import Value

__all__ = [
    "MAX_ATTRIBUTES",
    "MAX_ATTRIBUTE_KEY",
    "MAX_ATTRIBUTE_VALUE",
    "MAX_NAME",
    "MAX_SERVICES",
    "MAX_TYPE",
    "Announcement",
    "Attributes",
    "Beat",
    "Goodbye",
    "Header",
    "Message",
    "Probe",
    "Query",
    "Reply",
    "Service",
    "check_type",
]

#: Lengths in bytes: instance name (UTF-8), service type, attribute key and value.
MAX_NAME = 63
MAX_TYPE = 63
MAX_ATTRIBUTE_KEY = 63
MAX_ATTRIBUTE_VALUE = 255

#: Counts: attributes of a service, services in one part of a peer's state.
MAX_ATTRIBUTES = 64
MAX_SERVICES = 16

_TYPE = re.compile(r"[a-z0-9_.-]{1,63}", re.ASCII)


class Attributes(Mapping[str, str]):
    """An immutable mapping of texts, in the order it was given. Equal to any equal mapping."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self._items = dict(items)

    def __getitem__(self, key: str) -> str:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __reduce__(self) -> tuple[type[Attributes], tuple[dict[str, str]]]:
        return Attributes, (self._items,)

    def __repr__(self) -> str:
        return repr(self._items)


class Service(Value):
    """Something that a peer offers: an instance name, a type, a port and attributes.

    ``name``: 1..63 bytes of UTF-8. ``type``: 1..63 of ``[a-z0-9_.-]``. ``port``: 0..65535, 0
    where there is none. ``attributes``: at most 64; keys 1..63 and values 0..255 bytes of UTF-8.
    Raises `ArgumentError`, which says what doesn't fit and the limit.
    """

    name: str
    type: str
    port: int = 0
    attributes: Mapping[str, str] = Attributes()

    def __init__(
        self, name: str, type: str, port: int = 0, attributes: Mapping[str, str] = Attributes()
    ) -> None:
        _check_text("instance name", name, 1, MAX_NAME)
        check_type(type)
        if not 0 <= port <= 65_535:
            raise ArgumentError(f"{port} is not a port", "use 1 to 65535, or 0 for none")
        if len(attributes) > MAX_ATTRIBUTES:
            raise ArgumentError(
                f"{len(attributes)} attributes are too many", f"use at most {MAX_ATTRIBUTES}"
            )
        for key, value in attributes.items():
            _check_text("attribute key", key, 1, MAX_ATTRIBUTE_KEY)
            _check_text(f"value of attribute {key!r}", value, 0, MAX_ATTRIBUTE_VALUE)
        frozen = attributes if isinstance(attributes, Attributes) else Attributes(attributes)
        super().__init__(name, type, port, frozen)

    @classmethod
    def unchecked(cls, name: str, type: str, port: int, attributes: dict[str, str]) -> Self:
        """A service of values that a decoder has checked already; keeps ``attributes`` itself."""
        frozen = Attributes.__new__(Attributes)
        frozen._items = attributes
        service = cls.__new__(cls)
        values = service.__dict__
        values["name"] = name
        values["type"] = type
        values["port"] = port
        values["attributes"] = frozen
        return service


def check_type(type: str) -> str:
    """Returns ``type`` if it is a service type; raises `ArgumentError` otherwise."""
    if not _TYPE.fullmatch(type):
        raise ArgumentError(
            f"{type!r} is not a service type",
            f"use 1 to {MAX_TYPE} of a-z, 0-9, _, . and -, like _lamp",
        )
    return type


def _check_text(what: str, text: str, least: int, most: int) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise ArgumentError(f"the {what} {text!r} is not text", "use valid UTF-8") from error
    if not least <= size <= most:
        raise ArgumentError(
            f"the {what} has {size} bytes of UTF-8", f"it must have {least} to {most}"
        )


class Header(NamedTuple):
    """What every message begins with.

    ``id``: 16 bytes, in a probe random for its search. ``epoch``: u32, random for each start of
    the peer. ``sequence``: u32, one more for each datagram of this id and epoch. ``realm``: u16,
    0 = none. ``key_id``: 0 = no key, 1..255. ``more``: there are parts that aren't in this one.
    """

    id: bytes
    epoch: int
    sequence: int
    realm: int = 0
    key_id: int = 0
    more: bool = False


class Probe(NamedTuple):
    """Who is there? To the group.

    ``nonce``: u64, new in each round. ``elapsed``: ms since this search began, modulo 65536.
    ``window``: ms over which the answers are to be spread. Asked are the slots ``low`` (0..65535)
    up to, not including, ``high`` (1..65536), of the peers that offer one of ``types`` (at most 8
    32-bit hashes; empty = any) and aren't in ``filter`` (a Bloom filter with ``filter_hashes``
    hash functions; empty = none).
    """

    header: Header
    nonce: int
    elapsed: int = 0
    window: int = 0
    low: int = 0
    high: int = 65_536
    round: int = 0
    types: tuple[int, ...] = ()
    filter: bytes = b""
    filter_hashes: int = 0


class Reply(NamedTuple):
    """Here I am: to whoever sent the probe or query with this ``nonce``.

    ``version`` of the peer's state (u32, not 0); ``interval``: seconds between its beats (1 to
    3600); this is part ``part`` of ``parts`` (1..16) of its services. Without services and with
    ``header.more`` it is the short form: the services are to be asked for.
    """

    header: Header
    nonce: int
    version: int
    interval: int
    part: int = 0
    parts: int = 1
    services: tuple[Service, ...] = ()


class Announcement(NamedTuple):
    """Here I am, with these services: to the group, unasked. Fields as in `Reply`."""

    header: Header
    version: int
    interval: int
    part: int = 0
    parts: int = 1
    services: tuple[Service, ...] = ()


class Beat(NamedTuple):
    """I am still there, in state ``version``, with ``offered`` services: to the group."""

    header: Header
    version: int
    interval: int
    offered: int


class Goodbye(NamedTuple):
    """I am leaving: to the group. Fields as in `Beat`."""

    header: Header
    version: int
    interval: int
    offered: int


class Query(NamedTuple):
    """Are you there, and what do you offer? To one peer, answered by a `Reply`.

    ``known``: the version that is known already, 0 = send all. ``part``: which one is wanted.
    ``reason``: u16, for people who read captures. ``padding``: bytes added so that an answer of
    up to three times the size of the query may be a full part (1 becomes 2, the least there is).
    """

    header: Header
    nonce: int
    known: int = 0
    part: int = 0
    reason: int = 0
    padding: int = 0


Message = Probe | Reply | Announcement | Beat | Goodbye | Query
