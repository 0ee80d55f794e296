"""The machine that finds accessories: asks with descriptions, and hears what is said unasked."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from itertools import count
from random import Random
from uuid import UUID

from bcast.accessory.description import Decoded, Description
from bcast.accessory.forms import Form
from bcast.datagram import Datagram, Endpoint, Family, IPAddress
from bcast.device import Device, DeviceEvent
from bcast.discovery.rejection import Rejection
from bcast.errors import ArgumentError
from bcast.foreign.asking import (
    ASKED,
    CHECK,
    GRACE,
    PERIOD,
    Due,
    Protocol,
    Question,
    lasts,
    says_more,
)
from bcast.foreign.doors import asking_door, asking_doors, ports_of
from bcast.foreign.ends import End
from bcast.foreign.finds import MAX_DEVICES, Find, Heard
from bcast.machine import Attached, Door, Outgoing, Received
from bcast.values import Value as Frozen

__all__ = ["Finder", "FinderStatistics"]

# How often a follow-up is sent until it is answered, and seconds between.
_FOLLOW_UPS = (3, 0.5)

# Seconds in which who answers at once has answered.
_PROMPT = 0.5

# Follow-ups that are to be sent: what a flood of made-up devices can make us ask.
_MOST_DUE = 1_024


class FinderStatistics(Frozen):
    """Counts since the start. ``rejected``: datagrams by `Rejection` and, ``misfit``, those that
    are none of the descriptions' messages."""

    probes: int
    replies: int
    found: int
    rejected: dict[str, int]


