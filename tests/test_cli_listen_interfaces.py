"""``bcast listen`` through all that may happen to its interfaces and its port."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from bcast.lab import Host, Link
from tests.command import (
    ALL_HOSTS,
    PATIENCE,
    Lan,
    any_lab,
    end_listeners,
    events,
    eventually,
    listen,
    pause,
    proceed,
    run_bcast,
    say,
    two_networks,
)

if sys.platform != "linux":
    pytest.skip("needs network namespaces", allow_module_level=True)

pytestmark = pytest.mark.kernel("hosts with two interfaces")


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    with any_lab() as lab:
        yield two_networks(lab)


@pytest.fixture
def own_lan() -> Iterator[Lan]:
    """A lan of its own, for tests that change it."""
    with any_lab() as lab:
        yield two_networks(lab)


@pytest.fixture(autouse=True)
def nobody_goes_on_listening() -> Iterator[None]:
    yield
    end_listeners()


class Pair(NamedTuple):
    """Two hosts and a cable, `a`'s eth0 to `b`'s v2."""

    a: Host
    b: Host
    left: Link
    right: Link


@pytest.fixture
def pair() -> Iterator[Pair]:
    with any_lab() as lab:
        a, b = lab.host("a"), lab.host("b")
        left, right = lab.wire(a, "eth0", b, "v2", addresses=("10.9.1.1/24", "10.9.1.2/24"))
        yield Pair(a, b, left, right)


#: Says its name and the time to everybody, whatever happens to its interface, until it is killed.
_CHATTER = """
import socket, struct, time
def say(kind, destination, address):
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as said:
        said.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        said.setsockopt(socket.SOL_SOCKET, 25, b"eth0\\0")  # SO_BINDTODEVICE
        said.sendto(b"%s %.6f" % (kind, time.time()), address)
while True:
    for kind, destination in ((b"broadcast", "255.255.255.255"), (b"group", "239.1.2.3"),
                              (b"group6", "ff12::1:2"), (b"nodes6", "ff02::1")):
        try:
            say(kind, destination, (destination, 2222))
        except OSError:
            pass
    time.sleep(0.02)
