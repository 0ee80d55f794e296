"""Questions to single peers, asked again until they are answered or given up."""

from __future__ import annotations

import enum
from collections.abc import Callable
from heapq import heappop, heappush

from bcast.datagram import Endpoint
from bcast.discovery.peers import Candidate

__all__ = ["Inquiries", "Inquiry", "Purpose"]

# The first repetition comes after so many seconds, each later one after so many times more.
_FIRST = 0.1
_FACTOR = 1.5
_LONGEST = 1.0

# Questions that are open at the same time, over all peers, each however often it was repeated;
# more wait. Stops a flood of changes, forged or not, from becoming a flood of ours.
_OUTSTANDING = 256


class Purpose(enum.IntEnum):
    """Why a peer is asked; the number stands in the query for people who read captures."""

    #: Does it exist?
    CHALLENGE = 1
    #: What does it offer (now)?
    STATE = 2
    #: Is it still there, after a silence, or after a goodbye that anybody may have sent?
    SILENCE = 3
    GOODBYE = 4
    #: Is it still there, although somebody elsewhere, or of another start, answers in its name?
    CLAIM = 5


class Inquiry:
    """One question, to one endpoint."""

    __slots__ = (
        "candidate",
        "due",
        "endpoint",
        "gap",
        "id",
        "interface",
        "known",
        "nonces",
        "part",
        "purpose",
        "tries",
        "unanswered",
    )

    def __init__(
        self,
        purpose: Purpose,
        interface: int,
        endpoint: Endpoint,
        *,
        tries: int,
        id: bytes = b"",
        candidate: Candidate | None = None,
        known: int = 0,
        part: int = 0,
    ) -> None:
        self.purpose = purpose
        self.interface = interface
        self.endpoint = endpoint
        self.tries = tries
        self.id = id
        self.candidate = candidate
        self.known = known
        self.part = part
        self.gap = _FIRST
        self.due = 0.0
        self.nonces: list[int] = []
        #: How often it was asked in vain.
        self.unanswered = 0


class Inquiries:
    """All open questions. ``new_nonce`` makes a random u64."""

    def __init__(self, new_nonce: Callable[[], int]) -> None:
        self._new_nonce = new_nonce
        self._by_nonce: dict[int, Inquiry] = {}
        self._heap: list[tuple[float, int, Inquiry]] = []
        self._open: dict[tuple[Purpose, bytes, int, int], Inquiry] = {}
        self._about: dict[bytes, list[Inquiry]] = {}
        self._count = 0
        self._outstanding = 0

    def are_open(self, purpose: Purpose) -> bool:
        return any(key[0] is purpose for key in self._open)

    def is_open(self, purpose: Purpose, id: bytes, interface: int, part: int = 0) -> bool:
        return (purpose, id, interface, part) in self._open

    def ask(self, inquiry: Inquiry, now: float) -> None:
        """Opens a question, unless the same is open already."""
        key = _key(inquiry)
        if key not in self._open:
            self._open[key] = inquiry
            self._about.setdefault(inquiry.id, []).append(inquiry)
            self._push(inquiry, now)

    def _push(self, inquiry: Inquiry, due: float) -> None:
        inquiry.due = due
        self._count += 1
        heappush(self._heap, (due, self._count, inquiry))

    def answered(self, nonce: int, interface: int) -> Inquiry | None:
        """The question that an answer with this nonce closes; None if nobody asked there."""
        inquiry = self._by_nonce.get(nonce)
        if inquiry is None or inquiry.interface != interface:
            return None
        self.close(inquiry)
        return inquiry

    def close(self, inquiry: Inquiry) -> None:
        if self._open.get(_key(inquiry)) is inquiry:
            del self._open[_key(inquiry)]
            about = self._about[inquiry.id]
            about.remove(inquiry)
            if not about:
                del self._about[inquiry.id]
        if inquiry.nonces:
            self._outstanding -= 1
        for nonce in inquiry.nonces:
            self._by_nonce.pop(nonce, None)
        inquiry.nonces.clear()
        inquiry.tries = -1

    def close_about(self, id: bytes) -> None:
        """Closes all that was asked of a peer."""
        for inquiry in tuple(self._about.get(id, ())):
            self.close(inquiry)

    def close_on(self, interface: int) -> None:
        """Closes all that was asked on an interface."""
        for inquiry in tuple(self._open.values()):
            if inquiry.interface == interface:
                self.close(inquiry)

    def due(self) -> float | None:
        while self._heap and self._heap[0][2].tries < 0:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def handle(self, now: float) -> tuple[list[tuple[Inquiry, int]], list[Inquiry]]:
        """What is to be asked now, with its nonce, and what has been asked in vain."""
        asked = []
        failed = []
        while (due := self.due()) is not None and due <= now:
            inquiry = heappop(self._heap)[2]
            inquiry.unanswered = len(inquiry.nonces)
            if not inquiry.tries:
                self.close(inquiry)
                failed.append(inquiry)
                continue
            if not inquiry.nonces:
                if self._outstanding >= _OUTSTANDING:
                    self._push(inquiry, now + _FIRST)
                    continue
                self._outstanding += 1
            nonce = self._new_nonce()
            inquiry.nonces.append(nonce)
            self._by_nonce[nonce] = inquiry
            inquiry.tries -= 1
            asked.append((inquiry, nonce))
            self._push(inquiry, now + inquiry.gap)
            inquiry.gap = min(inquiry.gap * _FACTOR, _LONGEST)
        return asked, failed


def _key(inquiry: Inquiry) -> tuple[Purpose, bytes, int, int]:
    candidate = inquiry.candidate
    if candidate is not None:
        address = candidate.source.address
        return inquiry.purpose, address.packed, inquiry.interface, 0
    return inquiry.purpose, inquiry.id, inquiry.interface, inquiry.part
