from __future__ import annotations

from bcast.interfaces.wording import enumerated, shown


def test_escape_sequence_in_a_name_never_reaches_a_terminal() -> None:
    assert shown("eth0") == "eth0"
    assert shown("\x1b[2Jx") == r"'\x1b[2Jx'"
    assert shown("caf\udce9") == r"'caf\udce9'"


def test_enumeration_is_bounded_and_says_how_many_more() -> None:
    assert enumerated([]) == ""
    assert enumerated(["a", "b"]) == "a, b"
    assert enumerated(["x"] * 10) == ", ".join(["x"] * 10)
    assert enumerated([str(n) for n in range(1000)], 2) == "0, 1 and 998 more"
