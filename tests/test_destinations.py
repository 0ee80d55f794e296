from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bcast.datagram import Address, Family, Interface, InterfaceFlag, IPAddress, Kind
from bcast.destinations import (
    ALL_HOSTS,
    ALL_NODES,
    DEFAULT_GROUPS,
    DEFAULT_PORT,
    Destination,
    Target,
    check_port,
    check_ttl,
    parse_destination,
    parse_group,
    targets,
)
from bcast.errors import ArgumentError
from tests.strategies import groups, interfaces, ip_addresses

UP = InterfaceFlag.UP | InterfaceFlag.RUNNING
ABLE = UP | InterfaceFlag.BROADCAST | InterfaceFlag.MULTICAST
LOOPBACK = UP | InterfaceFlag.LOOPBACK
TUNNEL = UP | InterfaceFlag.POINT_TO_POINT | InterfaceFlag.NOARP | InterfaceFlag.MULTICAST


def address(text: str, *, tentative: bool = False) -> Address:
    plain, _, length = text.partition("/")
    value = ip_address(plain)
    broadcast = None
    if isinstance(value, IPv4Address) and int(length) <= 30:
        broadcast = IPv4Network((int(value), int(length)), strict=False).broadcast_address
    return Address(value, int(length), broadcast, tentative)


def interface(
    *own: str | Address,
    name: str = "eth0",
    flags: InterfaceFlag = ABLE,
    kind: Kind = Kind.ETHERNET,
) -> Interface:
    values = tuple(address(a) if isinstance(a, str) else a for a in own)
    return Interface(name, 4, kind, flags, 1500, None, values)


def loopback(*own: str) -> Interface:
    plain = (dataclasses.replace(address(a), broadcast=None) for a in own)
    return interface(*plain, name="lo", flags=LOOPBACK, kind=Kind.LOOPBACK)


def tunnel(*own: str, flags: InterfaceFlag = TUNNEL) -> Interface:
    plain = (dataclasses.replace(address(a), broadcast=None) for a in own)
    return interface(*plain, name="tun0", flags=flags, kind=Kind.TUNNEL)


def ways(found: tuple[Target, ...] | str) -> list[str]:
    """What was found, as "source > destination"."""
    assert not isinstance(found, str), found
    return [f"{target.source.address} > {target.destination}" for target in found]


def refusal(found: tuple[Target, ...] | str) -> str:
    assert isinstance(found, str), found
    return found


def parts(caught: pytest.ExceptionInfo[ArgumentError]) -> tuple[str, str]:
    return caught.value.message, caught.value.advice


# --- what a person may write


@pytest.mark.parametrize("keyword", ["all-hosts", "subnet", "both"])
@pytest.mark.parametrize("family", [None, Family.IPV4])
def test_keywords(keyword: str, family: Family | None) -> None:
    parsed = parse_destination(keyword, family)
    assert parsed == Destination(keyword)
    assert parsed.family is Family.IPV4
    assert not parsed.is_group
    assert str(parsed) == keyword


