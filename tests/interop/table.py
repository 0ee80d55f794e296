"""The table of who finds whom, as run and as a document has it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tests.interop.cases import Responder
from tests.interop.lan import Outcome

__all__ = ["BEGIN", "END", "compare", "put", "table"]

#: Between these lines the document has the table.
BEGIN, END = "<!-- interop: written by tests.interop --write -->", "<!-- end of interop -->"

_PLACE = re.compile(f"{re.escape(BEGIN)}\n(.*?){re.escape(END)}", re.DOTALL)
_HEADS = ("protocol", "program", "version", "finds what bcast impersonates", "is found by bcast")


def table(outcomes: Iterable[Outcome]) -> str:
    """One row for each protocol and program, in Markdown: yes, **no**, or - for "doesn't"."""
    rows: dict[tuple[str, str], list[str]] = {}
    for outcome in outcomes:
        case = outcome.case
        key = (case.protocol, case.program.name)
        row = rows.setdefault(key, [*key, case.program.version() or "?", "-", "-"])
        column = 4 if isinstance(case, Responder) else 3
        row[column] = "yes" if outcome.ok and row[column] != "**no**" else "**no**"
    protocols = [protocol for protocol, _ in rows]
    ordered = sorted(rows.values(), key=lambda row: protocols.index(row[0]))
    lines = [_HEADS, tuple("---" for _ in _HEADS), *ordered]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def compare(seen: str, document: str) -> list[str]:
    """How the table that was seen differs from the document's, as sentences."""
    found = _PLACE.search(document)
    if found is None:
        return [f"the document has no place for the table: {BEGIN} ... {END}"]
    told, now = found[1].strip().splitlines(), seen.splitlines()
    unseen = [f"the document says, but it wasn't seen: {row}" for row in told if row not in now]
    untold = [f"seen, but the document doesn't say it: {row}" for row in now if row not in told]
    return unseen + untold


def put(seen: str, document: str) -> str:
    """The document with that table in the place for it, or unchanged if it has none."""
    return _PLACE.sub(lambda _: f"{BEGIN}\n\n{seen}\n\n{END}", document)
