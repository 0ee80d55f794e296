"""Which sockets a machine has, as its interfaces come, change and go."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.attachments import Attachments, Inlet
from bcast.datagram import Address, Endpoint, Family, Interface, InterfaceFlag
from bcast.destinations import DEFAULT_GROUPS
from bcast.interfaces import differences
from bcast.legs import Leg
from bcast.machine import Outgoing
from tests.command import free_port
from tests.loopback import loopback, nothing_leaks

if sys.platform != "linux":
    pytest.skip("the loopback interface is used as Linux has it", allow_module_level=True)

GROUP = DEFAULT_GROUPS[0].address


@dataclass
class World:
    """Attachments to lo, whatever lo is said to be."""

    port: int = field(default_factory=free_port)
    opened: list[Inlet] = field(default_factory=list)
    listed: tuple[Interface, ...] = ()
    made: Attachments = field(init=False)

    def __post_init__(self) -> None:
        self.made = Attachments(
            port=self.port,
            families=(Family.IPV4,),
            groups=DEFAULT_GROUPS[:1],
            include=["lo"],
            exclude=None,
            buffer=50_000,
            opened=self.opened.append,
            closing=self._closing,
        )

    def _closing(self, inlet: Inlet) -> None:
        assert inlet.socket.fileno() >= 0, "it must be taken out of the selector while it is open"
        self.opened.remove(inlet)

    def start(self, lo: Interface) -> None:
        self.listed = (lo,)
        self.made.open([lo])

    def change(self, *listed: Interface, deleted: bool = False) -> None:
        gone = frozenset(one.index for one in self.listed) if deleted else frozenset[int]()
        found = differences(self.listed, listed, gone)
        self.listed = listed
        self.made.follow(listed, found)

    @property
    def own(self) -> list[str]:
        """The addresses of the sockets that are sent from."""
        names = [inlet.socket.getsockname() for inlet in self.opened]
        return [address for address, port in names if port != self.port]


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    with nothing_leaks():
        yield made
        made.made.close_all()
        assert made.opened == []
        assert made.made.inlets == {}


def lo_as(*addresses: str, up: bool = True) -> Interface:
    lo = replace(loopback("127.0.0.1"), addresses=loopback(*addresses).addresses)
    if not addresses:
        lo = replace(lo, addresses=())
    return lo if up else replace(lo, flags=lo.flags & ~InterfaceFlag.UP)


def test_two_sockets_with_large_buffers(world: World) -> None:
    world.start(lo_as("127.0.0.1"))
    assert world.own == ["127.0.0.1"]
    own, shared = world.opened
    assert (shared.port, own.port != world.port) == (world.port, True)
    for inlet in world.opened:
        granted = inlet.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        assert granted == 2 * 50_000
        assert inlet.socket.getblocking() is False
    assert own.socket.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == 255
    assert own.socket.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == 255
    [attached] = world.made.attached
    assert attached.families == (Family.IPV4,)
    # 832 bytes for each reply on every kernel so far; more would be nothing wrong.
    assert 50 < attached.capacity <= 100_000 // 768


def test_what_is_sent_comes_from_the_own_socket(world: World) -> None:
    world.start(lo_as("127.0.0.7"))
    own, shared = world.opened
    there = Endpoint(GROUP, world.port)
    index = world.listed[0].index
    world.made.send([Outgoing(b"%d" % n, index, there) for n in range(20)])
    assert (world.made.sent, world.made.lost) == (20, 0)
    payload, source = shared.socket.recvfrom(100)
    assert (payload, source) == (b"0", ("127.0.0.7", own.port))
    # A reply to that endpoint arrives there, and at nobody else's.
    world.made.send([Outgoing(b"reply", index, Endpoint(ip_address(source[0]), source[1]))])
    assert own.socket.recvfrom(100)[0] == b"reply"


def test_ways_are_remembered_within_bounds(world: World) -> None:
    world.start(lo_as("127.0.0.1"))
    index = world.listed[0].index
    for port in range(1, 3000):
        there = Endpoint(IPv4Address("127.0.0.1"), port)
        world.made._leg(index, there)
    assert len(world.made._legs) <= 1024


def test_a_way_beside_a_known_one_is_the_same(world: World) -> None:
    world.start(lo_as("127.0.0.1"))
    index = world.listed[0].index
    hosts = (
        "127.0.0.9",
        "10.1.2.3",
        "255.255.255.255",
        "127.255.255.255",
        "239.1.2.3",
        "169.254.1.1",
    )

    def legs() -> list[Leg | None]:
        return [world.made._leg(index, Endpoint(IPv4Address(one), 9)) for one in hosts]

    fresh = []
    for one in hosts:
        world.made._known.clear()
        fresh.append(world.made._leg(index, Endpoint(IPv4Address(one), 9)))
    world.made._legs.clear()
    assert legs() == fresh
    assert [leg.target.all_hosts for leg in fresh if leg] == [False, False, True, *[False] * 3]


def test_drops_are_counted_from_the_last_time(world: World) -> None:
    world.start(lo_as("127.0.0.1"))
    _, shared = world.opened
    assert shared.counts
    there, index = Endpoint(GROUP, world.port), world.listed[0].index
    world.made.send([Outgoing(bytes(150), index, there)] * 300)
    dropped = shared.drops()
    assert 0 < dropped < 300
    assert shared.drops() == 0
    world.made.send([Outgoing(bytes(150), index, there)] * 10)
    assert shared.drops() == 10


def test_another_scope_of_the_same_address_is_no_other_address(world: World) -> None:
    world.start(lo_as("127.0.0.1"))
    before = list(world.opened)
    world.change(replace(lo_as("127.0.0.1", "127.0.0.2"), mtu=1280))
    assert world.opened == before
    six = Address(IPv6Address("::1"), 128)
    world.change(replace(lo_as("127.0.0.1"), addresses=(six, *lo_as("127.0.0.1").addresses)))
    assert world.opened == before


Step = tuple[list[str], bool, str]

addresses = st.lists(
    st.sampled_from(["127.0.0.1", "127.0.0.2", "127.1.2.3"]), unique=True, max_size=2
)
steps = st.tuples(
    addresses, st.booleans(), st.sampled_from(["changed", "gone", "created again", "renamed"])
)


@given(st.lists(steps, max_size=8))
def test_whatever_happens_the_sockets_fit_the_interfaces(happened: list[Step]) -> None:
    world = World(port=28_232)
    world.start(lo_as("127.0.0.1"))
    try:
        for own, up, kind in happened:
            lo = lo_as(*own, up=up)
            if kind == "gone":
                world.change()
            elif kind == "renamed":
                world.change(replace(lo, name="lan0"))
            else:
                world.change(lo, deleted=kind == "created again")
            sockets = [inlet.socket for inlet in world.opened]
            assert sockets == list(world.made.inlets)
            assert all(one.fileno() >= 0 for one in sockets)
            # An own one for each shared one, and from an address that the interface has.
            assert len(world.own) * 2 == len(sockets)
            assert len(sockets) <= 2
            attached = world.made.attached
            assert all(one.interface in world.listed for one in attached)
            states = {state.state for state in world.made.states}
            if kind == "gone":
                assert (sockets, attached) == ([], ())
                assert states <= {"waiting"}
            if attached:
                assert up
                assert world.own == own[:1]
                assert states == {"ready"}
            if kind in ("changed", "created again"):
                assert bool(attached) == (up and bool(own))
    finally:
        world.made.close_all()
    assert world.opened == []
