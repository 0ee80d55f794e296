"""The targets of the native protocol at small sizes: ``python -m tests.bench targets`` has all.

Under made-up time, so that no machine is too slow for them.
"""

from __future__ import annotations

from statistics import mean, median

import pytest

from bcast.discovery.search import Opening
from bcast.simnet import Faults, GilbertElliott, WifiMode
from tests.bench import flooding, presence, reproducing, searching, targets
from tests.bench.presence import dead_after, memory_of
from tests.bench.rows import Row, milliseconds, spread
from tests.bench.searching import outcomes
from tests.bench.simulated import Population

ALL, SAMPLE = Opening.ALL, Opening.SAMPLE
TEN_PERCENT = Faults(0.1)


@pytest.mark.parametrize(
    "rows",
    [
        searching.one_peer,
        presence.idle,
        presence.week,
        reproducing.same_trace,
        reproducing.sizes,
        flooding.requests,
    ],
)
def test_cheap_targets_are_met(rows: targets.Rows) -> None:
    for row in rows(True):
        assert row.met, row


# --- searches


@pytest.mark.parametrize("opening", [ALL, SAMPLE])
def test_a_hundred_peers_are_found_within_20_ms(opening: Opening) -> None:
    runs = outcomes(100, opening, 7, faults=TEN_PERCENT)
    assert median(run.time(0.99) for run in runs) <= 0.020
    assert median(run.time() for run in runs) <= 0.030


@pytest.mark.parametrize("opening", [ALL, SAMPLE])
def test_a_thousand_peers_are_found_where_three_in_ten_datagrams_are_lost(
    opening: Opening,
) -> None:
    [run] = outcomes(1_000, opening, 1, faults=Faults(0.3))
    assert run.time(0.999) <= 0.140
    assert run.missing(1.0) == 0


@pytest.mark.parametrize("loss", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("peers", [100, 400])
def test_hardly_more_is_sent_than_must_be(peers: int, loss: float) -> None:
    runs = outcomes(peers, ALL, 400 // peers, faults=Faults(loss))
    bound = 1 + peers / (1 - loss)
    assert mean(run.datagrams for run in runs) <= 1.05 * bound + 25
    assert all(run.missing(5.0) == 0 for run in runs)


def test_more_answers_than_the_buffer_holds_are_spread() -> None:
    [sampled] = outcomes(1_000, SAMPLE, 1, faults=TEN_PERCENT)
    assert sampled.drops == 0
    assert sampled.over_bound(0.1) <= 1.05
    assert sampled.time(0.99) <= 0.110
    [asked] = outcomes(1_000, ALL, 1, faults=TEN_PERCENT)
    assert asked.over_bound(0.1) <= 1.6
    assert asked.time(0.99) <= 0.110


@pytest.mark.parametrize(("opening", "goal"), [(ALL, 1.6), (SAMPLE, 2.0)])
def test_a_prober_that_reads_slowly_asks_slowly(opening: Opening, goal: float) -> None:
    # A third of the target's peers and of its buffer.
    [run] = outcomes(300, opening, 1, buffer=140_000, drain=300.0)
    assert run.time(0.99) <= goal
    assert run.time() <= 3.0
    assert run.over_bound(0.0) <= (1.6 if opening is ALL else 1.12)


def test_stations_that_sleep_do_not_answer_twice() -> None:
    runs = outcomes(100, ALL, 5, faults=TEN_PERCENT, wifi=WifiMode())
    assert median(run.time(0.99) for run in runs) <= 0.130
    assert max(run.over_bound(0.1) for run in runs) <= 1.3
    [run, *_] = outcomes(30, ALL, 1, faults=TEN_PERCENT, wifi=WifiMode(), probers=10)
    assert run.missing(5.0) == 0


def test_losses_in_bursts_cost_little() -> None:
    runs = outcomes(100, ALL, 10, faults=Faults(burst=GilbertElliott(0.2, 0.1)))
    assert median(run.missing(1.0) for run in runs) <= 0.25
    assert median(run.over_bound(0.1) for run in runs) <= 2.2


def test_ten_may_search_at_once() -> None:
    runs = outcomes(100, ALL, 1, faults=TEN_PERCENT, probers=10)
    assert median(run.time(0.99) for run in runs) <= 0.030
    assert mean(run.datagrams for run in runs) <= 1.1 * (1 + 100 / 0.9) + 25


def test_hosts_that_stood_still_answer_once() -> None:
    population = Population(100, seed=1)
    for peer in population.peers:
        peer.process.host.freeze(0.16)
    [run] = population.search(ALL)
    assert run.missing(1.0) == 0
    assert run.datagrams <= 1.2 * 101 + 25


def test_the_estimate_of_who_is_missing_is_right_on_average() -> None:
    truths, guesses = [], []
    for seed in range(25):
        population = Population(60, seed=seed, faults=Faults(0.3))
        [run] = population.search(ALL, seconds=0.02)
        guess = run.prober.statistics.estimated_missing
        if guess is not None:
            truths.append(run.missing(0.02))
            guesses.append(guess)
    assert len(guesses) >= 20
    assert 0.6 * mean(truths) <= mean(guesses) <= 1.9 * mean(truths)


# --- presence


@pytest.mark.parametrize(("loss", "interval"), [(0.0, 30), (0.3, 5)])
def test_the_dead_are_missed_in_time_and_nobody_else(loss: float, interval: int) -> None:
    times, others = dead_after(100, 30, loss=loss, interval=interval)
    assert len(times) == 30
    assert max(times) <= (120.0 if interval == 30 else 40.0)
    assert others == 0


def test_nobody_is_taken_for_dead() -> None:
    for row in presence.false_removals(True):
        assert row.met, row


def test_memory_is_counted_with_all_that_it_holds() -> None:
    assert memory_of([bytes(10_000), {"a": [bytes(20_000)]}]) > 30_000
    assert memory_of([memory_of]) < 1_000, "but no code"


# --- floods


def test_forged_peers_neither_push_out_the_live_nor_keep_out_the_new() -> None:
    row = flooding.under_forged_peers(30, 14, 4, rate=2_000)
    assert row.met, row


# --- the table


def test_the_table_has_a_row_for_each_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert targets.run(["T1"], quick=True) == 0
    out = capsys.readouterr().out
    assert "1 peer, no loss, all" in out
    assert "met" in out
    assert "WS-Discovery 241" in out
    assert out.splitlines()[-1].endswith("0 missed")
    assert len(targets.NAMES) == 11


def test_figures_are_the_median_and_the_worst() -> None:
    assert milliseconds([0.001, 0.002, 0.009]) == "2.0 (9.0) ms"
    assert spread([100.0]) == "100"
    assert spread([float("inf")]) == "never"
    assert Row("a", "b", "c").met is None
