"""Which sockets a receiver has open, as its interfaces come, change and go."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.channels import (
    Channel,
    Channels,
    InterfaceFailed,
    InterfaceReady,
    Notice,
    granted_buffer,
)
from bcast.datagram import Address, Family, Group, Interface, InterfaceFlag, Kind
from bcast.destinations import ALL_NODES
from bcast.errors import InterfaceError, PortTakenError, SocketError
from bcast.interfaces import differences

UP = InterfaceFlag.UP | InterfaceFlag.RUNNING | InterfaceFlag.BROADCAST | InterfaceFlag.MULTICAST
FOUR, SIX = Family.IPV4, Family.IPV6
GROUPS = (Group(IPv4Address("239.1.2.3")), Group(IPv6Address("ff15::1")))


def interface(name: str, index: int, *, up: bool = True, six: bool = True) -> Interface:
    own = [Address(IPv4Address(f"10.9.{index}.1"), 24, IPv4Address(f"10.9.{index}.255"))]
    if six:
        own.append(Address(IPv6Address(f"fe80::{index}%{name}"), 64))
    flags = UP if up else UP & ~InterfaceFlag.UP
    return Interface(name, index, Kind.ETHERNET, flags, 1500, None, tuple(own))


ETH0, ETH1, ETH2 = (interface(f"eth{n}", n + 3) for n in range(3))


@dataclass
class World:
    """Opens sockets that are bound to nothing, and writes down what happens to them."""

    channels: Channels = field(init=False)
    include: Sequence[str] | None = None
    families: tuple[Family, ...] = (FOUR, SIX)
    groups: tuple[Group, ...] = GROUPS
    #: (interface's index, family) whose opening fails, and how.
    failing: dict[tuple[int, Family], SocketError] = field(default_factory=dict)
    #: How many sockets it takes for an interface and family.
    several: int = 1
    log: list[tuple[str, str, Family]] = field(default_factory=list)
    joined: dict[tuple[str, Family], tuple[Group, ...]] = field(default_factory=dict)
    extra: dict[socket.socket, bool] = field(default_factory=dict)
    owner: dict[socket.socket, tuple[str, Family]] = field(default_factory=dict)
    dropped: list[tuple[str, int | None]] = field(default_factory=list)
    listed: tuple[Interface, ...] = ()

    def __post_init__(self) -> None:
        self.channels = Channels(
            port=2222,
            families=self.families,
            groups=self.groups,
            include=self.include,
            exclude=None,
            share=True,
            buffer=4096,
            opened=self._opened,
            closing=self._closing,
            dropped=lambda channel, count: self.dropped.append((channel.interface.name, count)),
        )

    def open_receivers(
        self,
        interface: Interface,
        family: Family,
        *,
        port: int,
        groups: tuple[Group, ...],
        share: bool,
        buffer: int,
    ) -> list[socket.socket]:
        assert (port, share, buffer) == (2222, True, 4096)
        if error := self.failing.get((interface.index, family)):
            raise error
        self.log.append(("open", interface.name, family))
        self.joined[interface.name, family] = groups
        made = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(self.several)]
        self.owner |= dict.fromkeys(made, (interface.name, family))
        return made

    def _opened(self, channel: Channel, opened: socket.socket, extra: bool) -> None:
        assert opened.fileno() >= 0
        self.extra[opened] = extra

    def _closing(self, closing: socket.socket) -> None:
        assert closing.fileno() >= 0, "it must be taken out of the selector while it is open"
        self.log.append(("close", *self.owner[closing]))

    def start(self, *chosen: Interface) -> list[Notice]:
        self.listed = chosen
        return self.channels.open(chosen)

    def change(
        self,
        *listed: Interface,
        deleted: Sequence[int] = (),
        renewed: Sequence[int] = (),
        overran: bool = False,
    ) -> list[Notice]:
        found = differences(self.listed, listed, frozenset(deleted))
        self.listed = listed
        return self.channels.follow(listed, found, overran=overran, renewed=renewed)

    def taken(self) -> list[tuple[str, str, Family]]:
        """What was opened and closed since the last call."""
        log, self.log = self.log, []
        return log

    def states(self) -> list[tuple[str, str, str]]:
        return [(s.interface.name, s.state, s.reason) for s in self.channels.states]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with lived_in(World(), monkeypatch) as made:
        yield made


@contextmanager
def lived_in(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Takes a world's way to open sockets, and closes what it opened."""
    monkeypatch.setattr("bcast.channels.open_receivers", world.open_receivers)
    yield world
    world.channels.close_all()
    assert all(one.fileno() < 0 for one in world.owner)


