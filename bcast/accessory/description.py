"""A protocol as data: decodes what its accessories say, and says it in their place."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from bcast.accessory.book import Book, Decoded, Misfits, Probes
from bcast.accessory.forms import MAX_DELAY, Answer, Form, Role
from bcast.accessory.holes import Hole
from bcast.accessory.leaves import write_str
from bcast.accessory.sampling import filler, identifier
from bcast.accessory.template import Misfit, Missing, Own, Random, Reading, Value, Writing
from bcast.accessory.text import TextPattern
from bcast.errors import ArgumentError

__all__ = ["Decoded", "Description", "Identity", "Misfits", "Sample"]

#: Names that say what a device is; all others are its attributes.
_IDENTITY = ("id", "name", "type", "port", "address")


class Identity(NamedTuple):
    """What a datagram says about its device. "" and 0: it doesn't say.

    ``id`` is None where this message doesn't tell it: it belongs to the device that its source
    address is known by. ``address`` is a claim; the sighting is the source.
    """

    id: str | None
    name: str
    type: str
    port: int
    address: str
    attributes: dict[str, Value]


class Sample(NamedTuple):
    """A datagram of the file: of which message, what it means, the sample that it answers."""

    message: str
    payload: bytes
    means: Mapping[str, Value]
    answers: int = 0


#: A value of ``[impersonate]`` or ``[device]``: as it is, or to be filled.
Filled = TextPattern | Value | list[TextPattern]


class Description:
    """One protocol. Made by `bcast.accessory.loading.load`; immutable.

    ``port``: where its probes go. ``group``: "" if it has none. ``messages``: in file order.
    ``collect``: attributes of which one device tells several. ``hears``: the ports at one end or
    the other of its datagrams. ``rows``: the lists that ``for_each`` names. ``path``: the file
    that it was read from. ``needs``: what this installation lacks for it, a sentence with the
    fix; then nothing is decoded by it, and writing raises.
    """

    def __init__(
        self,
        *,
        name: str,
        title: str,
        port: int,
        group: str,
        messages: tuple[Form, ...],
        device: Mapping[str, TextPattern | Value],
        collect: tuple[str, ...],
        defaults: Mapping[str, Filled],
        rows: Mapping[str, tuple[Mapping[str, Filled], ...]],
        only_if: Mapping[str, Mapping[str, tuple[TextPattern, ...]]],
        samples: tuple[Sample, ...],
        path: str = "",
        needs: str = "",
    ) -> None:
        self.name = name
        self.title = title
        self.port = port
        self.group = group
        self.messages = messages
        self.collect = collect
        self.samples = samples
        self.path = path
        self.needs = needs
        self._device = device
        self._defaults = defaults
        self.rows = rows
        self._only_if = only_if
        self._forms = {form.name: form for form in messages}
        self._book = Book((self,))
        #: Every name that a hole of the description has; what else is given is for ``{*}``.
        self.names = {h.name for form in messages for h in form.template.holes} | {*_IDENTITY}
        #: Those that its accessories say something by; ``*``: whatever it is called.
        self.says = self._said()
        self._fallback: dict[str, Value] | None = None
        self._rest: dict[str, Value] = {}
        self.hears = frozenset(
            port
            for form in messages
            for port in (*form.ports, form.source_port, form.to.port, self.port)
            if port
        )

    def _said(self) -> frozenset[str]:
        said = {*self._defaults}
        said.update(name for name, one in self._device.items() if isinstance(one, TextPattern))
        for form in self.messages:
            if form.role != "probe":
                said.update(hole.name for hole in form.template.holes)
        for row in (row for rows in self.rows.values() for row in rows):
            for value in row.values():
                if isinstance(value, TextPattern):
                    said.update(hole.name for hole in value.holes)
        return frozenset(said)

    @property
    def identified(self) -> bool:
        """Whether its devices have an id of their own; otherwise it is their address."""
        return "id" in self._device or any(
            hole.name == "id" for form in self.messages for hole in form.template.holes
        )

    def form(self, name: str) -> Form:
        """The message of that name. Raises KeyError."""
        return self._forms[name]

    # --- from bytes

    def decode(
        self, payload: bytes, *, roles: Collection[Role], probes: Probes | None = None
    ) -> Decoded | Misfits:
        """What a datagram says. A searcher asks for goodbye, announcement and reply, an
        impersonator only for probe: so one's own probe is never a device.

        ``probes``: the values of the probes that were sent, by the probe's name (to learn them,
        random ones too, decode what was sent); a reply has to echo those of one of the probes
        that it answers. None: nobody knows what was asked, and nothing of it is checked.
        Never raises for any payload.
        """
        known = None if probes is None else {self.name: probes}
        return self._book.decode(payload, roles=roles, probes=known)

    def identity(self, decoded: Decoded, source: str) -> Identity:
        """What is said about the device; ``source`` is the address that it was heard from.

        A description in which nothing is called ``id`` takes the source address for it.
        """
        values = decoded.values
        known: dict[str, Value] = {n: values[n] for n in _IDENTITY if n in values}
        writing = Writing(values, own=Own(), random=_Unused())
        for name, filled in self._device.items():
            try:
                known[name] = filled.write(writing) if isinstance(filled, TextPattern) else filled
            except (Missing, Misfit):
                pass  # this message doesn't tell it
        id = known.get("id")
        if not self.identified:
            id = source
        port = known.get("port")
        return Identity(
            None if id is None else _text(id),
            _text(known.get("name", "")),
            _text(known.get("type", "")),
            port if isinstance(port, int) and 0 < port <= 0xFFFF else 0,
            _text(known.get("address", "")),
            {
                name: value
                for name, value in (*values.items(), *known.items())
                if name not in _IDENTITY and not name.startswith("_")
            },
        )

    # --- to bytes

    def encode(
        self,
        form: Form,
        values: Mapping[str, Value],
        *,
        own: Own,
        random: Random,
        now: float,
        probe: Mapping[str, Value] | None = None,
        device: Mapping[str, Value] | None = None,
    ) -> bytes:
        """The datagram. ``now``: Unix time in seconds; ``probe``: the values of the probe that is
        answered; ``device``: what is known of the device that a follow-up goes to.

        A value None is left out where that is possible. Values that no message names are written
        where the message has ``{*}``. Raises `ArgumentError` for a value that is missing, or
        doesn't fit.
        """
        given = dict(values)
        self._take_apart(given)
        rest = {n: v for n, v in given.items() if n not in self.names and n[:1] not in "_#"}
        return self.write(form, given, own, random, now, probe, device, rest)

    def write(
        self,
        form: Form,
        given: Mapping[str, Value],
        own: Own,
        random: Random,
        now: float = 0.0,
        probe: Mapping[str, Value] | None = None,
        device: Mapping[str, Value] | None = None,
        rest: Mapping[str, Value] | None = None,
    ) -> bytes:
        """As `encode`, with what ``{*}`` stands for given apart."""
        writing = Writing(
            given,
            own=own,
            random=random,
            now=now,
            probe=probe,
            device=device,
            rest=rest,
            fallback={} if form.role == "probe" else self.fallback,
        )
        where = f"{self.name}: {form.name}"
        try:
            return form.template.write(writing)
        except Missing as missing:
            raise ArgumentError(
                f"{where} needs a value for '{missing.name}'",
                f"give it (--set {missing.name}=...), or a default in [impersonate]",
            ) from None
        except Misfit as misfit:
            raise ArgumentError(f"{where} can't be written", misfit.reason) from None

    def rewrite(
        self, decoded: Decoded, *, random: Random, probe: Mapping[str, Value] | None = None
    ) -> bytes:
        """What was read, written again: the same meaning, if not the same bytes."""
        form, values = decoded.form, decoded.values
        given: dict[str, Value] = dict(values)
        for hole in form.template.holes:
            if hole.optional and hole.name not in values:
                given[hole.name] = None
        rest = {name: value for name, value in values.items() if name in decoded.rest}
        return self.write(form, given, Own(), random, probe=probe, rest=rest)

    def told_by(self, name: str) -> set[str]:
        """What is known of a device once it sent this message."""
        holes = self._forms[name].template.holes if name in self._forms else ()
        return {hole.name for hole in holes} | {*_IDENTITY, *self._device}

    def _take_apart(self, given: dict[str, Value]) -> None:
        """What ``[device]`` composes is given whole, and taken apart for the messages."""
        for name, filled in self._device.items():
            value = given.get(name)
            if isinstance(filled, TextPattern) and value is not None:
                reading = Reading()
                try:
                    filled.read(_text(value), reading)
                except Misfit as misfit:
                    raise ArgumentError(
                        f"{self.name}: {name} can't be {_text(value)!r}", misfit.reason
                    ) from None
                given.update(reading.values)

    def accessory(
        self, values: Mapping[str, Value], *, own: Own, random: Random
    ) -> dict[str, Value]:
        """All that an accessory of this kind says of itself: the values given, what is told by
        ``own`` (its id), the defaults of ``[impersonate]``, and what the samples of the file
        have besides. Values that a message can't do without come from the samples when it is
        written (``fallback``).

        Raises `ArgumentError` for a value that can't be.
        """
        given = dict(values)
        if "id" not in given and "id" not in self._defaults:
            given.update(self._own_id(own))
        else:
            self._take_apart(given)
        writing = Writing(given, own=own, random=random)
        for name, filled in self._defaults.items():
            if name not in given:
                # In the order of the file: one may build on another.
                given[name] = writing.given[name] = self._fill(filled, writing)
        self._take_apart(given)
        fallback = self.fallback
        if fallback.get("name"):
            given.setdefault("name", fallback["name"])
        return {**self._rest, **given}

    def _own_id(self, own: Own) -> dict[str, Value]:
        """The id of who writes, in the form that the id has here."""
        composed = self._device.get("id")
        names = {"id"}
        if isinstance(composed, TextPattern):
            names = {hole.name for hole in composed.holes}
        holes: dict[str, Hole] = {}
        for form in self.messages:
            for hole in form.template.holes:
                # A probe may ask for an id: what type that has says nothing about ours.
                if hole.name in names and form.role != "probe":
                    holes.setdefault(hole.name, hole)
        return {name: identifier(hole, own) for name, hole in holes.items()}

    @property
    def fallback(self) -> Mapping[str, Value]:
        """For each name without a source: what the first sample with it says, or anything."""
        if self._fallback is None:
            fallback: dict[str, Value] = {}
            rest: dict[str, Value] = {}
            told = [form for form in self.messages if form.role != "probe" and form.sent]
            for hole in (hole for form in told for hole in form.template.holes):
                if hole.name not in ("", "*"):
                    fallback.setdefault(hole.name, filler(hole))
            sampled: set[str] = set()
            for sample in self.samples:
                if sample.message in sampled:
                    continue
                found = self.decode(sample.payload, roles=("reply", "announcement"))
                if isinstance(found, Decoded) and found.form in told:
                    for name, value in found.values.items():
                        if name not in sampled and name not in rest:
                            (rest if name in found.rest else fallback)[name] = value
                    sampled |= {sample.message, *found.values}
            self._fallback = fallback
            self._rest = rest
        return self._fallback

    def _fill(self, filled: Filled, writing: Writing) -> Value:
        try:
            if isinstance(filled, TextPattern):
                return filled.write(writing)
            if isinstance(filled, list):
                return [f.write(writing) if isinstance(f, TextPattern) else f for f in filled]
        except Missing as missing:
            raise ArgumentError(
                f"{self.name}: [impersonate] needs a value for '{missing.name}'",
                f"give it (--set {missing.name}=...)",
            ) from None
        except Misfit as misfit:
            raise ArgumentError(f"{self.name}: [impersonate]", misfit.reason) from None
        return filled

    # --- what is said to whom

    def answers(self, decoded: Decoded, values: Mapping[str, Value]) -> list[Answer]:
        """What an accessory with these values says to a probe, in file order; maybe nothing."""
        probe, answers = decoded.values, list[Answer]()
        for form in self.messages:
            if form.role != "reply" or not form.sent or decoded.form.name not in form.answers:
                continue
            for ours in self.each(form, values):
                if self._is_asked(form, probe, ours) and _is_within(form, probe, ours):
                    kind, address, port = _target(form, probe)
                    delay = tuple(_seconds(limit, probe) for limit in form.delay)
                    low, high = min(delay), max(delay)
                    answers.append(Answer(form, ours, (low, high), kind, address, port))
        return answers

    def announcements(
        self, role: Role, values: Mapping[str, Value]
    ) -> list[tuple[Form, Mapping[str, Value]]]:
        """The announcements, or goodbyes, of such an accessory: one for each row."""
        return [
            (form, ours)
            for form in self.messages
            if form.role == role and form.sent
            for ours in self.each(form, values)
        ]

    def each(self, form: Form, values: Mapping[str, Value]) -> Iterator[Mapping[str, Value]]:
        """The values for each row; those of the accessory alone if the form has no rows."""
        if not form.for_each:
            yield values
            return
        for row in self.rows[form.for_each]:
            writing = Writing(values, own=Own(), random=_Unused())
            filled = {name: self._fill(value, writing) for name, value in row.items()}
            # A name that only other rows have isn't this one's.
            others = dict.fromkeys((n for r in self.rows[form.for_each] for n in r), None)
            yield {**values, **others, **filled}

    def _is_asked(self, form: Form, probe: Mapping[str, Value], ours: Mapping[str, Value]) -> bool:
        """Whether the probe's conditions name nothing but what we are."""
        writing = Writing(ours, own=Own(), random=_Unused())
        for name, patterns in self._only_if.get(form.name, {}).items():
            asked = probe.get(name)
            if asked is None:
                continue
            allowed: set[str] = set()
            for pattern in patterns:
                lists = [ours.get(hole.name) for hole in pattern.holes]
                if len(lists) == 1 and isinstance(lists[0], list):
                    allowed.update(_text(item) for item in lists[0])
                    continue
                try:
                    allowed.add(pattern.write(writing))
                except (Missing, Misfit):
                    pass  # we have no such value
            if not {_text(a) for a in (asked if isinstance(asked, list) else [asked])} <= allowed:
                return False
        return True


