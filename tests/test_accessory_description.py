"""Descriptions at work: recognising, identifying, answering, standing in for an accessory."""

from __future__ import annotations

from random import Random

import pytest

from bcast.accessory.book import Book
from bcast.accessory.description import Decoded, Description, Identity, Misfits
from bcast.accessory.forms import Answer, Role
from bcast.accessory.loading import load
from bcast.accessory.template import Own, Value
from bcast.errors import ArgumentError

SEARCHER: frozenset[Role] = frozenset(("goodbye", "announcement", "reply"))
IMPERSONATOR: frozenset[Role] = frozenset(("probe",))
OWN = Own("10.0.0.7", 4000, "02:00:00:00:00:07", "seven", "seven.local")

LAMPS = """
name = "lamp"
title = "Lamps"
port = 4000
group = "239.1.2.3"
device = { type = "light", id = "lamp-{serial}", collect = ["kind"] }

[impersonate]
location = "http://{own.address}/{serial}"
kinds = [{ kind = "all", _tag = "x" }, { kind = "lamp-{serial}" }]

[[probe]]
name = "who"
text = "who {_n:int~random()} [{low:int}-{high:int}][is {_kind:str}]"

[[reply]]
name = "me"
answers = "who"
to = "source:4002"
for_each = "kinds"
only_if = { _kind = ["any", "{kind}"] }
within = { size = ["low", "high"] }
delay = [0.5, "probe._n"]
text = "me {serial:int} {size:int} {_n:int=probe._n} {kind} {location}[ {_tag}][;{colour}]"

[[probe]]
name = "label"
after = "me"
text = "label {_serial:int~device.serial}"

[[reply]]
name = "labelled"
answers = "label"
only_if = { _serial = ["{serial}"] }
text = "label {serial:int} {name}"

[[announcement]]
name = "here"
every = 10.0
text = "here {serial:int} {size:int~3}"

[[announcement]]
name = "old"
sent = false
text = "old {serial:int}"

[[goodbye]]
name = "bye"
text = "bye {serial:int}"

[[sample]]
message = "labelled"
text = "label 5 kitchen"
"""


@pytest.fixture(scope="module")
def lamps() -> Description:
    return load(LAMPS, file="lamp.toml")


def decoded(description: Description, text: str, *roles: Role) -> Decoded:
    found = description.decode(text.encode(), roles=roles or SEARCHER)
    assert isinstance(found, Decoded), found
    return found


def misfits(found: Decoded | Misfits) -> str:
    assert isinstance(found, Misfits)
    return str(found)


def test_a_datagram_is_decoded_by_what_one_listens_for(lamps: Description) -> None:
    here = decoded(lamps, "here 5 3")
    assert (here.form.name, here.values) == ("here", {"serial": 5, "size": 3})
    # One's own probe is never a device.
    assert "it has no 'here ' at byte 0" in misfits(lamps.decode(b"who 1 ", roles=SEARCHER))
    assert decoded(lamps, "who 1 ", "probe").values == {"_n": 1}


def test_a_reply_has_to_echo_the_probe_that_it_answers(lamps: Description) -> None:
    reply = b"me 5 3 77 all u"
    assert isinstance(lamps.decode(reply, roles=SEARCHER), Decoded)
    asked: dict[str, dict[str, Value]] = {"who": {"_n": 77}}
    assert isinstance(lamps.decode(reply, roles=SEARCHER, probes=asked), Decoded)
    late = lamps.decode(reply, roles=SEARCHER, probes={"who": {"_n": 78}})
    assert "me: _n is 77, the probe has 78" in misfits(late)
    unasked = lamps.decode(reply, roles=SEARCHER, probes={})
    assert "me: it answers who, and nobody asked that" in misfits(unasked)


def test_what_a_device_is(lamps: Description) -> None:
    assert lamps.collect == ("kind",)
    assert lamps.identity(decoded(lamps, "me 5 3 77 all u;red"), "10.0.0.5") == Identity(
        "lamp-5",
        "",
        "light",
        0,
        "",
        {"serial": 5, "size": 3, "kind": "all", "location": "u", "colour": "red"},
    )
    labelled = lamps.identity(decoded(lamps, "label 5 kitchen"), "10.0.0.5")
    assert (labelled.id, labelled.name) == ("lamp-5", "kitchen")


def test_without_an_id_the_address_is_the_id() -> None:
    plain = load(
        'name = "p"\nport = 1\n[[announcement]]\ntext = "here {size:int}"\n', file="p.toml"
    )
    assert not plain.identified
    assert plain.identity(decoded(plain, "here 3"), "10.0.0.5").id == "10.0.0.5"


def test_some_messages_dont_tell_the_id() -> None:
    two = load(
        'name = "p"\nport = 1\n[[announcement]]\ntext = "here {id}"\n'
        '[[reply]]\ntext = "version {v}"\n[[probe]]\ntext = "v?"\n',
        file="p.toml",
    )
    assert two.identity(decoded(two, "version 1"), "10.0.0.5").id is None


def test_an_accessory_says_its_id_its_defaults_and_what_is_set(lamps: Description) -> None:
    values = lamps.accessory({"id": "lamp-9", "size": 4}, own=OWN, random=Random(1))
    assert values == {
        "id": "lamp-9",
        "serial": "9",
        "size": 4,
        "name": "kitchen",
        "location": "http://10.0.0.7/9",
    }
    # Without one its id is its own, and the same each time.
    own = [lamps.accessory({}, own=OWN, random=Random(n))["serial"] for n in range(2)]
    assert own[0] == own[1]
    assert isinstance(own[0], int)
    other = Own("10.0.0.8", 4000, "02:00:00:00:00:08", "eight")
    assert lamps.accessory({}, own=other, random=Random(1))["serial"] != own[0]
    with pytest.raises(ArgumentError, match="lamp: id can't be 'tulip'"):
        lamps.accessory({"id": "tulip"}, own=OWN, random=Random(1))


