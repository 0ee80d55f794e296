"""What can be wrong with a description whose every line is right: it is tried out, both ways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from bcast.accessory.book import Decoded
from bcast.accessory.forms import Form, Role
from bcast.accessory.holes import Hole, Reference
from bcast.accessory.mistakes import meant
from bcast.accessory.template import Own, Value, same
from bcast.errors import ArgumentError

if TYPE_CHECKING:
    from bcast.accessory.description import Description, Sample

__all__ = ["EXAMPLE", "IMPERSONATOR", "SEARCHER", "check"]

#: What a searcher listens for, and what an impersonator does.
SEARCHER: tuple[Role, ...] = ("goodbye", "announcement", "reply")
IMPERSONATOR: tuple[Role, ...] = ("probe",)

#: Somebody who writes, from the ranges that are kept for documentation (RFC 5737, RFC 7042).
EXAMPLE = Own("192.0.2.7", 49152, "00:00:5e:00:53:07", "example-7", "example")

#: A mistake: the name of its message, or the index of its sample, or "" for the file; the
#: sentence; and words that stand near it.
_Found = tuple[str | int, str, str]


class _Bits:
    """Randomness that is the same each time, and each time another."""

    def __init__(self) -> None:
        self._state = 1

    def getrandbits(self, k: int, /) -> int:
        bits = 0
        for _ in range(0, k, 31):
            self._state = self._state * 48_271 % 0x7FFFFFFF
            bits = bits << 31 | self._state
        return bits & (1 << k) - 1


def check(description: Description) -> Iterator[_Found]:
    """All that is wrong, of what can be tried only with the whole description."""
    found = list(_names(description))
    yield from found
    if not found and not description.needs:
        wrong = list(_built(description))
        yield from wrong
        if not wrong:
            for index, sample in enumerate(description.samples):
                yield from _sample(description, index, sample)


def _all_names(holes: tuple[Hole, ...]) -> set[str]:
    return {hole.name for hole in holes if hole.name not in ("", "*")}


def _names(description: Description) -> Iterator[_Found]:
    """Names that nothing is called by."""
    forms = description.messages
    for form in forms:
        own = _all_names(form.template.holes)
        asked = [description.form(name) for name in form.answers]
        probes = [_all_names(probe.template.holes) for probe in asked]
        known = set[str]().union(*probes)
        told = description.told_by(form.after) if form.after else set[str]()
        for hole in form.template.holes:
            if not isinstance(hole.source, Reference):
                continue
            where, name = hole.source.where, hole.source.name
            if where == "probe":
                if form.role != "reply":
                    yield form.name, f"{hole}: only a reply answers a probe", str(hole)
                elif name not in known:
                    yield (
                        form.name,
                        f"{hole}: no probe that it answers has a value called '{name}'"
                        f"{meant(name, known)}",
                        name,
                    )
            elif where == "device":
                if not form.after:
                    yield (
                        form.name,
                        f"{hole}: no device is known before it is asked: only a probe with"
                        " after = ... can use device.",
                        str(hole),
                    )
                elif name not in told:
                    yield (
                        form.name,
                        f"{hole}: '{form.after}' tells no '{name}'{meant(name, told)}",
                        name,
                    )
        for key, names in (
            ("only_if", form.only_if),
            ("within", [n for pair in form.within.values() for n in pair]),
            ("delay", [limit for limit in form.delay if isinstance(limit, str)]),
            ("to", [n for n in (form.to.address, form.to.port_name) if n]),
        ):
            for name in names:
                if name not in known:
                    yield (
                        form.name,
                        f"{key}: no probe that it answers has a value called '{name}'"
                        f"{meant(name, known)}",
                        name,
                    )
        for name in form.within:
            if name not in description.names:
                yield form.name, f"within: nothing is called '{name}'", name
        for key, value in (("every", form.every), ("expires", form.expires)):
            if isinstance(value, str) and value not in own:
                yield (
                    form.name,
                    f"{key}: nothing in it is called '{value}'{meant(value, own)}",
                    value,
                )
        if form.for_each and form.for_each not in description.rows:
            yield (
                form.name,
                f"for_each: [impersonate] has no rows called '{form.for_each}'"
                f"{meant(form.for_each, description.rows)}",
                form.for_each,
            )


def _built(description: Description) -> Iterator[_Found]:
    """Probes that can't be built from nothing, messages that aren't recognised as themselves."""
    probes: dict[str, dict[str, Value]] = {}
    random = _Bits()
    try:
        values = description.accessory({}, own=EXAMPLE, random=random)
    except ArgumentError as error:
        yield "", str(error), "impersonate"
        return
    for form in description.messages:
        if form.role != "probe":
            continue
        device = values if form.after else None
        try:
            payload = description.encode(
                form, {}, own=EXAMPLE, random=random, now=0.0, device=device
            )
        except ArgumentError as error:
            yield form.name, f"it can't be built from nothing: {_short(error)}", ""
            continue
        yield from _recognised(description, form, payload, IMPERSONATOR)
        decoded = description.decode(payload, roles=IMPERSONATOR)
        if isinstance(decoded, Decoded) and decoded.form is form:
            probes[form.name] = decoded.values
    for form in description.messages:
        if form.role == "probe" or not form.sent:
            continue
        asked = next((probes[name] for name in form.answers if name in probes), None)
        if form.answers and asked is None:
            continue
        for ours in description.each(form, values):
            try:
                payload = description.encode(
                    form, ours, own=EXAMPLE, random=random, now=0.0, probe=asked
                )
            except ArgumentError as error:
                yield form.name, _short(error), ""
                break
            yield from _recognised(description, form, payload, SEARCHER)


def _short(error: ArgumentError) -> str:
    """Without the file and message, which stand before it anyway."""
    return str(error).partition(": ")[2] or str(error)


def _recognised(
    description: Description, form: Form, payload: bytes, roles: tuple[Role, ...]
) -> Iterator[_Found]:
    decoded = description.decode(payload, roles=roles)
    if not isinstance(decoded, Decoded):
        yield form.name, f"what it builds isn't recognised: {decoded}", ""
    elif decoded.form is not form:
        yield (
            form.name,
            f"what it builds is taken for '{decoded.form.name}': one of them needs a constant"
            " that the other doesn't have",
            "",
        )


def _sample(description: Description, index: int, sample: Sample) -> Iterator[_Found]:
    form = description.form(sample.message)
    roles = IMPERSONATOR if form.role == "probe" else SEARCHER
    probes = None
    if sample.answers:
        earlier = description.samples[sample.answers - 1]
        before = description.decode(earlier.payload, roles=IMPERSONATOR)
        if isinstance(before, Decoded):
            probes = {before.form.name: before.values}
        else:
            yield index, f"answers: sample {sample.answers} isn't a probe", "answers"
    decoded = description.decode(sample.payload, roles=roles, probes=probes)
    if not isinstance(decoded, Decoded):
        reasons = [str(m) for _, tried, m in decoded.reasons if tried is form]
        yield index, f"it isn't '{form.name}': {reasons[0] if reasons else decoded}", ""
        return
    if decoded.form is not form:
        yield index, f"it is taken for '{decoded.form.name}', not '{form.name}'", ""
        return
    for name, value in sample.means.items():
        if name not in decoded.values:
            known = meant(name, decoded.values)
            yield index, f"means: nothing is read that is called '{name}'{known}", name
        elif not same(decoded.values[name], value):
            yield index, f"means: {name} is {decoded.values[name]!r}, not {value!r}", name
    asked = next(iter(probes.values())) if probes else None
    yield from _replayed(description, index, decoded, asked)


def _replayed(
    description: Description, index: int, decoded: Decoded, probe: Mapping[str, Value] | None
) -> Iterator[_Found]:
    """Whether the same can be said with the values that were read."""
    try:
        payload = description.rewrite(decoded, random=_Bits(), probe=probe)
    except ArgumentError as error:
        yield index, f"it can't be written again: {error}", ""
        return
    roles = IMPERSONATOR if decoded.form.role == "probe" else SEARCHER
    again = description.decode(payload, roles=roles)
    if not isinstance(again, Decoded):
        yield index, f"written again it isn't recognised: {again}", ""
    elif again.form is not decoded.form:
        yield index, f"written again it is taken for '{again.form.name}'", ""
    else:
        for name, value in decoded.values.items():
            if name not in again.values or not same(again.values[name], value):
                yield (
                    index,
                    f"written again {name} is {again.values.get(name)!r}, not {value!r}",
                    "",
                )
