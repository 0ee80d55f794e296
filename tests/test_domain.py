from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from bcast.datagram import Group
from bcast.domain import Domain
from bcast.errors import ArgumentError
from bcast.wire.hashes import realm_hash
from bcast.wire.keys import Keyring

FOUR = Group(IPv4Address("239.1.2.3"))
SIX = Group(IPv6Address("ff12::1"))


def test_by_default_peers_meet_where_the_protocol_says() -> None:
    domain = Domain()
    assert [str(group) for group in domain.groups] == ["239.255.110.72", "ff12::fd99:4222"]
    assert (domain.port, domain.realm_hash, domain.keyring) == (28232, 0, None)
    assert not domain.broadcast


def test_a_domain_has_its_own_place_and_name() -> None:
    ring = Keyring({1: b"k" * 16}, 1)
    domain = Domain("é" * 127, 2222, (FOUR, SIX), ring, True)
    assert domain == Domain("é" * 127, port=2222, groups=(FOUR, SIX), keyring=ring, broadcast=True)
    assert domain.realm_hash == realm_hash("é" * 127)
    assert hash(domain) != hash(Domain())
    assert Domain(groups=(), broadcast=True).groups == ()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"realm": "é" * 128}, "256 bytes of UTF-8: it must have 1 to 255"),
        ({"realm": "\udc80"}, "is not text"),
        ({"port": 0}, "port 0"),
        ({"port": 65_536}, "port 65536"),
        ({"groups": (Group(IPv4Address("10.0.0.1")),)}, "10.0.0.1 is not a group: use one like"),
        ({"groups": (Group(FOUR.address, IPv4Address("10.0.0.1")),)}, "from one host only"),
        ({"groups": (FOUR, Group(IPv4Address("239.1.2.4")))}, "two groups are of one family"),
        ({"groups": ()}, "a place to meet: use a group, or broadcast"),
    ],
)
def test_where_nobody_could_meet_is_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        Domain(**arguments)
