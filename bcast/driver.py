"""Runs one machine on real sockets: moves its datagrams, wakes its timer, decides nothing.

Layer 5. A `Driver` has sockets, selector and clock, and knows no event loop: whoever runs it
calls `wait`, which blocks, or `turn` whenever `fileno` is readable or `due` has come.
"""

from __future__ import annotations

import selectors
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from time import monotonic
from types import TracebackType
from typing import Generic, TypeVar

from bcast.attachments import Attachments, Inlet
from bcast.channels import InterfaceState, Notice, log_notices, log_selection
from bcast.datagram import Datagram, Endpoint, Family, Group, Interface
from bcast.destinations import check_family
from bcast.errors import ArgumentError
from bcast.interfaces import InterfaceWatcher, Selection, list_interfaces, listed, select
from bcast.interfaces.wording import shown
from bcast.log import DEBUG, WARNING, is_wanted, log
from bcast.machine import Attached, Machine, Received
from bcast.sockets import RECEIVE_BUFFER
from bcast.sockets.batch import Batch
from bcast.sockets.transfer import open_reader
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
    """A machine on the sockets of every selected interface, for one thread.

    ``interfaces``, ``exclude`` and ``family`` select as everywhere; ``groups`` (at most one of a
    family) and ``port`` are where peers meet. IPv4 is used without a group too if ``broadcast``.
    Interfaces that go down, are renamed, lose their address, are deleted and created again, or
    appear later and fit the selection, are followed.

    Raises `ArgumentError` for a bad argument, `InterfaceError` if no interface can be used,
    `SocketError` (`PortTakenError`) if no socket could be opened on any.
    """

    def __init__(
        self,
        machine: Machine[EventT],
        *,
        port: int,
        groups: Sequence[Group],
        broadcast: bool = False,
        interfaces: str | Iterable[str] | None = None,
        exclude: str | Iterable[str] | None = None,
        family: Family | int | None = None,
        buffer: int = RECEIVE_BUFFER,
        clock: Callable[[], float] = monotonic,
        list_interfaces: Callable[[], tuple[Interface, ...]] = list_interfaces,
    ) -> None:
        self.machine = machine
        self._clock = clock
        self._counts = self._closed = False
        families = families_of(groups, broadcast, family)
        include, without = listed(interfaces), listed(exclude)
        self._changes: deque[Notice] = deque(maxlen=_CHANGES)
        self._told: tuple[Attached, ...] = ()
        self._rate = 0.0
        self._received = self._bytes = self._drops = self._wakeups = 0
        #: Drops of sockets that are closed, not yet told of the interface that they were on.
        self._unsaid: dict[int, int] = {}
        #: The interfaces, by index, that drops were logged of.
        self._flooded: set[int] = set()
        #: Datagrams read since there was last nothing left to read.
        self._backlog = 0
        with ExitStack() as opened:
            self._selector = opened.enter_context(selectors.DefaultSelector())
            self._watcher = InterfaceWatcher(now=clock(), list_interfaces=list_interfaces)
            opened.callback(self._watcher.close)
            if self._watcher.fileno() >= 0:
                self.watch(self._watcher.fileno(), self._watcher.wake)
            self._attachments = Attachments(
                port=port,
                families=families,
                groups=groups,
                include=include,
                exclude=without,
                buffer=buffer,
                opened=self._register,
                closing=self._unregister,
            )
            opened.callback(self._attachments.close_all)
            self._read = open_reader(self._attachments.interfaces)
            self._selection = select(self._watcher.interfaces, include, without)
            self._changes += log_notices("driver", self._attachments.open(self._selection.chosen))
            self._attachments.raise_if_none()
            log_selection("driver", self._selection, self._attachments.states)
            self._attachments.retry_later(clock())
            self.flush(self._tell())
            self._opened = opened.pop_all()

    def _register(self, inlet: Inlet) -> None:
        self._counts = self._counts or inlet.counts
        self._selector.register(inlet.socket, selectors.EVENT_READ, inlet)

    def _unregister(self, inlet: Inlet) -> None:
        if inlet.socket in self._selector.get_map():
            self._selector.unregister(inlet.socket)
        if drops := inlet.drops():
            index = inlet.channel.interface.index
            self._drops += drops
            self._unsaid[index] = self._unsaid.get(index, 0) + drops

    # -- what is going on ---------------------------------------------------------------------

    @property
    def selection(self) -> Selection:
        """What was chosen when the driver was opened, and what was skipped, with reasons."""
        return self._selection

    @property
    def states(self) -> tuple[InterfaceState, ...]:
        """The interfaces that it works on, or would."""
        return self._attachments.states

    @property
    def attached(self) -> tuple[Attached, ...]:
        """The interfaces that the machine has now."""
        return self._told

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where it sends from now: one of each interface and family."""
        return self._attachments.endpoints

    @property
    def traffic(self) -> Traffic:
        """Counts so far."""
        return Traffic(
            self._received,
            self._bytes,
            self._drops if self._counts else None,
            self._attachments.sent,
            self._attachments.lost,
            self._wakeups,
        )

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

    def due(self) -> float | None:
        """When to call `turn` at the latest; None: not before `fileno` is readable."""
        moments = (self.machine.get_timer(), self._watcher.due(), self._attachments.retry)
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
        timer = self.machine.get_timer()
        # Silence is silence and no backlog: what is queued is read first. But under a flood that
        # never ends, once all is read that can have been queued when the timer was due.
        all_read = drained or self._backlog >= self._attachments.most_queued()
        if timer is not None and now >= timer and all_read:
            self._backlog = 0
            self.machine.handle_timer(now)
        self.flush(now)

    def flush(self, now: float) -> None:
        """Sends what the machine has to send, after it was told something."""
        self._attachments.send(self.machine.datagrams_to_send(now))

    def _drain(self, now: float) -> bool:
        """Reads all sockets until they are empty, or enough is at hand; whether they are."""
        batches: dict[int, list[Batch]] = {}
        inlets: dict[int, set[Inlet]] = {}
        count = 0
        waiting = self._waiting(now)
        while waiting and count < _DRAIN:
            before = count
            for inlet in waiting:
                inlets.setdefault(inlet.channel.interface.index, set()).add(inlet)
                for batch in self._read_from(inlet):
                    count += len(batch)
                    batches.setdefault(batch.interface.index, []).append(batch)
            # A socket that is readable and gives nothing has nothing to give for now.
            waiting = self._waiting(None) if count > before else []
        unread = {inlet.channel.interface.index for inlet in waiting}
        self._backlog = self._backlog + count if unread else 0
        self._hand_over(batches, inlets, unread, now)
        if count >= _MEASURED and (took := self._clock() - now) > 0:
            self._rate = count / took
        return not unread

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

    def _hand_over(
        self,
        batches: dict[int, list[Batch]],
        inlets: dict[int, set[Inlet]],
        unread: set[int],
        now: float,
    ) -> None:
        """Gives the machine what was read, interface by interface."""
        attached = {one.interface.index for one in self._told}
        for index in sorted(batches.keys() | inlets.keys()):
            read = batches.get(index, [])
            asked = inlets.get(index, set())
            drops = sum(inlet.drops() for inlet in asked)
            self._drops += drops
            self._received += sum(map(len, read))
            self._bytes += sum(batch.size for batch in read)
            drops += self._unsaid.pop(index, 0)
            datagrams: list[Datagram] = []
            for batch in read:
                datagrams += batch.datagrams()
            # What was still queued when its interface went away says nothing any more.
            if index not in attached or not (datagrams or drops):
                continue
            if len(asked) > 1:
                datagrams.sort(key=_time_of)
            interface = self._attachments.by_index[index].interface
            drained = index not in unread
            received = Received(interface, datagrams, drops, drained, self._rate)
            if drops or is_wanted("driver", DEBUG):
                self._receive_aloud(received, now)
            else:
                self.machine.receive_datagrams(received, now)

    def _receive_aloud(self, received: Received, now: float) -> None:
        """Hands it over, and logs what the machine rejects of it and what was lost before."""
        name, drops = shown(received.interface.name), received.drops
        before = Counter(self._rejected)
        self.machine.receive_datagrams(received, now)
        for reason, count in (Counter(self._rejected) - before).items():
            log("driver", DEBUG, "%s: %s rejected (%s)", name, count, reason)
        if drops:
            # Once is a warning: under a flood there is one wake-up after the other.
            level = DEBUG if received.interface.index in self._flooded else WARNING
            self._flooded.add(received.interface.index)
            log("driver", level, "%s: the receive buffer was full: %s lost", name, drops)

    @property
    def _rejected(self) -> Mapping[str, int]:
        """How many datagrams the machine rejected, by reason, if it counts them."""
        return getattr(self.machine, "rejected", {})

    def _follow(self, now: float) -> float:
        """Notices what changed about the interfaces, and tries again what failed.

        Returns the time, which goes on meanwhile.
        """
        moments = (self._watcher.due(), self._attachments.retry)
        if all(moment is None or now < moment for moment in moments):
            return now
        self._changes += log_notices("driver", self._attachments.keep_up(self._watcher, now))
        return self._tell()

    def _tell(self) -> float:
        """Tells the machine which interfaces there are, if they aren't what it knows.

        Returns when: to look at them takes milliseconds, which aren't the peers'.
        """
        replaced = self._attachments.replaced()
        attached = self._attachments.attached
        now = self._clock()
        kept = tuple(one for one in attached if one.interface.index not in replaced)
        for told in (kept, attached):
            # An interface that was created again with the same index is another one: it is gone
            # first.
            if told != self._told:
                self._told = told
                self.machine.interfaces_changed(told, now)
        for index in replaced.difference(self._attachments.by_index):
            self._unsaid.pop(index, None)
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


def _time_of(datagram: Datagram) -> int:
    return datagram.time_ns
