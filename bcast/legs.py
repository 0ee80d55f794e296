"""What sending to a destination means on each of the selected interfaces.

Layer 5. Worked out once for a destination and as long as the interfaces stay as they are; no
socket is opened here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bcast.datagram import Endpoint, Family, Interface, IPAddress
from bcast.destinations import Destination, Target, targets
from bcast.errors import TooLargeError
from bcast.interfaces import Selection, Skipped, kernel_choice
from bcast.sockets import platform
from bcast.sockets.plan import SetOption
from bcast.sockets.transfer import Way, way_beside, way_to

__all__ = ["Leg", "Plan", "leg_beside", "leg_to", "make_plan"]


class Leg(NamedTuple):
    """One destination of one interface, and how to reach it.

    ``key`` tells the socket: where the source goes along with each datagram, one serves all
    addresses that an interface has of a family; elsewhere it is bound to one. ``special`` are the
    options that have to be set on it. ``bare`` does for a group, through a socket that was opened
    with the same source. ``limit`` is the longest payload in bytes.
    """

    interface: Interface
    target: Target
    there: Endpoint
    way: Way
    bare: Way | None
    key: tuple[int, Family | IPAddress]
    special: tuple[SetOption, ...]
    limit: int

    def too_large(self, length: int) -> TooLargeError:
        """The error of a payload of more than ``limit`` bytes."""
        name, mtu = self.interface.name, self.interface.mtu
        return TooLargeError(
            f"{name}: {length} bytes don't fit into one datagram",
            f"at most {self.limit} bytes do (MTU {mtu}), and bcast never fragments",
            error="EMSGSIZE",
            interface=name,
            operation="send",
        )


class Plan(NamedTuple):
    """What sending to a destination means on all interfaces."""

    skipped: tuple[Skipped, ...]
    legs: tuple[Leg, ...]


def make_plan(
    destination: Destination,
    port: int,
    selection: Selection,
    interfaces: Sequence[Interface],
    *,
    asked_for: bool,
) -> Plan:
    """Works out how to reach a destination by the chosen interfaces.

    ``interfaces`` are all there are. A host is sent to by those that lead to it only, unless the
    interfaces were asked for.
    """
    skipped = list(selection.skipped)
    legs: list[Leg] = []
    only = None if asked_for else _leading_to(destination, selection.chosen, interfaces)
    for interface in selection.chosen:
        if only is not None and interface.index not in only:
            skipped.append(Skipped(interface, f"{destination.keyword} isn't reached by it"))
            continue
        found = targets(interface, destination)
        if isinstance(found, str):
            skipped.append(Skipped(interface, found))
            continue
        for target in found:
            leg = leg_to(interface, target, port)
            if leg is None:
                skipped.append(Skipped(interface, "it has no broadcast address"))
            else:
                legs.append(leg)
    return Plan(tuple(skipped), tuple(legs))


def _leading_to(
    destination: Destination, chosen: Sequence[Interface], interfaces: Sequence[Interface]
) -> set[int] | None:
    """The indexes of the interfaces that lead to a host; None where all do."""
    address = destination.address
    if address is None or destination.is_group or address.is_link_local:
        return None
    onlink = {
        interface.index
        for interface in chosen
        if any(address in a.network for a in interface.addresses_of(destination.family))
    }
    if onlink:
        return onlink
    routed = kernel_choice(address, interfaces)
    return {routed.index} if routed else set()


def leg_to(interface: Interface, target: Target, port: int) -> Leg | None:
    """How to reach a target; None if the interface has no broadcast address for all-hosts."""
    source = target.source
    there: IPAddress | None = target.destination
    special: tuple[SetOption, ...] = ()
    if target.all_hosts:
        # All-hosts isn't 255.255.255.255 on every system.
        there, special = platform.all_hosts(source)
    if there is None:
        return None
    scoped = there.is_link_local or there.is_multicast
    ancillary = platform.send_ancillary(interface, source.address)
    scope = interface.index if scoped else 0
    way = way_to(there, port, scope, ancillary)
    bare = None
    key = (interface.index, source.family if ancillary else source.address)
    if ancillary and there.is_multicast:
        told = platform.send_ancillary(interface, source.address, group=True)
        bare = way_to(there, port, scope, told)
    limit = interface.payload_limit(source.family)
    return Leg(interface, target, Endpoint(there, port), way, bare, key, special, limit)


def leg_beside(leg: Leg, there: Endpoint) -> Leg:
    """What `leg_to` makes of another host, given the leg to one: from the same source, fast.

    For IPv4 hosts that aren't link-local. Whoever answers a search meets a new endpoint each time.
    """
    interface, target, _, way, bare, key, special, limit = leg
    beside = way_beside(way, there.address, there.port)
    to = Target(target.source, there.address)
    return Leg(interface, to, there, beside, bare, key, special, limit)
