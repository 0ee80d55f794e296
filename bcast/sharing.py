"""Ports that several machines of one driver have: who else is to get what one socket received.

Layer 5. What is sent to a group or to all reaches every socket of a port; what is sent to the
host reaches one of them, which the kernel chooses (socket(7), SO_REUSEADDR).
"""

from __future__ import annotations

import socket

from bcast.attachments import Inlet
from bcast.sockets.batch import Batch
from bcast.stations import Station

__all__ = ["Sharing", "unicast"]

_Place = tuple[int, int, socket.AddressFamily | int]


class Sharing:
    """The inlets of a driver, and which of them share a port of an interface."""

    def __init__(self) -> None:
        self._at: dict[_Place, dict[Inlet, Station]] = {}
        self._places: dict[Inlet, _Place] = {}

    def add(self, inlet: Inlet, station: Station) -> None:
        """One that was opened for a station."""
        place = inlet.port, inlet.channel.interface.index, inlet.socket.family
        self._places[inlet] = place
        self._at.setdefault(place, {})[inlet] = station

    def remove(self, inlet: Inlet) -> None:
        """One that is being closed."""
        if (place := self._places.pop(inlet, None)) is None:
            return
        there = self._at[place]
        del there[inlet]
        if not there:
            del self._at[place]

    def others(self, inlet: Inlet) -> list[Station]:
        """The other stations that have its port, each once."""
        there = self._at[self._places[inlet]]
        if len(there) == 1:
            return []
        own = there[inlet]
        return [one for one in dict.fromkeys(there.values()) if one is not own]


def unicast(batch: Batch) -> Batch:
    """What of it was sent to this host alone."""
    own = {one.address.packed for one in batch.interface.addresses}
    return batch.keep(lambda row: row[2] in own)
