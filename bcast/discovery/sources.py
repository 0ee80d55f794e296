"""Who may be answered: sources that are hosts on the link of the interface they came by."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from bcast.datagram import Address, Endpoint, Interface, IPAddress

__all__ = ["MAX_VERDICTS", "Sources"]

#: Verdicts remembered for an interface, so that forged sources don't fill the memory. They are
#: cheap to find again, so all are forgotten when there are too many.
MAX_VERDICTS = 4_096

#: IPv4 link-local addresses (RFC 3927), which need no prefix; IPv6 ones are known as such.
_LINK_LOCAL = 0xA9FE_0000, 0xFFFF_0000

_ALL_HOSTS = 0xFFFF_FFFF


class Sources:
    """What one interface's addresses say about where a datagram came from.

    The host's own addresses are on the link too: another process of the same host has them. That
    doesn't let anybody make the host talk to itself for ever, because nothing answers a reply.
    """

    __slots__ = ("_broadcasts", "_prefixes4", "_prefixes6", "_verdicts")

    def __init__(self, interface: Interface) -> None:
        self._verdicts: dict[IPAddress, bool] = {}
        self._prefixes4 = [_LINK_LOCAL]
        self._prefixes6: list[tuple[int, int]] = []
        self._broadcasts = {_ALL_HOSTS, 0xA9FE_0000, 0xA9FE_FFFF}
        for one in interface.addresses:
            if isinstance(one.address, IPv4Address):
                self._add4(one)
            else:
                self._prefixes6.append(_prefix(one, 128))

    def _add4(self, one: Address) -> None:
        network, mask = _prefix(one, 32)
        self._prefixes4.append((network, mask))
        if one.broadcast is not None:
            self._broadcasts.add(int(one.broadcast))
        if one.prefix_length <= 30:
            # All ones, and all zeros as old hosts had it, are never a host's (RFC 1122, 3.2.1.3).
            self._broadcasts |= {network, network | ~mask & _ALL_HOSTS}

    def is_on_link(self, source: Endpoint) -> bool:
        """Whether a datagram may come from there: a host inside a prefix, or link-local."""
        if not source.port:
            return False
        address = source.address
        verdict = self._verdicts.get(address)
        if verdict is None:
            if len(self._verdicts) >= MAX_VERDICTS:
                self._verdicts.clear()
            verdict = self._verdicts[address] = self._judge(address)
        return verdict

    def _judge(self, address: IPAddress) -> bool:
        if address.is_multicast or address.is_unspecified:
            return False
        number = int(address)
        if isinstance(address, IPv6Address):
            prefixes = self._prefixes6
            if address.is_link_local:
                return True
        else:
            prefixes = self._prefixes4
            if number in self._broadcasts:
                return False
        return any(number & mask == network for network, mask in prefixes)

    def is_for_many(self, destination: Endpoint) -> bool:
        """Whether a datagram that went there was for a group, or broadcast."""
        address = destination.address
        if isinstance(address, IPv4Address) and int(address) in self._broadcasts:
            return True
        return address.is_multicast


def _prefix(one: Address, bits: int) -> tuple[int, int]:
    mask = (1 << bits) - (1 << (bits - one.prefix_length))
    return int(one.address) & mask, mask
