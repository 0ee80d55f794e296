"""Targets of searches: T1 to T7, and the time that a large one takes to simulate."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from statistics import mean, median

from bcast.discovery.search import Opening
from bcast.simnet import Faults, GilbertElliott, WifiMode
from tests.bench.rows import Row, milliseconds, spread
from tests.bench.simulated import BUFFER, DRAIN, LARGE_BUFFER, Outcome, Population

__all__ = [
    "bursts",
    "crowd_of_probers",
    "estimate",
    "large",
    "lossy",
    "no_drops",
    "one_peer",
    "outcomes",
    "speed",
    "thrift",
    "wireless",
]

ALL, SAMPLE, CACHED = Opening.ALL, Opening.SAMPLE, Opening.CACHED
_OPENINGS = (ALL, SAMPLE)

#: How long other protocols take, where their figures belong to a row: simulated, as this is.
_OTHERS_1 = "probe once 0.3, SSDP 873, WS-Discovery 241, mDNS 139 ms"
_OTHERS_100 = "t99: SSDP 3057, mDNS 3525 ms; probe once, WS-Discovery never"
_OTHERS_1000 = "t99: SSDP 3365, mDNS 3578 ms; probe once, WS-Discovery never"
_OTHERS_LOSSY = "missing at 1 s: probe once 81 %, SSDP 69 %, WS-Discovery 17 %, mDNS 51 %"
_OTHERS_20000 = "missing at 5 s: probe once 95 %, SSDP 0.7 %, WS-Discovery 40 %, mDNS 68 %"


def outcomes(
    peers: int,
    opening: Opening,
    seeds: int,
    *,
    faults: Faults | None = None,
    wifi: WifiMode | None = None,
    buffer: int = BUFFER,
    drain: float = DRAIN,
    probers: int = 1,
) -> list[Outcome]:
    """What the probers of as many runs as there are seeds found."""
    return [
        outcome
        for seed in range(seeds)
        for outcome in Population(peers, seed=seed, faults=faults, wifi=wifi).search(
            opening, buffer=buffer, drain=drain, probers=probers
        )
    ]


def _typical(runs: Sequence[Outcome], share: float = 1.0) -> float:
    return median(run.time(share) for run in runs)


def _ratio(runs: Sequence[Outcome], loss: float) -> float:
    return median(run.over_bound(loss) for run in runs)


def _thrifty(runs: Sequence[Outcome], loss: float, factor: float) -> bool:
    bound = 1 + runs[0].peers / (1 - loss)
    return median(run.datagrams for run in runs) <= factor * bound + 25


def one_peer(quick: bool = False) -> Iterator[Row]:
    """T1: one peer, without losses."""
    for opening, goal in ((ALL, 0.001), (SAMPLE, 0.003)):
        runs = outcomes(1, opening, 5 if quick else 50)
        datagrams = [run.datagrams for run in runs]
        yield Row(
            f"1 peer, no loss, {opening}",
            f"<= {goal * 1_000:g} ms, <= 20 datagrams",
            f"{milliseconds(run.time() for run in runs)}, {spread(datagrams)} datagrams",
            _typical(runs) <= goal and max(datagrams) <= 20,
            _OTHERS_1 if opening is ALL else "",
        )


def speed(quick: bool = False) -> Iterator[Row]:
    """T2: how fast nearly all, and all, are found."""
    for peers, seeds in ((100, 30), (1_000, 7), (5_000, 2)):
        if quick and peers > 1_000:
            return
        for loss in (0.0, 0.1) if peers < 5_000 else (0.1,):
            for opening in _OPENINGS:
                runs = outcomes(peers, opening, 3 if quick else seeds, faults=Faults(loss))
                others = _OTHERS_100 if peers == 100 else _OTHERS_1000
                yield _speed(runs, opening, loss, others if loss and peers < 5_000 else "")


def _speed(runs: Sequence[Outcome], opening: Opening, loss: float, others: str) -> Row:
    peers = runs[0].peers
    goal = 0.020 if peers == 100 else 2.2 * peers / DRAIN
    most, last = _typical(runs, 0.99), _typical(runs)
    return Row(
        f"{peers:,} peers, {loss:.0%} loss, {opening}",
        f"t99 <= {goal * 1_000:.0f} ms, all <= 1.5 x t99",
        f"{milliseconds(run.time(0.99) for run in runs)}, all {last / most:.2f} x"
        f", t50 {_typical(runs, 0.5) * 1_000:.0f}, datagrams {_ratio(runs, loss):.2f} x",
        most <= goal and last <= 1.5 * most,
        others,
        "T2",
    )


def lossy(quick: bool = False) -> Iterator[Row]:
    """T3: three in ten datagrams are lost."""
    for opening in _OPENINGS:
        runs = outcomes(1_000, opening, 3 if quick else 10, faults=Faults(0.3))
        missing = max(run.missing(1.0) for run in runs)
        yield Row(
            f"1,000 peers, 30 % loss, {opening}",
            "99.9 % <= 140 ms, missing at 1 s: 0",
            f"{milliseconds(run.time(0.999) for run in runs)}, missing {missing}"
            f", t99 {_typical(runs, 0.99) * 1_000:.0f}, all {_typical(runs) * 1_000:.0f}",
            _typical(runs, 0.999) <= 0.140 and not missing,
            _OTHERS_LOSSY if opening is ALL else "",
        )


def _thrift(runs: Sequence[Outcome], what: str, loss: float, factor: float) -> Row:
    return Row(
        f"datagrams: {runs[0].peers:,} peers, {loss:.0%} loss, {what}",
        f"<= {factor:g} x bound + 25",
        f"{spread([run.over_bound(loss) for run in runs], 2)} x"
        f", {median(run.datagrams for run in runs):.0f} datagrams",
        _thrifty(runs, loss, factor),
        target="T4",
    )


def thrift(quick: bool = False) -> Iterator[Row]:
    """T4: how many datagrams a search takes."""
    seeds = 2 if quick else 5
    for loss in (0.0, 0.1, 0.3):
        for peers in (10, 100, 400, 512):
            runs = outcomes(peers, ALL, 4 * seeds if peers <= 100 else seeds, faults=Faults(loss))
            yield _thrift(runs, "all", loss, 1.05)
        runs = outcomes(1_000, ALL, seeds, faults=Faults(loss))
        yield _thrift(runs, "all", loss, 1.6)
        for opening in (SAMPLE, CACHED):
            runs = outcomes(1_000, opening, seeds, faults=Faults(loss))
            yield _thrift(runs, opening, loss, 1.05)
    if quick:
        return
    for loss in (0.0, 0.1, 0.3):
        for opening in (SAMPLE, CACHED):
            runs = outcomes(5_000, opening, 1, faults=Faults(loss))
            yield _thrift(runs, opening, loss, 1.05)
    yield _thrift(outcomes(5_000, ALL, 1, faults=Faults(0.1)), "all", 0.1, 2.1)


def no_drops(quick: bool = False) -> Iterator[Row]:
    """T5: the receive buffer of a prober that samples, and of one that is slow."""
    for peers, seeds in ((1_000, 5), (2_000, 3), (5_000, 1)):
        if quick and peers > 1_000:
            break
        for loss in (0.0, 0.1):
            yield _no_drops(outcomes(peers, SAMPLE, seeds, faults=Faults(loss)), loss, "416 kB")
    for opening, factor in ((ALL, 1.6), (SAMPLE, 2.0)):
        runs = outcomes(1_000, opening, 2 if quick else 5, drain=1_000.0)
        late = max(run.time() for run in runs)
        thrifty = opening is ALL or _thrifty(runs, 0.0, 1.05)
        yield Row(
            f"1,000 peers, a prober that reads 1,000/s, {opening}",
            f"t99 <= {factor} s, all <= 3 s" + (", datagrams 1.05 x" if opening is SAMPLE else ""),
            f"{milliseconds(run.time(0.99) for run in runs)}, all {late * 1_000:.0f} ms"
            f", datagrams {_ratio(runs, 0.0):.2f} x, drops {runs[0].drops}",
            _typical(runs, 0.99) <= factor and late <= 3.0 and thrifty,
        )


def _no_drops(runs: Sequence[Outcome], loss: float, buffer: str) -> Row:
    return Row(
        f"drops: {runs[0].peers:,} peers, {loss:.0%} loss, sample, {buffer}",
        "0",
        f"{max(run.drops for run in runs)}",
        not any(run.drops for run in runs),
        target="T5",
    )


def wireless(quick: bool = False) -> Iterator[Row]:
    """T6: one access point, whose stations sleep."""
    wifi = WifiMode()
    for peers, goals in ((100, (130, 210)), (300, (220, 340)), (1_000, (540, 780))):
        if quick and peers > 300:
            break
        for loss, goal in zip((0.1, 0.3), goals, strict=True):
            seeds = 2 if quick else {100: 10, 300: 5, 1_000: 3}[peers]
            runs = outcomes(peers, ALL, seeds, faults=Faults(loss), wifi=wifi)
            factor = 1.05 if peers <= 512 else 1.6
            yield Row(
                f"Wi-Fi, {peers:,} stations, {loss:.0%} loss, all",
                f"t99 <= {goal} ms, datagrams {factor} x + 25",
                f"{milliseconds(run.time(0.99) for run in runs)}"
                f", all {milliseconds(run.time() for run in runs)}"
                f", datagrams {_ratio(runs, loss):.2f} x",
                _typical(runs, 0.99) <= goal / 1_000 and _thrifty(runs, loss, factor),
            )
    for loss, limit in ((0.1, 1.3), (0.3, 2.2)):
        runs = outcomes(300, ALL, 1 if quick else 6, faults=Faults(loss), wifi=wifi, probers=10)
        missing = max(run.missing(5.0) for run in runs)
        yield Row(
            f"Wi-Fi, ten searches, 300 stations, {loss:.0%} loss, all",
            f"t99 <= {limit} s, missing at 5 s: 0",
            f"{milliseconds(run.time(0.99) for run in runs)}, missing {missing}"
            f", datagrams {_ratio(runs, loss):.2f} x",
            _typical(runs, 0.99) <= limit and not missing,
        )


def bursts(quick: bool = False) -> Iterator[Row]:
    """T7: losses come in bursts; if to the prober itself, it finds nobody as long as they last."""
    faults = Faults(burst=GilbertElliott(0.2, 0.1))
    for opening in _OPENINGS:
        runs = outcomes(1_000, opening, 3 if quick else 11, faults=faults)
        shares = [run.missing(1.0) / run.peers for run in runs]
        ratios = [run.over_bound(0.1) for run in runs]
        yield Row(
            f"1,000 peers, bursts of 200 ms, mean 10 %, {opening}",
            "missing at 1 s <= 0.25 %, datagrams 2.2 x",
            f"missing {median(shares):.2%}, mean {mean(shares):.2%} (worst {max(shares):.1%})"
            f", datagrams {spread(ratios, 2)} x, t99 {milliseconds(r.time(0.99) for r in runs)}",
            median(shares) <= 0.0025 and median(ratios) <= 2.2,
        )


def crowd_of_probers(quick: bool = False) -> Iterator[Row]:
    """T7: ten search at once."""
    for opening, goal in ((ALL, 80), (SAMPLE, 115)):
        runs = outcomes(1_000, opening, 1 if quick else 3, faults=Faults(0.1), probers=10)
        yield Row(
            f"ten searches, 1,000 peers, 10 % loss, {opening}",
            f"t99 <= {goal} ms",
            f"{milliseconds(run.time(0.99) for run in runs)}"
            f", all {milliseconds(run.time() for run in runs)}"
            f", datagrams {_ratio(runs, 0.1):.2f} x",
            _typical(runs, 0.99) <= goal / 1_000,
        )


def estimate(quick: bool = False) -> Iterator[Row]:
    """What `estimated_missing` is worth when a search is ended early: no target, but a promise."""
    for peers, seeds in ((10, 100), (100, 60), (1_000, 6)):
        if quick and peers > 100:
            return
        for loss in (0.1, 0.3):
            for seconds in (0.012, 0.02, 0.05, 0.1):
                yield _estimate(peers, loss, seconds, 20 if quick else seeds)


def _estimate(peers: int, loss: float, seconds: float, seeds: int) -> Row:
    truths, guesses, unknown = [], [], 0
    for seed in range(seeds):
        population = Population(peers, seed=seed, faults=Faults(loss))
        [run] = population.search(ALL, seconds=seconds)
        guess = run.prober.statistics.estimated_missing
        if guess is None:
            unknown += 1
        else:
            truths.append(run.missing(seconds))
            guesses.append(guess)
    if not guesses:
        return Row(f"estimate: {peers:,} peers, {loss:.0%}, ended early", "", "none", None)
    silent = sum(guess < 0.5 for guess, truth in zip(guesses, truths, strict=True) if truth)
    return Row(
        f"estimate: {peers:,} peers, {loss:.0%} loss, {seconds * 1_000:.0f} ms",
        "",
        f"truth {mean(truths):.2f} (at most {max(truths)}), estimate {mean(guesses):.2f}"
        f" ({max(guesses):.1f}); {sum(map(bool, truths))} runs lack peers"
        f", {silent} of them say < 0.5; {unknown} don't know",
        None,
    )


def large(quick: bool = False) -> Iterator[Row]:
    """T2, T4, T5 and T11 at 20,000 peers."""
    if quick:
        return
    peers = 20_000
    for opening in _OPENINGS:
        began = time.process_time()
        runs = outcomes(peers, opening, 1, faults=Faults(0.1))
        cpu = time.process_time() - began
        yield _speed(runs, opening, 0.1, _OTHERS_20000 if opening is ALL else "")
        yield Row(
            f"a search among 20,000 peers, {opening}: CPU",
            "<= 90 s",
            f"{cpu:.0f} s",
            cpu <= 90.0,
            target="T11",
        )
        if opening is ALL:
            yield _thrift(runs, "all", 0.1, 2.1)
    for opening, loss in ((SAMPLE, 0.1), (CACHED, 0.3)):
        runs = outcomes(peers, opening, 1, faults=Faults(loss), buffer=LARGE_BUFFER)
        yield _thrift(runs, f"{opening}, 2 MiB", loss, 1.05)
        if opening is SAMPLE:
            yield _no_drops(runs, loss, "2 MiB")
