"""A host of a lab, and its links."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Collection
from ipaddress import IPv4Interface, IPv6Address, IPv6Interface, ip_address
from itertools import count
from pathlib import Path

from bcast.datagram import Address, Family, Interface, InterfaceFlag, IPAddress, Kind
from bcast.errors import ArgumentError, LabError
from bcast.lab.faults import check_chance
from bcast.lab.holder import Holder
from bcast.lab.namespace import Namespace
from bcast.lab.segment import BRIDGE, Segment
from bcast.lab.system import kernel_has_ipv6, not_linux, tool

__all__ = ["Host", "Link", "hardware_address", "join"]

_FLAGS = (
    InterfaceFlag.UP | InterfaceFlag.RUNNING | InterfaceFlag.BROADCAST | InterfaceFlag.MULTICAST
)
_MTU = 1500


class Link:
    """A host's connection to a segment, or to another host; `Host.connect` makes one.

    ``host``, ``segment`` (None where there is none), ``interface`` (as it is when it is made;
    index and hardware address are unique in the lab), ``is_up``. ``port`` is the name of the
    other end, in the namespace of the segment.
    """

    def __init__(
        self,
        host: Host,
        segment: Segment | None,
        interface: Interface,
        *,
        port: str = "",
        loss: float = 0.0,
    ) -> None:
        self.host = host
        self.segment = segment
        self.interface = interface
        self.port = port
        self.is_up = True
        self._loss = loss

    def __repr__(self) -> str:
        to = f" to {self.segment.name}" if self.segment else ""
        return f"<Link {self.name} of {self.host.name}{to}>"

    @property
    def name(self) -> str:
        """Of the interface."""
        return self.interface.name

    @property
    def index(self) -> int:
        """Of the interface."""
        return self.interface.index

    @property
    def hardware_address(self) -> str:
        """Of the interface, in colon-separated lower-case hex."""
        return hardware_address(self.index)

    @property
    def link_local(self) -> IPv6Address | None:
        """Its link-local IPv6 address without scope, None if it was given none."""
        for address in self.interface.addresses_of(Family.IPV6):
            if address.address.is_link_local:
                return IPv6Address(int(address.address))
        return None

    def address(self, family: Family = Family.IPV4) -> IPAddress:
        """The first address of a family that it was given. Raises `ArgumentError` if none was."""
        for address in self.interface.addresses_of(family):
            return address.address
        raise ArgumentError(
            f"{self.name} of {self.host.name} has no IPv{family:d} address",
            "give the family to the segment",
        )

    # --- what happens to it

    @property
    def loss(self) -> float:
        """A chance (0..1) of its own that a datagram doesn't arrive, besides the segment's.

        Can be set at any time; raises what the `loss` of a segment does.
        """
        return self._loss

    @loss.setter
    def loss(self, chance: float) -> None:
        check_chance("loss", chance)
        segment = self._on_segment("lose")
        before, self._loss = self._loss, chance
        try:
            segment.apply_faults()
        except LabError:
            self._loss = before
            raise

    def down(self) -> None:
        """Pulls the cable: the interface has no carrier any more; it keeps its addresses."""
        if self.is_up:
            self._on_segment("be cut off").setup(f"ip link set {self.port} down")
            self.is_up = False

    def up(self) -> None:
        """Plugs it in again."""
        if not self.is_up:
            self._on_segment("be cut off").setup(f"ip link set {self.port} up")
            self.is_up = True

    def _on_segment(self, doing: str) -> Segment:
        if self.segment is None:
            raise ArgumentError(
                f"{self.name} of {self.host.name} can't {doing}: it is one end of a wire",
                "connect both hosts to a segment instead",
            )
        return self.segment


class Host(Namespace):
    """A host of the lab: no interface but the loopback one until it is connected.

    ``name``; ``links``.
    """

    def __init__(self, holder: Holder, name: str, pid: int) -> None:
        super().__init__(holder, name, pid)
        self.links: list[Link] = []

    def connect(
        self,
        segment: Segment,
        address: str | IPAddress | None = None,
        name: str | None = None,
        *,
        loss: float = 0.0,
        families: Collection[Family] | None = None,
        unique_local: str | None = None,
    ) -> Link:
        """Gives the host an interface on a segment, which can be used at once.

        ``address``: IPv4, with or without prefix length; None: the next free one. ``name``: None
        counts eth0, eth1... ``loss``: 0..1, see `Link`. ``families``: None has those of the
        segment; without one of them the interface has no such address. IPv6 is a link-local
        address, and ``unique_local`` (with prefix length) where that is given; no duplicate
        address detection delays them. Raises `ArgumentError`, and `LabError` when the system
        refuses.
        """
        check_chance("loss", loss)
        wanted = segment.families if families is None else families
        four = None
        if Family.IPV4 in wanted:
            four = segment.address(None if address is None else str(address))
        interface = self.new_interface(
            name or self._free_name(), four, unique_local, ipv6=Family.IPV6 in wanted
        )
        port = f"port{interface.index}"
        link = Link(self, segment, interface, port=port, loss=loss)
        segment._batch(
            [
                f"link add name {port} index {next(self._holder.indexes)} type veth"
                f" peer {_end(interface)} netns /proc/{self.pid}/ns/net",
                *_quiet(port),
                f"link set {port} master {BRIDGE} up",
            ]
        )
        self.plug(link)
        segment.add(link)
        return link

    def default_route(self, via: str) -> None:
        """Routes all that isn't on its networks to a gateway's address, or out of an interface.

        The address's family is the route's family; by an interface it is an IPv4 route.
        """
        try:
            family, by = f"-{ip_address(via).version}", "via"
        except ValueError:
            family, by = "-4", "dev"
        self.run([tool("ip"), family, "route", "replace", "default", by, via], capable=True)

    def stop(self) -> None:
        """Switches the host off: all that runs on it is killed, without a word.

        Daemons too. Its links stay; it may run something later: that is a restart.
        """
        if sys.platform != "linux":
            raise not_linux()
        own = [running for running in self._holder.running if running.place is self]
        for running in own:
            running.strike()
        # What they left running, which may be making more of itself.
        while pids := self.inhabitants():
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        for running in own:
            running.finish()

    def inhabitants(self) -> list[int]:
        """The process ids of all that runs on it, as the machine counts."""
        own = os.stat(f"/proc/{self.pid}/ns/net").st_ino
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "ns/net").stat().st_ino == own and int(process.name) != self.pid:
                    found.append(int(process.name))
            except OSError:
                continue  # it ended meanwhile, or isn't ours
        return found

    def _free_name(self) -> str:
        taken = {link.name for link in self.links}
        return next(name for number in count() if (name := f"eth{number}") not in taken)

    # --- for the lab

    def new_interface(
        self, name: str, four: IPv4Interface | None, unique_local: str | None, *, ipv6: bool
    ) -> Interface:
        """What an interface will be: the next index, and addresses that follow from it."""
        index = next(self._holder.indexes)
        addresses = []
        if four is not None:
            network = four.network
            broadcast = network.broadcast_address if network.prefixlen < 31 else None
            addresses.append(Address(four.ip, network.prefixlen, broadcast))
        if ipv6 and kernel_has_ipv6():
            # The modified EUI-64 identifier of the hardware address (RFC 4291, appendix A).
            local = IPv6Address((0xFE80 << 112) + 0xFF_FE00_0000 + index)
            addresses.append(Address(IPv6Address(f"{local}%{name}"), 64))
            if unique_local:
                try:
                    six = IPv6Interface(unique_local)
                except ValueError as error:
                    raise ArgumentError(
                        f"{unique_local!r} isn't an IPv6 address: {error}"
                    ) from None
                addresses.append(Address(six.ip, six.network.prefixlen))
        hardware = hardware_address(index)
        return Interface(name, index, Kind.VETH, _FLAGS, _MTU, hardware, tuple(addresses))

    def plug(self, link: Link) -> None:
        """Brings up an interface that exists, with its addresses."""
        name = link.name
        lines = [*_quiet(name), f"link set {name} up"]
        for address in link.interface.addresses:
            plain = f"{str(address.address).partition('%')[0]}/{address.prefix_length}"
            options = "nodad" if address.family is Family.IPV6 else ""
            if address.broadcast is not None:
                options = "brd +"
            lines.append(f"addr add {plain} {options} dev {name}")
        self._batch(lines)
        self.links.append(link)


def join(left: Link, right: Link) -> None:
    """Connects two hosts by a cable without a bridge."""
    a, b = left.host, right.host
    a._batch(
        [
            f"link add {_end(left.interface)} type veth peer {_end(right.interface)}"
            f" netns /proc/{b.pid}/ns/net"
        ]
    )
    a.plug(left)
    b.plug(right)


def hardware_address(index: int) -> str:
    """A locally administered address, one for each index."""
    return f"02:00:00:00:{index >> 8:02x}:{index & 0xFF:02x}"


def _end(interface: Interface) -> str:
    hardware = interface.hardware_address
    return f"name {interface.name} index {interface.index} address {hardware}"


def _quiet(name: str) -> list[str]:
    """`ip` commands that keep the kernel from giving an interface an IPv6 address itself.

    That address would take 1 to 2 s of duplicate address detection.
    """
    return [f"link set {name} addrgenmode none"] if kernel_has_ipv6() else []
