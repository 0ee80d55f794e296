"""Who asked and who answered in a capture: what a draft of a description starts from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bcast.accessory.forms import Role

__all__ = ["MAX_HEARD", "Conversation", "Heard", "Spoken", "conversation"]

#: Datagrams that are looked at: a draft needs examples, not all of a day's capture.
MAX_HEARD = 2_000


class Heard(NamedTuple):
    """A datagram of a capture. Addresses are text, "" (and port 0) where nothing is known."""

    payload: bytes
    source: str = ""
    source_port: int = 0
    destination: str = ""
    destination_port: int = 0
    #: Seconds, since any moment.
    time: float = 0.0

    @property
    def to_group(self) -> bool:
        first = self.destination.partition(".")[0]
        return first.isdigit() and 224 <= int(first) <= 239

    @property
    def to_all(self) -> bool:
        # Networks other than /24 have other broadcast addresses too; a capture doesn't tell.
        return self.destination.endswith(".255")


class Spoken(NamedTuple):
    """A datagram in its role; ``probe`` is the one that it answers, None if it answers none."""

    heard: Heard
    role: Role
    probe: Heard | None = None
    #: A probe that goes to one device: a question that comes after its reply.
    follows: bool = False


class Conversation(NamedTuple):
    """``port``: where the probes and announcements go (0: not known); ``group``: "" if none."""

    port: int
    group: str
    spoken: Sequence[Spoken]
    #: Datagrams that weren't looked at: on other ports, or too many.
    passed: int


def conversation(heard: Iterable[Heard]) -> Conversation:
    """Sorts datagrams, in the order of their arrival, into probes, replies and announcements.

    What goes to all is a probe of whoever is answered, and an announcement of all others; what
    comes back to who asked is a reply, and what goes to one that has replied is a question that
    follows.
    """
    datagrams = [datagram for datagram in heard if datagram.payload]
    passed = max(0, len(datagrams) - MAX_HEARD)
    datagrams = datagrams[:MAX_HEARD]
    open_to = Counter(d.destination_port for d in datagrams if d.to_group or d.to_all)
    port = open_to.most_common(1)[0][0] if open_to else 0
    groups = Counter(d.destination for d in datagrams if d.to_group and d.destination_port == port)
    group = groups.most_common(1)[0][0] if groups else ""
    # Who is answered once asks, also where nobody is there to answer.
    answered = {d.destination for d in datagrams if not (d.to_group or d.to_all)}
    spoken = []
    asked = _Asked()
    replied: set[str] = set()
    for datagram in datagrams:
        if not datagram.destination:
            spoken.append(Spoken(datagram, "reply"))
        elif datagram.to_group or datagram.to_all:
            if datagram.source in answered and datagram.source not in replied:
                asked.add(datagram)
                spoken.append(Spoken(datagram, "probe"))
            else:
                spoken.append(Spoken(datagram, "announcement"))
        elif probe := asked.answered_by(datagram):
            replied.add(datagram.source)
            spoken.append(Spoken(datagram, "reply", probe))
        elif datagram.destination in replied:
            asked.add(datagram)
            spoken.append(Spoken(datagram, "probe", follows=True))
        else:
            passed += 1
    return Conversation(port, group, spoken, passed)


class _Asked:
    """The probes until now: the last from each endpoint to each port."""

    def __init__(self) -> None:
        self._probes: list[Heard] = []

    def add(self, probe: Heard) -> None:
        self._probes = [
            known
            for known in self._probes
            if (known.source, known.source_port, known.destination_port)
            != (probe.source, probe.source_port, probe.destination_port)
        ]
        self._probes.append(probe)

    def answered_by(self, reply: Heard) -> Heard | None:
        """The probe that a datagram most likely answers; a reply may go to another port."""
        asking = [probe for probe in self._probes if probe.source == reply.destination]

        def likelihood(probe: Heard) -> tuple[bool, bool]:
            return (
                probe.source_port == reply.destination_port,
                probe.destination_port == reply.source_port,
            )

        # The last of those that are equally likely.
        return max(reversed(asking), key=likelihood, default=None)
