"""What was heard, and what was made of it: the journal that a failed expectation shows."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from bcast.datagram import Datagram, Endpoint
from bcast.destinations import NATIVE
from bcast.device import Added, Changed, Device, DeviceEvent, Removed
from bcast.errors import DecodeError
from bcast.foreign.merging import Merger
from bcast.messages import Announcement, Goodbye, Message, Probe, Query, Reply
from bcast.wire import decode

__all__ = ["MAX_NOTES", "Asked", "Journal", "Note", "event_words"]

#: The last so many notes are kept: what a flood, or a simulated week, takes of memory.
MAX_NOTES = 20_000

# Lines that are shown of each interface, the last ones.
_LINES = 40

_WORDS = {
    Reply: "reply",
    Announcement: "announcement",
    Goodbye: "goodbye",
    Probe: "probe",
    Query: "query",
}


class Asked(NamedTuple):
    """A question that was sent to one peer."""

    payload: bytes
    destination: Endpoint


class Note(NamedTuple):
    """Something that happened at ``time`` (seconds), on the interface of that name if on one.

    A datagram was heard, a question asked, a device came, changed or went, or what a text says.
    ``words``: what the datagram or the question is, if whoever heard it knows better.
    """

    time: float
    interface: str
    subject: Datagram | Asked | DeviceEvent | str
    words: str = ""


class _Event(NamedTuple):
    number: int
    time: float
    event: DeviceEvent


class Journal:
    """Notes, oldest first, and the devices that are there by what they say.

    Any thread may add to it. ``changed`` is notified when one does.
    """

    def __init__(self, limit: int = MAX_NOTES) -> None:
        self.changed = threading.Condition()
        #: How many notes there were altogether.
        self.count = 0
        self._notes: deque[Note] = deque(maxlen=limit)
        self._events: deque[_Event] = deque(maxlen=limit)
        self._devices: dict[str, Device] = {}
        self._merger: Merger | None = None

    def add(self, notes: Iterable[Note]) -> None:
        with self.changed:
            for note in notes:
                if isinstance(note.subject, Datagram | Asked | str):
                    self._keep(note)
                    continue
                for event in self._merged(note.subject):
                    self._keep(note._replace(subject=event))
                    self._take(note.time, event)
            self.changed.notify_all()

    def _keep(self, note: Note) -> None:
        self.count += 1
        self._notes.append(note)

    def merge(self) -> None:
        """From now on, what several protocols say of one device is put together."""
        with self.changed:
            if self._merger is None:
                self._merger = Merger()
                for device in self._devices.values():
                    list(self._merged(Added(device)))

    def _merged(self, event: DeviceEvent) -> Iterator[DeviceEvent]:
        if self._merger is None:
            yield event
            return
        self._merger.take(event)
        while (one := self._merger.next_event()) is not None:
            yield one

    def _take(self, time: float, event: DeviceEvent) -> None:
        self._events.append(_Event(self.count, time, event))
        if isinstance(event, Removed):
            self._devices.pop(event.device.id, None)
        else:
            self._devices[event.device.id] = event.device

    @property
    def devices(self) -> tuple[Device, ...]:
        """Those that are there."""
        with self.changed:
            return tuple(self._devices.values())

    @property
    def datagrams(self) -> tuple[Datagram, ...]:
        """What was heard, as far as it is kept."""
        with self.changed:
            return tuple(n.subject for n in self._notes if isinstance(n.subject, Datagram))

    def events_since(self, number: Callable[[Device], int]) -> Iterator[tuple[int, DeviceEvent]]:
        """The events after the note of a number, which depends on their device; oldest first."""
        with self.changed:
            events = tuple(self._events)
        for one in events:
            if one.number > number(one.event.device):
                yield one.number, one.event

    # -- shown --------------------------------------------------------------------------------

    def lines(self, interfaces: Sequence[str]) -> list[str]:
        """What happened, then what was heard on each of these interfaces, and on others."""
        with self.changed:
            notes, dropped = tuple(self._notes), self.count - len(self._notes)
        found: dict[str, list[tuple[float, str]]] = {"": [], **{name: [] for name in interfaces}}
        for note in notes:
            found.setdefault(note.interface, []).append((note.time, _words(note)))
        told = [f"({dropped} older notes are gone)"] if dropped else []
        for name, section in found.items():
            if not section:
                told.append(f"{name}: nothing was heard" if name else "no device was found")
                continue
            told.append(name or "what happened")
            told += _shown(section)
        return told


def _shown(section: list[tuple[float, str]]) -> list[str]:
    """Lines with their times; what repeats itself takes one."""
    runs: list[tuple[float, float, int, str]] = []
    for time, text in section:
        if runs and runs[-1][3] == text:
            runs[-1] = (runs[-1][0], time, runs[-1][2] + 1, text)
        else:
            runs.append((time, time, 1, text))
    lines = [f"  ({len(runs) - _LINES} earlier lines)"] if len(runs) > _LINES else []
    for first, last, count, text in runs[-_LINES:]:
        again = f"  ({count} times, until {last:.4f})" if count > 1 else ""
        lines.append(f"  {first:10.4f}  {text}{again}")
    return lines


def _words(note: Note) -> str:
    subject = note.subject
    if isinstance(subject, str):
        return subject
    if isinstance(subject, Asked):
        return f"asked {subject.destination}: {note.words or _content(subject.payload)}"
    if isinstance(subject, Datagram):
        return f"{subject.source}: {note.words or _content(subject.payload)}"
    return event_words(subject)


def _content(payload: bytes) -> str:
    try:
        message: Message = decode(payload)
    except DecodeError as error:
        return f"{len(payload)} bytes that are no message ({error.reason})"
    word = _WORDS.get(type(message), "beat")
    if isinstance(message, Reply | Announcement):
        offered = ", ".join(f"{s.name!r} {s.type}" for s in message.services)
        word = f"{word} {offered or 'without services'}"
    if isinstance(message, Probe | Query):
        return word
    return f"{word}  (id {message.header.id.hex()[:8]}...)"


def event_words(event: DeviceEvent) -> str:
    """``added 'lamp-1' _lamp, eth0 10.0.0.2`` and the like."""
    device = event.device
    where = ", ".join(f"{s.interface} {s.address}" for s in device.sightings) or "nowhere"
    spoken = ", ".join(device.protocols)
    kind = device.type if spoken == NATIVE else f"{device.type} ({spoken})".strip()
    words = f"{type(event).__name__.lower()} {device.name!r} {kind}, {where}"
    if isinstance(event, Changed):
        return f"{words}: {', '.join(event.changed) or 'answers again'}"
    return f"{words}: {event.cause}" if isinstance(event, Removed) else words
