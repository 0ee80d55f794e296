"""A process of a simulated host: one machine, its sockets, and the time that reading takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from bcast.datagram import Datagram, Endpoint, Family, IPAddress
from bcast.machine import Attached, Door, Doorway, Machine, Outgoing, Received
from bcast.simnet.flight import Flight, datagram_cost
from bcast.simnet.timeline import Timeline
from bcast.simnet.trace import Fate

if TYPE_CHECKING:
    from bcast.simnet.host import Host, Link

__all__ = ["Process"]

EventT = TypeVar("EventT")

#: Datagrams that are read in one go, and from how many on the rate of it is told.
_BATCH = 64
_MEASURED = 8
#: Bytes of a common reply, in which capacities are told.
_COMMON = 150
#: How often a timer may be due again at once. More is a machine that would keep its driver busy
#: for good, and made-up time from going on.
_SPINS = 1_000


class _Socket:
    """A socket's receive buffer, as Linux keeps its accounts (udp_rmem_release).

    The memory of what was read is given back when nothing is left to read, or when it makes a
    quarter of the buffer.
    """

    __slots__ = ("_owed", "_reader", "_used", "_waiting", "is_open", "port")

    def __init__(self, reader: _Reader, port: int) -> None:
        self._reader = reader
        self.port = port
        self.is_open = True
        self._used = 0
        self._waiting = 0
        self._owed = 0

    def arrive(self, flight: Flight, now: float) -> None:
        if not self.is_open:
            return
        reader = self._reader
        process = reader.process
        if flight.version == 4:
            source, destination = flight.source, flight.destination
        else:
            source, destination = flight.ends(reader.link.interface)
        datagram = Datagram(
            flight.payload,
            source,
            destination,
            reader.link.interface,
            int(now * 1e9) + reader.link.host.clock_ns,
            flight.ttl,
        )
        fate = Fate.RECEIVED
        if process.is_reading or process.busy_until > now:
            cost = flight.cost
            if self._used + cost <= reader.link.buffer:
                self._used += cost
                self._waiting += 1
                reader.queue.append((self, cost, datagram))
                process.expect_reading()
            else:
                fate = Fate.DROPPED
                reader.drops += 1
                process.drops += 1
        else:
            process.take(reader, datagram, now)
        if (trace := process.trace) is not None:
            trace.add(now, reader.link, flight, fate)

    def read(self, cost: int) -> None:
        """Accounts for a datagram of that cost that was read."""
        self._waiting -= 1
        self._owed += cost
        if not self._waiting or self._owed >= self._reader.link.buffer // 4:
            self._used -= self._owed
            self._owed = 0


class _Reader:
    """The sockets of one process on one link, and what waits in them, oldest first."""

    __slots__ = (
        "attached",
        "drops",
        "heard",
        "link",
        "process",
        "queue",
        "rate",
        "sockets",
        "ways",
    )

    def __init__(self, process: Process[Any], link: Link, doors: Iterable[Door]) -> None:
        self.process = process
        self.link = link
        self.queue: deque[tuple[_Socket, int, Datagram]] = deque()
        self.drops = 0
        self.rate = 0.0
        # Families are the numbers of their IP versions.
        self.sockets: list[tuple[int, _Socket]] = []
        #: Groups (None: the broadcast addresses) and the sockets that hear them.
        self.heard: list[tuple[IPAddress | None, _Socket]] = []
        #: What is sent from, by door and family.
        self.ways: dict[tuple[int, int], tuple[_Socket, Endpoint]] = {}
        doorways = []
        for door in doors:
            for address in link.interface.addresses:
                family = address.family
                port = door.port or link.host.ephemeral_port()
                socket = _Socket(self, port)
                self.sockets.append((family, socket))
                if door.port:
                    joined = [group.address for group in door.groups if group.family is family]
                    self.heard += [(group, socket) for group in joined]
                    if family is Family.IPV4:
                        self.heard.append((None, socket))
                if door.sends:
                    self.ways[door.port, family] = socket, Endpoint(address.address, port)
                doorways.append(Doorway(door.port, family, port))
        families = tuple(dict.fromkeys(doorway.family for doorway in doorways))
        capacity = link.buffer // datagram_cost(_COMMON)
        told = tuple(doorways) if process.has_doors else ()
        self.attached = Attached(link.interface, families, capacity, told)


class Process(Generic[EventT]):
    """A machine that runs on a host; `Host.run` starts one.

    ``machine``; ``events``: what it said so far, each with the time. ``received`` counts the
    datagrams that it was given, ``drops`` those for which its receive buffers had no room.
    """

    def __init__(
        self,
        timeline: Timeline,
        host: Host,
        machine: Machine[EventT],
        *,
        doors: tuple[Door, ...],
        has_doors: bool,
        ttl: int,
        listens: bool,
    ) -> None:
        self.host = host
        self.machine = machine
        self.events: list[tuple[float, EventT]] = []
        self.received = 0
        self.drops = 0
        #: For the sockets: whether there is something to read, and until when nothing can be.
        self.is_reading = False
        self.busy_until = 0.0
        self.trace = timeline.trace
        #: Whether the machine knows of its doors, and names them.
        self.has_doors = has_doors
        self._timeline = timeline
        self._doors = doors
        self._ttl = ttl
        self._listens = listens
        self._running = True
        self._readers: dict[int, _Reader] = {}
        self._armed = inf
        self._spins = 0
        self._spun = -1.0

    def __repr__(self) -> str:
        return f"<Process {type(self.machine).__name__} on {self.host.name}>"

    @property
    def is_running(self) -> bool:
        return self._running

    def stop(self) -> None:
        """Ends the process, as a kill does: without a word."""
        self._running = False
        for link in self.host.links:
            self._close(link)
        self.host.forget(self)

    def call(self, function: Callable[[float], object]) -> None:
        """Calls ``function(now)`` in the process, and then does what the machine wants done.

        For all that a program tells its machine: a new state, a goodbye. At once, or as soon as
        the process has read what it is reading and isn't frozen.
        """
        if not self._running:
            return
        now = self._timeline.now
        if self.is_reading or self.busy_until > now:
            self._timeline.push(max(now, self.busy_until), self.call, function)
            return
        function(now)
        self._afterwards(now)

    # --- links

    def start(self) -> None:
        """Opens the sockets on all links that are up, and tells the machine."""
        for link in self.host.links:
            if link.is_up:
                self._open(link)
        self.call(self._tell_interfaces)

    def link_changed(self, link: Link) -> None:
        """Follows a link that went up or down."""
        if link.is_up:
            self._open(link)
        else:
            self._close(link)
        self.call(self._tell_interfaces)

    def _open(self, link: Link) -> None:
        self._readers[link.interface.index] = reader = _Reader(self, link, self._doors)
        for family, socket in reader.sockets:
            link.bind(family, socket.port, socket)
        if self._listens:
            for key, socket in reader.heard:
                link.segment.join(link, socket, key, socket.port)

    def _close(self, link: Link) -> None:
        reader = self._readers.pop(link.interface.index, None)
        if reader is None:
            return
        for family, socket in reader.sockets:
            socket.is_open = False
            link.unbind(family, socket.port, socket)
        if self._listens:
            for key, socket in reader.heard:
                link.segment.leave(link, socket, key, socket.port)
        reader.queue.clear()

    def _tell_interfaces(self, now: float) -> None:
        attached = [reader.attached for _, reader in sorted(self._readers.items())]
        self.machine.interfaces_changed(attached, now)

    # --- reading

    def take(self, reader: _Reader, datagram: Datagram, now: float) -> None:
        """Reads the datagram that wakes up a process which had nothing to do.

        Nothing that happens until it is read and handled can reach the machine, so all this is
        done at once; only what the machine sends leaves when that time is over.
        """
        self.received += 1
        drops, reader.drops = reader.drops, 0
        self.machine.receive_datagrams(
            Received(reader.attached.interface, (datagram,), drops, True, reader.rate), now
        )
        self.busy_until = done = now + reader.link.read_time
        self._afterwards(done)

    def expect_reading(self) -> None:
        """Something was put into a receive buffer: it is read as soon as there is time."""
        if not self.is_reading:
            self.is_reading = True
            self._timeline.push(self.busy_until, self._read)

    def freeze(self, until: float) -> None:
        """Does nothing until then, whatever arrives and is due."""
        self.busy_until = max(self.busy_until, until)

    def _read(self, _: None = None) -> None:
        if self._postponed(self._read, None):
            return
        now = self._timeline.now
        for reader in self._readers.values():
            if reader.queue:
                break
        else:
            self.is_reading = False
            self._handle_due()
            return
        if len(self._readers) > 1:
            # The next time it is the next interface's turn.
            index = reader.link.interface.index
            self._readers[index] = self._readers.pop(index)
        datagrams = []
        take = reader.queue.popleft
        for _count in range(min(_BATCH, len(reader.queue))):
            socket, cost, datagram = take()
            socket.read(cost)
            datagrams.append(datagram)
        self.busy_until = now + len(datagrams) * reader.link.read_time
        self._timeline.push(self.busy_until, self._hand_over, (reader, datagrams, now))

    def _hand_over(self, batch: tuple[_Reader, list[Datagram], float]) -> None:
        if self._postponed(self._hand_over, batch):
            return
        reader, datagrams, woken = batch
        if self._readers.get(reader.link.interface.index) is reader:
            if len(datagrams) >= _MEASURED:
                reader.rate = reader.link.drain
            drops, reader.drops = reader.drops, 0
            drained = not reader.queue
            self.received += len(datagrams)
            self.machine.receive_datagrams(
                Received(reader.attached.interface, datagrams, drops, drained, reader.rate), woken
            )
        # Sees to what is due if there is nothing left to read on any interface.
        self._read()

    def _postponed(self, function: Callable[[Any], None], argument: Any) -> bool:
        if not self._running:
            return True
        if self.busy_until > self._timeline.now:
            self._timeline.push(self.busy_until, function, argument)
            return True
        return False

    # --- timers, sending, events

    def _wake(self, armed: float) -> None:
        if armed != self._armed:
            return  # an earlier time was asked for since, and has been kept
        self._armed = inf
        if not self._running or self.is_reading:
            return
        if self.busy_until > self._timeline.now:
            self._arm(self.busy_until)
            return
        self._handle_due()

    def _handle_due(self) -> None:
        now = self._timeline.now
        due = self.machine.get_timer()
        if due is not None and due <= now:
            self._count_spins(now)
            self.machine.handle_timer(now)
        self._afterwards(now)

    def _count_spins(self, now: float) -> None:
        if now > self._spun:
            self._spun, self._spins = now, 0
        self._spins += 1
        if self._spins > _SPINS:
            raise RuntimeError(
                f"{type(self.machine).__name__} on {self.host.name} wants its timer handled at "
                f"{now:.6f} s again and again: handle_timer must set a later one"
            )

    def _afterwards(self, now: float) -> None:
        machine = self.machine
        if outgoing := machine.datagrams_to_send(now):
            self._timeline.push(now, self._send, outgoing)
        while (event := machine.next_event()) is not None:
            self.events.append((now, event))
        if (due := machine.get_timer()) is not None and due < self._armed:
            self._arm(max(due, now))

    def _arm(self, time: float) -> None:
        self._armed = time
        self._timeline.push(time, self._wake, time)

    def _send(self, outgoing: list[Outgoing]) -> None:
        if not self._running:
            return
        for payload, index, destination, door in outgoing:
            reader = self._readers.get(index)
            way = None if reader is None else reader.ways.get((door, destination.address.version))
            if reader is not None and way is not None:
                reader.link.transmit(way[1], destination, payload, self._ttl)
