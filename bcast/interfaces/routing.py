"""Which interface the kernel alone would send out of: for explaining, never for sending."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address, ip_address

from bcast.datagram import Interface, IPAddress
from bcast.errors import SocketError

__all__ = ["kernel_choice"]

#: The discard port (RFC 863): connect() needs one, and sends nothing to it.
PORT = 9

_NO_ROUTE = frozenset(
    (
        errno.EACCES,
        errno.EADDRNOTAVAIL,
        errno.EAFNOSUPPORT,
        errno.EHOSTUNREACH,
        errno.EINVAL,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENODEV,
        errno.ENXIO,
        errno.EPERM,
    )
)


def kernel_choice(
    destination: IPAddress,
    interfaces: Sequence[Interface],
    create: Callable[[int, int], socket.socket] = socket.socket,
) -> Interface | None:
    """The interface that a datagram to ``destination`` leaves by if nobody binds the socket.

    Sends nothing: connects an unbound UDP socket and looks which address it was given. None if
    the kernel has no route, or no address to send from; where several interfaces have that
    address, the first. Raises `SocketError` when no socket can be opened.
    """
    scope = destination.scope_id if isinstance(destination, IPv6Address) else None
    index = next((i.index for i in interfaces if scope in (i.name, str(i.index))), 0)
    if scope and not index:
        return None
    family = socket.AF_INET6 if isinstance(destination, IPv6Address) else socket.AF_INET
    try:
        with create(family, socket.SOCK_DGRAM) as opened:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            opened.connect(_where(destination, index))
            source = opened.getsockname()
    except OSError as error:
        if error.errno in _NO_ROUTE:
            return None
        name = errno.errorcode.get(error.errno or 0, type(error).__name__)
        raise SocketError(
            f"can't ask for the route to {destination}: {name} ({os.strerror(error.errno or 0)})",
            error=name,
            operation="ask for a route",
        ) from error
    if len(source) == 4 and source[3]:
        return next((i for i in interfaces if i.index == source[3]), None)
    # A link-local source has no scope here where the group was one of a wider scope.
    address = ip_address(source[0]).packed
    return next(
        (i for i in interfaces if any(a.address.packed == address for a in i.addresses)), None
    )


def _where(destination: IPAddress, index: int) -> tuple[str, int] | tuple[str, int, int, int]:
    if not isinstance(destination, IPv6Address):
        return str(destination), PORT
    packed = destination.packed
    if not index and packed[0] == 0xFF and packed[1] & 0xF in (1, 2):
        # connect() refuses such a group without a scope though sendto() takes one. The routes
        # are those of ff00::/8, so ask for the same group in the global scope (RFC 4291, 2.7).
        packed = packed[:1] + bytes((packed[1] & 0xF0 | 0xE,)) + packed[2:]
    return str(IPv6Address(packed)), PORT, 0, index
