"""Runs machines on real sockets: moves their datagrams, wakes their timers, decides nothing.

Layer 5. A `Driver` has sockets, selector and clock, and knows no event loop: whoever runs it
calls `wait`, which blocks, or `turn` whenever `fileno` is readable or `due` has come.
"""

from __future__ import annotations

import selectors
import socket
from collections import ChainMap, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from time import monotonic
from types import TracebackType
from typing import Any, Generic, TypeVar

from bcast.attachments import TTL, Attachments, Inlet
from bcast.channels import InterfaceState, Notice, log_notices, log_selection, news_of
from bcast.datagram import Endpoint, Family, Group, Interface
from bcast.destinations import check_family
from bcast.errors import ArgumentError, BcastError
from bcast.interfaces import InterfaceWatcher, Selection, list_interfaces, listed, select
from bcast.interfaces.wording import shown
from bcast.log import DEBUG, log
from bcast.machine import Attached, Door, Machine
from bcast.sharing import Sharing, unicast
from bcast.sockets import RECEIVE_BUFFER
from bcast.sockets.batch import Batch
from bcast.sockets.transfer import open_reader
from bcast.stations import Station
from bcast.values import Value

__all__ = ["Driver", "Traffic", "families_of"]

EventT = TypeVar("EventT")

# A wake-up reads at most this many datagrams before they are handed over: what is held in memory
# stays bounded under a flood that never lets the queues run empty, and the event loop gets its
# turn.
_DRAIN = 1024

# The rate is measured over so many datagrams at least; fewer are read in no time to speak of.
_MEASURED = 8

# Seconds in one wait at most: selectors take no more than what fits their milliseconds.
_LONGEST = 86_400.0

# Changes of interfaces that nobody asks for; containers may come and go for ever.
_CHANGES = 1024

# What was read for a machine, and from which sockets, by the index of the interface.
_Read = tuple[dict[int, list[Batch]], dict[int, set[Inlet]]]


class Traffic(Value):
    """Counts since a driver was opened.

    ``received`` datagrams of ``bytes`` altogether; ``kernel_drops`` arrived here and found the
    receive buffer full (None where the system doesn't count). ``sent`` were taken by the system,
    ``lost`` refused: buffers full, or no way to go. ``wakeups``: how often it was called upon.
    """

    received: int = 0
    bytes: int = 0
    kernel_drops: int | None = None
    sent: int = 0
    lost: int = 0
    wakeups: int = 0


