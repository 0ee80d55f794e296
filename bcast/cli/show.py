"""How a datagram looks: a line for people, an object for programs.

What a peer sent never reaches the terminal as it is: control characters, escape sequences and
bidirectional overrides are shown as escapes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from time import localtime, strftime

from bcast.datagram import Datagram, Interface
from bcast.sockets.batch import Batch, address_of, endpoint_of
from bcast.timestamp import rfc3339

__all__ = ["JsonFormat", "TextFormat", "printable", "sanitize"]

# Addresses whose text is kept for an interface; forged ones would otherwise fill the memory.
_KEPT = 4096
# What JSON writes as it is: printable ASCII without the quotation mark and the backslash.
_PLAIN = bytes(c for c in range(0x20, 0x7F) if c not in b'"\\')
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


def printable(payload: bytes) -> str | None:
    """The payload as text, if all of it is printable UTF-8 and it isn't empty."""
    if payload.isascii():
        text = payload.decode("ascii")
    elif _CONTROL.search(payload):
        return None
    else:
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            return None
    return text if text and text.isprintable() else None


def sanitize(text: str) -> str:
    """The text with everything that isn't printable as an escape: ``\\x1b``, ``\\u202e``."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


class _Addresses:
    """The texts of the addresses seen on one port of one interface, made once each."""

    def __init__(
        self, interface: Interface, port: int, make: Callable[[str, str, int], str]
    ) -> None:
        self.sources: dict[bytes, str] = {}
        self.destinations: dict[bytes, str] = {}
        self._interface = interface
        self._port = port
        self._make = make

    def source(self, key: bytes) -> str:
        endpoint = endpoint_of(key, self._interface)
        return self._keep(self.sources, key, "source", str(endpoint.address), endpoint.port)

    def destination(self, packed: bytes) -> str:
        address = str(address_of(packed, self._interface))
        return self._keep(self.destinations, packed, "destination", address, self._port)

    def _keep(self, kept: dict[bytes, str], key: bytes, what: str, address: str, port: int) -> str:
        if len(kept) >= _KEPT:
            kept.clear()
        text = kept[key] = self._make(what, address, port)
        return text


class _Format:
    """Formats datagrams; subclasses say how an address and a datagram look."""

    def __init__(self) -> None:
        self._addresses: dict[tuple[int, str, int], _Addresses] = {}
        self._second = -1
        self._stamp = ""

    def batch(self, batch: Batch) -> str:
        """All datagrams of a batch, as text that ends with a line feed."""
        interface = batch.interface
        key = (interface.index, interface.name, batch.port)
        known = self._addresses.get(key)
        if known is None:
            if len(self._addresses) >= _KEPT:
                self._addresses.clear()
            known = self._addresses[key] = _Addresses(interface, batch.port, self._endpoint)
        sources, destinations, line = known.sources, known.destinations, self._line
        return "".join(
            [
                line(
                    time_ns,
                    interface,
                    sources.get(source) or known.source(source),
                    destinations.get(packed) or known.destination(packed),
                    ttl,
                    payload,
                )
                for time_ns, source, packed, ttl, payload in batch.rows
            ]
        )

    def datagram(self, datagram: Datagram) -> str:
        """One datagram, the same way."""
        source, destination = datagram.source, datagram.destination
        return self._line(
            datagram.time_ns,
            datagram.interface,
            self._endpoint("source", str(source.address), source.port),
            self._endpoint("destination", str(destination.address), destination.port),
            -1 if datagram.ttl is None else datagram.ttl,
            datagram.payload,
        )

    def _endpoint(self, what: str, address: str, port: int) -> str:
        raise NotImplementedError

    def _line(
        self,
        time_ns: int,
        interface: Interface,
        source: str,
        destination: str,
        ttl: int,
        payload: bytes,
    ) -> str:
        raise NotImplementedError


class JsonFormat(_Format):
    """One JSON object a line (the ``datagram`` event)."""

    def __init__(self) -> None:
        super().__init__()
        from json.encoder import encode_basestring_ascii

        self._quote: Callable[[str], str] = encode_basestring_ascii
        self._middles: dict[tuple[int, str, int], dict[tuple[bytes, bytes, int], str]] = {}

    def batch(self, batch: Batch) -> str:
        """See `_Format.batch`. A line is what is new about a datagram around what is known."""
        interface, port = batch.interface, batch.port
        middles = self._middles.setdefault((interface.index, interface.name, port), {})
        quote, stamp, current = self._quote, self._stamp, self._second
        pieces: list[str] = []
        for (second, rest, packed, ttl), (source,), payload in batch.parts():
            middle = middles.get((source, packed, ttl))
            if middle is None:
                middle = self._remember(middles, interface, port, (source, packed, ttl))
            if second != current:
                current = second
                stamp = self._begin(second)
            if payload.isascii():
                # What is left when all is taken out that JSON writes as it is.
                special = payload.translate(None, _PLAIN)
                if not special:
                    text = f'"{payload.decode("ascii")}"' if payload else ""
                elif not special.strip(b'"\\'):
                    text = quote(payload.decode("ascii"))
                else:
                    text = ""
            else:
                shown = printable(payload)
                text = "" if shown is None else quote(shown)
            pieces += (
                stamp,
                str(1_000_000_000 + rest)[1:],
                middle,
                str(len(payload)),
                ',"payload":"',
                payload.hex(),
                '","text":' + text + "}\n" if text else '"}\n',
            )
        return "".join(pieces)

    def _line(
        self,
        time_ns: int,
        interface: Interface,
        source: str,
        destination: str,
        ttl: int,
        payload: bytes,
    ) -> str:
        second, rest = divmod(time_ns, 1_000_000_000)
        middle = self._middle(interface, source, destination, ttl)
        text = printable(payload)
        ending = "" if text is None else f',"text":{self._quote(text)}'
        return (
            f"{self._begin(second)}{rest:09d}{middle}{len(payload)},"
            f'"payload":"{payload.hex()}"{ending}}}\n'
        )

    def _begin(self, second: int) -> str:
        """How the line of a datagram of that second begins."""
        if second != self._second:
            self._second = second
            self._stamp = f'{{"event":"datagram","time":"{rfc3339(second * 1_000_000_000)[:20]}'
        return self._stamp

    def _remember(
        self,
        middles: dict[tuple[bytes, bytes, int], str],
        interface: Interface,
        port: int,
        key: tuple[bytes, bytes, int],
    ) -> str:
        if len(middles) >= _KEPT:
            middles.clear()
        source, packed, ttl = key
        sender = endpoint_of(source, interface)
        middle = middles[key] = self._middle(
            interface,
            self._endpoint("source", str(sender.address), sender.port),
            self._endpoint("destination", str(address_of(packed, interface)), port),
            ttl,
        )
        return middle

    def _middle(self, interface: Interface, source: str, destination: str, ttl: int) -> str:
        return (
            f'Z","interface":{self._quote(interface.name)},"index":{interface.index},'
            f'{source},{destination},"ttl":{ttl if ttl >= 0 else "null"},"length":'
        )

    def _endpoint(self, what: str, address: str, port: int) -> str:
        return f'"{what}":{self._quote(address)},"{what}_port":{port}'


class TextFormat(_Format):
    """A line with local time, interface, source, destination, TTL, length and payload.

    ``shape``: ``"text"`` shows the payload as text, ``"hex"`` as a dump, ``"auto"`` as text
    where it is readable and as a dump otherwise. More than one line of either is indented.
    """

    def __init__(self, shape: str = "auto") -> None:
        super().__init__()
        self._shape = shape

    def _endpoint(self, what: str, address: str, port: int) -> str:
        return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

    def _line(
        self,
        time_ns: int,
        interface: Interface,
        source: str,
        destination: str,
        ttl: int,
        payload: bytes,
    ) -> str:
        second, rest = divmod(time_ns, 1_000_000_000)
        if second != self._second:
            self._second = second
            self._stamp = strftime("%H:%M:%S", localtime(second))
        hops = f"ttl {ttl}" if ttl >= 0 else "ttl ?"
        head = (
            f"{self._stamp}.{rest // 1000:06d}  {sanitize(interface.name)}  "
            f"{source} > {destination}  {hops}  {len(payload)} bytes"
        )
        if not payload:
            return head + "\n"
        text = None if self._shape == "hex" else _readable(payload, self._shape == "text")
        shown = _dump(payload) if text is None else [sanitize(t) for t in text.splitlines()]
        if len(shown) == 1 and text is not None:
            return f"{head}  {shown[0]}\n"
        return "\n    ".join([head, *shown]) + "\n"


def _readable(payload: bytes, anyway: bool) -> str | None:
    """The payload as text; None if it is rather binary, unless ``anyway``."""
    try:
        text = payload.decode(errors="backslashreplace" if anyway else "strict")
    except UnicodeDecodeError:
        return None
    plain = text.translate({0x0D: None, 0x0A: None, 0x09: None})
    odd = sum(not c.isprintable() for c in plain)
    # A few control characters in a text are shown as escapes; more of them mean binary.
    return text if anyway or odd * 8 <= len(plain) else None


def _dump(payload: bytes) -> list[str]:
    """Lines of offset, 16 bytes in hex, and what of them is printable ASCII."""
    lines = []
    for start in range(0, len(payload), 16):
        row = payload[start : start + 16]
        plain = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
        lines.append(f"{start:04x}  {row[:8].hex(' '):<23}  {row[8:].hex(' '):<23}  {plain}")
    return lines
