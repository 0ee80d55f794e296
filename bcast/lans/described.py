"""A fake accessory of a described protocol, which can be told to misbehave. A machine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from random import Random

from bcast.accessory.catalogue import is_file, load_named, names
from bcast.accessory.description import Decoded, Description
from bcast.accessory.forms import Role
from bcast.accessory.template import Value
from bcast.errors import ArgumentError
from bcast.foreign.casting import Cast, Part, next_id
from bcast.foreign.mimic import Mimic
from bcast.lans.fakes import Misbehaving, Switches
from bcast.machine import Attached, Outgoing, Received
from bcast.sweep import check_usable
from bcast.values import Value as Frozen

__all__ = ["Described", "FakeDescribed", "Spoken", "description_of"]

_TOLD: tuple[Role, ...] = ("goodbye", "announcement", "reply")

# Where an accessory is while it isn't anywhere: a documentation address (RFC 5737).
_NOWHERE = "192.0.2.1"


def description_of(name: object) -> Description | None:
    """The protocol that is meant by a name of the catalogue, a ``.toml`` file or a description.

    None if that is no name of a protocol. Raises `ArgumentError` for a description that can't be
    read, or used here.
    """
    if isinstance(name, str):
        if not (name.endswith(".toml") or name in names()):
            return None
        name = load_named(name)
    if not isinstance(name, Description):
        return None
    check_usable(name)
    return name


class Spoken:
    """A description, which goes to another process as the file that it was read from."""

    def __init__(self, description: Description) -> None:
        self.description = description

    def __reduce__(self) -> tuple[type[Spoken], tuple[Description]] | tuple[object, tuple[str]]:
        description = self.description
        path = os.path.abspath(description.path) if description.path else ""
        if not (is_file(path) and os.path.isfile(path)):
            raise ArgumentError(
                f"{description.name} is in no file, so no other process can read it",
                "write it to one, and give its path",
            )
        return _read, (path,)


def _read(path: str) -> Spoken:
    return Spoken(load_named(path))


class Described(Frozen):
    """What a fake accessory of a protocol is made of; ``count`` of them, on one host.

    ``given``: what it says, as `bcast.Impersonator` has it. ``id``: 16 bytes that decide who it
    is, on all networks and after a restart.
    """

    spoken: Spoken
    given: Mapping[str, Value]
    count: int
    id: bytes
    switches: Switches = Switches()

    @property
    def description(self) -> Description:
        return self.spoken.description

    @property
    def hardware_address(self) -> str:
        """A locally administered one."""
        return (b"\x02" + self.id[:5]).hex(":")

    def parts(self, address: str = _NOWHERE) -> list[Part]:
        """Who they are, at an address. Raises `ArgumentError` for values that can't be."""
        return Cast(
            self.description,
            self.given,
            number=self.count,
            hardware_address=self.hardware_address,
            random=Random(self.id),
        ).at(address)

    def device_id(self) -> str | None:
        """The `bcast.Device.id` of the first; None where that is its address."""
        description = self.description
        if not description.identified:
            return None
        form = next(form for form in description.messages if form.role != "probe")
        values = dict(self.parts()[0].values)
        return description.identity(Decoded(description, form, values, frozenset()), "").id

    @property
    def says_name(self) -> bool:
        """Whether it was given a name that all of them say."""
        messages = self.description.messages
        told = [form for form in messages if form.role != "probe" and form.sent]
        holes = (hole for form in told for hole in form.template.holes)
        return bool(self.given.get("name")) and any(hole.name == "name" for hole in holes)

    def check(self) -> None:
        """Raises `ArgumentError` for what such an accessory can't say, or can't be told to be."""
        description, name = self.description, self.description.name
        for wrong in self.given.keys() - description.names:
            if near := get_close_matches(wrong, Switches._names, n=1, cutoff=0.7):
                raise ArgumentError(
                    f"{wrong!r} is no switch of an accessory", f"did you mean '{near[0]}'?"
                )
        roles = {form.role for form in description.messages if form.sent}
        if self.switches.forgets_goodbye and "goodbye" not in roles:
            raise ArgumentError(f"{name} has no goodbye to forget", "it leaves without a word")
        if self.switches.wrong_id and not (description.identified and "reply" in roles):
            what = "replies" if description.identified else "ids"
            raise ArgumentError(
                f"{name} has no {what}, let alone wrong ones", "use another switch"
            )
        self.parts()


class FakeDescribed(Misbehaving):
    """A `Mimic` between its own honesty and the network. A `bcast.machine.Machine`.

    ``since``: what Unix time it was when ``now`` was 0. ``host``: what its host is called.
    """

    def __init__(self, described: Described, *, random: Random, since: float, host: str) -> None:
        self._described = described
        self._random = random
        self._since = since
        self._host = host
        self._mimic = self._play(described.given)
        #: Who replies in its place while its id is wrong.
        self._other: Mimic | None = None
        self._attached: tuple[Attached, ...] = ()
        super().__init__(self._mimic, described.switches)
        self.doors = self._mimic.doors

    def _play(self, given: Mapping[str, Value]) -> Mimic:
        described = self._described
        return Mimic(
            described.description,
            given,
            number=described.count,
            random=self._random,
            since=self._since,
            host=self._host,
            hardware_address=described.hardware_address,
        )

    # -- what it is told ----------------------------------------------------------------------

    def change(self, given: Mapping[str, Value], now: float) -> None:
        """Says these values from now on."""
        self._described = self._described.__replace__(given=given)
        self._mimic.change(given, now)
        self._other = None

    def leave(self, now: float) -> None:
        """Says goodbye, if the protocol has one and it doesn't forget to, and nothing else."""
        if self._switches.forgets_goodbye:
            self._is_gone = True
        else:
            self._mimic.leave(now)

    # -- Machine ------------------------------------------------------------------------------

    def interfaces_changed(self, interfaces: Sequence[Attached], now: float) -> None:
        self._attached = tuple(interfaces)
        self._other = None
        super().interfaces_changed(interfaces, now)

    def receive_datagrams(self, received: Received, now: float) -> None:
        if not self._switches.wrong_id:
            super().receive_datagrams(received, now)
            return
        if self._other is None:
            id = self._described.device_id()
            given = {**self._described.given, "id": next_id(id or "", self._described.count)}
            self._other = self._play(given)
            self._other.interfaces_changed(self._attached, now)
        self._other.receive_datagrams(received, now)

    def _said(self, now: float) -> list[Outgoing]:
        outgoing = super()._said(now)
        if self._other is not None:
            outgoing += filter(self._is_reply, self._other.datagrams_to_send(now))
        return outgoing

    def get_timer(self) -> float | None:
        moments = [super().get_timer()]
        if self._other is not None:
            moments.append(self._other.get_timer())
        return min((moment for moment in moments if moment is not None), default=None)

    def handle_timer(self, now: float) -> None:
        super().handle_timer(now)
        if self._other is not None:
            self._other.handle_timer(now)

    def _spoil(self, outgoing: Outgoing) -> list[Outgoing]:
        return [outgoing] * (1 + (self._switches.twice and self._is_reply(outgoing)))

    def _is_reply(self, outgoing: Outgoing) -> bool:
        said = self._described.description.decode(outgoing.payload, roles=_TOLD)
        return isinstance(said, Decoded) and said.form.role == "reply"
