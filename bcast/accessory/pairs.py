"""Pairs as a template: ``key=value``, in any order, with a separator between.

A pair stands on a line of its own unless the description names another ``separator``. Keys that
are listed have to be there, as they are written, of several the first counts; others are passed
over, or taken by ``*={*}``. What has no ``=`` in the template is there as it stands.
"""

from __future__ import annotations

from typing import Final

from bcast.accessory.holes import Hole
from bcast.accessory.leaves import write_str
from bcast.accessory.mistakes import Wrong
from bcast.accessory.structure import MAX_KEY, MAX_REST, Absent, Entry, Near, check_rest
from bcast.accessory.template import MAX_TEXT, Making, Misfit, Reading, Writing

__all__ = ["PairsTemplate", "make_pairs"]

#: Pairs of a datagram: 20,000 fit into one.
_MAX_PAIRS: Final = 128

_BREAKS = ("\n", "\r\n")


class PairsTemplate:
    """A `bcast.accessory.template.Template`."""

    def __init__(self, text: str, making: Making, separator: str) -> None:
        if not separator or "=" in separator:
            making.wrong(Wrong("a separator is some text without an equals sign", 0, "separator"))
            separator = "\n"
        self._separator = separator
        self._rest = False
        self._entries: dict[str, Entry | None] = {}
        text = text.strip()
        lines = text.splitlines() if separator in _BREAKS else text.split(separator)
        for line in lines:
            self._add(line.strip(), making)
        entries = [entry for entry in self._entries.values() if entry is not None]
        holes = [hole for entry in entries for hole in entry.holes]
        self.holes = (*holes, Hole("*")) if self._rest else tuple(holes)
        check_rest(self.holes, making)
        required = [entry for entry in entries if not entry.optional]
        self.constants = sum(entry.constants for entry in required)
        self.constants += sum(8 * len(key) for key in self._entries)
        #: The order of pairs is anybody's.
        self.guard = b""

    def _add(self, line: str, making: Making) -> None:
        key, equals, value = (part.strip() for part in line.partition("="))
        if not key or "{" in key or "[" in key:
            making.wrong(Wrong(f"{line[:40]!r} is no pair: key=value", 0, line))
        elif key == "*":
            if value != "{*}":
                making.wrong(Wrong("what isn't listed is written *={*}", 0, line))
            self._rest = True
        elif key in self._entries:
            making.wrong(Wrong(f"{key!r} stands here twice", 0, line))
        else:
            self._entries[key] = Entry(value, making) if equals else None

    def read(self, payload: bytes, reading: Reading) -> None:
        found = self._parse(payload)
        entries = self._entries
        for key, entry in entries.items():
            if key not in found:
                if entry is None or not entry.optional:
                    raise Misfit("no %r%s", key, Near(key, found))
                continue
            value = found[key]
            if entry is None or value is None:
                if entry is not None or value is not None:
                    raise Misfit("%r has %s", key, "a value" if entry is None else "no value")
                continue
            try:
                entry.read(value, reading)
            except Misfit as misfit:
                raise Misfit("%s: %s", key, misfit) from None
        if self._rest:
            if len(found) - len(entries) > MAX_REST:
                raise Misfit("more than %d pairs", MAX_REST)
            for key, value in found.items():
                if key in entries or value is None:
                    continue
                if len(value) <= MAX_TEXT and len(key) <= MAX_KEY:
                    reading.accept_rest(key, value)

    def _parse(self, payload: bytes) -> dict[str, str | None]:
        """The values by key, None where there is no equals sign. Raises `Misfit`."""
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            raise Misfit("it isn't text in UTF-8") from None
        separator = self._separator
        if separator in _BREAKS:
            text, separator = text.replace("\r\n", "\n"), "\n"
        if text.count(separator) > _MAX_PAIRS:
            raise Misfit("more than %d pairs", _MAX_PAIRS)
        found: dict[str, str | None] = {}
        for pair in text.split(separator):
            key, equals, value = pair.partition("=")
            if key := key.strip():
                found.setdefault(key, value.strip() if equals else None)
        return found

    def write(self, writing: Writing) -> bytes:
        pairs = []
        for key, entry in self._entries.items():
            if entry is None:
                pairs.append(key)
                continue
            try:
                pairs.append(f"{key}={self._checked(entry.write(writing))}")
            except Absent:
                continue
        if self._rest:
            for key, value in writing.rest.items():
                if key not in self._entries:
                    pairs.append(f"{self._checked(key)}={self._checked(write_str(value))}")
        return self._separator.join(pairs).encode()

    def _checked(self, text: str) -> str:
        """A value that can't become another pair."""
        separator = "\n" if self._separator in _BREAKS else self._separator
        if separator in text:
            raise Misfit("%r has %r in it, which separates", text[:40], separator)
        return text


def make_pairs(text: str, making: Making, separator: str = "\n") -> PairsTemplate:
    """The template that ``pairs`` of a description is; mistakes are noted in ``making``."""
    return PairsTemplate(text, making, separator)
