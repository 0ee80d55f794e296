"""The observer: a prober that notes down all that it hears. A machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from bcast.discovery.prober import Prober
from bcast.domain import Domain
from bcast.lans.journal import Asked, Note
from bcast.machine import Attached, Outgoing, Received
from bcast.messages import Message, Probe
from bcast.wire import decode

__all__ = ["Observer"]


class Observer:
    """Searches and watches, and hands what happens to ``note``. A `bcast.machine.Machine`."""

    def __init__(
        self,
        *,
        random: Random,
        domain: Domain,
        note: Callable[[Sequence[Note]], object],
        decode: Callable[[bytes], Message] = decode,
    ) -> None:
        self._prober = Prober(random=random, domain=domain, all_paths=True, decode=decode)
        self._note = note
        self._names: dict[int, str] = {}

    def search(self, now: float) -> None:
        """Searches again: somebody is waited for."""
        self._prober.search(now)

    def _tell(self, now: float, notes: list[Note]) -> None:
        while (event := self._prober.next_event()) is not None:
            notes.append(Note(now, "", event))
        if notes:
            self._note(notes)

    # -- Machine ------------------------------------------------------------------------------

    def interfaces_changed(self, interfaces: Sequence[Attached], now: float) -> None:
        names = {one.interface.index: one.interface.name for one in interfaces}
        notes = [
            *(Note(now, names[i], "is there") for i in names if i not in self._names),
            *(Note(now, self._names[i], "is gone") for i in self._names if i not in names),
        ]
        self._names = names
        self._prober.interfaces_changed(interfaces, now)
        self._tell(now, notes)

    def receive_datagrams(self, received: Received, now: float) -> None:
        name = received.interface.name
        notes = [Note(now, name, datagram) for datagram in received.datagrams]
        if received.drops:
            notes.append(Note(now, name, f"the receive buffer was full: {received.drops} lost"))
        self._prober.receive_datagrams(received, now)
        self._tell(now, notes)

    def datagrams_to_send(self, now: float) -> list[Outgoing]:
        outgoing = self._prober.datagrams_to_send(now)
        # What goes to all comes back, and is noted then.
        asked = [
            Note(now, self._names.get(index, ""), Asked(payload, destination))
            for payload, index, destination, _ in outgoing
            if not isinstance(decode(payload), Probe)
        ]
        if asked:
            self._note(asked)
        return outgoing

    def get_timer(self) -> float | None:
        return self._prober.get_timer()

    def handle_timer(self, now: float) -> None:
        self._prober.handle_timer(now)
        self._tell(now, [])

    def next_event(self) -> None:
        """None: what happens is in the notes."""
