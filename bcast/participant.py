"""What takes part in the discovery of a LAN, whichever way the program waits: plainly or not.

Layer 5: the base of the browser and the announcer.
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from bcast.channels import InterfaceState, Notice
from bcast.datagram import Family, Group, Interface
from bcast.destinations import parse_group
from bcast.domain import Domain
from bcast.driver import Driver, Traffic, families_of
from bcast.errors import ArgumentError
from bcast.interfaces import Selection, list_interfaces, listed
from bcast.runners import Runner, ThreadRunner, run_in_loop

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from weakref import finalize

    from bcast.machine import Machine
    from bcast.wire.keys import Keyring

__all__ = ["Participant", "Source", "domain_of"]

EventT = TypeVar("EventT")
EventT_co = TypeVar("EventT_co", covariant=True)
ResultT = TypeVar("ResultT")


class Source(Protocol[EventT_co]):
    """What has events: a machine, or what puts together those of several."""

    def next_event(self) -> EventT_co | None: ...


class Participant(Generic[EventT]):
    """A machine on the selected interfaces, while a ``with`` or ``async with`` block lasts.

    Plainly, a thread of its own does the work in the background; with asyncio, the event loop
    that is running does. Iterating yields events, as they happen and oldest first, and ends when
    the block does, or ``timeout`` seconds after it began.

    One that is left open ends when nothing refers to it any more, or with the interpreter, without
    a word. A process that was forked meanwhile has to open one of its own.

    ``source``: what the events are taken from, where that isn't the machine. ``begin`` adds other
    machines to the driver.
    """

    def __init__(
        self,
        machine: Machine[EventT] | None,
        *,
        domain: Domain,
        interfaces: str | Iterable[str] | None,
        exclude: str | Iterable[str] | None,
        family: Family | int | None,
        timeout: float | None,
        list_interfaces: Callable[[], tuple[Interface, ...]] = list_interfaces,
        source: Source[EventT] | None = None,
        begin: Callable[[Driver[EventT]], None] | None = None,
    ) -> None:
        self.timeout = timeout
        if machine is not None:
            families_of(domain.groups, domain.broadcast, family)
        told = source or machine
        assert told is not None
        self._source: Source[EventT] = told
        include, without = listed(interfaces), listed(exclude)

        def open_driver(clock: Callable[[], float]) -> Driver[EventT]:
            driver = Driver(
                machine,
                port=domain.port,
                groups=domain.groups,
                broadcast=domain.broadcast,
                interfaces=include,
                exclude=without,
                family=family,
                clock=clock,
                list_interfaces=list_interfaces,
            )
            if begin is not None:
                try:
                    begin(driver)
                except BaseException:
                    driver.close()
                    raise
            return driver

        self._open_driver = open_driver
        self._driver: Driver[EventT] | None = None
        self._runner: Runner | None = None
        self._loop: AbstractEventLoop | None = None
        self._process = self._thread = 0
        self._abandon: finalize[..., Any] | None = None
        self._waiters: set[Future[None]] = set()
        self._ended = False

    # -- what is going on ---------------------------------------------------------------------

    @property
    def selection(self) -> Selection:
        """What was chosen when it was opened, and what was skipped, with reasons."""
        return self._opened.selection

    @property
    def states(self) -> tuple[InterfaceState, ...]:
        """The interfaces that it works on, or would; () before and after."""
        if self._driver is None or self._ended:
            return ()
        return self._look(lambda: self._opened.states)

    @property
    def traffic(self) -> Traffic:
        """Counts of datagrams so far; stays readable afterwards."""
        return Traffic() if self._driver is None else self._look(lambda: self._opened.traffic)

    def changes(self) -> list[Notice]:
        """What happened to the interfaces since the last call, oldest first (at most 1024)."""
        return [] if self._driver is None else self._look(self._opened.changes)

    @property
    def _opened(self) -> Driver[EventT]:
        if self._driver is None:
            raise ArgumentError(f"this {self._noun} isn't open", "use it in a with block")
        self._check_process()
        return self._driver

    @property
    def _noun(self) -> str:
        return type(self).__name__.lower()

    @property
    def _is_forked(self) -> bool:
        """Whether this process is a child of the one that it works in."""
        return self._driver is not None and os.getpid() != self._process

    def _check_process(self) -> None:
        if self._is_forked:
            raise ArgumentError(
                f"this {self._noun} belongs to the process that forked this one", "open one here"
            )

    def _look(self, function: Callable[[], ResultT]) -> ResultT:
        self._check_process()
        return function() if self._runner is None else self._runner.look(function)

    def _call(self, function: Callable[[float], None]) -> None:
        """Tells the machine something, which happens now."""
        driver = self._opened
        assert self._runner is not None
        self._runner.call(lambda: function(driver.now()))

    def _open(self, clock: Callable[[], float]) -> Driver[EventT]:
        if self._driver is not None:
            raise ArgumentError(
                f"this {self._noun} was opened before", "make another one for another block"
            )
        self._driver = self._open_driver(clock)
        self._process, self._thread = os.getpid(), threading.get_ident()
        return self._driver

    def _keep(self, runner: Runner) -> None:
        """Has the runner end in any case."""
        from weakref import finalize

        self._runner = runner
        self._abandon = finalize(self, _abandon, runner, self._process)

    # -- plainly ------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        driver = self._open(monotonic)
        try:
            self._keep(ThreadRunner(driver))
        except BaseException:
            driver.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if not self._is_forked:
                self._leave()
        finally:
            self.close()

    def __iter__(self) -> Iterator[EventT]:
        end = None if self.timeout is None else monotonic() + self.timeout
        while (event := self.next_event(None if end is None else end - monotonic())) is not None:
            yield event

    def next_event(self, timeout: float | None = None) -> EventT | None:
        """The next event; None if there is none within ``timeout`` seconds, or it was closed.

        Blocks: with asyncio use ``async for``.
        """
        found: list[EventT] = []

        def take() -> bool:
            event = self._source.next_event()
            if event is not None:
                found.append(event)
            return event is not None

        runner = self._opened and self._runner
        if isinstance(runner, ThreadRunner) and self._loop is None:
            runner.wait(take, timeout)
        elif self._ended:
            take()
        else:
            raise ArgumentError(
                f"this {self._noun} was opened with async with", "use async for there"
            )
        self._raise_failure(bool(found))
        return found[0] if found else None

    def _raise_failure(self, found: bool) -> None:
        error = None if self._runner is None else self._runner.error
        if error is not None and not found:
            raise error

    def _leave(self) -> None:
        """What is to be done before the end, plainly."""

    # -- with asyncio -------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        from asyncio import get_running_loop

        self._loop = loop = get_running_loop()
        driver = self._open(loop.time)
        try:
            self._keep(run_in_loop(driver, loop, self._wake))
        except BaseException:
            driver.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if not self._is_forked:
                await self._leave_async()
        finally:
            self.close()

    def __aiter__(self) -> AsyncIterator[EventT]:
        return _Events(self)

    async def next_event_async(self, timeout: float | None = None) -> EventT | None:
        """As `next_event`, for asyncio. May be cancelled at any time, and nothing is lost."""
        found: list[EventT] = []

        def take() -> bool:
            event = self._look(self._source.next_event)
            if event is not None:
                found.append(event)
            return event is not None

        assert self._opened
        await self._wait_async(take, timeout)
        self._raise_failure(bool(found))
        return found[0] if found else None

    async def _wait_async(self, ready: Callable[[], bool], timeout: float | None = None) -> None:
        """Waits until ``ready()``, asked after each wake-up, or the end."""
        from asyncio import get_running_loop

        loop = get_running_loop()
        if self._loop is not loop and not self._ended:
            raise self._elsewhere
        end = None if timeout is None else loop.time() + timeout
        while not ready() and not self._ended and self._running():
            if end is not None and loop.time() >= end:
                return
            waiter: Future[None] = loop.create_future()
            self._waiters.add(waiter)
            alarm = None if end is None else loop.call_at(end, _settle, waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
                if alarm is not None:
                    alarm.cancel()

    @property
    def _elsewhere(self) -> ArgumentError:
        if self._loop is None:
            return ArgumentError(
                f"this {self._noun} was opened with a plain with", "use a plain for there"
            )
        return ArgumentError(
            f"this {self._noun} belongs to another event loop", "open one for each loop"
        )

    def _running(self) -> bool:
        return self._runner is not None and self._runner.error is None

    def _wake(self) -> None:
        for waiter in self._waiters:
            _settle(waiter)

    async def _leave_async(self) -> None:
        """As `_leave`, for asyncio."""

    # -- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Ends it at once, without a word to anybody. More than once is fine.

        From any thread; if an event loop runs it in another one, it ends there, as soon as may be.
        """
        if self._ended:
            return
        if self._is_forked:
            self._ended = True  # and no more: to end it here would end it there
            return
        loop = self._loop
        if loop is not None and loop.is_running() and self._thread != threading.get_ident():
            try:
                loop.call_soon_threadsafe(self.close)
                return
            except RuntimeError:
                pass  # it was closed meanwhile
        self._ended = True
        if self._abandon is not None:
            self._abandon.detach()
        if self._runner is not None:
            self._runner.close()
        self._wake()


class _Events(Generic[EventT]):
    """The events of a participant, as an asynchronous iterator."""

    def __init__(self, participant: Participant[EventT]) -> None:
        self._participant = participant
        self._end: float | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EventT:
        timeout = self._participant.timeout
        if timeout is not None:
            self._end = monotonic() + timeout if self._end is None else self._end
            timeout = self._end - monotonic()
        event = await self._participant.next_event_async(timeout)
        if event is None:
            raise StopAsyncIteration
        return event


def _abandon(runner: Runner, process: int) -> None:
    if os.getpid() == process:
        runner.close()


def _settle(waiter: Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def domain_of(
    realm: str,
    keyring: Keyring | None,
    port: int,
    groups: str | Iterable[str | Group] | None,
    broadcast: bool,
) -> Domain:
    """A domain whose groups may be text; None = the protocol's own. Raises `ArgumentError`."""
    if groups is None:
        return Domain(realm, port, keyring=keyring, broadcast=broadcast)
    given = (groups,) if isinstance(groups, str) else groups
    parsed = (parse_group(group) if isinstance(group, str) else group for group in given)
    return Domain(realm, port, tuple(dict.fromkeys(parsed)), keyring, broadcast)
