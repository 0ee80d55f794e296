"""From datagrams of one kind to a template with holes: what is drafted for each of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from bcast.accessory.conversation import Spoken

__all__ = ["Echo", "Names", "Sketch", "hole", "quoted"]

#: What a probe's hole has in a payload of that probe: text, a number, or bytes.
Echo: TypeAlias = Callable[[bytes], object]

_MAC = re.compile(r"[0-9a-fA-F]{2}([:-]?)(?:[0-9a-fA-F]{2}\1){4}[0-9a-fA-F]{2}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# What looks like a number or a truth value where text is meant.
_OTHER = re.compile(r"-?[0-9][0-9.eE+-]*|true|false|null")

_IDS = (
    "id",
    "deviceid",
    "device_id",
    "gwid",
    "uid",
    "uuid",
    "usn",
    "serial",
    "serialnumber",
    "sn",
)
_NAMES = ("name", "alias", "friendlyname", "hostname", "label")


class Sketch(NamedTuple):
    """``key`` is the kind of template, ``parts`` its parts (name, key, text) in file order.

    ``echoes``: the holes that differ from probe to probe, which a reply may repeat.
    """

    key: str
    text: str
    parts: Sequence[tuple[str, str, str]] = ()
    echoes: Mapping[str, Echo] = {}


class Names:
    """Names for the holes of one message: those of the fields, made unique.

    The holes of a probe are internal (``_x``): they are nothing that a device has. ``lists``:
    which names of the file's messages are lists, since a name means the same in all of them.
    """

    def __init__(self, lists: dict[str, bool], *, internal: bool) -> None:
        self.internal = internal
        self._lists = lists
        self._taken: set[str] = set()

    def take(self, wanted: str, kind: str = "field", *, is_list: bool = False) -> str:
        """A name that is as near to ``wanted`` as a hole's name can be."""
        plain = re.sub(r"[^A-Za-z0-9]+", "_", wanted).strip("_").lower()
        if not self.internal:
            if plain in _IDS and "id" not in self._taken:
                plain = "id"
            elif plain in _NAMES and "name" not in self._taken:
                plain = "name"
        if not plain or not (plain[0].isalpha()):
            plain = f"{kind}_{plain}" if plain else kind
        if self.internal:
            plain = "_" + plain
        name, number = plain, 1
        while name in self._taken or self._lists.get(name, is_list) != is_list:
            number += 1
            name = f"{plain}_{number}"
        self._taken.add(name)
        self._lists[name] = is_list
        return name


def hole(
    wanted: str,
    values: Sequence[object],
    spoken: Sequence[Spoken],
    names: Names,
    echoes: Mapping[str, Echo],
    *,
    typed: bool = False,
) -> str:
    """A hole for a field, from what it was in each datagram.

    ``typed``: a value without a type of its own is a number or a truth value where it looks like
    one, as in JSON.
    """
    echo = repeated(values, spoken, echoes)
    if echo:
        return f"{{{names.take(wanted)}={'probe.' + echo}}}"
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) == len(values):
        if all(t and t == s.heard.source for t, s in zip(texts, spoken, strict=True)):
            return f"{{{names.take('address')}:ip4~own.address}}"
        found = [_MAC.fullmatch(text) for text in texts]
        if all(found) and found[0]:
            separator = found[0][1] or "none"
            upper = ",upper" if texts[0] != texts[0].lower() else ""
            return f"{{{names.take('id')}:mac({separator}{upper})~own.mac}}"
        if all(map(_UUID.fullmatch, texts)):
            return f"{{{names.take('id')}:uuid~own.id}}"
    first = values[0]
    kind = "?" if None in values else ""
    if typed and len(texts) == len(values) and any(map(_OTHER.fullmatch, texts)):
        kind += ":str"
    name = names.take(wanted, is_list=isinstance(first, list))
    return f"{{{name}{kind}{_default(first, typed)}}}"


def repeated(
    values: Sequence[object], spoken: Sequence[Spoken], echoes: Mapping[str, Echo]
) -> str:
    """The name of the probe's hole that has this value in each conversation, "" if none has."""
    for name, echo in echoes.items():
        if all(
            one.probe is not None and echo(one.probe.payload) == value
            for value, one in zip(values, spoken, strict=True)
        ):
            return name
    return ""


def _default(value: object, escaped: bool) -> str:
    if isinstance(value, bool):
        return f"~{str(value).lower()}"
    if isinstance(value, int):
        return f"~{value}"
    if not isinstance(value, str) or "}" in value:
        return ""
    # Where there are no escapes a value can't have more than one line.
    return f"~{value}" if escaped or value.isprintable() else ""


def quoted(text: str, *, brackets: bool = True) -> str:
    """Text as a template has it where no hole is meant."""
    for character in "{}[]" if brackets else "{}":
        text = text.replace(character, character * 2)
    return text
