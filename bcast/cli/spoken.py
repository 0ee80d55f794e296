"""How a message of a protocol that is described looks: words for people, an object for programs.

Loaded when the first datagram comes on a port that isn't bcast's own. docs/json.md has the names
in the objects.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from bcast.accessory.book import Book, Decoded, Misfits
from bcast.accessory.catalogue import by_port, load_named
from bcast.accessory.description import Description
from bcast.accessory.forms import ROLES, Form
from bcast.cli.messages import quoted
from bcast.errors import ArgumentError
from bcast.foreign.finds import text_of

__all__ = ["Speakers"]

_ALL = frozenset(ROLES)
_NOTHING = Misfits(())

# Sets of protocols that are kept ready: as many as there are pairs of ports, and those are forged.
_BOOKS = 256


class Speakers:
    """Reads messages of all protocols that there are, by the ports that they are spoken on.

    ``always``: protocols that are tried whatever the ports are.
    """

    def __init__(self, always: Iterable[Description] = ()) -> None:
        self._always = tuple(always)
        self._by_port: dict[int, tuple[Description, ...]] = {}
        self._books: dict[tuple[Description, ...], Book] = {}

    def at(self, port: int) -> tuple[Description, ...]:
        """The protocols that may be spoken on a port; loads them."""
        if port not in self._by_port:
            found = {one.name: one for one in self._always}
            for name in by_port(port):
                try:
                    description = load_named(name)
                except ArgumentError:
                    # bcast protocols says what is wrong with it; here its payloads are shown.
                    continue
                found[description.name] = description
            self._by_port[port] = tuple(found.values())
        return self._by_port[port]

    def text(self, payload: bytes, *ports: int) -> str | None:
        """What a payload says, in a line; None if nobody says why it should."""
        decoded = self._decode(payload, ports)
        if not isinstance(decoded, Decoded):
            return None
        said = (
            f"{name}={quoted(text_of(value))}"
            for name, value in decoded.values.items()
            if not name.startswith("_") and value is not None
        )
        return "  ".join([_name(decoded.description, decoded.form), *said])

    def members(self, payload: bytes, *ports: int) -> str:
        """What an object gets more for a payload that is a message: JSON, "" if it is none."""
        decoded = self._decode(payload, ports)
        if not isinstance(decoded, Decoded):
            return ""
        message: dict[str, Any] = {
            "kind": decoded.form.role,
            "name": decoded.form.name,
            "values": decoded.values,
        }
        protocol = json.dumps(decoded.description.name)
        told = json.dumps(message, separators=(",", ":"))
        return f',"protocol":{protocol},"message":{told}'

    def reasons(self, payload: bytes, *ports: int) -> dict[str, str]:
        """Why a payload is none of the messages that it could be, by their names."""
        decoded = self._decode(payload, ports)
        if isinstance(decoded, Decoded):
            return {}
        return {_name(one, form): str(misfit) for one, form, misfit in decoded.reasons}

    def _decode(self, payload: bytes, ports: Iterable[int]) -> Decoded | Misfits:
        spoken = tuple(dict.fromkeys(one for port in ports for one in self.at(port)))
        if not spoken:
            return _NOTHING
        if spoken not in self._books:
            if len(self._books) >= _BOOKS:
                self._books.clear()
            self._books[spoken] = Book(spoken)
        return self._books[spoken].decode(payload, roles=_ALL)


def _name(description: Description, form: Form) -> str:
    """``kasa reply sysinfo``: the protocol, what kind of message, and which."""
    words = [description.name, form.role, "" if form.name == form.role else form.name]
    return " ".join(word for word in words if word)
