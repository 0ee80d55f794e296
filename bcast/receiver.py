"""Receiving on every selected interface at once, through all that may happen to them.

Layer 5: a driver. It owns the selector and the clock; which interface has which sockets is the
business of `bcast.channels`.
"""

from __future__ import annotations

import selectors
import socket
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from time import monotonic
from types import TracebackType

from bcast.channels import (
    Channel,
    Channels,
    InterfaceState,
    Notice,
    granted_buffer,
    log_notices,
    log_selection,
    news_of,
)
from bcast.counts import Counts, Statistics
from bcast.datagram import Datagram, Family, Group, Interface
from bcast.destinations import (
    DEFAULT_GROUPS,
    DEFAULT_PORT,
    check_family,
    check_port,
    parse_group,
)
from bcast.errors import ArgumentError
from bcast.interfaces import InterfaceWatcher, Selection, list_interfaces, listed, select
from bcast.networks import parse_networks
from bcast.queues import Queues
from bcast.sockets import RECEIVE_BUFFER
from bcast.sockets.advice import socket_error
from bcast.sockets.batch import Batch
from bcast.sockets.transfer import open_reader

__all__ = ["Receiver"]

# Seconds in one wait at most: selectors take no more than what fits their milliseconds.
_LONGEST = 86_400.0

# Changes of interfaces that nobody asks for; containers may come and go for ever.
_CHANGES = 1024


