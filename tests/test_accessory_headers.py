"""Headers as a template: names in any case and order, and nothing that smuggles another header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.accessory.headers import HeadersTemplate, make_headers
from bcast.accessory.template import Misfit, Missing, Reading, Value
from tests.templates import longest, making, misfit, mistake, read, rest_of, write

REPLY = """
HTTP/1.1 200 OK
CACHE-CONTROL: max-age={_age:int~1800}
ST: {target}
USN: uuid:{id}[::{_urn}]
EXT:{_ext~}
LOCATION: {location?}
*: {*}
"""


def made(text: str = REPLY) -> HeadersTemplate:
    return make_headers(text, making())


def test_a_capture_reads_and_writes_itself() -> None:
    capture = (
        b"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=70\r\nST: upnp:rootdevice\r\n"
        b"USN: uuid:4d69::upnp:rootdevice\r\nEXT:\r\nLOCATION: http://10.77.0.10:8200/d.xml\r\n\r\n"
    )
    values = read(made(), capture)
    assert values == {
        "_age": 70,
        "target": "upnp:rootdevice",
        "id": "4d69",
        "_urn": "upnp:rootdevice",
        "_ext": "",
        "location": "http://10.77.0.10:8200/d.xml",
    }
    assert write(made(), values) == capture


def test_case_order_blanks_and_line_ends_do_not_matter() -> None:
    found = b"HTTP/1.1 200 OK\next:\nUsn:uuid:a\nst:   b  \nCache-Control :max-age=1"
    assert read(made(), found) == {"_age": 1, "target": "b", "id": "a", "_ext": ""}


@pytest.mark.parametrize("line", [b"Date:", b"Date: "])
def test_the_blank_before_a_value_is_written_as_in_the_template(line: bytes) -> None:
    template = made(f"A *\n{line.decode()}{{_date~}}")
    for value in ("", "today"):
        assert write(template, {"_date": value}) == b"A *\r\n%s%s\r\n\r\n" % (line, value.encode())


def test_what_follows_the_empty_line_is_no_header() -> None:
    found = b"HTTP/1.1 200 OK\r\nEXT:\r\nUSN: uuid:a\r\nST: b\r\nCache-Control: max-age=1\r\n\r\n"
    assert "x" not in read(made(), found + b"X: y\r\nno header\r\n\r\n")


def test_of_several_with_one_name_the_first_counts() -> None:
    template = made("A *\nX: {x}")
    assert read(template, "A *\r\nX: 1\r\nx: 2\r\n\r\n") == {"x": "1"}


def test_unlisted_headers_become_values_and_are_written_back() -> None:
    template = made("A *\nX: {x}\n*: {*}")
    found = b"A *\r\nX: 1\r\n01-NLS: abc\r\nBOOTID.UPNP.ORG: 7\r\nno name: 3\r\n\r\n"
    assert read(template, found) == {"x": "1", "01-nls": "abc", "bootid.upnp.org": "7"}
    assert rest_of(template, found) == {"01-nls", "bootid.upnp.org"}
    rest: dict[str, Value] = {"01-nls": "abc", "no name": "z", "n": 7, "X": "2"}
    assert write(template, {"x": 1}, rest=rest) == b"A *\r\nX: 1\r\n01-nls: abc\r\nn: 7\r\n\r\n"


def test_an_optional_header_may_be_absent() -> None:
    template = made("A *\nMX: {_mx?:int}\nST: {st}")
    assert read(template, "A *\r\nST: a\r\n\r\n") == {"st": "a"}
    assert write(template, {"st": "a"}) == b"A *\r\nST: a\r\n\r\n"
    assert write(template, {"st": "a", "_mx": 3}) == b"A *\r\nMX: 3\r\nST: a\r\n\r\n"
    with pytest.raises(Missing, match="st"):
        write(template)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ("HTTP/1.1 404 Not Found\r\n\r\n", "instead of 'HTTP/1.1 200 OK'"),
        ("HTTP/1.1 200 OK\r\n\r\n", "no header 'CACHE-CONTROL'"),
        (
            "HTTP/1.1 200 OK\r\nCACHE_CONTROL: max-age=1\r\n",
            "'CACHE-CONTROL', but 'cache_control'",
        ),
        ("HTTP/1.1 200 OK\r\nCACHE-CONTROL: no-cache\r\n", "CACHE-CONTROL: 'no-cache' instead"),
        ("HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=x\r\n", "CACHE-CONTROL: 'x' isn't"),
        ("HTTP/1.1 200 OK\r\nno header\r\n", "'no header' is no header"),
        ("", "instead of 'HTTP/1.1 200 OK'"),
        (b"\xff\x00", "instead of 'HTTP/1.1 200 OK'"),
    ],
)
def test_what_does_not_fit_has_a_reason(payload: bytes | str, words: str) -> None:
    misfit(made(), payload, words)


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\rb"])
def test_a_value_cannot_become_another_header(value: str) -> None:
    with pytest.raises(Misfit, match="line break"):
        write(made("A *\nX: {x}"), {"x": value})
    with pytest.raises(Misfit, match="line break"):
        write(made("A *\n*: {*}"), rest={"x": value})
    with pytest.raises(Misfit, match="line break"):
        write(made("A {x}"), {"x": value})


def test_headers_in_latin_1_are_read() -> None:
    assert read(made("A *\nX: {x}"), b"A *\r\nX: K\xfcche\r\n") == {"x": "Küche"}


def test_the_start_line_is_the_guard() -> None:
    assert made().guard == b"HTTP/1.1 200 OK"
    assert made("{x} *\nA: b").guard == b""
    assert made("A *\nST: a\nX: {x}").constants > made("A *\nX: {x}").constants


_LINE = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=20)


@given(_LINE, _LINE.filter(lambda text: ":" not in text), _LINE)
def test_what_was_written_is_read(target: str, id: str, other: str) -> None:
    written = write(made(), {"target": target, "id": id}, rest={"other": other})
    assert read(made(), written) == {
        "_age": 1800,
        "_ext": "",
        "target": target,
        "id": id,
        "other": other,
    }


@given(st.lists(st.sampled_from([b"\r", b"\n", b":", b" ", b"USN", b"uuid:", b"\xff", b"*"])))
def test_anything_behind_the_start_line_is_read_or_a_misfit(pieces: list[bytes]) -> None:
    try:
        made("A *\nUSN: uuid:{id}\n*: {*}").read(b"A *\r\n" + b"".join(pieces), Reading())
    except Misfit as reason:
        str(reason)


def test_a_flood_in_one_datagram_takes_no_time() -> None:
    start = b"HTTP/1.1 200 OK\r\n"
    hostile = [
        start + b"a:b\r\n" * 12_000,
        start + b"\r" * 60_000,
        start + b": :" * 20_000,
        start + b"USN: uuid:" + b":" * 60_000,
        start + b"X: " + b"y" * 60_000,
        start + b"".join(b"%d:\n" % n for n in range(9_000)),
        b"HTTP/1.1 200 OK" * 4_000,
    ]
    assert longest(hostile, lambda payload: str(read(made(), payload))) < 0.05
    misfit(made(), hostile[0], "more than 64")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "start line"),
        ("HOST: x\nST: y", "start line"),
        ("A *\nno header", "is no header"),
        ("A *\n{x}: y", "is no header"),
        ("A *\nX: 1\nx: 2", "twice"),
        ("A *\n\nX: 1", "empty line"),
        ("A *\n*: {x}", "*: {*}"),
        ("A *\nX: {*}", "{*}"),
        ("A *\nX: {x:itn}", "did you mean 'int'"),
        ("A *\nX: {x}{y}", "nothing tells"),
    ],
)
def test_a_mistake_in_a_description_is_explained(text: str, words: str) -> None:
    with mistake(words) as noted:
        make_headers(text, noted)
