"""Very many native peers in one process, each with sockets in the namespace of its host.

What each says and when is `bcast.discovery.responder.Responder`'s, through the same sockets that
a `bcast.Announcer` has. What is shared is the waiting, and the decoding of what
all of them hear: a driver for each would take twice as long, and in reality hosts answer side by
side.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from functools import lru_cache
from heapq import heappop, heappush
from random import Random
from time import monotonic
from typing import Any

from bcast.attachments import Attachments, Inlet
from bcast.datagram import Family
from bcast.destinations import DEFAULT_GROUPS, DEFAULT_PORT
from bcast.discovery.responder import Responder
from bcast.interfaces import list_interfaces
from bcast.interfaces import select as select_interfaces
from bcast.machine import Received
from bcast.messages import Service
from bcast.sockets import RECEIVE_BUFFER
from bcast.sockets.batch import Batch
from bcast.sockets.transfer import open_reader
from bcast.wire import decode

__all__ = ["Crowd"]

# What one call reads at most; fewer, and the socket is empty.
_BATCH = 64
# EPOLLIN.
_READABLE = 1
# Probes that are on their way at once.
_PROBES = 64


class _Peer:
    """One machine, its sockets, and when it is due."""

    def __init__(self, machine: Responder, attachments: Attachments) -> None:
        self.machine = machine
        self.attachments = attachments
        self.due: float | None = None


class Crowd:
    """Peers that answer on the interface ``eth0`` of the namespaces that they were added in."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._inlets: dict[int, tuple[_Peer, Inlet]] = {}
        # Selectors would add to what an answer takes: a host has one socket to look at.
        self._epoll: Any = getattr(select, "epoll")()  # noqa: B009
        self._due: list[tuple[float, int, _Peer]] = []
        self._read = open_reader({})
        # All of them hear the same probes.
        self._decode = lru_cache(maxsize=_PROBES)(decode)

    def add(self, service: Service) -> None:
        """Adds a peer in the namespace that the calling thread is in."""
        machine = Responder([service], random=self._random, interval=3600.0, decode=self._decode)
        inlets: list[Inlet] = []
        attachments = Attachments(
            port=DEFAULT_PORT,
            families=(Family.IPV4,),
            groups=[group for group in DEFAULT_GROUPS if group.family is Family.IPV4],
            include=("eth0",),
            exclude=None,
            buffer=RECEIVE_BUFFER,
            opened=inlets.append,
            closing=lambda inlet: None,
        )
        attachments.open(select_interfaces(list_interfaces(), ("eth0",), None).chosen)
        attachments.raise_if_none()
        peer = _Peer(machine, attachments)
        for inlet in inlets:
            self._epoll.register(inlet.socket, _READABLE)
            self._inlets[inlet.socket.fileno()] = peer, inlet
        now = monotonic()
        machine.interfaces_changed(attachments.attached, now)
        self._say(peer, now)

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """Lets all answer; ``until`` is asked after each wake-up, every second at least."""
        while not until():
            now = monotonic()
            left = self._due[0][0] - now if self._due else 1.0
            for number, _ in self._epoll.poll(min(max(left, 0.0), 1.0)):
                self._take(*self._inlets[number])
            now = monotonic()
            while self._due and self._due[0][0] <= now:
                due, _, peer = heappop(self._due)
                if due == peer.due:
                    peer.machine.handle_timer(now)
                    self._say(peer, now)

    def _take(self, peer: _Peer, inlet: Inlet) -> None:
        now = monotonic()
        batches: list[Batch] = self._read(inlet.socket, inlet.channel.interface, inlet.port)
        for batch in batches:
            drained = len(batch) < _BATCH
            received = Received(inlet.channel.interface, batch.datagrams(), 0, drained)
            peer.machine.receive_datagrams(received, now)
            self._say(peer, now)

    def _say(self, peer: _Peer, now: float) -> None:
        peer.attachments.send(peer.machine.datagrams_to_send(now))
        due = peer.machine.get_timer()
        if due != peer.due:
            peer.due = due
            if due is not None:
                heappush(self._due, (due, id(peer), peer))
