"""Mistakes in descriptions: each is told with its line, its table, and what to do."""

from __future__ import annotations

import pytest

from bcast.accessory.description import Description
from bcast.accessory.loading import load
from bcast.accessory.mistakes import DescriptionError

HEAD = 'name = "lamp"\ntitle = "Lamps"\nport = 4000\n'
PROBE = '[[probe]]\ntext = "who {_n:int~random()}"\n'
REPLY = '[[reply]]\ntext = "me {id} {_n:int=probe._n}"\n'
GOOD = HEAD + PROBE + REPLY


def mistakes(text: str) -> list[str]:
    with pytest.raises(DescriptionError) as caught:
        load(text, file="lamp.toml")
    found = caught.value.mistakes
    assert str(caught.value) == "\n".join(map(str, found))
    assert [m.line for m in found] == sorted(m.line for m in found)
    return [str(mistake) for mistake in found]


def mistake(text: str) -> str:
    [only] = mistakes(text)
    return only


def test_a_right_one_loads() -> None:
    description = load(GOOD, file="lamp.toml")
    assert isinstance(description, Description)
    assert (description.name, description.title, description.port) == ("lamp", "Lamps", 4000)
    assert [form.name for form in description.messages] == ["probe", "reply"]


def test_all_mistakes_are_told_at_once_with_their_lines() -> None:
    assert mistakes(
        'name = "lamp"\n'
        "prot = 4000\n"  # 2
        "port = 4000\n"
        "[[probe]]\n"
        'text = "who"\n'
        'too = "group"\n'  # 6
        "[[reply]]\n"
        'name = "binary"\n'
        "hex = '''\n"
        "01 {a:u9x}\n"  # 10
        "02 {:u16=length(al)}\n"  # 11
        "{b:bytes} {c:bytes}'''\n"  # 12
        "[[reply]]\n"
        'text = "me {id:macc}"\n'  # 14
    ) == [
        "lamp.toml:2: prot: isn't a key of a description, did you mean 'port'?",
        "lamp.toml:6: [[probe]] 1: too: isn't a key of a probe, did you mean 'to'?",
        "lamp.toml:10: [[reply]] binary: {a:u9x}: no binary type 'u9x'",
        "lamp.toml:11: [[reply]] binary: {:u16=length(al)}: nothing here is called 'al',"
        " did you mean 'all'?",
        "lamp.toml:12: [[reply]] binary: {b:bytes}: only one of these can take the rest: give the"
        " others a length",
        "lamp.toml:14: [[reply]] 2: {id:macc}: no text type 'macc', did you mean 'mac'?",
    ]


def test_text_that_is_no_toml() -> None:
    assert mistake('name = "lamp"\nport = \n').startswith("lamp.toml:2: this isn't TOML: Inval")
    assert mistake("a." * 5_000).startswith("lamp.toml:1: ")
    assert mistake("a = " + "[" * 20_000)


