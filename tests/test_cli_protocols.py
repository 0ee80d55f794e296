"""``bcast protocols`` as a person runs it."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from bcast.cli import run

LAMP = """
name = "lamp"
title = "Lamps \\u001b[31m"
port = 4000
group = "239.1.2.3"

[[probe]]
name = "who"
from = 4003
repeat = { times = 3, gap = 0.5 }
text = "who {_n:int~random()}"

[[reply]]
name = "me"
to = "source:4002"
delay = [0.0, 0.5]
text = "me {id} {model} {_n:int=probe._n}"

[[announcement]]
every = 10.0
sent = false
text = "here {id}"

[[sample]]
message = "who"
text = "who 7"

[[sample]]
message = "me"
text = "me tulip L1 7"
means = { model = "L1" }
answers = 1
"""


@pytest.fixture
def lamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    file = tmp_path / "lamp.toml"
    file.write_text(LAMP)
    return file


def out(capsys: pytest.CaptureFixture[str], status: int, *arguments: str) -> str:
    assert run(["protocols", *arguments]) == status
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return said.out + said.err


def test_one_in_detail(lamp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert out(capsys, 0, str(lamp)).splitlines() == [
        "lamp: Lamps \\x1b[31m",
        f"  port 4000, group 239.1.2.3; {lamp}",
        "  asks:",
        "    who: to the group, port 4000, only from port 4003, 3 times, 0.5 s apart",
        "  is answered:",
        "    me: to whoever asked, port 4002, after who, within 0 to 0.5 s",
        "  hears unasked:",
        "    announcement: to the group, port 4000, every 10 s, never sent by bcast",
        "  a device tells: id, model",
        "  it is known by its id",
        f"  impersonated by: me (bcast impersonate {lamp})",
    ]


def test_one_as_json(lamp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(out(capsys, 0, str(lamp), "--json"))
    assert (told["event"], told["name"], told["group"]) == ("protocol", "lamp", "239.1.2.3")
    assert told["ports"] == [4000, 4002, 4003]
    assert [(m["role"], m["name"], m["from"], m["sent"]) for m in told["messages"]] == [
        ("probe", "who", 4003, True),
        ("reply", "me", None, True),
        ("announcement", "announcement", None, False),
    ]


def test_a_check_replays_the_samples(lamp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert out(capsys, 0, str(lamp), "--check") == f"{lamp}: right; 2 samples replayed\n"
    told = json.loads(out(capsys, 0, str(lamp), "--check", "--json"))
    assert (told["event"], told["samples"], told["mistakes"]) == ("checked", 2, [])


def test_a_check_reports_all_mistakes(lamp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lamp.write_text(LAMP.replace("from =", "form =").replace("{model}", "{model:maac}"))
    assert out(capsys, 1, str(lamp), "--check").splitlines() == [
        f"{lamp}:9: [[probe]] who: form: isn't a key of a probe, did you mean 'from'?",
        f"{lamp}:17: [[reply]] me: {{model:maac}}: no text type 'maac', did you mean 'mac'?",
    ]
    told = json.loads(out(capsys, 1, str(lamp), "--check", "--json"))
    assert [(m["line"], m["table"]) for m in told["mistakes"]] == [
        (9, "[[probe]] who"),
        (17, "[[reply]] me"),
    ]


def test_a_sample_that_doesnt_decode(lamp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lamp.write_text(LAMP.replace("me tulip L1 7", "me tulip L1 8"))
    assert out(capsys, 1, str(lamp), "--check") == (
        f"{lamp}:28: [[sample]] 2: it isn't 'me': _n is 8, the probe has 7\n"
    )


def test_without_a_check_a_wrong_file_is_misuse(
    lamp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lamp.write_text("name = 3\n")
    assert f"bcast: {lamp}:1: name: has to be" in out(capsys, 2, str(lamp))


@pytest.mark.parametrize("name", ["bcast", "mdns"])
def test_what_is_spoken_without_a_description(
    lamp: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert f"{name} is spoken by bcast and has no description" in out(capsys, 2, name)


def test_an_unknown_name(lamp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no protocol 'no-such-thing'" in out(capsys, 2, "no-such-thing")
    assert "there is no protocol 'no-such-thing'" in out(capsys, 2, "no-such-thing", "--check")


def test_the_list_has_the_users_own_and_hides_no_other_for_a_broken_one(
    lamp: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bcast.accessory import catalogue

    mine = lamp.parent / "config" / "bcast" / "accessories"
    mine.mkdir(parents=True)
    (mine / "lamp.toml").write_text(LAMP)
    (mine / "broken.toml").write_text("name = 3\n")
    monkeypatch.setattr(catalogue, "_default", lambda: catalogue.Catalogue([mine]))
    lacking = "" if find_spec("zeroconf") else " (!)"
    said = out(capsys, 0)
    assert [line.split(maxsplit=3) for line in said.splitlines()[:4]] == [
        ["NAME", "PORT", "GROUP", "FOUND BY         TITLE"],
        ["bcast", "28232", "239.255.110.72", "probe, presence  bcast's own protocol"],
        ["mdns", "5353", "224.0.0.251", f"probe, presence  services of mDNS and DNS-SD{lacking}"],
        ["lamp", "4000", "239.1.2.3", "probe, presence  Lamps \\x1b[31m"],
    ]
    assert ("(!) mdns: mdns needs the package 'zeroconf'" in said) is bool(lacking)
    assert "broken.toml:1: name: has to be" in said
