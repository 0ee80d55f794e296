"""Pairs as a template: any order, any separator."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.accessory.pairs import PairsTemplate, make_pairs
from bcast.accessory.template import Misfit, Missing, Reading
from tests.templates import longest, making, misfit, mistake, read, rest_of, write


def made(text: str, separator: str = ";") -> PairsTemplate:
    return make_pairs(text, making(), separator)


def test_a_capture_reads_and_writes_itself() -> None:
    template = made("FOUND;ID={id};IP={address:ip4~own.address};FW=v{fw}")
    values = read(template, "FOUND;ID=a1;IP=10.0.0.7;FW=v1.2")
    assert values == {"id": "a1", "address": "10.0.0.7", "fw": "1.2"}
    assert write(template, values) == b"FOUND;ID=a1;IP=10.0.0.7;FW=v1.2"
    assert write(template, {"id": "a1", "fw": "2"}) == b"FOUND;ID=a1;IP=10.77.0.10;FW=v2"


def test_order_blanks_and_unlisted_keys_do_not_matter() -> None:
    template = made("FOUND;ID={id}")
    assert read(template, "X=y; ID = a=b ;FOUND;Z;;=") == {"id": "a=b"}


@pytest.mark.parametrize("separator", ["\n", "\r\n"])
def test_lines_may_end_either_way(separator: str) -> None:
    template = made("\nID={id}\nPORT={port:int}\n", separator)
    for payload in ("ID=a\nPORT=80\n", "ID=a\r\nPORT=80\r\n"):
        assert read(template, payload) == {"id": "a", "port": 80}
    assert write(template, {"id": "a", "port": 80}).decode() == f"ID=a{separator}PORT=80"


def test_unlisted_pairs_become_values_and_are_written_back() -> None:
    template = made("ID={id};*={*}")
    found = b"ID=a;MODEL=x;FLAG;_Y=1;LONG=" + b"z" * 3_000
    assert read(template, found) == {"id": "a", "MODEL": "x"}
    assert rest_of(template, found) == {"MODEL"}
    assert write(template, {"id": "a"}, rest={"MODEL": "x", "ID": "b"}) == b"ID=a;MODEL=x"
    misfit(template, "ID=a;" + ";".join(f"k{n}=" for n in range(65)), "more than 64")


def test_an_optional_pair_may_be_absent() -> None:
    template = made("ID={id};FW={fw?}")
    assert read(template, "ID=a") == {"id": "a"}
    assert write(template, {"id": "a"}) == b"ID=a"
    with pytest.raises(Missing, match="id"):
        write(template)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ("FOUND;ID=a", "no 'PORT'"),
        ("FOUND;ID=a;PROT=1", "no 'PORT', but 'PROT'"),
        ("ID=a;PORT=1", "no 'FOUND'"),
        ("FOUND=1;ID=a;PORT=1", "'FOUND' has a value"),
        ("FOUND;ID;PORT=1", "'ID' has no value"),
        ("FOUND;ID=a;PORT=x", "PORT: 'x' isn't"),
        ("", "no 'FOUND'"),
        (b"\xff", "UTF-8"),
    ],
)
def test_what_does_not_fit_has_a_reason(payload: bytes | str, words: str) -> None:
    misfit(made("FOUND;ID={id};PORT={port:int}"), payload, words)


@pytest.mark.parametrize(("separator", "value"), [(";", "a;b"), ("\n", "a\nb"), ("\r\n", "a\nb")])
def test_a_value_cannot_become_another_pair(separator: str, value: str) -> None:
    for template, values in ((made("A={a}", separator), {"a": value}), (made("*={*}"), {})):
        with pytest.raises(Misfit, match="separates"):
            write(template, values, rest={"b": "c;d"})


_WORDS = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="&"), max_size=20)


@given(_WORDS, _WORDS)
def test_what_was_written_is_read(id: str, other: str) -> None:
    template = made("ID={id}&*={*}", "&")
    written = write(template, {"id": id}, rest={"other": other})
    assert read(template, written) == {"id": id, "other": other}


@given(st.text("=;IDab \n") | st.binary(max_size=30))
def test_any_bytes_are_read_or_a_misfit(payload: str | bytes) -> None:
    data = payload if isinstance(payload, bytes) else payload.encode()
    try:
        made("ID={id};*={*}").read(data, Reading())
    except Misfit as reason:
        str(reason)


def test_a_flood_in_one_datagram_takes_no_time() -> None:
    hostile = [b";" * 65_000, b"a=b;" * 16_000, b"=" * 65_000, b"ID=" + b"x" * 65_000]
    template = made("ID={id};*={*}")
    assert longest(hostile, lambda payload: str(read(template, payload))) < 0.05
    misfit(template, hostile[0], "more than 128")


@pytest.mark.parametrize(
    ("text", "separator", "words"),
    [
        ("A={a}", "", "a separator is"),
        ("A={a}", "=", "a separator is"),
        ("A={a};A={b}", ";", "twice"),
        ("={a}", ";", "is no pair"),
        ("{a}", ";", "is no pair"),
        ("{a}=b", ";", "is no pair"),
        ("*={a}", ";", "*={*}"),
        ("A={a:itn}", ";", "did you mean 'int'"),
    ],
)
def test_a_mistake_in_a_description_is_explained(text: str, separator: str, words: str) -> None:
    with mistake(words) as noted:
        make_pairs(text, noted, separator)
