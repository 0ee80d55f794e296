"""Which message of which description a datagram is: the one that says most is asked first."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from bcast.accessory.forms import Form, Role
from bcast.accessory.holes import Reference
from bcast.accessory.template import Misfit, Reading, Value

if TYPE_CHECKING:
    from bcast.accessory.description import Description

__all__ = ["Book", "Decoded", "Misfits", "Probes"]

#: Values of the probes that were sent, by the probe's name.
Probes = Mapping[str, Mapping[str, Value]]


class Decoded(NamedTuple):
    """A datagram that fits: which message it is, and its values.

    ``values`` has all names but the unnamed; those that begin with ``_`` are internal. ``rest``:
    which of them a ``{*}`` took.
    """

    description: Description
    form: Form
    values: dict[str, Value]
    rest: frozenset[str]


class Misfits(NamedTuple):
    """A datagram that fits nothing: each message that was tried, and the reason why not."""

    reasons: tuple[tuple[Description, Form, Misfit], ...]

    def __str__(self) -> str:
        return "; ".join(f"{d.name} {form.name}: {misfit}" for d, form, misfit in self.reasons)


class _Candidate(NamedTuple):
    description: Description
    form: Form
    guard: bytes | tuple[bytes, ...]
    at: int
    #: What has to be somewhere in it.
    needed: bytes
    #: What is said of a datagram that begins otherwise: made once, strangers come by the thousand.
    refusal: tuple[Description, Form, Misfit]
    echoes: bool


class Book:
    """Descriptions that are heard on one port, or any others, side by side.

    The messages with the most constant bits are tried first, then those that stand first; the
    first that fits wins. Never raises for any payload.
    """

    def __init__(self, descriptions: Iterable[Description]) -> None:
        self.descriptions = tuple(descriptions)
        candidates = [
            _Candidate(
                description,
                form,
                form.template.guard,
                _place(form),
                getattr(form.template, "needed", b""),
                (description, form, _refusal(form)),
                any(
                    isinstance(h.source, Reference) and h.source.where == "probe" and h.mark == "="
                    for h in form.template.holes
                ),
            )
            for description in self.descriptions
            for form in description.messages
        ]
        self._candidates = sorted(candidates, key=lambda c: -c.form.template.constants)
        self._by_roles: dict[frozenset[Role], tuple[_Candidate, ...]] = {}

    def decode(
        self,
        payload: bytes,
        *,
        roles: Collection[Role],
        probes: Mapping[str, Probes] | None = None,
    ) -> Decoded | Misfits:
        """As `Description.decode`; ``probes`` by the description's name."""
        key = roles if isinstance(roles, frozenset) else frozenset(roles)
        candidates = self._by_roles.get(key)
        if candidates is None:
            candidates = tuple(c for c in self._candidates if c.form.role in key)
            self._by_roles[key] = candidates
        reasons: list[tuple[Description, Form, Misfit]] = []
        for description, form, guard, at, needed, refusal, echoes in candidates:
            if not payload.startswith(guard, at) or needed not in payload:
                reasons.append(refusal)
                continue
            try:
                if probes is None or not echoes:
                    reading = Reading()
                    form.template.read(payload, reading)
                else:
                    reading = _read_answer(form, payload, probes.get(description.name, {}))
            except Misfit as misfit:
                reasons.append((description, form, misfit))
            else:
                return Decoded(description, form, reading.values, frozenset(reading.rest))
        return Misfits(tuple(reasons))


def _read_answer(form: Form, payload: bytes, probes: Probes) -> Reading:
    """Reads a message that has to echo one of the probes that it answers."""
    refusal = Misfit("it answers %s, and nobody asked that", " or ".join(form.answers))
    for name in form.answers:
        if name in probes:
            reading = Reading(probes[name])
            try:
                form.template.read(payload, reading)
            except Misfit as misfit:
                refusal = misfit
            else:
                return reading
    raise refusal


def _place(form: Form) -> int:
    """Where the guard stands: binary templates may begin with a length."""
    place: int = getattr(form.template, "guard_at", 0)
    return place


def _refusal(form: Form) -> Misfit:
    guard = form.template.guard
    if not guard:
        needed: bytes = getattr(form.template, "needed", b"")
        return Misfit("it has no %s", _shown(needed))
    several = guard if isinstance(guard, tuple) else (guard,)
    shown = " or ".join(map(_shown, several[:4])) + " ..." * (len(several) > 4)
    return Misfit("it has no %s at byte %d", shown, _place(form))


def _shown(guard: bytes) -> str:
    return (
        repr(text)
        if guard.isascii() and (text := guard.decode()).isprintable()
        else guard.hex(" ")
    )
