"""A first description of a protocol, from datagrams that were captured: a person goes on from it.

Each kind of datagram becomes a message: what is the same in all stays, what differs becomes a
hole, and so does each leaf of JSON and each header; random ids that a reply repeats, addresses,
lengths and texts are recognised. What it all means isn't in a capture: name the holes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bcast.accessory.conversation import Conversation, Heard, Spoken, conversation
from bcast.accessory.description import Decoded, Description
from bcast.accessory.forms import Role
from bcast.accessory.loading import load
from bcast.accessory.mistakes import DescriptionError
from bcast.accessory.sketched_bytes import alike, bytes_shape, sketch_bytes
from bcast.accessory.sketched_text import (
    headers_shape,
    json_leaves,
    json_shape,
    parse_json,
    sketch_headers,
    sketch_json,
    sketch_text,
    text_shape,
)
from bcast.accessory.sketched_xml import parse_xml, sketch_xml, xml_shape
from bcast.accessory.sketches import Echo, Names, Sketch
from bcast.accessory.template import Value
from bcast.errors import ArgumentError

__all__ = ["draft"]

# What is drafted of one capture: more kinds are several protocols, or noise.
_MAX_KINDS = 24

# Samples of each message.
_SAMPLES = 2

# Seconds: what comes closer together is said once.
_BURST = 0.5

# Ports below this were chosen by somebody; those above are any that was free.
_EPHEMERAL = 32_768


class _Kind(NamedTuple):
    role: Role
    shape: object
    spoken: list[Spoken]


class _Message(NamedTuple):
    kind: _Kind
    name: str
    sketch: Sketch


def draft(heard: Iterable[Heard], *, name: str) -> str:
    """The TOML text of a description. Raises `ArgumentError` if there is nothing to describe."""
    talk = conversation(heard)
    if not talk.spoken:
        raise ArgumentError(
            "there is no datagram to start from",
            "capture while somebody searches: what goes to all, and what is answered",
        )
    kinds = _kinds(talk.spoken)
    prefixes: dict[str, str] = {}
    messages = _messages(kinds[:_MAX_KINDS], prefixes)
    lines = _file(talk, messages, prefixes, name)
    if len(kinds) > _MAX_KINDS:
        lines.append(f"# {len(kinds) - _MAX_KINDS} more kinds of datagrams: several protocols?\n")
    return "\n".join(lines)


def _kinds(spoken: Sequence[Spoken]) -> list[_Kind]:
    found: list[_Kind] = []
    for one in spoken:
        payload = one.heard.payload
        shape = _shape(payload)
        for kind in found:
            if (kind.role, kind.shape) == (one.role, (shape, one.follows)) and (
                shape[0] != "bytes" or alike(kind.spoken[0].heard.payload, payload)
            ):
                kind.spoken.append(one)
                break
        else:
            found.append(_Kind(one.role, (shape, one.follows), [one]))
    # Probes first: replies may repeat what is in them.
    order = {"probe": 0, "reply": 1, "announcement": 2, "goodbye": 3}
    return sorted(found, key=lambda kind: order[kind.role])


def _shape(payload: bytes) -> tuple[str, object]:
    parsed = parse_json(payload)
    if parsed is not None:
        return "json", (json_shape(parsed), _method(parsed))
    if headers := headers_shape(payload):
        return "headers", headers
    if (root := parse_xml(payload)) is not None:
        return "xml", xml_shape(root)
    if (text := text_shape(payload)) is not None:
        # Without anything between its words a text is a command.
        return "text", (text, b"" if "".join(text[1::2]).strip() else payload)
    return bytes_shape(payload)


def _method(parsed: object) -> object:
    """What says which kind of message this is, where JSON has the usual word for it."""
    if isinstance(parsed, dict):
        return next((parsed[key] for key in ("method", "cmd", "command") if key in parsed), None)
    return None


def _messages(kinds: Sequence[_Kind], prefixes: dict[str, str]) -> list[_Message]:
    messages: list[_Message] = []
    taken: set[str] = set()
    lists: dict[str, bool] = {}
    for kind in kinds:
        name, number = str(kind.role), 1
        while name in taken:
            number += 1
            name = f"{kind.role}_{number}"
        taken.add(name)
        probes = [m for m in messages if m.kind.role == "probe" and _answers(kind, m.kind)]
        echoes: dict[str, Echo] = {k: v for m in probes for k, v in m.sketch.echoes.items()}
        messages.append(
            _Message(
                kind,
                name,
                _sketch(kind, name, echoes, Names(lists, internal=kind.role == "probe"), prefixes),
            )
        )
    return messages


def _answers(reply: _Kind, probe: _Kind) -> bool:
    probes = {one.heard.payload for one in probe.spoken}
    return any(one.probe and one.probe.payload in probes for one in reply.spoken)


def _sketch(
    kind: _Kind, name: str, echoes: dict[str, Echo], names: Names, prefixes: dict[str, str]
) -> Sketch:
    # One example of each: repetitions tell nothing, and would hide what an echo is.
    unlike = {(one.heard.payload, one.probe and one.probe.payload): one for one in kind.spoken}
    spoken = list(unlike.values())
    payloads = [one.heard.payload for one in spoken]
    asked: dict[str, object] = {}
    for one in spoken:
        if one.probe:
            asked.update(json_leaves(parse_json(one.probe.payload)))
    match _shape(payloads[0])[0]:
        case "json":
            return sketch_json(payloads, spoken, names, echoes, asked)
        case "headers":
            return sketch_headers(payloads, spoken, names, echoes)
        case "xml":
            return sketch_xml(payloads, spoken, names, echoes, prefixes)
        case "text":
            return sketch_text(payloads, spoken, names, echoes)
    return sketch_bytes(payloads, spoken, names, echoes, asked, f"{name}_body")


# --- the file


def _file(
    talk: Conversation, messages: Sequence[_Message], prefixes: dict[str, str], name: str
) -> list[str]:
    lines = [
        "# A draft: name holes and messages, decide what is constant, throw away the rest.",
        f'name = "{name}"',
        f'title = "{name}"',
        f"port = {talk.port or 9}"
        + ("" if talk.port else "   # not known from this: write it here"),
    ]
    if talk.group:
        lines.append(f'group = "{talk.group}"')
    if talk.passed:
        lines.append(f"# {talk.passed} datagrams of other conversations were passed over.")
    if prefixes:
        lines += ["", "[namespaces]", *(f'{key} = "{uri}"' for uri, key in prefixes.items())]
    for message in messages:
        lines += ["", *_table(message, messages, talk.port)]
    for message in messages:
        for part, key, text in message.sketch.parts:
            lines += ["", "[[part]]", f'name = "{part}"', _text(key, text)]
    try:
        described = load("\n".join(lines), file=name)
    except DescriptionError as error:
        # Two kinds of datagrams that nothing constant tells apart: a person has to.
        described = None
        lines += ["", *(f"# {mistake.table}: {mistake.message}" for mistake in error.mistakes)]
    samples: list[bytes] = []
    for message in messages:
        lines += _samples(message, samples, described)
    return [*lines, ""]


def _table(message: _Message, messages: Sequence[_Message], port: int) -> list[str]:
    kind = message.kind
    first = kind.spoken[0].heard
    lines = [f"[[{kind.role}]]", f'name = "{message.name}"']
    ports = sorted({one.heard.destination_port for one in kind.spoken})
    if kind.role == "probe":
        if kind.spoken[0].follows:
            replies = [m.name for m in messages if m.kind.role == "reply"]
            lines.append(f'after = "{replies[0]}"   # which reply makes one ask this?')
        elif ports != [port]:
            lines.append(f"port = {ports[0] if len(ports) == 1 else ports}")
        if 0 < first.source_port < _EPHEMERAL:
            lines.append(f"prefer = {first.source_port}   # or `from`, if no other will do")
    elif kind.role == "reply":
        answered = [m.name for m in messages if m.kind.role == "probe" and _answers(kind, m.kind)]
        if len(answered) == 1:
            lines.append(f'answers = "{answered[0]}"')
        elif answered:
            lines.append(f"answers = [{', '.join(f'{chr(34)}{a}{chr(34)}' for a in answered)}]")
        probe = kind.spoken[0].probe
        if probe and probe.source_port != first.destination_port:
            lines.append(f'to = "source:{first.destination_port}"')
    else:
        if ports != [port]:
            lines.append(f"port = {ports[0]}")
        if gap := _gap(kind):
            lines += [f"every = {gap}", f"expires = {round(3 * gap, 1)}"]
    return [*lines, _text(message.sketch.key, message.sketch.text)]


def _gap(kind: _Kind) -> float:
    """Seconds from one announcement to the next of the same sender, 0 if it made only one."""
    last: dict[tuple[str, int], float] = {}
    gaps = []
    for one in kind.spoken:
        time = one.heard.time
        source = one.heard.source, one.heard.destination_port
        if source in last and time - last[source] > _BURST:
            gaps.append(time - last[source])
        last[source] = time
    return round(sorted(gaps)[len(gaps) // 2], 1) if gaps else 0.0


def _samples(message: _Message, samples: list[bytes], described: Description | None) -> list[str]:
    lines: list[str] = []
    kept: set[bytes] = set()
    for one in message.kind.spoken:
        payload = one.heard.payload
        if payload in kept or len(kept) == _SAMPLES:
            continue
        kept.add(payload)
        lines += ["", "[[sample]]", f'message = "{message.name}"']
        asked = [i for i, p in enumerate(samples, 1) if one.probe and p == one.probe.payload]
        if asked:
            lines.append(f"answers = {asked[-1]}")
        lines.append(f'hex = "{payload.hex()}"')
        samples.append(payload)
        decoded = described and described.decode(payload, roles=(message.kind.role,))
        if isinstance(decoded, Decoded):
            told = [(k, v) for k, v in decoded.values.items() if k[0] != "_" and v is not None]
            if told:
                lines.append(
                    f"means = {{ {', '.join(f'{_key(k)} = {_toml(v)}' for k, v in told)} }}"
                )
    return lines


def _key(name: str) -> str:
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: Value) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value if item is not None)}]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text(key: str, text: str) -> str:
    """A template as TOML: literal strings, which have no escapes, wherever that is possible."""
    plain = text.replace("\n", "").replace("\t", "")
    if "'''" in text or not plain.isprintable():
        return f"{key} = {_toml(text)}"
    if "\n" in text:
        return f"{key} = '''\n{text}'''"
    return f"{key} = '''{text}'''" if "'" in text else f"{key} = '{text}'"
