"""The sockets that one machine has on every interface, and what goes through them.

Layer 5. Per interface and family one shared socket receives what is sent to the port, and one of
its own sends everything and gets the replies, because unicast to a shared port reaches only one
of several processes. A machine that has doors gets one socket for each instead. No clock and no
selector: `bcast.driver` has both.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address
from itertools import groupby

from bcast.channels import Channel, Channels, InterfaceState, News, Notice
from bcast.datagram import Endpoint, Family, Group, Interface, InterfaceFlag, IPAddress
from bcast.destinations import ALL_HOSTS, Destination, targets
from bcast.errors import PortTakenError, SocketError
from bcast.interfaces.wording import shown
from bcast.legs import Leg, leg_beside, leg_to
from bcast.log import INFO, WARNING, log
from bcast.machine import Attached, Door, Doorway, Outgoing
from bcast.outlets import Outlet
from bcast.sockets import open_sender, open_shared
from bcast.sockets.advice import errno_name, socket_error
from bcast.sockets.transfer import (
    SendBatch,
    drop_counter,
    open_batch_sender,
    queue_room,
    send_plainly,
)

__all__ = ["Attachments", "Inlet"]

#: What everything is sent with, and replies are checked for: nothing that was routed has it
#: (RFC 5082).
TTL = 255

# The length of a common reply, which capacities are told in.
_REPLY = 150

# Runs of datagrams to one destination from which on sending them in one call pays.
_RUN = 8

# Destinations whose way is remembered: peers come and go, and a source may be forged.
_LEGS = 1024

# The first group (RFC 5771), and what link-local addresses begin with.
_GROUPS = IPv4Address("224.0.0.0")
_LINK_LOCAL = 0xA9FE

# The socket's own or the interface's queue is full. The datagram is lost, as on the way.
_FULL = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ENOMEM)


class Inlet:
    """A socket that is read from, and what the kernel dropped from it so far."""

    def __init__(self, channel: Channel, opened: socket.socket) -> None:
        self.channel = channel
        self.socket = opened
        self.port: int = opened.getsockname()[1]
        self._count = drop_counter(opened)
        self._counted = 0

    @property
    def counts(self) -> bool:
        """Whether the system counts."""
        return self._count is not None

    def drops(self) -> int:
        """What the kernel dropped since the last call; 0 where it doesn't count."""
        if self._count is None:
            return 0
        before, self._counted = self._counted, self._count()
        return (self._counted - before) & 0xFFFF_FFFF


