"""A LAN on the loopback interface: real sockets, without privileges, in one process."""

from __future__ import annotations

import socket
import sys
from ipaddress import IPv4Address
from typing import ClassVar
from uuid import uuid4

from bcast.datagram import Address, Family, Interface
from bcast.destinations import DEFAULT_GROUPS
from bcast.domain import Domain
from bcast.errors import BcastError, InterfaceError
from bcast.interfaces import list_interfaces, select
from bcast.lans.fakes import Accessory
from bcast.lans.hosts import Host, Running, UnsupportedError
from bcast.lans.residents import Occupant
from bcast.lans.sockets import SocketLan
from bcast.lans.turns import Turn
from bcast.sockets.advice import socket_error

__all__ = ["TURN", "LoopbackLan", "loopback_unavailable"]

#: What a LAN has while it plays, or searches by, protocols with fixed ports and no realms.
TURN = Turn("bcast.lans.loopback")

_FIRST = IPv4Address("127.0.0.1")
_LAST = IPv4Address("127.255.255.255")


class LoopbackLan(SocketLan):
    """Hosts are the addresses 127.0.0.N; where there is only 127.0.0.1, they share it.

    The observer is 127.0.0.1. What else is on the loopback interface takes part if it is told
    `Lan.settings`; ``domain`` is for what can't be told: None takes a port that nobody uses, and
    a realm of its own. ``seed``: what is lost to `loss`. Accessories of described protocols are
    played by one process at a time: their ports are fixed, so tests in parallel would see each
    other's. Raises `InterfaceError` if there is no loopback interface with an IPv4 address that is
    up, `UnsupportedError` for several networks.
    """

    kind: ClassVar[str] = "loopback"

    def __init__(self, *, seed: int = 0, networks: int = 1, domain: Domain | None = None) -> None:
        if networks != 1:
            raise UnsupportedError(
                f"the loopback interface is one network, not {networks}",
                "use the simulated LAN or the lab",
            )
        self._loopback = _loopback()
        self._held: socket.socket | None = None
        self._has_turn = False
        if domain is None:
            self._held, port = _hold_port()
            groups = tuple(group for group in DEFAULT_GROUPS if group.family is Family.IPV4)
            domain = Domain(f"lan-{uuid4()}", port, groups)
        super().__init__(domain, [self._loopback.name], seed)
        self._addresses: dict[Host, IPv4Address] = {}
        self._connect(self.observer)

    @property
    def label(self) -> str:
        return f"LAN on {self._loopback.name}"

    def close(self) -> None:
        super().close()
        if self._has_turn:
            TURN.give_back()
            self._has_turn = False
        if self._held is not None:
            self._held.close()

    def _connect(self, host: Host) -> None:
        self._addresses[host] = _FIRST + len(self._addresses)

    def _address(self, host: Host, network: str) -> IPv4Address:
        return self._addresses[host] if sys.platform == "linux" else _FIRST

    def _start(self, host: Host, occupant: Occupant) -> Running:
        lo = self._loopback
        if not (self._has_turn or occupant is None or isinstance(occupant, Accessory)):
            TURN.take()
            self._has_turn = True
        if sys.platform == "linux":
            # Only there all of 127.0.0.0/8 is this host.
            own = Address(self._addresses[host], 8, _LAST)
            lo = lo.__replace__(addresses=(own,))
        return self._run(
            host,
            occupant,
            interfaces=lo.name,
            family=Family.IPV4,
            list_interfaces=lambda: (lo,),
        )

    def _roam(self, host: Host, network: str) -> None:
        raise UnsupportedError(
            f"{host.name} can't roam: {self._loopback.name} is the only network",
            "use the simulated LAN or the lab",
        )

    def _interfaces(self, host: Host) -> tuple[str, ...]:
        return self.networks


def loopback_unavailable() -> str:
    """Why there can't be such a LAN here; empty if there can."""
    try:
        _loopback()
    except BcastError as error:
        return str(error)
    return ""


def _loopback() -> Interface:
    lo = select(list_interfaces(), "loopback").chosen[0]
    if not lo.addresses_of(Family.IPV4):
        raise InterfaceError(f"{lo.name} has no IPv4 address", "add 127.0.0.1/8 to it")
    return lo


def _hold_port() -> tuple[socket.socket, int]:
    """A port that nobody has, and what keeps it from being given to anybody else.

    Otherwise it could become the port of a program that needs any one, before or between the
    machines of a test.
    """
    holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        holder.bind(("", 0))
        port: int = holder.getsockname()[1]
        if sys.platform == "linux":
            # From here on it is shared with whoever shares it. What comes to it isn't read.
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
        else:
            holder.close()  # there it would take part in what arrives
    except OSError as error:
        holder.close()
        raise socket_error(error, "find a free port", "") from error
    return holder, port
