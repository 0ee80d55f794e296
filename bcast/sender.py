"""Sending out of every selected interface, and saying for each what became of it.

Layer 5: a driver. Sockets are opened when an interface is first sent through and kept; the
interfaces are listed again whenever the system says that they changed.
"""

from __future__ import annotations

import errno
import select as system
import selectors
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import monotonic, sleep, time_ns
from types import TracebackType
from typing import TYPE_CHECKING

from bcast.datagram import Datagram, Endpoint, Family, Interface, IPAddress
from bcast.destinations import (
    DEFAULT_PORT,
    Target,
    check_family,
    check_port,
    check_ttl,
    parse_destination,
)
from bcast.errors import ArgumentError, SocketError
from bcast.interfaces import list_interfaces, listed, select
from bcast.legs import Leg, Plan, make_plan
from bcast.log import INFO, log
from bcast.outlets import Outlet
from bcast.payload import Template
from bcast.results import Failed, SendResults, Sent, merge
from bcast.sockets import open_sender
from bcast.sockets.advice import socket_error
from bcast.sockets.batch import Batch, source_of
from bcast.sockets.transfer import open_batch_sender, open_reader

if TYPE_CHECKING:
    from bcast.interfaces import InterfaceWatcher

__all__ = ["Sender"]

_Ready = Sequence[tuple[selectors.SelectorKey, int]]
_Read = Callable[[_Ready], Iterator[Batch]]

# Destinations whose meaning is remembered; a program may send to any number of groups and ports.
_PLANS = 256

# Seconds of one wait, and between two rounds, at most: a day.
_LONGEST = 86_400.0

# How long a full send buffer is waited for, in seconds, before the datagram is given up.
_PATIENCE = 1.0


