"""XML from the network: a small tree by namespace and local name, or a misfit.

What the standard library's expat reads, except document types (entities multiply, and external
ones fetch) and encodings other than UTF-8 (RFC 3629), whatever the document says about itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from xml.parsers.expat import ExpatError, ParserCreate

from bcast.accessory.template import Misfit

if TYPE_CHECKING:
    from xml.parsers.expat import XMLParserType

__all__ = ["MAX_DEPTH", "MAX_ELEMENTS", "Element", "parse"]

#: How deep elements stand in one another: a datagram of ``<a>`` would be 20,000 levels.
MAX_DEPTH: Final = 24

#: Elements of a datagram, and prefixes that it declares: what is built costs ten times its bytes.
MAX_ELEMENTS: Final = 256
_MAX_PREFIXES: Final = 64

#: XML itself binds this prefix (Namespaces in XML 1.0, section 3).
_SCOPE: Mapping[str, str] = {"xml": "http://www.w3.org/XML/1998/namespace"}


class Element:
    """``name`` and the keys of ``attributes`` are "URI local", or "local" without a namespace.

    ``text`` is all character data directly in it, without blanks at its ends; ``scope`` has the
    namespaces by prefix, "" for the default one.
    """

    __slots__ = ("attributes", "children", "name", "scope", "text")

    def __init__(
        self, name: str, attributes: Mapping[str, str], scope: Mapping[str, str], text: str = ""
    ) -> None:
        self.name = name
        self.attributes = attributes
        self.scope = scope
        self.text = text
        self.children: list[Element] = []


def parse(payload: bytes) -> Element:
    """The root of a document. Raises `Misfit`, and nothing else."""
    # The encoding is forced: expat would look one up that the document names.
    parser = ParserCreate("utf-8", " ")
    root = _Builder(parser).root
    try:
        parser.Parse(payload, True)
    except ExpatError as error:
        raise Misfit(f"it is no XML ({error})") from None
    except ValueError:
        raise Misfit("it is no XML (not UTF-8)") from None
    return root.children[0]


class _Builder:
    """Gets what expat finds, in the order of the document."""

    def __init__(self, parser: XMLParserType) -> None:
        self.root = Element("", {}, _SCOPE)
        self._open = [self.root]
        self._elements = 0
        self._prefixes = 0
        self._declared: dict[str, str] = {}
        parser.buffer_text = True
        parser.StartElementHandler = self._begin
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartNamespaceDeclHandler = self._declare
        parser.StartDoctypeDeclHandler = self._refuse

    def _declare(self, prefix: str | None, uri: str | None) -> None:
        self._prefixes += 1
        if self._prefixes > _MAX_PREFIXES:
            raise Misfit(f"more than {_MAX_PREFIXES} prefixes")
        self._declared[prefix or ""] = uri or ""

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise Misfit(f"more than {MAX_ELEMENTS} elements")
        above = self._open[-1]
        if len(self._open) > MAX_DEPTH:
            raise Misfit(f"elements more than {MAX_DEPTH} deep")
        scope = above.scope
        if self._declared:
            scope = {**scope, **self._declared}
            self._declared.clear()
        element = Element(name, attributes, scope)
        above.children.append(element)
        self._open.append(element)

    def _end(self, name: str) -> None:
        element = self._open.pop()
        if element.text:
            element.text = element.text.strip()

    def _text(self, text: str) -> None:
        self._open[-1].text += text

    def _refuse(self, *_: object) -> None:
        raise Misfit("it has a document type")
