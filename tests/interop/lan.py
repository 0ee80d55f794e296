"""One program of somebody else's and one bcast on a LAN of their own."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bcast.datagram import Family
from bcast.lab import Host, Lab, LabError, Link, Running, Segment
from tests.command import COMMAND, PATIENCE, Wire, any_lab, environment, start_bcast
from tests.interop.cases import ALL, Case, Client, Listener, Responder

__all__ = ["Outcome", "fits", "run"]

_HERE = Path(__file__).parent
#: Seconds that a program may take beyond its own search: it starts on a busy machine.
_STARTING = 20.0


class Outcome(NamedTuple):
    """What came of a case: whether it went as it should, in which time, and if not, why."""

    case: Case
    ok: bool
    seconds: float
    why: str


class _Lan(NamedTuple):
    searcher: Host
    accessory: Host
    #: What may stand in braces in a case's texts.
    names: Mapping[str, str]

    def fill(self, value: Any) -> Any:
        if isinstance(value, str):
            return value.format_map(self.names)
        if isinstance(value, Mapping):
            return {key: self.fill(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.fill(each) for each in value]
        return value


def run(case: Case, *, wire: bool = False) -> Outcome:
    """Runs a case; with ``wire``, a failure tells which datagrams arrived on either side."""
    began = time.monotonic()
    try:
        with _lan(case) as lan:
            wires = [Wire(lan.searcher), Wire(lan.accessory)] if wire else []
            why = _try(case, lan)
            if why and wires:
                why = "\n".join([why, *_told(wires)])
    except LabError as error:
        why = str(error)
    return Outcome(case, not why, time.monotonic() - began, why)


def fits(expected: Any, told: Any) -> bool:
    """Whether all that is expected was told, maybe among more."""
    if isinstance(expected, Mapping):
        return isinstance(told, Mapping) and all(
            key in told and fits(value, told[key]) for key, value in expected.items()
        )
    if isinstance(expected, list):
        return isinstance(told, list) and all(
            any(fits(each, one) for one in told) for each in expected
        )
    return bool(expected == told)


def _try(case: Case, lan: _Lan) -> str:
    if isinstance(case, Client):
        return _is_found_by(case, lan)
    if isinstance(case, Listener):
        return _is_heard_by(case, lan)
    return _finds(case, lan)


def _is_found_by(case: Client, lan: _Lan) -> str:
    """Why a client doesn't find what bcast impersonates; empty if it does."""
    impersonator = _impersonate(case, lan)
    done = lan.searcher.run(
        _script("clients", case.script, lan.fill([f"{case.seconds:g}", *case.arguments])),
        env={"HOME": lan.names["folder"], "PYTHONUNBUFFERED": "1"},
        timeout=case.seconds + _STARTING,
        check=False,
    )
    found = _objects(done.stdout)
    expected = lan.fill(case.expected)
    if any(fits(expected, each) for each in found):
        return ""
    return _because(expected, found, done.stderr, impersonator)


def _is_heard_by(case: Listener, lan: _Lan) -> str:
    """Why a listener doesn't hear what bcast impersonates come and go; empty if it does."""
    listener = lan.searcher.start(
        _script("listeners", case.script, []),
        env={"HOME": lan.names["folder"], "PYTHONUNBUFFERED": "1"},
    )
    listener.wait_for("ready", timeout=_STARTING)
    impersonator = _impersonate(case, lan)
    try:
        listener.wait_for(f"here {case.id}", timeout=PATIENCE)
        status = impersonator.terminate(timeout=PATIENCE)
        listener.wait_for(f"gone {case.id}", timeout=PATIENCE)
    except LabError as error:
        return _because(case.id, [str(error)], listener.errors(), impersonator)
    return f"bcast impersonate ended with {status}" if status else ""


def _impersonate(case: Client | Listener, lan: _Lan) -> Running:
    settings = [f"--set={key}={value}" for key, value in lan.fill(case.settings).items()]
    command = ("impersonate", case.protocol, *settings)
    return start_bcast(lan.accessory, *command, until="impersonating")


def _finds(case: Responder, lan: _Lan) -> str:
    """Why bcast doesn't find a responder; empty if it does."""
    responder = lan.accessory.start(
        _script("responders", case.script, lan.fill(case.arguments)),
        env={"HOME": lan.names["folder"], "PYTHONUNBUFFERED": "1"},
    )
    ready = responder.wait_for("ready", timeout=_STARTING).split()
    expected = lan.fill(case.expected)
    if len(ready) > 1:  # an id that it chose itself
        expected["id"] = ready[1]
    sighting = {"address": lan.names["address"], "interface": "eth0"}
    search = ["discover", "--json", "--timeout", f"{case.seconds:g}"]
    if case.protocol != ALL:
        sighting["protocol"] = case.protocol
        search += ["--protocol", case.protocol]
    expected["sightings"] = [sighting]
    done = lan.searcher.run(
        [*COMMAND, *search],
        env=environment(),
        timeout=case.seconds + _STARTING,
        check=False,
    )
    found = [each for each in _objects(done.stdout) if each.get("event") == "found"]
    right = [each for each in found if fits(expected, each)]
    if any(each["probes_answered"] or not case.asked for each in right):
        return ""
    if right:
        expected["probes_answered"] = 1
    return _because(expected, found, done.stderr, responder)


@contextmanager
def _lan(case: Case) -> Iterator[_Lan]:
    with any_lab() as lab, tempfile.TemporaryDirectory(prefix="bcast-interop-") as folder:
        segment = lab.segment(snooping=True)
        searcher, searching = _host(lab, "searcher", segment)
        accessory, answering = _host(lab, "accessory", segment)
        names = {
            "folder": folder,
            "searcher": _with_prefix(searching),
            "interface": _with_prefix(answering),
            "address": str(answering.address()),
            "mac": answering.hardware_address,
        }
        lan = _Lan(searcher, accessory, names)
        for name, text in case.files.items():
            Path(folder, name).write_text(lan.fill(text))
        yield lan


def _host(lab: Lab, name: str, segment: Segment) -> tuple[Host, Link]:
    """A host that sends by eth0 what it doesn't know the way for: most programs bind nothing."""
    host = lab.host(name)
    link = host.connect(segment)
    host.default_route("eth0")
    return host, link


def _with_prefix(link: Link) -> str:
    address = link.interface.addresses_of(Family.IPV4)[0]
    return f"{address.address}/{address.prefix_length}"


def _script(folder: str, name: str, arguments: list[str]) -> list[str]:
    # -P: scripts are named after what they run, and would be imported in its place.
    return [sys.executable, "-P", str(_HERE / folder / f"{name}.py"), *arguments]


def _objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects among the lines that a program wrote."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def _because(expected: Any, found: list[Any], errors: str, other: Running) -> str:
    return "\n".join(
        [
            f"expected: {json.dumps(expected)}",
            *(f"found:    {json.dumps(each)}" for each in found or ["nothing"]),
            *(f"searcher: {line}" for line in errors.splitlines()[-12:]),
            *(
                f"other:    {line}"
                for line in (other.errors() + other.output()).splitlines()[-12:]
            ),
        ]
    )


def _told(wires: list[Wire]) -> list[str]:
    return [
        f"to {name}: {one.source}:{one.source_port} > {one.destination}:{one.port}"
        f" ttl {one.ttl} {one.payload.hex()}"
        for name, wire in zip(("searcher", "accessory"), wires, strict=True)
        for one in wire.seen()[:40]
    ]
