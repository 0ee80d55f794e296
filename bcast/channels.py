"""The sockets of a driver, interface by interface, kept in step with the interfaces.

Layer 5. No clock and no selector: the drivers have both and say when to follow.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from bcast.datagram import Family, Group, Interface
from bcast.destinations import ALL_NODES
from bcast.errors import InterfaceError, PortTakenError, SocketError
from bcast.interfaces import (
    InterfaceChange,
    InterfaceChanged,
    InterfaceRemoved,
    Selection,
    select,
)
from bcast.interfaces.wording import shown
from bcast.log import DEBUG, INFO, WARNING, log
from bcast.sockets import open_receivers
from bcast.sockets.transfer import drop_counter
from bcast.values import Value

if TYPE_CHECKING:
    from bcast.interfaces import InterfaceWatcher

__all__ = [
    "Channel",
    "Channels",
    "InterfaceFailed",
    "InterfaceReady",
    "InterfaceState",
    "News",
    "Notice",
    "granted_buffer",
    "log_notices",
    "log_selection",
    "news_of",
]

# A failed interface is tried again this often, in seconds, if nothing changes before.
_RETRY = 1.0


class InterfaceFailed(Value):
    """A socket of a selected interface could not be opened; it is tried again every second."""

    interface: Interface
    error: SocketError

    @property
    def sentence(self) -> str:
        return str(self.error)


class InterfaceReady(Value):
    """What failed on a selected interface (`InterfaceFailed`) works now: it is received on."""

    interface: Interface
    port: int

    @property
    def sentence(self) -> str:
        return f"{self.interface.name} receives on port {self.port} now"


#: What a receiver tells about its interfaces.
Notice = InterfaceChange | InterfaceFailed | InterfaceReady


class News(NamedTuple):
    """What a watcher noticed: the ``interfaces`` there are now, and how that came about.

    ``overran``: something may have been deleted and created again unseen. ``renewed`` are the
    indexes of interfaces that were without IPv6 meanwhile.
    """

    interfaces: tuple[Interface, ...]
    changes: tuple[InterfaceChange, ...]
    overran: bool
    renewed: frozenset[int]

    def __bool__(self) -> bool:
        return bool(self.changes or self.overran or self.renewed)


class InterfaceState(Value):
    """What an interface is doing: working, not there for now, or refused.

    ``reason`` says why it isn't ready, or what is wrong though it is.
    """

    interface: Interface
    state: Literal["ready", "waiting", "failed"]
    reason: str = ""


class Channel:
    """The open sockets of one interface.

    Several of one family only where the groups don't fit one socket; all but the last are then
    there for their groups only.
    """

    def __init__(self, interface: Interface) -> None:
        self.interface = interface
        self.sockets: dict[Family, list[socket.socket]] = {}
        #: Why the sockets of a family could not be opened when that was last tried.
        self.errors: dict[Family, SocketError] = {}
        self._counters: dict[Family, list[Callable[[], int]]] = {}

    def add(self, family: Family, opened: list[socket.socket]) -> None:
        self.sockets[family] = opened
        self._counters[family] = [c for c in map(drop_counter, opened) if c is not None]

    @property
    def error(self) -> SocketError | None:
        """The first of the errors, if there is one."""
        return next(iter(self.errors.values()), None)

    @property
    def drops(self) -> int | None:
        """What the kernel dropped from these sockets; None where it doesn't count."""
        counters = [counter for each in self._counters.values() for counter in each]
        return sum(counter() for counter in counters) if counters else None

    def take(self, family: Family) -> tuple[list[socket.socket], int | None]:
        """Gives up the sockets of a family, still open, with what the kernel dropped from them."""
        counters = self._counters.pop(family, [])
        drops = sum(counter() for counter in counters) if counters else None
        return self.sockets.pop(family, []), drops

    @property
    def state(self) -> InterfaceState:
        if self.error is not None and not self.sockets:
            return InterfaceState(self.interface, "failed", str(self.error))
        if self.interface.blocked:
            return InterfaceState(self.interface, "waiting", self.interface.blocked)
        if not self.sockets:
            return InterfaceState(self.interface, "waiting", "no address")
        return InterfaceState(self.interface, "ready", str(self.error) if self.error else "")


