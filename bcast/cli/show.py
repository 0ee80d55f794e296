"""How a datagram looks: a line for people, an object for programs.

What a peer sent never reaches the terminal as it is: control characters, escape sequences and
bidirectional overrides are shown as escapes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from time import localtime, strftime
from typing import TYPE_CHECKING

from bcast.datagram import Datagram, Endpoint, Interface, address_of
from bcast.destinations import DEFAULT_PORT
from bcast.sockets.batch import Batch, endpoint_of
from bcast.timestamp import rfc3339

if TYPE_CHECKING:
    from bcast.accessory.description import Description
    from bcast.cli.messages import MessageReader
    from bcast.cli.spoken import Speakers
    from bcast.wire.keys import Keyring

__all__ = ["JsonFormat", "TextFormat", "printable", "sanitize"]

# Texts that are kept about sources; forged ones would otherwise fill the memory.
_KEPT = 4096
#: A source, a destination, a TTL and a length, as a batch has them.
_Way = tuple[bytes, bytes, int, int]
# Printable ASCII; but for the quotation mark and the backslash JSON writes it as it is.
_PLAIN = bytes(range(0x20, 0x7F))
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
# How bcast's own messages begin: `bcast.wire.MAGIC`, which isn't loaded before one has come.
_MAGIC = b"\xbd\x50"


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


class _Format:
    """What both formats know of messages. With a ``keyring`` tags of bcast's own are checked.

    ``spoken``: protocols that datagrams may be of, besides those of the ports that they use.
    ``explain``: says of each that is none of their messages why it isn't.
    """

    def __init__(
        self,
        keyring: Keyring | None = None,
        spoken: Iterable[Description] = (),
        explain: bool = False,
    ) -> None:
        self._keyring = keyring
        self._messages: MessageReader | None = None
        self._spoken = tuple(spoken)
        self._explain = explain
        self._speakers: Speakers | None = None

    @property
    def rejected(self) -> dict[str, int]:
        """How many datagrams began like a message and were none, by reason."""
        return {} if self._messages is None else self._messages.rejected

    def count(self, batch: Batch) -> None:
        """Only notes which datagrams of a batch that isn't shown are no messages."""
        # To find the greatest takes a tenth of the time of looking how each begins.
        if batch.payloads and max(batch.payloads) >= _MAGIC:
            for payload in batch.payloads:
                if payload.startswith(_MAGIC):
                    self._reader().count(payload)

    def _reader(self) -> MessageReader:
        if self._messages is None:
            from bcast.cli.messages import MessageReader

            self._messages = MessageReader(self._keyring)
        return self._messages

    def _heard(self) -> Speakers:
        """What reads messages of other protocols."""
        if self._speakers is None:
            from bcast.cli.spoken import Speakers

            self._speakers = Speakers(self._spoken)
        return self._speakers

    def _is_spoken(self, port: int) -> bool:
        """Whether a protocol other than bcast's own may be spoken there."""
        return port != DEFAULT_PORT and bool(self._heard().at(port))


