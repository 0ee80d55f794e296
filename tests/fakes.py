"""Descriptions without a language, for tests of what uses them: their datagrams are JSON."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from bcast.accessory.description import Decoded, Description, Identity, Misfits
from bcast.accessory.forms import Answer, Form, Role, Target
from bcast.accessory.holes import Hole
from bcast.accessory.template import Own, Random, Reading, Value, Writing
from bcast.errors import ArgumentError

__all__ = ["Fake", "form"]


class _Shape(NamedTuple):
    """The names of a message's values, and for some where they come from: ``probe.x``,
    ``device.x``, ``own.x`` or ``random``."""

    names: tuple[str, ...]
    sources: Mapping[str, str]

    @property
    def holes(self) -> tuple[Hole, ...]:
        return tuple(map(Hole, self.names))

    @property
    def constants(self) -> int:
        return 0

    @property
    def guard(self) -> bytes:
        return b""

    def read(self, payload: bytes, reading: Reading) -> None:
        raise NotImplementedError

    def write(self, writing: Writing) -> bytes:
        raise NotImplementedError


def form(
    role: Role,
    name: str,
    names: str = "",
    to: str = "",
    *,
    sources: Mapping[str, str] | None = None,
    port: int = 0,
    **more: Any,
) -> Form:
    """A message with these values; ``to`` is all-hosts for probes, source for replies."""
    kind = to or {"probe": "all-hosts", "reply": "source"}.get(role, "broadcast")
    made = Form(role, name, _Shape(tuple(names.split()), sources or {}), Target(kind, port))
    return made._replace(**more)


class Fake(Description):
    """See `Description`. ``id``, ``name``, ``type`` and ``port`` are the device."""

    def __init__(
        self,
        *messages: Form,
        protocol: str = "fake",
        port: int = 9999,
        group: str = "",
        collect: tuple[str, ...] = (),
        **example: Value,
    ) -> None:
        self.name = protocol
        self.title = protocol.title()
        self.port = port
        self.group = group
        self.messages = messages
        self.collect = collect
        self.needs = ""
        self._values = example
        self.names = {hole.name for one in messages for hole in one.template.holes}
        self.says = frozenset(self.names)

    def accessory(
        self, values: Mapping[str, Value], *, own: Own, random: Random
    ) -> dict[str, Value]:
        return {"id": own.mac, **self._values, **values}

    def form(self, name: str) -> Form:
        return next(one for one in self.messages if one.name == name)

    def decode(
        self,
        payload: bytes,
        *,
        roles: Collection[Role],
        probes: Mapping[str, Mapping[str, Value]] | None = None,
    ) -> Decoded | Misfits:
        try:
            protocol, name, values = json.loads(payload)
            form = self.form(name)
        except (ValueError, StopIteration):
            return Misfits(())
        if protocol != self.name or form.role not in roles:
            return Misfits(())
        assert isinstance(form.template, _Shape)
        for key, source in form.template.sources.items():
            where, _, asked = source.partition(".")
            if where == "probe" and probes is not None:
                known = [v.get(asked) for n, v in probes.items() if n in form.answers]
                if values.get(key) not in known:
                    return Misfits(())
        return Decoded(self, form, values, frozenset())

    def identity(self, decoded: Decoded, source: str) -> Identity:
        known = ("id", "name", "type", "port", "address")
        values = decoded.values
        attributes = {
            key: value
            for key, value in values.items()
            if key not in known and not key.startswith("_")
        }
        id, name, type, port, address = (values.get(key) for key in known)
        return Identity(
            None if id is None else str(id),
            str(name or ""),
            str(type or ""),
            port if isinstance(port, int) else 0,
            str(address or ""),
            attributes,
        )

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
        shape = form.template
        assert isinstance(shape, _Shape)
        told: dict[str, Value] = {}
        for name in shape.names:
            where, _, what = shape.sources.get(name, "").partition(".")
            if name in values:
                told[name] = values[name]
            elif where == "own":
                told[name] = getattr(own, what)
            elif where == "random":
                told[name] = random.getrandbits(32)
            else:
                known = {"probe": probe, "device": device}.get(where) or {}
                if what not in known:
                    raise ArgumentError(f"there is no {name}")
                told[name] = known[what]
        return json.dumps([self.name, form.name, told]).encode()

    def answers(self, decoded: Decoded, values: Mapping[str, Value]) -> list[Answer]:
        found = []
        for form in self.messages:
            if form.role != "reply" or decoded.form.name not in form.answers:
                continue
            wrong = [
                key
                for key, allowed in form.only_if.items()
                if decoded.values.get(key) not in [a.format(**values) for a in allowed]
            ]
            if wrong:
                continue
            assert isinstance(form.delay[0], float)
            most = form.delay[1]
            delay = form.delay[0], most if isinstance(most, float) else 0.0
            kind, address = form.to.kind, ""
            if kind == "payload":
                kind, address = "address", str(decoded.values[form.to.address])
            found.append(Answer(form, values, delay, kind, address, form.to.port))
        return found

    def announcements(
        self, role: Role, values: Mapping[str, Value]
    ) -> list[tuple[Form, Mapping[str, Value]]]:
        return [(form, values) for form in self.messages if form.role == role]
