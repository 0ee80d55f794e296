"""What a search heard, and when, interface by interface: for whoever wonders why it failed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from bcast.cli.devices import event_name
from bcast.cli.show import sanitize
from bcast.device import Added, Changed, Device, DeviceEvent, Removed, Sighting, Suspect

__all__ = ["Timeline"]

# Entries that are kept, the latest: a flood of made-up devices fills no memory, and no screen.
_KEPT = 100


class _Entry(NamedTuple):
    """What happened on an interface, at that time (nanoseconds since 1970 UTC)."""

    time_ns: int
    interface: str
    text: str


class Timeline:
    """Takes the events of a search in, and shows them by interface, with seconds since its start.

    ``start_ns``: nanoseconds since 1970 UTC. What was heard has the time at which it came, the
    rest that at which it was noticed.
    """

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._entries: deque[_Entry] = deque(maxlen=_KEPT)
        self._count = 0
        #: Where each device that is there was heard.
        self._known: dict[str, frozenset[tuple[str, str]]] = {}

    def note(self, event: DeviceEvent, now_ns: int, *, matches: bool) -> None:
        """Something happened to a device, which is one that is searched for or isn't."""
        device = event.device
        known = self._known.get(device.id, frozenset())
        ways = frozenset(map(_way, device.sightings))
        # Silence wasn't heard anywhere, and so it is of every place; so is a goodbye.
        heard = []
        if not isinstance(event, Removed | Suspect):
            heard = self._heard(event, device, known)
        told = f"{event_name(event):<9}  {_described(event, device)}"
        if not matches:
            told += "  (doesn't match)"
        for sighting in heard:
            when = sighting.last_heard_ns or now_ns
            self._keep(_Entry(when, sighting.interface, f"{told}  from {sighting.address}"))
        if not heard:
            for interface in sorted({interface for interface, _ in known | ways}) or ["-"]:
                self._keep(_Entry(now_ns, interface, told))
        if isinstance(event, Removed):
            self._known.pop(device.id, None)
        else:
            self._known[device.id] = ways

    @staticmethod
    def _heard(
        event: DeviceEvent, device: Device, known: frozenset[tuple[str, str]]
    ) -> list[Sighting]:
        """The sightings that an event came by: all new ones, or the latest."""
        new = [one for one in device.sightings if _way(one) not in known]
        if isinstance(event, Added) or new:
            return new
        return sorted(device.sightings, key=lambda one: one.last_heard_ns)[-1:]

    def _keep(self, entry: _Entry) -> None:
        self._entries.append(entry)
        self._count += 1

    def lines(self, interfaces: Iterable[str]) -> list[str]:
        """A heading for each of the interfaces, and for others that something was heard on."""
        listed: dict[str, list[_Entry]] = {name: [] for name in interfaces}
        for entry in sorted(self._entries):
            listed.setdefault(entry.interface, []).append(entry)
        lines = ["what was heard, in seconds since the search began:"]
        if self._count > len(self._entries):
            lines.append(f"  ({self._count - len(self._entries)} earlier events are left out)")
        for name, entries in listed.items():
            lines.append(f"{sanitize(name)}:" if entries else f"{sanitize(name)}: nothing")
            for one in entries:
                since = max(0, one.time_ns - self._start_ns) / 1e9
                lines.append(f"  {since:8.3f}  {sanitize(one.text)}")
        return lines


def _way(sighting: Sighting) -> tuple[str, str]:
    return sighting.interface, str(sighting.address)


def _described(event: DeviceEvent, device: Device) -> str:
    told = f"{device.name}  {device.type}"
    if isinstance(event, Changed):
        return f"{told}  ({', '.join(event.changed) or 'answers again'})"
    return f"{told}  ({event.cause})" if isinstance(event, Removed) else told
