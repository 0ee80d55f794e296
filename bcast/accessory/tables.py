"""The keys of a description: which there are, and what may stand behind them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Any, NamedTuple, Protocol

from bcast.accessory.forms import MAX_DELAY, Form, Role, Target
from bcast.accessory.holes import Hole
from bcast.accessory.mistakes import meant
from bcast.accessory.template import Misfit, Reading, Writing

__all__ = ["KEYS", "KINDS", "Nothing", "Table", "Tell", "settings"]

#: Kinds of template.
KINDS = ("hex", "text", "json", "headers", "pairs", "xml")

_COMMON = ("name", "through", "separator", *KINDS)

#: Which keys each table may have; "" is the file itself.
KEYS: dict[str, tuple[str, ...]] = {
    "": (
        *("name", "title", "port", "group", "device", "impersonate", "namespaces"),
        *("probe", "reply", "announcement", "goodbye", "part", "sample"),
    ),
    "probe": (*_COMMON, "to", "from", "prefer", "port", "repeat", "after"),
    "reply": (
        *(*_COMMON, "to", "answers", "only_if", "within", "for_each"),
        *("delay", "every", "expires", "means", "sent"),
    ),
    "announcement": (*_COMMON, "to", "port", "for_each", "every", "expires", "sent"),
    "goodbye": (*_COMMON, "to", "port", "for_each", "sent"),
    "part": _COMMON,
    "sample": ("message", "hex", "text", "means", "answers"),
}

#: Bounds that a file has to keep, so that none makes a flood: how often a probe is repeated, the
#: seconds between, and those between announcements.
_MAX_TIMES, _MIN_GAP, _MIN_EVERY = 10, 0.02, 0.5

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Table(NamedTuple):
    """The n-th table of a name, from 0; ``name`` "" is the file itself."""

    name: str
    number: int
    content: dict[str, Any]

    @property
    def label(self) -> str:
        if not self.name:
            return ""
        if self.name in ("device", "impersonate"):
            return f"[{self.name}]"
        name = self.content.get("name")
        return f"[[{self.name}]] {name if isinstance(name, str) and name else self.number + 1}"


class Tell(Protocol):
    """Takes a mistake: in which table, what, and near which words or under which key."""

    def __call__(
        self, table: Table, message: str, *, near: str = "", key: str = "", below: int = -1
    ) -> None: ...


class Nothing:
    """Stands for a template that isn't made yet."""

    holes: tuple[Hole, ...] = ()
    constants = 0
    guard = b""

    def read(self, payload: bytes, reading: Reading) -> None:
        raise Misfit("there is no template")

    def write(self, writing: Writing) -> bytes:
        raise Misfit("there is no template")


def settings(top: Table, tables: Sequence[Table], tell: Tell) -> Iterator[tuple[Table, Form]]:
    """The messages without their templates; what is wrong is told."""
    port = _port(top, "port", tell, needed=True)
    group = top.content.get("group", "")
    if group:
        try:
            multicast = ip_address(group).is_multicast
        except ValueError:
            multicast = False
        if not multicast:
            tell(top, f"group: {group!r} is no group's address, like 239.1.2.3", key="group")
    names = {(t.name, t.number): _name(t, tell) for t in tables}
    probes = [t for t in tables if t.name == "probe"]
    first = tuple(names["probe", t.number] for t in probes if "after" not in t.content)
    replies = [names["reply", t.number] for t in tables if t.name == "reply"]
    asked = [names["probe", t.number] for t in probes]
    for table in tables:
        yield (
            table,
            _Settings(table, tell, port, bool(group), first, asked, replies).form(
                names[table.name, table.number]
            ),
        )


def _name(table: Table, tell: Tell) -> str:
    name = table.content.get("name", table.name)
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        tell(table, "name: has to be a word", key="name")
        return f"{table.name}{table.number}"
    return name


def _port(table: Table, key: str, tell: Tell, *, needed: bool = False) -> int:
    value = table.content.get(key)
    if value is None and not needed:
        return 0
    if type(value) is not int or not 0 < value <= 0xFFFF:
        what = "there is none" if value is None else f"{value!r} isn't one"
        tell(table, f"{key}: has to be a number from 1 to 65535, and {what}", key=key)
        return 0
    return value


