"""``bcast diff``: what differs between two searches, and files that are none."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.cli import run
from bcast.cli.devices import device_object
from bcast.device import Device, Sighting
from tests.command import events
from tests.test_main import signals_stay_as_they_are

__all__ = ["signals_stay_as_they_are"]

ETH0 = Sighting("eth0", 2, IPv4Address("10.9.1.7"), 4, "bcast", 0.001, 5)
ETH1 = Sighting("eth1", 3, IPv4Address("10.9.2.7"), 4, "bcast", 0.002, 6)
LAMP = Device("aa", "lamp-1", "_lamp", 80, {"fw": "1.4", "room": "hall"}, (ETH0,))
PLUG = Device("bb", "plug", "_plug", 0, {}, (ETH1,))
CAMERA = Device("cc", "camera", "_camera", 554, {}, (ETH0, ETH1))
LAMP_NOW = Device("aa", "lamp-1", "_lamp", 81, {"fw": "1.5", "hue": "3"}, (ETH0, ETH1))

SUMMARY = {"event": "summary", "found": 0}


def output(*devices: Device) -> str:
    """What ``discover --json`` prints."""
    told: list[dict[str, Any]] = [{"event": "skipped", "interface": "lo", "reason": "loopback"}]
    told += [device_object("found", device) for device in devices]
    return "".join(json.dumps(one) + "\n" for one in (*told, SUMMARY))


class Outcome:
    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def diff(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Compares two texts."""

    def compare(a: str | bytes, b: str | bytes, *args: str) -> Outcome:
        for name, text in (("a", a), ("b", b)):
            (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        status = run(["diff", str(tmp_path / "a"), str(tmp_path / "b"), *args])
        out, err = capsys.readouterr()
        assert "bug in bcast" not in err
        return Outcome(status, out, err.replace(str(tmp_path) + "/", ""))

    return compare


def test_the_same_devices_are_no_difference(diff: Any) -> None:
    again = Sighting("eth0", 9, IPv4Address("10.9.1.8"), 5, "bcast", 0.7, 8)
    later = Device("aa", "lamp-1", "_lamp", 80, LAMP.attributes, (again,), probes_answered=7)
    done = diff(output(LAMP, PLUG), output(PLUG, later))
    assert (done.status, done.out) == (0, "")
    assert done.err == "0 added, 0 removed, 0 changed, 2 same\n"
    assert diff(output(), output()).status == 0


def test_differences_are_told(diff: Any) -> None:
    done = diff(output(LAMP, PLUG), output(CAMERA, LAMP_NOW))
    assert done.status == 1
    assert done.out.splitlines() == [
        "added    camera  _camera  554  eth0,eth1  cc",
        "changed  lamp-1  _lamp  81  eth0,eth1  aa  port 80 > 81;"
        " fw 1.4 > 1.5, with hue=3, without room; interfaces eth0 > eth0,eth1",
        "removed  plug  _plug  -  eth1  bb",
    ]
    assert done.err == "1 added, 1 removed, 1 changed, 0 same\n"


def test_differences_as_objects(diff: Any) -> None:
    done = diff(output(LAMP, PLUG), output(CAMERA, LAMP_NOW), "--json")
    assert (done.status, done.err) == (1, "")
    added, changed, removed, summary = events(done.out)
    assert added == device_object("added", CAMERA)
    assert removed == device_object("removed", PLUG)
    assert changed == {
        **device_object("changed", LAMP_NOW),
        "changed": ["port", "attributes", "interfaces"],
        "before": {
            "port": 80,
            "attributes": {"fw": "1.4", "room": "hall"},
            "interfaces": ["eth0"],
        },
    }
    assert summary == {"event": "summary", "added": 1, "removed": 1, "changed": 1, "same": 0}


def test_a_renamed_device_is_the_same_device(diff: Any) -> None:
    done = diff(output(LAMP), output(Device("aa", "desk", "_light", 80, LAMP.attributes, (ETH0,))))
    assert "name lamp-1 > desk; type _lamp > _light" in done.out


def test_what_devices_say_does_not_reach_the_terminal(diff: Any) -> None:
    evil = Device("dd", "\x1b[2Jx", "_lamp", 0, {"a": "\x1b]0;"}, (ETH0,))
    quiet = Device("dd", "\x1b[2Jx", "_lamp", 0, {"a": "b"}, (ETH0,))
    done = diff(output(evil), output(quiet))
    assert done.status == 1
    assert "\x1b" not in done.out
    assert "\\x1b[2Jx" in done.out


def test_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").write_text(output(LAMP))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(output(PLUG).encode())))
    assert run(["diff", str(tmp_path / "a"), "-"]) == 1
    assert "1 added, 1 removed" in capsys.readouterr().err
    assert run(["diff", "-", "-"]) == 2
    assert capsys.readouterr().err.startswith("bcast: only one of them can be -")


# --- files that are none

FOUND = device_object("found", LAMP)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "it is no JSON (Expecting property name enclosed in double quotes, column 2)"),
        (b"\xff\xfe", "it isn't UTF-8"),
        ("[1]", "it is no object with an event"),
        ('{"name": 1}', "it is no object with an event"),
        ("[" * 100_000, "it is no JSON that discover would print"),
        ("1" * 5_000, "it is no JSON that discover would print"),
        ("x" * (2 << 20), "it is longer than a megabyte"),
        ({**FOUND, "port": "80"}, 'the device\'s port is "80"'),
        ({**FOUND, "port": True}, "the device's port is true"),
        ({**FOUND, "attributes": {"fw": 1}}, "an attribute of the device is no text"),
        ({**FOUND, "sightings": [1]}, "a sighting of the device has no interface"),
        ({**FOUND, "id": "plug's", "sightings": None}, "the device's sightings is null"),
        ({k: v for k, v in FOUND.items() if k != "id"}, "the device has no id"),
        ({**FOUND, "id": "bb"}, "device bb is there a second time"),
    ],
)
def test_a_damaged_line_is_named(diff: Any, line: Any, sentence: str) -> None:
    if isinstance(line, dict):
        line = json.dumps(line)
    line = line if isinstance(line, bytes) else line.encode()
    # Two lines are before it.
    before = "".join(f"{each}\n" for each in output(PLUG).splitlines()[:2])
    done = diff(output(LAMP), before.encode() + line + b"\n")
    assert done.status == 3
    assert done.out == ""
    assert done.err == f"bcast: b, line 3: {sentence}: give what discover --json printed\n"


