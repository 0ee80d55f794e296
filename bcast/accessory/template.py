"""What every kind of template has in common: how it is made, read and written.

A template is made once (`Making`), and then takes datagrams apart (`Reading`) or builds them
(`Writing`). Values are text, numbers, truth values and lists of them, never bytes, so that
samples in TOML and the output as JSON read the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from time import gmtime
from typing import Protocol, TypeAlias

from bcast.accessory.holes import Call, Hole, Literal, Piece, Reference, split
from bcast.accessory.mistakes import Wrong

__all__ = [
    "MAX_EFFORT",
    "MAX_ITEMS",
    "MAX_TEXT",
    "Leaf",
    "Making",
    "Misfit",
    "Missing",
    "Own",
    "Random",
    "Reading",
    "Template",
    "Value",
    "Writing",
    "formatted_time",
    "same",
]

Leaf: TypeAlias = str | int | float | bool | None
Value: TypeAlias = Leaf | list[Leaf]

#: Characters of one text value, items of one list: a datagram can't fill the memory.
MAX_TEXT = 2_048
MAX_ITEMS = 64

#: Attempts at parts and optional stretches in one datagram: nested ones can't be made to explode.
MAX_EFFORT = 512


class Random(Protocol):
    """Where random bits come from (`random.Random` is one)."""

    def getrandbits(self, k: int, /) -> int: ...


class Misfit(Exception):  # noqa: N818
    """This isn't what the template says: the reason, formatted (``%``) only if somebody asks.

    Never leaves the package: a datagram that doesn't fit is an answer, not an error.
    """

    @property
    def reason(self) -> str:
        text, *details = self.args
        return str(text % tuple(details)) if details else str(text)

    def __str__(self) -> str:
        return self.reason


class Missing(Exception):  # noqa: N818
    """To write this a value is needed that nobody gave: ``name``. Never leaves the package."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Own:
    """Who writes: what ``~own.address`` and the like stand for. All text but the port."""

    __slots__ = ("address", "host", "id", "mac", "port")

    def __init__(
        self, address: str = "", port: int = 0, mac: str = "", id: str = "", host: str = ""
    ) -> None:
        self.address = address
        self.port = port
        self.mac = mac
        self.id = id
        self.host = host


class Template(Protocol):
    """One kind of example datagram. ``read`` raises `Misfit`, ``write`` `Missing` or `Misfit`."""

    @property
    def holes(self) -> tuple[Hole, ...]:
        """All holes that carry values, those of its parts too."""

    @property
    def constants(self) -> int:
        """How many bits are the same in each datagram: templates that say more are tried first."""

    @property
    def guard(self) -> bytes | tuple[bytes, ...]:
        """What each datagram begins with (one of several), b"" if that differs."""

    def read(self, payload: bytes, reading: Reading) -> None: ...

    def write(self, writing: Writing) -> bytes: ...


class Making:
    """What a template is made with: the other parts of its file, and where mistakes go.

    ``part(name)`` is another template of the file, ready to use (`Wrong` if there is none, or it
    contains the one that asks). ``namespaces``: XML prefixes to URIs. ``wrong`` takes mistakes;
    a template goes on without what was wrong and needn't be usable, since it is never used.
    """

    def __init__(
        self,
        part: Callable[[str], Template],
        wrong: Callable[[Wrong], None],
        namespaces: Mapping[str, str] | None = None,
    ) -> None:
        self.part = part
        self.wrong = wrong
        self.namespaces = namespaces or {}

    def split(self, text: str, *, brackets: bool = True) -> tuple[Piece, ...]:
        """`bcast.accessory.holes.split`, with the mistakes noted."""
        return split(text, brackets=brackets, wrong=self.wrong)


