"""Holes: the named gaps in an example datagram, and the one grammar for all kinds of template.

::

    hole  = "{" [name] ["?"] [":" type] [("=" | "~") value] "}"
    type  = word ["(" arguments ")"] | "@" part {"|" part}
    value = reference | function "(" arguments ")" | literal
    reference = "probe." name | "device." name | "own." name

``=`` is written and checked, ``~`` is written and anything is accepted; ``{own.address}`` is short
for ``{~own.address}``. A hole holds no ``}``.
In text ``{{ }} [[ ]]`` are the characters themselves and ``[...]`` is a stretch that may be
absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from bcast.accessory.checksums import CHECKSUMS
from bcast.accessory.mistakes import Wrong, meant

__all__ = [
    "FUNCTIONS",
    "OWN",
    "Call",
    "Hole",
    "Literal",
    "Piece",
    "Reference",
    "Source",
    "Stretch",
    "every_hole",
    "parse_hole",
    "split",
]

#: What ``own.`` has: of the interface that is written to, and of who writes.
OWN = ("address", "port", "mac", "id", "host")

#: Functions that a value may name, and whether a receiver can check their result.
FUNCTIONS = {
    **dict.fromkeys(("length", "count"), True),
    **dict.fromkeys(CHECKSUMS, True),
    **dict.fromkeys(("random", "uuid", "time"), False),
}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|\*")
_REFERENCE = re.compile(r"(probe|device|own)\.([A-Za-z_][A-Za-z0-9_]*)")
_CALL = re.compile(r"([a-z][a-z0-9_-]*)\(([^()]*)\)")
_TYPE = re.compile(r"([a-z][a-z0-9_]*)(?:\((.*)\))?", re.DOTALL)
_PARTS = re.compile(r"@([A-Za-z_][A-Za-z0-9_]*(?:\|[A-Za-z_][A-Za-z0-9_]*)*)")


class Literal(NamedTuple):
    """A constant: text as the file has it, until the template that knows the type converts it."""

    value: str | int | float | bool | None


class Reference(NamedTuple):
    """Another value: of the ``probe`` that is answered, of the ``device`` asked, one's ``own``."""

    where: str
    name: str


class Call(NamedTuple):
    """What has to be computed: a length, a checksum, a random number, the time."""

    function: str
    arguments: tuple[str, ...]


Source: TypeAlias = Literal | Reference | Call


class Hole(NamedTuple):
    """A gap. ``name`` "" has no name and ``"*"`` is all that isn't listed; ``type`` "" is the
    template's own default, ``"@"`` one of the parts in ``arguments``, ``"each"`` repeats them.

    ``mark`` says what ``source`` is for: "=" written and checked, "~" written, "" there is none.
    ``start`` is where in the template's text it stands. ``many``: it is in a part that may be
    repeated, so that its values are lists.
    """

    name: str = ""
    optional: bool = False
    type: str = ""
    arguments: tuple[str, ...] = ()
    mark: str = ""
    source: Source | None = None
    start: int = 0
    many: bool = False

    def __str__(self) -> str:
        """As a description writes it, nearly: for sentences about it."""
        kind = self.type
        if kind == "@":
            kind += "|".join(self.arguments)
        elif self.arguments:
            kind += f"({','.join(self.arguments)})"
        match self.source:
            case Literal(value):
                source = str(value)
            case Reference(where, name):
                source = f"{where}.{name}"
            case Call(function, arguments):
                source = f"{function}({','.join(arguments)})"
            case None:
                source = ""
        optional = "?" if self.optional else ""
        return f"{{{self.name}{optional}{':' if kind else ''}{kind}{self.mark}{source}}}"


class Stretch(NamedTuple):
    """A part of a template that may be absent."""

    pieces: tuple[str | Hole | Stretch, ...]
    start: int = 0


Piece: TypeAlias = str | Hole | Stretch


def split(
    text: str, *, brackets: bool = True, wrong: Callable[[Wrong], None] | None = None
) -> tuple[Piece, ...]:
    """The literal texts, holes and stretches of a text; ``{{ }} [[ ]]`` are resolved.

    Without ``brackets`` these are ordinary characters. With ``wrong`` each mistake is told to it
    and its hole left out, otherwise the first raises `Wrong`.
    """
    pieces, _ = _split(text, 0, brackets, wrong, inside=False)
    return pieces