"""
KINDS = {"broadcast", "group", "group6", "nodes6"}
#: Within a second is what is promised; the rest is for machines that are busy.
AGAIN = 1.0 + 2.0


class Watched:
    """A listener on v2 of `b` that `a` talks to all the time."""

    def __init__(self, pair: Pair, *args: str, kinds: set[str] = KINDS) -> None:
        self.pair = pair
        self.listening = listen(pair.b, "-g", "239.1.2.3", "-g", "ff12::1:2", *args)
        pair.a.start_python(_CHATTER)
        self.hears(since=0.0, kinds=kinds)
        self.said = len(self.remarks())

    def remarks(self) -> list[str]:
        return self.listening.errors().splitlines()

    def told(self) -> list[str]:
        """What was said about interfaces since the last call."""
        lines = self.remarks()
        new, self.said = lines[self.said :], len(lines)
        return new

    def hears(self, *, since: float, kinds: set[str] = KINDS, within: float | None = None) -> None:
        """Waits until all kinds of datagrams that were sent after ``since`` are received.

        ``within`` seconds of ``since``, by the time at which they were sent.
        """
        first = eventually(
            lambda: self._first(since, kinds), timeout=PATIENCE if within is None else 8.0
        )
        if within is not None:
            late = {kind: sent - since for kind, sent in first.items()}
            assert max(late.values()) < within, late

    def _first(self, since: float, kinds: set[str]) -> dict[str, float] | None:
        first: dict[str, float] = {}
        for line in self.listening.output().splitlines():
            *_, kind, sent = line.split()
            if float(sent) > since:
                first.setdefault(kind, float(sent))
        return first if kinds <= set(first) else None

    def change(self, *commands: str) -> float:
        """Changes something on `b`; returns when."""
        self.pair.b.setup(*commands)
        return time.time()

    def recreate(self, *commands: str, index: int | None = None) -> float:
        """Makes v2, with another index or the same."""
        made = index or self.pair.right.index + 1000
        return self.change(
            f"ip link add v2 index {made} address {self.pair.right.hardware_address} "
            f"type veth peer name eth0 netns /proc/{self.pair.a.pid}/ns/net",
            *commands,
        )

    def revive_peer(self) -> None:
        """`a`'s eth0 is new as well, and gets its addresses again."""
        left = self.pair.left
        self.pair.a.setup(
            "ip link set eth0 addrgenmode none",
            "ip link set eth0 up",
            f"ip addr add {left.address()}/24 brd + dev eth0",
            f"ip addr add {left.link_local}/64 dev eth0 nodad",
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        right = self.pair.right
        return (
            "ip link set v2 addrgenmode none",
            "ip link set v2 up",
            f"ip addr replace {right.address()}/24 brd + dev v2",
            f"ip addr replace {right.link_local}/64 dev v2 nodad",
        )

    def ends(self) -> None:
        assert self.listening.interrupt() == 0, self.listening.errors()
        assert " datagrams, " in self.listening.errors().splitlines()[-1]


def test_an_interface_that_goes_down_and_comes_up(pair: Pair) -> None:
    watched = Watched(pair)
    watched.change("ip link set v2 down")
    watched.listening.wait_for("v2 went down")
    (line,) = watched.told()
    # IPv6 addresses go with it, and don't come back by themselves.
    assert line == f"v2 went down and lost {pair.right.link_local}%v2/64"
    usable = watched.change(*watched.addresses)
    watched.hears(since=usable, within=AGAIN)
    watched.listening.wait_for("v2 came up")
    assert len(watched.told()) == 1
    watched.ends()


def test_an_interface_that_loses_its_carrier(pair: Pair) -> None:
    watched = Watched(pair)
    pair.a.setup("ip link set eth0 down")
    watched.listening.wait_for("v2 lost its carrier")
    pair.a.setup("ip link set eth0 up", f"ip addr add {pair.left.link_local}/64 dev eth0 nodad")
    watched.hears(since=time.time(), within=AGAIN)
    watched.listening.wait_for("v2 got a carrier")
    assert len(watched.told()) == 2
    watched.ends()


def test_an_interface_that_loses_its_address_and_gets_another(pair: Pair) -> None:
    watched = Watched(pair)
    watched.change("ip -4 addr flush dev v2")
    watched.listening.wait_for("v2 lost 10.9.1.2/24")
    usable = watched.change("ip addr add 10.9.1.99/24 brd + dev v2")
    watched.hears(since=usable, within=AGAIN)
    watched.listening.wait_for("v2 got 10.9.1.99/24")
    assert len(watched.told()) == 2
    say(pair.a, ("10.9.1.99", 2222, b"unicast 0"))
    watched.listening.wait_for("unicast 0")
    watched.ends()


def test_an_interface_without_an_address_yet(pair: Pair) -> None:
    pair.b.setup("ip -4 addr flush dev v2", "ip -6 addr flush dev v2")
    watched = Watched(pair, kinds={"broadcast", "group"})
    usable = watched.change(*watched.addresses)
    watched.hears(since=usable, within=AGAIN)
    watched.listening.wait_for("v2 got 10.9.1.2/24")
    watched.ends()


def test_an_interface_that_was_down_when_it_began(own_lan: Lan) -> None:
    own_lan.a.setup("ip link set eth1 down")
    listening = listen(own_lan.a, "-i", "eth0", "-i", "eth1")
    listening.wait_for("skipped eth1: down")
    own_lan.a.setup("ip link set eth1 up")
    listening.wait_for("eth1 came up")

    def is_heard() -> bool:
        say(own_lan.c, (ALL_HOSTS, 2222, b"green"))
        return "  green" in listening.output()

    eventually(is_heard)
    assert listening.interrupt() == 0


def test_an_interface_that_is_renamed(pair: Pair) -> None:
    watched = Watched(pair, "-i", "v2")
    usable = watched.change("ip link set v2 down", "ip link set v2 name lan0")
    usable = watched.change(
        "ip link set lan0 up", f"ip addr add {pair.right.link_local}/64 dev lan0 nodad"
    )
    watched.hears(since=usable, within=AGAIN)
    watched.listening.wait_for("v2 is now called lan0")
    eventually(lambda: "  lan0  " in watched.listening.output())
    watched.ends()
    assert re.search(r"\((.*, )?lan0 \d+", watched.listening.errors())


@pytest.mark.parametrize("selected", [(), ("-i", "v2"), ("-i", "v*"), ("-i", "10.9.1.0/24")])
def test_an_interface_that_is_deleted_and_created_again(
    pair: Pair, selected: tuple[str, ...]
) -> None:
    watched = Watched(pair, *selected)
    watched.change("ip link del v2")
    watched.listening.wait_for("v2 was deleted")
    watched.recreate()
    watched.revive_peer()
    usable = watched.change(*watched.addresses)
    watched.hears(since=usable, within=AGAIN)
    watched.listening.wait_for("v2 appeared" if selected != ("-i", "10.9.1.0/24") else "v2")
    watched.ends()


def test_an_interface_that_is_created_again_with_the_same_index(pair: Pair) -> None:
    watched = Watched(pair)
    index = pair.right.index
    watched.change("ip link del v2")
    watched.recreate(*watched.addresses, index=index)
    watched.revive_peer()
    usable = watched.change("ip link show v2")
    watched.hears(since=usable, within=AGAIN)
    # Seen at once, or as two changes; either way what happened is said.
    watched.listening.wait_for("v2 was")
    watched.listening.wait_for("v2 appeared")
    watched.ends()


def test_ipv6_that_is_switched_off_and_on(pair: Pair) -> None:
    # The kernel forgets what an interface has joined; the sockets still say that they did.
    watched = Watched(pair)
    pair.b.set_sysctl("net.ipv6.conf.v2.disable_ipv6", 1)
    watched.listening.wait_for("v2 lost fe80")
    pair.b.set_sysctl("net.ipv6.conf.v2.disable_ipv6", 0)
    usable = watched.change(f"ip addr replace {pair.right.link_local}/64 dev v2 nodad")
    watched.hears(since=usable, within=AGAIN)
    watched.ends()


@pytest.mark.parametrize("quick", [False, True], ids=["seen", "too quick to be seen"])
def test_an_mtu_too_small_for_ipv6_and_back(pair: Pair, quick: bool) -> None:
    # Below 1280 bytes there is no IPv6, and memberships are gone with it for good.
    watched = Watched(pair)
    watched.change("ip link set v2 mtu 1200")
    if not quick:
        watched.listening.wait_for("has an MTU of 1200 bytes now")
    usable = watched.change(
        "ip link set v2 mtu 1500",
        "ip link set v2 addrgenmode none",
        f"ip addr replace {pair.right.link_local}/64 dev v2 nodad",
    )
    watched.hears(since=usable, within=AGAIN)
    watched.ends()


def test_a_new_interface_that_fits_is_picked_up(own_lan: Lan) -> None:
    listening = listen(own_lan.b, "-g", "239.1.2.3")
    other = listen(own_lan.b, "-i", "eth0", port=2223)
    own_lan.b.setup(
        f"ip link add eth7 type veth peer name eth8 netns /proc/{own_lan.c.pid}/ns/net",
        "ip link set eth7 up",
        "ip addr add 10.9.7.1/24 brd + dev eth7",
    )
    own_lan.c.setup("ip link set eth8 up", "ip addr add 10.9.7.2/24 brd + dev eth8")
    listening.wait_for("eth7")

    def is_heard() -> bool:
        both = ((ALL_HOSTS, 2222, b"hi"), ("239.1.2.3", 2222, b"you"))
        say(own_lan.c, *both, interface="eth8")
        return "  you" in listening.output()

    eventually(is_heard)
    assert "  eth7  10.9.7.2:" in listening.output()
    assert listening.interrupt() == 0
    # It is none of the business of somebody who asked for another one.
    assert other.interrupt() == 0
    assert "eth7" not in other.errors()


def test_more_changes_than_the_kernel_can_tell(pair: Pair) -> None:
    watched = Watched(pair)
    index = pair.right.index
    flapping = "\n".join(
        f"addr {verb} 10.7.{n >> 8}.{n & 255}/32 dev lo"
        for n in range(2_000)
        for verb in ("add", "del")
    )
    pause(watched.listening)
    pair.b.run(["ip", "-batch", "-"], input=flapping, capable=True, timeout=60)
    watched.change("ip link del v2")
    watched.recreate(*watched.addresses, index=index)
    watched.revive_peer()
    proceed(watched.listening)
    # The interface looks the same, and whether it is was in the notifications that got lost.
    watched.hears(since=time.time())
    watched.ends()


# -- ports that are taken -------------------------------------------------------------------------

_HOLD = """
import signal, socket, sys
holding = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if sys.argv[1]:
    holding.setsockopt(socket.SOL_SOCKET, 25, sys.argv[1].encode() + b"\\0")
holding.bind(("", 2222))
print("holding")
signal.pause()
"""


def test_a_port_that_somebody_keeps_to_himself(lan: Lan) -> None:
    with lan.a.start_python(_HOLD, "") as holder:
        holder.wait_for("holding")
        done = run_bcast(lan.a, "listen", "-4", "-p", "2222", status=3)
        assert re.fullmatch(
            r"bcast: eth0: UDP port 2222 is taken by a program that doesn't share it:"
            r" find it with (ss -lunp 'sport = :2222'), or use another port\n",
            done.stderr,
        )
        if shutil.which("ss"):
            owner = lan.a.run(["ss", "-lunp", "sport = :2222"], capable=True).stdout
            assert "0.0.0.0:2222" in owner


@pytest.mark.parametrize("args", [[], ["--json"]], ids=str)
def test_a_port_that_is_taken_on_one_interface(lan: Lan, args: list[str]) -> None:
    with lan.a.start_python(_HOLD, "eth0") as holder:
        holder.wait_for("holding")
        listening = listen(lan.a, "-4", *args)
        listening.wait_for("eth0: UDP port 2222 is taken by a program that doesn't share it")
        say(lan.c, (ALL_HOSTS, 2222, b"green"))
        listening.wait_for("green")

    def is_heard() -> bool:
        say(lan.b, (ALL_HOSTS, 2222, b"blue"))
        return "blue" in listening.output()

    eventually(is_heard)
    assert listening.interrupt() == 0
    if not args:
        assert listening.errors().count("taken") == 1
        assert listening.errors().splitlines().count("eth0 receives on port 2222 now") == 1
        assert "ready" not in listening.output()
        return
    found = events(listening.output())
    assert [e["interface"] for e in found if e["event"] == "failed"] == ["eth0"]
    told = [e for e in found if e["event"] == "ready"]
    assert told == [{"event": "ready", "interface": "eth0", "port": 2222}]


def test_a_port_that_takes_privileges(lan: Lan) -> None:
    for command in (["listen"], ["send", "hi", "--source-port", "80"]):
        done = run_bcast(lan.a, *command, "-i", "eth0", *(["-p", "80"]), status=3)
        assert "can't bind to port 80: EACCES" in done.stderr
        assert "ports below 1024 need privileges" in done.stderr
