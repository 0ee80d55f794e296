"""Sketches of binary datagrams: what is the same in all, what differs, and what is readable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from zlib import crc32

from bcast.accessory.conversation import Spoken
from bcast.accessory.sketched_text import json_shape, parse_json, sketch_json
from bcast.accessory.sketches import Echo, Names, Sketch, repeated

__all__ = ["bytes_shape", "sketch_bytes"]

# Lengths stand near the beginning. Shorter datagrams hold too many small numbers by accident.
_LENGTHS_UNTIL = 16
_SHORTEST = 8

# Bytes of a random id, or of a checksum.
_WORD = 4

# Fewer printable bytes in a row are no text; what a datagram begins with is often shorter.
_TEXT = 4
_MAGIC = 3

# As many zeros behind a text aren't the next field's.
_PADDING = 3

# A draft is read: lines of the template break where they get longer.
_WIDTH = 88


def bytes_shape(payload: bytes) -> tuple[str, object]:
    """Datagrams with the same may be of one kind: how long, or what JSON they have where."""
    if frame := _framed(payload):
        begin, end = frame
        return "framed", (begin, len(payload) - end, json_shape(parse_json(payload[begin:end])))
    return "bytes", len(payload)


def _framed(payload: bytes) -> tuple[int, int] | None:
    begin, end = payload.find(b"{"), payload.rfind(b"}") + 1
    if 0 < begin < end and parse_json(payload[begin:end]) is not None:
        return begin, end
    return None


def alike(one: bytes, other: bytes) -> bool:
    """Whether two datagrams of one length agree in most of their bytes."""
    same = sum(a == b for a, b in zip(one, other, strict=True))
    return 2 * same >= len(one)


def sketch_bytes(
    payloads: Sequence[bytes],
    spoken: Sequence[Spoken],
    names: Names,
    echoes: Mapping[str, Echo],
    asked: Mapping[str, object],
    part: str,
) -> Sketch:
    """``part`` is what a part would be called: the JSON in a frame."""
    frame = _framed(payloads[0])
    if frame is None:
        columns = _Columns(payloads, spoken, names, echoes, 0)
        columns.sketch([len(payload) for payload in payloads])
        return Sketch("hex", columns.text(), echoes=columns.varying)
    frames = [_framed(payload) or (len(payload), len(payload)) for payload in payloads]
    bodies = [payload[a:b] for payload, (a, b) in zip(payloads, frames, strict=True)]
    heads = [payload[:a] for payload, (a, _) in zip(payloads, frames, strict=True)]
    tails = [payload[b:] for payload, (_, b) in zip(payloads, frames, strict=True)]
    head = _Columns(heads, spoken, names, echoes, 0)
    head.sketch([len(payload) for payload in payloads], [len(body) for body in bodies])
    name = "body" if head.measured else ""
    tail = _Columns(tails, spoken, names, echoes, frames[0][1])
    tail.sketch([])
    inner = sketch_json(bodies, spoken, names, {}, asked)
    text = f"{head.text()} {{{name}:@{part}}} {tail.text()}".strip()
    return Sketch("hex", text, parts=[(part, "json", inner.text)], echoes=head.varying)


class _Columns:
    """The same stretch of several datagrams, byte for byte below one another."""

    def __init__(
        self,
        rows: Sequence[bytes],
        spoken: Sequence[Spoken],
        names: Names,
        echoes: Mapping[str, Echo],
        offset: int,
    ) -> None:
        self._rows = rows
        self._spoken = spoken
        self._names = names
        self._echoes = echoes
        self._offset = offset
        self._length = len(rows[0])
        #: Of the datagram, within these columns; what follows is another's.
        self._end = len(spoken[0].heard.payload) - offset
        self._found: dict[int, tuple[int, str]] = {}
        self._free = [True] * self._length
        #: Whether a length of the body was found.
        self.measured = False
        self.varying: dict[str, Echo] = {}

    def sketch(self, whole: Sequence[int], bodies: Sequence[int] = ()) -> None:
        """Finds what there is. ``whole``: lengths of datagrams, ``bodies``: of their bodies."""
        self._addresses()
        if whole:
            self._lengths(whole, bodies)
        self._repetitions()
        self._checksums()
        self._texts()
        self._rest()

    def text(self) -> str:
        lines = [""]
        for at in sorted(self._found):
            piece = self._found[at][1]
            if lines[-1] and len(lines[-1]) + len(piece) >= _WIDTH:
                lines.append("")
            lines[-1] += f" {piece}" if lines[-1] else piece
        return "\n".join(lines)

    def _put(self, at: int, length: int, text: str) -> None:
        self._found[at] = length, text
        self._free[at : at + length] = [False] * length

    def _slices(self, at: int, length: int) -> list[bytes]:
        return [row[at : at + length] for row in self._rows]

    def _addresses(self) -> None:
        sources = [_packed(one.heard.source) for one in self._spoken]
        at = 0
        while all(sources) and at <= self._length - 4:
            if self._slices(at, 4) == sources:
                self._put(at, 4, f"{{{self._names.take('address')}:ip4~own.address}}")
                at += 4
                ports = [one.heard.source_port for one in self._spoken]
                for kind, order in (("u16", "big"), ("u16le", "little")):
                    wanted = [port.to_bytes(2, order) for port in ports]  # type: ignore[arg-type]
                    if self._slices(at, 2) == wanted:
                        self._put(at, 2, f"{{{self._names.take('port')}:{kind}~own.port}}")
                        break
            at += 1

    def _lengths(self, whole: Sequence[int], bodies: Sequence[int]) -> None:
        if min(whole) < _SHORTEST:
            return
        for size in (4, 2):
            for at in range(min(_LENGTHS_UNTIL, self._length - size + 1)):
                if not all(self._free[at : at + size]):
                    continue
                for kind, order in ((f"u{8 * size}", "big"), (f"u{8 * size}le", "little")):
                    found = [int.from_bytes(cut, order) for cut in self._slices(at, size)]  # type: ignore[arg-type]
                    spans = {
                        "all": list(whole),
                        "body": list(bodies),
                        "after": [length - at - size for length in whole],
                    }
                    span = next((name for name in spans if spans[name] == found), "")
                    if span:
                        self.measured |= span == "body"
                        self._put(at, size, f"{{:{kind}=length({span})}}")
                        return

    def _repetitions(self) -> None:
        """What the probe has too, and what is different each time."""
        for name, echo in self._echoes.items():
            first = self._spoken[0].probe
            wanted = echo(first.payload) if first else None
            if not isinstance(wanted, bytes):
                continue
            size = len(wanted)
            for at in range(self._length - size + 1):
                values = self._slices(at, size)
                if all(self._free[at : at + size]) and repeated(
                    values, self._spoken, {name: echo}
                ):
                    taken = self._names.take(name)
                    self._put(at, size, f"{{{taken}:bytes({size})=probe.{name}}}")
                    break

    def _texts(self) -> None:
        at = 0
        while at < self._length:
            end = self._text_end(at)
            if end is None:
                at += 1
                continue
            values = self._slices(at, end - at)
            text = values[0].rstrip(b"\0").decode("ascii")
            # What it begins with says what it is; zeros behind a text are room for longer ones.
            constant = self._names.internal or not at or len(values[0]) - len(text) < _PADDING
            if len(set(values)) == 1 and constant and '"' not in text:
                zeros = (len(values[0]) - len(text)) * "00"
                self._put(at, end - at, f'"{text}" {zeros}'.strip())
            else:
                wanted = self._names.take("name", "text")
                default = "" if "}" in text else f"~{text}"
                size = "" if end == self._length == self._end else f"({end - at})"
                self._put(at, end - at, f"{{{wanted}:str{size}{default}}}")
            at = end

    def _text_end(self, at: int) -> int | None:
        """Where a text that begins here ends, zeros behind it included; None if none begins."""
        ends = []
        for row in self._rows:
            stop = at
            while stop < self._length and self._free[stop] and 32 <= row[stop] < 127:
                stop += 1
            if stop - at < (_TEXT if at or self._offset else _MAGIC):
                return None
            while stop < self._length and self._free[stop] and not row[stop]:
                stop += 1
            ends.append(stop)
        end = min(ends)
        cut = self._slices(at, end - at)
        # A longer text goes on where a shorter one is over: then this isn't its end.
        return end if all(b"\0" not in one.rstrip(b"\0") for one in cut) else None

    def _rest(self) -> None:
        at = 0
        while at < self._length:
            if not self._free[at]:
                at += 1
                continue
            constant = self._is_constant(at)
            end = at + 1
            while end < self._length and self._free[end] and self._is_constant(end) == constant:
                end += 1
            self._constant(at, end) if constant else self._difference(at, end)
            at = end

    def _is_constant(self, at: int) -> bool:
        return len({row[at] for row in self._rows}) == 1

    def _constant(self, at: int, end: int) -> None:
        self._put(at, end - at, self._rows[0][at:end].hex())

    def _difference(self, at: int, end: int) -> None:
        size = end - at
        if size > _WORD and size % _WORD == 0:
            # Ids and checksums are words, side by side.
            for start in range(at, end, _WORD):
                self._difference(start, start + _WORD)
        elif self._names.internal:
            name = self._names.take("random")
            self._put(at, size, f"{{{name}:bytes({size})~random({2 * size})}}")
            start = self._offset + at
            self.varying[name] = lambda payload: payload[start : start + size]
        else:
            name = self._names.take(f"field_{self._offset + at}")
            self._put(at, size, f"{{{name}:bytes({size})~{self._rows[0][at:end].hex()}}}")

    def _checksums(self) -> None:
        for at in range(self._length - _WORD + 1):
            if all(self._free[at : at + _WORD]) and (checksum := self._checksum(at)):
                self._put(at, _WORD, checksum)

    def _checksum(self, at: int) -> str:
        """A CRC-32 of what stands before it, or of all with zeros for itself; "" if it is none."""
        begin = self._offset + at
        for kind, order in (("u32", "big"), ("u32le", "little")):
            values = [int.from_bytes(cut, order) for cut in self._slices(at, _WORD)]  # type: ignore[arg-type]
            payloads = [one.heard.payload for one in self._spoken]
            if values == [crc32(payload[:begin]) for payload in payloads]:
                return f"{{:{kind}=crc32(before)}}"
            rest = [payload[begin + _WORD :] for payload in payloads]
            if values == [
                crc32(payload[:begin] + bytes(_WORD) + after)
                for payload, after in zip(payloads, rest, strict=True)
            ]:
                return f"{{:{kind}=crc32(all)}}"
        return ""


def _packed(address: str) -> bytes:
    """The four bytes of an IPv4 address, b"" for anything else."""
    parts = address.split(".")
    return bytes(map(int, parts)) if len(parts) == 4 and all(map(str.isdigit, parts)) else b""
