"""What the observer searches by besides its own protocol, and notes down. A machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from bcast.accessory.book import Decoded
from bcast.accessory.description import Description
from bcast.accessory.forms import ROLES
from bcast.foreign.finder import Finder
from bcast.lans.described import Spoken
from bcast.lans.journal import Asked, Note
from bcast.machine import Attached, Outgoing, Received
from bcast.values import Value

__all__ = ["Search", "Searching"]


class Search(Value):
    """By what is searched."""

    spoken: Spoken


class Searching:
    """Searches and watches by a described protocol, and hands what happens to ``note``.

    ``since``: what Unix time it was when ``now`` was 0. ``host``: what the host is called.
    """

    def __init__(
        self,
        description: Description,
        *,
        random: Random,
        since: float,
        host: str,
        note: Callable[[Sequence[Note]], object],
    ) -> None:
        self._description = description
        self._finder = Finder([description], random=random, since=since, host=host)
        self.doors = self._finder.doors
        self._note = note
        self._names: dict[int, str] = {}

    def search(self, now: float) -> None:
        """Searches again: somebody is waited for."""
        self._finder.search(now)

    def _words(self, payload: bytes) -> str:
        """What a datagram is, as the journal shows it."""
        name = self._description.name
        decoded = self._description.decode(payload, roles=ROLES)
        if not isinstance(decoded, Decoded):
            return f"{len(payload)} bytes that are no message of {name}"
        said = self._description.identity(decoded, "").name
        return f"{name} {decoded.form.role} {decoded.form.name}{f' {said!r}' if said else ''}"

    def _tell(self, now: float, notes: list[Note]) -> None:
        while (event := self._finder.next_event()) is not None:
            notes.append(Note(now, "", event))
        if notes:
            self._note(notes)

    # -- Machine ------------------------------------------------------------------------------

    def interfaces_changed(self, interfaces: Sequence[Attached], now: float) -> None:
        self._names = {one.interface.index: one.interface.name for one in interfaces}
        self._finder.interfaces_changed(interfaces, now)
        self._tell(now, [])

    def receive_datagrams(self, received: Received, now: float) -> None:
        name = received.interface.name
        notes = [Note(now, name, one, self._words(one.payload)) for one in received.datagrams]
        if received.drops:
            notes.append(Note(now, name, f"the receive buffer was full: {received.drops} lost"))
        self._finder.receive_datagrams(received, now)
        self._tell(now, notes)

    def datagrams_to_send(self, now: float) -> list[Outgoing]:
        outgoing = self._finder.datagrams_to_send(now)
        asked = [
            Note(
                now,
                self._names.get(one.interface, ""),
                Asked(one.payload, one.destination),
                self._words(one.payload),
            )
            for one in outgoing
        ]
        if asked:
            self._note(asked)
        return outgoing

    def get_timer(self) -> float | None:
        return self._finder.get_timer()

    def handle_timer(self, now: float) -> None:
        self._finder.handle_timer(now)
        self._tell(now, [])

    def next_event(self) -> None:
        """None: what happens is in the notes."""
