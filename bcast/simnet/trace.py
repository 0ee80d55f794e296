"""What became of each datagram, and one digest of it all: same seed, same trace."""

from __future__ import annotations

import enum
import hashlib
from collections import deque
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from bcast.datagram import Endpoint

if TYPE_CHECKING:
    from bcast.simnet.flight import Flight
    from bcast.simnet.host import Link

__all__ = ["Fate", "Trace", "Traced"]


class Fate(enum.StrEnum):
    """What became of a datagram: at its sender (the first two), or at one receiver."""

    SENT = "sent"
    UNSENT = "unsent"  # the link is down, or its MTU too small
    RECEIVED = "received"
    LOST = "lost"
    CUT = "cut"  # the segment is partitioned between the two
    DROPPED = "dropped"  # the receive buffer was full
    NOBODY = "nobody"  # no link has this address, or no socket this port


class Traced(NamedTuple):
    """One line of a trace. ``size``: bytes of payload; ``checksum``: its CRC-32."""

    time: float
    host: str
    interface: str
    source: Endpoint
    destination: Endpoint
    size: int
    checksum: int
    fate: Fate


class Trace:
    """The last ``limit`` lines, and a digest of all lines there ever were.

    The limit keeps the memory of a simulated day, with its millions of datagrams, bounded.
    """

    def __init__(self, limit: int) -> None:
        self.lines: deque[Traced] = deque(maxlen=limit)
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def add(self, time: float, link: Link, flight: Flight, fate: Fate) -> None:
        """Notes what became of a datagram at a link."""
        source, destination = flight.ends(link.interface)
        line = Traced(
            time,
            link.host.name,
            link.interface.name,
            source,
            destination,
            len(flight.payload),
            crc32(flight.payload),
            fate,
        )
        self._hash.update("\t".join(map(str, line)).encode() + b"\n")
        self.lines.append(line)