def opened(*names: str) -> list[tuple[str, str, Family]]:
    return [("open", name, family) for name in names for family in (FOUR, SIX)]


def closed(*names: str) -> list[tuple[str, str, Family]]:
    return [("close", name, family) for name in names for family in (FOUR, SIX)]


def test_each_interface_has_a_socket_of_each_family(world: World) -> None:
    assert world.start(ETH0, ETH1) == []
    assert world.taken() == opened("eth0", "eth1")
    assert world.joined["eth0", FOUR] == (GROUPS[0],)
    # All nodes is to IPv6 what broadcast is to IPv4.
    assert set(world.joined["eth0", SIX]) == {GROUPS[1], ALL_NODES}
    assert list(world.extra.values()) == [False] * 4
    assert world.states() == [("eth0", "ready", ""), ("eth1", "ready", "")]
    assert world.channels.interfaces == {3: ETH0, 4: ETH1}


def test_one_family_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with lived_in(World(families=(SIX,), groups=GROUPS[1:]), monkeypatch) as world:
        world.start(ETH0)
        assert world.taken() == [("open", "eth0", SIX)]


def test_all_nodes_is_joined_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with lived_in(World(groups=(ALL_NODES,)), monkeypatch) as world:
        world.start(ETH0)
        assert world.joined["eth0", SIX] == (ALL_NODES,)


def test_all_but_the_last_socket_are_there_for_their_groups_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with lived_in(World(several=3, families=(FOUR,), groups=GROUPS[:1]), monkeypatch) as world:
        world.start(ETH0)
        assert list(world.extra.values()) == [True, True, False]


def test_ipv6_waits_for_an_address(world: World) -> None:
    bare = interface("eth0", 3, six=False)
    world.start(bare)
    assert world.taken() == [("open", "eth0", FOUR)]
    world.change(ETH0)
    assert world.taken() == [("open", "eth0", SIX)]
    # Where the last one is gone the kernel may have taken IPv6 off the interface, and with it
    # what was joined: the socket is opened afresh.
    world.change(bare)
    assert world.taken() == [("close", "eth0", SIX)]
    world.change(ETH0)
    assert world.taken() == [("open", "eth0", SIX)]


def test_sockets_outlive_what_does_not_hurt_them(world: World) -> None:
    world.start(ETH0)
    world.taken()
    down = interface("eth0", 3, up=False)
    notices = world.change(down)
    assert [n.sentence for n in notices] == ["eth0 went down"]
    assert world.states() == [("eth0", "waiting", "down")]
    world.change(ETH0)
    renamed = replace(ETH0, name="lan0")
    (notice,) = world.change(renamed)
    assert "is now called lan0" in notice.sentence
    assert world.channels.interfaces == {3: renamed}
    no_address = replace(renamed, addresses=renamed.addresses[1:])
    world.change(no_address)
    assert world.states() == [("lan0", "ready", "")]
    assert world.taken() == []


def test_an_interface_that_is_gone_is_closed_and_that_comes_is_opened(world: World) -> None:
    world.start(ETH0, ETH1)
    world.taken()
    (notice,) = world.change(ETH0)
    assert notice.sentence == "eth1 was deleted"
    assert world.taken() == closed("eth1")
    assert world.channels.interfaces == {3: ETH0}
    assert world.states() == [("eth0", "ready", "")]
    (notice,) = world.change(ETH0, ETH2)
    assert notice.sentence == "eth2 appeared"
    assert world.taken() == opened("eth2")


