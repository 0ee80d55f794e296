"""``bcast discover``: what is found, when the search ends, and what is said about it."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bcast.lab import Host, Running
from tests.announcing import announcing
from tests.command import (
    COMMAND,
    Lan,
    any_lab,
    environment,
    events,
    in_shell,
    pause,
    proceed,
    run_bcast,
    start_bcast,
    two_networks,
)

if sys.platform != "linux":
    pytest.skip("needs network namespaces", allow_module_level=True)

pytestmark = pytest.mark.kernel("hosts with two interfaces")

KEY = "00112233445566778899aabbccddeeff"
OTHER_KEY = "ff" * 16


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    with any_lab() as lab:
        yield two_networks(lab)


@pytest.fixture(scope="module")
def lamp(lan: Lan) -> Iterator[Running]:
    """An accessory on the blue network that is there all the time."""
    args = ("-a", "fw=1.4", "-a", "room=hall", "--json")
    with start_bcast(lan.b, "announce", "lamp-1", "_lamp", "-p", "80", *args) as running:
        running.wait_for("announced")
        yield running


@pytest.fixture(scope="module")
def plug(lan: Lan) -> Iterator[Running]:
    """Another one on the green network."""
    with announcing(lan.c, "plug", "_plug") as running:
        yield running


def found(host: Host, *args: str, status: int = 0) -> list[dict[str, Any]]:
    """The devices that ``bcast discover --json`` finds."""
    done = run_bcast(host, "discover", "--json", *args, status=status)
    return [event for event in events(done.stdout) if event["event"] == "found"]


def names(devices: list[dict[str, Any]]) -> list[str]:
    return [device["name"] for device in devices]


# --- what is found


def test_each_device_has_a_row(lan: Lan, lamp: Running, plug: Running) -> None:
    done = run_bcast(lan.a, "discover", "--expect", "2", "-v")
    heading, *rows = done.stdout.splitlines()
    assert heading.split() == ["NAME", "TYPE", "ADDRESS", "INTERFACES", "LATENCY", "PROTOCOLS"]
    assert re.fullmatch(r"lamp-1 +_lamp +10\.9\.1\.2:80( \+\d)? +eth0 +\d+\.\d ms +bcast", rows[0])
    assert re.fullmatch(r"    id [0-9a-f]{32}  fw=1\.4  room=hall", rows[1])
    assert re.fullmatch(r"plug +_plug +10\.9\.2\.2:80( \+\d)? +eth1 +\d+\.\d ms +bcast", rows[2])
    first, skipped, summary = done.stderr.splitlines()
    assert first == "searching for 2 s on eth0, eth1; Ctrl-C ends"
    assert skipped == "skipped lo: loopback"
    assert re.fullmatch(
        r"2 found with \d+ probes; probes answered: lamp-1 \d, plug \d;"
        r" no (telling|sign).* missing; kernel drops 0; rejected 0",
        summary,
    )


def test_objects_say_all_there_is_to_say(lan: Lan, lamp: Running) -> None:
    done = run_bcast(lan.a, "discover", "_lamp", "-4", "-t", "0.5", "--json")
    told = events(done.stdout)
    kinds = [event["event"] for event in told]
    assert kinds == ["interface", "interface", "skipped", "found", "summary"]
    announced = next(e for e in events(lamp.output()) if e["event"] == "announced")
    device = told[3]
    (sighting,) = device.pop("sightings")
    assert device.pop("probes_answered") >= 1
    assert device == {
        "event": "found",
        "protocols": ["bcast"],
        "id": announced["id"],
        "name": "lamp-1",
        "type": "_lamp",
        "port": 80,
        "attributes": {"fw": "1.4", "room": "hall"},
    }
    assert 0 < sighting.pop("latency") < 1
    assert sighting.pop("last_heard").endswith("Z")
    assert sighting.pop("port") > 0
    assert sighting.pop("index") > 0
    assert sighting == {"interface": "eth0", "address": "10.9.1.2", "protocol": "bcast"}
    summary = told[-1]
    assert (summary["found"], summary["not_matching"], summary["rejected"]) == (1, 0, 0)
    assert summary["probes"] >= 8
    assert summary["replies"] >= 1
    assert summary["estimated_missing"] == 0
    assert summary["kernel_drops"] == 0
    assert done.stderr == "searching for 0.5 s on eth0, eth1; Ctrl-C ends\n"


def test_a_device_on_two_interfaces_is_one(lan: Lan) -> None:
    with announcing(lan.a, "hub", "_hub", "--realm", "two"):
        (hub,) = found(lan.a, "--realm", "two", "-4", "-t", "0.5")
        assert [one["interface"] for one in hub["sightings"]] == ["eth0", "eth1"]
        done = run_bcast(lan.a, "discover", "--realm", "two", "-4", "-t", "0.5", "-q")
        assert re.search(r"hub +_hub +10\.9\.1\.1:80 \+1 +eth0,eth1 ", done.stdout)
        assert done.stderr == ""


def test_only_what_is_asked_for(lan: Lan, lamp: Running, plug: Running) -> None:
    short = ("-t", "0.3")
    assert names(found(lan.a, "_plug", *short)) == ["plug"]
    assert names(found(lan.a, "_plug", "_lamp", "_none", *short)) == ["lamp-1", "plug"]
    assert names(found(lan.a, "-i", "eth1", *short)) == ["plug"]
    assert names(found(lan.a, "-x", "eth1", "-6", *short)) == ["lamp-1"]
    assert names(found(lan.a, "--match", "fw=1.*", "--match", "room=*", *short)) == ["lamp-1"]
    assert names(found(lan.a, "--match", "interface=eth1", *short)) == ["plug"]
    assert names(found(lan.a, "--match", "fw=1.*", "--match", "name=plug", *short, status=1)) == []


def test_nothing_is_found(lan: Lan, lamp: Running) -> None:
    done = run_bcast(lan.a, "discover", "_none", "-t", "0.2", status=1)
    assert done.stdout == ""
    assert re.match(r"0 found with \d+ probes; no telling how many", done.stderr.splitlines()[-1])
    done = run_bcast(lan.a, "discover", "--match", "name=nobody", "-t", "0.2", status=1)
    assert "0 found with" in done.stderr
    assert "that don't match; " in done.stderr


def test_a_device_in_disguise(lan: Lan) -> None:
    evil = "\x1b[2J\u202eevil\n"
    with announcing(lan.b, evil, "_evil", "-a", f"\x07key={evil}", "--realm", "evil") as running:
        done = run_bcast(lan.a, "discover", "--realm", "evil", "--expect", "1", "-v")
        shown = r"\x1b[2J\u202eevil\n"
        for text in (done.stdout, done.stderr, running.errors()):
            assert shown in text
            assert text.replace("\n", "").isprintable()
        (device,) = found(lan.a, "--realm", "evil", "--expect", "1")
        assert (device["name"], device["attributes"]) == (evil, {"\x07key": evil})


# --- when it ends


def test_it_ends_when_all_are_found(lan: Lan, lamp: Running, plug: Running) -> None:
    began = time.monotonic()
    assert len(found(lan.a, "--expect", "2", "-t", "60")) == 2
    assert time.monotonic() - began < 30


def test_fewer_than_expected(lan: Lan, lamp: Running, plug: Running) -> None:
    began = time.monotonic()
    assert len(found(lan.a, "--expect", "3", "-t", "0.4", status=1)) == 2
    assert time.monotonic() - began >= 0.4
    # Those that don't match don't count.
    found(lan.a, "--expect", "2", "--match", "name=plug", "-t", "0.3", status=1)


def test_what_was_heard_is_told_when_it_was_not_enough(
    lan: Lan, lamp: Running, plug: Running
) -> None:
    args = ("discover", "-4", "-t", "0.4")
    told = run_bcast(lan.a, *args, "--expect", "2", "--match", "name=plug", status=1).stderr
    assert re.search(
        r"(?m)^what was heard, in seconds since the search began:\n"
        r"eth0:\n +0\.\d{3}  added      lamp-1  _lamp  \(doesn't match\)  from 10\.9\.1\.2\n"
        r"eth1:\n +0\.\d{3}  added      plug  _plug  from 10\.9\.2\.2\n",
        told,
    )
    # On standard error with --json too, and not when nobody asked for more than there is.
    as_json = run_bcast(lan.a, *args, "--expect", "3", "--json", status=1)
    assert "what was heard" in as_json.stderr
    assert all(events(as_json.stdout))
    assert "what was heard" not in run_bcast(lan.a, *args, "--expect", "2").stderr
    assert run_bcast(lan.a, *args, "--expect", "3", "-q", status=1).stderr == ""


def test_one_that_comes_later_is_found(lan: Lan) -> None:
    args = ("--realm", "later", "--expect", "1", "-t", "60", "--json")
    with start_bcast(lan.a, "discover", *args, until="searching") as running:
        with announcing(lan.b, "late", "_late", "--realm", "later"):
            assert running.wait() == 0
        assert events(running.output())[-2]["name"] == "late"


def test_gone_waits_for_goodbye(lan: Lan) -> None:
    args = ("--realm", "leaving", "--match", "name=lea*", "--gone")
    with announcing(lan.b, "leaver", "_x", "--realm", "leaving") as leaver:
        done = run_bcast(lan.a, "discover", *args, "-t", "0.3", status=1)
        assert done.stdout == ""
        assert "still there:\nNAME " in done.stderr
        assert re.search(r"^leaver +_x +10\.9\.1\.2:80", done.stderr, re.M)
        (left,) = found(lan.a, *args, "-t", "0.3", status=1)
        assert left["name"] == "leaver"
        with start_bcast(lan.a, "discover", *args, "-t", "60", until="searching") as running:
            assert leaver.interrupt() == 0
            assert running.wait() == 0
            assert running.output() == ""
            assert "still there" not in running.errors()


def test_nobody_is_gone_at_once(lan: Lan, lamp: Running) -> None:
    began = time.monotonic()
    run_bcast(lan.a, "discover", "--match", "name=nobody", "--gone", "-t", "60")
    assert time.monotonic() - began < 30
    # But nobody is gone before there was time to answer.
    done = run_bcast(lan.a, "discover", "--gone", "--match", "name=lamp-1", "-t", "1", status=1)
    assert "still there:" in done.stderr


def test_whoever_takes_time_to_answer_is_not_gone(lan: Lan) -> None:
    args = ("--realm", "slow", "--gone", "-t", "3")
    with announcing(lan.b, "slow", "_slow", "--realm", "slow") as slow:
        pause(slow)
        with start_bcast(lan.a, "discover", *args, until="searching") as running:
            time.sleep(0.4)
            proceed(slow)
            assert running.wait() == 1
            assert "still there:" in running.errors()


def test_whoever_falls_silent_is_gone(lan: Lan) -> None:
    realm = ("--realm", "silent")
    with announcing(lan.b, "mute", "_mute", *realm, "--interval", "1") as mute:
        args = ("discover", *realm, "--gone", "-t", "60", "--json")
        with start_bcast(lan.a, *args, until="searching") as running:
            time.sleep(1.5)
            assert running.status is None
            mute.kill()
            assert running.wait(timeout=40) == 0
            assert events(running.output())[-1]["queries"] >= 4


@pytest.mark.parametrize("stop", ["interrupt", "terminate"])
def test_a_signal_ends_it_with_what_was_found(lan: Lan, lamp: Running, stop: str) -> None:
    with start_bcast(lan.a, "discover", "-t", "60", until="searching") as running:
        time.sleep(0.3)
        assert getattr(running, stop)() == {"interrupt": 130, "terminate": 143}[stop]
        assert "lamp-1" in running.output()
        assert " found with " in running.errors().splitlines()[-1]


def test_whoever_reads_it_has_had_enough(lan: Lan, lamp: Running) -> None:
    done = in_shell(lan.a, '"$@" | head -n 1', "discover", "-t", "0.3")
    assert done.stdout.startswith("NAME")
    assert "Traceback" not in done.stderr
    running = lan.a.start(
        ["sh", "-c", '"$@" | head -c 1', "sh", *COMMAND, "discover", "--json", "-t", "60"],
        env=environment(),
        capable=False,
    )
    assert running.wait(timeout=20) == 0


# --- who meets whom


def test_realms_do_not_meet(lan: Lan, lamp: Running) -> None:
    with announcing(lan.b, "other", "_lamp", env={"BCAST_REALM": "ci-7"}):
        assert names(found(lan.a, "--realm", "ci-7", "-t", "0.3")) == ["other"]
        assert "other" not in names(found(lan.a, "-t", "0.3"))
        done = run_bcast(lan.a, "discover", "-t", "0.2", env={"BCAST_REALM": "ci-7"})
        assert "other" in done.stdout


def test_only_those_with_the_key_meet(lan: Lan, tmp_path: Path) -> None:
    key, other = tmp_path / "key", tmp_path / "other"
    key.write_text(KEY)
    other.write_text(OTHER_KEY)
    for file in (key, other):
        # The tests run as root without its capabilities: it has to be its owner's.
        file.chmod(0o600)
    realm = ("--realm", "keyed")
    with announcing(lan.b, "vault", "_vault", *realm, "--key-file", str(key)):
        assert names(found(lan.a, *realm, "--key-file", str(key), "-t", "0.3")) == ["vault"]
        assert found(lan.a, *realm, "--key-file", str(other), "-t", "0.3", status=1) == []
        assert found(lan.a, *realm, "-t", "0.3", status=1) == []
        done = run_bcast(lan.a, "discover", *realm, "-t", "0.3", env={"BCAST_KEY_FILE": str(key)})
        assert "vault" in done.stdout
    with announcing(lan.b, "open", "_vault", *realm):
        # One without a key answers; who has one doesn't believe it, and counts it.
        done = run_bcast(lan.a, "discover", *realm, "--key-file", str(key), "-t", "0.3", status=1)
        assert re.search(r"rejected [1-9]\d* \(\d+ key\)", done.stderr)


def test_a_key_that_all_can_read_is_warned_about(lan: Lan, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(KEY)
    key.chmod(0o644)
    done = run_bcast(lan.a, "discover", "-t", "0", "--key-file", str(key), status=1)
    first = done.stderr.splitlines()[0]
    assert first == f"everybody on this machine can read {key}: chmod 600 {key}"


# --- bad input


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["_Lamp"], "'_Lamp' is not a service type: use 1 to 63 of a-z"),
        (["x" * 64], "is not a service type: use 1 to 63 of a-z"),
        (["--match", "lamp"], "'lamp' is no condition: write KEY=GLOB"),
        (["--expect", "0"], "can't expect 0 devices: use --expect 1 or more, or --gone"),
        (["--expect", "1", "--gone"], "--expect and --gone exclude each other"),
        (["-t", "-1"], "--timeout -1 can't be: use 0 to 86400 seconds"),
        (["-t", "nan"], "--timeout nan can't be"),
        (["-4", "-6"], "-4 and -6 exclude each other"),
        (["--realm", "é" * 128], "the realm has 256 bytes of UTF-8: it must have 1 to 255"),
    ],
)
def test_misuse(lan: Lan, args: list[str], sentence: str) -> None:
    done = run_bcast(lan.a, "discover", *args, status=2)
    assert sentence in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "there is no key file {}: make one with: openssl rand -hex 16 > FILE"),
        ("", "there is no key in {}: make one with: openssl rand -hex 16 > FILE"),
        ("0011", "{}, line 1: the key has 2 bytes: it must have 16 to 64"),
        ("lamp", "{}, line 1: the key is not in hex"),
    ],
)
def test_a_key_file_that_is_none(
    lan: Lan, tmp_path: Path, content: str | None, sentence: str
) -> None:
    key = tmp_path / "key"
    if content is not None:
        key.write_text(content)
        key.chmod(0o600)
    done = run_bcast(lan.a, "discover", "--key-file", str(key), status=3)
    assert sentence.format(key) in done.stderr


def test_nothing_to_search_on(lan: Lan) -> None:
    done = run_bcast(lan.a, "discover", "-i", "eth7", status=3)
    assert "there is no interface eth7" in done.stderr or "eth7" in done.stderr
    with any_lab() as lab:
        done = run_bcast(lab.host("alone"), "discover", status=3)
        assert done.stderr.startswith("bcast: no usable interface: ")


_HOLD = """
import socket, sys
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as four:
        four.bind(("", 28232))
        six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        six.bind(("::", 28232))
        print("held", flush=True)
        sys.stdin.read() or __import__("signal").pause()
"""


@pytest.mark.parametrize(
    "args", [("discover",), ("watch",), ("announce", "lamp", "_lamp", "-p", "80")]
)
def test_the_port_is_taken(args: tuple[str, ...]) -> None:
    with any_lab() as lab:
        lan = two_networks(lab)
        with lan.a.start_python(_HOLD) as holding:
            holding.wait_for("held")
            done = run_bcast(lan.a, *args, status=3)
            assert "port 28232" in done.stderr
            assert done.stdout == ""


# --- what it loads


def test_it_loads_neither_asyncio_nor_what_draws_tables(lan: Lan) -> None:
    done = lan.a.run(
        [sys.executable, "-X", "importtime", "-m", "bcast", "discover", "-t", "0"],
        env=environment(),
        check=False,
        capable=False,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "bcast.cli.driving" in loaded
    assert loaded & {"asyncio", "rich", "json", "psutil", "ifaddr", "bcast.participant"} == set()