class Channels:
    """All channels of a driver: opened for what is selected, closed for what is gone.

    ``opened`` is called with each new socket and whether it is there for its groups only,
    ``closing`` with the channel, each socket before it is closed, and ``dropped`` with the channel
    and what the kernel dropped from sockets that are closed.
    """

    def __init__(
        self,
        *,
        port: int,
        families: Sequence[Family],
        groups: Sequence[Group],
        include: Sequence[str] | None,
        exclude: Sequence[str] | None,
        share: bool,
        buffer: int,
        opened: Callable[[Channel, socket.socket, bool], None],
        closing: Callable[[socket.socket], object],
        dropped: Callable[[Channel, int | None], None],
    ) -> None:
        self.by_index: dict[int, Channel] = {}
        #: The interfaces received on, by index: what a reader needs to know.
        self.interfaces: dict[int, Interface] = {}
        self._port = port
        self._families = families
        self._groups = groups
        self._include = include
        self._exclude = exclude
        self._share = share
        self._buffer = buffer
        self._opened = opened
        self._closing = closing
        self._dropped = dropped
        self._gone: dict[str, Interface] = {}
        #: When to `keep_up` because something failed; None if nothing did.
        self.retry: float | None = None

    def open(self, chosen: Sequence[Interface]) -> list[Notice]:
        """Opens what isn't open yet of the interfaces ``chosen``."""
        notices: list[Notice] = []
        for interface in chosen:
            channel = self.by_index.get(interface.index)
            if channel is None:
                channel = self.by_index[interface.index] = Channel(interface)
                self.interfaces[interface.index] = interface
                self._gone.pop(interface.name, None)
            before, failed = channel.error, set(channel.errors)
            channel.errors.clear()
            for family in self._families:
                self._open_family(channel, family)
            if channel.error is not None and str(channel.error) != str(before):
                notices.append(InterfaceFailed(interface, channel.error))
            elif failed and channel.error is None and failed <= channel.sockets.keys():
                notices.append(InterfaceReady(interface, self._port))
        return notices

    def _open_family(self, channel: Channel, family: Family) -> None:
        interface = channel.interface
        if family in channel.sockets:
            return
        if family is Family.IPV6 and not interface.addresses_of(family):
            # IPv6 is off there, or the first address is still to come: a change will tell.
            return
        try:
            opened = self._open_sockets(interface, family)
        except SocketError as error:
            channel.errors[family] = error
            return
        if not opened:
            return
        channel.add(family, opened)
        for one in opened:
            self._opened(channel, one, one is not opened[-1])

    def _open_sockets(self, interface: Interface, family: Family) -> list[socket.socket]:
        """The sockets of a channel; [] if a change will tell when they can be opened."""
        return open_receivers(
            interface,
            family,
            port=self._port,
            groups=self._groups_of(family),
            share=self._share,
            buffer=self._buffer,
        )

    def _is_outdated(self, channel: Channel, family: Family) -> bool:
        """Whether the sockets of a family have to be opened afresh."""
        # Without an IPv6 address the kernel may have taken IPv6 off the interface, and the
        # memberships with it: the sockets are opened afresh when one is back.
        return family is Family.IPV6 and not channel.interface.addresses_of(family)

    def raise_if_none(self) -> None:
        """Raises why no socket could be opened on any interface, if so.

        A port that is taken everywhere is not made good by the other family's.
        """
        channels = self.by_index.values()
        for family in self._families:
            failed = [c.errors[family] for c in channels if family in c.errors]
            taken = [error for error in failed if isinstance(error, PortTakenError)]
            if taken and not any(family in channel.sockets for channel in channels):
                raise taken[0]
        if any(channel.sockets for channel in channels):
            return
        for channel in channels:
            if channel.error is not None:
                raise channel.error
        names = ", ".join(channel.interface.name for channel in channels)
        if len(self._families) > 1:
            raise InterfaceError(f"{names}: no address", "choose other interfaces, or set one")
        family = self._families[0]
        raise InterfaceError(
            f"{names}: no IPv{family} address",
            f"choose other interfaces, or leave out -{family}",
        )

    def _groups_of(self, family: Family) -> tuple[Group, ...]:
        groups = [g for g in self._groups if g.family is family]
        # All nodes is to IPv6 what broadcast is to IPv4: it is received without being asked for.
        if family is Family.IPV6 and ALL_NODES not in groups:
            groups.append(ALL_NODES)
        return tuple(groups)

    def follow(
        self,
        interfaces: Sequence[Interface],
        changes: Sequence[InterfaceChange],
        *,
        overran: bool = False,
        renewed: Collection[int] = (),
    ) -> list[Notice]:
        """Brings the channels in step with ``interfaces``; returns what is worth telling.

        A channel once open stays as long as its interface exists: its sockets and memberships
        outlive a link that goes down, a lost address and another name. ``overran`` says that
        something may have been deleted and created again unseen: then all are opened afresh.
        ``renewed`` are the indexes of interfaces that were without IPv6 meanwhile.
        """
        before = set(self.by_index)
        current = {interface.index: interface for interface in interfaces}
        replaced = {c.interface.index for c in changes if isinstance(c, InterfaceRemoved)}
        for index in sorted(before):
            if overran or index in replaced or index not in current:
                self.close(index)
            else:
                channel = self.by_index[index]
                channel.interface = self.interfaces[index] = current[index]
                for family in self._families:
                    without = family is Family.IPV6 and index in renewed
                    if without or self._is_outdated(channel, family):
                        self._close_family(channel, family)
        chosen = select(interfaces, self._include, self._exclude, require=False).chosen
        kept = [channel.interface for channel in self.by_index.values()]
        failures = self.open(list({i.index: i for i in (*kept, *chosen)}.values()))
        ours = before | set(self.by_index)
        told = [c for c in changes if c.interface.index in ours and not _is_checking(c)]
        return told + failures

    def keep_up(self, news: News, now: float) -> list[Notice]:
        """Takes what changed about the interfaces, and tries again what failed.

        To be called whenever the watcher (see `news_of`) or `retry` is due.
        """
        if not news and (self.retry is None or now < self.retry):
            return []
        notices = self.follow(
            news.interfaces, news.changes, overran=news.overran, renewed=news.renewed
        )
        self.retry_later(now)
        return notices

    def retry_later(self, now: float) -> None:
        """Sets `retry` for what couldn't be opened."""
        self.retry = now + _RETRY if self.failing else None

    @property
    def failing(self) -> bool:
        """Whether something is to be tried again."""
        return any(channel.error is not None for channel in self.by_index.values())

    @property
    def states(self) -> tuple[InterfaceState, ...]:
        gone = (InterfaceState(i, "waiting", "gone") for i in self._gone.values())
        return (*(channel.state for channel in self.by_index.values()), *gone)

    def close(self, index: int) -> None:
        """Closes the channel of an interface that is gone."""
        channel = self.by_index.pop(index)
        self.interfaces.pop(index, None)
        # Only what was asked for by name is waited for: containers come and go in thousands.
        if self._include is not None and channel.interface.name in self._include:
            self._gone[channel.interface.name] = channel.interface
        for family in list(channel.sockets):
            self._close_family(channel, family)

    def _close_family(self, channel: Channel, family: Family) -> None:
        opened, drops = channel.take(family)
        for one in opened:
            self._closing(one)
            one.close()
        if opened:
            self._dropped(channel, drops)

    def close_all(self) -> None:
        for index in list(self.by_index):
            self.close(index)