def hexed(text: str) -> str:
    return f"{HEAD}[[probe]]\nhex = '{text}'\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        # the file
        (GOOD.replace('"lamp"', '"La mp"'), ":1: name: has to be 1 to 32 of a-z, 0-9, _ and -"),
        (GOOD.replace("4000", "0"), ":3: port: has to be a number from 1 to 65535, and 0 isn't"),
        (GOOD.replace("port = 4000\n", ""), "port: has to be a number from 1 to 65535, and there"),
        (HEAD, "it has no message: add a [[probe]] or an [[announcement]]"),
        (GOOD + "[[replay]]\n", ":8: replay: isn't a key of a description, did you mean 'reply'?"),
        (GOOD + "[colour.of]\n", ":8: colour: isn't a key of a description"),
        ('group = "10.0.0.1"\n' + GOOD, ":1: group: '10.0.0.1' is no group's address"),
        ("reply = 3\n" + HEAD + PROBE, ":1: reply: write [[reply]] on a line of its own"),
        # what a message is made of
        (
            HEAD + "[[probe]]\n",
            "[[probe]] 1: it needs one of hex, text, json, headers,",
        ),
        (GOOD + "hex = '00'\n", ":6: [[reply]] 1: it needs one of hex, text,"),
        (HEAD + "[[probe]]\ntext = 3\n", ":5: [[probe]] 1: text: has to be text"),
        (GOOD + REPLY, "[[reply]] 2: 'reply' is taken: give this one a name of its own"),
        (
            GOOD + 'through = ["rot13"]\n',
            ":8: [[reply]] 1: through: there is no transform",
        ),
        (GOOD + "separator = ';'\n", ":8: [[reply]] 1: separator: is for pairs"),
        # keys and their values
        (GOOD + 'to = "everybody"\n', ":8: [[reply]] 1: to: 'everybody' isn't one of broadcast"),
        (GOOD + 'to = "group"\n', ':8: [[reply]] 1: to: the file has no group: add group = "239'),
        (GOOD + 'to = "source:99999"\n', "to: 99999 isn't a port"),
        (GOOD + 'answers = "prob"\n', "there is no probe 'prob', did you mean 'probe'?"),
        (
            GOOD + "delay = [0.0, 90]\n",
            "delay: is [least, most]: seconds up to 5, or",
        ),
        (
            GOOD + 'delay = [0.0, "probe._mx"]\n',
            "delay: no probe that it answers has a value",
        ),
        (
            GOOD + "expires = 0\n",
            ":8: [[reply]] 1: expires: is seconds from 1 to 86400",
        ),
        (GOOD + 'expires = "_age"\n', "expires: nothing in it is called '_age'"),
        (
            GOOD + 'only_if = { _x = ["1"] }\n',
            "only_if: no probe that it answers has a value",
        ),
        (GOOD + 'within = { id = ["a"] }\n', 'within: is { our value = ["lowest", "highest"] }'),
        (GOOD + 'for_each = "targets"\n', "for_each: [impersonate] has no rows called 'targets'"),
        (GOOD + 'means = "gone"\n', 'means: "absent" is all that it can say'),
        (GOOD + "sent = 1\n", "sent: is true or false"),
        (
            HEAD + PROBE + "repeat = { times = 99, gap = 0.1 }\n" + REPLY,
            "repeat: is { times = 1 to",
        ),
        (HEAD + PROBE + "from = 70000\n" + REPLY, "from: has to be a number from 1 to 65535"),
        (HEAD + PROBE + 'after = "replay"\n' + REPLY, "no reply 'replay', did you mean 'reply'?"),
        # holes
        (hexed("zz"), "'z' isn't a hex digit: text stands in quotation marks"),
        (hexed("0"), "begins, or it ends, inside a byte: fill it up"),
        (hexed("{a:u4~1} {b:str(3)~x}"), "{b:str(3)~x} begins inside a byte"),
        (hexed("{a:u8=random()}"), "a receiver can't check random(): write ~random()"),
        (hexed("{a:u8=own.port}"), "a receiver can't check own.port: write ~own.port"),
        (hexed("{a:ip4~own.adress}"), "own. has no 'adress', did you mean 'address'?"),
        (hexed("{a:u8~256}"), "{a:u8~256}: 256 doesn't fit 8 bits"),
        (hexed("{a:uint~1}"), "needs its length: {:u8=length(a)} before it"),
        (hexed("{a~1}"), "a hole in hex needs a type"),
        (hexed("[00]"), "a stretch that may be absent needs a hole with a name"),
        (hexed("00 [01"), "this [ has no ]"),
        (hexed("{a:u8~1"), "this { has no }: for the character itself write {{"),
        (hexed("{a?:u8~1}"), "in hex what may be absent stands in [ ]"),
        (hexed("{:u16=crc32(all)}"), "crc32 needs a number of 32 bits"),
        (hexed("{a:u8~lenth(all)}"), "there is no function 'lenth', did you mean 'length'?"),
        (HEAD + "[[probe]]\ntext = '{a~1}{b~2}'\n", "put text between them"),
        (HEAD + "[[probe]]\ntext = 'a} {b~2}'\n", "this } has no {: for the character itself"),
        (HEAD + "[[probe]]\ntext = '{a?~1}'\n", "in text what may be absent stands in [ ]"),
        (HEAD + "[[probe]]\ntext = '{a:int~x}'\n", "'x' isn't an integer"),
        # parts
        (hexed("{:@body}"), ":5: [[probe]] 1: there is no [[part]] 'body'"),
        (
            GOOD + "[[part]]\nname = 'body'\nhex = '00'\n",
            "[[part]] body: no message uses it",
        ),
        (GOOD + "[[part]]\nhex = '00'\n", "[[part]] 1: name: a part needs one, a word"),
        (
            hexed("{:@a}") + "[[part]]\nname = 'a'\nhex = '{:@b}'\n"
            "[[part]]\nname = 'b'\nhex = '00 {:@a}'\n",
            ":11: [[part]] b: the part 'a' contains itself (a -> b -> a)",
        ),
        # what refers to something else
        (GOOD.replace("_n", "_nonce").replace("e._nonce", "e._nonse"), "did you mean '_nonce'?"),
        (GOOD.replace("who {_n:int~random()}", "who {_n:int=probe._n}"), "only a reply answers a"),
        (
            HEAD + PROBE.replace("random()", "device.id") + REPLY,
            "no device is known before it is asked: only a probe with after",
        ),
        (
            GOOD + '[[probe]]\nname = "more"\nafter = "reply"\ntext = "{_t~device.mac}"\n',
            "'reply' tells no 'mac'",
        ),
    ],
)
def test_a_mistake_is_a_sentence_with_the_place(text: str, sentence: str) -> None:
    told = mistakes(text)
    assert any(sentence in one for one in told), told
    assert all(one.startswith("lamp.toml:") for one in told), told