class JsonFormat(_Format):
    """One JSON object a line (the ``datagram`` event)."""

    def __init__(
        self,
        *,
        keyring: Keyring | None = None,
        spoken: Iterable[Description] = (),
        explain: bool = False,
    ) -> None:
        from json.encoder import encode_basestring_ascii

        super().__init__(keyring, spoken, explain)
        self._quote: Callable[[str], str] = encode_basestring_ascii
        # Of each port of an interface, what is the same in all lines of a source and length.
        self._middles: dict[tuple[int, str, int], dict[_Way, str]] = {}
        self._kept = 0
        self._second: int | None = None
        self._stamp = ""

    def batch(self, batch: Batch) -> str:
        """All datagrams of a batch, a line each: what is new about each around what is known."""
        interface, port = batch.interface, batch.port
        if self._is_spoken(port):
            return "".join(map(self.datagram, batch.datagrams()))
        middles = self._middles.setdefault((interface.index, interface.name, port), {})
        quote, stamp, current = self._quote, self._stamp, self._second
        pieces: list[str] = []
        for (second, rest, packed, ttl), (source,), payload in batch.parts():
            length = len(payload)
            middle = middles.get((source, packed, ttl, length))
            if middle is None:
                middle = self._remember(middles, interface, port, (source, packed, ttl, length))
            if second != current:
                current = second
                stamp = self._begin(second)
            ending = '"}\n'
            if not payload.isascii():
                if payload.startswith(_MAGIC):
                    ending = f'"{self._reader().members(payload)}}}\n'
                elif (shown := printable(payload)) is not None:
                    ending = f'","text":{quote(shown)}}}\n'
            elif 0x22 in payload or 0x5C in payload:
                quoted = quote(payload.decode("ascii"))
                # Each of these two grows by one byte, and so does every control character.
                grown = payload.count(b'"') + (payload.count(b"\\") if 0x5C in payload else 0)
                if len(quoted) == length + 2 + grown:
                    ending = f'","text":{quoted}}}\n'
            elif payload and not payload.translate(None, _PLAIN):
                ending = f'","text":"{payload.decode("ascii")}"}}\n'
            pieces += stamp, str(1_000_000_000 + rest)[1:], middle, payload.hex(), ending
        return "".join(pieces)

    def datagram(self, datagram: Datagram) -> str:
        """One datagram, the same way."""
        second, rest = divmod(datagram.time_ns, 1_000_000_000)
        payload = datagram.payload
        middle = self._middle(
            datagram.interface,
            datagram.source,
            datagram.destination,
            datagram.ttl,
            len(payload),
        )
        if payload.startswith(_MAGIC):
            ending = self._reader().members(payload)
        else:
            text = printable(payload)
            ending = "" if text is None else f',"text":{self._quote(text)}'
            ports = datagram.destination.port, datagram.source.port
            if DEFAULT_PORT not in ports:
                ending += self._heard().members(payload, *ports)
                if self._explain and (reasons := self._heard().reasons(payload, *ports)):
                    each = ",".join(
                        f"{self._quote(k)}:{self._quote(v)}" for k, v in reasons.items()
                    )
                    ending += f',"misfits":{{{each}}}'
        return f'{self._begin(second)}{rest:09d}{middle}{payload.hex()}"{ending}}}\n'

    def _begin(self, second: int) -> str:
        """How the line of a datagram of that second begins."""
        if second != self._second:
            self._second = second
            self._stamp = f'{{"event":"datagram","time":"{rfc3339(second * 1_000_000_000)[:20]}'
        return self._stamp

    def _remember(
        self, middles: dict[_Way, str], interface: Interface, port: int, way: _Way
    ) -> str:
        source, packed, ttl, length = way
        destination = Endpoint(address_of(packed, interface.name, interface.index), port)
        middle = self._middle(
            interface,
            endpoint_of(source, interface),
            destination,
            ttl if ttl >= 0 else None,
            length,
        )
        self._kept += 1
        if self._kept > _KEPT:
            self._middles.clear()
            middles.clear()
            self._kept = 1
        middles[way] = middle
        return middle

    def _middle(
        self,
        interface: Interface,
        source: Endpoint,
        destination: Endpoint,
        ttl: int | None,
        length: int,
    ) -> str:
        quote = self._quote
        return (
            f'Z","interface":{quote(interface.name)},"index":{interface.index},'
            f'"source":{quote(str(source.address))},"source_port":{source.port},'
            f'"destination":{quote(str(destination.address))},'
            f'"destination_port":{destination.port},'
            f'"ttl":{"null" if ttl is None else ttl},"length":{length},"payload":"'
        )


class TextFormat(_Format):
    """A line with local time, interface, source, destination, TTL, length and payload.

    ``shape``: ``"text"`` shows the payload as text, ``"hex"`` as a dump, ``"auto"`` as the
    message that it is, as text where it is readable and as a dump otherwise. More than one line
    of any is indented. ``dates``: whether the day is shown too.
    """

    def __init__(
        self,
        shape: str = "auto",
        *,
        dates: bool = False,
        keyring: Keyring | None = None,
        spoken: Iterable[Description] = (),
        explain: bool = False,
    ) -> None:
        super().__init__(keyring, spoken, explain)
        self._shape = shape
        self._layout = "%Y-%m-%d %H:%M:%S" if dates else "%H:%M:%S"

    def batch(self, batch: Batch) -> str:
        """All datagrams of a batch, as text that ends with a line feed."""
        return "".join(map(self.datagram, batch.datagrams()))

    def datagram(self, datagram: Datagram) -> str:
        """One datagram, the same way."""
        second, rest = divmod(datagram.time_ns, 1_000_000_000)
        payload = datagram.payload
        ttl = "?" if datagram.ttl is None else datagram.ttl
        head = sanitize(
            f"{strftime(self._layout, localtime(second))}.{rest // 1000:06d}"
            f"  {datagram.interface.name}  {datagram.source} > {datagram.destination}"
            f"  ttl {ttl}  {len(payload)} bytes"
        )
        if not payload:
            return head + "\n"
        if payload.startswith(_MAGIC):
            is_message, lines = self._reader().text(payload)
            first, *more = map(sanitize, lines)
            if is_message and self._shape == "auto":
                return "\n    ".join([f"{head}  {first}", *more]) + "\n"
            if not is_message:
                head += f"  {first}"
        ports = datagram.destination.port, datagram.source.port
        if self._shape == "auto" and DEFAULT_PORT not in ports:
            said = self._heard().text(payload, *ports)
            if said is not None:
                return f"{head}  {sanitize(said)}\n"
        text = None if self._shape == "hex" else _readable(payload, self._shape == "text")
        shown = _dump(payload) if text is None else _lines(text)
        if self._explain and DEFAULT_PORT not in ports:
            reasons = self._heard().reasons(payload, *ports)
            shown += [sanitize(f"no {name}: {why}") for name, why in reasons.items()]
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


def _lines(text: str) -> list[str]:
    """The lines of a text, each harmless; only line feeds end one."""
    text = text.replace("\r\n", "\n").removesuffix("\n")
    return [sanitize(line) for line in text.split("\n")]


def _dump(payload: bytes) -> list[str]:
    """Lines of offset, 16 bytes in hex, and what of them is printable ASCII."""
    lines = []
    for start in range(0, len(payload), 16):
        row = payload[start : start + 16]
        plain = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
        lines.append(f"{start:04x}  {row[:8].hex(' '):<23}  {row[8:].hex(' '):<23}  {plain}")
    return lines