class _Settings:
    """Reads the keys of one message."""

    def __init__(
        self,
        table: Table,
        tell: Tell,
        port: int,
        grouped: bool,
        first: tuple[str, ...],
        probes: list[str],
        replies: list[str],
    ) -> None:
        self._table = table
        self._content = table.content
        self._tell = tell
        self._port = port
        self._grouped = grouped
        self._first = first
        self._probes = probes
        self._replies = replies

    def form(self, name: str) -> Form:
        content = self._content
        role: Role = self._table.name  # type: ignore[assignment]
        after = self._one_of("after", self._replies, "reply") if role == "probe" else ""
        delay = self._delay()
        return Form(
            role,
            name,
            Nothing(),
            self._probe_target(after) if role == "probe" else self._target(role),
            ports=self._ports() if role != "reply" else (),
            source_port=_port(self._table, "from", self._tell),
            prefer=_port(self._table, "prefer", self._tell),
            repeat=self._repeat(),
            after=after,
            answers=self._answers() if role == "reply" else (),
            only_if=self._only_if(),
            within=self._within(),
            for_each=self._text("for_each"),
            delay=delay,
            every=self._seconds("every", _MIN_EVERY),
            expires=self._seconds("expires", 1.0),
            means=self._means(),
            sent=self._sent(content.get("sent", True)),
        )

    def _wrong(self, key: str, message: str) -> None:
        self._tell(self._table, f"{key}: {message}", key=key)

    def _text(self, key: str) -> str:
        value = self._content.get(key, "")
        if not isinstance(value, str):
            self._wrong(key, "has to be a name")
            return ""
        return value

    def _one_of(self, key: str, known: Sequence[str], what: str) -> str:
        value = self._text(key)
        if value and value not in known:
            self._wrong(key, f"there is no {what} '{value}'{meant(value, known)}")
        return value

    def _sent(self, value: object) -> bool:
        if not isinstance(value, bool):
            self._wrong("sent", "is true or false")
        return value is not False

    def _means(self) -> str:
        value = self._text("means")
        if value not in ("", "absent"):
            self._wrong("means", '"absent" is all that it can say')
        return value

    def _ports(self) -> tuple[int, ...]:
        value = self._content.get("port", self._port)
        ports = value if isinstance(value, list) else [value]
        if "port" in self._content and (
            not 1 <= len(ports) <= 8 or not all(type(p) is int and 0 < p <= 0xFFFF for p in ports)
        ):
            self._wrong("port", "is a number from 1 to 65535, or a list of up to 8")
            return (self._port,)
        return tuple(ports)

    def _probe_target(self, after: str) -> Target:
        value = self._text("to")
        known = ("all-hosts", "subnet", "both", "group")
        if not value:
            return Target("device" if after else "group" if self._grouped else "both")
        if value not in known:
            self._wrong("to", f"{value!r} isn't one of {', '.join(known)}{meant(value, known)}")
        elif value == "group" and not self._grouped:
            self._wrong("to", 'the file has no group: add group = "239..." at its top')
        return Target(value)

    def _target(self, role: str) -> Target:
        value = self._text("to")
        if not value:
            if role == "reply":
                return Target("source")
            return Target("group" if self._grouped else "broadcast", self._port)
        if value == "group" and not self._grouped:
            self._wrong("to", 'the file has no group: add group = "239..." at its top')
        found = re.fullmatch(r"(source|broadcast|group)(?::([0-9]{1,5}))?", value)
        if found and (role == "reply" or found[1] != "source"):
            port = int(found[2] or 0)
            if port > 0xFFFF or (found[2] and not port):
                self._wrong("to", f"{port} isn't a port")
            return Target(found[1], port or (0 if found[1] == "source" else self._port))
        found = re.fullmatch(r"probe\.(\w+):probe\.(\w+)", value)
        if found and role == "reply":
            return Target("payload", 0, found[1], found[2])
        known = ["broadcast", "group"]
        if role == "reply":
            known += ["source", "source:PORT", "probe.ADDRESS:probe.PORT"]
        self._wrong("to", f"{value!r} isn't one of {', '.join(known)}{meant(value, known)}")
        return Target("source" if role == "reply" else "broadcast", self._port)

    def _answers(self) -> tuple[str, ...]:
        value = self._content.get("answers")
        if value is None:
            return self._first
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            self._wrong("answers", "is the name of a probe, or a list of them")
            return self._first
        for name in names:
            if name not in self._probes:
                self._wrong("answers", f"there is no probe '{name}'{meant(name, self._probes)}")
        return tuple(names)

    def _repeat(self) -> tuple[int, float]:
        value = self._content.get("repeat", {})
        if isinstance(value, dict) and not value.keys() - {"times", "gap"}:
            times, gap = value.get("times", 1), value.get("gap", 1.0)
            if (
                type(times) is int
                and 1 <= times <= _MAX_TIMES
                and type(gap) in (int, float)
                and _MIN_GAP <= gap <= 60
            ):
                return times, float(gap) if value else 0.0
        self._wrong(
            "repeat",
            f"is {{ times = 1 to {_MAX_TIMES}, gap = {_MIN_GAP} to 60 }} (seconds)",
        )
        return 1, 0.0

    def _only_if(self) -> dict[str, tuple[str, ...]]:
        value = self._content.get("only_if", {})
        if isinstance(value, dict) and all(
            isinstance(v, list) and v and all(isinstance(i, str) for i in v)
            for v in value.values()
        ):
            return {name: tuple(allowed) for name, allowed in value.items()}
        self._wrong("only_if", 'is { value of the probe = ["text that it may be", ...] }')
        return {}

    def _within(self) -> dict[str, tuple[str, str]]:
        value = self._content.get("within", {})
        if isinstance(value, dict) and all(
            isinstance(v, list) and len(v) == 2 and all(isinstance(i, str) for i in v)
            for v in value.values()
        ):
            return {name: (low, high) for name, (low, high) in value.items()}
        self._wrong("within", 'is { our value = ["lowest", "highest"] }: two values of the probe')
        return {}

    def _delay(self) -> tuple[float | str, float | str]:
        value = self._content.get("delay", 0.0)
        limits = value if isinstance(value, list) else [value, value]
        found: list[float | str] = []
        for limit in limits:
            if isinstance(limit, str) and (name := re.fullmatch(r"probe\.(\w+)", limit)):
                found.append(name[1])
            elif type(limit) in (int, float) and 0 <= limit <= MAX_DELAY:
                found.append(float(limit))
        if len(found) != 2 or len(limits) != 2:
            self._wrong(
                "delay", f'is [least, most]: seconds up to {MAX_DELAY:g}, or "probe.value"'
            )
            return 0.0, 0.0
        return found[0], found[1]

    def _seconds(self, key: str, least: float) -> float | str | None:
        value = self._content.get(key)
        if value is None or (isinstance(value, str) and _WORD.fullmatch(value)):
            return value
        if type(value) in (int, float) and least <= value <= 86_400:
            return float(value)
        self._wrong(key, f"is seconds from {least:g} to 86400, or the name of a value")
        return None
