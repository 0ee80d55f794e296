"""How a device looks: a row for people, an object for programs."""

from __future__ import annotations

from collections.abc import Iterable
from time import localtime, strftime
from typing import TYPE_CHECKING, Any

from bcast.cli.output import rejections
from bcast.cli.show import sanitize
from bcast.datagram import Endpoint
from bcast.device import (
    Added,
    Changed,
    Device,
    DeviceEvent,
    Removed,
    Restarted,
    Sighting,
    Suspect,
)
from bcast.timestamp import rfc3339

if TYPE_CHECKING:
    from bcast.discovery.prober import SearchStatistics
    from bcast.driver import Traffic

__all__ = [
    "HEADINGS",
    "Cells",
    "cells_of",
    "counts_object",
    "counts_parts",
    "device_object",
    "event_line",
    "event_name",
    "event_object",
    "in_order",
    "table_lines",
]

#: What is shown of a device.
HEADINGS = ("NAME", "TYPE", "ADDRESS", "INTERFACES", "LATENCY", "PROTOCOLS")
Cells = tuple[str, str, str, str, str, str]

_NAMES: dict[type, str] = {
    Added: "added",
    Changed: "changed",
    Suspect: "suspect",
    Restarted: "restarted",
    Removed: "removed",
}


def in_order(devices: Iterable[Device]) -> list[Device]:
    """By type, then name, as people look for them."""
    return sorted(devices, key=lambda device: (device.type, device.name, device.id))


def cells_of(device: Device) -> Cells:
    """What is shown of a device, below `HEADINGS`; harmless on a terminal."""
    sightings = device.sightings
    addresses = dict.fromkeys(_address(device, one) for one in sightings)
    where = next(iter(addresses), "-")
    if len(addresses) > 1:
        where += f" +{len(addresses) - 1}"
    interfaces = ",".join(dict.fromkeys(one.interface for one in sightings)) or "-"
    return (
        # Not every accessory has a name; what it is known by does as well.
        sanitize(device.name or device.id),
        sanitize(device.type) or "-",
        where,
        sanitize(interfaces),
        _latency(device),
        sanitize(",".join(device.protocols)),
    )


def _address(device: Device, sighting: Sighting) -> str:
    """Where its service is, so that it can be pasted into what wants to use it."""
    endpoint = str(Endpoint(sighting.address, device.port))
    return endpoint if device.port else endpoint.removesuffix(":0")


def _latency(device: Device) -> str:
    """The shortest latency of all its sightings, in milliseconds."""
    known = [one.latency for one in device.sightings if one.latency is not None]
    return f"{min(known) * 1000:.1f} ms" if known else "-"


def table_lines(devices: Iterable[Device], *, details: bool = False) -> list[str]:
    """A heading and a row each, in columns; with ``details``, its id and attributes below it."""
    listed = list(devices)
    rows = [HEADINGS, *map(cells_of, listed)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
    if not details:
        return lines
    told = [lines[0]]
    for device, line in zip(listed, lines[1:], strict=True):
        attributes = (f"{key}={value}" for key, value in device.attributes.items())
        told += [line, sanitize("  ".join(["    id " + device.id, *attributes]))]
    return told


def device_object(event: str, device: Device) -> dict[str, Any]:
    """The event of that name about a device."""
    return {
        "event": event,
        "protocols": list(device.protocols),
        "id": device.id,
        "name": device.name,
        "type": device.type,
        "port": device.port,
        "attributes": dict(device.attributes),
        "sightings": [
            {
                "interface": one.interface,
                "index": one.index,
                "address": str(one.address),
                "port": one.port,
                "protocol": one.protocol,
                "latency": None if one.latency is None else round(one.latency, 6),
                "last_heard": rfc3339(one.last_heard_ns) if one.last_heard_ns else None,
            }
            for one in device.sightings
        ],
        "probes_answered": device.probes_answered,
    }


def event_name(event: DeviceEvent) -> str:
    """``added``, ``changed``, ``suspect``, ``restarted`` or ``removed``."""
    return _NAMES[type(event)]


def event_object(event: DeviceEvent, time_ns: int) -> dict[str, Any]:
    """What happened to a device at that time, in nanoseconds since 1970 UTC."""
    told = device_object(event_name(event), event.device)
    told = {"event": told.pop("event"), "time": rfc3339(time_ns), **told}
    if isinstance(event, Changed):
        told["changed"] = list(event.changed)
    elif isinstance(event, Removed):
        told["cause"] = str(event.cause)
    return told


def event_line(event: DeviceEvent, time_ns: int) -> str:
    """The same as a line, with local time."""
    second, rest = divmod(time_ns, 1_000_000_000)
    clock = f"{strftime('%H:%M:%S', localtime(second))}.{rest // 1_000_000:03d}"
    line = "  ".join([clock, f"{event_name(event):<9}", *cells_of(event.device)])
    if isinstance(event, Changed):
        return f"{line}  ({', '.join(event.changed) or 'answers again'})"
    return f"{line}  ({event.cause})" if isinstance(event, Removed) else line


def counts_object(there: int, statistics: SearchStatistics, traffic: Traffic) -> dict[str, Any]:
    """What the summary of a search counts, when ``there`` devices answered and are there."""
    missing = _missing(there, statistics)
    return {
        "probes": statistics.probes,
        "queries": statistics.queries,
        "replies": statistics.replies,
        "estimated_missing": None if missing is None else round(missing, 3),
        "refused": statistics.refused,
        "rejected": sum(statistics.rejected.values()),
        "rejected_reasons": dict(sorted(statistics.rejected.items())),
        "datagrams": traffic.received,
        "bytes": traffic.bytes,
        "kernel_drops": traffic.kernel_drops,
        "not_sent": traffic.lost,
    }


def counts_parts(there: int, statistics: SearchStatistics, traffic: Traffic) -> list[str]:
    """What of that people want to know."""
    drops = traffic.kernel_drops
    parts = [_missing_sentence(_missing(there, statistics))]
    if statistics.refused:
        parts.append(f"no room for {statistics.refused}")
    parts.append(f"kernel drops {'unknown' if drops is None else drops}")
    parts.append(rejections(statistics.rejected))
    if traffic.lost:
        parts.append(f"not sent {traffic.lost}")
    return parts


def _missing(there: int, statistics: SearchStatistics) -> float | None:
    """The estimate of who wasn't heard: there is none unless somebody was."""
    return statistics.estimated_missing if there else None


def _missing_sentence(missing: float | None) -> str:
    """What can be said about devices that are there and weren't found: no more than is known."""
    if missing is None:
        return "no telling how many are missing"
    if missing < 0.05:
        return "no sign that any is missing"
    if missing < 1:
        return f"one may be missing (the estimate is {missing:.1f})"
    return f"some {missing:.0f} may be missing"
