"""Which devices are meant: ``KEY=GLOB``, as ``--match`` and expectations have it. Layer 2."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from bcast.device import Device
from bcast.errors import ArgumentError

__all__ = ["Matcher", "exactly"]

# What a key means that isn't an attribute's. Where a device has several, one of them will do.
_MEANINGS: dict[str, Callable[[Device], Iterable[str]]] = {
    "name": lambda device: (device.name,),
    "type": lambda device: (device.type,),
    "id": lambda device: (device.id,),
    "protocol": lambda device: device.protocols,
    "address": lambda device: (str(sighting.address) for sighting in device.sightings),
    "interface": lambda device: (sighting.interface for sighting in device.sightings),
}


class Matcher:
    """Says whether all conditions hold for a device; without conditions they do.

    A condition is KEY=GLOB: the key is name, type, id, protocol, address, interface, or that of an
    attribute, and a device without that attribute never matches. The glob (``*``, ``?`` and
    ``[...]``) is for the whole value, case-sensitive. Raises `ArgumentError`.
    """

    def __init__(self, conditions: Iterable[str]) -> None:
        self.conditions = tuple(conditions)
        self._patterns: list[tuple[str, str, re.Pattern[str]]] = []
        for condition in self.conditions:
            key, equals, glob = condition.partition("=")
            if not (key and equals):
                raise ArgumentError(
                    f"'{condition}' is no condition",
                    "write KEY=GLOB, like name='lamp-*' or interface=eth0",
                )
            from fnmatch import translate

            self._patterns.append((key, glob, re.compile(translate(glob))))

    def __call__(self, device: Device) -> bool:
        return all(any(map(p.match, _values(device, key))) for key, _, p in self._patterns)

    def unmet(self, device: Device) -> tuple[str, ...]:
        """What of a device isn't as it is meant, in words: ``type is _lamp, not _plug``."""
        found = []
        for key, glob, pattern in self._patterns:
            values = tuple(_values(device, key))
            if not any(map(pattern.match, values)):
                said = f"is {' and '.join(values)}, not" if values else "isn't there, let alone"
                found.append(f"{key} {said} {glob}")
        return tuple(found)


def exactly(text: str) -> str:
    """The glob that only ``text`` matches."""
    return re.sub(r"([*?[])", r"[\1]", text)


def _values(device: Device, key: str) -> Iterable[str]:
    if key in _MEANINGS:
        return _MEANINGS[key](device)
    return [value for name, value in device.attributes.items() if name == key]
