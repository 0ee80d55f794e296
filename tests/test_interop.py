"""What `python -m tests.interop` concludes from its runs against other people's programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.cases import CASES, Client, Listener, Program, Responder
from tests.interop.lan import Outcome, fits
from tests.interop.table import BEGIN, END, compare, put, table

FINDER = Program("Finder", "no-such-package-anywhere")
FINDS = Client("lamp", FINDER, "", {})
IS_FOUND = Responder("lamp", FINDER, "", {})
NO = "| lamp | Finder | ? | **no** | yes |"


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        ({"id": "1"}, {"id": "1", "name": "x"}),
        ({"at": [{"port": 1}]}, {"at": [{"port": 2}, {"port": 1, "ttl": 3}]}),
        ({}, {"id": "1"}),
    ],
)
def test_more_may_be_told_than_is_expected(expected: object, told: object) -> None:
    assert fits(expected, told)


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        ({"id": "1"}, {"id": "2"}),
        ({"id": "1"}, {}),
        ({"id": "1"}, "1"),
        ({"at": [{"port": 1}, {"port": 2}]}, {"at": [{"port": 1}]}),
        ({"at": []}, {"at": ""}),
    ],
)
def test_all_that_is_expected_has_to_be_told(expected: object, told: object) -> None:
    assert not fits(expected, told)


def test_a_program_has_one_row_for_both_sides() -> None:
    outcomes = [Outcome(FINDS, True, 1.0, ""), Outcome(IS_FOUND, True, 1.0, "")]
    assert table(outcomes).splitlines()[2:] == ["| lamp | Finder | ? | yes | yes |"]


def test_the_programs_of_a_protocol_stand_together() -> None:
    others = [
        Outcome(Client(protocol, Program(name, name), "", {}), True, 1.0, "")
        for protocol, name in (("b", "x"), ("a", "x"), ("b", "y"))
    ]
    rows = [line.split(" | ")[:2] for line in table(others).splitlines()[2:]]
    assert rows == [["| b", "x"], ["| b", "y"], ["| a", "x"]]


def test_one_failure_of_a_side_is_enough() -> None:
    results = [Outcome(FINDS, False, 1.0, "silence"), Outcome(FINDS, True, 1.0, "")]
    found = Outcome(IS_FOUND, True, 1.0, "")
    assert table([*results, found]).splitlines()[2:] == [NO]
    assert table([*reversed(results), found]).splitlines()[2:] == [NO]


def test_a_document_says_what_was_seen_or_is_told_off() -> None:
    seen = table([Outcome(FINDS, False, 1.0, "silence"), Outcome(IS_FOUND, True, 1.0, "")])
    document = f"Before\n\n{BEGIN}\n{END}\nAfter\n"
    written = put(seen, document)
    assert written.startswith("Before\n")
    assert written.endswith("\nAfter\n")
    assert not compare(seen, written.replace(BEGIN, f"Above\n{BEGIN}"))
    assert put(seen, written) == written
    claimed = written.replace("**no**", "yes")
    assert [line.partition(": ")[2] for line in compare(seen, claimed)] == [
        NO.replace("**no**", "yes"),
        NO,
    ]


def test_a_document_without_a_place_for_it_is_told_off() -> None:
    assert "no place" in compare("", "Nothing")[0]
    assert put("", "Nothing") == "Nothing"


def test_every_case_has_its_script() -> None:
    scripts = Path(__file__).parent / "interop"
    kinds = {"clients": Client, "listeners": Listener, "responders": Responder}
    for folder, kind in kinds.items():
        named = {f"{case.script}.py" for case in CASES if isinstance(case, kind)}
        assert named == {path.name for path in (scripts / folder).glob("*.py")}
