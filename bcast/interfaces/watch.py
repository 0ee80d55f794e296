"""Following interfaces: when to list them again, and what changed since.

What the system tells only wakes the watcher; the truth is always a new listing, compared with
the last one. So nothing depends on a notification being read right, or on none being lost.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol

from bcast.datagram import Interface
from bcast.errors import ArgumentError, SocketError
from bcast.interfaces.changes import InterfaceChange, differences
from bcast.interfaces.netlink import Notice

if sys.platform == "linux":
    from bcast.interfaces.linux import list_interfaces, open_notifications, read_notifications
else:
    from bcast.interfaces.other import list_interfaces, open_notifications, read_notifications

__all__ = ["Debounce", "InterfaceWatcher", "watch_changes"]


class Debounce:
    """When to act on a burst of wake-ups: once it is ``quiet``, or ``longest`` after it began.

    Both are seconds. So constant flapping postpones, and can't starve.
    """

    def __init__(self, quiet: float = 0.3, longest: float = 1.0) -> None:
        self._quiet = quiet
        self._longest = max(quiet, longest)
        self._latest: float | None = None
        self._due: float | None = None

    def wake(self, now: float) -> None:
        """Something happened."""
        if self._latest is None:
            self._latest = now + self._longest
        self._due = min(now + self._quiet, self._latest)

    def due(self) -> float | None:
        """When to act, None if nothing happened since the last `done`."""
        return self._due

    def done(self) -> None:
        """It was acted on."""
        self._latest = self._due = None


class Notifications(Protocol):
    """A socket that tells of changes, as far as the watcher needs it."""

    def fileno(self) -> int: ...
    def recv(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


#: Bytes of one notification at most, and receive calls of one wake-up: a flood of notifications
#: must not keep the caller from its sockets.
RECEIVE_SIZE = 65_536
RECEIVES = 64
#: Seconds until a listing that failed is tried again where nothing is debounced.
RETRY = 0.3


class InterfaceWatcher:
    """Follows the interfaces of this host; the caller has the clock and waits.

    Wait until ``fileno()`` is readable or ``due()`` has come, call ``wake`` for the former and
    ``changes`` in any case. Where the system doesn't tell of changes, ``fileno()`` is -1, and it
    lists every ``poll`` seconds; ``wake`` then asks for a listing ahead of time.

    ``debounce`` and ``poll`` are seconds. Raises `ArgumentError` for a negative debounce or a poll
    that isn't positive, `SocketError` when the first listing fails.
    """

    def __init__(
        self,
        *,
        debounce: float = 0.3,
        poll: float = 2.0,
        now: float,
        list_interfaces: Callable[[], tuple[Interface, ...]] = list_interfaces,
        open_socket: Callable[[], Notifications | None] = open_notifications,
        read_notifications: Callable[[bytes], Notice] = read_notifications,
    ) -> None:
        if not 0 <= debounce < float("inf") or not 0 < poll < float("inf"):
            raise ArgumentError(
                f"can't watch with a debounce of {debounce} s and a poll of {poll} s",
                "the first must not be negative, the second must be above 0",
            )
        self._list = list_interfaces
        self._read = read_notifications
        self._poll = poll
        self._debounce = Debounce(debounce)
        self._retry = debounce or RETRY
        self._next: float | None = None
        self._deleted: set[int] = set()
        self._unaddressed: set[int] = set()
        self._renewed: frozenset[int] = frozenset()
        self._lost = self._overran = False
        self._closed = False
        # First subscribed, then listed: what changes in between wakes.
        self._socket = open_socket()
        try:
            self._interfaces = list_interfaces()
        except BaseException:
            self.close()
            raise
        if self._socket is None:
            self._next = now + poll

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """As last listed, ordered by index."""
        return self._interfaces

    @property
    def overran(self) -> bool:
        """Whether notifications were lost before the last listing, or since.

        The listing is right all the same, but an interface that was deleted and created again
        with the same index may look like one that only changed.
        """
        return self._lost or self._overran

    @property
    def unaddressed(self) -> frozenset[int]:
        """Indexes of interfaces that were without IPv6 at some time before the last listing.

        It may be back by then, and nothing changed to see; but its memberships are gone.
        """
        return self._renewed

    def fileno(self) -> int:
        """The file descriptor to wait for, -1 if there is none."""
        return self._socket.fileno() if self._socket else -1

    def wake(self, now: float) -> None:
        """Reads notifications. Reads a bounded number: the descriptor stays readable for more."""
        if self._closed:
            return
        if self._socket is None:
            self._debounce.wake(now)
            return
        known: set[int] = set()
        for _ in range(RECEIVES):
            try:
                notice = self._read(self._socket.recv(RECEIVE_SIZE))
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                # ENOBUFS: more came than the receive buffer holds. Anything else may have cost
                # notifications as well.
                self._lost = True
                self._debounce.wake(now)
                if error.errno != errno.ENOBUFS:
                    return
                continue
            if notice.changed:
                self._debounce.wake(now)
            if notice.deleted or notice.unaddressed:
                # Only what was listed can have been replaced; of the rest a flood could come.
                known = known or {interface.index for interface in self._interfaces}
                self._deleted |= notice.deleted & known
                self._unaddressed |= notice.unaddressed & known

    def due(self) -> float | None:
        """When to call `changes`; None: not before the descriptor is readable."""
        one, other = self._debounce.due(), self._next
        if one is None or other is None:
            return other if one is None else one
        return min(one, other)

    def changes(self, now: float) -> tuple[InterfaceChange, ...]:
        """What changed since the last listing; () before a listing is due, or if it fails.

        A listing that fails is tried again; what it would have shown is in the next one.
        """
        due = self.due()
        if self._closed or due is None or now < due:
            return ()
        try:
            listed = self._list()
        except (OSError, SocketError):
            self._debounce.done()
            self._next = now + self._retry
            return ()
        self._debounce.done()
        self._next = now + self._poll if self._socket is None else None
        found = differences(self._interfaces, listed, self._deleted)
        self._interfaces = listed
        self._deleted.clear()
        self._renewed = frozenset(self._unaddressed)
        self._unaddressed.clear()
        self._lost, self._overran = False, self._lost
        return found

    def close(self) -> None:
        """Closes the socket. May be called more than once; nothing changes afterwards."""
        self._closed = True
        self._next = None
        self._debounce.done()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> InterfaceWatcher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def watch_changes(
    watcher: InterfaceWatcher,
    *,
    clock: Callable[[], float],
    wait: Callable[[int, float | None], bool],
) -> Iterator[InterfaceChange]:
    """Yields changes as they happen, for ever; blocks in ``wait``.

    ``clock`` returns seconds on the watcher's scale. ``wait`` is given the descriptor (-1: none)
    and the seconds to wait (None: no end), and returns whether the descriptor is readable.
    """
    while True:
        yield from watcher.changes(clock())
        due = watcher.due()
        if wait(watcher.fileno(), None if due is None else max(0.0, due - clock())):
            watcher.wake(clock())