class _Unused:
    """Randomness where none is used."""

    def getrandbits(self, k: int, /) -> int:
        return 0


def _text(value: Value) -> str:
    return " ".join(map(_text, value)) if isinstance(value, list) else _plain(value)


def _plain(value: Value) -> str:
    return "" if value is None else write_str(value)


def _is_within(form: Form, probe: Mapping[str, Value], ours: Mapping[str, Value]) -> bool:
    for name, (low, high) in form.within.items():
        value, least, most = ours.get(name), probe.get(low), probe.get(high)
        if isinstance(value, str) and value.isdecimal():
            value = int(value)  # as a command line gives it
        if isinstance(value, int):
            if isinstance(least, int) and value < least:
                return False
            if isinstance(most, int) and value > most:
                return False
    return True


def _target(form: Form, probe: Mapping[str, Value]) -> tuple[str, str, int]:
    to = form.to
    if to.kind != "payload":
        return to.kind, "", to.port
    address, port = probe.get(to.address), probe.get(to.port_name)
    if not isinstance(address, str) or address in ("", "0.0.0.0", "::"):
        return "source", "", 0
    if not isinstance(port, int) or not 0 < port <= 0xFFFF:
        return "source", "", 0
    return "address", address, port


def _seconds(limit: float | str, probe: Mapping[str, Value]) -> float:
    value = probe.get(limit) if isinstance(limit, str) else limit
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(min(max(value, 0), MAX_DELAY))
