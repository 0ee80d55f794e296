"""``bcast watch``: what happens to devices, as it happens."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bcast.lab import Running
from tests.announcing import announcing
from tests.command import (
    COMMAND,
    Lan,
    any_lab,
    environment,
    events,
    eventually,
    run_bcast,
    start_bcast,
    two_networks,
)

if sys.platform != "linux":
    pytest.skip("needs network namespaces", allow_module_level=True)

pytestmark = pytest.mark.kernel("hosts with two interfaces")


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    with any_lab() as lab:
        yield two_networks(lab)


def told(watching: Running, event: str) -> list[dict[str, Any]]:
    return [one for one in events(watching.output()) if one["event"] == event]


def test_devices_come_and_go(lan: Lan) -> None:
    realm = ("--realm", "go")
    with start_bcast(lan.a, "watch", *realm, until="watching") as watching:
        with announcing(lan.b, "lamp-1", "_lamp", *realm):
            line = watching.wait_for("added", timeout=20)
            assert re.fullmatch(
                r"\d\d:\d\d:\d\d\.\d{3}  added +lamp-1  _lamp  10\.9\.1\.2:80( \+\d)?  eth0"
                r"  (\d+\.\d ms|-)  bcast",
                line,
            )
        line = watching.wait_for("removed", timeout=20)
        assert line.endswith("(goodbye)")
        assert watching.interrupt() == 0
        first, skipped, summary = watching.errors().splitlines()
        assert first == "watching on eth0, eth1; Ctrl-C ends"
        assert skipped == "skipped lo: loopback"
        assert re.match(r"0 there now \(1 added, (\d changed, )?1 removed\); \d+ probes", summary)


def test_objects(lan: Lan) -> None:
    realm = ("--realm", "objects")
    with start_bcast(lan.a, "watch", *realm, "-4", "--json", until="watching") as watching:
        with announcing(lan.b, "lamp-1", "_lamp", *realm, "-a", "fw=1.4"):
            (added,) = eventually(lambda: told(watching, "added"))
        (removed,) = eventually(lambda: told(watching, "removed"))
        assert watching.interrupt() == 0
        assert list(added)[:2] == ["event", "time"]
        assert (added["name"], added["attributes"]) == ("lamp-1", {"fw": "1.4"})
        assert added["sightings"][0]["interface"] == "eth0"
        assert (removed["id"], removed["cause"]) == (added["id"], "goodbye")
        summary = events(watching.output())[-1]
        assert (summary["event"], summary["found"]) == ("summary", 0)
        assert (summary["added"], summary["removed"], summary["suspect"]) == (1, 1, 0)


def test_one_that_starts_again_or_falls_silent(lan: Lan, tmp_path: Path) -> None:
    lamp = ["announce", "lamp", "_lamp", "-p", "80", "--realm", "again", "--interval", "1"]
    lamp += ["--stable-id", str(tmp_path / "lamp.id")]
    with start_bcast(lan.a, "watch", "--realm", "again", "--json", until="watching") as watching:
        for wanted in ("added", "restarted"):
            with start_bcast(lan.b, *lamp, until="announcing") as running:
                watching.wait_for(f'"event":"{wanted}"', timeout=20)
                # It can't say goodbye.
                running.kill()
        (restarted,) = told(watching, "restarted")
        (added,) = told(watching, "added")
        assert restarted["id"] == added["id"]
        (suspect,) = eventually(lambda: told(watching, "suspect"))
        (removed,) = eventually(lambda: told(watching, "removed"), timeout=40)
        assert suspect["id"] == removed["id"] == added["id"]
        assert removed["cause"] == "silence"
        assert watching.terminate() == 0


def test_an_interface_that_goes_takes_its_devices_along() -> None:
    with any_lab() as lab:
        lan = two_networks(lab)
        with start_bcast(lan.a, "watch", "--json", until="watching") as watching:
            with announcing(lan.b, "lamp", "_lamp"):
                eventually(lambda: told(watching, "added"))
                lan.a.setup("ip link set eth0 down")
                (removed,) = eventually(lambda: told(watching, "removed"))
                assert removed["cause"] == "path"
                changes = [e["change"] for e in told(watching, "interface")]
                assert changes == ["present", "present", "changed"]
                lan.a.setup("ip link set eth0 up")
                eventually(lambda: len(told(watching, "added")) == 2)
            assert watching.interrupt() == 0


def test_only_types_that_are_asked_for(lan: Lan) -> None:
    realm = ("--realm", "types")
    with announcing(lan.b, "lamp", "_lamp", *realm), announcing(lan.c, "plug", "_plug", *realm):
        done = run_bcast(lan.a, "watch", "_plug", *realm, "--json", "-t", "0.5")
        added = [one["name"] for one in events(done.stdout) if one["event"] == "added"]
        assert added == ["plug"]


def test_whoever_reads_it_has_had_enough(lan: Lan) -> None:
    running = lan.a.start(
        # Two interfaces and a skipped one: then nothing happens.
        ["sh", "-c", '"$@" | head -n 3', "sh", *COMMAND, "watch", "--json", "--realm", "calm"],
        env=environment(),
        capable=False,
    )
    assert running.wait(timeout=20) == 0
    assert "Traceback" not in running.errors()


@pytest.mark.parametrize(
    ("args", "status", "sentence"),
    [
        (["Lamp"], 2, "'Lamp' is not a service type"),
        (["-t", "-1"], 2, "--timeout -1 can't be"),
        (["-i", "eth7"], 3, "eth7"),
        (["--key-file", "/nowhere/key"], 3, "/nowhere/key"),
    ],
)
def test_what_can_not_be(lan: Lan, args: list[str], status: int, sentence: str) -> None:
    done = run_bcast(lan.a, "watch", *args, status=status)
    assert sentence in done.stderr
    assert done.stdout == ""