def test_other_files_are_not_taken_for_a_search(diff: Any) -> None:
    for text in ("", '{"event":"datagram"}\n', '{"event":"summary","datagrams":0}\n'):
        done = diff(text, output(LAMP))
        assert done.status == 3
        assert done.err.startswith("bcast: a is no output of discover --json")


def test_what_can_not_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").write_text(output())
    for name, reason in (("none", "No such file or directory"), (".", "Is a directory")):
        assert run(["diff", str(tmp_path / "a"), str(tmp_path / name)]) == 3
        assert f"can't be read: {reason}" in capsys.readouterr().err


# --- any two searches

_texts = st.text(max_size=8)
_devices = st.builds(
    Device,
    id=st.sampled_from("abcde"),
    name=_texts,
    type=st.sampled_from(["_lamp", "_plug"]),
    port=st.integers(0, 65535),
    attributes=st.dictionaries(st.sampled_from("kl"), _texts, max_size=2),
    sightings=st.lists(st.sampled_from([ETH0, ETH1]), max_size=2, unique=True).map(tuple),
)
_searches = st.lists(_devices, max_size=5, unique_by=lambda device: device.id)


@given(_searches, _searches)
def test_from_there_to_here_is_the_contrary(a: list[Device], b: list[Device]) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        told = []
        for name, devices in (("a", a), ("b", b)):
            Path(folder, name).write_text(output(*devices))
        for one, other in ("ab", "ba"):
            lines = io.StringIO()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "stdout", lines)
                status = run(["diff", f"{folder}/{one}", f"{folder}/{other}", "--json"])
            told.append((status, events(lines.getvalue())))
    (there, forward), (back, backward) = told
    assert there == back == int(len(forward) > 1)
    kinds = {"added": "removed", "removed": "added", "changed": "changed"}
    assert {(kinds[e["event"]], e["id"]) for e in forward[:-1]} == {
        (e["event"], e["id"]) for e in backward[:-1]
    }
    ids = {d.id for d in a}, {d.id for d in b}
    assert forward[-1]["added"] == len(ids[1] - ids[0])
    assert forward[-1]["changed"] + forward[-1]["same"] == len(ids[0] & ids[1])