def log_selection(name: str, selection: Selection, states: Sequence[InterfaceState]) -> None:
    """Logs what a driver works on, and what it doesn't."""
    for state in states:
        why = f": {state.reason}" if state.reason else ""
        log(name, INFO, "%s is %s%s", shown(state.interface.name), state.state, why)
    for skipped in selection.skipped:
        log(name, DEBUG, "skipped %s: %s", shown(skipped.interface.name), skipped.reason)


def log_notices(name: str, notices: Sequence[Notice]) -> Sequence[Notice]:
    """Logs what happened to interfaces; returns it."""
    for notice in notices:
        level = WARNING if isinstance(notice, InterfaceFailed) else INFO
        log(name, level, "%s", notice.sentence)
    return notices


def news_of(watcher: InterfaceWatcher, now: float) -> News:
    """What the watcher has noticed since it was last asked."""
    due = watcher.due()
    changes = watcher.changes(now)
    listed_now = due is not None and now >= due
    overran = listed_now and watcher.overran
    renewed = watcher.unaddressed if listed_now else frozenset()
    return News(watcher.interfaces, changes, overran, renewed)


def _is_checking(change: InterfaceChange) -> bool:
    """Whether all that changed is how far the kernel is with checking its own addresses."""
    if not isinstance(change, InterfaceChanged) or change.changed != ("addresses",):
        return False
    before = {(a.address, a.prefix_length, a.broadcast) for a in change.before.addresses}
    after = {(a.address, a.prefix_length, a.broadcast) for a in change.interface.addresses}
    return before == after


def granted_buffer(opened: socket.socket) -> int:
    """The receive buffer that the system granted a socket, in bytes."""
    # Linux reports twice what was set, the other half being for its own bookkeeping (socket(7)).
    share = 2 if sys.platform == "linux" else 1
    return opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // share
