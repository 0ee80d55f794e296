"""Sketches of XML: the elements stay, their texts and attributes become holes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from bcast.accessory.conversation import Spoken
from bcast.accessory.sketches import Echo, Names, Sketch, hole, quoted, repeated
from bcast.accessory.template import Misfit
from bcast.accessory.xml_tree import Element, parse

__all__ = ["parse_xml", "sketch_xml", "xml_shape"]

# A text in the tree: the way to its element, and the attribute ("" for the text itself).
_Place: TypeAlias = tuple[tuple[str, ...], str]

_UUID = re.compile(r"(.*?)([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})")
_CONSTANT = re.compile(r"(https?://(schemas|docs|www)\.|urn:)\S*")


def parse_xml(payload: bytes) -> Element | None:
    """The root of what a payload is, None if it is no XML."""
    if not payload.lstrip().startswith(b"<"):
        return None
    try:
        return parse(payload)
    except Misfit:
        return None


def xml_shape(root: Element) -> frozenset[_Place]:
    """Which elements have texts and attributes: datagrams with the same are of one kind."""
    return frozenset(_texts(root))


def _texts(element: Element, way: tuple[str, ...] = ()) -> dict[_Place, str]:
    """The first of several elements with one way stands for all."""
    way = (*way, element.name)
    found: dict[_Place, str] = {}
    if element.text or not element.children:
        found[way, ""] = element.text
    for name, value in element.attributes.items():
        found[way, name] = value
    for child in element.children:
        for place, text in _texts(child, way).items():
            found.setdefault(place, text)
    return found


def sketch_xml(
    payloads: Sequence[bytes],
    spoken: Sequence[Spoken],
    names: Names,
    echoes: Mapping[str, Echo],
    prefixes: dict[str, str],
) -> Sketch:
    """``prefixes``: those of the messages before, by URI; this one's are added."""
    roots = [root for payload in payloads if (root := parse_xml(payload))]
    texts = [_texts(root) for root in roots]
    varying: dict[str, Echo] = {}
    written: dict[_Place, str] = {}
    for place in texts[0]:
        values = [found[place] for found in texts]
        written[place] = _written(place, values, spoken, names, echoes, varying)
    _add_prefixes(roots[0], prefixes)
    return Sketch("xml", "\n".join(_lines(roots[0], (), written, prefixes)), echoes=varying)


def _written(
    place: _Place,
    values: Sequence[str],
    spoken: Sequence[Spoken],
    names: Names,
    echoes: Mapping[str, Echo],
    varying: dict[str, Echo],
) -> str:
    way, attribute = place
    wanted = (attribute or way[-1]).rpartition(" ")[2]
    found = [_UUID.fullmatch(value) for value in values]
    if found[0] and all(one and one[1] == found[0][1] for one in found):
        uuids = [one[2].lower() for one in found if one]
        if names.internal:
            name = names.take(wanted)
            varying[name] = _uuid_at(place)
            return f"{quoted(found[0][1])}{{{name}:uuid~uuid()}}"
        return quoted(found[0][1]) + _uuid_hole(wanted, uuids, spoken, names, echoes)
    constant = len(set(values)) == 1
    if constant and (names.internal or not values[0] or _CONSTANT.fullmatch(values[0])):
        return quoted(values[0])
    text = hole(wanted, list(values), spoken, names, echoes)
    if names.internal:
        varying[re.split("[:=~}]", text[1:])[0]] = lambda payload: _at(payload, place)
    return text


def _uuid_hole(
    wanted: str,
    uuids: Sequence[str],
    spoken: Sequence[Spoken],
    names: Names,
    echoes: Mapping[str, Echo],
) -> str:
    """One that is the same in all of a sender's datagrams may be its own; others are new ones."""
    if echo := repeated(uuids, spoken, echoes):
        return f"{{{names.take(wanted)}:uuid=probe.{echo}}}"
    senders = {one.heard.source for one in spoken}
    if len(spoken) > 1 and len(set(uuids)) > len(senders):
        return f"{{{names.take(wanted)}:uuid~uuid()}}"
    name = names.take("id")
    return f"{{{name}:uuid~{'own.id' if name == 'id' else uuids[0]}}}"


def _at(payload: bytes, place: _Place) -> str | None:
    root = parse_xml(payload)
    return _texts(root).get(place) if root else None


def _uuid_at(place: _Place) -> Echo:
    def echo(payload: bytes) -> object:
        found = _UUID.fullmatch(_at(payload, place) or "")
        return found[2].lower() if found else None

    return echo


def _add_prefixes(root: Element, found: dict[str, str]) -> None:
    """Those of the datagram where it has any, and nobody else has them."""
    for element in _every(root):
        for name in (element.name, *element.attributes):
            uri, blank, _ = name.rpartition(" ")
            if blank and uri not in found:
                own = next((p for p, u in element.scope.items() if u == uri and p), "")
                free = own and own not in found.values()
                found[uri] = own if free else f"n{len(found) + 1}"


def _every(element: Element) -> Iterator[Element]:
    yield element
    for child in element.children:
        yield from _every(child)


def _lines(
    element: Element,
    way: tuple[str, ...],
    written: Mapping[_Place, str],
    prefixes: Mapping[str, str],
) -> Iterator[str]:
    way = (*way, element.name)
    name = _prefixed(element.name, prefixes)
    attributes = "".join(
        f' {_prefixed(key, prefixes)}="{_escaped(written.get((way, key), ""))}"'
        for key in element.attributes
    )
    text = _escaped(written.get((way, ""), ""))
    if not element.children:
        yield f"<{name}{attributes}>{text}</{name}>" if text else f"<{name}{attributes}/>"
        return
    yield f"<{name}{attributes}>{text}"
    for child in element.children:
        yield from _lines(child, way, written, prefixes)
    yield f"</{name}>"


def _prefixed(name: str, prefixes: Mapping[str, str]) -> str:
    uri, blank, local = name.rpartition(" ")
    return f"{prefixes[uri]}:{local}" if blank else local


def _escaped(text: str) -> str:
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(character, entity)
    return text
