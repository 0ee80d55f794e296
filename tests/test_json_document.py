"""docs/json.md has every name that ``--json`` prints, and no other."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from random import Random
from typing import Any

import pytest
import typer

from bcast.accessory.catalogue import load_named
from bcast.accessory.template import Own
from bcast.cli.devices import device_object, event_object
from bcast.cli.messages import message_object
from bcast.cli.output import interface_object
from bcast.cli.show import JsonFormat
from bcast.device import (
    Added,
    Cause,
    Changed,
    Device,
    DeviceEvent,
    Removed,
    Restarted,
    Sighting,
    Suspect,
)
from bcast.messages import Announcement, Beat, Goodbye, Header, Probe, Query, Reply, Service
from bcast.wire import encode
from tests.command import COMMAND, PATIENCE, environment, free_port
from tests.test_show import ETH1, datagram

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "json.md"

if not DOCUMENT.exists():
    pytest.skip("docs/json.md isn't here", allow_module_level=True)

LAMP = Device(
    "00" * 16, "lamp", "_lamp", 80, {}, (Sighting("eth0", 2, IPv4Address("10.9.1.7"), 4),)
)
HEADER = Header(bytes(16), 1, 2)
MESSAGES = (
    Probe(HEADER, 1),
    Reply(HEADER, 1, 1, 30, services=(Service("lamp", "_lamp"),)),
    Announcement(HEADER, 1, 30),
    Beat(HEADER, 1, 30, 1),
    Goodbye(HEADER, 1, 30, 1),
    Query(HEADER, 1),
)


def tables(section: str) -> list[list[list[str]]]:
    """The rows of cells of each of a section's tables."""
    text = DOCUMENT.read_text(encoding="utf-8")
    found = re.search(rf"^## `{section}`\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    blocks = [
        block.splitlines() for block in found[1].strip().split("\n\n") if block.startswith("| ")
    ]
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:])]
        for lines in blocks
    ]


def rows(section: str) -> list[list[str]]:
    """The rows of a section's first table."""
    return tables(section)[0][1:]


def names(section: str, heading: str = "name") -> set[str]:
    """The names in the table of a section that has this heading."""
    (table,) = [one for one in tables(section) if one[0][0] == heading]
    return {name for row in table[1:] for name in re.findall("`([a-z_]+)`", row[0])}


