"""A segment of a lab: a bridge, the addresses on it, and what goes wrong on it."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import TYPE_CHECKING

from bcast.datagram import Family
from bcast.errors import ArgumentError, LabError
from bcast.lab.faults import check_chance, netem, ruleset
from bcast.lab.holder import Holder
from bcast.lab.namespace import Namespace
from bcast.lab.system import has_tool, kernel_has_ipv6, tool

if TYPE_CHECKING:
    from bcast.lab.host import Host, Link

__all__ = ["BRIDGE", "Segment", "bridge_commands"]

#: The interface that all ports of a segment belong to.
BRIDGE = "bridge"
#: Hundredths of a second within which hosts answer the snooping bridge's query; before they had
#: that time, it forwards everything to everybody.
_RESPONSE = 10


def bridge_commands(index: int, hardware_address: str, *, snooping: bool) -> list[str]:
    """Shell commands that make the bridge of a new segment.

    One that snoops asks by itself who is in which group: without a querier it would have to
    forward everything. For IPv6 it needs an address to ask from.
    """
    snoops = f"mcast_snooping {int(snooping)}"
    if snooping:
        snoops += f" mcast_query_response_interval {_RESPONSE}"
    commands = [
        f"ip link add {BRIDGE} index {index} address {hardware_address} type bridge {snoops}"
    ]
    if kernel_has_ipv6():
        commands.append(f"ip link set {BRIDGE} addrgenmode none")
    if snooping:
        commands.append(f"ip link set {BRIDGE} type bridge mcast_querier 1")
        if kernel_has_ipv6():
            commands.append(f"ip addr add fe80::1/64 dev {BRIDGE} nodad")
    commands.append(f"ip link set {BRIDGE} up")
    return commands


class Segment(Namespace):
    """A broadcast domain: a bridge in a namespace of its own. `Lab.segment` makes one.

    ``network`` is where hosts get their IPv4 addresses from, ``families`` which kinds of
    addresses they get, ``links`` who is on it, ``snooping`` whether multicast goes to members
    of the group alone. ``fault_tool``: what makes it lose or keep apart, ``"nft"`` or ``"tc"``;
    empty before it did.
    """

    def __init__(
        self,
        holder: Holder,
        name: str,
        pid: int,
        network: IPv4Network,
        families: tuple[Family, ...],
        *,
        snooping: bool,
    ) -> None:
        super().__init__(holder, name, pid)
        self.network = network
        self.families = families
        self.snooping = snooping
        self.links: list[Link] = []
        self.fault_tool = ""
        self._addresses = network.hosts()
        self._taken: set[IPv4Address] = set()
        self._loss = 0.0
        self._sides: list[list[Host]] = []

    # --- who is on it

    def address(self, wanted: str | None) -> IPv4Interface:
        """An address for a link: the wanted one, or the next free one. Raises `ArgumentError`."""
        if wanted is not None:
            text = wanted if "/" in wanted else f"{wanted}/{self.network.prefixlen}"
            try:
                address = IPv4Interface(text)
            except ValueError as error:
                raise ArgumentError(f"{text!r} isn't an IPv4 address: {error}") from None
            self._taken.add(address.ip)
            return address
        for host in self._addresses:
            if host not in self._taken:
                return IPv4Interface((host, self.network.prefixlen))
        raise ArgumentError(
            f"all addresses of {self.network} are taken on {self.name}",
            "give the segment a larger network",
        )

    def add(self, link: Link) -> None:
        """Has a link share the faults from now on."""
        self.links.append(link)
        # What nft loses for all, it loses for a new port too.
        apart = any(link.host in side for side in self._sides)
        if link.loss or apart or (self.fault_tool == "tc" and self._loss):
            self.apply_faults()

    # --- what happens to it

    @property
    def loss(self) -> float:
        """The chance (0..1) that a receiver doesn't get a datagram, each independently.

        Can be set at any time. Raises `ArgumentError` for what is no chance, `LabError` where
        neither nft nor tc's netem can be had.
        """
        return self._loss

    @loss.setter
    def loss(self, chance: float) -> None:
        check_chance("loss", chance)
        before, self._loss = self._loss, chance
        try:
            self.apply_faults()
        except LabError:
            self._loss = before
            raise

    def partition(self, *sides: Iterable[Host]) -> None:
        """Keeps hosts of one side from hearing those of another. The rest hears everybody.

        Raises `ArgumentError` if a host is on two sides, `LabError` without nft. Replaces an
        earlier partition.
        """
        placed: dict[Host, int] = {}
        for number, hosts in enumerate(sides):
            for host in hosts:
                if placed.setdefault(host, number) != number:
                    raise ArgumentError(
                        f"{host.name} can't be on two sides of {self.name}",
                        "name each host once, or leave it out to have it hear both",
                    )
        before = self._sides
        self._sides = [
            [host for host, side in placed.items() if side == number]
            for number in range(len(sides))
        ]
        try:
            self.apply_faults()
        except LabError:
            self._sides = before
            raise

    def heal(self) -> None:
        """Ends a partition."""
        if self._sides:
            self._sides = []
            self.apply_faults()

    def apply_faults(self) -> None:
        """Has the kernel lose and keep apart as is wanted now. Raises `LabError`."""
        losses = {link.port: link.loss for link in self.links}
        sides = [[one.port for one in self.links if one.host in side] for side in self._sides]
        if not (self.fault_tool or self._loss or any(losses.values()) or any(sides)):
            return
        refused = "there is no command nft"
        if self.fault_tool != "tc" and has_tool("nft"):
            rules = ruleset(self._loss, losses, sides)
            done = self.run([tool("nft"), "-f", "-"], input=rules, check=False, capable=True)
            if not done.returncode:
                self.fault_tool = "nft"
                return
            refused = f"nft refuses ({_first_line(done.stderr)})"
        if any(sides):
            raise LabError(
                f"hosts of {self.name} can't be kept apart: {refused}",
                "install nftables, on a kernel with nf_tables",
            )
        if not has_tool("tc"):
            raise LabError(
                f"nothing can be lost on {self.name}: {refused}, and there is no tc either",
                "install nftables",
            )
        for call in netem(self._loss, losses):
            done = self.run([tool("tc"), *call], check=False, capable=True)
            if done.returncode:
                raise LabError(
                    f"nothing can be lost on {self.name}: {refused}, and tc has no netem either"
                    f" ({_first_line(done.stderr)})",
                    "install nftables, on a kernel with nf_tables or sch_netem",
                )
        self.fault_tool = "tc"


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "it wrote nothing")
