"""Socket factories: one socket per interface and family, bound to it as well as the system can.

Layer 4. The platform's file is chosen once, here; nothing else in bcast asks for the platform's
options. Only the values (layer 1) may be imported from outside this folder.
"""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack

from bcast.datagram import Family, Group, Interface, IPAddress
from bcast.errors import ArgumentError
from bcast.sockets.plan import Bind, Create, Plan, Platform, SetOption, Step, execute

__all__ = ["RECEIVE_BUFFER", "open_receivers", "open_sender", "open_shared", "platform"]

#: Bytes of receive buffer that are asked for: 4 MiB hold some 5,000 datagrams of 200 bytes, the
#: burst of replies that a large network answers a probe with.
RECEIVE_BUFFER = 4 * 1024 * 1024


def _choose() -> Platform:
    if sys.platform == "darwin":
        from bcast.sockets import darwin

        return darwin
    if sys.platform == "win32":
        from bcast.sockets import windows

        return windows
    if sys.platform.startswith(("freebsd", "openbsd", "netbsd")):
        from bcast.sockets import bsd

        return bsd.system(sys.platform)
    if sys.platform.startswith("sunos"):
        from bcast.sockets import illumos

        return illumos
    from bcast.sockets import linux

    return linux


platform: Platform = _choose()


def open_sender(
    interface: Interface,
    family: Family,
    *,
    source: IPAddress,
    source_port: int = 0,
    ttl: int | None = None,
    loop: bool = True,
    share: bool = False,
    buffer: int = 0,
    create: Create = socket.socket,
) -> socket.socket:
    """Opens a non-blocking UDP socket that sends out of ``interface`` from ``source``.

    It may broadcast, never fragments, and receives replies with arrival interface, TTL and
    kernel time where the system has them. ``ttl`` (1..255) is for every destination; None means
    1 for groups and the system's own for the rest. ``loop``: whether what is sent to a group
    reaches this host's own members too (broadcasts always do). ``share`` lets others bind the
    same ``source_port``. ``buffer``: bytes of receive buffer to ask for, 0 = the system's default.

    Raises `ArgumentError` for a source of another family, `SocketError` or `PortTakenError` with
    nothing left open.
    """
    if source.version != family:
        raise ArgumentError(f"{source} is not an IPv{family} address")
    steps = platform.sender_steps(
        interface,
        family,
        source=source,
        source_port=source_port,
        ttl=ttl,
        loop=loop,
        share=share,
    )
    if buffer:
        steps += platform.buffer_steps(buffer)
    return execute(Plan(interface, family, steps), create)


def open_receivers(
    interface: Interface,
    family: Family,
    *,
    port: int,
    groups: tuple[Group, ...] = (),
    share: bool = True,
    buffer: int = RECEIVE_BUFFER,
    create: Create = socket.socket,
) -> list[socket.socket]:
    """Opens the non-blocking UDP sockets that receive on ``port`` of ``interface``.

    Broadcast and unicast arrive on the last one; the others exist only because one socket can't
    join more than a number of groups (20 on Linux). There every IPv4 group beyond that has a
    socket of its own, bound to the group; on other systems they share sockets, which may get
    copies of broadcasts that their reader has to drop. Without groups, and with up to that
    number, it is one socket. ``buffer`` is the receive buffer to ask for, in bytes.

    Raises `ArgumentError` for a group of another family, or for more groups than one socket takes
    while not sharing, `SocketError` or `PortTakenError` with nothing left open.
    """
    for group in groups:
        if group.family is not family:
            raise ArgumentError(f"{group} is not an IPv{family} group")
    size = platform.GROUPS_PER_SOCKET
    if len(groups) > size and not share:
        raise ArgumentError(
            f"{len(groups)} groups take several sockets, which have to share port {port}",
            f"join at most {size}, or let the port be shared",
        )
    # Bound to its group, a socket isn't given the broadcasts that the first one gets anyhow, and
    # the kernel doesn't count those a second time that it drops.
    alone = platform.BINDS_TO_GROUPS and family is Family.IPV4
    more = 1 if alone else size
    first = groups[:size]
    others = [groups[start : start + more] for start in range(size, len(groups), more)]
    with ExitStack() as opened:
        sockets = []
        # Unicast goes to the socket that was bound last (measured on Linux), so the first
        # chunk's socket, the one that keeps everything, is opened last.
        for chunk in (*reversed(others), first):
            steps = platform.receiver_steps(
                interface, family, port=port, groups=chunk, share=share, buffer=buffer
            )
            if alone and chunk is not first:
                steps = tuple(_to_group(step, chunk[0]) for step in steps)
            made = execute(Plan(interface, family, steps), create)
            opened.callback(made.close)
            sockets.append(made)
        opened.pop_all()
    return sockets


def open_shared(
    interface: Interface,
    family: Family,
    *,
    source: IPAddress,
    port: int,
    groups: tuple[Group, ...] = (),
    ttl: int | None = None,
    buffer: int = RECEIVE_BUFFER,
    create: Create = socket.socket,
) -> socket.socket:
    """Opens a non-blocking UDP socket that receives on a port of ``interface``, and sends from it.

    Others may share the port. It receives as the last socket of `open_receivers` does, and sends
    as that of `open_sender`, except that the address it sends from is told with each datagram,
    or is the interface's first where the system can't be told.

    Raises `ArgumentError` for what is of another family, or for more groups than one socket
    takes, `SocketError` or `PortTakenError` with nothing left open.
    """
    for address in (source, *(group.address for group in groups)):
        if address.version != family:
            raise ArgumentError(f"{address} is not an IPv{family} address")
    size = platform.GROUPS_PER_SOCKET
    if len(groups) > size:
        raise ArgumentError(f"one socket can't join {len(groups)} groups", f"join at most {size}")
    receives = platform.receiver_steps(
        interface, family, port=port, groups=groups, share=True, buffer=buffer
    )
    sends = platform.sender_steps(
        interface, family, source=source, source_port=port, ttl=ttl, loop=True, share=True
    )
    # Sharing and limiting come first and are the same; what only a sender needs goes before the
    # port is bound.
    known = {(step.level, step.number) for step in receives if isinstance(step, SetOption)}
    more = [
        step
        for step in sends
        if isinstance(step, SetOption) and (step.level, step.number) not in known
    ]
    bound = next(place for place, step in enumerate(receives) if isinstance(step, Bind))
    steps = (*receives[:bound], *more, *receives[bound:])
    return execute(Plan(interface, family, steps), create)


def _to_group(step: Step, group: Group) -> Step:
    return Bind((str(group.address), step.address[1])) if isinstance(step, Bind) else step
