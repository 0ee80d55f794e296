"""A prober's side towards one interface: its search, the nonces it used, how well it hears."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address

from bcast.datagram import Endpoint, Family, Kind
from bcast.discovery.peers import Peer
from bcast.discovery.presence import Hearing
from bcast.discovery.search import QUIET, Opening, Question, Search
from bcast.discovery.sources import Sources
from bcast.domain import Domain
from bcast.machine import Attached
from bcast.wire.filters import MAX_ENTRIES, build
from bcast.wire.hashes import slot

__all__ = ["Side"]

# Probes whose late answers are still taken for answers.
_NONCES = 64

_SLOTS = 65_536

_ALL_HOSTS = IPv4Address("255.255.255.255")


class Side:
    """One interface as a prober sees it. ``known`` lists the peers that need not answer here."""

    def __init__(
        self,
        attached: Attached,
        *,
        domain: Domain,
        opening: Opening,
        expected: int,
        patient: bool,
        new_nonce: Callable[[], int],
        known: Callable[[int], Iterable[Peer]],
        now: float,
    ) -> None:
        self.attached = attached
        self.index = attached.interface.index
        self.sources = Sources(attached.interface)
        self.hearing = Hearing(now, inward=attached.interface.kind is Kind.LOOPBACK)
        self.search = Search(
            capacity=attached.capacity,
            opening=opening,
            expected=expected,
            new_nonce=new_nonce,
            cut=self._cut,
            patient=patient,
        )
        #: When the search was last begun.
        self.begun = now
        self._domain = domain
        self._known = known
        self._sent: OrderedDict[int, float] = OrderedDict()
        self._slots: list[int] = []
        self._entries: list[int] = []
        self._cut_for: int | None = None

    def update(self, attached: Attached) -> None:
        """Takes what changed about the interface."""
        if attached.interface.addresses != self.attached.interface.addresses:
            self.sources = Sources(attached.interface)
        self.attached = attached

    def start(self, now: float) -> None:
        self.begun = now
        self.search.start(now)

    # -- probes -------------------------------------------------------------------------------

    def destinations(self) -> list[Endpoint]:
        """Where a probe goes: the groups, and the broadcast addresses if nobody hears those."""
        domain = self._domain
        families = self.attached.families
        to = [Endpoint(g.address, domain.port) for g in domain.groups if g.family in families]
        unheard = not self.search.heard and self.search.quiet >= QUIET
        if Family.IPV4 in families and (domain.broadcast or unheard):
            directed = (a.broadcast for a in self.attached.interface.addresses)
            addresses = dict.fromkeys([_ALL_HOSTS, *(a for a in directed if a is not None)])
            to += [Endpoint(address, domain.port) for address in addresses]
        return to

    def note_sent(self, nonce: int, now: float) -> None:
        self._sent.setdefault(nonce, now)
        if len(self._sent) > _NONCES:
            self._sent.popitem(last=False)

    def sent(self, nonce: int) -> float | None:
        """When the probe with this nonce was sent; None if it wasn't, or too long ago."""
        return self._sent.get(nonce)

    def _cut(self, nonce: int) -> list[int]:
        """The bounds of ranges of slots with no more known peers each than a filter takes."""
        self._cut_for = nonce
        peers = list(self._known(self.index))
        if len(peers) <= MAX_ENTRIES:
            self._slots = []
            self._entries = [peer.entry for peer in peers]
            return [0, _SLOTS]
        ordered = sorted((slot(peer.id64, nonce), peer.entry) for peer in peers)
        self._slots = [place for place, _ in ordered]
        self._entries = [entry for _, entry in ordered]
        bounds = [0]
        end = 0
        while end < len(ordered):
            end += MAX_ENTRIES
            if end >= len(ordered):
                break
            # Those of one slot stay together.
            end = bisect_left(self._slots, self._slots[end])
            if self._slots[end] > bounds[-1]:
                bounds.append(self._slots[end])
            else:
                end += 1
        return [*bounds, _SLOTS]

    def filter(self, question: Question) -> tuple[bytes, int]:
        """The filter of the known peers in the question's range, and its count of hashes."""
        if question.nonce != self._cut_for:
            return b"", 0
        entries = self._entries
        if self._slots:
            low = bisect_left(self._slots, question.low)
            entries = entries[low : bisect_left(self._slots, question.high)][:MAX_ENTRIES]
        return build(entries, question.nonce)
