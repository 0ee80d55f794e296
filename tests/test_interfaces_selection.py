from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.datagram import Address, Interface, InterfaceFlag, Kind
from bcast.errors import ArgumentError, InterfaceError
from bcast.interfaces.selection import Selection, Skipped, parse, select

UP = InterfaceFlag.UP | InterfaceFlag.RUNNING
ABLE = InterfaceFlag.BROADCAST | InterfaceFlag.MULTICAST


def interface(
    name: str,
    index: int,
    *addresses: str,
    kind: Kind = Kind.ETHERNET,
    flags: InterfaceFlag = UP | ABLE,
    enslaved_to: str | None = None,
    plumbing: bool = False,
) -> Interface:
    values = []
    for text in addresses:
        address, _, prefix_length = text.partition("/")
        values.append(Address(ip_address(address), int(prefix_length)))
    return Interface(name, index, kind, flags, 1500, None, tuple(values), enslaved_to, plumbing)


LO = interface(
    "lo", 1, "127.0.0.1/8", "::1/128", kind=Kind.LOOPBACK, flags=UP | InterfaceFlag.LOOPBACK
)
ETH0 = interface("eth0", 4, "192.0.2.2/24", "fe80::1%eth0/64", "fd00::2/64")
ETH1 = interface("eth1", 2, "10.9.1.1/24", "fe80::1%eth1/64")
WLAN = interface("wlan0", 5, "10.9.1.9/24", kind=Kind.WIFI)
DOWN = interface("eth2", 6, kind=Kind.ETHERNET, flags=ABLE)
PORT = interface("veth7", 7, kind=Kind.VETH, enslaved_to="br0")
DOCKER = interface("docker0", 8, "172.17.0.1/16", kind=Kind.BRIDGE, plumbing=True)
ALL = (ETH0, LO, ETH1, WLAN, DOWN, PORT, DOCKER)


def names(selection: Selection) -> str:
    return " ".join(i.name for i in selection.chosen)


def reasons(selection: Selection) -> dict[str, str]:
    return {s.interface.name: s.reason for s in selection.skipped}


def test_default_is_every_usable_interface_and_says_why_not_the_others() -> None:
    for selection in (select(ALL), select(ALL, ()), select(ALL, [], [])):
        assert names(selection) == "eth1 eth0 wlan0"
        assert reasons(selection) == {
            "lo": "loopback",
            "eth2": "down",
            "veth7": "enslaved to br0",
            "docker0": "container plumbing",
        }


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("eth0", "eth0"),
        ("eth[01]", "eth1 eth0"),
        ("e*", "eth1 eth0"),
        ("*", "lo eth1 eth0 wlan0 veth7 docker0"),
        ("????", "eth1 eth0"),
        ("4", "eth0"),
        ("1", "lo"),
        ("192.0.2.2", "eth0"),
        ("fd00::2", "eth0"),
        ("FD00:0::2", "eth0"),
        ("fe80::1", "eth1 eth0"),
        ("fe80::1%eth0", "eth0"),
        ("fe80::1%4", "eth0"),
        ("fe80::1%eth1/64", "eth1"),
        ("192.0.2.0/24", "eth0"),
        ("192.0.2.77/24", "eth0"),
        ("192.0.2.0/255.255.255.0", "eth0"),
        ("10.9.1.0/24", "eth1 wlan0"),
        ("10.9.1.8/29", "wlan0"),
        ("0.0.0.0/0", "lo eth1 eth0 wlan0 docker0"),
        ("fe80::/10", "eth1 eth0"),
        ("::/0", "lo eth1 eth0"),
        ("wifi", "wlan0"),
        ("ethernet", "eth1 eth0"),
        ("loopback", "lo"),
        ("veth", "veth7"),
        ("all", "lo eth1 eth0 wlan0 veth7 docker0"),
    ],
)
def test_expression(expression: str, expected: str) -> None:
    assert names(select(ALL, expression)) == expected


