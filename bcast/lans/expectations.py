"""Expectations: what a script says must happen on a LAN, and what it is told if it doesn't."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import inf
from typing import NoReturn, TypeVar

from bcast.device import Cause, Changed, Device, DeviceEvent, Removed, Restarted
from bcast.errors import ArgumentError
from bcast.lans.hosts import Impersonated
from bcast.lans.journal import Journal, Note
from bcast.lans.wanted import Match, Wanted

__all__ = ["PATIENCE", "ExpectationError", "Expecting", "check_seconds"]

ResultT = TypeVar("ResultT")

#: Seconds that an expectation waits unless it is told otherwise.
PATIENCE = 5.0


class ExpectationError(AssertionError):
    """What was expected didn't happen: a sentence, and below it what was heard instead."""


class Expecting(ABC):
    """What a LAN's observer is expected to find.

    Expectations wait ``within`` seconds at most (5 unless said), and raise `ExpectationError`;
    `ArgumentError` for what can't be.
    """

    def __init__(self, interfaces: Sequence[str]) -> None:
        #: All that the observer heard, and what it made of it.
        self.journal = Journal()
        self._heard_on = tuple(interfaces)
        #: For each device, the note up to which expectations have taken its events.
        self._taken: dict[str, int] = {}

    @property
    @abstractmethod
    def now(self) -> float:
        """Seconds since the LAN was made."""

    @property
    @abstractmethod
    def label(self) -> str:
        """What LAN this is, in a few words."""

    @abstractmethod
    def _pass_time(self, ready: Callable[[], bool], limit: float) -> bool:
        """Lets time go by until ``ready()``, but not past ``limit``; whether it is."""

    @abstractmethod
    def _observe(self, *, search: bool = False, silent: bool = False) -> None:
        """Has the observer listen from now on, and search once more.

        ``silent``: by protocols whose accessories say nothing unasked, whatever ``search`` is.
        """

    # -- time and what was heard --------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Lets so many seconds go by (0 or more); made-up ones take no time."""
        check_seconds(seconds)
        self._observe()
        self._pass_time(lambda: False, self.now + seconds)

    @property
    def devices(self) -> tuple[Device, ...]:
        """Those that are there, as far as the observer knows."""
        return self.journal.devices

    @property
    def timeline(self) -> str:
        """What was heard so far, interface by interface, with the seconds since the beginning."""
        lines = self.journal.lines(self._heard_on)
        return "\n".join([f"timeline of the {self.label} (seconds since it began):", *lines])

    def capture(self, path: str | os.PathLike[str]) -> int:
        """Writes the datagrams that the observer heard (the last 20,000) to a pcapng file.

        Returns how many. Raises `CaptureError` if it can't be written.
        """
        from bcast.capture import CaptureWriter

        datagrams = self.journal.datagrams
        with CaptureWriter(path) as writer:
            for datagram in datagrams:
                writer.write(datagram)
        return len(datagrams)

    # -- expectations -------------------------------------------------------------------------

    def expect_device(
        self, match: Match = (), *, within: float = PATIENCE, on: str | None = None
    ) -> Device:
        """A device that fits is there, or comes in time. Returns it.

        ``match``: what `Match` says. ``on``: a glob for the observer's interface.
        """
        __tracebackhide__ = True
        wanted = self._wanted(match, on)
        found = self._await(lambda: self._first(wanted), within, search=True)
        if found is None:
            self._fail(f"no device {wanted} was there within {within:g} s", wanted)
        self._taken[found.id] = self.journal.count
        return found

    def expect_no_device(self, match: Match = (), *, during: float, on: str | None = None) -> None:
        """No device that fits is there, nor comes in ``during`` seconds."""
        __tracebackhide__ = True
        wanted = self._wanted(match, on)
        found = self._await(lambda: self._first(wanted), during, search=True)
        if found is not None:
            self._fail(f"a device {wanted} is there: {found.name!r} {found.type}")

    def expect_goodbye(self, match: Match = (), *, within: float = PATIENCE) -> Device:
        """A device that fits says goodbye, and is gone. Returns it as it last was."""
        __tracebackhide__ = True
        return self.expect_removal(match, cause=Cause.GOODBYE, within=within)

    def expect_removal(
        self, match: Match = (), *, cause: Cause | None = None, within: float = PATIENCE
    ) -> Device:
        """A device that fits is gone, for this cause if one is given. Returns it.

        This and the expectations below look at what happened since the last one that was about
        the same device.
        """
        __tracebackhide__ = True
        words = f"was gone ({cause})" if cause is not None else "was gone"
        return self._expect_event(
            match,
            lambda e: isinstance(e, Removed) and (cause is None or e.cause is cause),
            words,
            within,
        )

    def expect_change(self, match: Match = (), *changed: str, within: float = PATIENCE) -> Device:
        """What a device offers changes: all fields named, or any. Returns it as it is then.

        Fields are those of `bcast.Device`: name, type, port, attributes, sightings, protocols.
        """
        __tracebackhide__ = True
        known = ("name", "type", "port", "attributes", "sightings", "protocols")
        for name in changed:
            if name not in known:
                raise ArgumentError(f"no {name!r} can change", f"use {', '.join(known)}")

        def fits(event: DeviceEvent) -> bool:
            if not isinstance(event, Changed):
                return False
            return set(changed) <= set(event.changed) if changed else bool(event.changed)

        words = f"changed ({', '.join(changed)})" if changed else "changed"
        return self._expect_event(match, fits, words, within)

    def expect_restart(self, match: Match = (), *, within: float = PATIENCE) -> Device:
        """A device comes back after a restart. Returns it as it is then."""
        __tracebackhide__ = True
        if isinstance(match, Impersonated):
            raise ArgumentError(
                f"{match.protocol} doesn't tell that an accessory restarted",
                "expect it with expect_device",
            )
        return self._expect_event(match, lambda e: isinstance(e, Restarted), "restarted", within)

    def _expect_event(
        self, match: Match, fits: Callable[[DeviceEvent], bool], words: str, within: float
    ) -> Device:
        __tracebackhide__ = True
        wanted = self._wanted(match)

        def find() -> tuple[int, Device] | None:
            since = self.journal.events_since(lambda device: self._taken.get(device.id, 0))
            for number, event in since:
                if fits(event) and wanted.fits(event.device):
                    return number, event.device
            return None

        found = self._await(find, within, silent=True)
        if found is None:
            self._fail(f"no device {wanted} {words} within {within:g} s", wanted)
        number, device = found
        self._taken[device.id] = number
        return device

    # -- how ----------------------------------------------------------------------------------

    def _wanted(self, match: Match, on: str | None = None) -> Wanted:
        return Wanted(match, on)

    def _first(self, wanted: Wanted) -> Device | None:
        return next(filter(wanted, self.devices), None)

    def _await(
        self,
        find: Callable[[], ResultT | None],
        seconds: float,
        *,
        search: bool = False,
        silent: bool = False,
    ) -> ResultT | None:
        """What ``find`` returns as soon as that isn't None; None if it is for so many seconds."""
        check_seconds(seconds)
        found: ResultT | None = None
        seen = -1

        def ready() -> bool:
            nonlocal found, seen
            if self.journal.count == seen:
                return found is not None
            seen = self.journal.count
            found = find()
            return found is not None

        is_there = (search or silent) and ready()
        self._observe(search=search and not is_there, silent=silent and not is_there)
        self._pass_time(ready, self.now + seconds)
        return found

    def _fail(self, sentence: str, wanted: Wanted | None = None) -> NoReturn:
        __tracebackhide__ = True
        nearest = wanted.nearest(self.devices) if wanted is not None else ""
        self.journal.add([Note(self.now, "", f"failed: {sentence}")])
        raise ExpectationError("\n".join(filter(None, [sentence, nearest, self.timeline])))


def check_seconds(seconds: float) -> None:
    """Raises `ArgumentError` for what is no time to wait."""
    if not 0 <= seconds < inf:
        raise ArgumentError(f"can't wait for {seconds} s", "use 0 seconds or more")