class Reading:
    """What one datagram has told so far.

    ``probe``: the values of the probe that it may answer, None where there was none (then
    ``=probe.x`` isn't checked). ``rest``: which of the values a ``{*}`` took.
    """

    __slots__ = ("effort", "probe", "rest", "values")

    def __init__(self, probe: Mapping[str, Value] | None = None) -> None:
        self.values: dict[str, Value] = {}
        self.rest: set[str] = set()
        self.probe = probe
        self.effort = MAX_EFFORT

    def accept(self, hole: Hole, value: Value) -> None:
        """Keeps a value of the hole's type, after a look at its source and namesakes.

        Raises `Misfit`.
        """
        name = hole.name
        if hole.mark == "=":
            source = hole.source
            if isinstance(source, Literal):
                if not same(value, source.value):
                    raise Misfit("%s is %r, not %r", hole.name or hole, value, source.value)
            elif isinstance(source, Reference) and source.where == "probe":
                known = self.probe
                if known is not None and source.name in known:
                    expected = known[source.name]
                    if not same(value, expected):
                        raise Misfit("%s is %r, the probe has %r", name or hole, value, expected)
        if name:
            values = self.values
            if name in values and not same(values[name], value):
                raise Misfit("%s is %r here and %r there", name, value, values[name])
            values[name] = value

    def accept_rest(self, name: str, value: Value) -> None:
        """Keeps a value that the template doesn't list, unless its name means something else."""
        if name and not name.startswith("_") and name not in self.values:
            self.values[name] = value
            self.rest.add(name)

    def spend(self) -> None:
        """Counts an attempt at something that may be absent or something else."""
        self.effort -= 1
        if self.effort < 0:
            raise Misfit("it takes more than %d attempts", MAX_EFFORT)

    def item(self) -> Reading:
        """A reading by itself, for what may turn out not to fit; `take` adds what it found."""
        reading = Reading(self.probe)
        reading.effort = self.effort
        return reading

    def take(self, other: Reading) -> None:
        """Adds what a reading by itself (`item`) told."""
        self.effort = other.effort
        values = self.values
        for name, value in other.values.items():
            if name in values and not same(values[name], value):
                raise Misfit("%s is %r here and %r there", name, value, values[name])
            values[name] = value
        self.rest |= other.rest

    def take_item(self, other: Reading, names: Iterable[str]) -> None:
        """Adds what one of several items told: to lists, one for each of the names."""
        self.effort = other.effort
        for name in names:
            items = self.values.setdefault(name, [])
            value = other.values.get(name)
            if not isinstance(items, list) or isinstance(value, list):
                raise Misfit("%s is one value here and several there", name)
            if len(items) >= MAX_ITEMS:
                raise Misfit("there are more than %d of %s", MAX_ITEMS, name)
            items.append(value)


