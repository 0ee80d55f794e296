"""XML as a template: matched by namespace and local name, whatever the prefixes.

Elements and attributes that are listed have to be there; others, and the order of elements of
different names, don't matter. Of several elements with one name the first counts, or the second
for the second in the template. An element that has nothing but optional holes may be absent.

Prefixes are those of the description's ``[namespaces]``. The type ``qnames`` is a list of names
with prefixes, which are the description's too: a namespace that it doesn't name is written out,
``{URI}local``. An element's text may be ``{:@part}``, an element that the part describes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol
from xml.parsers.expat import ExpatError, ParserCreate

from bcast.accessory.holes import Hole
from bcast.accessory.mistakes import Wrong, meant
from bcast.accessory.structure import Absent, Entry, Near, check_rest, lone_hole
from bcast.accessory.template import MAX_ITEMS, MAX_TEXT, Making, Misfit, Reading, Value, Writing
from bcast.accessory.xml_tree import Element, parse

__all__ = ["XmlTemplate", "make_xml"]

_DECLARATION = '<?xml version="1.0" encoding="utf-8"?>'

#: What XML can't have in it at all (XML 1.0, section 2.2).
_IMPOSSIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

_ESCAPES = {ord(c): f"&#{ord(c)};" for c in "\t\n\r"} | {
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord('"'): "&quot;",
}

_QNAME = re.compile(r"(?:\{([^{}\s]*)\}|([^\s:{}]+):)?([^\s:{}]+)")


class XmlTemplate:
    """A `bcast.accessory.template.Template`, and a part that may stand inside another one."""

    #: A document may begin with a declaration, a comment or a byte order mark.
    guard: bytes | tuple[bytes, ...] = (b"<", b"\xef\xbb\xbf", b" ", b"\t", b"\r", b"\n")

    def __init__(self, root: _Place, namespaces: Mapping[str, str]) -> None:
        self.root = root
        self.holes = root.holes
        self.constants = root.constants
        self._declared = "".join(
            f' xmlns{":" if prefix else ""}{prefix}="{_escaped(uri)}"'
            for prefix, uri in namespaces.items()
        )

    def read(self, payload: bytes, reading: Reading) -> None:
        if payload[:1] != b"<" and not payload.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
            raise Misfit("it is no XML")
        root = parse(payload)
        if root.name != self.root.key:
            raise Misfit("it is <%s>, not <%s>", _local(root.name), self.root.name)
        self.root.read(root, reading)

    def write(self, writing: Writing) -> bytes:
        try:
            return f"{_DECLARATION}{self.root.write(writing, self._declared)}".encode()
        except Absent:
            raise Misfit("there is nothing to be written") from None


def make_xml(text: str, making: Making) -> XmlTemplate:
    """The template that ``xml`` of a description is; mistakes are noted in ``making``."""
    namespaces = dict(making.namespaces)
    top = _Template(text, making).root
    root = _Place(top, namespaces, making)
    check_rest(root.holes, making)
    return XmlTemplate(root, namespaces)


def _local(name: str) -> str:
    return name.rpartition(" ")[2]


def _escaped(text: str) -> str:
    if found := _IMPOSSIBLE.search(text):
        raise Misfit("XML can't say %r", found[0])
    return text.translate(_ESCAPES)


# --- the template's own document


class _Source:
    """An element of the template, as it is written there."""

    def __init__(self, name: str, attributes: Mapping[str, str]) -> None:
        self.name = name
        self.attributes = attributes
        self.text = ""
        #: Elements, and holes that stand for one.
        self.children: list[_Source | Hole] = []


class _Template:
    """Reads a description's XML, of which the prefixes are declared elsewhere."""

    def __init__(self, text: str, making: Making) -> None:
        self._making = making
        top = _Source("", {})
        self._open = [top]
        parser = ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartElementHandler = self._begin
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        try:
            parser.Parse(text.strip().encode(), True)
        except ExpatError as error:
            near = (text.strip().splitlines() or [""])[min(error.lineno, text.count("\n") + 1) - 1]
            making.wrong(Wrong(f"this is no XML: {error}", 0, near[error.offset :][:20]))
        first = top.children[0] if top.children else None
        self.root = first if isinstance(first, _Source) else _Source("nothing", {})

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        element = _Source(name, attributes)
        self._open[-1].children.append(element)
        self._open.append(element)

    def _end(self, name: str) -> None:
        self._open.pop()

    def _text(self, text: str) -> None:
        text = text.strip()
        hole = lone_hole(text)
        if hole is not None and hole.type == "@":
            self._open[-1].children.append(hole)
        else:
            self._open[-1].text += text


