"""Fake accessories that can be told to misbehave, as firmware does; and the native one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heappop, heappush
from math import inf
from random import Random
from typing import Any, TypedDict

from bcast.discovery.responder import Responder
from bcast.domain import Domain
from bcast.errors import ArgumentError
from bcast.machine import Attached, Machine, Outgoing, Received
from bcast.messages import Message, Reply, Service
from bcast.values import Value
from bcast.wire import decode, encode

__all__ = ["Accessory", "FakeAccessory", "Misbehaving", "SwitchSettings", "Switches"]


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
    """What a fake native accessory is made of; ``interval`` as `Responder` has it.

    Its machine has a method for each thing that it may be told: `FakeAccessory.switch`,
    `FakeAccessory.offer` and so on.
    """

    services: tuple[Service, ...]
    id: bytes
    switches: Switches = Switches()
    interval: float | None = None


class Misbehaving:
    """A machine between its own honesty and the network. A `bcast.machine.Machine`."""

    def __init__(self, machine: Machine[Any], switches: Switches) -> None:
        self._machine = machine
        self._switches = switches
        #: Whether it says nothing any more.
        self._is_gone = False
        self._held: list[tuple[float, int, Outgoing]] = []
        self._count = 0

    def switch(self, switches: Switches, now: float) -> None:
        """Misbehaves so from now on."""
        self._switches = switches

    def _said(self, now: float) -> list[Outgoing]:
        """What it would send."""
        return self._machine.datagrams_to_send(now)

    def _spoil(self, outgoing: Outgoing) -> list[Outgoing]:
        """What becomes of a datagram by the switches that concern its message."""
        return [outgoing]

    def interfaces_changed(self, interfaces: Sequence[Attached], now: float) -> None:
        self._machine.interfaces_changed(interfaces, now)

    def receive_datagrams(self, received: Received, now: float) -> None:
        self._machine.receive_datagrams(received, now)

    def datagrams_to_send(self, now: float) -> list[Outgoing]:
        outgoing = self._said(now)
        switches = self._switches
        if not self._held and switches == _HONEST and not self._is_gone:
            return outgoing
        if not (switches.silent or self._is_gone):
            for one in outgoing:
                for spoilt in self._spoil(one):
                    self._count += 1
                    heappush(self._held, (now + switches.slow, self._count, self._cut(spoilt)))
        ready = []
        while self._held and self._held[0][0] <= now:
            ready.append(heappop(self._held)[2])
        return ready

    def _cut(self, outgoing: Outgoing) -> Outgoing:
        if not self._switches.malformed:
            return outgoing
        return outgoing._replace(payload=outgoing.payload[: len(outgoing.payload) // 2])

    def get_timer(self) -> float | None:
        timer = self._machine.get_timer()
        if self._held and (timer is None or self._held[0][0] < timer):
            return self._held[0][0]
        return timer

    def handle_timer(self, now: float) -> None:
        self._machine.handle_timer(now)

    def next_event(self) -> object | None:
        return self._machine.next_event()


class FakeAccessory(Misbehaving):
    """A native accessory that can be told to misbehave."""

    def __init__(
        self,
        accessory: Accessory,
        *,
        random: Random,
        domain: Domain,
        decode: Callable[[bytes], Message] = decode,
    ) -> None:
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
        super().__init__(self._responder, accessory.switches)

    def offer(self, services: Iterable[Service], now: float) -> None:
        """Offers these services from now on."""
        self._responder.offer(services, now)

    def leave(self, now: float) -> None:
        """Says goodbye and nothing else any more, unless it forgets to."""
        if self._switches.forgets_goodbye:
            self._is_gone = True
        else:
            self._responder.leave(now)

    def _spoil(self, outgoing: Outgoing) -> list[Outgoing]:
        message = decode(outgoing.payload)
        if not isinstance(message, Reply):
            return [outgoing]
        if self._switches.wrong_id:
            header = message.header._replace(id=self._other_id)
            payload = encode(message._replace(header=header), self._keyring)
            outgoing = outgoing._replace(payload=payload)
        return [outgoing] * (1 + self._switches.twice)


_HONEST = Switches()