@pytest.mark.parametrize("keyword", ["all-hosts", "subnet", "both"])
def test_broadcast_does_not_go_with_ipv6_and_the_way_out_is_named(keyword: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parse_destination(keyword, Family.IPV6)
    message, advice = parts(caught)
    assert keyword in message
    assert "-6" in message
    assert str(ALL_NODES) in advice
    assert parse_destination(str(ALL_NODES), Family.IPV6).is_group


def test_the_limited_broadcast_address_means_all_hosts() -> None:
    assert parse_destination("255.255.255.255") == parse_destination("all-hosts")
    with pytest.raises(ArgumentError, match="-6"):
        parse_destination("255.255.255.255", Family.IPV6)


@pytest.mark.parametrize(
    ("text", "family", "group"),
    [
        ("239.1.2.3", Family.IPV4, True),
        ("224.0.0.1", Family.IPV4, True),
        ("ff02::1", Family.IPV6, True),
        ("ff05::c", Family.IPV6, True),
        ("192.168.1.9", Family.IPV4, False),
        ("192.168.1.255", Family.IPV4, False),
        ("127.0.0.1", Family.IPV4, False),
        ("2001:db8::9", Family.IPV6, False),
        ("fe80::9", Family.IPV6, False),
        ("::1", Family.IPV6, False),
    ],
)
def test_groups_and_hosts(text: str, family: Family, group: bool) -> None:
    parsed = parse_destination(text)
    assert parsed.address == ip_address(text)
    assert parsed.family is family
    assert parsed.is_group is group
    assert parsed.scope == ""
    assert str(parsed) == text
    assert parse_destination(text, family) == parsed
    other = Family.IPV6 if family is Family.IPV4 else Family.IPV4
    with pytest.raises(ArgumentError) as caught:
        parse_destination(text, other)
    message, advice = parts(caught)
    assert text in message
    assert f"-{other}" in message
    assert f"-{other}" in advice
    assert ("group" if group else "address") in advice


@pytest.mark.parametrize(
    ("text", "plain", "scope"),
    [
        ("fe80::9%eth0", "fe80::9", "eth0"),
        ("fe80::9%4", "fe80::9", "4"),
        ("ff02::1%eth0", "ff02::1", "eth0"),
        ("[fe80::9%eth0]", "fe80::9", "eth0"),
        ("[ff02::1]", "ff02::1", ""),
    ],
)
def test_scopes_and_brackets(text: str, plain: str, scope: str) -> None:
    parsed = parse_destination(text)
    assert parsed.address == IPv6Address(plain)
    assert parsed.scope == scope


@given(ip_addresses())
def test_every_host_address_means_itself(host: IPAddress) -> None:
    parsed = parse_destination(str(host))
    assert parsed.address is not None
    assert parsed.address.packed == host.packed
    assert parsed.scope == str(host).partition("%")[2]


@pytest.mark.parametrize("text", ["", "everyone", "192.168.1", "192.168.1.0/24", "lamp.local"])
def test_what_is_no_destination_is_quoted_and_what_is_one_is_listed(text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parse_destination(text)
    message, advice = parts(caught)
    assert f"'{text}'" in message
    for form in ("all-hosts", "subnet", "both", "239.1.2.3", "ff02::1", "IP address"):
        assert form in advice


@pytest.mark.parametrize("text", ["0.0.0.0", "::"])
def test_the_unspecified_address_is_no_destination(text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parse_destination(text)
    assert text in parts(caught)[0]
    assert "all-hosts" in parts(caught)[1]


@given(st.text(max_size=30))
def test_any_text_is_a_destination_or_a_bad_argument(text: str) -> None:
    try:
        parsed = parse_destination(text)
    except ArgumentError:
        return
    assert parsed.address is not None or parsed.keyword in ("all-hosts", "subnet", "both")


@pytest.mark.parametrize("text", ["255.255.255.255%eth1", "ff02::1%"])
def test_a_scope_is_kept_or_refused(text: str) -> None:
    with pytest.raises(ArgumentError):
        parse_destination(text)


# --- groups


@pytest.mark.parametrize("text", ["239.1.2.3", "224.0.0.251", "ff12::fd99:4222", "ff02::fb"])
def test_a_group(text: str) -> None:
    group = parse_group(text)
    assert (group.address, group.source) == (ip_address(text), None)


@pytest.mark.parametrize(
    ("text", "group", "source"),
    [
        ("10.0.0.9@232.1.1.1", "232.1.1.1", "10.0.0.9"),
        ("2001:db8::9@ff3e::1", "ff3e::1", "2001:db8::9"),
    ],
)
def test_a_source_specific_group(text: str, group: str, source: str) -> None:
    parsed = parse_group(text)
    assert parsed.address == ip_address(group)
    assert parsed.source == ip_address(source)
    assert str(parsed) == text


@given(groups())
def test_a_group_means_what_it_says(group: object) -> None:
    assert parse_group(str(group)) == group


@pytest.mark.parametrize("text", ["", "all-hosts", "@239.1.2.3", "239.1.2", "a@239.1.2.3"])
def test_what_is_no_group_is_quoted_and_the_forms_are_shown(text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parse_group(text)
    message, advice = parts(caught)
    assert f"'{text}'" in message
    for form in ("239.1.2.3", "ff12::1234", "SOURCE@GROUP"):
        assert form in advice


@pytest.mark.parametrize("text", ["192.168.1.5", "255.255.255.255", "240.0.0.1", "fe80::1"])
def test_a_host_is_no_group_and_broadcast_needs_none(text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parse_group(text)
    message, advice = parts(caught)
    assert text in message
    assert "224.0.0.0" in advice
    assert "ff00::/8" in advice
    assert "broadcast" in advice


@pytest.mark.parametrize(
    "text", ["10.0.0.9@ff3e::1", "2001:db8::9@232.1.1.1", "239.1.2.3@232.1.1.1"]
)
def test_a_source_that_cannot_be(text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parse_group(text)
    source, _, group = text.partition("@")
    assert source in caught.value.message
    assert group in caught.value.message
    assert caught.value.advice


def test_the_scope_of_a_group_is_kept_or_refused() -> None:
    with pytest.raises(ArgumentError):
        parse_group("ff12::1234%eth0")


@pytest.mark.parametrize("source", ["0.0.0.0", "255.255.255.255"])
def test_the_source_of_a_group_is_a_host(source: str) -> None:
    with pytest.raises(ArgumentError):
        parse_group(f"{source}@232.1.1.1")


def test_the_constants_are_what_they_are_called() -> None:
    assert IPv4Address("255.255.255.255") == ALL_HOSTS
    assert ALL_NODES.address == IPv6Address("ff02::1")
    four, six = DEFAULT_GROUPS
    assert four.address in IPv4Network("239.255.0.0/16")  # IPv4 local scope (RFC 2365, 6.1)
    assert six.address.packed[:2] == b"\xff\x12"  # transient, link-local (RFC 4291, 2.7)
    assert check_port(DEFAULT_PORT) > 1023
    for group in DEFAULT_GROUPS:
        assert parse_group(str(group)) == group


# --- numbers


@pytest.mark.parametrize("port", [1, 28232, 65_535])
def test_ports(port: int) -> None:
    assert check_port(port) == port


def test_port_0_is_allowed_where_the_system_chooses() -> None:
    assert check_port(0, "source port", least=0) == 0


@pytest.mark.parametrize(("port", "least"), [(0, 1), (-1, 0), (65_536, 0), (65_536, 1)])
def test_ports_that_do_not_exist(port: int, least: int) -> None:
    with pytest.raises(ArgumentError) as caught:
        check_port(port, "source port", least=least)
    message, advice = parts(caught)
    assert f"source port {port}" in message
    assert f"{least} to 65535" in advice


@pytest.mark.parametrize("ttl", [None, 1, 255])
def test_ttls(ttl: int | None) -> None:
    assert check_ttl(ttl) == ttl


@pytest.mark.parametrize("ttl", [0, -1, 256])
def test_ttls_out_of_range(ttl: int) -> None:
    with pytest.raises(ArgumentError) as caught:
        check_ttl(ttl)
    assert str(ttl) in parts(caught)[0]
    assert "1 to 255" in parts(caught)[1]


# --- what a destination means on an interface

TWO = interface("192.168.1.5/24", "10.1.0.5/16", "fe80::5%eth0/64", "2001:db8::5/64")


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("all-hosts", ["192.168.1.5 > 255.255.255.255"]),
        ("subnet", ["192.168.1.5 > 192.168.1.255", "10.1.0.5 > 10.1.255.255"]),
        (
            "both",
            [
                "192.168.1.5 > 255.255.255.255",
                "192.168.1.5 > 192.168.1.255",
                "10.1.0.5 > 10.1.255.255",
            ],
        ),
        ("239.1.2.3", ["192.168.1.5 > 239.1.2.3"]),
        ("192.168.1.9", ["192.168.1.5 > 192.168.1.9"]),
        ("10.1.2.3", ["10.1.0.5 > 10.1.2.3"]),
        ("10.1.255.255", ["10.1.0.5 > 10.1.255.255"]),
        ("8.8.8.8", ["192.168.1.5 > 8.8.8.8"]),
        ("ff02::1", ["fe80::5%eth0 > ff02::1"]),
        ("ff01::1", ["fe80::5%eth0 > ff01::1"]),
        ("ff12::fd99:4222", ["fe80::5%eth0 > ff12::fd99:4222"]),
        ("ff05::c", ["2001:db8::5 > ff05::c"]),
        ("ff0e::c", ["2001:db8::5 > ff0e::c"]),
        ("fe80::9", ["fe80::5%eth0 > fe80::9"]),
        ("fe80::9%eth0", ["fe80::5%eth0 > fe80::9"]),
        ("fe80::9%4", ["fe80::5%eth0 > fe80::9"]),
        ("2001:db8::9", ["2001:db8::5 > 2001:db8::9"]),
        ("2001:db9::9", ["2001:db8::5 > 2001:db9::9"]),
    ],
)
def test_on_an_interface_with_several_addresses(to: str, expected: list[str]) -> None:
    assert ways(targets(TWO, parse_destination(to))) == expected


def test_only_the_limited_broadcast_is_marked() -> None:
    found = targets(TWO, parse_destination("both"))
    assert not isinstance(found, str)
    assert [target.all_hosts for target in found] == [True, False, False]


def test_two_addresses_of_one_network_are_one_broadcast_address() -> None:
    both = interface("192.168.1.5/24", "192.168.1.6/24", "192.168.1.7/25")
    assert ways(targets(both, parse_destination("subnet"))) == [
        "192.168.1.5 > 192.168.1.255",
        "192.168.1.7 > 192.168.1.127",
    ]


def test_a_self_assigned_address_is_only_used_for_want_of_another() -> None:
    mixed = interface("169.254.7.7/16", "192.168.1.5/24")
    for to in ("all-hosts", "239.1.2.3", "8.8.8.8"):
        [way] = ways(targets(mixed, parse_destination(to)))
        assert way.startswith("192.168.1.5 > ")
    assert ways(targets(mixed, parse_destination("169.254.9.9"))) == ["169.254.7.7 > 169.254.9.9"]
    alone = interface("169.254.7.7/16")
    assert ways(targets(alone, parse_destination("239.1.2.3"))) == ["169.254.7.7 > 239.1.2.3"]


def test_the_nearest_network_has_the_source() -> None:
    nested = interface("10.0.0.5/8", "10.1.0.5/16")
    assert ways(targets(nested, parse_destination("10.1.2.3"))) == ["10.1.0.5 > 10.1.2.3"]


@pytest.mark.parametrize("to", ["all-hosts", "subnet", "239.1.2.3", "10.0.0.9"])
def test_without_an_ipv4_address(to: str) -> None:
    for bare in (interface(), interface("fe80::5%eth0/64")):
        assert refusal(targets(bare, parse_destination(to))) == "no IPv4 address"


@pytest.mark.parametrize("to", ["ff02::1", "fe80::9", "fe80::9%eth0", "2001:db8::9"])
def test_without_an_ipv6_address(to: str) -> None:
    assert refusal(targets(interface("10.0.0.5/24"), parse_destination(to))) == "no IPv6 address"


def test_an_address_that_is_still_being_checked_is_not_used() -> None:
    fresh = address("fe80::5%eth0/64", tentative=True)
    to = parse_destination("ff02::1")
    reason = refusal(targets(interface(fresh), to))
    assert "no IPv6 address" in reason
    assert "yet" in reason
    found = targets(interface(fresh, "fe80::6%eth0/64", "2001:db8::5/64"), to)
    assert ways(found) == ["fe80::6%eth0 > ff02::1"]
    # It isn't used either where no other one fits as well.
    assert ways(targets(interface(fresh, "2001:db8::5/64"), to)) == ["2001:db8::5 > ff02::1"]


def test_a_scope_keeps_the_other_interfaces_out_and_says_so() -> None:
    for scope in ("eth1", "5"):
        reason = refusal(targets(TWO, parse_destination(f"fe80::9%{scope}")))
        assert f"fe80::9%{scope}" in reason
        assert reason.endswith(f"on {scope}")


@pytest.mark.parametrize("own", ["10.0.0.4/31", "10.0.0.4/32"])
def test_a_prefix_without_a_broadcast_address(own: str) -> None:
    narrow = interface(own)
    reason = refusal(targets(narrow, parse_destination("subnet")))
    assert "no broadcast address" in reason
    assert "/31" in reason
    assert "/32" in reason
    for to in ("all-hosts", "both"):
        assert ways(targets(narrow, parse_destination(to))) == ["10.0.0.4 > 255.255.255.255"]
    assert ways(targets(narrow, parse_destination("10.0.0.5"))) == ["10.0.0.4 > 10.0.0.5"]


@pytest.mark.parametrize("to", ["all-hosts", "subnet", "both"])
def test_a_point_to_point_interface_cannot_broadcast_but_knows_the_way_out(to: str) -> None:
    reason = refusal(targets(tunnel("10.8.0.2/32"), parse_destination(to)))
    assert "broadcast" in reason
    assert "point-to-point" in reason
    assert "group" in reason
    assert "host" in reason


def test_a_point_to_point_interface_has_groups_and_hosts() -> None:
    tun = tunnel("10.8.0.2/32", "fe80::2%tun0/64")
    assert ways(targets(tun, parse_destination("239.1.2.3"))) == ["10.8.0.2 > 239.1.2.3"]
    assert ways(targets(tun, parse_destination("10.8.0.1"))) == ["10.8.0.2 > 10.8.0.1"]
    assert ways(targets(tun, parse_destination("ff02::1"))) == ["fe80::2%tun0 > ff02::1"]


def test_an_interface_that_cannot_multicast_still_reaches_hosts() -> None:
    tun = tunnel("10.8.0.2/32", flags=TUNNEL & ~InterfaceFlag.MULTICAST)
    assert "multicast" in refusal(targets(tun, parse_destination("239.1.2.3")))
    assert ways(targets(tun, parse_destination("10.8.0.1"))) == ["10.8.0.2 > 10.8.0.1"]


def test_loopback_broadcasts_and_multicasts_although_it_has_neither_flag() -> None:
    lo = loopback("127.0.0.1/8", "::1/128")
    assert ways(targets(lo, parse_destination("subnet"))) == ["127.0.0.1 > 127.255.255.255"]
    assert ways(targets(lo, parse_destination("239.1.2.3"))) == ["127.0.0.1 > 239.1.2.3"]
    assert ways(targets(lo, parse_destination("127.0.0.9"))) == ["127.0.0.1 > 127.0.0.9"]
    assert ways(targets(lo, parse_destination("ff02::1"))) == ["::1 > ff02::1"]


def test_all_hosts_of_loopback_knows_the_broadcast_address_that_may_stand_in_for_it() -> None:
    found = targets(loopback("127.0.0.1/8"), parse_destination("all-hosts"))
    assert not isinstance(found, str)
    [target] = found
    assert target.destination == ALL_HOSTS
    assert target.all_hosts
    assert target.source.broadcast == IPv4Address("127.255.255.255")


@pytest.mark.parametrize("own", ["10.255.0.1/32", "10.255.0.2/31"])
def test_a_host_address_on_loopback_has_no_broadcast_address(own: str) -> None:
    lo = loopback("127.0.0.1/8", own)
    assert ways(targets(lo, parse_destination("subnet"))) == ["127.0.0.1 > 127.255.255.255"]


destinations = st.one_of(
    st.sampled_from(["all-hosts", "subnet", "both"]),
    groups().map(lambda group: str(group.address)),
    ip_addresses("eth0").map(lambda host: str(host).partition("%")[0]),
)


@given(interfaces(), destinations)
def test_the_source_is_always_an_own_address_that_may_be_used(one: Interface, to: str) -> None:
    destination = parse_destination(to)
    found = targets(one, destination)
    usable = [a for a in one.addresses_of(destination.family) if not a.tentative]
    if isinstance(found, str):
        assert found
        return
    assert found
    for target in found:
        assert target.source.family is destination.family
        assert not target.source.tentative
        assert target.source.address in {a.address for a in usable}
        assert target.source.prefix_length in {a.prefix_length for a in usable}


@given(interfaces(), destinations)
def test_a_destination_is_reached_once_and_is_the_one_meant(one: Interface, to: str) -> None:
    destination = parse_destination(to)
    found = targets(one, destination)
    assume(not isinstance(found, str))
    assert not isinstance(found, str)
    reached = [target.destination for target in found]
    assert len(set(reached)) == len(reached)
    if destination.address is not None:
        assert reached == [destination.address]
        assert not found[0].all_hosts
        return
    assert (ALL_HOSTS in reached) is (to != "subnet")
    for target in found:
        assert target.all_hosts is (target.destination == ALL_HOSTS)
        if not target.all_hosts:
            assert target.destination == target.source.network.broadcast_address
            assert target.source.prefix_length <= 30


@given(interfaces(), destinations)
def test_a_refusal_has_a_cause(one: Interface, to: str) -> None:
    """An interface that has a usable address and the ability is never left out."""
    destination = parse_destination(to)
    own = [a for a in one.addresses_of(destination.family) if not a.tentative]
    loopback = InterfaceFlag.LOOPBACK in one.flags
    broadcasts = InterfaceFlag.BROADCAST in one.flags or loopback
    multicasts = InterfaceFlag.MULTICAST in one.flags or loopback
    able = True
    if destination.is_group:
        able = multicasts
    elif destination.address is None:
        able = broadcasts and (to != "subnet" or any(a.prefix_length <= 30 for a in own))
    assert isinstance(targets(one, destination), str) is not (bool(own) and able)


@given(interfaces(), st.data())
def test_the_source_is_in_the_network_of_a_neighbour(one: Interface, data: st.DataObject) -> None:
    """Or its answer would go to a gateway."""
    own = [a for a in one.addresses if not a.tentative]
    assume(own)
    nearest = data.draw(st.sampled_from(own))
    first = int(nearest.network.network_address)
    number = data.draw(st.integers(first, first + nearest.network.num_addresses - 1))
    neighbour = type(nearest.address)(number)
    assume(not neighbour.is_unspecified)
    found = targets(one, parse_destination(str(neighbour)))
    assert not isinstance(found, str)
    assert neighbour in found[0].source.network
