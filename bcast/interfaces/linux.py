"""Linux: everything from one netlink socket, but whether a link is wireless, which sysfs knows.

Addresses too: ifaddr, which other systems need, would say less (no broadcast address, nothing of
duplicate address detection), and starts a process when it is imported. An address of a link that
the dump doesn't list came or went in between and is left out. Numbers are those of linux/if.h,
linux/if_arp.h and linux/if_addr.h.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address

from bcast.datagram import Address, Interface, InterfaceFlag, Kind
from bcast.interfaces.addresses import directed_broadcast, interface_address
from bcast.interfaces.netlink import (
    NOTIFICATION_GROUPS,
    RTM_GETADDR,
    RTM_GETLINK,
    Link,
    LinkAddress,
    decode_address,
    decode_link,
    dump,
    open_netlink,
    read_notifications,
    refused,
)

__all__ = [
    "assemble",
    "is_wireless",
    "list_interfaces",
    "open_notifications",
    "read_notifications",
]

SYSFS = "/sys/class/net"

_FLAGS = {
    0x1: InterfaceFlag.UP,
    0x2: InterfaceFlag.BROADCAST,
    0x8: InterfaceFlag.LOOPBACK,
    0x10: InterfaceFlag.POINT_TO_POINT,
    0x40: InterfaceFlag.RUNNING,
    0x80: InterfaceFlag.NOARP,
    0x1000: InterfaceFlag.MULTICAST,
}

ARPHRD_ETHER = 1
ARPHRD_PPP = 512
ARPHRD_RAWIP = 519
ARPHRD_TUNNEL = 768
ARPHRD_TUNNEL6 = 769
ARPHRD_LOOPBACK = 772
ARPHRD_SIT = 776
ARPHRD_IPGRE = 778
ARPHRD_IP6GRE = 823
ARPHRD_NONE = 65534

#: By what made the link (IFLA_INFO_KIND): tells more than the hardware type where there is one.
_KINDS = {
    "bond": Kind.BOND,
    "bridge": Kind.BRIDGE,
    "dsa": Kind.ETHERNET,  # the ports of a switch chip
    "dummy": Kind.DUMMY,
    "ipvlan": Kind.MACVLAN,
    "ipvtap": Kind.MACVLAN,
    "macvlan": Kind.MACVLAN,
    "macvtap": Kind.MACVLAN,
    "netkit": Kind.VETH,
    "rmnet": Kind.CELLULAR,
    "team": Kind.BOND,
    "veth": Kind.VETH,
    "vlan": Kind.VLAN,
    "wwan": Kind.CELLULAR,
} | dict.fromkeys(
    (
        *("amt", "bareudp", "erspan", "geneve", "gre", "gretap", "gtp", "ip6erspan", "ip6gre"),
        *("ip6gretap", "ip6tnl", "ipip", "ovpn", "ovpn-dco", "ppp", "sit", "tun", "vti", "vti6"),
        *("vxlan", "wireguard", "xfrm"),
    ),
    Kind.TUNNEL,
)

_HARDWARE = {
    ARPHRD_LOOPBACK: Kind.LOOPBACK,
    ARPHRD_RAWIP: Kind.CELLULAR,
    **dict.fromkeys(
        (
            ARPHRD_PPP,
            ARPHRD_TUNNEL,
            ARPHRD_TUNNEL6,
            ARPHRD_SIT,
            ARPHRD_IPGRE,
            ARPHRD_IP6GRE,
            ARPHRD_NONE,
        ),
        Kind.TUNNEL,
    ),
}

#: Types whose hardware address is an IP address: the local end of the tunnel.
_ADDRESSED_BY_IP = frozenset(
    (ARPHRD_TUNNEL, ARPHRD_TUNNEL6, ARPHRD_SIT, ARPHRD_IPGRE, ARPHRD_IP6GRE)
)

#: Masters that take what arrives on their ports; the port of a VRF is an ordinary interface.
_TAKES_TRAFFIC = frozenset(("bond", "bridge", "openvswitch", "team"))

IFA_F_OPTIMISTIC = 0x04
IFA_F_DADFAILED = 0x08
IFA_F_TENTATIVE = 0x40


def list_interfaces(
    *, sysfs: str = SYSFS, open_netlink: Callable[[], socket.socket] = open_netlink
) -> tuple[Interface, ...]:
    """All interfaces of this network namespace, ordered by index. Needs no privilege.

    Raises `SocketError` where a sandbox keeps this program from asking.
    """
    try:
        opened = open_netlink()
    except OSError as error:
        raise refused(error) from error
    with opened:
        links = [decode_link(body) for body in dump(opened, RTM_GETLINK)]
        told = [decode_address(body) for body in dump(opened, RTM_GETADDR)]
    known = [address for address in told if address is not None]
    return assemble(links, known, lambda link: is_wireless(link, sysfs))


def assemble(
    links: Iterable[Link], told: Iterable[LinkAddress], wireless: Callable[[Link], bool]
) -> tuple[Interface, ...]:
    """Makes the interfaces of what netlink says: the links, and their addresses (``told``)."""
    by_index = {link.ifindex: link for link in links}
    addresses: dict[int, list[Address]] = {index: [] for index in by_index}
    for one in told:
        if one.ifindex in by_index:
            addresses[one.ifindex].append(_address(one, by_index[one.ifindex]))
    return tuple(
        _interface(link, tuple(addresses[index]), by_index, wireless)
        for index, link in sorted(by_index.items())
    )


def _address(told: LinkAddress, link: Link) -> Address:
    return interface_address(
        told.address,
        told.prefix_length,
        link.name,
        link.ifindex,
        _broadcast(told, _flags(link)),
        # An optimistic address may be used while it is still being checked (RFC 4429).
        bool(told.flags & IFA_F_DADFAILED)
        or bool(told.flags & IFA_F_TENTATIVE and not told.flags & IFA_F_OPTIMISTIC),
    )


def _broadcast(told: LinkAddress, flags: InterfaceFlag) -> IPv4Address | None:
    computed = directed_broadcast(told.address, told.prefix_length)
    if computed is None or InterfaceFlag.POINT_TO_POINT in flags or told.peer:
        return None
    if told.broadcast and int(told.broadcast):
        return told.broadcast
    # The kernel has a broadcast route for every such network, even where nobody gave it a
    # broadcast address, and on loopback too: 127.255.255.255 works there.
    if flags & (InterfaceFlag.BROADCAST | InterfaceFlag.LOOPBACK):
        return computed
    return None


def _interface(
    link: Link,
    addresses: tuple[Address, ...],
    by_index: dict[int, Link],
    wireless: Callable[[Link], bool],
) -> Interface:
    kind = _kind(link, wireless)
    master = by_index.get(link.master)
    return Interface(
        name=link.name,
        index=link.ifindex,
        kind=kind,
        flags=_flags(link),
        mtu=link.mtu,
        hardware_address=_hardware_address(link),
        addresses=addresses,
        enslaved_to=master.name if master and master.kind in _TAKES_TRAFFIC else None,
        plumbing=_plumbing(link.name, kind),
    )


def _flags(link: Link) -> InterfaceFlag:
    flags = InterfaceFlag(0)
    for bit, flag in _FLAGS.items():
        if link.flags & bit:
            flags |= flag
    return flags


def _kind(link: Link, wireless: Callable[[Link], bool]) -> Kind:
    if link.kind in _KINDS:
        return _KINDS[link.kind]
    if link.type == ARPHRD_ETHER:
        if wireless(link):
            return Kind.WIFI
        return Kind.OTHER if link.kind else Kind.ETHERNET
    return _HARDWARE.get(link.type, Kind.OTHER)


def _hardware_address(link: Link) -> str | None:
    if link.type in _ADDRESSED_BY_IP or not any(link.hardware_address):
        return None
    return link.hardware_address.hex(":")


def _plumbing(name: str, kind: Kind) -> bool:
    if name.startswith("cali"):
        return True
    if kind is not Kind.BRIDGE:
        return False
    network = name.removeprefix("br-")  # docker names a bridge after its network's id
    return (
        name == "docker0"
        or name.startswith(("virbr", "cni"))
        or (network != name and len(network) == 12 and set(network) <= set("0123456789abcdef"))
    )


def is_wireless(link: Link, sysfs: str = SYSFS) -> bool:
    """Whether sysfs says that ``link`` is a Wi-Fi interface.

    sysfs shows the network namespace that it was mounted in, where another interface may have
    the same name: it is believed only if index and hardware address agree.
    """
    folder = os.path.join(sysfs, link.name)
    return (
        any(os.path.exists(os.path.join(folder, name)) for name in ("phy80211", "wireless"))
        and _first_line(folder, "ifindex") == str(link.ifindex)
        and _first_line(folder, "address") == link.hardware_address.hex(":")
    )


def _first_line(folder: str, name: str) -> str:
    try:
        with open(os.path.join(folder, name), encoding="ascii", errors="replace") as file:
            return file.readline(256).strip()
    except OSError:
        return ""


def open_notifications() -> socket.socket | None:
    """Opens a non-blocking socket that the kernel tells of changes to links and addresses.

    None where a sandbox doesn't let it subscribe.
    """
    try:
        opened = open_netlink(NOTIFICATION_GROUPS)
    except OSError:
        return None
    opened.setblocking(False)
    return opened
