"""An interface as these machines see it: where datagrams go from there, and who may be heard."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, ip_address

from bcast.accessory.template import Own
from bcast.datagram import Endpoint, Family, Interface, IPAddress
from bcast.destinations import ALL_HOSTS, Destination, targets
from bcast.discovery.sources import Sources
from bcast.machine import Attached

__all__ = ["End"]


class End:
    """One attached interface."""

    def __init__(self, attached: Attached) -> None:
        self.interface: Interface = attached.interface
        self.index = attached.interface.index
        self.sources = Sources(attached.interface)
        self._ports = {(one.door, one.family): one.port for one in attached.doorways}

    def update(self, attached: Attached) -> bool:
        """Takes what changed; returns whether it has another address, or another way out."""
        before = self.interface.addresses, self._ports
        if attached.interface.addresses != self.interface.addresses:
            self.sources = Sources(attached.interface)
        self.interface = attached.interface
        self._ports = {(one.door, one.family): one.port for one in attached.doorways}
        return before != (self.interface.addresses, self._ports)

    def has(self, door: int) -> bool:
        """Whether that door is open here."""
        return any(number == door for number, _ in self._ports)

    def port(self, door: int, family: Family) -> int | None:
        """The number that a door has; None if it isn't open."""
        return self._ports.get((door, family))

    def door(self, arrived: Endpoint) -> int | None:
        """The door that a datagram for ``arrived`` came by; None: none that is known."""
        family = arrived.address.version
        for (door, version), port in self._ports.items():
            if port == arrived.port and version == family:
                return door
        return None

    def ways(self, kind: str, group: str) -> Iterator[tuple[IPAddress, IPAddress]]:
        """Where ``all-hosts``, ``subnet``, ``both``, ``broadcast`` and ``group`` are, from here.

        Pairs of destination and own address. ``broadcast`` is what accessories do: the directed
        addresses, and all-hosts where there are none.
        """
        if kind == "group":
            address = ip_address(group)
            to = Destination(group, address)
        else:
            to = Destination("subnet" if kind == "broadcast" else kind)
        found = targets(self.interface, to)
        if isinstance(found, str) and kind == "broadcast":
            found = targets(self.interface, Destination("all-hosts"))
        for target in () if isinstance(found, str) else found:
            yield (ALL_HOSTS if target.all_hosts else target.destination), target.source.address

    def source_to(self, address: IPAddress) -> IPAddress | None:
        """The own address that a datagram to a host leaves from; None: it can't."""
        plain = ip_address(address.packed)
        found = targets(self.interface, Destination(str(plain), plain))
        return None if isinstance(found, str) or not found else found[0].source.address

    def own(self, address: IPAddress, port: int, *, id: str, host: str) -> Own:
        """Who writes from here."""
        plain = str(ip_address(address.packed))
        return Own(plain, port, self.interface.hardware_address or "00:00:00:00:00:00", id, host)

    def is_own(self, source: Endpoint) -> bool:
        """Whether a datagram came from one of the doors of this machine."""
        return source.port in self._ports.values() and any(
            one.address.packed == source.address.packed for one in self.interface.addresses
        )

    def is_here(self, address: str, port: int) -> bool:
        """Whether an address that a datagram claims is a host's on this link."""
        try:
            claimed = IPv4Address(address)
        except ValueError:
            return False
        return self.sources.is_on_link(Endpoint(claimed, port))
