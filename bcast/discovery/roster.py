"""Who is there: peers that answered, how they are reached, what they offer, whether they live.

What they say to all is only a hint, because anybody may say it: whoever is new, has moved, has
changed or seems to be gone is asked, and the answer is believed. docs/protocol.md, "Presence" and
"Defence".
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from random import Random

from bcast.datagram import Datagram, Endpoint, Family, IPAddress
from bcast.device import Cause, Changed, DeviceEvent, Removed, Suspect
from bcast.discovery.inquiries import Inquiries, Inquiry, Purpose
from bcast.discovery.peers import Candidate, Candidates, Path, Peer, PeerTable
from bcast.discovery.presence import Deadlines, silence, tries_for
from bcast.discovery.rejection import Rejection
from bcast.discovery.side import Side
from bcast.messages import Announcement, Beat, Goodbye, Reply

__all__ = ["Roster"]

# Candidates are asked at most every so many seconds: a flood of forged announcements must not
# become a flood of questions.
_CHALLENGE_GAP = 0.02

# So many unverified candidates are better asked all at once.
_CROWD = 16

# Queries for what a peer offers, and for whether a candidate exists.
_TRIES = 7
_CHALLENGES = 4

# Where we seem deaf, a silent peer is kept for so many more of its intervals at most.
_PATIENCE = 10

# Unanswered queries after which a peer is said to be suspect.
_SUSPICION = 2

# Events that nobody fetches.
_EVENTS = 65_536

_FAMILIES = {4: Family.IPV4, 6: Family.IPV6}


class Roster:
    """The peers that were found through ``sides``, by index of their interfaces.

    ``types``: what is looked for, none = all. ``watch``: whether those who fall silent are
    missed. ``keyed``: everything that comes here is authentic. ``limit``: peers at most.
    ``rejected`` counts what turned out to be worth nothing later.
    """

    def __init__(
        self,
        sides: Mapping[int, Side],
        *,
        random: Random,
        new_nonce: Callable[[], int],
        types: Iterable[str],
        watch: bool,
        keyed: bool,
        limit: int,
        rejected: Counter[str],
    ) -> None:
        self.table = PeerTable(limit)
        self.events: deque[DeviceEvent] = deque(maxlen=_EVENTS)
        self._sides = sides
        self._types = frozenset(types)
        self._watch = watch
        self._keyed = keyed
        self._rejected = rejected
        self._candidates = Candidates(limit // 4, random)
        self._inquiries = Inquiries(new_nonce)
        self._challenged: dict[IPAddress, Inquiry] = {}
        self._challenge_due = 0.0
        self._deadlines = Deadlines()

    @property
    def asking(self) -> bool:
        """Whether somebody who was found hasn't said yet what it offers."""
        return self._inquiries.are_open(Purpose.STATE)

    @property
    def crowded(self) -> bool:
        """Whether so many want to be asked that a probe for all is better."""
        return len(self._candidates) >= _CROWD

    # -- answers ------------------------------------------------------------------------------

    def take_reply(
        self, side: Side, reply: Reply, datagram: Datagram, sent: float | None, now: float
    ) -> str:
        """Takes an answer to the probe of time ``sent``, or to a query if that is None.

        Returns why it is rejected, "" if it isn't.
        """
        header = reply.header
        inquiry = None
        if sent is None:
            inquiry = self._inquiries.answered(reply.nonce, side.index)
            if inquiry is None:
                return Rejection.UNASKED
            self._forget(inquiry)
        if self.table.is_stale(header.id, header.epoch, header.sequence):
            return Rejection.STALE
        peer = self.table.get(header.id)
        if peer is None:
            peer = self.table.add(header.id, header.epoch, header.sequence)
            if peer is None:
                return Rejection.FULL
        else:
            if header.epoch in peer.past_epochs:
                return Rejection.EPOCH
            asked = inquiry is not None
            if self._is_claim(side, peer, header.epoch, datagram.source, asked=asked):
                self._ask_about(peer, (side.index, datagram.source), now)
                return Rejection.CLAIM
            peer.yields = False
            if header.epoch != peer.epoch:
                self._inquiries.close_about(peer.id)
                peer.begin_epoch(header.epoch, header.sequence)
        self._note_path(side, peer, datagram, header.sequence, sent, now)
        peer.interval = float(reply.interval)
        peer.note_answer(reply.version, header.sequence)
        if sent is not None and reply.nonce != peer.last_nonce:
            peer.last_nonce = reply.nonce
            peer.probes_answered += 1
        if self._watch:
            self._deadlines.watch(peer.id, now + silence(peer.interval))
        self._take_state(side, peer, reply, datagram.source, now)
        return ""

    def _is_claim(
        self, side: Side, peer: Peer, epoch: int, source: Endpoint, *, asked: bool
    ) -> bool:
        """Whether somebody else may be answering in the name of a peer.

        Everybody sees the nonces of probes; a query's only he to whom it went.
        """
        if self._keyed or peer.yields:
            return False
        path = peer.paths.get((side.index, _FAMILIES[source.address.version]))
        if path is None or path.endpoint == source:
            return epoch != peer.epoch and not (asked and path is not None)
        return True

    def _ask_about(self, peer: Peer, claimant: tuple[int, Endpoint], now: float) -> None:
        """Asks the peer where it was last whether it is still there."""
        path = peer.path(claimant[0]) or next(iter(peer.paths.values()))
        peer.claimant = claimant
        tries = tries_for(self._sides[path.interface.index].hearing.loss)
        self._inquiries.ask(
            Inquiry(Purpose.CLAIM, path.interface.index, path.endpoint, tries=tries, id=peer.id),
            now,
        )

    def _note_path(
        self,
        side: Side,
        peer: Peer,
        datagram: Datagram,
        sequence: int,
        sent: float | None,
        now: float,
    ) -> None:
        """It answered from there: that is a path to it from now on."""
        source = datagram.source
        key = side.index, _FAMILIES[source.address.version]
        path = peer.paths.get(key)
        moved = path is None or path.endpoint != source
        if path is None or moved:
            path = peer.paths[key] = Path(datagram.interface, source, sequence)
        else:
            path.interface = datagram.interface
            path.restart_window(sequence)
        path.time_ns = datagram.time_ns
        if sent is not None and path.latency is None:
            path.latency = now - sent
        peer.heard[side.index] = now
        if self._candidates:
            self._candidates.discard(Candidate(peer.id, peer.epoch, side.index, source))
        self._recover(peer)
        if moved and peer.offers and not peer.restarted:
            self._say_changed(peer, "sightings")

    def _take_state(
        self, side: Side, peer: Peer, reply: Reply, source: Endpoint, now: float
    ) -> None:
        """Takes what it says that it offers, or asks for what is lacking."""
        version = reply.version
        if version == peer.version and not peer.restarted:
            return
        # Parts of one whole go together; who says now that there are more, or fewer, begins anew.
        if peer.parts_of != (version, reply.parts):
            peer.parts = {}
            peer.parts_of = version, reply.parts
        short = reply.header.more and not reply.services
        if not short:
            peer.parts[reply.part] = reply.services
            if all(part in peer.parts for part in range(reply.parts)):
                self._inquiries.close_about(peer.id)
                peer.version = version
                services = [s for part in range(reply.parts) for s in peer.parts[part]]
                peer.parts = {}
                wanted = [s for s in services if not self._types or s.type in self._types]
                self.events += peer.offer(wanted)
                return
        lacking = next(part for part in range(reply.parts) if part not in peer.parts)
        self._ask_state(side.index, source, peer, lacking, now)

    def _ask_state(
        self, index: int, endpoint: Endpoint, peer: Peer, part: int, now: float
    ) -> None:
        self._inquiries.ask(
            Inquiry(Purpose.STATE, index, endpoint, tries=_TRIES, id=peer.id, part=part), now
        )

    # -- hints ------------------------------------------------------------------------------

    def take_news(
        self, side: Side, news: Announcement | Beat | Goodbye, datagram: Datagram, now: float
    ) -> str:
        """Takes what a peer tells all: a sign of life of one that is known, else a hint."""
        header = news.header
        source = datagram.source
        leaving = isinstance(news, Goodbye)
        if self.table.is_stale(header.id, header.epoch, header.sequence):
            return Rejection.STALE
        peer = self.table.get(header.id)
        path = None
        if peer is not None:
            if header.epoch in peer.past_epochs:
                return Rejection.EPOCH
            if peer.epoch == header.epoch:
                path = peer.paths.get((side.index, _FAMILIES[source.address.version]))
        if peer is None or path is None or path.endpoint != source:
            if not leaving:
                candidate = Candidate(header.id, header.epoch, side.index, source)
                if self._candidates.add(candidate):
                    self._rejected[Rejection.UNPROVEN] += 1
            return ""
        if not path.accepts(header.sequence):
            return Rejection.REPLAY
        peer.note_sequence(header.sequence)
        if leaving:
            self._take_goodbye(side, peer, now)
            return ""
        peer.heard[side.index] = now
        path.time_ns = datagram.time_ns
        peer.interval = float(news.interval)
        self._recover(peer)
        if isinstance(news, Beat):
            last = peer.beats.get(side.index)
            since = None if last is None else now - last
            side.hearing.note_beat(now, since=since, interval=peer.interval)
            peer.beats[side.index] = now
        if news.version != peer.version:
            self._ask_state(side.index, source, peer, 0, now)
        return ""

    def _take_goodbye(self, side: Side, peer: Peer, now: float) -> None:
        if self._keyed:
            self._drop_paths(peer, side.index, Cause.GOODBYE)
            return
        # Anybody can say goodbye in somebody else's name: it is asked whether it is there.
        self._check(side, peer, Purpose.GOODBYE, now)

    # -- presence -----------------------------------------------------------------------------

    def _check(self, side: Side, peer: Peer, purpose: Purpose, now: float) -> None:
        path = peer.path(side.index)
        if path is None or self._inquiries.is_open(Purpose.GOODBYE, peer.id, side.index):
            return
        hearing = side.hearing
        # That it is gone was said in the one case, and is only feared in the other.
        tries = tries_for(hearing.loss if purpose is Purpose.GOODBYE else hearing.feared_loss)
        known = peer.version or 0
        self._inquiries.ask(
            Inquiry(purpose, side.index, path.endpoint, tries=tries, id=peer.id, known=known), now
        )

    def _look_after(self, id: bytes, now: float) -> None:
        """Asks a peer whose deadline has passed, where it has been silent for too long."""
        peer = self.table.get(id)
        if peer is None:
            return
        patience = silence(peer.interval)
        again = now + patience
        for index, heard in peer.heard.items():
            side = self._sides[index]
            deadline = heard + patience
            if deadline > now:
                again = min(again, deadline)
            elif self._is_deaf(side, now) and now < deadline + _PATIENCE * peer.interval:
                again = min(again, now + peer.interval / 2)
            else:
                self._check(side, peer, Purpose.SILENCE, now)
        self._deadlines.watch(id, again)

    def _is_deaf(self, side: Side, now: float) -> bool:
        intervals = [p.interval for p in self.table if side.index in p.beats]
        expected = sum(1 / interval for interval in intervals if interval > 0)
        return side.hearing.is_deaf(now, expected=expected, interval=max(intervals, default=0.0))

    def _recover(self, peer: Peer) -> None:
        if peer.suspect:
            peer.suspect = False
            self._say_changed(peer)

    def _say_changed(self, peer: Peer, *names: str) -> None:
        self.events.extend(Changed(device, names) for device in peer.devices)

    def _drop_paths(self, peer: Peer, index: int, cause: Cause) -> None:
        """It is gone from an interface; from the last one, it is gone."""
        devices = peer.devices
        if not peer.drop_paths(index):
            return
        if peer.paths:
            self._say_changed(peer, "sightings")
            return
        self._inquiries.close_about(peer.id)
        self.table.remove(peer)
        self.events.extend(Removed(device, cause) for device in devices)

    def _give_up(self, inquiry: Inquiry, now: float) -> None:
        """Takes it that nobody answers there."""
        self._forget(inquiry)
        if inquiry.purpose is Purpose.CHALLENGE:
            self._rejected[Rejection.UNPROVEN] += 1
        peer = self.table.get(inquiry.id)
        if peer is None:
            return
        if inquiry.purpose is Purpose.CLAIM:
            peer.yields = True
            if peer.claimant is not None and peer.claimant[0] in self._sides:
                self._ask_state(*peer.claimant, peer, 0, now)
        elif inquiry.purpose is Purpose.GOODBYE:
            self._drop_paths(peer, inquiry.interface, Cause.GOODBYE)
        elif inquiry.purpose is Purpose.SILENCE:
            self._drop_paths(peer, inquiry.interface, Cause.SILENCE)

    def _forget(self, inquiry: Inquiry) -> None:
        if inquiry.candidate is not None:
            self._candidates.discard(inquiry.candidate)
            self._challenged.pop(inquiry.candidate.source.address, None)

    def lose(self, index: int) -> None:
        """An interface is gone, and every path through it."""
        self._candidates.drop_interface(index)
        self._inquiries.close_on(index)
        self._challenged = {a: i for a, i in self._challenged.items() if i.interface != index}
        for peer in list(self.table):
            self._drop_paths(peer, index, Cause.PATH)

    # -- questions ----------------------------------------------------------------------------

    def due(self) -> float | None:
        """When `handle` is to be called next."""
        due = [self._inquiries.due(), self._deadlines.due()]
        if self._candidates.has_one(self._challenged):
            due.append(self._challenge_due)
        return min((time for time in due if time is not None), default=None)

    def handle(self, now: float) -> list[tuple[Inquiry, int]]:
        """Does what is due; returns what is to be asked, with the nonce of each query."""
        for id in self._deadlines.passed(now):
            self._look_after(id, now)
        self._challenge(now)
        asked, failed = self._inquiries.handle(now)
        for inquiry, _ in asked:
            self._suspect(inquiry)
        for inquiry in failed:
            self._give_up(inquiry, now)
        return asked

    def _suspect(self, inquiry: Inquiry) -> None:
        """Says so when a peer doesn't answer, wherever it was heard."""
        if inquiry.purpose is not Purpose.SILENCE or inquiry.unanswered < _SUSPICION:
            return
        peer = self.table.get(inquiry.id)
        if peer is None or peer.suspect:
            return
        if all(self._inquiries.is_open(Purpose.SILENCE, peer.id, i) for i in peer.heard):
            peer.suspect = True
            self.events.extend(Suspect(device) for device in peer.devices)

    def _challenge(self, now: float) -> None:
        """Asks the next candidate, of a source that isn't being asked already."""
        if now < self._challenge_due:
            return
        candidate = self._candidates.take(self._challenged)
        if candidate is None:
            return
        self._challenge_due = now + _CHALLENGE_GAP
        inquiry = Inquiry(
            Purpose.CHALLENGE,
            candidate.interface,
            candidate.source,
            tries=_CHALLENGES,
            candidate=candidate,
        )
        self._challenged[candidate.source.address] = inquiry
        self._inquiries.ask(inquiry, now)