# --- places


class _Content(Protocol):
    """What an element's text is."""

    @property
    def holes(self) -> tuple[Hole, ...]: ...
    @property
    def constants(self) -> int: ...
    @property
    def optional(self) -> bool: ...


class _Place:
    """An element of the template. ``key`` is its namespace and local name, as `Element.name`."""

    def __init__(self, source: _Source, namespaces: Mapping[str, str], making: Making) -> None:
        self.name = source.name
        self.key = _key(source.name, namespaces, making, default=True)
        self._attributes: list[tuple[str, str, Entry]] = []
        for name, text in source.attributes.items():
            if name.partition(":")[0] == "xmlns":
                making.wrong(Wrong(f"{name} belongs into [namespaces]", 0, name))
            else:
                key = _key(name, namespaces, making, default=False)
                self._attributes.append((key, name, Entry(text, making)))
        self._text = _content(source.text, namespaces, making)
        self._children: list[tuple[int, _Place]] = []
        seen: dict[str, int] = {}
        for child in source.children:
            for place in _places(child, namespaces, making):
                number = seen[place.key] = seen.get(place.key, -1) + 1
                self._children.append((number, place))
        own = [entry for _, _, entry in self._attributes]
        content: list[_Content] = [*own, *([self._text] if self._text else [])]
        places = [place for _, place in self._children]
        inner: list[_Content] = [*content, *places]
        self.holes: tuple[Hole, ...] = tuple(hole for one in inner for hole in one.holes)
        self.optional: bool = bool(content) and not places and all(o.optional for o in content)
        self.constants: int = 8 * len(_local(self.key)) + sum(
            one.constants for one in inner if not one.optional
        )

    def read(self, element: Element, reading: Reading) -> None:
        for key, name, entry in self._attributes:
            if key in element.attributes:
                entry.read(element.attributes[key], reading)
            elif not entry.optional:
                raise Misfit("<%s> has no %s%s", self.name, name, Near(key, element.attributes))
        if self._text is not None and (element.text or not self._text.optional):
            try:
                self._text.read_in(element, reading)
            except Misfit as misfit:
                raise Misfit("<%s>: %s", self.name, misfit) from None
        if not self._children:
            return
        found: dict[str, list[Element]] = {}
        for child in element.children:
            found.setdefault(child.name, []).append(child)
        for number, place in self._children:
            same = found.get(place.key, ())
            if number < len(same):
                place.read(same[number], reading)
            elif not place.optional:
                near = Near(_local(place.key), map(_local, found))
                raise Misfit("<%s> has no <%s>%s", self.name, place.name, near)

    def write(self, writing: Writing, declared: str = "") -> str:
        """Raises `Absent`, `Missing` and `Misfit`."""
        said = []
        for _, name, entry in self._attributes:
            try:
                said.append(f' {name}="{_escaped(entry.write(writing))}"')
            except Absent:
                continue
        text = ""
        if self._text is not None:
            try:
                text, more = self._text.write_in(writing)
                declared += more
            except Absent:
                pass
        if self.optional and not said and not text:
            raise Absent
        children = []
        for _, place in self._children:
            try:
                children.append(place.write(writing))
            except Absent:
                continue
        inner = _escaped(text) + "".join(children)
        begin = f"<{self.name}{declared}{''.join(said)}"
        return f"{begin}>{inner}</{self.name}>" if inner else f"{begin}/>"