class Attachments(Channels):
    """All sockets of a machine: opened for what is selected, closed for what is gone.

    ``opened`` is called with each new inlet, ``closing`` with each before it is closed.
    ``door``: they are those of this door, instead of the pair for ``port`` and ``groups``.
    ``ttl``: of what is sent; None: 1 to groups, the system's own to others. ``name``: of whom
    errors are told.
    """

    def __init__(
        self,
        *,
        port: int,
        families: Sequence[Family],
        groups: Sequence[Group],
        include: Sequence[str] | None,
        exclude: Sequence[str] | None,
        buffer: int,
        opened: Callable[[Inlet], object],
        closing: Callable[[Inlet], object],
        door: Door | None = None,
        ttl: int | None = TTL,
        name: str = "",
    ) -> None:
        super().__init__(
            port=port,
            families=families,
            groups=groups,
            include=include,
            exclude=exclude,
            share=True,
            buffer=buffer,
            opened=self._attach,
            closing=self._detach,
            dropped=lambda channel, drops: None,
        )
        self.inlets: dict[socket.socket, Inlet] = {}
        #: Datagrams that the system took, and those that it refused.
        self.sent = self.lost = 0
        self.door = door
        self._ttl = ttl
        self._name = name
        self._announce = opened
        self._withdraw = closing
        self._outlets: dict[tuple[int, Family], Outlet] = {}
        self._legs: dict[tuple[int, Endpoint], Leg | None] = {}
        #: The leg to some IPv4 host, of interfaces with one IPv4 address.
        self._known: dict[int, Leg] = {}
        self._failures: dict[tuple[int, Family], SocketError] = {}
        self._replaced: set[int] = set()
        self._transmit: SendBatch | None = None

    # -- which sockets there are --------------------------------------------------------------

    def _open_sockets(self, interface: Interface, family: Family) -> list[socket.socket]:
        source = self._source(interface, family)
        if source is None or not self._is_routed(interface, family):
            return []
        if self.door is not None:
            return self._open_door(self.door, interface, family, source)
        own = self._open_own(interface, family, source)
        try:
            shared = super()._open_sockets(interface, family)
        except BaseException:
            own.close()
            raise
        self._outlets[interface.index, family] = Outlet(own, interface, source)
        return [own, *shared]

    def _open_own(self, interface: Interface, family: Family, source: IPAddress) -> socket.socket:
        return open_sender(interface, family, source=source, ttl=self._ttl, buffer=self._buffer)

    def _open_door(
        self, door: Door, interface: Interface, family: Family, source: IPAddress
    ) -> list[socket.socket]:
        try:
            if not door.sends:
                return super()._open_sockets(interface, family)
            opened = self._open_to_send(door, interface, family, source)
        except SocketError as error:
            raise _told_of(self._name, error) from error
        self._outlets[interface.index, family] = Outlet(opened, interface, source)
        return [opened]

    def _open_to_send(
        self, door: Door, interface: Interface, family: Family, source: IPAddress
    ) -> socket.socket:
        if door.port:
            try:
                return open_shared(
                    interface,
                    family,
                    source=source,
                    port=door.port,
                    groups=self._groups_of(family),
                    ttl=self._ttl,
                    buffer=self._buffer,
                )
            except PortTakenError:
                if not door.or_any:
                    raise
        return self._open_own(interface, family, source)

    def _source(self, interface: Interface, family: Family) -> IPAddress | None:
        """The address that probes and announcements are sent from."""
        group = self._group(family)
        to = Destination("all-hosts") if group is None else Destination(str(group), group)
        found = targets(interface, to)
        return None if isinstance(found, str) or not found else found[0].source.address

    def _group(self, family: Family) -> IPAddress | None:
        """Where peers of a family meet; None if they do by broadcast only."""
        return next((group.address for group in self._groups if group.family is family), None)

    def _is_routed(self, interface: Interface, family: Family) -> bool:
        """Whether the group can be reached at all; False where it isn't missed.

        Over its loopback interface Linux sends to IPv6 groups only where somebody added a route.
        Raises `SocketError` if there is no such route, and no other family.
        """
        if family is Family.IPV4 or InterfaceFlag.LOOPBACK not in interface.flags:
            return True
        group = self._group(family)
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
                probe.connect((str(group), self._port, 0, interface.index))
        except OSError as error:
            if len(self._families) > 1:
                return False
            raise SocketError(
                f"{interface.name}: the group {group} can't be reached over it",
                "use IPv4 there",
                error=errno_name(error),
                interface=interface.name,
                operation=f"reach {group}",
            ) from error
        return True

    def _is_outdated(self, channel: Channel, family: Family) -> bool:
        if super()._is_outdated(channel, family):
            return True
        outlet = self._outlets.get((channel.interface.index, family))
        # A link that is down keeps its sockets, whatever has become of its addresses meanwhile.
        if outlet is None or channel.interface.blocked:
            return False
        source = self._source(channel.interface, family)
        return source is None or source.packed != outlet.source.packed

    def _attach(self, channel: Channel, opened: socket.socket, extra: bool) -> None:
        inlet = self.inlets[opened] = Inlet(channel, opened)
        self._announce(inlet)

    def _detach(self, closing: socket.socket) -> None:
        if (inlet := self.inlets.pop(closing, None)) is not None:
            self._withdraw(inlet)
        for key, outlet in list(self._outlets.items()):
            if outlet.socket is closing:
                del self._outlets[key]
                self._failures.pop(key, None)

    def close(self, index: int) -> None:
        super().close(index)
        self._replaced.add(index)

    def keep_up(self, news: News, now: float) -> list[Notice]:
        # What leads where may have changed with the interfaces.
        self._legs.clear()
        self._known.clear()
        return super().keep_up(news, now)

    def replaced(self) -> set[int]:
        """Indexes of the interfaces that were closed since the last call."""
        taken, self._replaced = self._replaced, set()
        return taken

    @property
    def attached(self) -> tuple[Attached, ...]:
        """The interfaces that datagrams can go through now."""
        found = []
        for channel in self.by_index.values():
            families = tuple(family for family in self._families if family in channel.sockets)
            if families and not channel.interface.blocked:
                # The first is the one that replies come to.
                own = [channel.sockets[family][0] for family in families]
                capacity = min(queue_room(opened, _REPLY) for opened in own)
                found.append(
                    Attached(channel.interface, families, capacity, self._doorways(channel))
                )
        return tuple(found)

    def _doorways(self, channel: Channel) -> tuple[Doorway, ...]:
        if self.door is None:
            return ()
        return tuple(
            Doorway(self.door.port, family, self.inlets[opened[-1]].port)
            for family, opened in channel.sockets.items()
        )

    @property
    def states(self) -> tuple[InterfaceState, ...]:
        """As `Channels.states`; ``failed`` too where nothing can be sent at present."""
        return tuple(map(self._with_failures, super().states))

    def _with_failures(self, state: InterfaceState) -> InterfaceState:
        channel = self.by_index.get(state.interface.index)
        if channel is None or state.state != "ready":
            return state
        failures = [
            self._failures.get((channel.interface.index, family)) for family in channel.sockets
        ]
        told = next((failure for failure in failures if failure is not None), None)
        if told is None:
            return state
        return InterfaceState(
            state.interface, "ready" if None in failures else "failed", str(told)
        )

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where datagrams are sent from."""
        return tuple(outlet.here for outlet in self._outlets.values())

    def most_queued(self) -> int:
        """How many datagrams can be waiting at most, in all receive buffers together."""
        return sum(queue_room(opened, 1) for opened in self.inlets)

    # -- sending ------------------------------------------------------------------------------

    def send(self, datagrams: Iterable[Outgoing]) -> None:
        """Sends each once; one that can't be sent is counted and is lost, as it may be later."""
        for (index, there), run in groupby(datagrams, lambda o: (o.interface, o.destination)):
            payloads = [outgoing.payload for outgoing in run]
            sent = self._send_to(index, there, payloads)
            self.sent += sent
            self.lost += len(payloads) - sent

    def _send_to(self, index: int, there: Endpoint, payloads: list[bytes]) -> int:
        """Returns how many were sent."""
        leg = self._leg(index, there)
        if leg is None:
            return 0
        key = index, leg.target.source.family
        outlet = self._outlets[key]
        transmit: SendBatch = send_plainly
        if len(payloads) >= _RUN:
            # Few machines ever send so many, and its arrays take their time and room.
            transmit = self._transmit = self._transmit or open_batch_sender()
        sent = 0
        try:
            outlet.prepare(leg)
            fixed = outlet.source == leg.target.source.address
            way = leg.bare if leg.bare and fixed else leg.way
            while sent < len(payloads):
                sent += transmit(outlet.socket, payloads, sent, way)
        except SocketError as error:
            self._fail(key, error)
        except OSError as error:
            if error.errno not in _FULL:
                what = f"send to {there.address}"
                self._fail(key, socket_error(error, what, leg.interface.name))
        else:
            if key in self._failures:
                del self._failures[key]
                name = shown(leg.interface.name)
                log("driver", INFO, "%s: IPv%s can be sent again", name, int(key[1]))
        return sent

    def _fail(self, key: tuple[int, Family], error: SocketError) -> None:
        known = self._failures.get(key)
        if known is None or known.error != error.error:
            log("driver", WARNING, "%s", error)
        self._failures[key] = error

    def _leg(self, index: int, there: Endpoint) -> Leg | None:
        """How to reach a destination; None if it can't be from there now."""
        try:
            return self._legs[index, there]
        except KeyError:
            pass
        leg = self._make_leg(index, there)
        if len(self._legs) >= _LEGS:
            self._legs.clear()
        self._legs[index, there] = leg
        return leg

    def _make_leg(self, index: int, there: Endpoint) -> Leg | None:
        plain = _is_plain(there.address)
        if plain and (known := self._known.get(index)) is not None:
            return leg_beside(known, there)
        channel = self.by_index.get(index)
        family = Family(there.address.version)
        outlet = self._outlets.get((index, family))
        if channel is None or outlet is None:
            return None
        found = targets(channel.interface, _destination(there.address))
        if isinstance(found, str) or not found:
            return None
        leg = leg_to(channel.interface, found[0], there.port)
        if plain and leg is not None and len(channel.interface.addresses_of(family)) == 1:
            self._known[index] = leg
        return leg


def _told_of(name: str, error: SocketError) -> SocketError:
    """The same error with whose it is, where there are several."""
    if not name:
        return error
    told = type(error)(f"{name}: {error.message}", error.advice)
    told.error, told.interface, told.operation = error.error, error.interface, error.operation
    return told


def _is_plain(address: IPAddress) -> bool:
    """Whether it is that of an IPv4 host, and not link-local (RFC 3927)."""
    return (
        isinstance(address, IPv4Address)
        and address < _GROUPS
        and int(address) >> 16 != _LINK_LOCAL
    )


def _destination(address: IPAddress) -> Destination:
    if address == ALL_HOSTS:
        return Destination("all-hosts")
    if isinstance(address, IPv6Address):
        address = IPv6Address(int(address))  # the interface says the scope
    return Destination(str(address), address)