def test_several_expressions_add_up_without_duplicates() -> None:
    assert names(select(ALL, ["eth0", "192.0.2.2", "lo", "4"])) == "lo eth0"
    assert names(select(ALL, iter(["wifi", "eth1"]))) == "eth1 wlan0"


@pytest.mark.parametrize(
    ("name", "other"),
    [("4", ETH0), ("wifi", WLAN), ("10.9.1.9", WLAN), ("e*", ETH1), ("192.0.2", ETH0)],
)
def test_name_wins_over_everything_else_it_could_mean(name: str, other: Interface) -> None:
    named = interface(name, 99)
    if name == "192.0.2":
        with pytest.raises(ArgumentError):
            select([other, named], name)
    else:
        assert select([other, named], name).chosen == (named,)


def test_explicit_wish_takes_loopback_ports_and_plumbing_but_nothing_that_is_blocked() -> None:
    selection = select(ALL, ["lo", "veth*", "docker0", "eth2"])
    assert names(selection) == "lo veth7 docker0"
    assert selection.skipped == (Skipped(DOWN, "down"),)


def test_what_no_expression_names_is_not_reported() -> None:
    assert select(ALL, "eth0") == Selection((ETH0,))


def test_exclusion() -> None:
    selection = select(ALL, exclude=["wifi", "eth0", "nothing-like-it", "10.10.0.0/16"])
    assert names(selection) == "eth1"
    assert reasons(selection)["wlan0"] == reasons(selection)["eth0"] == "excluded"
    assert reasons(selection)["lo"] == "loopback"
    selection = select(ALL, "eth*", "192.0.2.0/24")
    assert (names(selection), reasons(selection)) == ("eth1", {"eth0": "excluded", "eth2": "down"})
    assert "wlan0" not in reasons(select(ALL, "eth*", "wlan0"))


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        " ",
        "192.168.1.0/99",
        "192.168.1.0/",
        "10.0.0.300",
        "10.0.0",
        "010.0.0.1",
        "10/8",
        "/24",
        "fe80::zz",
        "fe80::1%",
        "fe80::1%/64",
        "fd00::1%eth0",
        "[::1]",
        "eth0:1",
        "eth0/24",
        "eth 0",
        " eth0",
        "eth0\n",
        "eth\x1b[2J",
        "eth\x00",
        "-1",
        "x" * 257,
        "9" * 5000,
    ],
)
@pytest.mark.parametrize("require", [True, False])
def test_malformed_expression_is_refused_and_shows_the_forms(
    malformed: str, require: bool
) -> None:
    for include, exclude in ((malformed, None), (["eth0", malformed], None), (None, malformed)):
        with pytest.raises(ArgumentError, match="a network \\(192") as raised:
            select(ALL, include, exclude, require=require)
        assert str(raised.value).isprintable()
        assert len(str(raised.value)) < 600


def test_names_of_windows_have_spaces() -> None:
    assert parse("Ethernet 2", spaces=True).meaning == "Ethernet 2"
    with pytest.raises(ArgumentError):
        parse("Ethernet 2 ", spaces=True)
    with pytest.raises(ArgumentError):
        parse("Ethernet 2", spaces=False)


@given(st.text(max_size=30) | st.text("0123456789.:/%abcdef*[]-", max_size=30))
def test_any_text_is_an_expression_or_an_argument_error(text: str) -> None:
    try:
        selection = select(ALL, text, require=False)
    except ArgumentError:
        return
    assert set(selection.chosen) <= set(ALL)


