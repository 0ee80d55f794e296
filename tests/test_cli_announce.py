"""``bcast announce``: being found, staying the same, and saying goodbye."""

from __future__ import annotations

import re
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bcast.messages import Announcement, Beat, Goodbye, Message
from bcast.wire import decode
from tests.announcing import announcing
from tests.command import (
    COMMAND,
    Lan,
    Wire,
    any_lab,
    environment,
    events,
    run_bcast,
    start_bcast,
    two_networks,
)

if sys.platform != "linux":
    pytest.skip("needs network namespaces", allow_module_level=True)

pytestmark = pytest.mark.kernel("hosts with two interfaces")

LAMP = ("announce", "lamp-1", "_lamp", "-p", "80")


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    with any_lab() as lab:
        yield two_networks(lab)


def found(lan: Lan, *args: str, status: int = 0) -> list[dict[str, Any]]:
    done = run_bcast(lan.a, "discover", "--json", *args, status=status)
    return [event for event in events(done.stdout) if event["event"] == "found"]


def said(wire: Wire) -> list[Message]:
    """The messages of the native protocol that came over a cable by IPv4."""
    seen = [
        one for one in wire.seen() if one.port == 28232 and one.destination == "239.255.110.72"
    ]
    assert all(one.ttl == 255 for one in seen)
    return [decode(one.payload) for one in seen]


def test_what_goes_over_the_cable(lan: Lan) -> None:
    wire = Wire(lan.a)
    with announcing(lan.b, "lamp-1", "_lamp", "-4", "-a", "fw=1.4", "--interval", "1") as lamp:
        time.sleep(4.6)  # announcements in the first three seconds, then a beat
        assert lamp.interrupt() == 0
    messages = said(wire)
    kinds = [type(message) for message in messages]
    assert kinds.count(Announcement) == 3
    assert kinds.count(Beat) >= 1
    assert kinds[-3:] == [Goodbye] * 3
    first = messages[0]
    assert isinstance(first, Announcement)
    (service,) = first.services
    assert (service.name, service.type, service.port) == ("lamp-1", "_lamp", 80)
    assert (dict(service.attributes), first.interval) == ({"fw": "1.4"}, 1)
    said_first, skipped, summary = lamp.errors().splitlines()
    assert said_first == "announcing lamp-1 (_lamp) on eth0; Ctrl-C ends"
    assert skipped == "skipped lo: loopback"
    assert re.fullmatch(
        r"0 replies to 0 probes and 0 queries; 3 announcements, \d beats, 3 goodbyes; rejected 0",
        summary,
    )
    assert lamp.output() == ""


@pytest.mark.parametrize("stop", ["interrupt", "terminate"])
def test_goodbye_is_said_whatever_the_signal(lan: Lan, stop: str) -> None:
    wire = Wire(lan.a)
    with start_bcast(lan.b, *LAMP, until="announcing") as lamp:
        assert getattr(lamp, stop)() == 0
    assert [type(message) for message in said(wire)][-3:] == [Goodbye] * 3


def test_objects(lan: Lan) -> None:
    with start_bcast(lan.b, *LAMP, "-a", "fw=", "--json", "--realm", "json") as lamp:
        lamp.wait_for("announced")
        (device,) = found(lan, "--realm", "json", "-t", "0.3")
        assert lamp.interrupt() == 0
    told = events(lamp.output())
    assert [one["event"] for one in told] == ["interface", "skipped", "announced", "summary"]
    assert told[2] == {
        "event": "announced",
        "id": device["id"],
        "name": "lamp-1",
        "type": "_lamp",
        "port": 80,
        "attributes": {"fw": ""},
        "interval": 30,
    }
    assert device["attributes"] == {"fw": ""}
    assert told[3]["replies"] >= 1
    assert told[3]["goodbyes"] >= 3
    assert (told[3]["rejected"], told[3]["rejected_reasons"]) == (0, {})


def test_a_stable_id_is_made_and_kept(lan: Lan, tmp_path: Path) -> None:
    file = tmp_path / "lamp.id"
    tmp_path.chmod(0o777)
    args = ("--stable-id", str(file), "--realm", "stable")
    ids = []
    for _ in range(2):
        with announcing(lan.b, "lamp", "_lamp", *args):
            ids += [device["id"] for device in found(lan, "--realm", "stable", "--expect", "1")]
    assert ids == [file.read_text().strip()] * 2
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    ids = []
    for _ in range(2):
        with announcing(lan.b, "lamp", "_lamp", "--realm", "stable"):
            ids += [device["id"] for device in found(lan, "--realm", "stable", "--expect", "1")]
    assert len(set(ids)) == 2, "without a file, nobody can be followed"


