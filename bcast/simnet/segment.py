"""A segment: one broadcast domain, who is on it, and the way of a datagram across it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple

from bcast.datagram import Endpoint, Family, IPAddress
from bcast.errors import ArgumentError
from bcast.simnet.faults import Faults, Weather, chosen
from bcast.simnet.flight import Flight, Listeners, Receiving, Transmission
from bcast.simnet.timeline import Timeline
from bcast.simnet.trace import Fate
from bcast.simnet.wifi import Air, WifiMode

if TYPE_CHECKING:
    from bcast.simnet.host import Host, Link

__all__ = ["Segment"]

#: Seconds for which a reordered datagram is held back, at least and at most.
_HELD_BACK = (0.001, 0.010)
#: 255.255.255.255 (RFC 919).
_ALL_HOSTS = 0xFFFFFFFF
#: Bytes of IP and UDP headers, by version.
_HEADERS = {4: 28, 6: 48}
#: How many delays there are between the shortest and the longest: one byte is drawn for each.
_STEPS = 256


class _Spread(NamedTuple):
    """When a datagram reaches each listener: seconds after ``start``, and in which order."""

    start: float
    listeners: Listeners
    delays: list[float]
    order: list[int]


class Segment:
    """A broadcast domain; `Lan.segment` makes one.

    ``faults`` (a `Faults`) may be replaced at any time. ``datagrams`` and ``bytes`` count what was
    sent on it so far: a datagram to a group once, bytes of payload.
    """

    def __init__(
        self,
        timeline: Timeline,
        name: str,
        network: IPv4Network,
        families: tuple[Family, ...],
        faults: Faults,
        wifi: WifiMode | None,
    ) -> None:
        self.name = name
        self.network = network
        self.families = families
        self.faults = faults
        self.wifi = wifi
        self.datagrams = 0
        self.bytes = 0
        self._timeline = timeline
        self._air = Air(wifi, timeline) if wifi else None
        self._owners: dict[tuple[int, int], Link] = {}
        self._listeners: dict[tuple[int, int, int], Listeners] = {}
        self._sides: dict[Host, int] = {}
        self._broadcasts = {_ALL_HOSTS, int(network.broadcast_address)}
        self._observers: list[Callable[[Transmission], None]] = []
        self._weathers: dict[Link, Weather] = {}
        #: How the last datagram of a sender to all was spread, if it may be under way still.
        self._spreads: dict[Link, _Spread] = {}
        #: When the last unicast datagram of a sender arrives: the next one isn't earlier.
        self._arrivals: dict[Link, float] = {}
        self._next = int(network.network_address) + 1
        self._lossy_links = False

    # --- who is on it

    def add(self, link: Link) -> None:
        """Gives the addresses of a link to it. Raises `ArgumentError` if one is taken."""
        for address in link.interface.addresses:
            key = (address.address.version, int(address.address))
            if key in self._owners:
                owner = self._owners[key]
                raise ArgumentError(
                    f"{address.address} is taken on {self.name} by {owner.host.name}",
                    "give each link an address of its own",
                )
        for address in link.interface.addresses:
            self._owners[address.address.version, int(address.address)] = link
        self._lossy_links |= link.loss > 0

    def free_address(self) -> IPv4Address:
        """The next host address of its network that no link has. Raises `ArgumentError`."""
        while self._next < int(self.network.broadcast_address):
            number, self._next = self._next, self._next + 1
            if (4, number) not in self._owners:
                return IPv4Address(number)
        raise ArgumentError(
            f"all addresses of {self.network} are taken on {self.name}",
            "give the segment a larger network",
        )

    def join(self, link: Link, socket: Receiving, address: IPAddress | None, port: int) -> None:
        """Has a socket hear what is sent to a group; None: to the broadcast addresses."""
        key = _key(address, port)
        self._listeners.setdefault(key, Listeners()).add(link, socket)

    def leave(self, link: Link, socket: Receiving, address: IPAddress | None, port: int) -> None:
        """Undoes `join`."""
        self._listeners[_key(address, port)].remove(link, socket)

    # --- what happens to it

    def partition(self, *sides: Iterable[Host]) -> None:
        """Keeps hosts of one side from hearing those of another. The rest hears everybody.

        Raises `ArgumentError` if a host is on two sides. Replaces an earlier partition.
        """
        placed: dict[Host, int] = {}
        for number, hosts in enumerate(sides):
            for host in hosts:
                if placed.setdefault(host, number) != number:
                    raise ArgumentError(
                        f"{host.name} can't be on two sides of {self.name}",
                        "name each host once, or leave it out to have it hear both",
                    )
        self._sides = placed

    def heal(self) -> None:
        """Ends a partition. What was sent before it ended and arrives after it is heard."""
        self._sides = {}

    def observe(self, observer: Callable[[Transmission], None]) -> None:
        """Has ``observer`` called with every datagram that is sent, when it is sent."""
        self._observers.append(observer)

    # --- the way of a datagram

    def transmit(
        self, sender: Link, source: Endpoint, destination: Endpoint, payload: bytes, ttl: int
    ) -> None:
        """Sends a datagram; what it does to its receivers comes later, by the timeline."""
        flight = Flight(sender, source, destination, payload, ttl)
        timeline = self._timeline
        self.datagrams += 1
        self.bytes += len(payload)
        self._trace(flight, sender, Fate.SENT)
        for observer in self._observers:
            observer(Transmission(timeline.now, sender, source, destination, payload, ttl))
        address = destination.address
        number = int(address)
        broadcast = address.version == 4 and number in self._broadcasts
        if broadcast or address.is_multicast:
            key = (address.version, _ALL_HOSTS if broadcast else number, destination.port)
            flight.listeners = self._listeners.get(key)
            timeline.push(timeline.now, self._loop_back, flight)
            self._depart(flight, self._to_all)
            return
        flight.target = target = self._owners.get((address.version, number))
        if target is None:
            self._trace(flight, sender, Fate.NOBODY)
        elif target.host is sender.host:
            flight.decided = True
            timeline.push(timeline.now, self._land, flight)
        else:
            self._depart(flight, self._to_one)

    def _depart(self, flight: Flight, arrive: Callable[[Flight], None]) -> None:
        """The air's part of the way, if there is air: from the station, by the access point."""
        air = self._air
        if air is None:
            arrive(flight)
            return
        random, mode, target = self._timeline.random, air.mode, flight.target
        size = len(flight.payload) + _HEADERS[flight.version]
        tried, arrived = mode.tries(self._loss(flight.sender), random)
        if target is not None:
            flight.decided = True
            if arrived:
                again, arrived = mode.tries(self._loss(target), random)
                tried += again
        then = arrive
        if not arrived:
            then = self._lose
        elif target is None:
            then = partial(air.transmit_to_all, size, self._to_all)
        air.transmit(tried * mode.airtime(size), then, flight)

    def _loss(self, link: Link) -> float:
        """The chance that one attempt to or from a station fails."""
        good = (1 - self.faults.loss) * (1 - link.loss)
        return 1 - good * (1 - self._burst_loss(link))

    def _lose(self, flight: Flight) -> None:
        self._trace(flight, flight.target or flight.sender, Fate.LOST)

    # --- to one

    def _to_one(self, flight: Flight) -> None:
        timeline, faults, sender = self._timeline, self.faults, flight.sender
        random = timeline.random
        low, high = faults.delay
        arrival = timeline.now + low + (high - low) * random.random()
        if not faults.jitter:
            arrival = max(arrival, self._arrivals.get(sender, 0.0))
            self._arrivals[sender] = arrival
        else:
            arrival += random.expovariate(1 / faults.jitter)
        if faults.loss and not flight.decided and random.random() < faults.loss:
            self._lose(flight)
            return
        if faults.duplicate and random.random() < faults.duplicate:
            timeline.push(arrival + (high - low) * random.random(), self._land, flight)
        if faults.reorder and random.random() < faults.reorder:
            arrival += random.uniform(*_HELD_BACK)
        timeline.push(arrival, self._land, flight)

    def _land(self, flight: Flight) -> None:
        link = flight.target
        if link is None:
            return
        if fate := self._trouble(flight, link):
            self._trace(flight, link, fate)
            return
        socket = link.socket(flight.version, flight.destination.port)
        if socket is None:
            self._trace(flight, link, Fate.NOBODY)
        else:
            socket.arrive(flight, self._timeline.now)

    # --- to all who listen

    def _loop_back(self, flight: Flight) -> None:
        """The sending system's own copy, to the sockets that listen on that interface."""
        if (listeners := flight.listeners) is not None:
            position = listeners.positions.get(flight.sender)
            if position is not None:
                for socket in listeners.sockets[position]:
                    socket.arrive(flight, self._timeline.now)

    def _to_all(self, flight: Flight) -> None:
        listeners = flight.listeners
        if listeners is None or not listeners.links:
            return
        if self.faults.loss >= 1:
            # A dead segment costs nothing, so that peers can settle without hearing each other.
            self._trace_lost(flight, listeners, range(len(listeners.links)))
            return
        now = self._timeline.now
        spread = self._spread(flight.sender, listeners, now)
        flight.start = now
        flight.delays = spread.delays
        flight.order = self._sort_out(flight, listeners, spread.order)
        if flight.order:
            first = flight.delays[flight.order[0]]
            flight.place = self._timeline.push(now + first, self._pass_by, flight)

    def _spread(self, sender: Link, listeners: Listeners, now: float) -> _Spread:
        spreads, faults, random = self._spreads, self.faults, self._timeline.random
        count = len(listeners.links)
        low, high = faults.delay
        # Oldest first; those that can't be overtaken any more would only take memory.
        while spreads and now - next(iter(spreads.values())).start > high - low:
            del spreads[next(iter(spreads))]
        last = spreads.pop(sender, None)
        if last is not None and last.listeners is listeners and len(last.order) == count:
            # What one sends in close order arrives in order: after the same delays.
            spread = last._replace(start=now)
        else:
            step = (high - low) / _STEPS
            first = low + step * random.random()
            steps = [first + step * number for number in range(_STEPS)]
            delays = [steps[drawn] for drawn in random.randbytes(count)]
            if faults.jitter:
                rate = 1 / faults.jitter
                delays = [delay + random.expovariate(rate) for delay in delays]
            spread = _Spread(now, listeners, delays, sorted(range(count), key=delays.__getitem__))
        if not faults.jitter:
            spreads[sender] = spread
        return spread

    def _sort_out(self, flight: Flight, listeners: Listeners, order: list[int]) -> list[int]:
        """Takes out of the order who loses the datagram, and who gets it later or twice."""
        faults, timeline = self.faults, self._timeline
        random = timeline.random
        if lost := chosen(random, len(order), faults.loss):
            order, out = _without(order, lost)
            self._trace_lost(flight, listeners, out)
        for index in chosen(random, len(order), faults.duplicate):
            low, high = faults.delay
            position = order[index]
            again = flight.delays[position] + (high - low) * random.random()
            timeline.push(flight.start + again, self._deliver, (flight, position))
        if late := chosen(random, len(order), faults.reorder):
            order, out = _without(order, late)
            for position in out:
                delay = flight.delays[position] + random.uniform(*_HELD_BACK)
                timeline.push(flight.start + delay, self._deliver, (flight, position))
        return order

    def _trace_lost(self, flight: Flight, listeners: Listeners, out: Iterable[int]) -> None:
        if self._timeline.trace is not None:
            for position in out:
                if listeners.sockets[position] and listeners.links[position] is not flight.sender:
                    self._trace(flight, listeners.links[position], Fate.LOST)

    def _pass_by(self, flight: Flight) -> None:
        """Delivers to those whose delay is over, and comes back for the others."""
        listeners = flight.listeners
        if listeners is None:
            return
        now = self._timeline.now
        links, sockets, sender = listeners.links, listeners.sockets, flight.sender
        order, delays, index = flight.order, flight.delays, flight.next
        count, delay = len(order), delays[order[index]]
        careful = self._lossy_links or self._sides or self.faults.burst is not None
        while index < count:
            position = order[index]
            if delays[position] != delay:
                flight.next = index
                time = flight.start + delays[position]
                self._timeline.push(time, self._pass_by, flight, flight.place)
                return
            index += 1
            link = links[position]
            if link is sender:
                continue
            if careful and (fate := self._trouble(flight, link)):
                self._trace(flight, link, fate)
                continue
            for socket in sockets[position]:
                socket.arrive(flight, now)

    def _deliver(self, late: tuple[Flight, int]) -> None:
        flight, position = late
        if (listeners := flight.listeners) is not None:
            link = listeners.links[position]
            if link is flight.sender:
                return
            if fate := self._trouble(flight, link):
                self._trace(flight, link, fate)
                return
            for socket in listeners.sockets[position]:
                socket.arrive(flight, self._timeline.now)

    # --- at the receiving link

    def _trouble(self, flight: Flight, link: Link) -> Fate | None:
        """What keeps a link from hearing, other than the loss that all have in common."""
        sides = self._sides
        if sides:
            here, there = sides.get(link.host), sides.get(flight.sender.host)
            if here is not None and there is not None and here != there:
                return Fate.CUT
        if flight.decided:
            return None
        timeline = self._timeline
        if link.loss and timeline.random.random() < link.loss:
            return Fate.LOST
        chance = self._burst_loss(link)
        return Fate.LOST if chance and timeline.random.random() < chance else None

    def _burst_loss(self, link: Link) -> float:
        model = self.faults.burst
        if model is None:
            return 0.0
        now = self._timeline.now
        weather = self._weathers.get(link)
        if weather is None or weather.model is not model:
            weather = self._weathers[link] = Weather(model, self._timeline.random, now)
        return weather.loss(now)

    def _trace(self, flight: Flight, link: Link, fate: Fate) -> None:
        if (trace := self._timeline.trace) is not None:
            trace.add(self._timeline.now, link, flight, fate)


def _without(order: list[int], indexes: list[int]) -> tuple[list[int], list[int]]:
    """The order without the entries at these indexes, and those entries."""
    kept = bytearray(b"\1") * len(order)
    for index in indexes:
        kept[index] = 0
    return list(compress(order, kept)), [order[index] for index in indexes]


def _key(address: IPAddress | None, port: int) -> tuple[int, int, int]:
    if address is None:
        return 4, _ALL_HOSTS, port
    return address.version, int(address), port
