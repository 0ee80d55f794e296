"""A socket as a plan: the exact calls that open it, as data, and the one function that makes them.

Each platform's file turns (interface, family, port, ...) into steps without touching the system,
so that the order of calls of every platform can be read, typed and tested on any other. `execute`
runs a plan: it returns an open non-blocking socket or raises one of bcast's errors, with nothing
left open.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address
from typing import NamedTuple, Protocol

from bcast.datagram import Address, Family, Group, Interface, IPAddress
from bcast.errors import SocketError
from bcast.sockets.advice import socket_error

__all__ = [
    "Ancillary",
    "Arrival",
    "Bind",
    "Plan",
    "Platform",
    "SetOption",
    "Step",
    "Verify",
    "execute",
]

#: What ``socket.recvmsg`` and ``socket.sendmsg`` call ancillary data: (level, type, bytes).
Ancillary = list[tuple[int, int, bytes]]


class SetOption(NamedTuple):
    """``setsockopt(level, number, value)``.

    ``name`` is what the platform's headers call it. A failure with one of ``benign`` (errno
    values; ``ANY`` stands for every one) is passed over; with ENOPROTOOPT, or EINVAL, ``instead``
    is tried where there is one.
    """

    level: int
    number: int
    value: int | bytes
    name: str
    benign: tuple[int, ...] = ()
    instead: SetOption | None = None


class Bind(NamedTuple):
    """``bind(address)``, the address as Python's socket module wants it."""

    address: tuple[str, int] | tuple[str, int, int, int]


class Verify(NamedTuple):
    """The index must still belong to the interface of that name (``if_indextoname``)."""

    ifindex: int
    name: str


Step = SetOption | Bind | Verify

#: Every errno, in `SetOption.benign`: the option is an improvement, not a condition.
ANY = -1


class Plan(NamedTuple):
    """Everything that opens one socket, in order."""

    interface: Interface
    family: Family
    steps: tuple[Step, ...]


class Arrival(NamedTuple):
    """What the control messages of one datagram said; None where they said nothing.

    ``ifindex`` is the index of the interface, ``destination`` the packed address in the IP header,
    ``local`` the packed address of ours that took it: the two differ for broadcast and multicast.
    ``drops`` is cumulative.
    """

    ifindex: int | None = None
    destination: bytes | None = None
    local: bytes | None = None
    ttl: int | None = None
    time_ns: int | None = None
    drops: int | None = None


class Platform(Protocol):
    """What a platform's file provides (each is a module with these names)."""

    #: How many IPv4 groups one socket may join.
    GROUPS_PER_SOCKET: int
    #: Whether an IPv4 socket bound to a group's address receives that group and nothing else.
    BINDS_TO_GROUPS: bool
    #: Whether a bound socket receives only what arrives on its interface. Where it doesn't,
    #: the receiver drops by arrival interface.
    ISOLATES: bool

    def sender_steps(
        self,
        interface: Interface,
        family: Family,
        *,
        source: IPAddress,
        source_port: int,
        ttl: int | None,
        loop: bool,
        share: bool,
    ) -> tuple[Step, ...]:
        """The steps of a socket that sends from ``source`` and receives the replies."""

    def receiver_steps(
        self,
        interface: Interface,
        family: Family,
        *,
        port: int,
        groups: tuple[Group, ...],
        share: bool,
        buffer: int,
    ) -> tuple[Step, ...]:
        """The steps of a socket that receives on ``port``. At most GROUPS_PER_SOCKET groups."""

    def buffer_steps(self, buffer: int) -> tuple[Step, ...]:
        """The steps that ask for ``buffer`` bytes of receive buffer; none of them may fail."""

    def send_ancillary(
        self, interface: Interface, source: IPAddress, *, group: bool = False
    ) -> Ancillary:
        """Control messages that fix the source address of a datagram; [] where bind does it.

        ``group``: it goes to a group, through a socket that was opened with the same source.
        """

    def read_arrival(self, family: Family, ancillary: Ancillary) -> Arrival:
        """Reads the control messages of one datagram; unknown and short ones are passed over."""

    def all_hosts(self, address: Address) -> tuple[IPv4Address | None, tuple[SetOption, ...]]:
        """Where to send so that all hosts of ``address``'s network receive it.

        ``address`` is of an interface that can broadcast. Returns the destination
        (255.255.255.255 where the platform sends that out of a bound socket, else the directed
        broadcast address, None if there is none) and the options to set on a sender's socket
        before sending there.
        """


Create = Callable[[int, int, int], socket.socket]

_UNSUPPORTED = (errno.ENOPROTOOPT, errno.EINVAL)


def execute(plan: Plan, create: Create = socket.socket) -> socket.socket:
    """Opens the socket that ``plan`` describes, non-blocking.

    Raises `SocketError` or `PortTakenError` naming the interface and the step that failed.
    """
    family = socket.AF_INET if plan.family is Family.IPV4 else socket.AF_INET6
    name = plan.interface.name
    try:
        opened = create(family, socket.SOCK_DGRAM, 0)
    except OSError as error:
        raise socket_error(error, f"open an IPv{plan.family} socket", name) from error
    try:
        opened.setblocking(False)
        run_steps(opened, plan.steps, name)
    except BaseException:
        opened.close()
        raise
    return opened


def run_steps(opened: socket.socket, steps: Iterable[Step], interface: str) -> None:
    """Runs steps on an open socket; raises `SocketError` at the first that fails."""
    for step in steps:
        if isinstance(step, SetOption):
            _set_option(opened, step, interface)
        elif isinstance(step, Bind):
            try:
                opened.bind(step.address)
            except OSError as error:
                operation = f"bind to port {step.address[1]}"
                raise socket_error(
                    error, operation, interface, port=step.address[1], address=step.address[0]
                ) from error
        else:
            _verify(step)


def _set_option(opened: socket.socket, step: SetOption, interface: str) -> None:
    try:
        opened.setsockopt(step.level, step.number, step.value)
    except OSError as error:
        if step.instead is not None and error.errno in _UNSUPPORTED:
            _set_option(opened, step.instead, interface)
        elif error.errno not in step.benign and ANY not in step.benign:
            raise socket_error(error, f"set {step.name}", interface) from error


def _verify(step: Verify) -> None:
    try:
        name = socket.if_indextoname(step.ifindex)
    except OSError as error:
        # It opens a socket of its own. When it can't, glibc says ENOENT: only these two say
        # something about the interface.
        if error.errno not in (errno.ENXIO, errno.ENODEV):
            raise socket_error(_why(error), "look the interface up", step.name) from error
        name = ""
    if name != step.name:
        now = f"is now called {name}" if name else "is gone"
        raise SocketError(
            f"interface {step.name} (index {step.ifindex}) {now}",
            "list the interfaces again",
            error="ENODEV",
            interface=step.name,
            operation="verify the interface",
        )


def _why(error: OSError) -> OSError:
    """Why no socket can be opened, better than ``error`` says; ``error`` if one can."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    except OSError as better:
        return better
    return error