def answers(lamps: Description, probe: str, **values: Value) -> list[Answer]:
    given = {"id": "lamp-9", "size": 4, **values}
    ours = lamps.accessory(given, own=OWN, random=Random(1))
    return lamps.answers(decoded(lamps, probe, "probe"), ours)


def test_a_probe_is_answered_for_each_row(lamps: Description) -> None:
    probe = decoded(lamps, "who 2 ", "probe")
    first, second = answers(lamps, "who 2 ")
    assert (first.kind, first.address, first.port, first.delay) == ("source", "", 4002, (0.5, 2.0))
    payloads = [
        lamps.encode(a.form, a.values, own=OWN, random=Random(1), now=0.0, probe=probe.values)
        for a in (first, second)
    ]
    assert payloads == [b"me 9 4 2 all http://10.0.0.7/9 x", b"me 9 4 2 lamp-9 http://10.0.0.7/9"]


@pytest.mark.parametrize(
    ("probe", "kinds"),
    [
        ("who 1 is any", ["all", "lamp-9"]),
        ("who 1 is lamp-9", ["lamp-9"]),
        ("who 1 is all", ["all"]),
        ("who 1 is none", []),
        ("who 1 4-4", ["all", "lamp-9"]),
        ("who 1 5-9", []),
        ("who 1 0-3", []),
    ],
)
def test_only_who_is_meant_answers(lamps: Description, probe: str, kinds: list[str]) -> None:
    assert [answer.values["kind"] for answer in answers(lamps, probe)] == kinds


def test_a_delay_is_bounded_whatever_a_probe_asks_for(lamps: Description) -> None:
    assert answers(lamps, "who 999999 ")[0].delay == (0.5, 5.0)
    assert answers(lamps, "who -5 ")[0].delay == (0.0, 0.5)


def test_a_follow_up_is_asked_of_one_device(lamps: Description) -> None:
    form = lamps.form("label")
    assert (form.to.kind, form.after) == ("device", "me")
    payload = lamps.encode(form, {}, own=OWN, random=Random(1), now=0.0, device={"serial": 9})
    assert payload == b"label 9"
    assert [a.form.name for a in answers(lamps, "label 9")] == ["labelled"]
    assert answers(lamps, "label 8") == []
    with pytest.raises(ArgumentError, match="lamp: label needs a value for '_serial'"):
        lamps.encode(form, {}, own=OWN, random=Random(1), now=0.0)


def test_announcements_and_goodbyes(lamps: Description) -> None:
    values: dict[str, Value] = {"serial": 9}
    assert [form.name for form, _ in lamps.announcements("announcement", values)] == ["here"]
    [(bye, said)] = lamps.announcements("goodbye", values)
    assert lamps.encode(bye, said, own=OWN, random=Random(1), now=0.0) == b"bye 9"


def test_a_value_that_doesnt_fit_is_a_sentence(lamps: Description) -> None:
    with pytest.raises(ArgumentError, match="here can't be written: 'x' isn't an integer"):
        lamps.encode(lamps.form("here"), {"serial": "x"}, own=OWN, random=Random(1), now=0.0)


def test_the_port_at_either_end_is_known(lamps: Description) -> None:
    assert lamps.hears == {4000, 4002}


def test_the_address_in_a_probe_says_where_the_reply_goes() -> None:
    knx = load(
        'name = "k"\nport = 1\n[[probe]]\nhex = "01 {_a:ip4~own.address} {_p:u16~own.port}"\n'
        '[[reply]]\nto = "probe._a:probe._p"\nhex = "02 {id:u8}"\n',
        file="k.toml",
    )
    for payload, where in (
        ("01 0a000009 1234", ("address", "10.0.0.9", 0x1234)),
        ("01 00000000 1234", ("source", "", 0)),
        ("01 0a000009 0000", ("source", "", 0)),
    ):
        probe = knx.decode(bytes.fromhex(payload), roles=IMPERSONATOR)
        assert isinstance(probe, Decoded)
        [answer] = knx.answers(probe, {"id": 1})
        assert (answer.kind, answer.address, answer.port) == where


def test_on_one_port_the_message_that_says_most_is_meant() -> None:
    loose = load('name = "a"\nport = 1\n[[announcement]]\nhex = "01 {id:bytes}"\n', file="a.toml")
    strict = load('name = "b"\nport = 1\n[[announcement]]\nhex = "0102 {id:u8}"\n', file="b.toml")
    for book in (Book((loose, strict)), Book((strict, loose))):
        names = []
        for payload in (b"\1\2\3", b"\1\2\3\4", b"\2"):
            found = book.decode(payload, roles=SEARCHER)
            names.append(found.description.name if isinstance(found, Decoded) else "")
        assert names == ["b", "a", ""]


def test_unlisted_values_come_back_where_they_were() -> None:
    text = 'name = "j"\nport = 1\n[[announcement]]\njson = \'{"id": "{id}", "*": "{*}"}\'\n'
    described = load(text, file="j.toml")
    found = decoded(described, '{"a": 1, "id": "x", "b": "y", "n": {"deep": 1}}')
    assert found.values == {"id": "x", "a": 1, "b": "y"}
    assert found.rest == {"a", "b"}
    assert described.rewrite(found, random=Random(1)) == b'{"id": "x", "a": 1, "b": "y"}'
    said = described.encode(found.form, {"id": "x", "c": True}, own=OWN, random=Random(1), now=0.0)
    assert said == b'{"id": "x", "c": true}'
