"""``bcast listen --read``: shows a capture as if it arrived now."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bcast.capture import CaptureReader
from bcast.cli.output import Output, rejections
from bcast.cli.show import JsonFormat, TextFormat
from bcast.destinations import check_port
from bcast.networks import contains, parse_networks

if TYPE_CHECKING:
    from bcast.accessory.description import Description
    from bcast.wire.keys import Keyring

__all__ = ["replay"]


def replay(
    output: Output,
    path: str,
    *,
    shape: str,
    count: int | None,
    sources: Sequence[str],
    port: int | None,
    keyring: Keyring | None = None,
    spoken: Sequence[Description] = (),
    explain: bool = False,
) -> None:
    """Shows the datagrams of a capture file (``-``: standard input)."""
    networks = parse_networks(sources)
    if port is not None:
        check_port(port)
    form = (
        JsonFormat(keyring=keyring, spoken=spoken, explain=explain)
        if output.as_json
        else TextFormat(shape, dates=True, keyring=keyring, spoken=spoken, explain=explain)
    )
    shown = size = filtered = 0
    with CaptureReader(path) as reader:
        for datagram in reader:
            if (networks and not contains(networks, datagram.source.address)) or (
                port is not None and datagram.destination.port != port
            ):
                filtered += 1
                continue
            sys.stdout.write(form.datagram(datagram))
            shown += 1
            size += len(datagram.payload)
            if shown == count:
                break
        sys.stdout.flush()
        # Frames that aren't UDP as it should be, and datagrams that are no messages.
        rejected = {str(reason): number for reason, number in reader.skipped.items()}
        rejected |= form.rejected
    if reader.truncated:
        output.remark(f"{path} ends in the middle of a block: whoever wrote it was cut off")
    event = {
        "event": "summary",
        "datagrams": shown,
        "bytes": size,
        "kernel_drops": reader.drops,
        "rejected": sum(rejected.values()),
        "rejected_reasons": rejected,
        "filtered": filtered,
    }
    line = f"{shown} datagrams, {size} bytes; kernel drops {reader.drops}"
    if rejected:
        line += f"; {rejections(rejected)}"
    output.event(line, event)