class Receiver:
    """Receives datagrams on one port of every selected interface.

    ``interfaces`` and ``exclude`` are selection expressions, one or several; None means the
    usable interfaces. ``groups``: multicast groups to join, as text (``"239.1.2.3"``,
    ``"SOURCE@GROUP"``) or `Group`; None means bcast's own. Broadcast and unicast to the port
    arrive in any case. ``family`` limits to IPv4 or IPv6; ``sources`` to datagrams from some
    networks. ``share``: whether other programs may listen on the port too. ``buffer`` bytes of
    receive buffer are asked for on each socket. ``timeout``: iteration ends that many seconds
    after it began.

    An interface that goes down, is renamed, loses its address, is deleted and created again, or
    appears later and fits the selection, is followed: see `changes`.

    Iterating yields `Datagram`; `read` gives them in batches. One thread reads; `close` may be
    called from any other and ends the reading. With asyncio (``async with``, ``async for``,
    `receive_async`, `read_async`) one task reads.

    Raises `ArgumentError` for a bad argument, `InterfaceError` if no interface can be used,
    `SocketError` (`PortTakenError`) if no socket could be opened on any.
    """

    def __init__(
        self,
        interfaces: str | Iterable[str] | None = None,
        *,
        port: int = DEFAULT_PORT,
        groups: Iterable[str | Group] | None = None,
        exclude: str | Iterable[str] | None = None,
        family: Family | int | None = None,
        sources: str | Iterable[str] = (),
        share: bool = True,
        buffer: int = RECEIVE_BUFFER,
        timeout: float | None = None,
        clock: Callable[[], float] = monotonic,
        list_interfaces: Callable[[], tuple[Interface, ...]] = list_interfaces,
    ) -> None:
        self.port = check_port(port)
        self.timeout = timeout
        only = check_family(family)
        families = (Family.IPV4, Family.IPV6) if only is None else (only,)
        joined = _groups(groups, families)
        include, without = listed(interfaces), listed(exclude)
        networks = parse_networks(sources)
        self._clock = clock
        self._counts = Counts()
        self._changes: deque[Notice] = deque(maxlen=_CHANGES)
        self._pending: list[Datagram] = []
        self._lock = threading.RLock()
        self._reading = False
        # Tasks that wait for the selector, which must stay open for them.
        self._awaiting = 0
        self._closing = False
        self._closed = False
        with ExitStack() as opened:
            try:
                self._selector = opened.enter_context(selectors.DefaultSelector())
                self._wake, self._waker = socket.socketpair()
            except OSError as error:
                raise socket_error(error, "wait for datagrams", "") from error
            opened.callback(self._wake.close)
            opened.callback(self._waker.close)
            self._wake.setblocking(False)
            self._waker.setblocking(False)
            self._selector.register(self._wake, selectors.EVENT_READ)
            self._watcher = InterfaceWatcher(now=clock(), list_interfaces=list_interfaces)
            opened.callback(self._watcher.close)
            if self._watcher.fileno() >= 0:
                self._selector.register(self._watcher.fileno(), selectors.EVENT_READ)
            self._channels = Channels(
                port=port,
                families=families,
                groups=joined,
                include=include,
                exclude=without,
                share=share,
                buffer=buffer,
                opened=self._register,
                closing=self._unregister,
                dropped=lambda channel, drops: self._counts.closed(channel.interface, drops),
            )
            opened.callback(self._channels.close_all)
            self._queues = Queues(
                self._selector,
                open_reader(self._channels.interfaces),
                port=self.port,
                networks=networks,
                counts=self._counts,
            )
            self._selection = select(self._watcher.interfaces, include, without)
            self._changes += log_notices("receiver", self._channels.open(self._selection.chosen))
            self._channels.raise_if_none()
            log_selection("receiver", self._selection, self._channels.states)
            self._channels.retry_later(clock())
            self._opened = opened.pop_all()

    def _register(self, channel: Channel, opened: socket.socket, extra: bool) -> None:
        self._counts.opened(channel.interface, granted_buffer(opened))
        self._selector.register(opened, selectors.EVENT_READ, (channel, extra))

    def _unregister(self, opened: socket.socket) -> None:
        if opened in self._selector.get_map():
            self._selector.unregister(opened)

    # -- what is going on ---------------------------------------------------------------------

    @property
    def selection(self) -> Selection:
        """What was chosen when the receiver was opened, and what was skipped, with reasons."""
        return self._selection

    @property
    def states(self) -> tuple[InterfaceState, ...]:
        """The interfaces that it receives on, or would."""
        return self._channels.states

    @property
    def statistics(self) -> Statistics:
        """Counts so far; stays readable after `close`."""
        channels = list(self._channels.by_index.values())
        return self._counts.statistics((c.interface, c.drops) for c in channels)

    def changes(self) -> list[Notice]:
        """What happened to the interfaces since the last call, oldest first (at most 1024)."""
        taken = list(self._changes)
        self._changes.clear()
        return taken

    # -- receiving ----------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Datagram]:
        end = None if self.timeout is None else self._clock() + self.timeout
        while self._pending and not self._closing:
            yield self._pending.pop(0)
        while not self._closing:
            left = None if end is None else max(0.0, end - self._clock())
            for batch in self.read(left):
                for datagram in batch.datagrams():
                    if self._closing:
                        return
                    yield datagram
            if left == 0.0:
                return

    def receive(self, timeout: float | None = None) -> Datagram | None:
        """The next datagram, or None if none arrived within ``timeout`` seconds.

        For a steady stream iterate instead: this reads one datagram a call.
        """
        end = None if timeout is None else self._clock() + timeout
        while not self._closing:
            if self._pending:
                return self._pending.pop(0)
            left = None if end is None else max(0.0, end - self._clock())
            for batch in self.read(left):
                self._pending += batch.datagrams()
            if left == 0.0 and not self._pending:
                return None
        return None

    def read(self, timeout: float | None = None) -> list[Batch]:
        """Waits until something arrived and reads all of it; [] after ``timeout`` seconds.

        Returns early, with [], when an interface changed (see `changes`), at `wake`, and after
        `close`.
        """
        end = None if timeout is None else self._clock() + timeout
        return self._alone(lambda: self._read_until(end))

    def rest(self) -> Iterator[list[Batch]]:
        """What has arrived by now and isn't read yet, in pieces and without waiting.

        For an end in good order: then what was received and what the kernel dropped is all that
        arrived. Ends when the queues were empty, or after as much as they can hold, so that
        what goes on arriving can't prolong it. After `stop` and `close` there is nothing.
        """
        left = self._queues.bounds()
        while left and not self._closing:
            if batches := self._alone(lambda: self._queues.read_rest(left)):
                yield batches

    def _alone(self, read: Callable[[], list[Batch]]) -> list[Batch]:
        """Reads as the only one, and closes afterwards if that was asked for meanwhile."""
        with self._lock:
            if self._closing:
                return []
            self._reading = True
            try:
                return read()
            finally:
                self._reading = False
                if self._closing and not self._awaiting:
                    self._release()

    def _read_until(self, end: float | None) -> list[Batch]:
        while True:
            now = self._clock()
            moments = (end, self._watcher.due(), self._channels.retry)
            due = [moment for moment in moments if moment is not None]
            wait = min(max(0.0, min(due) - now), _LONGEST) if due else None
            ready = self._selector.select(wait)
            if self._closing:
                return []
            now = self._clock()
            woken = False
            found = []
            for key, _ in ready:
                if key.data is not None:
                    found.append(key)
                elif key.fileobj is self._wake:
                    woken = True
                    self._swallow_wakes()
                else:
                    self._watcher.wake(now)
            batches = self._queues.drain(found)
            news = news_of(self._watcher, now)
            self._changes += log_notices("receiver", self._channels.keep_up(news, now))
            if batches or self._changes or woken or (end is not None and now >= end):
                return batches

    def _swallow_wakes(self) -> None:
        try:
            self._wake.recv(64)
        except BlockingIOError:
            pass

    # -- with asyncio -------------------------------------------------------------------------

    async def __aiter__(self) -> AsyncIterator[Datagram]:
        end = None if self.timeout is None else self._clock() + self.timeout
        while True:
            left = None if end is None else max(0.0, end - self._clock())
            datagram = await self.receive_async(left)
            if datagram is None:
                return
            yield datagram

    async def receive_async(self, timeout: float | None = None) -> Datagram | None:
        """As `receive`, for asyncio. May be cancelled at any time, and nothing is lost."""
        end = None if timeout is None else self._clock() + timeout
        while not self._closing:
            if self._pending:
                return self._pending.pop(0)
            left = None if end is None else max(0.0, end - self._clock())
            for batch in await self.read_async(left):
                self._pending += batch.datagrams()
            if left == 0.0 and not self._pending:
                return None
        return None

    async def read_async(self, timeout: float | None = None) -> list[Batch]:
        """As `read`, for asyncio, but not for `wake`. May be cancelled, and nothing is lost."""
        from bcast.waiting import until_readable

        end = None if timeout is None else self._clock() + timeout
        # First of all the loop's other tasks get their turn: a flood may never let us wait.
        wait = 0.0
        while not self._closing:
            self._awaiting += 1
            try:
                fileno = getattr(self._selector, "fileno", None)
                await until_readable(-1 if fileno is None else fileno(), wait)
            finally:
                self._awaiting -= 1
                if self._closing:
                    self.close()
            told = bool(self._changes)
            batches = self._alone(lambda: self._read_until(self._clock()))
            now = self._clock()
            if batches or self._closing or (end is not None and now >= end):
                return batches
            if self._changes and not told:
                return []
            moments = (end, self._watcher.due(), self._channels.retry, now + _LONGEST)
            wait = min(max(0.0, one - now) for one in moments if one is not None)
        return []

    async def __aenter__(self) -> Receiver:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- the end ------------------------------------------------------------------------------

    def wake(self) -> None:
        """Makes `read` return soon. May be called from a signal handler and from any thread."""
        try:
            self._waker.send(b"\0")
        except OSError:
            pass  # full: it is being woken already; closed: nobody reads any more

    def stop(self) -> None:
        """Ends the reading soon. May be called from a signal handler and from any thread."""
        self._closing = True
        self.wake()

    def close(self) -> None:
        """Ends the reading and closes everything. From any thread; more than once is fine."""
        self.stop()
        with self._lock:
            if not self._reading and not self._awaiting:
                self._release()

    def _release(self) -> None:
        if self._closed:
            return
        self._closed = self._closing = True
        self._opened.close()

    def __enter__(self) -> Receiver:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _groups(groups: Iterable[str | Group] | None, families: Sequence[Family]) -> tuple[Group, ...]:
    if groups is None:
        return tuple(group for group in DEFAULT_GROUPS if group.family in families)
    if isinstance(groups, str):
        groups = (groups,)
    parsed = [parse_group(group) if isinstance(group, str) else group for group in groups]
    for group in parsed:
        if group.family not in families:
            wanted = families[0]
            raise ArgumentError(
                f"{group} is an IPv{group.family} group, which doesn't go with -{wanted}",
                f"leave out -{wanted}, or use an IPv{wanted} group",
            )
    return tuple(dict.fromkeys(parsed))
