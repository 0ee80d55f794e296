"""Open sockets that send out of one interface. Layer 5, below the drivers that send."""

from __future__ import annotations

import socket

from bcast.datagram import Endpoint, Interface, IPAddress
from bcast.legs import Leg
from bcast.sockets.plan import SetOption, run_steps

__all__ = ["Outlet"]


class Outlet:
    """A socket that sends out of ``interface``; it was opened with ``source``."""

    def __init__(self, opened: socket.socket, interface: Interface, source: IPAddress) -> None:
        self.socket = opened
        self.interface = interface
        self.source = source
        self.port: int = opened.getsockname()[1]
        #: Where it sends from, unless a datagram says otherwise.
        self.here = Endpoint(source, self.port)
        #: The options that are set for all-hosts at the moment.
        self._special: tuple[SetOption, ...] = ()

    def prepare(self, leg: Leg) -> None:
        """Sets the options that a leg needs, and takes others back. Raises `SocketError`."""
        if leg.special != self._special:
            # Such an option changes where every other datagram goes: it is off in between.
            off = (option._replace(value=0) for option in self._special)
            run_steps(self.socket, (*off, *leg.special), self.interface.name)
            self._special = leg.special
