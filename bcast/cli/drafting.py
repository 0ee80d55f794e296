"""``bcast protocols --draft``: a first description, from a capture or from hex."""

from __future__ import annotations

import re
from pathlib import Path

from bcast.accessory.conversation import MAX_HEARD, Heard
from bcast.accessory.draft import draft
from bcast.errors import ArgumentError
from bcast.payload import parse_hex

__all__ = ["draft_of"]


def draft_of(source: str) -> str:
    """The TOML text for a capture (``-``: standard input), or for datagrams in hex digits.

    Datagrams in hex stand on lines of their own, or between commas. Raises `CaptureError`,
    `ArgumentError`.
    """
    if source == "-" or Path(source).exists():
        return draft(_captured(source), name=_name(Path(source).stem))
    datagrams = [part for part in re.split(r"[,\n]", source) if part.strip()]
    try:
        heard = [Heard(parse_hex(part)) for part in datagrams]
    except ArgumentError:
        raise ArgumentError(
            f"{source[:60]!r} is neither a file nor hex digits",
            "give a capture (pcapng or pcap), or a datagram in hex",
        ) from None
    return draft(heard, name="mine")


def _captured(path: str) -> list[Heard]:
    from bcast.capture import CaptureReader

    heard = []
    with CaptureReader(path) as reader:
        for datagram in reader:
            source, destination = datagram.source, datagram.destination
            heard.append(
                Heard(
                    datagram.payload,
                    str(source.address),
                    source.port,
                    str(destination.address),
                    destination.port,
                    datagram.time,
                )
            )
            # One more, so that it is said that there are more.
            if len(heard) > MAX_HEARD:
                break
    return heard


def _name(stem: str) -> str:
    """A file's name as a protocol may be called."""
    name = re.sub(r"[^a-z0-9_-]+", "-", stem.lower()).strip("-_")
    return (name if name[:1].isalpha() else f"mine{name and '-'}{name}")[:32]
