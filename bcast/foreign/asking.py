"""What a searcher knows of one protocol: whom it asked what and when, and who is there."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from bcast.accessory.description import Decoded, Description
from bcast.accessory.forms import MAX_DELAY, Form, Role
from bcast.accessory.template import Value
from bcast.datagram import Datagram, Endpoint
from bcast.device import DeviceEvent
from bcast.foreign.doors import asking_doors
from bcast.foreign.finds import Find, Finds

__all__ = [
    "ASKED",
    "CHECK",
    "GRACE",
    "HEARD",
    "PERIOD",
    "Due",
    "Protocol",
    "Question",
    "lasts",
    "says_more",
    "seconds",
]

#: Seconds between searches for those who are looked after, and how many of them a device that
#: answers to them may miss.
PERIOD = 30.0
_MISSED = 3

#: Seconds in which a suspect may answer, besides the delay that its protocol allows.
GRACE = 2.0

#: Seconds between searches for suspects: forged announcements must not make us ask all the time.
CHECK = 5.0

#: What is a device's, and what is not.
HEARD: frozenset[Role] = frozenset(("goodbye", "announcement", "reply"))
ASKED: frozenset[Role] = frozenset(("probe",))

# Announcements that a device which makes them regularly may miss.
_SILENT = 3.5

# Devices that are being followed up at one time: what a flood of made-up ones can make us keep.
_FOLLOWED = 1_024

# Seconds that a message is good for at most: a day.
_LONGEST = 86_400.0


class Question(NamedTuple):
    """A probe that was sent: its values, for echoes, when first, and in which search."""

    values: Mapping[str, Value]
    time: float
    round: int
    answered: bool = False


class Protocol:
    """A description, and what is known by it."""

    def __init__(self, description: Description, events: deque[DeviceEvent], limit: int) -> None:
        self.description = description
        self.finds = Finds(description.name, events, collect=description.collect, limit=limit)
        messages = description.messages
        self.first = [form for form in messages if form.role == "probe" and not form.after]
        self.later = [form for form in messages if form.role == "probe" and form.after]
        #: The ports of its doors, by which its messages come.
        self.doors = frozenset(door.port for door in asking_doors([description]))
        #: The longest that a reply to what was asked so far may take, in seconds.
        self.patience = 0.0
        #: When all were asked, by interface, and when suspects were last looked for.
        self.begun: dict[int, float] = {}
        self.checked = -CHECK
        # What was asked of all, by interface, and of one device besides, by the probe's name.
        self._asked: dict[int, dict[str, Question]] = {}
        self._followed: dict[tuple[int, str], dict[str, Question]] = {}

    @property
    def polled(self) -> float:
        """For how many seconds who answers is there, if it is asked again before long."""
        return _MISSED * PERIOD + self.patience + GRACE

    def begin(self, index: int, now: float) -> None:
        """A search begins on an interface: what was asked before is asked anew."""
        self._asked[index] = {}
        self.begun[index] = now

    def drop(self, index: int) -> None:
        """Forgets what was asked on an interface."""
        self._asked.pop(index, None)
        self.begun.pop(index, None)
        for place in [place for place in self._followed if place[0] == index]:
            del self._followed[place]

    def questions(self, index: int, find: Find | None) -> dict[str, Question]:
        """What was asked there, of all or of one device; to be added to."""
        if find is None:
            return self._asked.setdefault(index, {})
        place = index, find.id
        if place not in self._followed and len(self._followed) >= _FOLLOWED:
            del self._followed[next(iter(self._followed))]
        return self._followed.setdefault(place, {})

    def note_asked(self, form: Form, values: Mapping[str, Value]) -> None:
        """A probe with these values was sent to all."""
        for reply in self.description.messages:
            if reply.role == "reply" and form.name in reply.answers:
                delay = seconds(reply.delay[1], values, MAX_DELAY)
                self.patience = max(self.patience, min(delay, MAX_DELAY))

    def question(self, form: Form, index: int) -> Question | None:
        """The first probe to all that a message may be the reply to."""
        if form.role != "reply":
            return None
        found = [
            question
            for name, question in self._asked.get(index, {}).items()
            if not form.answers or name in form.answers
        ]
        return min(found, key=lambda question: question.time, default=None)

    def is_answered(self, index: int, find: Find, name: str) -> bool:
        """Whether a device has answered what it was asked besides."""
        asked = self._followed.get((index, find.id), {}).get(name)
        return asked is not None and asked.answered

    def note_answer(self, form: Form, index: int, find: Find) -> list[Form]:
        """A device said something: what it is to be asked now, for the first time."""
        questions = self._followed.get((index, find.id), {})
        for name, question in questions.items():
            if name in form.answers:
                questions[name] = question._replace(answered=True)
        return [
            later
            for later in self.later
            if later.after == form.name and later.name not in questions
        ]

    def decode(self, index: int, datagram: Datagram) -> Decoded | None:
        """What it says, if it echoes what was asked of whoever is there."""
        asked = {name: question.values for name, question in self._asked.get(index, {}).items()}
        decode, payload = self.description.decode, datagram.payload
        decoded = decode(payload, roles=HEARD, probes=asked)
        if isinstance(decoded, Decoded) or not self._followed:
            return decoded if isinstance(decoded, Decoded) else None
        for id in self.finds.at((index, datagram.source.address)):
            if more := self._followed.get((index, id)):
                values = {name: question.values for name, question in more.items()}
                decoded = decode(payload, roles=HEARD, probes=asked | values)
                if isinstance(decoded, Decoded):
                    return decoded
        return None

    def asks(self, payload: bytes) -> bool:
        """Whether it is a probe: that others search too is nothing to complain about."""
        return isinstance(self.description.decode(payload, roles=ASKED), Decoded)


class Due(NamedTuple):
    """A probe that is to be sent on an interface, and ``left`` times more ``gap`` seconds later.

    ``device``: its id, if it follows up, and ``source``, where it was heard.
    """

    time: float
    order: int
    protocol: Protocol
    form: Form
    interface: int
    left: int
    gap: float
    device: str = ""
    source: Endpoint | None = None

    def again(self, now: float, order: int) -> Due:
        """The next one of the same."""
        return self._replace(time=now + self.gap, order=order, left=self.left - 1)


def says_more(one: Decoded, other: Decoded) -> bool:
    """Whether of two messages that a datagram fits the first leaves less to chance."""
    return one.form.template.constants > other.form.template.constants


def lasts(protocol: Protocol, form: Form, values: Mapping[str, Value]) -> float:
    """For how many seconds a message is good."""
    if form.expires is not None:
        return max(GRACE, seconds(form.expires, values, protocol.polled))
    if form.every is not None:
        return _SILENT * seconds(form.every, values, PERIOD) + GRACE
    return protocol.polled


def seconds(said: float | str, values: Mapping[str, Value], otherwise: float) -> float:
    """Seconds as a description says them: a number, or the name of a value."""
    told = values.get(said) if isinstance(said, str) else said
    if isinstance(told, bool) or not isinstance(told, int | float):
        return otherwise
    return min(max(0.0, float(told)), _LONGEST)