class Sender:
    """Sends datagrams out of every selected interface, each with its own source address.

    ``interfaces`` and ``exclude`` are selection expressions, one or several; None means the
    usable interfaces. ``family`` limits to IPv4 or IPv6. ``source_port`` 0 lets the system choose
    (another one for each interface). ``ttl`` 1..255 is for every destination; None means 1 for
    groups and the system's own for the rest. ``loop``: whether members of a group on this host
    receive it too (broadcasts always reach this host). ``share`` lets others bind the same
    ``source_port``.

    With asyncio: ``async with``, `send_async`, `replies_async`. One thread or task at a time.

    Raises `ArgumentError` for a bad argument, `InterfaceError` if no interface can be used.
    """

    def __init__(
        self,
        interfaces: str | Iterable[str] | None = None,
        *,
        exclude: str | Iterable[str] | None = None,
        family: Family | int | None = None,
        source_port: int = 0,
        ttl: int | None = None,
        loop: bool = True,
        share: bool = False,
        clock: Callable[[], float] = monotonic,
        list_interfaces: Callable[[], tuple[Interface, ...]] = list_interfaces,
    ) -> None:
        self._include = listed(interfaces)
        self._exclude = listed(exclude)
        self._family = check_family(family)
        self._source_port = check_port(source_port, "source port", least=0)
        self._ttl = check_ttl(ttl)
        self._loop = loop
        self._share = share
        self._clock = clock
        self._sockets: dict[tuple[int, Family | IPAddress], Outlet] = {}
        self._transmit = open_batch_sender()
        self._list_interfaces = list_interfaces
        self._interfaces = list_interfaces()
        self._fresh = True
        self._closed = False
        self._plans: dict[tuple[str, int], Plan] = {}
        self._watcher: InterfaceWatcher | None = None
        self._is_told: Callable[[], bool] = lambda: True
        self._selection = select(self._interfaces, self._include, self._exclude)

    # -- sending ------------------------------------------------------------------------------

    def send(
        self,
        payload: bytes | Template,
        *,
        to: str = "all-hosts",
        port: int = DEFAULT_PORT,
        count: int = 1,
        interval: float = 0.0,
    ) -> SendResults:
        """Sends ``payload`` through every selected interface, ``count`` times.

        ``to``: ``"all-hosts"`` (255.255.255.255), ``"subnet"`` (each interface's directed
        broadcast addresses), ``"both"``, a group, or the address of a host. ``interval`` is the
        time between two rounds in seconds. A `Template` is filled for each interface and round.

        An interface that fails doesn't keep the others from being tried; see
        `SendResults.raise_if_none`. Raises `ArgumentError` for a bad argument.
        """
        _check_rounds(count, interval)
        rounds = []
        for sequence in range(1, count + 1):
            if sequence > 1 and interval:
                sleep(interval)
            rounds.append(self.send_round(payload, to=to, port=port, sequence=sequence))
        return merge(rounds)

    def send_round(
        self,
        payload: bytes | Template,
        *,
        to: str = "all-hosts",
        port: int = DEFAULT_PORT,
        sequence: int = 1,
    ) -> SendResults:
        """Sends once; ``sequence`` is what a template's ``{seq}`` says."""
        if isinstance(payload, Template):
            template = payload
            return self._send(
                lambda target, interface: [
                    template.fill(sequence, interface, target.source, time_ns())
                ],
                to,
                port,
            )
        return self.send_many([payload], to=to, port=port)

    def send_many(
        self, payloads: Sequence[bytes], *, to: str = "all-hosts", port: int = DEFAULT_PORT
    ) -> SendResults:
        """Sends all ``payloads`` through every selected interface, in as few calls as it takes.

        Each `Sent` counts them and has the length of the last. Raises `ArgumentError`.
        """
        return self._send(lambda target, interface: payloads, to, port)

    def _send(
        self,
        payloads_for: Callable[[Target, Interface], Sequence[bytes]],
        to: str,
        port: int,
    ) -> SendResults:
        check_port(port)
        if self._closed:
            raise ArgumentError("this sender is closed", "open another one")
        self._refresh()
        plan = self._plans.get((to, port))
        if plan is None:
            plan = self._make_plan(to, port)
        sent: list[Sent] = []
        failed: list[Failed] = []
        for leg in plan.legs:
            payloads = payloads_for(leg.target, leg.interface)
            count, error, here = self._send_to(leg, payloads)
            if here is not None and count:
                length = len(payloads[count - 1])
                sent.append(Sent(leg.interface, here, leg.there, length, count))
            if error is not None:
                failed.append(Failed(leg.interface, error, len(payloads) - count))
                log("sender", INFO, "%s", error)  # who sends is told, and may know it for no harm
        return SendResults(tuple(sent), plan.skipped, tuple(failed))

    def _make_plan(self, to: str, port: int) -> Plan:
        destination = parse_destination(to, self._family)
        asked_for = self._include is not None
        plan = make_plan(destination, port, self._selection, self._interfaces, asked_for=asked_for)
        # What leads to a host may change without any interface changing.
        if destination.address is None or destination.is_group:
            if len(self._plans) >= _PLANS:
                self._plans.clear()
            self._plans[to, port] = plan
        return plan

    def _refresh(self) -> None:
        """Lists the interfaces again if they changed since the last send.

        The first send follows the listing at once, and a program that sends once ends there:
        only the second one subscribes to changes, and lists anew for what was missed.
        """
        if self._fresh:
            self._fresh = False
            return
        now = self._clock()
        if self._watcher is None:
            from bcast.interfaces import InterfaceWatcher

            self._watcher = InterfaceWatcher(
                now=now, debounce=0.0, list_interfaces=self._list_interfaces
            )
            self._is_told = _readable(self._watcher.fileno())
        elif self._is_told():
            self._watcher.wake(now)
        self._watcher.changes(now)
        before, self._interfaces = self._interfaces, self._watcher.interfaces
        if self._interfaces is before or self._interfaces == before:
            return
        self._plans.clear()
        self._selection = select(self._interfaces, self._include, self._exclude, require=False)
        current = {interface.index: interface for interface in self._interfaces}
        for key, way in list(self._sockets.items()):
            if current.get(key[0]) != way.interface:
                del self._sockets[key]
                way.socket.close()

    def _send_to(
        self, leg: Leg, payloads: Sequence[bytes]
    ) -> tuple[int, SocketError | None, Endpoint | None]:
        """Sends one leg; returns how many went, why the rest didn't, and where from."""
        longest = max(map(len, payloads), default=0)
        if longest > leg.limit:
            return 0, leg.too_large(longest), None
        count = 0
        try:
            socket_of = self._socket(leg)
            source, here, way = leg.target.source.address, socket_of.here, leg.way
            if source is not socket_of.source and source != socket_of.source:
                here = Endpoint(source, socket_of.port)
            elif leg.bare is not None:
                way = leg.bare
            while count < len(payloads):
                try:
                    count += self._transmit(socket_of.socket, payloads, count, way)
                except BlockingIOError:
                    if not _writable(socket_of.socket, _PATIENCE):
                        raise
        except SocketError as error:
            return 0, error, None
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                return count, leg.too_large(longest), here
            what = f"send to {leg.there.address}"
            return count, socket_error(error, what, leg.interface.name), here
        return count, None, here

    def _socket(self, leg: Leg) -> Outlet:
        interface, source = leg.interface, leg.target.source
        way = self._sockets.get(leg.key)
        if way is None:
            opened = open_sender(
                interface,
                source.family,
                source=source.address,
                source_port=self._source_port,
                ttl=self._ttl,
                loop=self._loop,
                share=self._share,
            )
            way = self._sockets[leg.key] = Outlet(opened, interface, source.address)
        way.prepare(leg)
        return way

    # -- replies ------------------------------------------------------------------------------

    def replies(self, timeout: float) -> Iterator[Datagram]:
        """What comes back to the sending sockets within ``timeout`` seconds."""
        for batch in self.read_replies(timeout):
            yield from batch.datagrams()

    def read_replies(self, timeout: float) -> Iterator[Batch]:
        """As `replies`, in batches."""
        end = self._clock() + timeout
        with self._listening() as (selector, read):
            while (left := end - self._clock()) > 0:
                yield from read(selector.select(min(left, _LONGEST)))

    @contextmanager
    def _listening(self) -> Iterator[tuple[selectors.BaseSelector, _Read]]:
        """Waits for all sockets, and reads those that it says are readable."""
        # Broadcast to our own port, our own datagrams come back: they are no replies.
        own = {
            (address.address.packed, way.port)
            for way in self._sockets.values()
            for address in way.interface.addresses
        }
        receive = open_reader({i.index: i for i in self._selection.chosen})

        def read(ready: _Ready) -> Iterator[Batch]:
            for key, _ in ready:
                way = key.data
                try:
                    batches = receive(way.socket, way.interface, way.port)
                except OSError:
                    continue  # the interface went away; the others may still answer
                for batch in batches:
                    others = batch.keep(lambda row: source_of(row[1]) not in own)
                    if others.payloads:
                        yield others

        try:
            opened = selectors.DefaultSelector()
        except OSError as error:
            raise socket_error(error, "wait for replies", "") from error
        with opened as selector:
            for way in self._sockets.values():
                selector.register(way.socket, selectors.EVENT_READ, way)
            yield selector, read

    # -- with asyncio -------------------------------------------------------------------------

    async def send_async(
        self,
        payload: bytes | Template,
        *,
        to: str = "all-hosts",
        port: int = DEFAULT_PORT,
        count: int = 1,
        interval: float = 0.0,
    ) -> SendResults:
        """As `send`, for asyncio; cancelled, it sends no further round."""
        from bcast.waiting import in_thread, pause

        _check_rounds(count, interval)
        rounds = []
        for sequence in range(1, count + 1):
            if sequence > 1 and interval:
                await pause(interval)
            # A send buffer that is full is waited for.
            fill = partial(self.send_round, payload, to=to, port=port, sequence=sequence)
            rounds.append(await in_thread(fill))
        return merge(rounds)

    async def replies_async(self, timeout: float) -> AsyncGenerator[Datagram, None]:
        """As `replies`, for asyncio."""
        from bcast.waiting import until_readable

        end = self._clock() + timeout
        with self._listening() as (selector, read):
            while (left := end - self._clock()) > 0:
                fileno = getattr(selector, "fileno", lambda: -1)()
                await until_readable(fileno, min(left, _LONGEST))
                for batch in read(selector.select(0)):
                    for datagram in batch.datagrams():
                        yield datagram

    async def __aenter__(self) -> Sender:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Closes all sockets. More than once is fine."""
        self._closed = True
        if self._watcher is not None:
            self._watcher.close()
        for way in self._sockets.values():
            way.socket.close()
        self._sockets.clear()

    def __enter__(self) -> Sender:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _check_rounds(count: int, interval: float) -> None:
    if count < 1:
        raise ArgumentError(f"can't send {count} times", "use a count of 1 or more")
    if not 0 <= interval <= _LONGEST:
        raise ArgumentError(
            f"an interval of {interval:g} s can't be", "use 0 to 86400 seconds (a day)"
        )


def _readable(descriptor: int) -> Callable[[], bool]:
    """A function that tells whether something can be read; True where that can't be told.

    It costs a fraction of a read that fails, and is asked before each batch.
    """
    if sys.platform == "win32" or descriptor < 0:
        return lambda: True
    poll = system.poll()
    poll.register(descriptor, system.POLLIN)
    return lambda: bool(poll.poll(0))


def _writable(opened: socket.socket, timeout: float) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(opened, selectors.EVENT_WRITE)
        return bool(selector.select(timeout))
