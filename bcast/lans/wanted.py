"""Which device is expected, and which of those that are there comes nearest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase

from bcast.device import Device
from bcast.errors import ArgumentError
from bcast.lans.hosts import Fake
from bcast.matching import Matcher, exactly
from bcast.messages import Service

__all__ = ["Match", "Wanted"]

#: What a device may be expected to be: an accessory, a service, a condition or several as
#: `bcast.matching.Matcher` has them, or whatever a function says.
Match = Fake | Service | str | Iterable[str] | Callable[[Device], bool]


class Wanted:
    """A device that fits ``match``, heard on an interface whose name fits the glob ``on``.

    ``always``: conditions that it must meet in any case. Raises `ArgumentError` for what is no
    match.
    """

    def __init__(self, match: Match, on: str | None = None, always: Iterable[str] = ()) -> None:
        self._on = on
        self._function: Callable[[Device], bool] | None = None
        # Not as conditions: an attribute may have any key, that of a device's name too.
        self._attributes: Mapping[str, str] = {}
        conditions: Iterable[str] = ()
        if isinstance(match, Fake):
            conditions = match.conditions
        elif isinstance(match, Service):
            conditions = (f"name={exactly(match.name)}", f"type={match.type}")
            self._attributes = match.attributes
        elif callable(match):
            self._function = match
        elif isinstance(match, str):
            conditions = (match,)
        else:
            conditions = match
        if not isinstance(conditions, Iterable):
            raise ArgumentError(
                f"{match!r} says nothing about a device",
                "expect an accessory, a Service, conditions like name='lamp-*', or a function",
            )
        self._matcher = Matcher((*conditions, *always))

    def __str__(self) -> str:
        words = []
        attributes = (f"{key}={value}" for key, value in self._attributes.items())
        if conditions := (*self._matcher.conditions, *attributes):
            words.append(f"with {' and '.join(conditions)}")
        if self._function is not None:
            words.append(f"that {getattr(self._function, '__name__', 'the function')} accepts")
        if self._on is not None:
            words.append(f"on {self._on}")
        return " ".join(words or ["at all"])

    def fits(self, device: Device) -> bool:
        """Whether it is that device, wherever it was heard."""
        return (
            self._matcher(device)
            and self._attributes.items() <= device.attributes.items()
            and (self._function is None or self._function(device))
        )

    def __call__(self, device: Device) -> bool:
        return self._is_there(device) and self.fits(device)

    def _is_there(self, device: Device) -> bool:
        if self._on is None:
            return True
        return any(fnmatchcase(one.interface, self._on) for one in device.sightings)

    def nearest(self, devices: Iterable[Device]) -> str:
        """The device that fits best, and why it doesn't fit; empty if there is none."""
        found = [(self._wrong(device), device) for device in devices]
        if not found:
            return ""
        wrong, device = min(found, key=lambda one: len(one[0]))
        return f"{device.name!r} {device.type} came nearest: {', '.join(wrong) or 'it fits'}"

    def _wrong(self, device: Device) -> tuple[str, ...]:
        wrong = self._matcher.unmet(device)
        for key, value in self._attributes.items():
            there = device.attributes.get(key)
            if there is None:
                wrong += (f"{key} isn't there, let alone {value}",)
            elif there != value:
                wrong += (f"{key} is {there}, not {value}",)
        if self._function is not None and not self._function(device):
            wrong = (*wrong, "the function doesn't accept it")
        if not self._is_there(device):
            heard = " and ".join(one.interface for one in device.sightings)
            wrong = (*wrong, f"it was heard on {heard}, not {self._on}")
        return wrong