@given(st.sets(st.sampled_from(ALL)), st.sets(st.sampled_from(ALL)))
def test_names_choose_exactly_what_they_name(
    wanted: set[Interface], unwanted: set[Interface]
) -> None:
    selection = select(ALL, [i.name for i in wanted], [i.name for i in unwanted], require=False)
    expected = {i for i in wanted if not i.blocked} if wanted else {i for i in ALL if i.usable}
    assert set(selection.chosen) == expected - unwanted
    assert [i.index for i in selection.chosen] == sorted(i.index for i in selection.chosen)
    assert {s.interface for s in selection.skipped} | set(selection.chosen) == (wanted or set(ALL))


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        (
            "eth7",
            "no interface matches 'eth7'; there are lo (127.0.0.1/8), eth1 (10.9.1.1/24),"
            " eth0 (192.0.2.2/24), wlan0 (10.9.1.9/24), eth2, veth7, docker0 (172.17.0.1/16)",
        ),
        ("99", "no interface has the index 99; there are 1 (lo), 2 (eth1), 4 (eth0), 5 (wlan0),"),
        (
            "10.0.0.1",
            "no interface has the address 10.0.0.1; there are 127.0.0.1 (lo), 10.9.1.1 (eth1),",
        ),
        ("fe80::1%lo", "no interface has the address fe80::1%lo; there are ::1 (lo), fe80::1"),
        ("10.0.0.0/16", "no interface has an address in 10.0.0.0/16; there are 127.0.0.1 (lo),"),
        (
            "tunnel",
            "no interface is of the kind tunnel; there are loopback (lo), ethernet (eth1, eth0,"
            " eth2), wifi (wlan0), veth (veth7), bridge (docker0)",
        ),
    ],
)
def test_expression_that_matches_nothing_says_what_exists(expression: str, sentence: str) -> None:
    with pytest.raises(InterfaceError) as raised:
        select(ALL, ["eth0", expression])
    assert str(raised.value).startswith(sentence)
    assert names(select(ALL, ["eth0", expression], require=False)) == "eth0"


def test_sentence_is_bounded_and_harmless_on_a_terminal() -> None:
    many = [interface(f"veth{n}", n + 1, kind=Kind.VETH) for n in range(1000)]
    for expression in ("eth7", "9999", "tunnel"):
        with pytest.raises(InterfaceError) as raised:
            select(many, expression)
        assert len(str(raised.value)) < 300
        assert " more" in str(raised.value)
    with pytest.raises(InterfaceError, match=r"'\\x1b\[2J'"):
        select([interface("\x1b[2J", 1)], "eth7")
    with pytest.raises(InterfaceError, match="there are none"):
        select([], "eth7")


def test_nothing_usable_says_why_and_what_to_do() -> None:
    with pytest.raises(InterfaceError) as raised:
        select([LO, DOWN])
    assert str(raised.value) == (
        "no usable interface: lo is loopback, eth2 is down: bring one up, or name one with"
        " --interface, e.g. -i lo to stay on this machine"
    )
    with pytest.raises(InterfaceError, match=r"eth2 is down: bring one up, or name another") as r:
        select(ALL, "eth2")
    assert "-i lo" not in str(r.value)
    with pytest.raises(InterfaceError, match="eth0 is excluded: exclude less"):
        select(ALL, "eth0", "eth*")
    with pytest.raises(InterfaceError, match="none at all"):
        select([])
    many = [interface(f"veth{n}", n + 1, flags=ABLE) for n in range(1000)]
    with pytest.raises(InterfaceError, match="and 990 more"):
        select(many)


def test_nothing_usable_is_fine_while_following_changes() -> None:
    assert select([], require=False) == Selection(())
    assert select([DOWN], "eth*", require=False) == Selection((), (Skipped(DOWN, "down"),))
    assert select([LO], "eth7", require=False) == Selection(())


def test_expression_that_is_not_text_is_an_argument_error() -> None:
    with pytest.raises(ArgumentError, match="is text, not 4"):
        select(ALL, [4])  # type: ignore[list-item]


def test_parsed_values() -> None:
    assert parse("4").meaning == 4
    assert parse("wifi").meaning is Kind.WIFI
    assert parse("10.0.0.1").meaning == IPv4Address("10.0.0.1")
