"""A datagram under way, what it costs, and who may hear it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from bcast.datagram import Endpoint, Family, Interface, address_of

if TYPE_CHECKING:
    from bcast.simnet.host import Link

__all__ = ["LARGEST_COST", "Flight", "Listeners", "Receiving", "Transmission", "datagram_cost"]

#: Bytes of receive buffer that no datagram within an MTU of 1,500 takes more of.
LARGEST_COST = 2304

#: Bytes of receive buffer, by the largest payload over IPv4 that takes no more: what SO_MEMINFO
#: says on the loopback interface of Linux 6.18. The headers of IPv6 leave room for 12 bytes less.
_COSTS = ((197, 832), (645, 1280))
_IPV6_LESS = 12


def datagram_cost(size: int, family: int = Family.IPV4) -> int:
    """Bytes of receive buffer that a payload of ``size`` bytes takes until it is read.

    More than the payload: the system's buffers come in few sizes and have a head of their own.
    """
    needed = size + _IPV6_LESS if family == 6 else size
    for limit, cost in _COSTS:
        if needed <= limit:
            return cost
    return LARGEST_COST


class Transmission(NamedTuple):
    """A datagram as it leaves a link, for those who watch a whole segment."""

    time: float
    link: Link
    source: Endpoint
    destination: Endpoint
    payload: bytes
    ttl: int


class Receiving(Protocol):
    """A socket, as seen from the segment."""

    def arrive(self, flight: Flight, now: float) -> None:
        """Takes a datagram that reached its link."""


class Listeners:
    """Who listens to one group (or to broadcast) on one port: links, and the sockets of each.

    A link keeps its position for good, so that a datagram under way can refer to it.
    """

    __slots__ = ("links", "positions", "sockets")

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.sockets: list[tuple[Receiving, ...]] = []
        self.positions: dict[Link, int] = {}

    def add(self, link: Link, socket: Receiving) -> None:
        position = self.positions.setdefault(link, len(self.links))
        if position == len(self.links):
            self.links.append(link)
            self.sockets.append((socket,))
        else:
            self.sockets[position] = (*self.sockets[position], socket)

    def remove(self, link: Link, socket: Receiving) -> None:
        position = self.positions[link]
        self.sockets[position] = tuple(s for s in self.sockets[position] if s is not socket)


class Flight:
    """One datagram on its way to one link or to all who listen: one entry of the queue."""

    __slots__ = (
        "_scoped",
        "cost",
        "decided",
        "delays",
        "destination",
        "listeners",
        "next",
        "order",
        "payload",
        "place",
        "sender",
        "source",
        "start",
        "target",
        "ttl",
        "version",
    )

    def __init__(
        self, sender: Link, source: Endpoint, destination: Endpoint, payload: bytes, ttl: int
    ) -> None:
        self.sender = sender
        self.source = source
        self.destination = destination
        self.payload = payload
        self.ttl = ttl
        self.version = destination.address.version
        self.cost = datagram_cost(len(payload), self.version)
        self.target: Link | None = None
        self.listeners: Listeners | None = None
        #: Whether the loss was decided before the arrival, as it is on the air.
        self.decided = False
        self.start = 0.0
        self.order: list[int] = []
        self.delays: list[float] = []
        self.next = 0
        #: Its place in the timeline, so that of two that arrive at one time the older is first.
        self.place = 0
        self._scoped: dict[str, tuple[Endpoint, Endpoint]] = {}

    def ends(self, interface: Interface) -> tuple[Endpoint, Endpoint]:
        """Source and destination as they are written where they arrive, with its scope."""
        if self.version == 4:
            return self.source, self.destination
        ends = self._scoped.get(interface.name)
        if ends is None:
            ends = self._scoped[interface.name] = (
                _scoped(self.source, interface),
                _scoped(self.destination, interface),
            )
        return ends


def _scoped(endpoint: Endpoint, interface: Interface) -> Endpoint:
    address = address_of(endpoint.address.packed, interface.name, interface.index)
    return Endpoint(address, endpoint.port)
