"""What an errno of a socket call means here, and what to do about it, in a sentence.

The same errno means different things for different calls and systems; the table says what was
measured on Linux and read in the sources of the others. Nothing here is permanent: EHOSTUNREACH
on macOS and EPERM from a firewall come and go, and the caller may try again.
"""

from __future__ import annotations

import errno
import os
import sys

from bcast.errors import PortTakenError, SocketError, open_files_advice

__all__ = ["errno_name", "port_owner_command", "socket_error"]


def errno_name(error: OSError) -> str:
    """The symbolic name of an error's errno (``"ENETUNREACH"``)."""
    return errno.errorcode.get(error.errno or 0, "") or type(error).__name__


def port_owner_command(port: int, system: str = sys.platform) -> str:
    """A command that shows which program has a UDP port."""
    if system == "linux":
        return f"ss -lunp 'sport = :{port}'"
    if system == "win32":
        return f"Get-Process -Id (Get-NetUDPEndpoint -LocalPort {port}).OwningProcess"
    if system.startswith("freebsd"):
        return f"sockstat -P udp -p {port}"
    if system.startswith(("openbsd", "netbsd")):
        return f"fstat | grep ':{port}'"
    if system.startswith("sunos"):
        return f"netstat -unv -P udp | grep '[.]{port} '"
    return f"lsof -nP -iUDP:{port}"


def socket_error(
    error: OSError,
    operation: str,
    interface: str,
    *,
    port: int | None = None,
    address: str = "",
    system: str = sys.platform,
) -> SocketError:
    """Makes the `SocketError` of a failed system call: what, where, why, what to do."""
    name = errno_name(error)
    where = f"{interface}: " if interface else ""
    # Windows says EACCES for a port that its owner keeps to itself.
    taken = (errno.EADDRINUSE, errno.EACCES) if system == "win32" else (errno.EADDRINUSE,)
    if error.errno in taken and port:
        return PortTakenError(
            f"{where}UDP port {port} is taken by a program that doesn't share it",
            f"find it with {port_owner_command(port, system)}, or use another port",
            error=name,
            interface=interface,
            operation=operation,
        )
    refused = error.errno in (errno.EACCES, errno.EPERM)
    if refused and port and port < 1024:
        advice = f"ports below 1024 need privileges: run as root, or use another port than {port}"
    elif error.errno == errno.EADDRNOTAVAIL and address:
        advice = f"{address.partition('%')[0]} is not an address of {interface} any more"
    else:
        advice = _advice(error.errno or 0, operation, interface, system)
    return SocketError(
        f"{where}can't {operation}: {name} ({error.strerror or os.strerror(error.errno or 0)})",
        advice,
        error=name,
        interface=interface,
        operation=operation,
    )


def _advice(number: int, operation: str, interface: str, system: str) -> str:
    joining = operation.startswith("set membership")
    if number == errno.EHOSTUNREACH and system == "darwin":
        return (
            "macOS may be keeping this program from the local network (System Settings > Privacy"
            " & Security > Local Network), or the network is still coming up: try again"
        )
    if number == errno.ENOBUFS and joining:
        return (
            "too many groups on one socket: raise net.ipv4.igmp_max_memberships"
            if system == "linux"
            else "too many groups on one socket"
        )
    table = {
        errno.EPERM: "a firewall rule or a missing permission refused it: look at the output"
        " rules (nft list ruleset), or run where it is allowed",
        errno.EACCES: "not permitted: a route that prohibits it, or a missing permission",
        errno.ENETUNREACH: f"{interface} is down or has no address of this family any more:"
        " see bcast interfaces",
        errno.EHOSTUNREACH: "there is no route to that host from here",
        errno.ENODEV: f"{interface} is gone: see bcast interfaces",
        errno.ENXIO: f"{interface} is gone: see bcast interfaces",
        errno.EADDRNOTAVAIL: f"{interface} doesn't have that address: see bcast interfaces",
        errno.ENOBUFS: "the system's buffers are full: send more slowly",
        errno.EAGAIN: "the send buffer is full: send more slowly",
        errno.ENOMEM: "the system's memory for sockets is used up",
        errno.EMFILE: open_files_advice(),
        errno.ENFILE: "the system has too many open files",
        errno.EAFNOSUPPORT: "this system doesn't have that address family: use -4 or -6",
        errno.EMSGSIZE: f"more bytes than {interface} sends in one piece: see its MTU",
        errno.ENETDOWN: f"{interface} is down: see bcast interfaces",
        errno.EINVAL: "the system doesn't accept it for this interface",
    }
    return table.get(number, "")
