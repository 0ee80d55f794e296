"""Devices: what a search finds, by whatever protocol, and what happens to them. Layer 1."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from bcast.datagram import IPAddress
from bcast.messages import Attributes
from bcast.values import Value

__all__ = [
    "Added",
    "Cause",
    "Changed",
    "Device",
    "DeviceEvent",
    "Removed",
    "Restarted",
    "Sighting",
    "Suspect",
]


class Sighting(Value):
    """Where a device was heard: on which interface, from which address, by which protocol.

    ``latency``: seconds from the first probe that it answered here to its answer, None if it was
    heard without being asked. ``last_heard_ns``: nanoseconds since 1970 UTC, as datagrams have.
    """

    interface: str
    index: int
    address: IPAddress
    port: int
    protocol: str = "bcast"
    latency: float | None = None
    last_heard_ns: int = 0


class Device(Value):
    """A device as it is known now; ``id`` tells it from all others, its addresses don't.

    A native peer that offers several services is as many devices, with ids ``ID``, ``ID/1``, ...
    ``probes_answered``: how many different probes it has answered so far.
    """

    id: str
    name: str
    type: str
    port: int
    attributes: Mapping[str, str] = Attributes()
    sightings: tuple[Sighting, ...] = ()
    protocols: tuple[str, ...] = ("bcast",)
    probes_answered: int = 0


class Cause(enum.StrEnum):
    """Why a device was removed: it said so, it fell silent, its last interface went away, or it
    turned out to be the same as another one, which shows it from then on."""

    GOODBYE = "goodbye"
    SILENCE = "silence"
    PATH = "path"
    MERGED = "merged"


class Added(Value):
    """A device was found."""

    device: Device


class Changed(Value):
    """What a device offers changed: the names of its fields (``"port"``, ``"attributes"``...).

    Another sighting is a change too: ``("sightings",)``.
    """

    device: Device
    changed: tuple[str, ...]


class Suspect(Value):
    """A device has been silent for too long and is being asked whether it is still there.

    If it answers, a `Changed` with no names says so.
    """

    device: Device


class Restarted(Value):
    """A device came back after a restart; `device` is what it offers now."""

    device: Device


class Removed(Value):
    """A device is gone."""

    device: Device
    cause: Cause


DeviceEvent = Added | Changed | Suspect | Restarted | Removed