class Driver(Generic[EventT]):
    """A machine on the sockets of every selected interface, for one thread; and others beside it.

    ``interfaces``, ``exclude`` and ``family`` select as everywhere; ``groups`` (at most one of a
    family) and ``port`` are where peers meet. IPv4 is used without a group too if ``broadcast``.
    Interfaces that go down, are renamed, lose their address, are deleted and created again, or
    appear later and fit the selection, are followed. ``machine`` None: all that there are will be
    added.

    Raises `ArgumentError` for a bad argument, `InterfaceError` if no interface can be used,
    `SocketError` (`PortTakenError`) if no socket could be opened on any.
    """

    def __init__(
        self,
        machine: Machine[EventT] | None,
        *,
        port: int = 0,
        groups: Sequence[Group] = (),
        broadcast: bool = False,
        interfaces: str | Iterable[str] | None = None,
        exclude: str | Iterable[str] | None = None,
        family: Family | int | None = None,
        buffer: int = RECEIVE_BUFFER,
        clock: Callable[[], float] = monotonic,
        list_interfaces: Callable[[], tuple[Interface, ...]] = list_interfaces,
    ) -> None:
        self._clock = clock
        self._counts = self._closed = False
        self._buffer = buffer
        self._include, self._exclude = listed(interfaces), listed(exclude)
        families = () if machine is None else families_of(groups, broadcast, family)
        self._only = check_family(family)
        self._changes: deque[Notice] = deque(maxlen=_CHANGES)
        self._stations: list[Station] = []
        self._owners: dict[Inlet, Station] = {}
        self._sharing = Sharing()
        self._rate = 0.0
        self._received = self._bytes = self._drops = self._wakeups = 0
        #: Datagrams read since there was last nothing left to read.
        self._backlog = 0
        self._interfaces: ChainMap[int, Interface] = ChainMap()
        with ExitStack() as opened:
            self._selector = opened.enter_context(selectors.DefaultSelector())
            self._watcher = InterfaceWatcher(now=clock(), list_interfaces=list_interfaces)
            opened.callback(self._watcher.close)
            if self._watcher.fileno() >= 0:
                self.watch(self._watcher.fileno(), self._watcher.wake)
            opened.callback(self._close_stations)
            self._read = open_reader(self._interfaces)
            self._selection = select(self._watcher.interfaces, self._include, self._exclude)
            if machine is not None:
                station = Station(machine)
                station.add(self._new_attachments(station, port, families, groups))
                self._start(station)
                station.doors[0].raise_if_none()
                log_selection("driver", self._selection, station.doors[0].states)
                self._begin(station)
            self._opened = opened.pop_all()

    def add(
        self,
        machine: Machine[Any],
        doors: Iterable[Door],
        *,
        families: Sequence[Family] = (Family.IPV4,),
        ttl: int | None = None,
        name: str = "",
    ) -> None:
        """Runs another machine side by side with the others, with a socket for each of its doors.

        One without doors has sockets that somebody else looks after, see `watch`.
        ``families``, as far as the driver has them. ``ttl`` of what it sends: None is 1 to groups
        and the system's own to others. Doors that can't be opened are told by `changes`, as those
        of ``name``, and tried again; see `raise_if_none`.
        """
        wanted = [family for family in families if self._only in (None, family)]
        station = Station(machine, wanted)
        for door in doors:
            station.add(
                self._new_attachments(station, door.port, wanted, door.groups, door, ttl, name)
            )
        self._start(station)
        self._begin(station)

    def _new_attachments(
        self,
        station: Station,
        port: int,
        families: Sequence[Family],
        groups: Sequence[Group],
        door: Door | None = None,
        ttl: int | None = TTL,
        name: str = "",
    ) -> Attachments:
        made = Attachments(
            port=port,
            families=families,
            groups=groups,
            include=self._include,
            exclude=self._exclude,
            buffer=self._buffer,
            opened=lambda inlet: self._register(station, inlet),
            closing=self._unregister,
            door=door,
            ttl=ttl,
            name=name,
        )
        self._interfaces.maps.append(made.interfaces)
        return made

    def _start(self, station: Station) -> None:
        self._stations.append(station)
        self._changes += log_notices("driver", station.open(self._chosen(), self._clock()))

    def _chosen(self) -> tuple[Interface, ...]:
        """The interfaces that fit the selection now."""
        there = self._watcher.interfaces
        return select(there, self._include, self._exclude, require=False).chosen

    def _begin(self, station: Station) -> None:
        self._flush(station, station.tell(self._clock))

    def _close_stations(self) -> None:
        for station in self._stations:
            station.close()

    def raise_if_none(self, *, every_door: bool = False) -> None:
        """Raises why no socket could be opened for any machine, or for one of the doors, if so."""
        errors: list[BcastError] = []
        for station in self._stations:
            if not station.doors:
                return
            for door in station.doors:
                try:
                    door.raise_if_none()
                except BcastError as error:
                    errors.append(error)
                else:
                    if not every_door:
                        return
        if errors:
            raise errors[0]

    def _register(self, station: Station, inlet: Inlet) -> None:
        self._counts = self._counts or inlet.counts
        self._owners[inlet] = station
        self._sharing.add(inlet, station)
        self._selector.register(inlet.socket, selectors.EVENT_READ, inlet)

    def _unregister(self, inlet: Inlet) -> None:
        if inlet.socket in self._selector.get_map():
            self._selector.unregister(inlet.socket)
        self._sharing.remove(inlet)
        if (station := self._owners.pop(inlet, None)) is not None:
            self._drops += station.note_drops(inlet)

    # -- what is going on ---------------------------------------------------------------------

    @property
    def selection(self) -> Selection:
        """What was chosen when the driver was opened, and what was skipped, with reasons."""
        return self._selection

    @property
    def states(self) -> tuple[InterfaceState, ...]:
        """The interfaces that it works on, or would; those of the first machine with sockets."""
        return next((s.doors[0].states for s in self._stations if s.doors), ())

    @property
    def attached(self) -> tuple[Attached, ...]:
        """The interfaces that the machine has now; the first one, if there are several."""
        return self._stations[0].told if self._stations else ()

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where it sends from now: one of each interface and family."""
        return tuple(endpoint for door in self._doors() for endpoint in door.endpoints)

    @property
    def traffic(self) -> Traffic:
        """Counts so far."""
        return Traffic(
            self._received,
            self._bytes,
            self._drops if self._counts else None,
            sum(door.sent for door in self._doors()),
            sum(door.lost for door in self._doors()),
            self._wakeups,
        )

    def _doors(self) -> Iterator[Attachments]:
        return (door for station in self._stations for door in station.doors)

    def changes(self) -> list[Notice]:
        """What happened to the interfaces since the last call, oldest first (at most 1024)."""
        taken = list(self._changes)
        self._changes.clear()
        return taken

    # -- running ------------------------------------------------------------------------------

    def now(self) -> float:
        """The time on the machine's clock, in seconds."""
        return self._clock()

    def fileno(self) -> int:
        """What is readable when there is something to do; -1 if this system can't tell so."""
        fileno: Callable[[], int] | None = getattr(self._selector, "fileno", None)
        return -1 if fileno is None else fileno()

    def watch(self, readable: int | socket.socket, wake: Callable[[float], object]) -> None:
        """Also waits for that; ``wake`` is called with the time when it is readable."""
        self._selector.register(readable, selectors.EVENT_READ, wake)

    def note(self, notice: Notice) -> None:
        """Has `changes` tell of what happened to sockets that somebody else looks after."""
        self._changes += log_notices("driver", [notice])

    def at_close(self, function: Callable[[], object]) -> None:
        """Has `close` call that, before it closes anything else."""
        self._opened.callback(function)

    def due(self) -> float | None:
        """When to call `turn` at the latest; None: not before `fileno` is readable."""
        moments = [station.due() for station in self._stations]
        moments.append(self._watcher.due())
        return min((moment for moment in moments if moment is not None), default=None)

    def wait(self, timeout: float | None = None) -> None:
        """Waits until there is something to do, and does it; at most ``timeout`` seconds."""
        left = self.left()
        self.wait_readable(left if timeout is None else min(left, max(0.0, timeout)))
        self.turn()

    def left(self) -> float:
        """Seconds until `due`, at most a day."""
        due = self.due()
        return _LONGEST if due is None else min(max(0.0, due - self._clock()), _LONGEST)

    def wait_readable(self, timeout: float) -> None:
        """Waits until `fileno` is readable, at most ``timeout`` seconds."""
        self._selector.select(timeout)

    def turn(self) -> None:
        """Does everything there is to do now. Never blocks."""
        now = self._clock()
        self._wakeups += 1
        drained = self._drain(now)
        now = self._follow(now)
        # Silence is silence and no backlog: what is queued is read first. But under a flood that
        # never ends, once all is read that can have been queued when the timer was due.
        if drained or self._backlog >= sum(door.most_queued() for door in self._doors()):
            for station in self._stations:
                timer = station.machine.get_timer()
                if timer is not None and now >= timer:
                    self._backlog = 0
                    station.machine.handle_timer(now)
        self.flush(now)

    def flush(self, now: float) -> None:
        """Sends what the machines have to send, after they were told something."""
        for station in self._stations:
            self._flush(station, now)

    def _flush(self, station: Station, now: float) -> None:
        if datagrams := station.machine.datagrams_to_send(now):
            station.send(datagrams)

    def _drain(self, now: float) -> bool:
        """Reads all sockets until they are empty, or enough is at hand; whether they are."""
        read: dict[Station, _Read] = {}
        count = 0
        waiting = self._waiting(now)
        while waiting and count < _DRAIN:
            before = count
            for inlet in waiting:
                station = self._owners[inlet]
                batches, inlets = read.setdefault(station, ({}, {}))
                inlets.setdefault(inlet.channel.interface.index, set()).add(inlet)
                for batch in self._read_from(inlet):
                    count += len(batch)
                    batches.setdefault(batch.interface.index, []).append(batch)
                    for other in self._sharing.others(inlet):
                        if len(shared := unicast(batch)):
                            theirs, _ = read.setdefault(other, ({}, {}))
                            theirs.setdefault(batch.interface.index, []).append(shared)
            # A socket that is readable and gives nothing has nothing to give for now.
            waiting = self._waiting(None) if count > before else []
        self._backlog = self._backlog + count if waiting else 0
        for station, (batches, inlets) in read.items():
            unread = {i.channel.interface.index for i in waiting if self._owners[i] is station}
            taken = station.hand_over(batches, inlets, unread, self._rate, now)
            self._received += taken[0]
            self._bytes += taken[1]
            self._drops += taken[2]
        if count >= _MEASURED and (took := self._clock() - now) > 0:
            self._rate = count / took
        return not waiting

    def _waiting(self, now: float | None) -> list[Inlet]:
        """The sockets that have something; with a time, wakes what else is waited for."""
        found = []
        for key, _ in self._selector.select(0):
            if isinstance(key.data, Inlet):
                found.append(key.data)
            elif now is not None:
                key.data(now)
        return found

    def _read_from(self, inlet: Inlet) -> list[Batch]:
        try:
            return self._read(inlet.socket, inlet.channel.interface, inlet.port)
        except OSError as error:
            # Whatever is wrong with the socket, the watcher sees why; meanwhile the others go on.
            log("driver", DEBUG, "%s: %s", shown(inlet.channel.interface.name), error)
            return []

    def _follow(self, now: float) -> float:
        """Notices what changed about the interfaces, and tries again what failed.

        Returns the time, which goes on meanwhile.
        """
        moments = [door.retry for door in self._doors()]
        moments.append(self._watcher.due())
        if all(moment is None or now < moment for moment in moments):
            return now
        news = news_of(self._watcher, now)
        told = [n for station in self._stations for n in station.keep_up(news, now)]
        # All machines have the same interfaces, mostly.
        self._changes += log_notices("driver", list(dict.fromkeys(told)))
        if news:
            chosen = self._chosen()
            for station in self._stations:
                station.choose(chosen)
        for station in self._stations:
            now = station.tell(self._clock)
        return now

    # -- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Closes everything. More than once is fine."""
        if not self._closed:
            self._closed = True
            log("driver", DEBUG, "closed: %s", self.traffic)
        self._opened.close()

    def __enter__(self) -> Driver[EventT]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def families_of(
    groups: Sequence[Group], broadcast: bool, family: Family | int | None
) -> tuple[Family, ...]:
    """The families that peers can meet in, IPv4 first. Raises `ArgumentError` if there is none."""
    only = check_family(family)
    meeting = {group.family for group in groups}
    if broadcast:
        meeting.add(Family.IPV4)
    if only is None:
        return tuple(sorted(meeting))
    if only not in meeting:
        raise ArgumentError(
            f"there is no IPv{only} group to meet at", f"name one, or leave out -{only}"
        )
    return (only,)