class Writing:
    """What one datagram is built from.

    ``given``: values by name (None: leave it out, where that is possible); ``probe``: of the
    probe that is answered; ``device``: what is known of the device that is asked; ``now``: Unix
    time in seconds. ``rest``: what ``{*}`` stands for. ``fallback``: for holes that have to be
    written and that nobody gave a value for; what may be absent stays away.
    """

    __slots__ = ("device", "fallback", "given", "now", "own", "probe", "random", "rest")

    def __init__(
        self,
        given: Mapping[str, Value],
        *,
        own: Own,
        random: Random,
        now: float = 0.0,
        probe: Mapping[str, Value] | None = None,
        device: Mapping[str, Value] | None = None,
        rest: Mapping[str, Value] | None = None,
        fallback: Mapping[str, Value] | None = None,
    ) -> None:
        self.given = dict(given)
        self.fallback = fallback or {}
        self.own = own
        self.random = random
        self.now = now
        self.probe = probe or {}
        self.device = device or {}
        self.rest = rest or {}

    def has(self, hole: Hole) -> bool:
        """Whether there is anything to write into the hole: what ``?`` and ``[...]`` ask."""
        if hole.name in self.given:
            return self.given[hole.name] is not None
        match hole.source:
            case Reference("probe", name):
                return name in self.probe
            case Reference("device", name):
                return name in self.device
        return hole.source is not None

    def value(self, hole: Hole) -> Value:
        """What a hole is written as, before conversion to its type. Raises `Missing`.

        Lengths, counts and checksums are the template's own; it doesn't ask for them.
        """
        name = hole.name
        if hole.mark == "=":
            # What a receiver checks isn't up to whoever gives values.
            try:
                return self._computed(hole)
            except Missing:
                if self.given.get(name) is None:
                    raise
        given = self.given.get(name) if name else None
        if given is not None or (hole.optional and name in self.given):
            return given
        value = self._computed(hole)
        if name:
            # The same name twice is the same value twice, a random one too.
            self.given[name] = value
        return value

    def wants(self, holes: Iterable[Hole]) -> bool:
        """Whether a stretch with these holes is written: one without holes, and others if
        somebody gave a value for one of them, or the probe or device has it.
        """
        empty = True
        for hole in holes:
            if hole.name and self.given.get(hole.name) is not None:
                return True
            match hole.source:
                case Reference("probe" | "device") if self.has(hole):
                    return True
            empty = False
        return empty

    def item(self, position: int, names: Collection[str]) -> Writing:
        """A writing of one of several items: of these names the value at that position."""
        writing = Writing(
            self.given,
            own=self.own,
            random=self.random,
            now=self.now,
            probe=self.probe,
            device=self.device,
            fallback=self.fallback,
        )
        for name in names:
            value = self.given.get(name)
            if isinstance(value, list):
                writing.given[name] = value[position] if position < len(value) else None
        return writing

    def _computed(self, hole: Hole) -> Value:
        match hole.source:
            case Literal(value):
                return value
            case Reference("own", name):
                own: str | int = getattr(self.own, name)
                return own
            case Reference("probe", name) if name in self.probe:
                return self.probe[name]
            case Reference("device", name) if name in self.device:
                return self.device[name]
            case Call(function, arguments):
                return self._called(hole, function, arguments)
        if hole.source is None and hole.name in self.fallback:
            return self.fallback[hole.name]
        raise Missing(hole.name or str(hole))

    def _called(self, hole: Hole, function: str, arguments: tuple[str, ...]) -> Value:
        if function == "random":
            return self._random(hole, arguments)
        if function == "uuid":
            from uuid import UUID

            return str(UUID(int=self.random.getrandbits(128), version=4))
        if function == "time":
            return formatted_time(self.now, arguments[0] if arguments else "unix")
        raise Missing(hole.name or str(hole))

    def _random(self, hole: Hole, arguments: tuple[str, ...]) -> Value:
        """Random: a number that fits the hole, or text (hex digits, ``random(n)`` of them)."""
        kind, bits = hole.type, self.random.getrandbits
        if kind in ("int", "uint", "leb128", ""):
            return bits(31)
        if kind[0] == "u" and kind[1:].removesuffix("le").isdigit():
            return bits(int(kind[1:].removesuffix("le")))
        if kind in ("mac", "macle"):
            # Locally administered, not a group.
            digits = f"{bits(48) & ~(3 << 40) | 2 << 40:012x}"
            return ":".join(digits[i : i + 2] for i in range(0, 12, 2))
        if arguments:
            count = int(arguments[0])
        elif kind == "bytes" and hole.arguments:
            count = 2 * int(hole.arguments[0])
        else:
            count = 8
        return f"{bits(4 * count):0{count}x}"


def same(one: Value, other: Value) -> bool:
    """Whether two values are equal and of one kind: 1 isn't true, 1.0 is 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def formatted_time(now: float, form: str) -> Value:
    """Unix time in seconds as ``unix``, ``unix-ms``, ``http`` (RFC 9110, 5.6.7) or ``rfc3339``."""
    if form == "unix":
        return int(now)
    if form == "unix-ms":
        return int(now * 1000)
    try:
        year, month, day, hour, minute, second, weekday, *_ = gmtime(now)
    except (OverflowError, OSError, ValueError):
        raise Misfit("%r isn't a time", now) from None
    if form == "rfc3339":
        return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
    name = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][weekday]
    called = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][
        month - 1
    ]
    return f"{name}, {day:02} {called} {year:04} {hour:02}:{minute:02}:{second:02} GMT"
