"""``targets``: what the native protocol is to achieve, under made-up time.

Every row is a prober and peers of `bcast.discovery` on a LAN of `bcast.simnet`: what it shows
doesn't depend on the machine (only its CPU seconds do), and the same seed shows the same again.
Unless a row says otherwise, the peers have been there for a while, are asked over IPv4 by a
search that is cold, and beat as so many do; a prober has a receive buffer of 416 kB (512
replies) and reads 20,000 datagrams a second; "datagrams" are all PROBEs, REPLYs and QUERYs within
5 s, as multiples of the bound: one PROBE, and of each peer as many REPLYs as it takes for one to
get through. Where several seeds were run, a row shows the median and, in parentheses, the worst.

Cheap rows come first; each is printed when it is done. Most of the CPU time, some ten minutes on a
quiet machine, goes into the last four checks: three million forged ids, hours without a removal,
a week of memory, and searches among 20,000 peers (of T2, T4, T5 and T11; ``--only T11``).
``--only T3,T5`` chooses, ``--quick`` makes everything small, for a look. Beside some rows stands
what other protocols take for the same: simulated as well, with 166 instead of 512 datagrams of
receive buffer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from tests.bench import flooding, presence, reproducing, searching
from tests.bench.rows import Row

__all__ = ["NAMES", "Rows", "run"]

#: The rows of a check, at small sizes if it is told so.
Rows = Callable[[bool], Iterator[Row]]


class _Check(NamedTuple):
    target: str
    rows: Rows


#: In the order of what they cost.
_CHECKS = (
    _Check("T9", reproducing.sizes),
    _Check("T1", searching.one_peer),
    _Check("T8", presence.idle),
    _Check("T11", reproducing.same_trace),
    _Check("T10", flooding.requests),
    _Check("T3", searching.lossy),
    _Check("T6", searching.wireless),
    _Check("T7", searching.bursts),
    _Check("T4", searching.thrift),
    _Check("T2", searching.speed),
    _Check("T5", searching.no_drops),
    _Check("T7", searching.crowd_of_probers),
    _Check("T4", searching.estimate),
    _Check("T8", presence.deaths),
    _Check("T10", flooding.forged_peers),
    _Check("T8", presence.false_removals),
    _Check("T8", presence.week),
    _Check("T11", searching.large),
)

NAMES = tuple(sorted({check.target for check in _CHECKS}, key=lambda name: int(name[1:])))

_HEADS = ("", "what", "goal", "measured", "", "CPU s", "others")
_WIDTHS = (3, 63, 41, 62, 6, 6)


def run(only: Collection[str] = (), quick: bool = False) -> int:
    """Prints the rows of these targets (none = all) as they are done; returns how many missed."""
    print(
        "Each row when it is done, those that take long last: from T10's forged ids on, minutes.\n"
    )
    _print(_HEADS)
    _print(["-" * width for width in (*_WIDTHS, 6)])
    missed = 0
    began = then = time.process_time()
    for check in _CHECKS:
        if only and check.target not in only:
            continue
        for row in check.rows(quick):
            now = time.process_time()
            verdict = "" if row.met is None else "met" if row.met else "MISSED"
            missed += row.met is False
            _print(
                (
                    row.target or check.target,
                    row.what,
                    row.goal,
                    row.measured,
                    verdict,
                    f"{now - then:.1f}",
                    row.others,
                )
            )
            then = now
    print(f"\n{time.process_time() - began:.0f} s of CPU; {missed} missed", flush=True)
    return missed


def _print(cells: Collection[str]) -> None:
    *padded, last = cells
    line = "  ".join(cell.ljust(width) for cell, width in zip(padded, _WIDTHS, strict=True))
    print(f"{line}  {last}".rstrip(), flush=True)