def test_an_interface_that_was_asked_for_by_name_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with lived_in(World(include=("eth0", "lan*")), monkeypatch) as world:
        lan = interface("lan7", 9)
        world.start(ETH0, lan)
        world.change()
        assert world.states() == [("eth0", "waiting", "gone")]
        world.taken()
        # Another index is another interface, and what was asked for all the same.
        world.change(replace(ETH0, index=44), ETH1)
        assert world.taken() == opened("eth0")
        assert world.states() == [("eth0", "ready", "")]


def test_what_was_not_asked_for_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with lived_in(World(include=("eth0",)), monkeypatch) as world:
        world.start(ETH0)
        assert world.change(ETH0, ETH1) == []
        assert world.change(ETH0) == []


def test_an_interface_that_was_made_again_with_the_same_index(world: World) -> None:
    world.start(ETH0, ETH1)
    world.taken()
    notices = world.change(ETH0, ETH1, deleted=[3])
    assert [n.sentence for n in notices] == ["eth0 was replaced", "eth0 appeared"]
    assert world.taken() == closed("eth0") + opened("eth0")


def test_after_lost_notifications_all_are_opened_afresh(world: World) -> None:
    world.start(ETH0, ETH1)
    world.taken()
    assert world.change(ETH0, ETH1, overran=True) == []
    assert sorted(world.taken()) == sorted(closed("eth0", "eth1") + opened("eth0", "eth1"))


def test_ipv6_that_was_gone_meanwhile_is_opened_afresh(world: World) -> None:
    world.start(ETH0, ETH1)
    world.taken()
    assert world.change(ETH0, ETH1, renewed=[3]) == []
    assert world.taken() == [("close", "eth0", SIX), ("open", "eth0", SIX)]


TAKEN = PortTakenError("eth0: UDP port 2222 is taken", "find it", interface="eth0")
GONE = SocketError("eth0: gone", interface="eth0")


def test_one_that_fails_is_told_once_and_tried_again(world: World) -> None:
    world.failing[3, FOUR] = TAKEN
    notices = world.start(ETH0, ETH1)
    assert notices == [InterfaceFailed(ETH0, TAKEN)]
    assert notices[0].sentence == "eth0: UDP port 2222 is taken: find it"
    assert world.taken() == [("open", "eth0", SIX), *opened("eth1")]
    assert world.channels.failing
    # The other family receives, so that it isn't failed altogether; but it isn't silent either.
    assert world.states()[0] == ("eth0", "ready", str(TAKEN))
    assert world.change(ETH0, ETH1) == []
    world.failing[3, FOUR] = GONE
    assert world.change(ETH0, ETH1) == [InterfaceFailed(ETH0, GONE)]
    del world.failing[3, FOUR]
    [ready] = world.change(ETH0, ETH1)
    assert ready == InterfaceReady(ETH0, 2222)
    assert ready.sentence == "eth0 receives on port 2222 now"
    assert world.taken() == [("open", "eth0", FOUR)]
    assert not world.channels.failing
    assert world.states()[0] == ("eth0", "ready", "")


def test_it_is_not_ready_before_all_of_it_works(world: World) -> None:
    world.failing = {(3, FOUR): TAKEN, (3, SIX): GONE}
    assert world.start(ETH0) == [InterfaceFailed(ETH0, TAKEN)]
    del world.failing[3, FOUR]
    assert world.change(ETH0) == [InterfaceFailed(ETH0, GONE)]
    # Nothing is open where IPv6 failed: it is only that there is none now.
    world.failing.clear()
    told = world.change(replace(ETH0, addresses=ETH0.addresses[:1]))
    assert not any(isinstance(notice, InterfaceReady) for notice in told)
    # And whoever never failed doesn't say that it works.
    assert world.change(ETH0, ETH1)[-1].sentence == "eth1 appeared"


def test_one_that_fails_altogether(world: World) -> None:
    world.failing = {(3, FOUR): TAKEN, (3, SIX): TAKEN}
    world.start(ETH0)
    assert world.states() == [("eth0", "failed", str(TAKEN))]


