"""Headers as a template: a start line, and lines ``Name: value`` in any order.

As HTTP has them (RFC 9112, section 2), over UDP: names in any letter case, values with or without
blanks around them. Headers that are listed have to be there, of several with one name the first
counts; others are passed over, or taken by ``*: {*}``, under their names in small letters. They
are written in the template's order, each with the blank that the template has after the colon.
"""

from __future__ import annotations

import re
from typing import Final

from bcast.accessory.holes import Hole
from bcast.accessory.leaves import write_str
from bcast.accessory.mistakes import Wrong
from bcast.accessory.structure import MAX_KEY, Absent, Entry, Near, check_rest
from bcast.accessory.template import MAX_TEXT, Making, Misfit, Reading, Writing
from bcast.accessory.text import compile_text

__all__ = ["HeadersTemplate", "make_headers"]

#: Headers of a datagram: 12,000 fit into one.
_MAX_HEADERS: Final = 64

#: What a name may consist of (RFC 9110, section 5.6.2).
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class HeadersTemplate:
    """A `bcast.accessory.template.Template`."""

    def __init__(self, text: str, making: Making) -> None:
        start, *lines = [line.strip() for line in text.strip().splitlines()] or [""]
        if not start or ": " in start:
            making.wrong(Wrong("the first line is the start line: METHOD * HTTP/1.1", 0, start))
        self._start = compile_text(start, making)
        self._rest = False
        self._entries: dict[str, tuple[str, str, Entry]] = {}
        for line in lines:
            self._add(line, making)
        entries = [entry for *_, entry in self._entries.values()]
        holes = [*self._start.holes, *(hole for entry in entries for hole in entry.holes)]
        self.holes = (*holes, Hole("*")) if self._rest else tuple(holes)
        check_rest(self.holes, making)
        required = [entry for entry in entries if not entry.optional]
        self.constants = self._start.constants + sum(entry.constants for entry in required)
        self.constants += sum(8 * len(key) for key in self._entries)
        first = self._start.steps[0] if self._start.steps else ""
        self.guard = first.encode() if isinstance(first, str) else b""

    def _add(self, line: str, making: Making) -> None:
        name, colon, value = line.partition(":")
        key = name.strip().lower()
        if not line:
            making.wrong(Wrong("an empty line ends the headers, and nothing may follow it"))
        elif not colon or not _NAME.fullmatch(name):
            making.wrong(Wrong(f"{line[:40]!r} is no header: Name: value", 0, line))
        elif key == "*":
            if value.strip() != "{*}":
                making.wrong(Wrong("what isn't listed is written *: {*}", 0, line))
            self._rest = True
        elif key in self._entries:
            making.wrong(Wrong(f"{name} stands here twice", 0, line))
        else:
            blank = value[: len(value) - len(value.lstrip())]
            self._entries[key] = name, f"{name}:{blank}", Entry(value.strip(), making)

    def read(self, payload: bytes, reading: Reading) -> None:
        start, found = _parse(payload)
        self._start.read(start, reading)
        entries = self._entries
        for key, (name, _, entry) in entries.items():
            if key in found:
                try:
                    entry.read(found[key], reading)
                except Misfit as misfit:
                    raise Misfit("%s: %s", name, misfit) from None
            elif not entry.optional:
                raise Misfit("no header %r%s", name, Near(key, found))
        if self._rest:
            for key, value in found.items():
                if key in entries or len(value) > MAX_TEXT or len(key) > MAX_KEY:
                    continue
                if _NAME.fullmatch(key):
                    reading.accept_rest(key, value)

    def write(self, writing: Writing) -> bytes:
        lines = [_checked(self._start.write(writing))]
        for _, head, entry in self._entries.values():
            try:
                # With its blank even before nothing: some programs look for ": ".
                lines.append(head + _checked(entry.write(writing)))
            except Absent:
                continue
        if self._rest:
            for name, value in writing.rest.items():
                if name.lower() not in self._entries and _NAME.fullmatch(name):
                    lines.append(f"{name}: {_checked(write_str(value))}")
        return "\r\n".join([*lines, "", ""]).encode()


def make_headers(text: str, making: Making) -> HeadersTemplate:
    """The template that ``headers`` of a description is; mistakes are noted in ``making``."""
    return HeadersTemplate(text, making)


def _parse(payload: bytes) -> tuple[str, dict[str, str]]:
    """The start line, and the headers by their names in small letters. Raises `Misfit`."""
    # A line may end without the carriage return (RFC 9112, section 2.2), and some don't write
    # the empty line at the end.
    text = _text(payload).replace("\r\n", "\n")
    end = text.find("\n\n")
    head = text if end < 0 else text[:end]
    if head.count("\n") > _MAX_HEADERS + 1:
        raise Misfit("more than %d headers", _MAX_HEADERS)
    start, *lines = head.split("\n")
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip().lower(), value.strip())
        elif line:
            raise Misfit("%r is no header", line[:40])
    return start, found


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        # What HTTP once said that headers are in (RFC 9110, section 5.5).
        return payload.decode("latin-1")


def _checked(text: str) -> str:
    """A value that can't become another header."""
    if "\r" in text or "\n" in text:
        raise Misfit("%r has a line break", text[:40])
    return text
