"""Who is stood in for: accessories of one protocol that can be told apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from hashlib import sha256
from ipaddress import IPv4Address
from random import Random
from typing import NamedTuple
from uuid import UUID

from bcast.accessory.description import Decoded, Description
from bcast.accessory.template import Own, Value
from bcast.errors import ArgumentError
from bcast.foreign.asking import ASKED
from bcast.foreign.ends import End

__all__ = ["MAX_ACCESSORIES", "Cast", "Part", "next_id"]

#: Accessories that one machine stands in for.
MAX_ACCESSORIES = 1_000

# Texts that name one accessory, wherever they stand: hardware addresses and UUIDs.
_NAMES = re.compile(
    r"(?<![0-9A-Fa-f])(?:[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"
    r"|[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5,7}|[0-9A-Fa-f]{12})(?![0-9A-Fa-f])"
)

# What becomes another number in the id of the next accessory.
_LAST_DIGITS = re.compile(r"[0-9A-Fa-f]+(?=[^0-9A-Fa-f]*$)")

_LOCAL = 0x02 << 40


class Part(NamedTuple):
    """One accessory on one interface: who it is, and all that it says of itself."""

    own: Own
    values: Mapping[str, Value]


class Cast:
    """``number`` accessories, 1..1000, that say the values ``given``, and for the rest what the
    description has for them.

    Who they are follows from ``hardware_address`` ("": that of an interface), so that they are
    the same when they are played again; their ids, hardware addresses and UUIDs count up, and so
    does the name, unless it was given. Raises `ArgumentError` for values that the protocol doesn't
    have, or can't say.
    """

    def __init__(
        self,
        description: Description,
        given: Mapping[str, Value],
        *,
        number: int = 1,
        host: str = "",
        hardware_address: str = "",
        random: Random,
    ) -> None:
        if not 1 <= number <= MAX_ACCESSORIES:
            raise ArgumentError(
                f"can't stand in for {number} accessories", f"use 1 to {MAX_ACCESSORIES}"
            )
        _check(given, description)
        self.number = number
        self._description = description
        self._given = dict(given)
        self._host = host
        self._random = random
        self._base = _number(hardware_address)
        # So that what can't be is said before anything is opened.
        _rehearse(description, self._part(0, "192.0.2.1", []), random)

    def parts(self, ends: Iterable[End], end: End) -> list[Part]:
        """All of them, on one of the interfaces that there are."""
        if not self._base:
            found = (one.interface.hardware_address for one in ends)
            given = _number(next((one for one in found if one), ""))
            self._base = given or self._random.getrandbits(40) | _LOCAL
        usable = [a.address for a in end.interface.addresses if not a.tentative]
        four = [address for address in usable if isinstance(address, IPv4Address)]
        return self.at(str([*four, *usable, "0.0.0.0"][0]).partition("%")[0])

    def at(self, address: str) -> list[Part]:
        """All of them, where they have that address."""
        made: list[Part] = []
        for place in range(self.number):
            made.append(self._part(place, address, made))
        return made

    def _part(self, place: int, address: str, before: list[Part]) -> Part:
        description = self._description
        # Hardware addresses that nobody was given: locally administered ones.
        number = self._base if not place else (self._base + place) % (1 << 40) | _LOCAL
        mac = ":".join(f"{byte:02x}" for byte in number.to_bytes(6, "big"))
        digest = sha256(f"{description.name} {mac}".encode()).digest()
        id = str(UUID(bytes=digest[:16], version=4))
        own = Own(address, description.port, mac, id, self._host)
        given = dict(self._given)
        if place and "id" in given:
            given["id"] = next_id(given["id"], place)
        values = description.accessory(given, own=own, random=self._random)
        if place:
            first = before[0].values
            for key, value in values.items():
                if key not in given and value == first.get(key):
                    values[key] = (next_id if key == "id" else _counted_up)(value, place)
            name = values.get("name")
            if isinstance(name, str) and name and "name" not in given:
                values["name"] = f"{name} {place + 1}"
        return Part(own, values)


def _number(hardware_address: str | None) -> int:
    return int((hardware_address or "").replace(":", "") or "0", 16)


def _check(given: Mapping[str, Value], description: Description) -> None:
    """Raises `ArgumentError` for a name by which nothing is said."""
    says = description.says
    for name in given:
        # Whoever has no id or name of its own can be given one, for what is written here.
        if name in says or name in ("id", "name"):
            continue
        if "*" not in says or name in description.names:
            listed = sorted(one for one in says if one and one[0] not in "_#*")
            near = get_close_matches(name, listed, n=1)
            advice = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(listed)}"
            raise ArgumentError(f"{description.name} has no value called '{name}'", advice)


def _rehearse(description: Description, part: Part, random: Random) -> None:
    """Says everything once, to nobody. Raises `ArgumentError` for a value that can't be said."""
    own, values = part.own, part.values
    for form in description.messages:
        if form.role == "probe":
            try:
                probe = description.encode(
                    form, {}, own=own, random=random, now=0.0, device=values
                )
            except ArgumentError:
                continue  # It needs values from who asks.
            decoded = description.decode(probe, roles=ASKED)
            if isinstance(decoded, Decoded):
                for answer in description.answers(decoded, values):
                    asked, ours = decoded.values, answer.values
                    description.encode(
                        answer.form, ours, own=own, random=random, now=0.0, probe=asked
                    )
        elif form.role != "reply" and form.sent:
            for ours in description.each(form, values):
                description.encode(form, ours, own=own, random=random, now=0.0)


def _counted_up(value: Value, place: int) -> Value:
    """The same value of another accessory, if it names one."""
    if not isinstance(value, str):
        return value
    return _NAMES.sub(lambda found: _added(found[0], place), value)


def next_id(id: Value, place: int) -> Value:
    """The id of the accessory that is so many further."""
    if isinstance(id, int) and not isinstance(id, bool):
        return id + place
    if not isinstance(id, str):
        return id
    if _LAST_DIGITS.search(id):
        return _LAST_DIGITS.sub(lambda found: _added(found[0], place), id, count=1)
    return f"{id}{place}"


def _added(text: str, place: int) -> str:
    """Hex digits counted up, written as they were, between whatever is between them."""
    digits = re.sub("[^0-9A-Fa-f]", "", text)
    base = 10 if digits.isdecimal() else 16
    size = len(digits)
    more = (int(digits, base) + place) % base**size
    counted = f"{more:0{size}d}" if base == 10 else f"{more:0{size}x}"
    if digits.upper() == digits:
        counted = counted.upper()
    left = iter(counted)
    return re.sub("[0-9A-Fa-f]", lambda _: next(left), text)