@pytest.mark.parametrize("more", [(), ("--json",), ("-q",)])
def test_two_with_one_id_are_told(lan: Lan, tmp_path: Path, more: tuple[str, ...]) -> None:
    file = tmp_path / "lamp.id"
    file.write_text("00" * 16)
    realm = f"conflict{len(more)}{more[:1]}"
    args = (*LAMP, "-4", "--stable-id", str(file), "--realm", realm, "--interval", "1")
    with start_bcast(lan.a, *args, *more) as one, start_bcast(lan.b, *args, *more) as other:
        for running, source in ((one, "10.9.1.2"), (other, "10.9.1.1")):
            line = running.wait_for("conflict" if "--json" in more else "same id", timeout=20)
            if "--json" in more:
                (conflict,) = events(line)
                assert conflict["interface"] == "eth0"
                assert conflict["source"] == source
                assert "--stable-id" in conflict["advice"]
            else:
                assert re.fullmatch(
                    rf"{source}:\d+ on eth0 announces itself with the same id:"
                    r" give each of them a --stable-id file of its own",
                    line,
                )
                assert running.output() == ""
        assert one.interrupt() == 0


def test_nothing_is_done_between_two_beats(lan: Lan) -> None:
    realm = ("--realm", "idle", "--interval", "3600")
    with announcing(lan.b, "lamp", "_lamp", *realm) as lamp:
        time.sleep(3.5)  # three announcements in three seconds
        status = Path(f"/proc/{lamp.pid}/status")

        def slept() -> int:
            (count,) = re.findall(r"^voluntary_ctxt_switches:\s+(\d+)$", status.read_text(), re.M)
            return int(count)

        before = slept()
        time.sleep(1.5)
        assert slept() == before


def test_it_is_found_though_nobody_reads_what_it_says_any_more(lan: Lan) -> None:
    with lan.b.start(
        ["sh", "-c", '"$@" | head -n 3', "sh", *COMMAND, *LAMP, "--json", "--realm", "deaf"],
        env=environment(),
        capable=False,
    ) as running:
        running.wait_for("announced")
        assert found(lan, "--realm", "deaf", "--expect", "1")


# --- bad input


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (
            ["", "_lamp", "-p", "80"],
            "the instance name has 0 bytes of UTF-8: it must have 1 to 63",
        ),
        (["é" * 32, "_lamp", "-p", "80"], "the instance name has 64 bytes of UTF-8"),
        (["lamp", "_Lamp", "-p", "80"], "'_Lamp' is not a service type: use 1 to 63 of a-z"),
        (["lamp", "", "-p", "80"], "'' is not a service type"),
        (["lamp", "_lamp", "-p", "65536"], "65536 is not a port: use 1 to 65535, or 0 for none"),
        (["lamp", "_lamp", "-p", "-1"], "-1 is not a port"),
        (["lamp", "_lamp", "-p", "80", "-a", "fw"], "the attribute 'fw' has no value"),
        (["lamp", "_lamp", "-p", "80", "-a", "=1"], "the attribute key has 0 bytes"),
        (["lamp", "_lamp", "-p", "80", "-a", "k" * 64 + "=1"], "the attribute key has 64 bytes"),
        (
            ["lamp", "_lamp", "-p", "80", "-a", "fw=" + "x" * 256],
            "the value of attribute 'fw' has 256 bytes of UTF-8: it must have 0 to 255",
        ),
        (["lamp", "_lamp", "-p", "80", "-a", "a=1", "-a", "a=2"], "the attribute 'a' is there"),
        (
            ["lamp", "_lamp", "-p", "80"] + [f"-a{n}={'x' * 200}" for n in range(6)],
            "1134",
        ),
        (["lamp", "_lamp", "-p", "80"] + [f"-a{n}=" for n in range(65)], "65 attributes are too"),
        (["lamp", "_lamp", "-p", "80", "--interval", "0.5"], "use 1 to 3600"),
        (["lamp", "_lamp", "-p", "80", "--interval", "3601"], "use 1 to 3600"),
        (["lamp", "_lamp", "-p", "80", "--interval", "nan"], "use 1 to 3600"),
        (["lamp", "_lamp", "-p", "80", "--realm", "x" * 256], "the realm has 256 bytes"),
        (["lamp", "_lamp", "-p", "80", "-t", "-1"], "--timeout -1 can't be"),
        (["lamp", "_lamp"], "-p"),
    ],
)
def test_misuse(lan: Lan, args: list[str], sentence: str) -> None:
    done = run_bcast(lan.b, "announce", *args, status=2)
    assert sentence in done.stderr
    assert done.stdout == ""


def test_a_name_that_is_no_text(lan: Lan) -> None:
    done = run_bcast(lan.b, "announce", "\udcff", "_lamp", "-p", "80", status=2)
    assert "is not text" in done.stderr


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("lamp", "{} holds no id: delete it to get a new one, or write 32 hex digits into it"),
        (None, "can't make the id file {}: No such file or directory"),
    ],
)
def test_an_id_file_that_is_none(
    lan: Lan, tmp_path: Path, content: str | None, sentence: str
) -> None:
    file = tmp_path / "nowhere" / "id"
    if content is not None:
        file.parent.mkdir()
        file.write_text(content)
    done = run_bcast(lan.b, *LAMP, "--stable-id", str(file), status=3)
    assert done.stderr == f"bcast: {sentence.format(file)}\n"


def test_nowhere_to_announce() -> None:
    with any_lab() as lab:
        done = run_bcast(lab.host("alone"), *LAMP, status=3)
        assert done.stderr.startswith("bcast: no usable interface: ")
