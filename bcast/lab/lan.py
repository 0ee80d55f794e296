"""The lab itself: its hosts, its segments, its end."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cache
from ipaddress import IPv4Interface, IPv4Network
from typing import Self

from bcast.datagram import Family
from bcast.errors import ArgumentError, LabError
from bcast.lab.faults import check_chance
from bcast.lab.holder import Holder
from bcast.lab.host import Host, Link, hardware_address, join
from bcast.lab.segment import Segment, bridge_commands

__all__ = ["Lab", "lab_unavailable"]

#: Namespaces inherit these from the machine; where /proc/sys is read-only they stay as they are.
_FORGET_MACHINE = "; ".join(
    f"{{ echo 0 >/proc/sys/net/ipv4/{name}; }} 2>/dev/null || :"
    for name in ("ip_forward", "conf/all/rp_filter", "conf/default/rp_filter")
)


class Lab:
    """A LAN of the real kernel, rootless or ``privileged`` (see the package).

    A context manager; or `open` and `close` it. Raises `LabError` where the system doesn't allow
    one (`lab_unavailable` asks beforehand). One thread at a time may build it; commands may be
    run from several. Once closed it stays closed.
    """

    def __init__(self, *, privileged: bool = False) -> None:
        self._holder = Holder(privileged=privileged)
        self._hosts: dict[str, Host] = {}
        self._segments: dict[str, Segment] = {}

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def privileged(self) -> bool:
        """Whether commands have root's capabilities, unless asked otherwise."""
        return self._holder.privileged

    @property
    def pid(self) -> int:
        """The lab's first process, as the machine counts; 0 before it is opened."""
        return self._holder.pid

    @property
    def hosts(self) -> tuple[Host, ...]:
        """All hosts, in the order in which they were made."""
        return tuple(self._hosts.values())

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All segments, in the order in which they were made."""
        return tuple(self._segments.values())

    def open(self) -> None:
        """Makes the empty lab. Raises `LabError` with the reason when the system refuses."""
        self._holder.open()

    def close(self) -> None:
        """Kills all that runs in the lab; its namespaces and cables vanish with it.

        When it returns, none of its processes is left. Closing twice is harmless.
        """
        self._holder.close()

    def host(self, name: str, *, loopback: bool = True) -> Host:
        """Makes a host, without a link yet; ``loopback`` says whether its lo is up.

        Raises `ArgumentError` if the name is taken.
        """
        _require_new("host", name, self._hosts)
        commands = [_FORGET_MACHINE]
        if loopback:
            commands.append("ip link set lo up")
        host = self._hosts[name] = Host(self._holder, name, self._holder.namespace(commands))
        return host

    def segment(
        self,
        name: str = "lan",
        *,
        loss: float = 0.0,
        network: str | None = None,
        families: Collection[Family] = tuple(Family),
        snooping: bool = False,
    ) -> Segment:
        """Makes a segment without hosts.

        ``loss``: see `Segment`. ``network``: IPv4; None: 10.9.1.0/24, 10.9.2.0/24, ...
        ``families``: the addresses that hosts get on it. ``snooping``: the bridge asks who is in
        which group (it is an IGMP and MLD querier), and forwards multicast to members alone,
        from 0.1 s after a link came up. Raises `ArgumentError`, and `LabError` when the system
        refuses.
        """
        _require_new("segment", name, self._segments)
        check_chance("loss", loss)
        text = network or f"10.9.{len(self._segments) + 1}.0/24"
        try:
            parsed = IPv4Network(text)
        except ValueError:
            raise ArgumentError(
                f"{text} is no IPv4 network", "write one as 192.168.1.0/24, without host bits"
            ) from None
        index = next(self._holder.indexes)
        commands = bridge_commands(index, hardware_address(index), snooping=snooping)
        chosen = tuple(family for family in Family if family in families)
        pid = self._holder.namespace(commands)
        made = Segment(self._holder, name, pid, parsed, chosen, snooping=snooping)
        self._segments[name] = made
        if loss:
            made.loss = loss
        return made

    def wire(
        self,
        a: Host,
        a_name: str,
        b: Host,
        b_name: str,
        *,
        addresses: tuple[str, str] | None = None,
        families: Collection[Family] = tuple(Family),
    ) -> tuple[Link, Link]:
        """Connects two hosts by a cable without a bridge; ``addresses`` with prefix lengths."""
        ipv6 = Family.IPV6 in families
        ours, theirs = map(_ipv4, addresses) if addresses else (None, None)
        left = Link(a, None, a.new_interface(a_name, ours, None, ipv6=ipv6))
        right = Link(b, None, b.new_interface(b_name, theirs, None, ipv6=ipv6))
        join(left, right)
        return left, right


def _ipv4(text: str) -> IPv4Interface:
    try:
        return IPv4Interface(text)
    except ValueError as error:
        raise ArgumentError(f"{text!r} isn't an IPv4 address: {error}") from None


def _require_new(what: str, name: str, taken: Iterable[str]) -> None:
    if name in taken:
        raise ArgumentError(f"there is a {what} {name} already", "use another name")


@cache
def lab_unavailable(privileged: bool = False) -> str:
    """Why `Lab` doesn't work here, as a sentence; empty if it does. Tries it once (30 ms)."""
    try:
        with Lab(privileged=privileged) as lab:
            host = lab.host("trial")
            host.connect(lab.segment("trial"))
            host.run(["true"])
    except LabError as error:
        return str(error)
    return ""
