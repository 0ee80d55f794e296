"""JSON templates: what they accept, what they write, and what they say about the rest."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.accessory.json_text import JsonTemplate, make_json
from bcast.accessory.template import Misfit, Missing, Reading, Value
from bcast.accessory.text import make_text
from tests.templates import longest, making, misfit, mistake, read, rest_of, write

WIZ = '{"method": "registration", "env": "{env~pro}", "result": {"mac": "{id:mac(none)}"}}'


def made(text: str) -> JsonTemplate:
    return make_json(text, making())


def test_a_capture_with_holes_reads_and_writes_itself() -> None:
    template = made(WIZ)
    capture = b'{"method": "registration", "env": "pro", "result": {"mac": "02000077000a"}}'
    values = read(template, capture)
    assert values == {"env": "pro", "id": "02:00:00:77:00:0a"}
    assert write(template, values) == capture
    assert write(template, {"id": "02:00:00:77:00:0a"}) == capture


def test_order_spacing_and_unlisted_keys_do_not_matter() -> None:
    found = '\n{"result":{"x":[{}],"mac":"02-00-00-77-00-0A"},"env":"de","method":"registration"}'
    assert read(made(WIZ), found) == {"env": "de", "id": "02:00:00:77:00:0a"}


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ('{"method": "pulse", "env": "", "result": {"mac": "02000077000a"}}', "'pulse', not"),
        ('{"method": "registration", "result": {"mac": "02000077000a"}}', "no 'env'"),
        ('{"method": "registration", "env": "", "result": {"mak": 1}}', "'mac', but 'mak'"),
        ('{"method": "registration", "env": "", "result": []}', "result is a list, no object"),
        ('{"method": "registration", "env": "", "result": {"mac": 7}}', "7 is no text"),
        ('{"method": "registration", "env": "", "result": {"mac": "77"}}', "result.mac: '77'"),
        ('{"method": "registration", "env": {}, "result": {"mac": "77"}}', "env: an object"),
        ("[]", "it is a list, no object"),
        ("{", "no JSON"),
        ("", "no JSON"),
        (b"\xff\xfe{\x00}\x00", "no JSON"),
    ],
)
def test_what_does_not_fit_has_a_reason(payload: str, words: str) -> None:
    misfit(made(WIZ), payload, words)


@pytest.mark.parametrize(
    ("hole", "found", "value"),
    [
        ("x", "1", 1),
        ("x", '"1"', "1"),
        ("x", "1.5", 1.5),
        ("x", "true", True),
        ("x~null", "null", None),
        ("x", '[1, "a", null]', [1, "a", None]),
        ("x:str", '"1"', "1"),
        ("x:int", "-7", -7),
        ("x:bool", "false", False),
        ("x:list", "[]", []),
        ("x:list(;)", '"a;b"', ["a", "b"]),
        ("x:ip4", '"10.0.0.1"', "10.0.0.1"),
        ("x:base64", '"YcOk"', "aä"),
    ],
)
def test_a_hole_keeps_its_kind_of_value_both_ways(hole: str, found: str, value: Value) -> None:
    template = made(f'{{"a": "{{{hole}}}"}}')
    payload = f'{{"a": {found}}}'.encode()
    assert read(template, payload) == {"x": value}
    assert type(read(template, payload)["x"]) is type(value)
    assert json.loads(write(template, {"x": value})) == json.loads(payload)


@pytest.mark.parametrize(
    ("hole", "found"),
    [
        ("x:int", "true"),
        ("x:int", '"7"'),
        ("x:int", "7.0"),
        ("x:bool", "0"),
        ("x:str", "7"),
        ("x:list", '"a"'),
        ("x", "{}"),
        ("x", "null"),
        ("x", "[[1]]"),
        ("x", "[" + "1," * 64 + "1]"),
        ("x", '"' + "a" * 2_049 + '"'),
        ("x", "1" * 19),
        ("x", "1e999"),
        ("x", "NaN"),
        ("x", "-Infinity"),
        ("x", '"\\ud800"'),
        ("x=7", "8"),
        ("x=1", "true"),
        ("x=", "0"),
    ],
)
def test_another_kind_of_value_or_too_much_of_it_does_not_fit(hole: str, found: str) -> None:
    with pytest.raises(Misfit):
        read(made(f'{{"a": "{{{hole}}}"}}'), f'{{"a": {found}}}')


@pytest.mark.parametrize(
    ("default", "written"),
    [
        ("x~7", "7"),
        ("x:str~7", '"7"'),
        ("x~false", "false"),
        ("x~null", "null"),
        ("x~", '""'),
        ("x~1.2.3.4", '"1.2.3.4"'),
        ("x~007", '"007"'),
        ("x~own.port", "80"),
        ("x:mac(-,upper)~own.mac", '"02-00-00-77-00-0A"'),
    ],
)
def test_a_default_is_written_as_the_json_that_it_looks_like(default: str, written: str) -> None:
    assert write(made(f'{{"a":"{{{default}}}"}}')) == f'{{"a":{written}}}'.encode()


def test_what_is_optional_may_be_absent_with_its_key() -> None:
    template = made('{"a": "{a?}", "b": "v{b?}", "c": {"d": "{d?:int}"}}')
    assert read(template, '{"c": {}}') == {}
    assert read(template, '{"a": null, "c": {}}') == {}
    assert read(template, '{"a": 1, "b": "v2", "c": {"d": 3}}') == {"a": 1, "b": "2", "d": 3}
    assert write(template) == b'{"c": {}}'
    assert write(template, {"b": "2"}) == b'{"b": "v2", "c": {}}'
    misfit(template, '{"b": "2", "c": {}}', "instead of 'v'")
    misfit(template, '{"a": 1}', "no 'c'")


def test_what_is_needed_and_not_given_is_missing() -> None:
    with pytest.raises(Missing, match="id"):
        write(made(WIZ))


def test_what_is_not_listed_becomes_values() -> None:
    template = made('{"id": "{id}", "*": "{*}"}')
    found = (
        b'{"x": 1, "id": "a", "n": null, "y": ["b"], "_z": 1, "o": {}, "t": "'
        + b"t" * 3_000
        + b'"}'
    )
    assert read(template, found) == {"id": "a", "x": 1, "y": ["b"]}
    assert rest_of(template, found) == {"x", "y"}
    written = write(template, {"id": "a"}, rest={"x": 1, "id": "b", "y": ["b"]})
    assert written == b'{"id": "a", "x": 1, "y": ["b"]}'
    many = json.dumps({"id": "a"} | {f"k{n}": n for n in range(65)})
    misfit(template, many, "more than 64")


def test_an_echo_is_checked_and_written() -> None:
    template = made('{"xid": "{_xid=probe._xid}"}')
    assert read(template, '{"xid": 7}', {"_xid": 7}) == {"_xid": 7}
    with pytest.raises(Misfit, match="8"):
        read(template, '{"xid": 8}', {"_xid": 7})
    assert write(template, probe={"_xid": 7}) == b'{"xid": 7}'


def test_items_of_a_list_are_read_in_their_order() -> None:
    template = made('{"v": [1, "{major:int}", "{minor?:int}"]}')
    assert read(template, '{"v": [1, 2, 3, {}]}') == {"major": 2, "minor": 3}
    assert write(template, {"major": 2}) == b'{"v": [1, 2]}'
    misfit(template, '{"v": [1]}', "only 1 items")
    misfit(template, '{"v": [2, 2]}', "v[0] is 2, not 1")


def test_a_part_is_an_object_or_text_within_text() -> None:
    inner = made('{"id":"{id}"}')
    line = make_text("{id},{model}", making())
    template = make_json('{"data":"{:@line|inner}"}', making(inner=inner, line=line))
    assert read(template, '{"data": {"id": "a"}}') == {"id": "a"}
    assert read(template, '{"data": "{\\"id\\": \\"a\\"}"}') == {"id": "a"}
    assert read(template, '{"data": "a,b"}') == {"id": "a", "model": "b"}
    assert write(template, {"id": "a"}) == b'{"data":{"id":"a"}}'
    assert write(template, {"id": "a", "model": "b"}) == b'{"data":"a,b"}'
    misfit(template, '{"data": 7}', "no object")
    misfit(template, '{"data": "nothing"}', "no JSON")


@pytest.mark.parametrize(
    ("template", "written"),
    [
        ('{"a":1,"b":2}', '{"a":1,"b":2}'),
        ('{"a": 1, "b": 2}', '{"a": 1, "b": 2}'),
        ('{"a": 1,"b": 2}', '{"a": 1,"b": 2}'),
        ('{"a": 1,\n  "b": 2}', '{"a": 1, "b": 2}'),
        ('{"a":1,\n  "b":2,"c":"x, y"}', '{"a":1,"b":2,"c":"x, y"}'),
        ('{"a":"\\"x\\": ,","b":"ä"}', '{"a":"\\"x\\": ,","b":"ä"}'),
    ],
)
def test_it_is_written_with_the_spacing_of_the_template(template: str, written: str) -> None:
    assert write(made(template)).decode() == written


_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**18) + 1, 10**18 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
)
_VALUES = _LEAVES.filter(lambda value: value is not None) | st.lists(_LEAVES, max_size=5)


@given(
    a=_VALUES,
    b=st.text(st.characters(exclude_categories=["Cs"], exclude_characters=">"), max_size=20),
    c=_VALUES,
)
def test_what_was_written_is_read(a: Value, b: str, c: Value) -> None:
    template = made('{"a":"{a}","n":{"b":"<{b}>"},"*":"{*}"}')
    values = read(template, write(template, {"a": a, "b": b}, rest={"c": c}))
    assert values == {"a": a, "b": b, "c": c}


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_read_or_a_misfit(payload: bytes) -> None:
    for template in (made(WIZ), made('"{x}"'), made('["{x?}"]')):
        try:
            template.read(payload, Reading())
        except Misfit as reason:
            str(reason)


@given(
    st.recursive(
        _LEAVES | st.floats() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from("aben*_x"), inner),
    )
)
def test_any_json_is_read_or_a_misfit(document: object) -> None:
    template = made('{"a":"{a:int}","n":{"b":"<{b}>"},"e":["{e}"],"*":"{*}"}')
    try:
        template.read(json.dumps(document).encode(), Reading())
    except Misfit as reason:
        str(reason)


def test_a_flood_in_one_datagram_takes_no_time() -> None:
    hostile = [
        b"[" * 65_000,
        b'{"a":' * 13_000,
        b"[" * 200 + b"]" * 200,
        b"[[]," * 16_000,
        b'{"a": ' + b"9" * 60_000 + b"}",
        b'{"a": 0.' + b"9" * 60_000 + b"}",
        b'{"a": 1e' + b"9" * 60_000 + b"}",
        b'{"a": [' + b"9" * 4_000 + (b"," + b"9" * 4_000) * 14 + b"]}",
        b'{"a": "' + b"\\u0041" * 10_000 + b'"}',
        b'{"a": "' + "\u00e4".encode() * 30_000 + b'"}',
        b"{" + b",".join(b'"%d":0' % n for n in range(7_000)) + b"}",
        b'{"a": [' + b"0," * 30_000 + b"0]}",
        b'{"' + b"a" * 65_000 + b'": 1}',
    ]
    template = made('{"a": "{a}", "*": "{*}"}')
    assert longest(hostile, lambda payload: str(read(template, payload))) < 0.05
    misfit(template, hostile[0], "objects and lists")
    misfit(template, hostile[4], "no JSON")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": }', "no JSON"),
        ('{"a": 1, "a": 2}', "'a' stands here twice"),
        ('{"a": "{x"}', "no }"),
        ('{"a": "{x:itn}"}', "did you mean 'int'"),
        ('{"a": "{x:int~seven}"}', "isn't an integer"),
        ('{"a": "{x=random()}"}', "can't check"),
        ('{"a": "{x~length(all)}"}', "is for hex"),
        ('{"a": "{*}"}', '"*": "{*}"'),
        ('{"*": "{x}"}', '"*": "{*}"'),
        ('{"*": "{*}", "b": {"*": "{*}"}}', "only one place"),
        ('{"a": "{:@inner}"}', "no part inner"),
        ('["{a?}", "{b}"]', "only the last"),
        ("[" * 10_000, "no JSON"),
    ],
)
def test_a_mistake_in_a_description_is_explained(text: str, words: str) -> None:
    with mistake(words) as noted:
        make_json(text, noted)
