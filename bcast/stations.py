"""One of the machines that a driver runs, and its sockets.

Layer 5. No clock and no selector: `bcast.driver` has both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from bcast.attachments import Attachments, Inlet
from bcast.channels import News, Notice
from bcast.datagram import Datagram, Family, Interface
from bcast.interfaces.wording import shown
from bcast.log import DEBUG, WARNING, is_wanted, log
from bcast.machine import Attached, Machine, Outgoing, Received
from bcast.sockets.batch import Batch

__all__ = ["Station"]

_door_of = attrgetter("door")


class Station:
    """A machine, with the sockets of its ``doors``, or the one pair of a machine without doors.

    ``families``: those that it speaks in, for a machine whose sockets somebody else has: it has
    neither, and is told the interfaces that are chosen.
    """

    def __init__(self, machine: Machine[Any], families: Sequence[Family] = ()) -> None:
        self.machine = machine
        self.doors: list[Attachments] = []
        self._families = families
        self._chosen: Sequence[Interface] = ()
        #: The interfaces that the machine has now.
        self.told: tuple[Attached, ...] = ()
        self._ways: dict[int, Attachments] = {}
        #: Drops of sockets that are closed, not yet told of the interface that they were on.
        self._unsaid: dict[int, int] = {}
        #: The interfaces, by index, that drops were logged of.
        self._flooded: set[int] = set()

    def add(self, attachments: Attachments) -> None:
        """Another door of the machine."""
        self.doors.append(attachments)
        self._ways[attachments.door.port if attachments.door else 0] = attachments

    def open(self, chosen: Sequence[Interface], now: float) -> list[Notice]:
        """Opens its doors on the interfaces ``chosen``."""
        self.choose(chosen)
        notices: list[Notice] = []
        for door in self.doors:
            notices += door.open(chosen)
            door.retry_later(now)
        return notices

    def choose(self, chosen: Sequence[Interface]) -> None:
        """Those are chosen now; doors see for themselves."""
        self._chosen = chosen

    def keep_up(self, news: News, now: float) -> list[Notice]:
        """As `Channels.keep_up`, for all doors."""
        notices: list[Notice] = []
        for door in self.doors:
            notices += door.keep_up(news, now)
        return notices

    def due(self) -> float | None:
        """When the machine's timer, or what failed, is due."""
        moments = [door.retry for door in self.doors]
        moments.append(self.machine.get_timer())
        return min((moment for moment in moments if moment is not None), default=None)

    def tell(self, clock: Callable[[], float]) -> float:
        """Tells the machine which interfaces there are, if they aren't what it knows.

        Returns when: to look at them takes milliseconds, which aren't the peers'.
        """
        replaced = {index for door in self.doors for index in door.replaced()}
        attached = self._attached()
        now = clock()
        kept = tuple(one for one in attached if one.interface.index not in replaced)
        for told in (kept, attached):
            # An interface that was created again with the same index is another one: it is gone
            # first.
            if told != self.told:
                self.told = told
                self.machine.interfaces_changed(told, now)
        there = {index for door in self.doors for index in door.by_index}
        for index in replaced - there:
            self._unsaid.pop(index, None)
        return now

    def _attached(self) -> tuple[Attached, ...]:
        if len(self.doors) == 1:
            return self.doors[0].attached
        if not self.doors:
            return self._without_doors()
        found: dict[int, Attached] = {}
        for door in self.doors:
            for one in door.attached:
                index = one.interface.index
                before = found.get(index)
                found[index] = one if before is None else _joined(before, one)
        return tuple(found.values())

    def _without_doors(self) -> tuple[Attached, ...]:
        found = []
        for interface in self._chosen:
            families = tuple(f for f in self._families if interface.addresses_of(f))
            if families and not interface.blocked:
                found.append(Attached(interface, families, 0))
        return tuple(found)

    def note_drops(self, inlet: Inlet) -> int:
        """Takes the drops of a socket that is being closed; returns how many they are."""
        if drops := inlet.drops():
            index = inlet.channel.interface.index
            self._unsaid[index] = self._unsaid.get(index, 0) + drops
        return drops

    def hand_over(
        self,
        batches: dict[int, list[Batch]],
        inlets: dict[int, set[Inlet]],
        unread: set[int],
        rate: float,
        now: float,
    ) -> tuple[int, int, int]:
        """Gives the machine what was read, interface by interface.

        Returns how many datagrams and bytes that was, and how many were dropped.
        """
        attached = {one.interface.index for one in self.told}
        count = size = dropped = 0
        for index in sorted(batches.keys() | inlets.keys()):
            read = batches.get(index, [])
            asked = inlets.get(index, set())
            drops = sum(inlet.drops() for inlet in asked)
            dropped += drops
            count += sum(map(len, read))
            size += sum(batch.size for batch in read)
            drops += self._unsaid.pop(index, 0)
            datagrams: list[Datagram] = []
            for batch in read:
                datagrams += batch.datagrams()
            # What was still queued when its interface went away says nothing any more.
            if index not in attached or not (datagrams or drops):
                continue
            if len(asked) > 1:
                datagrams.sort(key=_time_of)
            interface = self._interface(index)
            drained = index not in unread
            received = Received(interface, datagrams, drops, drained, rate)
            if drops or is_wanted("driver", DEBUG):
                self._receive_aloud(received, now)
            else:
                self.machine.receive_datagrams(received, now)
        return count, size, dropped

    def _receive_aloud(self, received: Received, now: float) -> None:
        """Hands it over, and logs what the machine rejects of it and what was lost before."""
        name, drops = shown(received.interface.name), received.drops
        before = Counter(self._rejected)
        self.machine.receive_datagrams(received, now)
        for reason, count in (Counter(self._rejected) - before).items():
            log("driver", DEBUG, "%s: %s rejected (%s)", name, count, reason)
        if drops:
            # Once is a warning: under a flood there is one wake-up after the other.
            level = DEBUG if received.interface.index in self._flooded else WARNING
            self._flooded.add(received.interface.index)
            log("driver", level, "%s: the receive buffer was full: %s lost", name, drops)

    @property
    def _rejected(self) -> Mapping[str, int]:
        """How many datagrams the machine rejected, by reason, if it counts them."""
        return getattr(self.machine, "rejected", {})

    def _interface(self, index: int) -> Interface:
        return next(d.by_index[index].interface for d in self.doors if index in d.by_index)

    def send(self, datagrams: Iterable[Outgoing]) -> None:
        """Sends each by the door that it names."""
        for number, leaving in groupby(datagrams, _door_of):
            if (door := self._ways.get(number)) is not None:
                door.send(leaving)

    def close(self) -> None:
        for door in self.doors:
            door.close_all()


def _joined(one: Attached, other: Attached) -> Attached:
    """The same interface with the doors of both."""
    return Attached(
        one.interface,
        tuple(sorted({*one.families, *other.families})),
        min(one.capacity, other.capacity),
        one.doorways + other.doorways,
    )


def _time_of(datagram: Datagram) -> int:
    return datagram.time_ns
