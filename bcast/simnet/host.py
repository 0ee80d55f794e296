"""A host, its links, and who listens on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from bcast.datagram import Datagram, Endpoint, Family, Group, Interface, IPAddress
from bcast.errors import ArgumentError
from bcast.machine import Door, Machine
from bcast.simnet.addressing import check_port, check_ttl, group_addresses, new_interface
from bcast.simnet.faults import check_chance
from bcast.simnet.flight import LARGEST_COST, Flight, Receiving
from bcast.simnet.process import Process
from bcast.simnet.timeline import Timeline
from bcast.simnet.trace import Fate

if TYPE_CHECKING:
    from bcast.simnet.segment import Segment

__all__ = ["Host", "Link", "Listener"]

EventT = TypeVar("EventT")

#: Bytes of receive buffer that Linux grants to everybody (twice the 212,992 of rmem_max).
_BUFFER = 425_984
#: Where ephemeral ports begin (Linux' ip_local_port_range), and how many there are.
_EPHEMERAL = 32_768
_EPHEMERAL_COUNT = 28_232
#: Nanoseconds since 1970 UTC at which all clocks begin: 2026-01-01.
_EPOCH_NS = 1_767_225_600 * 10**9
#: The index of a host's first interface; 1 would be its loopback interface.
_FIRST_INDEX = 2


class Listener:
    """Raw bytes for a function: no machine, no buffer, no time. `Link.listen` makes one."""

    def __init__(
        self,
        link: Link,
        port: int,
        function: Callable[[Datagram], None],
        groups: tuple[IPAddress, ...],
    ) -> None:
        self._link = link
        self._port = port
        self._function = function
        self._groups = groups
        self._open = True
        self._families = tuple(address.family for address in link.interface.addresses)
        for family in self._families:
            link.bind(family, port, self)
        for group in self._heard():
            link.segment.join(link, self, group, port)

    def _heard(self) -> Iterable[IPAddress | None]:
        yield from self._groups
        if Family.IPV4 in self._families:
            yield None

    def arrive(self, flight: Flight, now: float) -> None:
        link = self._link
        if not self._open or not link.is_up:
            return
        link.trace(flight, Fate.RECEIVED)
        source, destination = flight.ends(link.interface)
        time_ns = int(now * 1e9) + link.host.clock_ns
        datagram = Datagram(
            flight.payload, source, destination, link.interface, time_ns, flight.ttl
        )
        self._function(datagram)

    def close(self) -> None:
        """Listens no more."""
        if self._open:
            self._open = False
            for family in self._families:
                self._link.unbind(family, self._port, self)
            for group in self._heard():
                self._link.segment.leave(self._link, self, group, self._port)


class Link:
    """A host's connection to a segment; `Host.connect` makes one.

    ``host``, ``segment``, ``interface`` (as machines are told it), ``buffer`` (bytes of receive
    buffer of each socket), ``drain`` (datagrams a second that a process reads and handles),
    ``loss`` (a chance of its own, besides the segment's), ``is_up``.
    """

    def __init__(
        self,
        timeline: Timeline,
        host: Host,
        segment: Segment,
        interface: Interface,
        *,
        buffer: int,
        drain: float,
        loss: float,
    ) -> None:
        self.host = host
        self.segment = segment
        self.interface = interface
        self.buffer = buffer
        self.drain = drain
        self.read_time = 1 / drain
        self.loss = loss
        self.is_up = True
        self._timeline = timeline
        self._limits = {int(family): interface.payload_limit(family) for family in Family}
        self._sockets: dict[tuple[int, int], list[Receiving]] = {}

    def __repr__(self) -> str:
        return f"<Link {self.interface.name} of {self.host.name} to {self.segment.name}>"

    def address(self, family: Family = Family.IPV4) -> IPAddress:
        """Its first address of a family. Raises `ArgumentError` if it has none."""
        for address in self.interface.addresses_of(family):
            return address.address
        raise ArgumentError(
            f"{self.interface.name} of {self.host.name} has no IPv{family:d} address",
            "give the family to the segment",
        )

    def down(self) -> None:
        """Pulls the cable: sockets are closed, what they hold is lost, machines are told."""
        if self.is_up:
            self.is_up = False
            self.host.link_changed(self)

    def up(self) -> None:
        """Plugs it in again; the own sockets have new ports."""
        if not self.is_up:
            self.is_up = True
            self.host.link_changed(self)

    # --- raw datagrams

    def send(
        self,
        payload: bytes,
        destination: Endpoint,
        *,
        source: Endpoint | None = None,
        ttl: int = 255,
    ) -> None:
        """Sends any bytes, now, from any source endpoint, forged ones too.

        Without ``source``: from its own address and an ephemeral port. Raises `ArgumentError` if
        the families don't fit or a port, or the TTL (0..255), is out of range.
        """
        family = Family(destination.address.version)
        if source is None:
            source = Endpoint(self.address(family), self.host.ephemeral_port())
        if source.address.version != family:
            raise ArgumentError(
                f"{source} and {destination} are of two families", "use addresses of one"
            )
        check_port(source.port)
        check_port(destination.port)
        check_ttl(ttl)
        self.transmit(source, destination, payload, ttl)

    def listen(
        self,
        port: int,
        function: Callable[[Datagram], None],
        groups: Iterable[Group | IPAddress | str] = (),
    ) -> Listener:
        """Has ``function`` called with all that arrives for the port, whatever its destination.

        Raises `ArgumentError` for what is no group or port.
        """
        check_port(port)
        listener = Listener(self, port, function, group_addresses(groups))
        self.host.keep(listener)
        return listener

    # --- for sockets

    def transmit(self, source: Endpoint, destination: Endpoint, payload: bytes, ttl: int) -> None:
        """Sends a datagram if that can be done."""
        if self.is_up and len(payload) <= self._limits[destination.address.version]:
            self.segment.transmit(self, source, destination, payload, ttl)
        else:
            self.trace(Flight(self, source, destination, payload, ttl), Fate.UNSENT)

    def trace(self, flight: Flight, fate: Fate) -> None:
        if (trace := self._timeline.trace) is not None:
            trace.add(self._timeline.now, self, flight, fate)

    def bind(self, family: int, port: int, socket: Receiving) -> None:
        self._sockets.setdefault((family, port), []).append(socket)

    def unbind(self, family: int, port: int, socket: Receiving) -> None:
        bound = self._sockets[family, port]
        bound.remove(socket)
        if not bound:
            del self._sockets[family, port]

    def socket(self, version: int, port: int) -> Receiving | None:
        """The one that a unicast datagram reaches: of several, that which was bound last."""
        bound = self._sockets.get((version, port))
        return bound[-1] if bound else None


class Host:
    """A simulated host; `Lan.host` makes one.

    ``name``; ``links``; ``processes``; ``random``: made of the LAN's seed and the host's name,
    for its machines. ``clock_ns``: what its clock showed when the LAN's time was 0.
    """

    def __init__(self, timeline: Timeline, name: str, seed: int) -> None:
        self.name = name
        self.links: list[Link] = []
        self.processes: list[Process[Any]] = []
        self.clock_ns = _EPOCH_NS
        self._timeline = timeline
        self._seed = seed
        self._random: Random | None = None
        self._ports = 0
        self._listeners: list[Listener] = []

    def __repr__(self) -> str:
        return f"<Host {self.name}>"

    @property
    def random(self) -> Random:
        if self._random is None:
            self._random = Random(f"{self._seed} {self.name}")
        return self._random

    def connect(
        self,
        segment: Segment,
        address: str | IPAddress | None = None,
        name: str | None = None,
        *,
        buffer: int = _BUFFER,
        drain: float = 20_000.0,
        loss: float = 0.0,
    ) -> Link:
        """Gives the host an interface on a segment; machines that run are told at once.

        ``address``: IPv4, within the segment's network; None: the next free one (a link-local IPv6
        address follows from it). ``name``: None counts eth0, eth1..., or wlan0. ``buffer``: bytes,
        2,304 (what the largest datagram costs) or more. ``drain``: datagrams a second, above 0.
        ``loss``: 0..1. Raises `ArgumentError`.
        """
        if buffer < LARGEST_COST:
            raise ArgumentError(
                f"a receive buffer of {buffer} bytes doesn't hold a datagram",
                f"use {LARGEST_COST} or more",
            )
        if not 0 < drain < inf:
            raise ArgumentError(f"{drain} datagrams a second", "use more than 0")
        check_chance("loss", loss)
        index = _FIRST_INDEX + len(self.links)
        taken = {link.interface.name for link in self.links}
        interface = new_interface(segment, address, name, index, taken)
        link = Link(
            self._timeline, self, segment, interface, buffer=buffer, drain=drain, loss=loss
        )
        segment.add(link)
        self.links.append(link)
        self.link_changed(link)
        return link

    def run(
        self,
        machine: Machine[EventT],
        *,
        port: int = 0,
        groups: Iterable[Group | IPAddress | str] = (),
        doors: Iterable[Door] = (),
        ttl: int = 255,
        listens: bool = True,
    ) -> Process[EventT]:
        """Runs a machine on all links of the host, from now on.

        On each it shares ``port`` with others (unicast reaches the one that came last), is in
        ``groups``, and sends from an own port; or, instead of that, it has ``doors``.
        ``listens=False``: what goes to groups or by broadcast doesn't reach it, which saves the
        work where nobody would care. ``ttl``: 0..255. Raises `ArgumentError`.
        """
        check_ttl(ttl)
        given = tuple(doors)
        if not given:
            check_port(port)
            joined = tuple(map(Group, group_addresses(groups)))
        process = Process(
            self._timeline,
            self,
            machine,
            doors=given or (Door(port, joined, sends=False), Door()),
            has_doors=bool(given),
            ttl=ttl,
            listens=listens,
        )
        self.processes.append(process)
        process.start()
        return process

    def stop(self) -> None:
        """Switches the host off: all its processes and listeners end, without a word.

        It may `run` others later: that is a restart.
        """
        for process in tuple(self.processes):
            process.stop()
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    def freeze(self, seconds: float) -> None:
        """Keeps its processes from running for so long (0 or more); receive buffers fill."""
        if not 0 <= seconds < inf:
            raise ArgumentError(f"a stall of {seconds} s", "use 0 or more")
        for process in self.processes:
            process.freeze(self._timeline.now + seconds)

    def jump_clock(self, seconds: float) -> None:
        """Sets its clock, and so the times of its datagrams, forward, or back if negative."""
        self.clock_ns += round(seconds * 1e9)

    # --- for its links and processes

    def link_changed(self, link: Link) -> None:
        for process in tuple(self.processes):
            process.link_changed(link)

    def ephemeral_port(self) -> int:
        self._ports += 1
        return _EPHEMERAL + (self._ports - 1) % _EPHEMERAL_COUNT

    def keep(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def forget(self, process: Process[Any]) -> None:
        if process in self.processes:
            self.processes.remove(process)
