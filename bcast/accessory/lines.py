"""Where in a file a mistake is: parsers of TOML keep no positions, so its lines are looked at."""

from __future__ import annotations

import re

__all__ = ["Lines"]

_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z_][\w-]*)\s*\]\]?\s*(#.*)?$")


class Lines:
    """The lines of a description; numbers count from 1, and 0 is unknown."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._spans: dict[tuple[str, int], tuple[int, int]] = {}
        seen: dict[str, int] = {}
        open_table, begin = ("", 0), 0
        quoted = ""
        for number, line in enumerate(self._lines):
            if not quoted and (found := _HEADER.match(line)):
                self._spans[open_table] = (begin, number)
                name = found[2]
                open_table, begin = (name, seen.get(name, 0)), number
                seen[name] = seen.get(name, 0) + 1
            # A header inside a text of several lines is none.
            for mark in ("'''", '"""'):
                if quoted in ("", mark) and line.count(mark) % 2:
                    quoted = "" if quoted else mark
        self._spans[open_table] = (begin, len(self._lines))

    def find(self, table: str, index: int, near: str = "", key: str = "", below: int = -1) -> int:
        """The line in the n-th table of that name that has ``near`` in it; or so many lines
        ``below`` where its ``key`` begins; or that of the table's header. ``table`` "": the file.
        """
        if (table, index) not in self._spans:
            # A table in the form key = {...}.
            return self.find("", 0, key=table) if table else 0
        first, last = self._spans[table, index]
        lines = self._lines[first:last]
        begun = 0
        if key:
            pattern = re.compile(rf"\s*\"?{re.escape(key)}\"?\s*[.=]")
            begun = next((i for i, line in enumerate(lines) if pattern.match(line)), -1)
            if begun < 0 and table == "":
                return self._header(key)
            begun = max(begun, 0)
        first_words = near.strip().splitlines()[0].strip() if near.strip() else ""
        if first_words:
            for position in (*range(begun, len(lines)), *range(begun)):
                if first_words in lines[position]:
                    return int(first + position + 1)
        if not lines:
            return 0
        # The newline right behind three quotation marks isn't part of the text.
        opened = lines[begun].rstrip().endswith(("'''", '"""'))
        more = below + opened if below >= 0 else 0
        return int(first) + min(begun + more, len(lines) - 1) + 1

    def _header(self, key: str) -> int:
        """The line of the first header of a key that is a table."""
        pattern = re.compile(rf"\s*\[\[?\s*\"?{re.escape(key)}\"?\s*[].]")
        return next((n for n, line in enumerate(self._lines, 1) if pattern.match(line)), 0)
