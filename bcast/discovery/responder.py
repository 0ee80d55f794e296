"""The machine that makes a peer discoverable: it answers probes, and says that it is there."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from bcast.datagram import Datagram, Endpoint, IPAddress, Kind
from bcast.discovery.answers import Answer, Answers
from bcast.discovery.buckets import HOST_BURST, HOST_RATE, Bucket, Buckets
from bcast.discovery.links import Link
from bcast.discovery.offering import Offering
from bcast.discovery.rejection import Rejection
from bcast.discovery.schedule import Path, Schedule
from bcast.domain import Domain
from bcast.errors import ArgumentError, DecodeError
from bcast.machine import Attached, Outgoing, Received
from bcast.messages import Announcement, Beat, Message, Probe, Query, Reply, Service
from bcast.values import Value
from bcast.wire import MAX_REPLY_RATIO, decode
from bcast.wire.filters import contains
from bcast.wire.hashes import id64, slot
from bcast.wire.keys import is_authentic

__all__ = [
    "CONFLICT_PAUSE",
    "MAX_CONFLICTS",
    "Conflict",
    "Responder",
    "ResponderEvent",
    "ResponderStatistics",
]

#: Seconds in which a conflict with one source is told once, and the sources told of in that time:
#: whoever forges them can make up as many as they like.
CONFLICT_PAUSE = 60.0
MAX_CONFLICTS = 64

#: The TTL, or hop limit, of what no router has passed on (as in RFC 5082).
_TTL = 255

_ANYBODY = Domain()


class Conflict(Value):
    """Another peer has the id that this one was given, and nobody can tell the two apart.

    ``interface``: the name of that by which it was heard. ``source``: where it sends from.
    """

    interface: str
    source: Endpoint


ResponderEvent = Conflict


class ResponderStatistics(NamedTuple):
    """What a responder has heard and said so far, in datagrams.

    ``probes``: those of its realm, whoever they were for. ``short``: the ``replies`` without
    services. ``rejected``: by `Rejection` and `bcast.wire.Reason`.
    """

    probes: int
    queries: int
    replies: int
    short: int
    announcements: int
    beats: int
    goodbyes: int
    rejected: Mapping[str, int]


class Responder:
    """A `bcast.machine.Machine`: a peer that offers services, as far as others can tell.

    ``services`` must fit into 16 datagrams, 16 into each. ``id``: 16 bytes, random if not given.
    ``interval``: seconds between beats, 1..3600, rounded up to whole ones; None: 30, and more
    among more than a thousand peers. ``decode``: as `bcast.wire.decode`. Raises `ArgumentError`.
    """

    def __init__(
        self,
        services: Iterable[Service],
        *,
        random: Random,
        domain: Domain = _ANYBODY,
        id: bytes | None = None,
        interval: float | None = None,
        decode: Callable[[bytes], Message] = decode,
    ) -> None:
        self._domain = domain
        self._realm = domain.realm_hash
        self._keyring = domain.keyring
        self._decode = decode
        self._offering = Offering(
            services, random=random, id=id, realm=self._realm, keyring=domain.keyring
        )
        self._schedule = Schedule(random=random, interval=interval, count=self._count_peers)
        self._counts = interval is None
        self._links: dict[int, Link] = {}
        self._answers = Answers()
        # What is taken on, and what is sent: probes can make answers wait and go together.
        self._buckets = Buckets()
        self._outgoing = Bucket(HOST_BURST, HOST_RATE)
        self._outbox: list[Outgoing] = []
        self._is_leaving = False
        self._conflicts: dict[IPAddress, float] = {}
        self._events: deque[Conflict] = deque(maxlen=MAX_CONFLICTS)
        self._counted = dict.fromkeys(ResponderStatistics._fields[:-1], 0)
        self._probes = 0
        self._rejected: Counter[str] = Counter()

    @property
    def id(self) -> bytes:
        return self._offering.id

    @property
    def epoch(self) -> int:
        return self._offering.epoch

    @property
    def version(self) -> int:
        """The version of what is offered: 1, and 1 more with every `offer`."""
        return self._offering.version

    @property
    def interval(self) -> int:
        """Seconds between beats, as they are stated now."""
        return self._schedule.interval

    @property
    def finished(self) -> bool:
        """Whether `leave` was called, and the last goodbye was fetched."""
        return self._is_leaving and self._schedule.next is None and not self._outbox

    @property
    def rejected(self) -> Mapping[str, int]:
        """Datagrams rejected so far, by reason; the counts go on."""
        return self._rejected

    @property
    def statistics(self) -> ResponderStatistics:
        counted = self._counted | {"probes": self._probes}
        return ResponderStatistics(**counted, rejected=+self._rejected)

    # --- what its owner wants

    def offer(self, services: Iterable[Service], now: float) -> None:
        """Offers these services from now on, and announces it everywhere.

        Raises `ArgumentError` if they don't fit, or after `leave`.
        """
        if self._is_leaving:
            raise ArgumentError("the peer has said goodbye", "make another one")
        self._offering.change(services)
        self._schedule.announce([p for link in self._links.values() for p in link.paths], now)

    def leave(self, now: float) -> None:
        """Says goodbye everywhere, three times within 0.3 s, and nothing else any more."""
        if self._is_leaving:
            return
        self._is_leaving = True
        self._answers.clear()
        if self._links:
            self._schedule.leave(now)
        self.handle_timer(now)

    # --- Machine

    def interfaces_changed(self, interfaces: Sequence[Attached], now: float) -> None:
        """Announces itself where it wasn't before: an interface, a family or an address is new."""
        before = self._links
        self._links = {}
        fresh: list[Path] = []
        for attached in interfaces:
            index = attached.interface.index
            link = self._links[index] = Link(attached, self._domain, before.get(index))
            fresh += link.fresh
        for index, old in before.items():
            new = self._links.get(index)
            left = new.paths if new is not None else ()
            self._schedule.forget([path for path in old.paths if path not in left])
            self._answers.drop(index, new.families if new is not None else ())
        self._outbox = [one for one in self._outbox if one.interface in self._links]
        if not self._links:
            self._schedule.stop()
        elif not self._is_leaving:
            self._schedule.announce(fresh, now)

    def receive_datagrams(self, received: Received, now: float) -> None:
        """Takes what was received on one interface. Never raises, whatever the bytes are."""
        link = self._links.get(received.interface.index)
        if link is None or self._is_leaving:
            if link is None:
                self._rejected[Rejection.INTERFACE] += len(received.datagrams)
            return
        probes: list[tuple[Probe, Datagram]] = []
        for datagram in received.datagrams:
            try:
                message = self._decode(datagram.payload)
            except DecodeError as error:
                self._rejected[error.reason] += 1
                continue
            if isinstance(message, Probe):
                if message.header.realm == self._realm:
                    probes.append((message, datagram))
                else:
                    self._rejected[Rejection.REALM] += 1
            else:
                self._hear(message, datagram, link, now)
        if len(probes) > 1:
            probes = self._newest(probes)
        for probe, datagram in probes:
            self._hear_probe(probe, datagram, link, now)
        if received.drained:
            self._answer(now)

    def datagrams_to_send(self, now: float) -> list[Outgoing]:
        """What is to be sent now; each datagram is returned once."""
        outbox = self._outbox
        if outbox:
            self._outbox = []
        return outbox

    def get_timer(self) -> float | None:
        """When `handle_timer` wants to be called; None: not before something arrives."""
        answer = self._answers.next
        said = self._schedule.next
        if answer is None or (said is not None and said < answer):
            return said
        return answer

    def handle_timer(self, now: float) -> None:
        """Does what is due. Calling it early does nothing."""
        self._answer(now)
        due = self._schedule.take(now)
        interval = self._schedule.interval
        for path in due.announcements:
            for destination in self._links[path.interface].targets[path.family]:
                payload = self._offering.announcement(interval)
                self._say("announcements", payload, path.interface, destination)
        for index, link in self._links.items():
            if due.beat:
                for destination in link.targets[link.paths[0].family] if link.paths else ():
                    self._say("beats", self._offering.beat(interval), index, destination)
                link.population.rotate()
            if due.goodbye:
                for path in link.paths:
                    for destination in link.targets[path.family]:
                        self._say("goodbyes", self._offering.goodbye(interval), index, destination)

    def next_event(self) -> ResponderEvent | None:
        """The next event, oldest first; None when there is none left."""
        return self._events.popleft() if self._events else None

    # --- what is heard

    def _newest(self, probes: list[tuple[Probe, Datagram]]) -> list[tuple[Probe, Datagram]]:
        """Those of each prober with the nonce that it sent last: it waits for no other answer.

        It has sent several with that nonce if it knows so many peers that one filter doesn't hold
        them. A forged probe must not take the place of one with a tag.
        """
        if self._keyring is not None:
            probes = [(probe, data) for probe, data in probes if self._is_authentic(data)]
        newest: dict[bytes, Probe] = {}
        for probe, _ in probes:
            other = newest.setdefault(probe.header.id, probe)
            if probe.header.sequence > other.header.sequence:
                newest[probe.header.id] = probe
        kept = [one for one in probes if one[0].nonce == newest[one[0].header.id].nonce]
        self._rejected[Rejection.SUPERSEDED] += len(probes) - len(kept)
        return kept

    def _hear_probe(self, probe: Probe, datagram: Datagram, link: Link, now: float) -> None:
        """Owes an answer, if it is for this peer; the cheapest tests come first."""
        self._probes += 1
        offering = self._offering
        if probe.types and offering.types.isdisjoint(probe.types):
            return
        nonce = probe.nonce
        place = slot(offering.id64, nonce) - probe.low
        if not 0 <= place < probe.high - probe.low:
            return
        if contains(probe.filter, probe.filter_hashes, offering.entry, nonce):
            return
        if not self._is_credible(datagram, link):
            return
        answers = self._answers
        prober = probe.header.id
        index = link.interface.index
        is_wireless = link.interface.kind == Kind.WIFI
        if answers.is_repeated(prober, nonce):
            self._rejected[Rejection.REPEATED] += 1
        elif is_wireless and answers.is_bunched(prober, index, probe.elapsed, now):
            self._rejected[Rejection.BUNCHED] += 1
        elif not self._buckets.take(datagram.source.address, now):
            self._rejected[Rejection.RATE] += 1
        else:
            wait = probe.window / 1_000 * place / (probe.high - probe.low)
            room = MAX_REPLY_RATIO * len(datagram.payload)
            if not answers.add(prober, Answer(now + wait, nonce, datagram.source, index, room)):
                self._rejected[Rejection.BUSY] += 1
            elif is_wireless:
                answers.keep_wireless(prober, index, probe.elapsed, now)

    def _hear(self, message: Message, datagram: Datagram, link: Link, now: float) -> None:
        header = message.header
        is_ours = header.realm == self._realm
        if header.id == self.id and header.epoch == self.epoch:
            self._rejected[Rejection.OWN] += 1
        elif isinstance(message, Query):
            if is_ours:
                self._hear_query(message, datagram, link, now)
            else:
                self._rejected[Rejection.REALM] += 1
        elif isinstance(message, Reply):
            self._rejected[Rejection.UNASKED] += 1
        elif isinstance(message, Announcement | Beat):
            # Beats of other realms take their share of the segment too.
            has_our_id = is_ours and header.id == self.id
            if (has_our_id or self._counts) and self._is_credible(datagram, link):
                if has_our_id:
                    self._rejected[Rejection.FOREIGN_ID] += 1
                    self._tell_conflict(link, datagram.source, now)
                else:
                    link.population.add(id64(header.id))

    def _hear_query(self, query: Query, datagram: Datagram, link: Link, now: float) -> None:
        """Answers it at once, and each repetition of it: the answer before may have been lost."""
        if not self._is_credible(datagram, link):
            return
        self._counted["queries"] += 1
        if link.sources.is_for_many(datagram.destination):
            self._rejected[Rejection.NOT_UNICAST] += 1
        elif not self._buckets.take(datagram.source.address, now):
            self._rejected[Rejection.RATE] += 1
        else:
            room = MAX_REPLY_RATIO * len(datagram.payload)
            answer = Answer(now, query.nonce, datagram.source, link.interface.index, room)
            self._reply(answer, now, query.part, is_known=query.known == self.version)

    def _is_credible(self, datagram: Datagram, link: Link) -> bool:
        """Whether it comes from a host on the link and, where there are keys, from a friend."""
        if datagram.ttl not in (None, _TTL):
            self._rejected[Rejection.TTL] += 1
        elif not link.sources.is_on_link(datagram.source):
            self._rejected[Rejection.OFF_LINK] += 1
        else:
            return self._is_authentic(datagram)
        return False

    def _is_authentic(self, datagram: Datagram) -> bool:
        if self._keyring is None or is_authentic(datagram.payload, self._keyring):
            return True
        self._rejected[Rejection.KEY] += 1
        return False

    def _tell_conflict(self, link: Link, source: Endpoint, now: float) -> None:
        self._conflicts = {a: t for a, t in self._conflicts.items() if now - t < CONFLICT_PAUSE}
        if source.address not in self._conflicts and len(self._conflicts) < MAX_CONFLICTS:
            self._conflicts[source.address] = now
            self._events.append(Conflict(link.interface.name, source))

    def _count_peers(self) -> float:
        """How many peers there may be on the largest segment, this one included."""
        return 1 + max((link.population.upper() for link in self._links.values()), default=0.0)

    # --- what is said

    def _answer(self, now: float) -> None:
        due = self._answers.next
        if due is not None and due <= now:
            for answer in self._answers.take(now):
                self._reply(answer, now)

    def _reply(self, answer: Answer, now: float, part: int = 0, is_known: bool = False) -> None:
        if not self._outgoing.take(now):
            self._rejected[Rejection.RATE] += 1
            return
        offering, nonce, interval = self._offering, answer.nonce, self._schedule.interval
        if not is_known and offering.fits(answer.room, part):
            payload = offering.reply(nonce, interval, part)
        else:
            payload = offering.short_reply(nonce, interval, more=not is_known)
            self._counted["short"] += 1
        self._say("replies", payload, answer.interface, answer.destination)

    def _say(self, what: str, payload: bytes, interface: int, destination: Endpoint) -> None:
        self._counted[what] += 1
        self._outbox.append(Outgoing(payload, interface, destination))
