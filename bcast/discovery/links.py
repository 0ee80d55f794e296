"""An interface as a machine sees it: where to send there, and who and how many are there."""

from __future__ import annotations

from collections.abc import Mapping

from bcast.datagram import Endpoint, Family, Interface, InterfaceFlag, IPAddress
from bcast.destinations import ALL_HOSTS
from bcast.discovery.counting import Population
from bcast.discovery.schedule import Path
from bcast.discovery.sources import Sources
from bcast.domain import Domain
from bcast.machine import Attached

__all__ = ["Link", "destinations"]


class Link:
    """An attached interface; ``before`` is what it was until now, None if it is new.

    ``paths``: the families by which all peers of the domain can be reached, IPv4 first.
    ``fresh``: those of them on which nobody can know us yet, or not by this address.
    """

    __slots__ = ("families", "fresh", "interface", "paths", "population", "sources", "targets")

    def __init__(self, attached: Attached, domain: Domain, before: Link | None) -> None:
        interface = attached.interface
        self.interface = interface
        self.families = attached.families
        self.targets = destinations(attached, domain)
        self.paths = tuple(Path(interface.index, family) for family in sorted(self.targets))
        self.population: Population = before.population if before is not None else Population()
        self.sources: Sources
        if before is not None and before.interface.addresses == interface.addresses:
            self.sources = before.sources
        else:
            self.sources = Sources(interface)
        self.fresh = [
            path
            for path in self.paths
            if before is None
            or path not in before.paths
            or not _sources_of(interface, path.family)
            <= _sources_of(before.interface, path.family)
        ]


def destinations(attached: Attached, domain: Domain) -> Mapping[Family, tuple[Endpoint, ...]]:
    """Where to send what all peers of the domain shall hear, for each family that there is."""
    found: dict[Family, tuple[Endpoint, ...]] = {}
    flags = attached.interface.flags
    for family in attached.families:
        places = [group.address for group in domain.groups if group.family == family]
        able = flags & (InterfaceFlag.BROADCAST | InterfaceFlag.LOOPBACK)
        if domain.broadcast and family == Family.IPV4 and able:
            directed = [a.broadcast for a in attached.interface.addresses]
            places += dict.fromkeys([ALL_HOSTS, *(a for a in directed if a is not None)])
        if places:
            found[family] = tuple(Endpoint(address, domain.port) for address in places)
    return found


def _sources_of(interface: Interface, family: Family) -> set[IPAddress]:
    """The addresses that a datagram to the group may come from.

    Of IPv6 only link-local ones do, as long as there is one (RFC 6724, section 5, rule 2); others
    come and go by the day (RFC 8981).
    """
    usable = {a.address for a in interface.addresses_of(family) if not a.tentative}
    if family == Family.IPV6:
        return {address for address in usable if address.is_link_local} or usable
    return usable
