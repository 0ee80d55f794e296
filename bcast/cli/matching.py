"""Which devices are meant: ``--match KEY=GLOB``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from bcast.device import Device
from bcast.errors import ArgumentError

__all__ = ["Matcher"]

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
        self._conditions: list[tuple[str, re.Pattern[str]]] = []
        for condition in conditions:
            key, equals, glob = condition.partition("=")
            if not (key and equals):
                raise ArgumentError(
                    f"'{condition}' is no condition",
                    "write --match KEY=GLOB, like name='lamp-*' or interface=eth0",
                )
            from fnmatch import translate

            self._conditions.append((key, re.compile(translate(glob))))

    def __call__(self, device: Device) -> bool:
        for key, pattern in self._conditions:
            if key in _MEANINGS:
                values = _MEANINGS[key](device)
            else:
                values = [v for k, v in device.attributes.items() if k == key]
            if not any(map(pattern.match, values)):
                return False
        return True
