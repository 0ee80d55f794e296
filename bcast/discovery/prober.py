"""The prober: searches on every interface, and knows who is there.

docs/protocol.md has the rules. A machine (see `bcast.machine`): bytes and time go in, bytes and
events come out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil
from random import Random

from bcast.datagram import Datagram
from bcast.device import Device, DeviceEvent
from bcast.discovery.inquiries import Inquiry, Purpose
from bcast.discovery.peers import Peer
from bcast.discovery.rejection import Rejection
from bcast.discovery.roster import Roster
from bcast.discovery.search import QUIET, Opening, Question
from bcast.discovery.side import Side
from bcast.domain import Domain
from bcast.errors import DecodeError
from bcast.machine import Attached, Outgoing, Received
from bcast.messages import Header, Message, Probe, Query, Reply
from bcast.values import Value
from bcast.wire import MAX_PROBE_TYPES, decode, encode
from bcast.wire.hashes import type_hash
from bcast.wire.keys import is_authentic
from bcast.wire.layout import FULL_QUERY, QUERY_SIZE

__all__ = ["DEFAULT_MAX_PEERS", "Prober", "SearchStatistics"]

#: Peers that answered, at most, and four times the candidates: what a flood may take of memory.
DEFAULT_MAX_PEERS = 8192

# Many who announce themselves at once are searched for, but not more often than so, in seconds:
# forged announcements must not make us probe all the time.
_CROWD_GAP = 10.0

# Makes a query large enough for the answer to be a full part.
_PADDING = FULL_QUERY - QUERY_SIZE

_HOPS = 255


class SearchStatistics(Value):
    """Counts since the start. ``estimated_missing``: peers that may not have been heard, judged
    by how many rounds it took to hear the others: right on average, not each time (of ten peers it
    may say two where one is missing, or none). None while nothing can be told, as after one round.

    ``rejected``: datagrams by reason. ``refused``: peers that there was no room for. ``drops``:
    datagrams that arrived and found the receive buffer full.
    """

    probes: int
    queries: int
    replies: int
    found: int
    estimated_missing: float | None
    drops: int
    refused: int
    rejected: dict[str, int]


class Prober:
    """Finds the native peers of a domain, on any number of interfaces.

    ``types``: only services of these types; none = any. ``watch``: keeps looking after those
    who were found; without it, it only searches. ``all_paths``: peers answer on every interface
    that they are on, instead of on the first. ``expected``: how many peers an earlier search
    found. ``max_peers``: more are refused and counted.
    """

    def __init__(
        self,
        *,
        random: Random,
        domain: Domain | None = None,
        types: Iterable[str] = (),
        opening: Opening = Opening.AUTO,
        watch: bool = True,
        all_paths: bool = False,
        expected: int = 0,
        max_peers: int = DEFAULT_MAX_PEERS,
        decode: Callable[[bytes], Message] = decode,
    ) -> None:
        self.domain = Domain() if domain is None else domain
        self.types = tuple(dict.fromkeys(types))
        hashes = tuple(type_hash(type) for type in self.types)
        # More than a probe has room for are looked through here.
        self._types = hashes if len(hashes) <= MAX_PROBE_TYPES else ()
        self._random = random
        self._opening = opening
        self._watch = watch
        self._all_paths = all_paths
        self._expected = expected
        self._decode = decode
        self._realm = self.domain.realm_hash
        self._id = random.getrandbits(128).to_bytes(16, "big")
        self._epoch = random.getrandbits(32)
        self._sequence = 0
        self._sides: dict[int, Side] = {}
        self._rejected: Counter[str] = Counter()
        self._roster = Roster(
            self._sides,
            random=random,
            new_nonce=self._new_nonce,
            types=self.types,
            watch=watch,
            keyed=self.domain.keyring is not None,
            limit=max_peers,
            rejected=self._rejected,
        )
        self._table = self._roster.table
        self._out: list[Outgoing] = []
        self._probes = self._queries = self._replies = self._drops = 0

    def _new_nonce(self) -> int:
        return self._random.getrandbits(64)

    # -- what is known ------------------------------------------------------------------------

    @property
    def devices(self) -> tuple[Device, ...]:
        """All that are there, as they are known now."""
        return tuple(device for peer in self._table for device in peer.devices)

    @property
    def quiet(self) -> bool:
        """Whether it looks as if all were found: three rounds without anybody new everywhere."""
        searches = [side.search for side in self._sides.values()]
        return not self._roster.asking and all(s.started and s.quiet >= QUIET for s in searches)

    @property
    def rejected(self) -> Mapping[str, int]:
        """Datagrams rejected so far, by reason; the counts go on."""
        return self._rejected

    @property
    def statistics(self) -> SearchStatistics:
        return SearchStatistics(
            self._probes,
            self._queries,
            self._replies,
            len(self._table),
            self._missing(),
            self._drops,
            self._table.refused,
            dict(self._rejected),
        )

    def _missing(self) -> float | None:
        """How many more would have answered in further rounds, if rounds are alike."""
        rounds = [peer.found_in for peer in self._table if peer.found_in]
        asked = max((side.search.rounds for side in self._sides.values()), default=0)
        if not asked:
            return None
        if not rounds:
            return 0.0
        whole = [number for number in rounds if number <= asked]
        if asked == 1 or not whole:
            # The round that goes on is the only one to compare the first with.
            whole, asked = rounds, max(asked, *rounds)
        # As if one more had answered at once: of a few, chance decides.
        chance = _silent((sum(whole) + 1) / (len(whole) + 1), asked)
        if chance is None:
            return None
        left = len(whole) * chance**asked / (1 - chance**asked)
        if left > len(rounds):
            return None
        # Some of them have answered in the round that goes on.
        return max(left - (len(rounds) - len(whole)), left * chance)

    def next_event(self) -> DeviceEvent | None:
        events = self._roster.events
        return events.popleft() if events else None

    # -- interfaces ---------------------------------------------------------------------------

    def interfaces_changed(self, interfaces: Sequence[Attached], now: float) -> None:
        current = {attached.interface.index: attached for attached in interfaces}
        for index in [index for index in self._sides if index not in current]:
            del self._sides[index]
            self._roster.lose(index)
        for index, attached in current.items():
            side = self._sides.get(index)
            if side is None:
                self._sides[index] = Side(
                    attached,
                    domain=self.domain,
                    opening=self._opening,
                    expected=self._expected,
                    patient=self._watch,
                    new_nonce=self._new_nonce,
                    known=self._known,
                    now=now,
                )
                continue
            more = set(attached.families) - set(side.attached.families)
            side.update(attached)
            if more and side.search.started:
                side.start(now)
        self._ask(now)

    def _known(self, index: int) -> Iterable[Peer]:
        if not self._all_paths:
            return self._table
        return [peer for peer in self._table if index in peer.heard]

    def search(self, now: float) -> None:
        """Searches again, as eagerly as at first, with what is known: somebody is waited for."""
        for side in self._sides.values():
            if side.search.started:
                side.start(now)
        self._ask(now)

    # -- what comes in ------------------------------------------------------------------------

    def receive_datagrams(self, received: Received, now: float) -> None:
        side = self._sides.get(received.interface.index)
        if side is None:
            return
        side.search.note_rate(received.rate)
        if received.drops:
            self._drops += received.drops
            side.search.note_drops(received.drops)
        for datagram in received.datagrams:
            reason = self._receive(side, datagram, now)
            if reason:
                self._rejected[reason] += 1

    def _receive(self, side: Side, datagram: Datagram, now: float) -> str:
        """Takes one datagram; returns why it is rejected, "" if it isn't."""
        payload = datagram.payload
        try:
            message = self._decode(payload)
        except DecodeError as error:
            return error.reason
        if isinstance(message, Probe | Query):
            return ""
        header = message.header
        if header.realm != self._realm:
            return Rejection.REALM
        if datagram.ttl is not None and datagram.ttl != _HOPS:
            return Rejection.TTL
        if not side.sources.is_on_link(datagram.source):
            return Rejection.OFF_LINK
        keyring = self.domain.keyring
        if keyring is not None and not is_authentic(payload, keyring):
            return Rejection.KEY
        if isinstance(message, Reply):
            return self._take_reply(side, message, datagram, now)
        wrong = self._roster.take_news(side, message, datagram, now)
        if self._roster.crowded and now >= side.begun + _CROWD_GAP:
            side.start(now)
        return wrong

    def _take_reply(self, side: Side, reply: Reply, datagram: Datagram, now: float) -> str:
        sent = side.sent(reply.nonce)
        before = self._table.get(reply.header.id)
        seen = before is not None and side.index in before.heard
        wrong = self._roster.take_reply(side, reply, datagram, sent, now)
        if wrong:
            return wrong
        self._replies += 1
        if sent is not None:
            new = not seen if self._all_paths else before is None
            side.search.note_reply(now, new=new)
            peer = self._table.get(reply.header.id)
            if before is None and peer is not None:
                peer.found_in = side.search.rounds + 1
        return ""

    # -- what is to be done -------------------------------------------------------------------

    def get_timer(self) -> float | None:
        due = [side.search.due() for side in self._sides.values()]
        due.append(self._roster.due())
        return min((time for time in due if time is not None), default=None)

    def handle_timer(self, now: float) -> None:
        self._ask(now)
        for inquiry, nonce in self._roster.handle(now):
            self._query(inquiry, nonce)

    def _ask(self, now: float) -> None:
        """Makes the probes that are due.

        The search on an interface begins when the one before has ended a round: most peers that
        are on several interfaces then answer on one.
        """
        before = True
        for side in self._sides.values():
            if not side.search.started and before:
                side.start(now)
            if side.search.started:
                for question in side.search.handle(now):
                    self._probe(side, question, now)
            before = before and bool(side.search.rounds)

    def _header(self) -> Header:
        header = Header(self._id, self._epoch, self._sequence, self._realm)
        self._sequence = (self._sequence + 1) & 0xFFFF_FFFF
        return header

    def _probe(self, side: Side, question: Question, now: float) -> None:
        filter, hashes = side.filter(question)
        probe = Probe(
            self._header(),
            question.nonce,
            int(question.elapsed * 1000) & 0xFFFF,
            min(ceil(question.window * 1000), 0xFFFF),
            question.low,
            question.high,
            question.round & 0xFF,
            self._types,
            filter,
            hashes,
        )
        payload = encode(probe, self.domain.keyring)
        side.note_sent(question.nonce, now)
        self._probes += 1
        for destination in side.destinations():
            self._out.append(Outgoing(payload, side.index, destination))

    def _query(self, inquiry: Inquiry, nonce: int) -> None:
        checks = inquiry.purpose in (Purpose.SILENCE, Purpose.GOODBYE)
        query = Query(
            self._header(),
            nonce,
            inquiry.known,
            inquiry.part,
            int(inquiry.purpose),
            0 if checks else _PADDING,
        )
        self._queries += 1
        payload = encode(query, self.domain.keyring)
        self._out.append(Outgoing(payload, inquiry.interface, inquiry.endpoint))

    def datagrams_to_send(self, now: float) -> list[Outgoing]:
        out, self._out = self._out, []
        return out


def _silent(mean: float, rounds: int) -> float | None:
    """The chance that a peer isn't heard in a round, of those heard in round ``mean`` on average.

    Peers found by round are distributed geometrically, but those of later rounds aren't among
    them yet: without regard to that, most are overlooked when two rounds have lost half each.
    None: it can't be told, as after one round, or when later ones found as many as the first.
    """
    if rounds < 2 or mean >= (rounds + 1) / 2:
        return None
    low, high = 0.0, 1.0
    for _ in range(30):
        chance = (low + high) / 2
        weights = [chance**number for number in range(rounds)]
        expected = sum(w * number for number, w in enumerate(weights, 1)) / sum(weights)
        low, high = (chance, high) if expected < mean else (low, chance)
    return low