def told(line: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(line)
    assert event.pop("event")
    return event


def test_an_interface() -> None:
    event = interface_object(ETH1, "present")
    assert event.pop("event") == "interface"
    assert set(event) == names("interface")


def test_a_datagram() -> None:
    form = JsonFormat(explain=True)
    payloads = (b"hi", encode(MESSAGES[1]), b"\xbd\x50", encode_probe("ssdp"))
    lines = [told(form.datagram(datagram(payload))) for payload in payloads]
    assert set().union(*lines) == names("datagram")
    assert set(lines[0]["misfits"]) > {"ssdp probe search", "ssdp reply found"}
    assert lines[3]["protocol"] == "ssdp"
    assert set(lines[3]["message"]) == names("message", "name of a described message")


def encode_probe(protocol: str) -> bytes:
    """A probe of a protocol of the catalogue."""
    description = load_named(protocol)
    [form] = [one for one in description.messages if one.role == "probe"]
    return description.encode(form, {}, own=Own(), random=Random(1), now=0.0)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message(message: Any) -> None:
    shown = message_object(message, True)
    documented = {
        name
        for cells in rows("message")
        if cells[1] == "all" or shown["kind"] in cells[1].split()
        for name in re.findall("`([a-z_]+)`", cells[0])
    }
    assert set(shown) == documented


def test_a_service() -> None:
    (cells,) = [cells for cells in rows("message") if cells[0] == "`services`"]
    (service,) = message_object(MESSAGES[1])["services"]
    assert set(service) == set(re.findall("`([a-z_]+)`", cells[2]))


def test_a_summary() -> None:
    done = subprocess.run(
        [*COMMAND, "listen", "-i", "lo", "-4", "-p", str(free_port()), "-t", "0", "--json"],
        env={**os.environ, **environment()},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    summary = told(done.stdout.splitlines()[-1])
    assert set(summary) == names("summary")
    (cells,) = [cells for cells in rows("summary") if cells[0] == "`interfaces`"]
    assert set(summary["interfaces"]["lo"]) == set(re.findall("`([a-z_]+)`", cells[1]))


# --- devices


def run(*args: str, status: int = 0) -> list[dict[str, Any]]:
    """What a command prints on the loopback interface."""
    done = subprocess.run(
        [*COMMAND, *args, "-i", "lo", "-4", "--realm", f"json-{os.getpid()}", "--json"],
        env={**os.environ, **environment()},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == status, done.stderr
    found: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    return found


def test_a_device() -> None:
    event = device_object("found", LAMP)
    assert event.pop("event") == "found"
    assert set(event) == names("found")
    assert set(event["sightings"][0]) == names("sightings")


@pytest.mark.kernel("a lab")
def test_a_host_of_a_lab() -> None:
    done = subprocess.run(
        [*COMMAND, "lab", "--hosts", "1", "--json", "--", "true"],
        env={**os.environ, **environment()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    host = told(done.stdout)
    assert set(host) == names("host")
    (cells,) = [cells for cells in rows("host") if cells[0] == "`links`"]
    assert set(host["links"][0]) == set(re.findall("`([a-z_]+)`", cells[1]))


def test_what_happens_to_a_device() -> None:
    happened: tuple[DeviceEvent, ...] = (
        Added(LAMP), Changed(LAMP, ("port",)), Suspect(LAMP), Restarted(LAMP),
        Removed(LAMP, Cause.PATH),
    )  # fmt: skip
    own = {"changed": {"changed"}, "removed": {"cause"}}
    for one in happened:
        event = event_object(one, 0)
        name = event.pop("event")
        assert set(event) == names("added") - {"changed", "cause"} | own.get(name, set())


def test_a_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from bcast.cli.diff import diff

    other = replace(LAMP, port=81)
    for name, device in (("a", LAMP), ("b", other)):
        (tmp_path / name).write_text(json.dumps(device_object("found", device)))
    with pytest.raises(typer.Exit):
        diff(str(tmp_path / "a"), str(tmp_path / "b"), as_json=True)
    changed, summary = map(told, capsys.readouterr().out.splitlines())
    assert set(changed) - names("found") == names("added", "name of a difference")
    assert set(summary) == names("summary", "name of a comparison")


def test_the_summary_of_a_search() -> None:
    search = names("summary", "name of a search")
    happened = {"added", "changed", "suspect", "restarted", "removed"}
    *_, summary = run("discover", "-t", "0", status=1)
    assert set(summary) - {"event"} == search - happened
    *_, summary = run("watch", "-t", "0")
    assert set(summary) - {"event"} == search - {"not_matching"}


def test_an_accessory() -> None:
    done = subprocess.run(
        [*COMMAND, "impersonate", "wiz", "-i", "lo", "-t", "0", "--json"],
        env={**os.environ, **environment()},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    *_, played, summary = map(json.loads, done.stdout.splitlines())
    assert set(played) - {"event"} == names(played["event"])
    assert set(summary) - {"event"} == names("summary", "name of a part")


def printed(*args: str, status: int = 0) -> list[dict[str, Any]]:
    """What a command that needs no network prints."""
    done = subprocess.run(
        [*COMMAND, *args, "--json"],
        env={**os.environ, **environment()},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_route() -> None:
    routes = [e for e in printed("interfaces", "--explain") if e.pop("event") == "route"]
    assert {frozenset(one) for one in routes} == {frozenset(names("route"))}


def test_a_protocol(tmp_path: Path) -> None:
    told = printed("protocols")
    assert [one["name"] for one in told if one["file"] is None] == ["bcast", "mdns"]
    (cells,) = [cells for cells in rows("protocol") if cells[0] == "`messages`"]
    parts = set(re.findall("`([a-z]+)`", cells[1]))
    for one in told:
        assert one.pop("event") == "protocol"
        assert set(one) == names("protocol")
        assert {frozenset(message) for message in one["messages"]} <= {frozenset(parts)}
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("name = 3")
    right, mistaken = printed("protocols", "--check", "wiz", str(wrong), status=1)
    documented = names("protocol", "name of a check")
    assert set(right) - {"event"} == documented
    assert set(mistaken) - {"event"} == documented - {"samples", "needs"}
    (cells,) = [c for c in tables("protocol")[1] if c[0] == "`mistakes`"]
    assert set(mistaken["mistakes"][0]) == set(re.findall("`([a-z]+)`", cells[1]))


def test_an_announcement() -> None:
    told = run("announce", "lamp", "_lamp", "-p", "80", "-t", "0")
    (announced,) = [event for event in told if event["event"] == "announced"]
    assert set(announced) - {"event"} == names("announced")
    assert set(told[-1]) - {"event"} == names("summary", "name of a peer")
