"""Targets of datagrams and of the simulation itself: T9 and T11."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from random import Random

from bcast.discovery.offering import Offering
from bcast.discovery.search import Opening
from bcast.messages import Service
from bcast.simnet import Faults
from bcast.wire import MAX_DATAGRAM
from bcast.wire.keys import Keyring
from tests.bench.rows import Row
from tests.bench.simulated import Population, reference_service

__all__ = ["digest", "same_trace", "sizes"]

_KEYS = Keyring({1: b"0123456789abcdef"}, 1)


def sizes(quick: bool = False) -> Iterator[Row]:
    """T9: how large an announcement is, and the largest datagram there is."""
    for keyring, goal in ((None, 160), (_KEYS, 180)):
        offering = Offering(
            [reference_service()], random=Random(1), id=None, realm=0, keyring=keyring
        )
        size = len(offering.announcement(30))
        yield Row(
            "the reference service announced" + (", with a tag" if keyring else ""),
            f"<= {goal} B",
            f"{size} B",
            size <= goal,
        )
    population = Population(200 if quick else 1_100, seed=1, faults=Faults(0.1))
    pairs = {"a": "x" * 250, "b": "y" * 250}
    for number in range(5):
        lamps = [Service(f"lamp-{n}", "_lamp", n, pairs) for n in range(32 // (1 + number))]
        peer = population.newcomer(f"rich-{number}")
        peer.process.call(partial(peer.responder.offer, lamps))
    population.search()
    yield Row(
        "the largest datagram of a search with large states",
        f"<= {MAX_DATAGRAM} B",
        f"{population.largest} B",
        population.largest <= MAX_DATAGRAM,
    )


def same_trace(quick: bool = False) -> Iterator[Row]:
    """T11: the same seed, the same trace."""
    peers = 50 if quick else 300
    first, second, other = (digest(peers, seed) for seed in (1, 1, 2))
    yield Row(
        f"two searches among {peers} peers with one seed",
        "one digest; another one for another seed",
        f"{first[:8]}, {second[:8]}; {other[:8]}",
        first == second != other,
    )


def digest(peers: int, seed: int) -> str:
    """What became of every datagram of a search."""
    population = Population(peers, seed=seed, faults=Faults(0.1), trace=0)
    population.search(Opening.ALL, seconds=1.0)
    return population.lan.digest
