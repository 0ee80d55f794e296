"""A fake native accessory: a peer that can be told to misbehave, as firmware does. A machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heappop, heappush
from math import inf
from random import Random
from typing import Any, TypedDict

from bcast.discovery.responder import Responder, ResponderEvent
from bcast.domain import Domain
from bcast.errors import ArgumentError
from bcast.machine import Attached, Machine, Outgoing, Received
from bcast.messages import Message, Reply, Service
from bcast.values import Value
from bcast.wire import decode, encode

__all__ = ["Accessory", "FakeAccessory", "SwitchSettings", "Switches"]


class Switches(Value):
    """How a fake accessory misbehaves. By default it doesn't.

    ``silent``: it hears everything and says nothing. ``slow``: seconds from when it should say
    something until it does (0 or more). ``twice``: it sends each reply two times. ``wrong_id``: it
    replies with another id than it announces itself with. ``malformed``: only the first half of
    each of its datagrams is sent. ``forgets_goodbye``: it leaves without a word.
    """

    silent: bool = False
    slow: float = 0.0
    twice: bool = False
    wrong_id: bool = False
    malformed: bool = False
    forgets_goodbye: bool = False

    def set(self, changes: Mapping[str, object]) -> Switches:
        """With some of them set otherwise. Raises `ArgumentError` for what is no switch."""
        for name, value in changes.items():
            if name not in self._names:
                raise ArgumentError(
                    f"{name!r} is no switch of an accessory", f"use {', '.join(self._names)}"
                )
            if name == "slow":
                is_right = isinstance(value, int | float) and 0 <= value < inf
            else:
                is_right = isinstance(value, bool)
            if not is_right:
                kind = "seconds, 0 or more" if name == "slow" else "True or False"
                raise ArgumentError(f"{name}={value!r} can't be set", f"use {kind}")
        return self.__replace__(**changes)


class SwitchSettings(TypedDict, total=False):
    """The same as keyword arguments."""

    silent: bool
    slow: float
    twice: bool
    wrong_id: bool
    malformed: bool
    forgets_goodbye: bool


class Accessory(Value):
    """What a fake accessory is made of; ``interval`` as `Responder` has it.

    All that a LAN needs to know of one is here and in its machine, which has a method for each
    thing that it may be told: `FakeAccessory.switch`, `FakeAccessory.offer` and so on.
    """

    services: tuple[Service, ...]
    id: bytes
    switches: Switches = Switches()
    interval: float | None = None

    def meets(self, domain: Domain) -> Domain:
        """The port and the groups that it is heard on, given those of the LAN."""
        return domain

    def machine(
        self,
        *,
        random: Random,
        domain: Domain,
        decode: Callable[[bytes], Message] = decode,
    ) -> Machine[Any]:
        """What is run on a host."""
        return FakeAccessory(self, random=random, domain=domain, decode=decode)


class FakeAccessory:
    """A responder between its own honesty and the network. A `bcast.machine.Machine`."""

    def __init__(
        self,
        accessory: Accessory,
        *,
        random: Random,
        domain: Domain,
        decode: Callable[[bytes], Message] = decode,
    ) -> None:
        self._switches = accessory.switches
        self._keyring = domain.keyring
        self._other_id = random.randbytes(16)
        self._responder = Responder(
            accessory.services,
            random=random,
            domain=domain,
            id=accessory.id,
            interval=accessory.interval,
            decode=decode,
        )
        self._gone = False
        self._held: list[tuple[float, int, Outgoing]] = []
        self._count = 0

    # -- what it is told ----------------------------------------------------------------------

    def switch(self, switches: Switches, now: float) -> None:
        """Misbehaves so from now on."""
        self._switches = switches

    def offer(self, services: Iterable[Service], now: float) -> None:
        """Offers these services from now on."""
        self._responder.offer(services, now)

    def leave(self, now: float) -> None:
        """Says goodbye and nothing else any more, unless it forgets to."""
        if self._switches.forgets_goodbye:
            self._gone = True
        else:
            self._responder.leave(now)

    # -- Machine ------------------------------------------------------------------------------

    def interfaces_changed(self, interfaces: Sequence[Attached], now: float) -> None:
        self._responder.interfaces_changed(interfaces, now)

    def receive_datagrams(self, received: Received, now: float) -> None:
        self._responder.receive_datagrams(received, now)

    def datagrams_to_send(self, now: float) -> list[Outgoing]:
        outgoing = self._responder.datagrams_to_send(now)
        switches = self._switches
        if not self._held and switches == _HONEST and not self._gone:
            return outgoing
        if not (switches.silent or self._gone):
            for one in outgoing:
                for spoilt in self._spoil(one):
                    self._count += 1
                    heappush(self._held, (now + switches.slow, self._count, spoilt))
        ready = []
        while self._held and self._held[0][0] <= now:
            ready.append(heappop(self._held)[2])
        return ready

    def _spoil(self, outgoing: Outgoing) -> list[Outgoing]:
        switches = self._switches
        message = decode(outgoing.payload)
        count = 1
        if isinstance(message, Reply):
            if switches.wrong_id:
                header = message.header._replace(id=self._other_id)
                payload = encode(message._replace(header=header), self._keyring)
                outgoing = outgoing._replace(payload=payload)
            count += switches.twice
        if switches.malformed:
            outgoing = outgoing._replace(payload=outgoing.payload[: len(outgoing.payload) // 2])
        return [outgoing] * count

    def get_timer(self) -> float | None:
        timer = self._responder.get_timer()
        if self._held and (timer is None or self._held[0][0] < timer):
            return self._held[0][0]
        return timer

    def handle_timer(self, now: float) -> None:
        self._responder.handle_timer(now)

    def next_event(self) -> ResponderEvent | None:
        return self._responder.next_event()


_HONEST = Switches()
