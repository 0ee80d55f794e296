"""How a message of bcast's own protocol looks: words for people, an object for programs.

Loaded when the first datagram comes that begins like one. What a peer says in it is quoted, so
that it looks like nothing else; `bcast.cli.show` escapes what a terminal would obey. docs/json.md
has the names in the objects.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from bcast.errors import DecodeError
from bcast.messages import (
    Announcement,
    Beat,
    Goodbye,
    Message,
    Probe,
    Query,
    Reply,
    Service,
)
from bcast.wire import decode
from bcast.wire.keys import Keyring, is_authentic

__all__ = ["MessageReader", "describe", "message_object", "quoted"]

_KINDS: dict[type[Message], str] = {
    Probe: "probe",
    Reply: "reply",
    Announcement: "announcement",
    Beat: "beat",
    Goodbye: "goodbye",
    Query: "query",
}

# A text that can't be taken for two, or for anything else on its line.
_PLAIN = re.compile(r"[\w.:/@%+,-]+")


class MessageReader:
    """Reads messages for a command, and counts what isn't one.

    With a ``keyring`` it says of each message whether its tag is right.
    """

    def __init__(self, keyring: Keyring | None = None) -> None:
        #: Datagrams that are no messages, by reason.
        self.rejected: dict[str, int] = {}
        self._keyring = keyring

    def count(self, payload: bytes) -> None:
        """Only notes whether a payload is a message."""
        self._read(payload)

    def text(self, payload: bytes) -> tuple[bool, list[str]]:
        """Whether a payload is a message; and lines that say it, or one that says why not."""
        read = self._read(payload)
        if isinstance(read, DecodeError):
            return False, [f"rejected ({read.reason}): {read.message}"]
        return True, describe(read, self._judge(payload))

    def members(self, payload: bytes) -> str:
        """What an object gets more for a payload that is a message, or isn't: JSON."""
        read = self._read(payload)
        if isinstance(read, DecodeError):
            return f',"rejected":{json.dumps(read.reason)}'
        told = json.dumps(message_object(read, self._judge(payload)), separators=(",", ":"))
        return f',"protocol":"bcast","message":{told}'

    def _read(self, payload: bytes) -> Message | DecodeError:
        try:
            return decode(payload)
        except DecodeError as error:
            self.rejected[error.reason] = self.rejected.get(error.reason, 0) + 1
            return error

    def _judge(self, payload: bytes) -> bool | None:
        return None if self._keyring is None else is_authentic(payload, self._keyring)


def describe(message: Message, authentic: bool | None = None) -> list[str]:
    """Lines about a message: one for the message itself, then one for each service.

    They aren't fit for a terminal yet. ``authentic`` says whether the tag is right, None that
    nobody knows.
    """
    lines = ["  ".join([_KINDS[type(message)], *_header(message), *_body(message)])]
    trust = _trust(message.header.key_id, authentic)
    if trust:
        lines[0] += f"  {trust}"
    if isinstance(message, Reply | Announcement):
        lines += map(_service, message.services)
    return lines


def _header(message: Message) -> Iterator[str]:
    header = message.header
    yield f"id {header.id[:4].hex()}"
    yield f"epoch {header.epoch:08x}"
    yield f"sequence {header.sequence}"
    if header.realm:
        yield f"realm {header.realm:04x}"


def _body(message: Message) -> Iterator[str]:
    if isinstance(message, Probe | Reply | Query):
        yield f"nonce {message.nonce:016x}"
    if isinstance(message, Probe):
        yield f"round {message.round}"
        yield f"elapsed {message.elapsed} ms"
        if message.window:
            yield f"window {message.window} ms"
        if (message.low, message.high) != (0, 65_536):
            yield f"slots {message.low} to {message.high - 1}"
        if message.types:
            yield f"types {','.join(f'{one:08x}' for one in message.types)}"
        if message.filter:
            yield f"filter {len(message.filter)} bytes, {message.filter_hashes} hashes"
    elif isinstance(message, Query):
        yield f"known {message.known}"
        yield f"part {message.part}"
        yield f"reason {message.reason}"
    else:
        yield f"version {message.version}"
        yield f"interval {message.interval} s"
        if isinstance(message, Beat | Goodbye):
            yield f"services {message.offered}"
        elif message.parts > 1:
            yield f"part {message.part} of {message.parts}"
    if message.header.more:
        yield "more parts"


def _trust(key_id: int, authentic: bool | None) -> str:
    if authentic is None:
        return f"tagged (key {key_id})" if key_id else ""
    if not key_id:
        return "not tagged"
    return f"{'authentic' if authentic else 'not authentic'} (key {key_id})"


def _service(service: Service) -> str:
    pairs = (f"{quoted(key)}={quoted(value)}" for key, value in service.attributes.items())
    port = [f"port {service.port}"] if service.port else []
    return "  ".join([quoted(service.name), service.type, *port, *pairs])


def quoted(text: str) -> str:
    """The text so that it can't be taken for two, or for anything else on its line."""
    if _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def message_object(message: Message, authentic: bool | None = None) -> dict[str, Any]:
    """The object ``message`` of a datagram. Random bits and hashes are in hex, times in seconds.

    ``authentic`` is left out where nobody knows.
    """
    header = message.header
    told: dict[str, Any] = {
        "kind": _KINDS[type(message)],
        "id": header.id.hex(),
        "epoch": f"{header.epoch:08x}",
        "sequence": header.sequence,
        "realm": f"{header.realm:04x}" if header.realm else None,
        "more": header.more,
        "tagged": header.key_id != 0,
        "key_id": header.key_id or None,
    }
    if authentic is not None:
        told["authentic"] = authentic
    if isinstance(message, Probe | Reply | Query):
        told["nonce"] = f"{message.nonce:016x}"
    if isinstance(message, Probe):
        told |= {
            "elapsed": message.elapsed / 1000,
            "window": message.window / 1000,
            "low": message.low,
            "high": message.high,
            "round": message.round,
            "types": [f"{one:08x}" for one in message.types],
            "filter_size": len(message.filter),
            "filter_hashes": message.filter_hashes,
        }
    elif isinstance(message, Query):
        told |= {
            "known": message.known,
            "part": message.part,
            "reason": message.reason,
            "padding": message.padding,
        }
    else:
        told |= {"version": message.version, "interval": message.interval}
        if isinstance(message, Beat | Goodbye):
            told["offered"] = message.offered
        else:
            told |= {
                "part": message.part,
                "parts": message.parts,
                "services": [
                    {
                        "name": service.name,
                        "type": service.type,
                        "port": service.port,
                        "attributes": dict(service.attributes),
                    }
                    for service in message.services
                ],
            }
    return told
