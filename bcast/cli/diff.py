"""``bcast diff``."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, BinaryIO

import typer

from bcast.cli.options import Json, Quiet, Verbose
from bcast.cli.output import Output
from bcast.errors import ArgumentError, BcastError

__all__ = ["app"]

app = typer.Typer(add_completion=False)

#: A ``found`` object, as `discover` printed it.
_Found = dict[str, Any]

# Bytes of a line: a device has a kilobyte of attributes and a few sightings. Whatever is longer
# is no line of ours, and may be without an end.
_LONGEST = 1 << 20

# What of a device is compared. Addresses, latencies and times differ from one search to the next.
_FIELDS = ("name", "type", "port", "attributes", "interfaces")

_KINDS = {"id": str, "name": str, "type": str, "port": int, "attributes": dict, "sightings": list}


@app.command(
    epilog="Examples:"
    "\n\nbcast discover --json > before; bcast discover --json > after"
    "\n\nbcast diff before after"
    "\n\nbcast discover --json | bcast diff before - --json"
)
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="Output of discover --json; - for stdin.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one, that was taken later.")],
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Compare two outputs of discover --json: devices added, removed and changed.

    Ends with 0 if there is no difference, 1 if there is, 3 if one of them can't be read.
    """
    if a == b == "-":
        raise ArgumentError("only one of them can be -", "name a file for the other")
    output = Output(as_json=as_json, quiet=quiet, verbose=verbose)
    before, after = _read(a), _read(b)
    counts = {"added": 0, "removed": 0, "changed": 0, "same": 0}
    for id in sorted({*before, *after}, key=lambda id: _order(after.get(id) or before[id])):
        old, new = before.get(id), after.get(id)
        if old is None or new is None:
            event, device = ("added", new) if old is None else ("removed", old)
            assert device is not None
            output.result(_line(event, device), {**device, "event": event})
        elif changed := [name for name in _FIELDS if _of(old, name) != _of(new, name)]:
            event = "changed"
            told = {name: _of(old, name) for name in changed}
            line = f"{_line(event, new)}  {'; '.join(_said(old, new, name) for name in changed)}"
            output.result(line, {**new, "event": event, "changed": changed, "before": told})
        else:
            event = "same"
        counts[event] += 1
    text = ", ".join(f"{number} {name}" for name, number in counts.items())
    output.event(text, {"event": "summary", **counts})
    if counts["same"] < sum(counts.values()):
        raise typer.Exit(1)


# --- reading


def _read(name: str) -> dict[str, _Found]:
    """The devices of an output of ``discover --json``, by id. Raises `BcastError`."""
    where = "standard input" if name == "-" else name
    devices: dict[str, _Found] = {}
    complete = False
    with _opened(name, where) as file:
        number = 0
        while line := file.readline(_LONGEST + 1):
            number += 1
            if not line.strip():
                continue
            try:
                if len(line) > _LONGEST:
                    raise ValueError("it is longer than a megabyte")
                event = _parsed(line)
                if event["event"] == "found":
                    _check(event)
                    if event["id"] in devices:
                        raise ValueError(f"device {event['id']} is there a second time")
                    devices[event["id"]] = event
            except ValueError as error:
                raise BcastError(
                    f"{where}, line {number}: {error}", "give what discover --json printed"
                ) from None
            complete = complete or (event["event"] == "summary" and "found" in event)
    if not devices and not complete:
        raise BcastError(
            f"{where} is no output of discover --json: it has neither devices nor a summary",
            "make one with bcast discover --json",
        )
    return devices


@contextmanager
def _opened(name: str, where: str) -> Iterator[BinaryIO]:
    try:
        if name == "-":
            yield sys.stdin.buffer
        else:
            with open(name, "rb") as file:
                yield file
    except OSError as error:
        raise BcastError(
            f"{where} can't be read: {error.strerror}", "give what discover --json printed"
        ) from None


def _parsed(line: bytes) -> _Found:
    """The object of a line, with its event. Raises ValueError."""
    try:
        event = json.loads(line.decode().strip())
    except UnicodeDecodeError:
        raise ValueError("it isn't UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON ({error.msg}, column {error.colno})") from None
    except (ValueError, RecursionError):  # a number of many digits, or brackets in brackets
        raise ValueError("it is no JSON that discover would print") from None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        raise ValueError("it is no object with an event")
    return event


def _check(found: _Found) -> None:
    """Raises ValueError unless all is there that is compared."""
    for name, kind in _KINDS.items():
        if name not in found:
            raise ValueError(f"the device has no {name}")
        if type(found[name]) is not kind:
            raise ValueError(f"the device's {name} is {json.dumps(found[name])[:40]}")
    if not all(isinstance(value, str) for value in found["attributes"].values()):
        raise ValueError("an attribute of the device is no text")
    for one in found["sightings"]:
        if not isinstance(one, dict) or not isinstance(one.get("interface"), str):
            raise ValueError("a sighting of the device has no interface")


# --- comparing and telling


def _order(device: _Found) -> tuple[str, str, str]:
    return device["type"], device["name"], device["id"]


def _of(device: _Found, name: str) -> Any:
    """A field that is compared."""
    if name == "interfaces":
        return sorted({one["interface"] for one in device["sightings"]})
    return device[name]


def _line(event: str, device: _Found) -> str:
    interfaces = ",".join(_of(device, "interfaces")) or "-"
    port = str(device["port"]) if device["port"] else "-"
    told = (f"{event:<7}", device["name"], device["type"], port, interfaces, device["id"])
    return "  ".join(told)


def _said(old: _Found, new: _Found, name: str) -> str:
    """What a field was and is."""
    was, is_ = _of(old, name), _of(new, name)
    if name == "attributes":
        return ", ".join(_attributes(was, is_))
    if name == "interfaces":
        was, is_ = ",".join(was) or "none", ",".join(is_) or "none"
    return f"{name} {was} > {is_}"


def _attributes(was: Mapping[str, str], is_: Mapping[str, str]) -> Iterator[str]:
    for key in sorted({*was, *is_}):
        if key not in is_:
            yield f"without {key}"
        elif key not in was:
            yield f"with {key}={is_[key]}"
        elif was[key] != is_[key]:
            yield f"{key} {was[key]} > {is_[key]}"
