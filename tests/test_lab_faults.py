"""The rules that a segment's faults are made of."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from bcast.lab.faults import netem, ruleset

PORTS = [f"port{number}" for number in range(6)]
chances = st.just(0.0) | st.just(1.0) | st.floats(0, 1)
losses = st.dictionaries(st.sampled_from(PORTS), chances)
#: Each port on one of three sides or on none.
sides = st.lists(st.sampled_from([None, 0, 1, 2]), min_size=6, max_size=6).map(
    lambda placed: [
        [port for port, side in zip(PORTS, placed, strict=True) if side == number]
        for number in range(3)
    ]
)


def fate(rules: str, here: str, there: str) -> float:
    """The chance that the rules let a datagram pass from one port to another."""
    passes = 1.0
    for line in rules.splitlines():
        if not line.endswith("drop"):
            continue
        names = {
            key: set(re.findall(r'"(\w+)"', found))
            for key, found in re.findall(r"([io])ifname \{ ([^}]*) \}", line)
        }
        if here in names.get("i", {here}) and there in names.get("o", {there}):
            lost = re.search(r"numgen random mod (\d+) < (\d+) ", line)
            passes *= 1 - (int(lost[2]) / int(lost[1]) if lost else 1.0)
    return passes


@given(chances, losses, sides)
def test_each_port_gets_what_it_is_to_get(
    loss: float, own: dict[str, float], apart: list[list[str]]
) -> None:
    rules = ruleset(loss, own, apart)
    placed = {port: number for number, side in enumerate(apart) for port in side}
    for here in PORTS:
        for there in set(PORTS) - {here}:
            expected = (1 - loss) * (1 - own.get(there, 0.0))
            if here in placed and there in placed and placed[here] != placed[there]:
                expected = 0.0
            assert abs(fate(rules, here, there) - expected) < 3e-6
            # The least chance is one, and only certainty is certain.
    assert rules.startswith("add table bridge faults\ndelete table bridge faults\n")
    assert rules.count("{") == rules.count("}")


def test_without_faults_there_are_no_rules() -> None:
    assert ruleset(0.0, {"port1": 0.0}, [[], ["port1"]]) == (
        "add table bridge faults\ndelete table bridge faults\n"
    )


@given(chances, losses)
def test_netem_loses_the_same(loss: float, own: dict[str, float]) -> None:
    for call in netem(loss, own):
        assert call[:4] == ["qdisc", "replace", "dev", call[3]]
        lost = float(call[-1].rstrip("%")) / 100 if "netem" in call else 0.0
        assert abs((1 - lost) - (1 - loss) * (1 - own[call[3]])) < 2e-6
