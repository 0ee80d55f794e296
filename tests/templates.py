"""What the tests of templates share: making one, reading with it, writing with it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter

import pytest

from bcast.accessory.mistakes import Wrong
from bcast.accessory.template import Making, Misfit, Own, Reading, Template, Value, Writing

NAMESPACES = {"s": "urn:soap", "d": "urn:discovery"}

OWN = Own("10.77.0.10", 80, "02:00:00:77:00:0a", "lamp-1", "lamp-1.local")


def making(**parts: Template) -> Making:
    """Parts by name; a mistake is raised at once."""

    def part(name: str) -> Template:
        if name not in parts:
            raise Wrong(f"there is no part {name}")
        return parts[name]

    def wrong(mistake: Wrong) -> None:
        raise mistake

    return Making(part, wrong, NAMESPACES)


@contextmanager
def mistake(words: str) -> Iterator[Making]:
    """What is made inside has one mistake, which says so."""
    mistakes: list[Wrong] = []

    def part(name: str) -> Template:
        raise Wrong(f"there is no part {name}")

    yield Making(part, mistakes.append, NAMESPACES)
    assert words in "\n".join(m.message for m in mistakes)


def read(
    template: Template, payload: bytes | str, probe: Mapping[str, Value] | None = None
) -> dict[str, Value]:
    reading = Reading(probe)
    template.read(payload if isinstance(payload, bytes) else payload.encode(), reading)
    return reading.values


def rest_of(template: Template, payload: bytes) -> set[str]:
    reading = Reading()
    template.read(payload, reading)
    return reading.rest


def misfit(template: Template, payload: bytes | str, words: str) -> None:
    """The payload doesn't fit, which takes no time, and the reason says so."""
    with pytest.raises(Misfit) as caught:
        read(template, payload)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400


def write(
    template: Template,
    values: Mapping[str, Value] | None = None,
    *,
    rest: Mapping[str, Value] | None = None,
    probe: Mapping[str, Value] | None = None,
) -> bytes:
    return template.write(
        Writing(values or {}, own=OWN, random=random.Random(1), rest=rest, probe=probe)
    )


def longest(payloads: list[bytes], attempt: Callable[[bytes], object]) -> float:
    """Seconds that the slowest payload takes at its best: a busy machine is no flood."""
    slowest = 0.0
    for payload in payloads:
        took = []
        for _ in range(3):
            began = perf_counter()
            try:
                attempt(payload)
            except Misfit:
                pass
            took.append(perf_counter() - began)
            if took[-1] < 0.02:
                break
        slowest = max(slowest, min(took))
    return slowest