class Finder:
    """Finds the accessories of descriptions that share ports, on any number of interfaces.

    ``watch``: keeps asking, and looks after those who were found; without it, it asks once.
    ``since``: what Unix time it was when ``now`` was 0, for protocols that say the time;
    ``host``: what this host is called, for those that ask by name. ``max_devices`` of each
    protocol: more are refused and counted.
    """

    def __init__(
        self,
        descriptions: Sequence[Description],
        *,
        random: Random,
        watch: bool = True,
        since: float = 0.0,
        host: str = "",
        max_devices: int = MAX_DEVICES,
    ) -> None:
        self._random = random
        self._watch = watch
        self._since = since
        self._host = host
        self._id = str(UUID(int=random.getrandbits(128), version=4))
        self._events: deque[DeviceEvent] = deque()
        self._protocols = [Protocol(one, self._events, max_devices) for one in descriptions]
        self.doors: tuple[Door, ...] = asking_doors(descriptions)
        self._ends: dict[int, End] = {}
        self._due: list[Due] = []
        self._order = count()
        self._out: list[Outgoing] = []
        self._rejected: Counter[str] = Counter()
        self._probes = self._replies = self._rounds = 0
        self._look: float | None = None
        #: When all that were asked have had time to answer; None: they had.
        self._calm: float | None = None

    # -- what is known ------------------------------------------------------------------------

    @property
    def devices(self) -> tuple[Device, ...]:
        """All that are there, as they are known now."""
        return tuple(find.device for protocol in self._protocols for find in protocol.finds)

    @property
    def statistics(self) -> FinderStatistics:
        found = sum(len(protocol.finds) for protocol in self._protocols)
        return FinderStatistics(self._probes, self._replies, found, dict(self._rejected))

    @property
    def quiet(self) -> bool:
        """Whether all were asked, as often as the descriptions say, and had time to answer."""
        return self._calm is None and not self._due

    def next_event(self) -> DeviceEvent | None:
        return self._events.popleft() if self._events else None

    # -- interfaces ---------------------------------------------------------------------------

    def interfaces_changed(self, interfaces: Sequence[Attached], now: float) -> None:
        current = {attached.interface.index: attached for attached in interfaces}
        for index in [index for index in self._ends if index not in current]:
            del self._ends[index]
            self._drop(index)
            for protocol in self._protocols:
                protocol.finds.lose(index)
        for index, attached in current.items():
            end = self._ends.get(index)
            if end is None:
                self._ends[index] = End(attached)
            elif not end.update(attached):
                continue
            self._drop(index)
            for protocol in self._protocols:
                self._search(protocol, index, now)
        self._send_due(now)

    def _drop(self, index: int) -> None:
        """Forgets what was and would be asked there."""
        self._due = [due for due in self._due if due.interface != index]
        heapify(self._due)
        for protocol in self._protocols:
            protocol.drop(index)

    # -- asking -------------------------------------------------------------------------------

    def search(self, now: float) -> None:
        """Asks everybody once more, without waiting until it is time to."""
        for index in self._ends:
            for protocol in self._protocols:
                self._search(protocol, index, now)
        self._send_due(now)

    def _search(self, protocol: Protocol, index: int, now: float) -> None:
        """Asks everybody, from now on."""
        self._due = [
            due
            for due in self._due
            if due.device or due.interface != index or due.protocol is not protocol
        ]
        heapify(self._due)
        self._rounds += 1
        protocol.begin(index, now)
        for form in protocol.first:
            times, gap = form.repeat
            heappush(self._due, Due(now, next(self._order), protocol, form, index, times - 1, gap))
        if self._watch and protocol.first:
            self._look_at(now + PERIOD)

    def _send_due(self, now: float) -> None:
        while self._due and self._due[0].time <= now:
            self._send(heappop(self._due), now)

    def _send(self, due: Due, now: float) -> None:
        end = self._ends.get(due.interface)
        if end is not None:
            again = (self._follow if due.device else self._ask)(due, end, now)
            if again and due.left:
                heappush(self._due, due.again(now, next(self._order)))

    def _ask(self, due: Due, end: End, now: float) -> bool:
        """Sends a first probe to everybody on an interface; whether it can be."""
        description, form = due.protocol.description, due.form
        sent = False
        for address, own in end.ways(form.to.kind, description.group):
            for port in ports_of(description, form):
                sent |= self._say(due, end, Endpoint(address, port), own, now, None)
        return sent

    def _follow(self, due: Due, end: End, now: float) -> bool:
        """Asks one device more; whether it is still to be asked."""
        protocol, source = due.protocol, due.source
        find = protocol.finds.get(due.device)
        assert source is not None
        if find is None or (end.index, source.address) not in find.places:
            return False
        if protocol.is_answered(end.index, find, due.form.name):
            return False
        description, form = protocol.description, due.form
        own = end.source_to(source.address)
        ways = [] if own is None else [(source.address, own)]
        if form.to.kind != "device":
            ways = list(end.ways(form.to.kind, description.group))
        for address, own in ways:
            for port in ports_of(description, form):
                self._say(due, end, Endpoint(address, port), own, now, find)
        return True

    def _say(
        self, due: Due, end: End, there: Endpoint, own: IPAddress, now: float, find: Find | None
    ) -> bool:
        protocol, form = due.protocol, due.form
        description = protocol.description
        door = asking_door(form)
        port = end.port(door, Family(there.address.version))
        if port is None:
            return False
        questions = protocol.questions(end.index, find)
        before = questions.get(form.name)
        try:
            payload = description.encode(
                form,
                {} if before is None else before.values,
                own=end.own(own, port, id=self._id, host=self._host),
                random=self._random,
                now=self._since + now,
                device=None if find is None else find.values,
            )
        except ArgumentError:
            # A follow-up needs something that this device never said.
            return False
        if before is None:
            decoded = description.decode(payload, roles=ASKED)
            values = decoded.values if isinstance(decoded, Decoded) else {}
            questions[form.name] = Question(values, now, self._rounds)
            if find is None:
                protocol.note_asked(form, values)
                asked = now + max(0, form.repeat[0] - 1) * form.repeat[1]
                self._calm = max(self._calm or 0.0, asked + protocol.patience + _PROMPT)
        self._probes += 1
        self._out.append(Outgoing(payload, end.index, there, door))
        return True

    def datagrams_to_send(self, now: float) -> list[Outgoing]:
        out, self._out = self._out, []
        return out

    # -- what comes in ------------------------------------------------------------------------

    def receive_datagrams(self, received: Received, now: float) -> None:
        end = self._ends.get(received.interface.index)
        if end is None:
            return
        for datagram in received.datagrams:
            reason = self._receive(end, datagram, now)
            if reason:
                self._rejected[reason] += 1
        self._send_due(now)

    def _receive(self, end: End, datagram: Datagram, now: float) -> str:
        """Takes one datagram; returns why it is rejected, "" if it isn't."""
        source = datagram.source
        if not end.sources.is_on_link(source):
            return Rejection.OFF_LINK
        door = end.door(datagram.destination)
        best: tuple[Protocol, Decoded] | None = None
        spoken = [protocol for protocol in self._protocols if door in protocol.doors]
        for protocol in spoken:
            decoded = protocol.decode(end.index, datagram)
            if decoded is not None and (best is None or says_more(decoded, best[1])):
                best = protocol, decoded
        if best is not None:
            return self._take(*best, end, datagram, now)
        # Our own probes come back, and that others search too is nothing to complain about.
        if end.is_own(source) or any(protocol.asks(datagram.payload) for protocol in spoken):
            return ""
        return Rejection.MISFIT

    def _take(
        self, protocol: Protocol, decoded: Decoded, end: End, datagram: Datagram, now: float
    ) -> str:
        form, source = decoded.form, datagram.source
        question = protocol.question(form, end.index)
        heard = Heard(
            protocol.description.identity(decoded, str(source.address)),
            decoded.values,
            source,
            end.interface,
            datagram.time_ns,
            None if question is None else max(0.0, now - question.time),
            0 if question is None else question.round,
            now + lasts(protocol, form, decoded.values),
        )
        if form.role == "goodbye" or form.means == "absent":
            return protocol.finds.leave(heard) or ""
        if form.role == "reply":
            self._replies += 1
        found = protocol.finds.take(heard)
        if isinstance(found, Rejection):
            return found
        if found is not None:
            if found.answered and protocol.first:
                # Who answers is asked again before long, whatever it promises.
                found.deadline = min(found.deadline, now + protocol.polled)
            if self._watch:
                self._look_at(found.deadline)
            self._follow_up(protocol, form, found, end, source, now)
        return ""

    def _follow_up(
        self,
        protocol: Protocol,
        form: Form,
        find: Find,
        end: End,
        source: Endpoint,
        now: float,
    ) -> None:
        """Asks what is to be asked after a message, once on each interface."""
        for later in protocol.note_answer(form, end.index, find):
            if len(self._due) >= _MOST_DUE:
                return
            times, gap = later.repeat if later.repeat[0] > 1 else _FOLLOW_UPS
            due = now, next(self._order), protocol, later, end.index, times - 1, gap
            self._send(Due(*due, find.id, source), now)

    # -- time ---------------------------------------------------------------------------------

    def get_timer(self) -> float | None:
        moments = [due.time for due in self._due[:1]]
        moments += [time for time in (self._look, self._calm) if time is not None]
        return min(moments, default=None)

    def handle_timer(self, now: float) -> None:
        if self._calm is not None and self._calm <= now:
            self._calm = None
        if self._look is not None and self._look <= now:
            self._look = None
            for protocol in self._protocols:
                self._look_after(protocol, now)
        self._send_due(now)

    def _look_at(self, time: float) -> None:
        if self._look is None or time < self._look:
            self._look = time

    def _look_after(self, protocol: Protocol, now: float) -> None:
        """Asks again when it is time, and gives up who has been silent for too long."""
        for index in self._ends:
            if not protocol.first:
                break
            begun = protocol.begun.get(index, now)
            if now >= begun + PERIOD:
                self._search(protocol, index, now)
            else:
                self._look_at(begun + PERIOD)
        for find in list(protocol.finds):
            if now < find.deadline:
                self._look_at(find.deadline)
            elif find.suspect or not protocol.first:
                protocol.finds.give_up(find)
            else:
                protocol.finds.suspect(find, now + protocol.patience + GRACE)
                self._look_at(find.deadline)
                if now >= protocol.checked + CHECK:
                    protocol.checked = now
                    for index in {place[0] for place in find.places}:
                        self._search(protocol, index, now)
