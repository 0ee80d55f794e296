"""Holes, the types of text, and text with holes."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.accessory.holes import Call, Hole, Literal, Reference, Stretch, parse_hole, split
from bcast.accessory.layout import make_hex
from bcast.accessory.leaves import converter
from bcast.accessory.mistakes import Wrong
from bcast.accessory.template import Misfit, Own, Reading, Value, Writing, formatted_time
from bcast.accessory.text import make_text
from tests.templates import making


def read(text: str, payload: str | bytes) -> dict[str, Value]:
    reading = Reading()
    raw = payload if isinstance(payload, bytes) else payload.encode()
    make_text(text, making(body=make_hex("{a:u8}{b:u8}", making()))).read(raw, reading)
    return reading.values


def write(text: str, values: dict[str, Value], **more: Any) -> str:
    writing = Writing(values, own=Own("10.0.0.7", 80, id="seven"), random=Random(1), **more)
    return make_text(text, making()).write(writing).decode()


# --- holes


@pytest.mark.parametrize(
    ("text", "hole"),
    [
        ("{}", Hole()),
        ("{name}", Hole("name")),
        ("{*}", Hole("*")),
        ("{_n?:u16le=7}", Hole("_n", True, "u16le", (), "=", Literal("7"))),
        ("{x~}", Hole("x", mark="~", source=Literal(""))),
        ("{x~a:b=c~d}", Hole("x", mark="~", source=Literal("a:b=c~d"))),
        ("{x~HS100(EU)}", Hole("x", mark="~", source=Literal("HS100(EU)"))),
        ("{x=probe._n}", Hole("x", mark="=", source=Reference("probe", "_n"))),
        ("{own.address}", Hole(mark="~", source=Reference("own", "address"))),
        ("{x:str(30, latin-1)}", Hole("x", type="str", arguments=("30", "latin-1"))),
        ("{x:list(, )}", Hole("x", type="list", arguments=(", ",))),
        ("{:@a|b}", Hole(type="@", arguments=("a", "b"))),
        ("{:each(a,b*)}", Hole(type="each", arguments=("a", "b*"))),
        ("{:u32=crc32(all,00)}", Hole("", False, "u32", (), "=", Call("crc32", ("all", "00")))),
        ("{x~uuid()}", Hole("x", mark="~", source=Call("uuid", ()))),
    ],
)
def test_holes(text: str, hole: Hole) -> None:
    assert parse_hole(text, 0) == (hole, len(text))


def test_a_text_is_split_at_its_holes() -> None:
    assert split("a{{b}}{x}[c{y}]d]]") == (
        "a{b}",
        Hole("x", start=6),
        Stretch(("c", Hole("y", start=11)), 9),
        "d]",
    )
    assert split("[a]{x}", brackets=False) == ("[a]", Hole("x", start=3))


@given(st.text("ab{}[]:~=?(@.,*)p ", max_size=30))
def test_any_text_is_split_or_wrong(text: str) -> None:
    wrong: list[Wrong] = []
    split(text, wrong=wrong.append)
    if not wrong:
        split(text)
        return
    with pytest.raises(Wrong) as first:
        split(text)
    assert first.value.message == wrong[0].message


# --- types


@pytest.mark.parametrize(
    ("hole", "text", "value", "written"),
    [
        ("{x:str}", "1", "1", "1"),
        ("{x:any}", "1", 1, "1"),
        ("{x:any}", "007", "007", "007"),
        ("{x:any}", "true", True, "true"),
        ("{x:int}", "-07", -7, "-7"),
        ("{x:bool}", "TRUE", True, "true"),
        ("{x:mac}", "02-00-00-00-00-0A", "02:00:00:00:00:0a", "02:00:00:00:00:0a"),
        ("{x:mac(none)}", "02000000000a", "02:00:00:00:00:0a", "02000000000a"),
        ("{x:mac(-,upper)}", "02:00:00:00:00:0a", "02:00:00:00:00:0a", "02-00-00-00-00-0A"),
        ("{x:ip4}", "10.0.0.1", "10.0.0.1", "10.0.0.1"),
        ("{x:ip6}", "FE80:0::1", "fe80::1", "fe80::1"),
        ("{x:uuid}", "0011AABB-4455-6677-8899-AABBCCDDEEFF", None, None),
        ("{x:base64}", "bGFtcA==", "lamp", "bGFtcA=="),
        ("{x:list}", " a  b ", ["a", "b"], "a b"),
        ("{x:list(,)}", "a, b", ["a", "b"], "a,b"),
    ],
)
def test_types(hole: str, text: str, value: Value, written: str | None) -> None:
    convert = converter(parse_hole(hole, 0)[0])
    found = convert.read(text)
    if written is None:
        value, written = text.lower(), text.lower()
    assert found == value
    assert type(found) is type(value)
    assert convert.write(found) == written


@pytest.mark.parametrize(
    ("hole", "text"),
    [
        *(("{x:int}", text) for text in ("", "1.0", "٣", "1" * 19, "0x1")),
        *(
            ("{x:ip4}", text)
            for text in ("1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.256", "1.2.3.٤x")
        ),
        *(("{x:mac}", text) for text in ("", "02:00", "02:00-00:00:00:0a", "0g0000000000")),
        *(("{x:base64}", text) for text in ("bGFtcA=", "bG FtcA==", "/w==", "ä", "A" * 9999)),
        ("{x:uuid}", "00112233445566778899aabbccddeeff"),
        ("{x:bool}", "yes"),
        ("{x:ip6}", "10.0.0.1"),
        ("{x:list}", "a " * 65),
        ("{x:str}", "a" * 2049),
    ],
)
def test_what_isnt_of_a_type(hole: str, text: str) -> None:
    with pytest.raises(Misfit):
        converter(parse_hole(hole, 0)[0]).read(text)


def test_times() -> None:
    assert formatted_time(784111777.5, "http") == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert formatted_time(784111777.5, "rfc3339") == "1994-11-06T08:49:37Z"
    assert formatted_time(784111777.5, "unix") == 784111777
    assert formatted_time(784111777.5, "unix-ms") == 784111777500


# --- text


@pytest.mark.parametrize(
    ("text", "payload", "values"),
    [
        ("who", "who", {}),
        ("{a},{b},{c}", "1,2,", {"a": "1", "b": "2", "c": ""}),
        ("{ip:ip4},{id:mac(none,upper)},{m}", "10.0.0.1,ACCF23000A0B,HF-1", None),
        ("uuid:{id}[::{urn}]", "uuid:x", {"id": "x"}),
        ("uuid:{id}[::{urn}]", "uuid:x::y", {"id": "x", "urn": "y"}),
        ("<{a}[ {b}]>", "<x y>", {"a": "x", "b": "y"}),
        ("{a:int}-{a:int}", "7-7", {"a": 7}),
        ("[{{{a}}}]", "{1}", {"a": "1"}),
        ("a[[{a}]]", "a[1]", {"a": "1"}),
    ],
)
def test_one_text_reads_and_writes(
    text: str, payload: str, values: dict[str, Value] | None
) -> None:
    found = read(text, payload)
    if values is not None:
        assert found == values
    assert write(text, found) == payload


@pytest.mark.parametrize(
    ("text", "payload", "reason"),
    [
        ("who", "whom", "'m' is too much"),
        ("who", "how", "'how' instead of 'who'"),
        ("a{x}b", "baa", "'b' instead of 'a'"),
        ("{a},{b}", "1", "no ',' behind a"),
        ("{a:int}", "x", "'x' isn't an integer"),
        ("{a}-{a}", "1-2", "a is '2' here and '1' there"),
        ("{a=7}", "8", "a is '8', not '7'"),
        ("é{a}", b"\xc3\xa9\xff", "it isn't text in UTF-8"),
    ],
)
def test_what_doesnt_fit_is_refused(text: str, payload: str | bytes, reason: str) -> None:
    with pytest.raises(Misfit, match=reason):
        read(text, payload)


def test_a_stretch_without_holes_is_read_and_never_written() -> None:
    assert read("age[ ]=[ ]{age:int}", "age = 7") == {"age": 7}
    assert write("age[ ]=[ ]{age:int}", {"age": 7}) == "age=7"


def test_a_value_that_would_be_taken_for_something_else_isnt_written() -> None:
    with pytest.raises(Misfit, match="can't hold ','"):
        write("{a},{b}", {"a": "1,2", "b": "3"})
    with pytest.raises(Misfit, match="can't hold '::'"):
        write("{a}[::{b}]", {"a": "x:", "b": "y"})


def test_a_part_in_text() -> None:
    assert read("x{:@body}", "xAB") == {"a": 65, "b": 66}


def test_own_values_and_literals_are_written() -> None:
    text = "http://{own.address}:{port:int~own.port}/{a~b}/{now:int~time()}"
    assert write(text, {}, now=7.9) == "http://10.0.0.7:80/b/7"


_WORD = st.text("abcdefgh ", max_size=6)


@given(st.lists(st.tuples(_WORD, st.sampled_from(",;:<|"), _WORD), max_size=5), _WORD)
def test_what_is_written_is_read_again(fields: list[tuple[str, str, str]], last: str) -> None:
    text = "".join(f"{{n{n}}}{sign}{word}" for n, (_, sign, word) in enumerate(fields)) + "{z}"
    values: dict[str, Value] = {f"n{n}": value for n, (value, _, _) in enumerate(fields)}
    values["z"] = last
    assert read(text, write(text, dict(values))) == values