def _key(name: str, namespaces: Mapping[str, str], making: Making, *, default: bool) -> str:
    """As the parser names it. Only elements are in the default namespace."""
    prefix, colon, local = name.rpartition(":")
    if not colon and not (default and "" in namespaces):
        return name
    if prefix not in namespaces:
        known = meant(prefix, namespaces) or ": add it"
        making.wrong(Wrong(f"[namespaces] has no prefix '{prefix}'{known}", 0, f"{prefix}:"))
        return local
    return f"{namespaces[prefix]} {local}"


def _places(
    child: _Source | Hole, namespaces: Mapping[str, str], making: Making
) -> tuple[_Place, ...]:
    if isinstance(child, _Source):
        return (_Place(child, namespaces, making),)
    try:
        parts = [making.part(name) for name in child.arguments]
    except Wrong as wrong:
        making.wrong(wrong)
        return ()
    places = tuple(part.root for part in parts if isinstance(part, XmlTemplate))
    if len(places) != 1 or len(parts) != 1:
        making.wrong(Wrong(f"{child}: in XML this has to be one part, of XML", child.start))
    return places


# --- text


class _Text:
    """An element's text."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self.holes = entry.holes
        self.constants = entry.constants
        self.optional = entry.optional

    def read_in(self, element: Element, reading: Reading) -> None:
        self._entry.read(element.text, reading)

    def write_in(self, writing: Writing) -> tuple[str, str]:
        """The text, and the namespaces that it needs beside the description's."""
        return self._entry.write(writing), ""


class _QNames:
    """An element's text that is a list of names with prefixes."""

    constants = 0

    def __init__(self, hole: Hole, namespaces: Mapping[str, str]) -> None:
        if hole.source is not None or hole.arguments:
            raise Wrong(f"{hole}: qnames takes neither arguments nor a value", hole.start)
        self._hole = hole
        self._namespaces = namespaces
        self._prefixes = {uri: prefix for prefix, uri in namespaces.items()}
        self.holes = (hole,)
        self.optional = hole.optional

    def read_in(self, element: Element, reading: Reading) -> None:
        if len(element.text) > MAX_TEXT:
            raise Misfit("a list of %d characters, more than %d", len(element.text), MAX_TEXT)
        names = element.text.split()
        if len(names) > MAX_ITEMS:
            raise Misfit("a list of %d names, more than %d", len(names), MAX_ITEMS)
        reading.accept(self._hole, [self._named(name, element.scope) for name in names])

    def _named(self, name: str, scope: Mapping[str, str]) -> str:
        prefix, _, local = name.rpartition(":")
        uri = scope.get(prefix)
        if uri is None:
            # Some declare the prefix nowhere: the name is all there is.
            return name
        known = self._prefixes.get(uri)
        if known is None:
            return f"{{{uri}}}{local}" if uri else local
        return f"{known}:{local}" if known else local

    def write_in(self, writing: Writing) -> tuple[str, str]:
        if self.optional and not writing.has(self._hole):
            raise Absent
        value = writing.value(self._hole)
        more: dict[str, str] = {}
        names = [self._written(str(name), more) for name in _items(value)]
        declared = (f' xmlns:{prefix}="{_escaped(uri)}"' for uri, prefix in more.items())
        return " ".join(names), "".join(declared)

    def _written(self, name: str, more: dict[str, str]) -> str:
        found = _QNAME.fullmatch(name)
        if found is None:
            raise Misfit("%r is no name with a prefix", name)
        uri, prefix, local = found[1], found[2], found[3]
        if uri:
            prefix = self._prefixes.get(uri) or more.setdefault(uri, f"q{len(more)}")
        elif prefix and prefix not in self._namespaces:
            raise Misfit("[namespaces] has no prefix %r", prefix)
        return f"{prefix}:{local}" if prefix else local


def _items(value: Value) -> Sequence[object]:
    return value if isinstance(value, list) else str(value).split()


def _content(text: str, namespaces: Mapping[str, str], making: Making) -> _Text | _QNames | None:
    if not text:
        return None
    hole = lone_hole(text)
    if hole is not None and hole.type == "qnames":
        try:
            return _QNames(hole, namespaces)
        except Wrong as wrong:
            making.wrong(wrong)
    return _Text(Entry(text, making))