def test_one_without_an_address_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = interface("eth0", 3, six=False)
    with lived_in(World(families=(SIX,)), monkeypatch) as world:
        world.start(bare)
        assert world.states() == [("eth0", "waiting", "no address")]
        with pytest.raises(InterfaceError, match="eth0: no IPv6 address"):
            world.channels.raise_if_none()
        world.change(ETH0)
        assert world.states() == [("eth0", "ready", "")]
        world.channels.raise_if_none()


def test_one_that_fails_and_goes(world: World) -> None:
    world.failing = {(3, FOUR): TAKEN, (3, SIX): TAKEN}
    world.start(ETH0, ETH1)
    world.change(ETH1)
    assert not world.channels.failing


def test_drops_are_handed_on_when_sockets_are_closed(world: World) -> None:
    world.start(ETH0, ETH1)
    world.change(ETH0)
    assert [name for name, _ in world.dropped] == ["eth1", "eth1"]
    world.channels.close_all()
    assert [name for name, _ in world.dropped] == ["eth1", "eth1", "eth0", "eth0"]
    assert world.channels.by_index == world.channels.interfaces == {}


def test_the_buffer_is_what_was_granted() -> None:
    channel = Channel(ETH0)
    assert channel.drops is None
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 50_000)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 90_000)
        channel.add(FOUR, [one, other])
        assert [granted_buffer(each) for each in (one, other)] == [50_000, 90_000]
        assert channel.drops in (0, None)
        taken, drops = channel.take(FOUR)
        assert (taken, drops) in (([one, other], 0), ([one, other], None))
        assert channel.sockets == {}


# Any history: what is open is always what it should be.

_interfaces = st.lists(
    st.builds(
        interface,
        st.sampled_from(["eth0", "eth1", "eth2"]),
        st.integers(3, 6),
        up=st.booleans(),
        six=st.booleans(),
    ),
    unique_by=(lambda i: i.name, lambda i: i.index),
    max_size=3,
).map(lambda found: tuple(sorted(found, key=lambda i: i.index)))

_indexes = st.sets(st.integers(3, 6), max_size=2)


@given(
    st.lists(st.tuples(_interfaces, _indexes, _indexes, st.booleans())),
    st.sampled_from([None, ("eth0",), ("eth*",), ("10.9.4.0/24", "eth1")]),
    st.sets(st.tuples(st.integers(3, 6), st.sampled_from(Family)), max_size=3),
)
def test_any_history(
    history: list[tuple[tuple[Interface, ...], set[int], set[int], bool]],
    include: tuple[str, ...] | None,
    failing: set[tuple[int, Family]],
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        world = World(include=include, failing=dict.fromkeys(failing, TAKEN))
        with lived_in(world, monkeypatch):
            for listed, deleted, renewed, overran in history:
                world.change(
                    *listed, deleted=sorted(deleted), renewed=sorted(renewed), overran=overran
                )
                check(world, listed)


def check(world: World, listed: tuple[Interface, ...]) -> None:
    channels = world.channels
    by_index = {i.index: i for i in listed}
    # What is open is there, as it is now; what fits and works is open.
    assert set(channels.by_index) <= set(by_index)
    assert channels.interfaces == {i: c.interface for i, c in channels.by_index.items()}
    assert all(by_index[i] == c.interface for i, c in channels.by_index.items())
    for one in listed:
        meant = world.include is None or one.name in world.include or "eth*" in world.include
        if meant and not one.blocked:
            assert one.index in channels.by_index
    live = [one for one in world.owner if one.fileno() >= 0]
    held = [
        one
        for channel in channels.by_index.values()
        for opened in channel.sockets.values()
        for one in opened
    ]
    assert sorted(map(id, live)) == sorted(map(id, held))
    for index, channel in channels.by_index.items():
        wanted = {FOUR, SIX} if channel.interface.addresses_of(SIX) else {FOUR}
        failed = {family for family in wanted if (index, family) in world.failing}
        assert set(channel.sockets) == wanted - failed
        assert (channel.error is not None) == bool(failed)