def test_a_probe_that_cant_be_built_from_nothing() -> None:
    assert mistake(HEAD + '[[probe]]\ntext = "who {_n:int}"\n' + REPLY) == (
        "lamp.toml:4: [[probe]] 1: it can't be built from nothing: probe needs a value for '_n':"
        " give it (--set _n=...), or a default in [impersonate]"
    )


def test_a_message_that_is_taken_for_another() -> None:
    twin = '[[announcement]]\ntext = "me {name} {_m:int~1}"\n'
    assert mistake(GOOD + twin).startswith(
        "lamp.toml:8: [[announcement]] 1: what it builds is taken for 'reply': one of them needs a"
        " constant that the other doesn't have"
    )


SAMPLES = (
    GOOD
    + """
[[sample]]
message = "probe"
text = "who 7"
means = { _n = 7 }

[[sample]]
message = "reply"
text = "me tulip 7"
answers = 1
means = { id = "tulip" }
"""
)


def test_samples_are_replayed() -> None:
    assert [s.message for s in load(SAMPLES, file="lamp.toml").samples] == ["probe", "reply"]


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ('message = "reply"', 'message = "replay"', ":15: [[sample]] 2: message: there is no me"),
        ("me tulip 7", "no tulip 7", "[[sample]] 2: it isn't 'reply': "),
        ("me tulip 7", "me tulip 8", "it isn't 'reply': _n is 8, the probe has 7"),
        ('id = "tulip"', 'id = "rose"', ":18: [[sample]] 2: means: id is 'tulip', not 'rose'"),
        (
            'id = "tulip"',
            'idd = "tulip"',
            "is called 'idd', did you mean 'id'",
        ),
        ("answers = 1", "answers = 2", "answers: sample 2 isn't a probe"),
        ("answers = 1", "answers = 9", "answers: is the number of the sample that it answers"),
        ('text = "me tulip 7"', 'hex = "6d6"', ":16: [[sample]] 2: hex: "),
        ('text = "me tulip 7"', "", "a sample has the datagram as hex or as text"),
    ],
)
def test_a_sample_that_isnt_what_it_says(before: str, after: str, sentence: str) -> None:
    assert before in SAMPLES
    told = mistakes(SAMPLES.replace(before, after))
    assert any(sentence in one for one in told), told


def test_a_header_inside_a_text_is_no_table() -> None:
    text = HEAD + "[[probe]]\ntext = '''\n[[part]]\n'''\n[[reply]]\ntext = '{idd:macc}'\n"
    assert any(one.startswith("lamp.toml:9: [[reply]]") for one in mistakes(text))
