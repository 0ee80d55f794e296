"""docs/json.md has every name that ``--json`` prints, and no other."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bcast.cli.messages import message_object
from bcast.cli.output import interface_object
from bcast.cli.show import JsonFormat
from bcast.messages import Announcement, Beat, Goodbye, Header, Probe, Query, Reply, Service
from bcast.wire import encode
from tests.command import COMMAND, PATIENCE, environment, free_port
from tests.test_show import ETH1, datagram

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "json.md"

if not DOCUMENT.exists():
    pytest.skip("docs/json.md isn't here", allow_module_level=True)

HEADER = Header(bytes(16), 1, 2)
MESSAGES = (
    Probe(HEADER, 1),
    Reply(HEADER, 1, 1, 30, services=(Service("lamp", "_lamp"),)),
    Announcement(HEADER, 1, 30),
    Beat(HEADER, 1, 30, 1),
    Goodbye(HEADER, 1, 30, 1),
    Query(HEADER, 1),
)


def rows(section: str) -> list[list[str]]:
    """The cells of a section's table."""
    text = DOCUMENT.read_text(encoding="utf-8")
    found = re.search(rf"^## `{section}`\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    lines = [line for line in found[1].splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names(section: str) -> set[str]:
    return {name for row in rows(section) for name in re.findall("`([a-z_]+)`", row[0])}


def told(line: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(line)
    assert event.pop("event")
    return event


def test_an_interface() -> None:
    event = interface_object(ETH1, "present")
    assert event.pop("event") == "interface"
    assert set(event) == names("interface")


def test_a_datagram() -> None:
    form = JsonFormat()
    payloads = (b"hi", encode(MESSAGES[1]), b"\xbd\x50")
    lines = [told(form.datagram(datagram(payload))) for payload in payloads]
    assert set().union(*lines) == names("datagram")


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
