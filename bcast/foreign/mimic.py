"""The machine that stands in for accessories: answers in their place, and says what they say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush
from ipaddress import ip_address
from itertools import count
from random import Random
from typing import NamedTuple

from bcast.accessory.description import Decoded, Description
from bcast.accessory.forms import Answer, Form
from bcast.accessory.template import Own, Value
from bcast.datagram import Datagram, Endpoint, IPAddress
from bcast.discovery.buckets import HOST_BURST, HOST_RATE, Bucket, Buckets
from bcast.discovery.rejection import Rejection
from bcast.discovery.schedule import ANNOUNCEMENTS, GOODBYES, JITTER
from bcast.errors import ArgumentError
from bcast.foreign.asking import ASKED, seconds
from bcast.foreign.casting import Cast, Part
from bcast.foreign.doors import playing_doors, ports_of
from bcast.foreign.ends import End
from bcast.machine import Attached, Door, Outgoing, Received
from bcast.values import Value as Frozen

__all__ = ["Mimic", "MimicStatistics"]

# Answers that wait for their time: what probes with long delays can make us keep.
_WAITING = 8_192

# Answers that one accessory gives to a probe, on average; the host's bound grows with them.
_USUAL = 16

# Seconds between announcements where a description doesn't say, and the shortest there are.
_EVERY = 60.0
_SHORTEST = 0.1


class MimicStatistics(Frozen):
    """Counts since the start, in datagrams. ``probes``: those that could be decoded."""

    probes: int
    replies: int
    announcements: int
    goodbyes: int
    rejected: dict[str, int]


class _Due(NamedTuple):
    """Something to be said: an answer that is built, or what a part announces then."""

    time: float
    order: int
    interface: int
    outgoing: Outgoing | None = None
    part: Part | None = None
    form: Form | None = None


class Mimic:
    """Stands in for accessories of one protocol, on any number of interfaces.

    ``given``, ``number`` and ``hardware_address``: what they say, how many and who they are, see
    `Cast`. ``since``: what Unix time it was when ``now`` was 0. ``host``: what this host is
    called. Answers go to hosts
    on the link only, and no faster than a flood of probes could use. Raises `ArgumentError`.
    """

    def __init__(
        self,
        description: Description,
        given: Mapping[str, Value],
        *,
        number: int = 1,
        random: Random,
        since: float = 0.0,
        host: str = "",
        hardware_address: str = "",
    ) -> None:
        self.description = description
        self.doors: tuple[Door, ...] = playing_doors(description)

        def cast(given: Mapping[str, Value]) -> Cast:
            return Cast(
                description,
                given,
                number=number,
                host=host,
                hardware_address=hardware_address,
                random=random,
            )

        self._make_cast = cast
        self._cast = cast(given)
        #: Who is stood in for, by the index of the interface.
        self.parts: dict[int, list[Part]] = {}
        self._random = random
        #: What Unix time it was when ``now`` was 0.
        self.since = since
        self._ends: dict[int, End] = {}
        self._due: list[_Due] = []
        self._order = count()
        self._out: list[Outgoing] = []
        self._buckets = Buckets()
        burst = max(HOST_BURST, _USUAL * number)
        self._outgoing = Bucket(burst, max(HOST_RATE, float(burst)))
        self._is_leaving = False
        self._counted = dict.fromkeys(("probes", "replies", "announcements", "goodbyes"), 0)
        self._rejected: Counter[str] = Counter()

    @property
    def statistics(self) -> MimicStatistics:
        return MimicStatistics(**self._counted, rejected=dict(self._rejected))

    @property
    def finished(self) -> bool:
        """Whether `leave` was called, and the last goodbye was fetched."""
        return self._is_leaving and not self._due and not self._out

    def next_event(self) -> None:
        """Nothing ever happens to it."""

    # -- interfaces ---------------------------------------------------------------------------

    def interfaces_changed(self, interfaces: Sequence[Attached], now: float) -> None:
        """Announces itself where it wasn't before."""
        current = {attached.interface.index: attached for attached in interfaces}
        for index in [index for index in self._ends if index not in current]:
            del self._ends[index], self.parts[index]
            self._drop(index)
        for index, attached in current.items():
            end = self._ends.get(index)
            if end is None:
                self._ends[index] = End(attached)
            elif not end.update(attached):
                continue
            if not self._is_leaving:
                self._appear(index, now)
        self.handle_timer(now)

    def _appear(self, index: int, now: float) -> None:
        self._drop(index)
        self.parts[index] = self._cast.parts(self._ends.values(), self._ends[index])
        self._announce(index, now)

    def _drop(self, index: int) -> None:
        self._due = [due for due in self._due if due.interface != index]
        heapify(self._due)

    def change(self, given: Mapping[str, Value], now: float) -> None:
        """Says these values from now on instead of those given before, and announces them.

        Raises `ArgumentError` for values that the protocol doesn't have.
        """
        self._cast = self._make_cast(given)
        if not self._is_leaving:
            for index in self._ends:
                self._appear(index, now)
        self.handle_timer(now)

    # -- what is said unasked -----------------------------------------------------------------

    def _announce(self, index: int, now: float) -> None:
        for part in self.parts[index]:
            for form in self._forms("announcement"):
                first = now + self._random.random() * JITTER
                self._push(_Due(first, next(self._order), index, None, part, form))
                once = form._replace(every=None)
                for after in ANNOUNCEMENTS[1:]:
                    if after < self._every(form, part):
                        self._push(_Due(first + after, next(self._order), index, None, part, once))

    def _forms(self, role: str) -> list[Form]:
        messages = self.description.messages
        return [form for form in messages if form.role == role and form.sent]

    def _every(self, form: Form, part: Part) -> float:
        if form.every is None:
            return _EVERY
        return max(_SHORTEST, seconds(form.every, part.values, _EVERY))

    def leave(self, now: float) -> None:
        """Says goodbye, if the protocol has one, three times within 0.3 s; and nothing else."""
        if self._is_leaving:
            return
        self._is_leaving = True
        self._due = []
        for index in self._ends:
            for part in self.parts[index]:
                for form in self._forms("goodbye"):
                    for after in GOODBYES:
                        self._push(_Due(now + after, next(self._order), index, None, part, form))
        self.handle_timer(now)

    def _say(self, end: End, part: Part, form: Form, now: float) -> None:
        """Says an announcement or a goodbye of an accessory, all rows of it."""
        description = self.description
        for one, values in description.announcements(form.role, part.values):
            if one.name != form.name:
                continue
            for port in ports_of(description, one):
                door = port if end.has(port) else self.doors[0].port
                for address, own in end.ways(one.to.kind, description.group):
                    there = Endpoint(address, port)
                    if self._build(end, part, one, values, there, own, door, None, now):
                        self._counted[f"{form.role}s"] += 1

    # -- what is asked ------------------------------------------------------------------------

    def receive_datagrams(self, received: Received, now: float) -> None:
        end = self._ends.get(received.interface.index)
        if end is None or self._is_leaving:
            return
        for datagram in received.datagrams:
            if reason := self._receive(end, datagram, now):
                self._rejected[reason] += 1
        if received.drained:
            self.handle_timer(now)

    def _receive(self, end: End, datagram: Datagram, now: float) -> str:
        """Takes one datagram; returns why it is rejected, "" if it isn't."""
        decoded = self.description.decode(datagram.payload, roles=ASKED)
        if not isinstance(decoded, Decoded):
            return "" if end.is_own(datagram.source) else Rejection.MISFIT
        if not end.sources.is_on_link(datagram.source):
            return Rejection.OFF_LINK
        self._counted["probes"] += 1
        answers = [
            (part, answer)
            for part in self.parts[end.index]
            for answer in self.description.answers(decoded, part.values)
        ]
        if answers and not self._buckets.take(datagram.source.address, now):
            return Rejection.RATE
        reason = ""
        for part, answer in answers:
            reason = self._answer(end, datagram, decoded, part, answer, now) or reason
        return reason

    def _answer(
        self,
        end: End,
        datagram: Datagram,
        decoded: Decoded,
        part: Part,
        answer: Answer,
        now: float,
    ) -> str:
        if len(self._due) >= _WAITING:
            return Rejection.BUSY
        if not self._outgoing.take(now):
            return Rejection.RATE
        door = end.door(datagram.destination)
        source = datagram.source
        ways = list(self._ways(end, answer, source))
        if not ways:
            return Rejection.OFF_LINK
        least, most = answer.delay
        time = now + least + self._random.random() * max(0.0, most - least)
        before = len(self._out)
        for there, own in ways:
            self._build(
                *(end, part, answer.form, answer.values, there, own),
                *(self.doors[0].port if door is None else door, decoded.values, now),
            )
        built, self._out[before:] = self._out[before:], []
        for outgoing in built:
            self._push(_Due(time, next(self._order), end.index, outgoing))
        return ""

    def _ways(
        self, end: End, answer: Answer, source: Endpoint
    ) -> list[tuple[Endpoint, IPAddress]]:
        """Where an answer goes, and the own address that it goes from."""
        description = self.description
        if answer.kind in ("broadcast", "group"):
            port = answer.port or description.port
            found = end.ways(answer.kind, description.group)
            return [(Endpoint(address, port), own) for address, own in found]
        there = Endpoint(source.address, answer.port or source.port)
        if answer.kind == "address":
            # What a payload says is a claim: nobody is to be flooded in another's name.
            if not end.is_here(answer.address, there.port):
                return []
            there = Endpoint(ip_address(answer.address), there.port)
        own = end.source_to(there.address)
        return [] if own is None else [(there, own)]

    def _build(
        self,
        end: End,
        part: Part,
        form: Form,
        values: Mapping[str, Value],
        there: Endpoint,
        own: IPAddress,
        door: int,
        probe: Mapping[str, Value] | None,
        now: float,
    ) -> bool:
        """Builds a datagram; what can't be built from what a probe says isn't sent."""
        try:
            payload = self.description.encode(
                form,
                values,
                own=_there(part.own, own),
                random=self._random,
                now=self.since + now,
                probe=probe,
            )
        except ArgumentError:
            self._rejected[Rejection.MISFIT] += 1
            return False
        self._out.append(Outgoing(payload, end.index, there, door))
        return True

    # -- time ---------------------------------------------------------------------------------

    def _push(self, due: _Due) -> None:
        heappush(self._due, due)

    def get_timer(self) -> float | None:
        return self._due[0].time if self._due else None

    def handle_timer(self, now: float) -> None:
        while self._due and self._due[0].time <= now:
            due = heappop(self._due)
            end = self._ends.get(due.interface)
            if end is None:
                continue
            if due.outgoing is not None:
                self._counted["replies"] += 1
                self._out.append(due.outgoing)
            elif due.part is not None and due.form is not None:
                self._say(end, due.part, due.form, now)
                if due.form.role == "announcement" and due.form.every is not None:
                    later = due.time + self._every(due.form, due.part)
                    self._push(due._replace(time=max(later, now), order=next(self._order)))

    def datagrams_to_send(self, now: float) -> list[Outgoing]:
        out, self._out = self._out, []
        return out


def _there(own: Own, address: IPAddress) -> Own:
    """Who writes, from an address."""
    plain = str(ip_address(address.packed))
    return Own(plain, own.port, own.mac, own.id, own.host)
