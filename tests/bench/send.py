"""``send``: datagrams a second, in batches.

Multicast datagrams of 200 bytes leave one end of a cable, as fast as the contestant can; at the
other end nobody listens. Each turn is a process of its own, which measures itself (wall clock,
and user and system time) after it has started and sent a first batch. Each datagram of a batch
has memory of its own.

- reference: `reference.c`, sendmmsg;
- C sendmmsg + IP_PKTINFO: the same with the source address in each datagram, as bcast sends;
- Sender.send_many: lists of that many payloads;
- sendto: a plain loop in Python, for orientation.

Nobody waits for anything here, so a second is one of CPU time: on the clock (beside it) the
contestants share the machine with whatever else runs on it. A ratio above 1 means more datagrams
a second than the reference.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.bench.measure import Series, at_least, print_table
from tests.bench.network import GROUP, INTERFACE, LENGTH, Cable, Sending, cable, subject

__all__ = ["run"]

_PORT = 28_400
_COUNT = 60_000
_BATCHES = (64, 256, 1000)
_REFERENCE = "C sendmmsg (reference)"
_OURS = "Sender.send_many"

_Turn = Callable[[Cable, int], Sending]


def run(rounds: int) -> None:
    """Measures ``rounds`` rounds of each size of batch and prints a table for each."""
    with cable() as network:
        for batch in _BATCHES:
            _print(batch, _measure(network, batch, rounds))


def _reference(mode: str) -> _Turn:
    return lambda network, batch: network.send(_COUNT, port=_PORT, batch=batch, mode=mode)


def _python(name: str) -> _Turn:
    def turn(network: Cable, batch: int) -> Sending:
        args = subject(name, INTERFACE, GROUP, *map(str, (_PORT, _COUNT, batch, LENGTH)))
        return Sending(**json.loads(network.run_sender(args)))

    return turn


_TURNS: dict[str, _Turn] = {
    _REFERENCE: _reference("plain"),
    "C sendmmsg + IP_PKTINFO": _reference("pktinfo"),
    _OURS: _python("send-many"),
    "sendto loop": _python("sendto"),
}


def _measure(network: Cable, batch: int, rounds: int) -> dict[str, list[Sending]]:
    results: dict[str, list[Sending]] = {name: [] for name in _TURNS}
    for _ in range(rounds):
        for name, turn in _TURNS.items():
            results[name].append(turn(network, batch))
    return results


def _print(batch: int, results: dict[str, list[Sending]]) -> None:
    rates = {n: Series([s.sent * 1e9 / s.cpu_ns for s in one]) for n, one in results.items()}
    clock = {n: Series([s.sent * 1e9 / s.wall_ns for s in one]) for n, one in results.items()}
    goals = {_OURS: at_least(0.9)}
    rows = []
    for name in results:
        ratio = rates[name].over(rates[_REFERENCE])
        rows.append(
            (
                name,
                *rates[name].cells(1000, 0),
                f"{ratio:.2f}",
                goals[name].verdict(ratio) if name in goals else "",
                f"{1e6 / rates[name].median:.2f}",
                *clock[name].cells(1000, 0),
            )
        )
    print_table(
        f"send: {_COUNT} datagrams of {LENGTH} bytes, {batch} a batch, "
        f"{len(results[_REFERENCE])} rounds",
        ("contestant", "1000/s", "min-max", "x C", "goal", "us", "on the clock", "min-max"),
        rows,
    )