def _split(
    text: str, at: int, brackets: bool, wrong: Callable[[Wrong], None] | None, *, inside: bool
) -> tuple[tuple[Piece, ...], int]:
    """The pieces up to the end of the text or of the stretch, and where they end."""
    begin, pieces, literal = at, list[Piece](), list[str]()
    special = "{}[]" if brackets else "{}"

    def refuse(error: Wrong) -> None:
        if wrong is None:
            raise error
        wrong(error)

    def flush() -> None:
        if literal:
            pieces.append("".join(literal))
            literal.clear()

    while at < len(text):
        character = text[at]
        if character not in special:
            literal.append(character)
            at += 1
        elif text[at : at + 2] == character * 2:
            literal.append(character)
            at += 2
        elif character == "{":
            start = at
            try:
                hole, at = parse_hole(text, start)
            except Wrong as error:
                refuse(error)
                at = (text.find("}", start) + 1) or len(text)
            else:
                flush()
                pieces.append(hole)
        elif character == "[":
            flush()
            inner, end = _split(text, at + 1, brackets, wrong, inside=True)
            pieces.append(Stretch(inner, at))
            at = end
        elif character == "]" and inside:
            flush()
            return tuple(pieces), at + 1
        else:
            partner = {"}": "{", "]": "["}[character]
            refuse(
                Wrong(
                    f"this {character} has no {partner}: for the character itself write"
                    f" {character * 2}",
                    at,
                    text[at : at + 20],
                )
            )
            at += 1
    flush()
    if inside:
        refuse(
            Wrong(
                "this [ has no ]: for the character itself write [[",
                begin - 1,
                text[begin - 1 : begin + 20],
            )
        )
    return tuple(pieces), at


def parse_hole(text: str, start: int) -> tuple[Hole, int]:
    """The hole that begins at ``start`` (where there is a ``{``), and where it ends.

    Raises `Wrong`.
    """
    end = text.find("}", start)
    if end < 0:
        raise Wrong(
            "this { has no }: for the character itself write {{", start, text[start : start + 20]
        )
    inner = text[start + 1 : end]
    shown = f"{{{inner}}}"

    def refuse(message: str) -> Wrong:
        return Wrong(f"{shown}: {message}", start, inner)

    at = 0
    name = ""
    if _REFERENCE.fullmatch(inner):
        return Hole("", False, "", (), "~", _source(inner, "~", refuse), start), end + 1
    if found := _NAME.match(inner):
        name, at = found[0], found.end()
    optional = inner.startswith("?", at)
    at += optional
    kind, arguments = "", tuple[str, ...]()
    if inner.startswith(":", at):
        kind, arguments, at = _type(inner, at + 1, refuse)
    mark, source = "", None
    if at < len(inner):
        mark = inner[at]
        if mark not in "=~":
            raise refuse(f"{inner[at:][:20]!r} isn't expected here: {{name?:type~value}}")
        source = _source(inner[at + 1 :], mark, refuse)
    return Hole(name, optional, kind, arguments, mark, source, start), end + 1


def _type(inner: str, at: int, refuse: Callable[[str], Wrong]) -> tuple[str, tuple[str, ...], int]:
    if found := _PARTS.match(inner, at):
        return "@", tuple(found[1].split("|")), found.end()
    word = re.compile(r"[A-Za-z][A-Za-z0-9_]*").match(inner, at)
    if word is None:
        raise refuse("a type is missing behind the colon")
    end = word.end()
    if inner.startswith("(", end):
        close = inner.find(")", end)
        # A separator may be the parenthesis itself.
        if close >= 0 and inner.startswith(")", close + 1):
            close += 1
        if close < 0:
            raise refuse("this ( has no )")
        raw = inner[end + 1 : close]
        # The separator of a list is taken as it is, even if it is a comma or a blank.
        arguments = (raw,) if word[0] == "list" else tuple(a.strip() for a in raw.split(","))
        return word[0], arguments, close + 1
    return word[0], (), end


def _source(text: str, mark: str, refuse: Callable[[str], Wrong]) -> Source:
    if found := _REFERENCE.fullmatch(text):
        where, name = found[1], found[2]
        if where == "own":
            if name not in OWN:
                raise refuse(f"own. has no '{name}'{meant(name, OWN)} ({', '.join(OWN)})")
            if mark == "=":
                raise refuse(f"a receiver can't check own.{name}: write ~own.{name}")
        return Reference(where, name)
    if found := _CALL.fullmatch(text):
        function = found[1]
        if function in FUNCTIONS:
            if mark == "=" and not FUNCTIONS[function]:
                raise refuse(f"a receiver can't check {text}: write ~{text}")
            arguments = found[2].strip()
            return Call(
                function, tuple(a.strip() for a in arguments.split(",")) if arguments else ()
            )
        if near := meant(function, FUNCTIONS):
            raise refuse(f"there is no function '{function}'{near}")
    return Literal(text)


def every_hole(pieces: tuple[Piece, ...]) -> Iterator[Hole]:
    """All holes, those in stretches too, in order."""
    for piece in pieces:
        if isinstance(piece, Hole):
            yield piece
        elif isinstance(piece, Stretch):
            yield from every_hole(piece.pieces)
