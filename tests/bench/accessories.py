"""``accessories``: what it costs to decode what the accessories of the catalogue say.

Each row is a description: the microseconds that a captured reply or announcement takes (the median
of its datagrams, each the best of many turns), what a stranger's datagram on the same port takes,
and what the file takes to load. Nested are those with parts inside, whatever they are written in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

from bcast.accessory.catalogue import load_named
from bcast.accessory.description import Decoded
from bcast.accessory.forms import Role
from bcast.capture import CaptureReader

__all__ = ["run"]

_CAPTURES = Path(__file__).parent.parent / "captures"

#: What a searcher tries.
_ROLES: tuple[Role, ...] = ("goodbye", "announcement", "reply")

#: By the kind of format: what a reply may take, in microseconds.
_AT_MOST = {"fixed": 10.0, "text": 60.0, "nested": 200.0}
_STRANGER = 2.0

_KINDS = {
    "artnet": "fixed",
    "bacnet": "nested",
    "coap": "nested",
    "flux_led": "text",
    "govee": "text",
    "kasa": "text",
    "knx": "nested",
    "lifx": "fixed",
    "ssdp": "text",
    "tapo": "nested",
    "tuya": "nested",
    "wiz": "text",
    "wsd": "nested",
    "yeelight": "text",
    "zre": "fixed",
}

#: What others send to any port: a probe of bcast itself, a question of mDNS, zeros, and text.
_STRANGERS = (
    bytes.fromhex("bd501001") + bytes(range(60)),
    bytes.fromhex("000000000001000000000000095f7365727669636573075f646e732d736404") + bytes(20),
    bytes(64),
    b"hello, is anybody there?",
)

_ROUNDS = 15
_TURNS = 50


class _Cost(NamedTuple):
    """Microseconds: of a reply (median and worst of the datagrams), of a stranger's datagram."""

    reply: float
    worst: float
    stranger: float
    load: float
    datagrams: int


def run() -> None:
    """Prints the table; what needs an extra that isn't installed is left out."""
    heads = ("reply", "worst", "goal", "stranger", "load ms")
    print(f"{'':10} {'kind':7} {' '.join(f'{head:>8}' for head in heads)}")
    missed = 0
    for name, kind in _KINDS.items():
        cost = _measure(name)
        goal = _AT_MOST[kind]
        met = cost.reply <= goal and cost.stranger <= _STRANGER
        missed += not met
        print(
            f"{name:10} {kind:7} {cost.reply:8.1f} {cost.worst:8.1f} {goal:8.0f}"
            f" {cost.stranger:8.2f} {cost.load / 1_000:8.1f} {'met' if met else 'MISSED'}"
        )
    print(f"microseconds a datagram; a stranger's at most {_STRANGER:g}; {missed} missed")


def _measure(name: str) -> _Cost:
    began = perf_counter()
    description = load_named(name)
    load = perf_counter() - began
    with CaptureReader(_CAPTURES / f"{name}.pcap") as reader:
        payloads = list(dict.fromkeys(datagram.payload for datagram in reader))
    replies = [p for p in payloads if isinstance(description.decode(p, roles=_ROLES), Decoded)]

    def costs(heard: Iterable[bytes]) -> list[float]:
        return [_best(partial(description.decode, payload, roles=_ROLES)) for payload in heard]

    replies_cost = costs(replies)
    strangers = median(costs(_STRANGERS))
    return _Cost(median(replies_cost), max(replies_cost), strangers, 1e6 * load, len(replies))


def _best(decode: Callable[[], object]) -> float:
    """Microseconds of one call: the best round, which nobody else has disturbed."""
    best = float("inf")
    for _ in range(_ROUNDS):
        began = perf_counter()
        for _ in range(_TURNS):
            decode()
        best = min(best, perf_counter() - began)
    return 1e6 * best / _TURNS
