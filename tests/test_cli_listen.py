"""``bcast listen`` as a person runs it: what it shows of what plain sockets sent."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bcast.capture import CaptureReader
from tests.command import (
    COMMAND,
    PATIENCE,
    any_lab,
    environment,
    events,
    eventually,
    pause,
    proceed,
    run_bcast,
    say,
    start_bcast,
)
from tests.lab import Host, Lab, Link, Running

if sys.platform != "linux":
    pytest.skip("needs network namespaces", allow_module_level=True)

pytestmark = pytest.mark.kernel("hosts with two interfaces")

ALL_HOSTS = "255.255.255.255"
LISTENING = "listening on port"


class Lan(NamedTuple):
    """`a` is on both networks, blue by eth0 and green by eth1; `b` is on blue, `c` on green."""

    a: Host
    b: Host
    c: Host


def build(lab: Lab) -> Lan:
    blue, green = lab.network("blue"), lab.network("green")
    lan = Lan(lab.host("a"), lab.host("b"), lab.host("c"))
    lan.a.connect(blue, unique_local="fd00:1::1/64")
    lan.b.connect(blue, unique_local="fd00:1::2/64")
    lan.a.connect(green, unique_local="fd00:2::1/64")
    lan.c.connect(green, unique_local="fd00:2::2/64")
    return lan


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    with any_lab() as lab:
        yield build(lab)


@pytest.fixture
def own_lan() -> Iterator[Lan]:
    """A lan of its own, for tests that change it."""
    with any_lab() as lab:
        yield build(lab)


_listening: list[Running] = []


@pytest.fixture(autouse=True)
def nobody_goes_on_listening() -> Iterator[None]:
    """A test that fails must not make the next ones fail that listen on the same port."""
    yield
    while _listening:
        _listening.pop().kill()


def listen(host: Host, *args: str, port: int = 2222) -> Running:
    listening = start_bcast(host, "listen", "-p", str(port), *args, until=LISTENING)
    _listening.append(listening)
    return listening


def heard(listening: Running) -> list[dict[str, Any]]:
    """Ends a listener with --json: the datagrams it heard."""
    assert listening.interrupt() == 0, listening.errors()
    return datagrams(listening)


def datagrams(listening: Running) -> list[dict[str, Any]]:
    return [e for e in events(listening.output()) if e["event"] == "datagram"]


def test_every_interface_and_both_families_at_once(lab: Lab) -> None:
    lan = build(lab)
    listening = listen(lan.a, "--json", "-g", "239.1.2.3", "-g", "ff15::1:2", "-g", "ff02::5")
    for host, mark in ((lan.b, b"blue "), (lan.c, b"green ")):
        to = host.links[0].name, {lan.b: 1, lan.c: 2}[host]
        say(
            host,
            (ALL_HOSTS, 2222, mark + b"all-hosts"),
            (f"10.9.{to[1]}.255", 2222, mark + b"subnet"),
            (f"10.9.{to[1]}.1", 2222, mark + b"unicast"),
            ("239.1.2.3", 2222, mark + b"group"),
            ("239.1.2.4", 2222, mark + b"another group"),
            (f"fd00:{to[1]}::1", 2222, mark + b"unicast6"),
            ("ff15::1:2", 2222, mark + b"group6"),
            ("ff15::1:3", 2222, mark + b"another group6"),
            ("ff02::1", 2222, mark + b"all nodes"),
            ("ff02::5", 2222, mark + b"link group6"),
            (ALL_HOSTS, 2223, mark + b"another port"),
            (f"fd00:{to[1]}::1", 2222, mark + b"end"),
            ttl=3,
        )
    eventually(lambda: sum(e["text"].endswith("end") for e in datagrams(listening)) == 2)
    found = heard(listening)
    for number, (name, start) in enumerate((("eth0", "blue "), ("eth1", "green ")), 1):
        texts = sorted(e["text"] for e in found if e["interface"] == name)
        expected = [
            *("all nodes", "all-hosts", "end", "group", "group6"),
            *("link group6", "subnet", "unicast", "unicast6"),
        ]
        assert texts == [start + each for each in expected]
        by_text = {e["text"].removeprefix(start): e for e in found if e["interface"] == name}
        link = lan.a.links[number - 1]
        peer = (lan.b, lan.c)[number - 1].links[0]
        assert by_text["all-hosts"]["index"] == link.index
        assert by_text["all-hosts"]["source"] == f"10.9.{number}.2"
        assert by_text["all-hosts"]["destination"] == ALL_HOSTS
        assert by_text["subnet"]["destination"] == f"10.9.{number}.255"
        assert by_text["group"]["destination"] == "239.1.2.3"
        assert by_text["all nodes"]["source"] == f"{peer.link_local}%{name}"
        assert by_text["all nodes"]["destination"] == f"ff02::1%{name}"
        assert {e["ttl"] for e in by_text.values()} == {3}
        assert {e["destination_port"] for e in by_text.values()} == {2222}


def test_more_groups_than_a_socket_takes(lan: Lan) -> None:
    four = [str(IPv4Address("239.1.2.0") + n) for n in range(1, 26)]
    six = [str(IPv6Address("ff15::1:0") + n) for n in range(1, 26)]
    options = [option for group in (*four, *six) for option in ("-g", group)]
    listening = listen(lan.a, "--json", *options)
    say(
        lan.b,
        *((group, 2222, group.encode()) for group in (*four, *six)),
        (ALL_HOSTS, 2222, b"broadcast"),
        ("10.9.1.255", 2222, b"subnet"),
        ("10.9.1.1", 2222, b"unicast"),
        ("ff02::1", 2222, b"all nodes"),
        ("fd00:1::1", 2222, b"unicast6"),
        ("239.1.3.1", 2222, b"a group that nobody joined"),
        ("10.9.1.1", 2222, b"end"),
    )
    eventually(lambda: any(e["text"] == "end" for e in datagrams(listening)))
    others = ["broadcast", "subnet", "unicast", "all nodes", "unicast6", "end"]
    assert sorted(e["text"] for e in heard(listening)) == sorted([*four, *six, *others])


def test_a_group_from_one_source_only(own_lan: Lan) -> None:
    own_lan.b.setup(
        "ip addr add 10.9.1.77/24 dev eth0", "ip addr add fd00:1::77/64 dev eth0 nodad"
    )
    wanted = ["-g", "10.9.1.77@232.1.2.3", "-g", "fd00:1::77@ff35::1:2"]
    listening = listen(own_lan.a, "--json", *wanted)
    for source, mark in (("10.9.1.2", b"no"), ("10.9.1.77", b"yes")):
        say(own_lan.b, ("232.1.2.3", 2222, mark), source=source)
    for source, mark in (("fd00:1::2", b"no"), ("fd00:1::77", b"yes6")):
        say(own_lan.b, ("ff35::1:2", 2222, mark), source=source)
    eventually(lambda: any(e["text"] == "yes6" for e in datagrams(listening)))
    assert [e["text"] for e in heard(listening)] == ["yes", "yes6"]


_JOIN = """
import socket, struct, sys
sockets = []
for family, group in ((socket.AF_INET, "239.5.5.5"), (socket.AF_INET6, "ff15::5")):
    joined = socket.socket(family, socket.SOCK_DGRAM)
    joined.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    index, packed = socket.if_nametoindex("eth0"), socket.inet_pton(family, group)
    if family == socket.AF_INET:
        joined.bind(("", 2222))
        request = struct.pack("4s4si", packed, bytes(4), index)
        joined.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    else:
        joined.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        joined.bind(("::", 2222))
        request = packed + struct.pack("I", index)
        joined.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
    sockets.append(joined)
print("joined")
for joined in sockets:
    print(joined.recv(100).decode())
"""


def test_a_group_that_somebody_else_joined_does_not_leak_in(lan: Lan) -> None:
    with lan.a.start_python(_JOIN) as other:
        other.wait_for("joined")
        listening = listen(lan.a, "--json", "-g", "239.1.2.3")
        say(
            lan.b,
            ("239.5.5.5", 2222, b"theirs"),
            ("ff15::5", 2222, b"theirs too"),
            ("10.9.1.1", 2222, b"end"),
        )
        other.wait_for("theirs too")
        eventually(lambda: datagrams(listening))
        assert [e["text"] for e in heard(listening)] == ["end"]


def test_a_scope_does_not_lead_to_another_interface(lan: Lan) -> None:
    done = run_bcast(lan.a, "listen", "-i", "eth0", "-g", "ff02::5%eth1", status=2)
    assert done.stderr.startswith("bcast: 'ff02::5%eth1' names an interface")


def test_own_datagrams_are_heard_on_the_interface_that_sent_them(lan: Lan) -> None:
    listening = listen(lan.a, "--json", "-g", "239.1.2.3", "-g", "ff15::1:2")
    for destination in ("all-hosts", "subnet", "239.1.2.3", "ff15::1:2"):
        run_bcast(lan.a, "send", "{interface}", "--template", "-p", "2222", "--to", destination)
    eventually(lambda: len(datagrams(listening)) == 8)
    found = heard(listening)
    assert len(found) == 8
    assert all(e["text"] == e["interface"] for e in found)
    assert {e["source"] for e in found if e["interface"] == "eth1"} == {"10.9.2.1", "fd00:2::1"}


def test_two_listeners_share_a_port(lan: Lan) -> None:
    first, second = listen(lan.a, "-g", "239.1.2.3"), listen(lan.a, "-g", "239.1.2.3")
    say(lan.b, (ALL_HOSTS, 2222, b"broadcast"), ("239.1.2.3", 2222, b"group"))
    for listening in (first, second):
        listening.wait_for("group")
        assert listening.interrupt() == 0
        assert [line.split()[-1] for line in listening.output().splitlines()] == [
            "broadcast",
            "group",
        ]


def both_are_heard(listening: Running) -> None:
    eventually(lambda: len(datagrams(listening)) == 2)


def test_only_one_family(lan: Lan) -> None:
    for option, expected in (("-4", ["unicast", "end"]), ("-6", ["all nodes", "end6"])):
        listening = listen(lan.a, "--json", option)
        say(
            lan.b,
            ("10.9.1.1", 2222, b"unicast"),
            ("ff02::1", 2222, b"all nodes"),
            ("10.9.1.1", 2222, b"end"),
            ("fd00:1::1", 2222, b"end6"),
        )
        both_are_heard(listening)
        assert [e["text"] for e in heard(listening)] == expected


def test_it_ends_after_a_count(lan: Lan) -> None:
    listening = listen(lan.a, "-c", "2")
    say(lan.b, (ALL_HOSTS, 2222, b"hi"), times=2)
    assert listening.wait() == 0
    assert len(listening.output().splitlines()) == 2


def test_the_summary_counts_what_was_shown(lan: Lan) -> None:
    listening = listen(lan.a, "-c", "2", "--json")
    pause(listening)
    say(lan.b, (ALL_HOSTS, 2222, b"hi"), times=5)
    proceed(listening)
    assert listening.wait() == 0
    found = events(listening.output())
    assert sum(e["event"] == "datagram" for e in found) == 2
    assert found[-1]["event"] == "summary"
    assert found[-1]["datagrams"] == 2


def test_it_ends_after_a_time(lan: Lan) -> None:
    start = time.monotonic()
    run_bcast(lan.a, "listen", "-p", "2222", "-t", "0.3")
    assert 0.3 <= time.monotonic() - start < 10
    run_bcast(lan.a, "listen", "-p", "2222", "-t", "0")


def test_a_count_that_was_not_reached_in_time_is_told_by_the_exit_status(lan: Lan) -> None:
    listening = listen(lan.a, "-c", "2", "-t", "1")
    say(lan.b, (ALL_HOSTS, 2222, b"hi"))
    assert listening.wait() == 1
    assert "1 datagrams, 2 bytes (eth0 1, eth1 0)" in listening.errors()


def test_an_interrupted_count_is_no_failure(lan: Lan) -> None:
    assert listen(lan.a, "-c", "2").interrupt() == 0
    assert listen(lan.a, "-c", "2").terminate() == 0


def test_only_from_some_networks(own_lan: Lan) -> None:
    own_lan.b.setup("ip addr replace 10.9.1.78/24 dev eth0")
    options = ["--from", "10.9.1.64/26", "--from", str(own_lan.b.links[0].link_local)]
    listening = listen(own_lan.a, "--json", *options)
    say(own_lan.b, (ALL_HOSTS, 2222, b"no"), source="10.9.1.2")
    say(own_lan.b, (ALL_HOSTS, 2222, b"yes"), source="10.9.1.78")
    say(own_lan.b, ("fd00:1::1", 2222, b"no"), source="fd00:1::2")
    say(own_lan.b, ("ff02::1", 2222, b"yes6"))
    eventually(lambda: len(datagrams(listening)) == 2)
    assert [e["text"] for e in heard(listening)] == ["yes", "yes6"]
    summary = events(listening.output())[-1]
    assert (summary["datagrams"], summary["filtered"]) == (2, 2)


def test_json(lan: Lan) -> None:
    listening = listen(lan.a, "--json")
    before = time.time()
    say(lan.b, (ALL_HOSTS, 2222, b"hi \xf0\x9f\x8e\x88"), source_port=999_9, ttl=9)
    say(lan.b, (ALL_HOSTS, 2222, b"\x00\x1b"))
    eventually(lambda: len(datagrams(listening)) == 2)
    assert listening.interrupt() == 0
    assert listening.errors() == "listening on port 2222 of eth0, eth1; Ctrl-C ends\n"
    present, skipped, *rest = split(events(listening.output()))
    assert [e["name"] for e in present] == ["eth0", "eth1"]
    assert present[0] == {
        "event": "interface",
        "change": "present",
        "name": "eth0",
        "index": lan.a.links[0].index,
        "kind": "veth",
        "flags": ["up", "running", "broadcast", "multicast"],
        "mtu": 1500,
        "hardware_address": lan.a.links[0].hardware_address,
        "addresses": present[0]["addresses"],
        "usable": True,
        "reason": "",
    }
    assert {
        "address": "10.9.1.1",
        "prefix_length": 24,
        "broadcast": "10.9.1.255",
    } in present[0]["addresses"]
    assert skipped == [{"event": "skipped", "interface": "lo", "reason": "loopback"}]
    (first, second), (summary,) = rest
    when = first.pop("time")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", when)
    assert before - 1 < seconds(when) < time.time()
    assert first == {
        "event": "datagram",
        "interface": "eth0",
        "index": lan.a.links[0].index,
        "source": "10.9.1.2",
        "source_port": 9999,
        "destination": ALL_HOSTS,
        "destination_port": 2222,
        "ttl": 9,
        "length": 7,
        "payload": b"hi \xf0\x9f\x8e\x88".hex(),
        "text": "hi 🎈",
    }
    assert second["payload"] == "001b"
    assert "text" not in second
    assert (summary["datagrams"], summary["bytes"]) == (2, 9)
    assert (summary["kernel_drops"], summary["rejected"], summary["filtered"]) == (0, 0, 0)
    assert summary["interfaces"]["eth0"]["datagrams"] == 2
    assert summary["interfaces"]["eth1"]["datagrams"] == 0


def split(found: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Events by kind, in the order in which the kinds first came."""
    kinds = dict.fromkeys(e["event"] for e in found)
    return [[e for e in found if e["event"] == kind] for kind in kinds]


def seconds(rfc3339: str) -> float:
    import calendar

    return calendar.timegm(time.strptime(rfc3339[:19], "%Y-%m-%dT%H:%M:%S")) + float(
        "0" + rfc3339[19:-1]
    )


def test_what_is_not_said(lan: Lan) -> None:
    running = start_bcast(lan.a, "listen", "-q", "-p", "2222", "-t", "0.3")
    assert running.wait() == 0
    assert running.output() == running.errors() == ""
    done = run_bcast(lan.a, "listen", "-v", "-p", "2222", "-t", "0")
    assert re.search(r"eth0: a receive buffer of \d+ bytes was granted", done.stderr)


@pytest.mark.parametrize("show", ["auto", "text", "hex"])
def test_what_peers_send_does_not_reach_the_terminal_as_it_is(lan: Lan, show: str) -> None:
    listening = listen(lan.a, "--show", show)
    nasty = [
        b"\x1b]0;owned\x07\x1b[2J",
        b"hello \x1b[31mred",
        b"lines\r\nof\ntext\x85\xe2\x80\xa8here",
        "\x9b31m right \u202eto left\u2066".encode(),
        bytes(range(256)),
        b"\xff\xfe\xfd" * 20,
        b"",
        b"\x00",
        b"\x7f\x08\x08",
        b"a text \x1b with a few \x07 in it, which is long enough to be a text",
    ]
    say(lan.b, *((ALL_HOSTS, 2222, each) for each in nasty), (ALL_HOSTS, 2222, b"end"))
    eventually(lambda: f"  ttl 1  {3} bytes" in listening.output())
    assert listening.interrupt() == 0
    text = listening.output()
    assert all(c == "\n" or c.isprintable() for c in text)
    datagram_lines = [line for line in text.splitlines() if not line.startswith("    ")]
    assert len(datagram_lines) == len(nasty) + 1
    assert f"{len(nasty) + 1} datagrams" in listening.errors()


def test_datagrams_of_every_size(lan: Lan) -> None:
    listening = listen(lan.a, "-i", "lo", "--json")
    sizes = [0, 1, 1472, 2047, 2048, 2049, 9000, 65_507]
    say(
        lan.a,
        *(("127.0.0.1", 2222, (b"%d " % n * n)[:n]) for n in sizes),
        ("::1", 2222, b"x" * 65_488),
        interface="lo",
    )
    eventually(lambda: len(datagrams(listening)) == len(sizes) + 1)
    found = heard(listening)
    assert [e["length"] for e in found] == [*sizes, 65_488]
    for each, n in zip(found, sizes, strict=False):
        assert bytes.fromhex(each["payload"]) == (b"%d " % n * n)[:n]


def test_a_datagram_that_came_in_fragments(lan: Lan) -> None:
    listening = listen(lan.a, "--json")
    say(lan.b, ("10.9.1.1", 2222, b"x" * 40_000), ("fd00:1::1", 2222, b"y" * 40_000))
    eventually(lambda: len(datagrams(listening)) == 2)
    assert [e["length"] for e in heard(listening)] == [40_000, 40_000]


# -- what happens to interfaces -------------------------------------------------------------------


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
            f"ip addr add {left.address} brd + dev eth0",
            f"ip addr add {left.link_local}/64 dev eth0 nodad",
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        right = self.pair.right
        return (
            "ip link set v2 addrgenmode none",
            "ip link set v2 up",
            f"ip addr replace {right.address} brd + dev v2",
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


def test_a_port_that_is_taken_on_one_interface(lan: Lan) -> None:
    with lan.a.start_python(_HOLD, "eth0") as holder:
        holder.wait_for("holding")
        listening = listen(lan.a, "-4")
        listening.wait_for("eth0: UDP port 2222 is taken by a program that doesn't share it")
        say(lan.c, (ALL_HOSTS, 2222, b"green"))
        listening.wait_for("green")

    def is_heard() -> bool:
        say(lan.b, (ALL_HOSTS, 2222, b"blue"))
        return "  blue" in listening.output()

    eventually(is_heard)
    assert listening.interrupt() == 0
    assert listening.errors().count("taken") == 1


def test_a_port_that_takes_privileges(lan: Lan) -> None:
    for command in (["listen"], ["send", "hi", "--source-port", "80"]):
        done = run_bcast(lan.a, *command, "-i", "eth0", *(["-p", "80"]), status=3)
        assert "can't bind to port 80: EACCES" in done.stderr
        assert "ports below 1024 need privileges" in done.stderr


# -- the end --------------------------------------------------------------------------------------


def in_shell(host: Host, script: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Runs a shell's command line, in which "$@" is the command and its arguments."""
    return host.run(
        ["sh", "-c", script, "sh", *COMMAND, *args],
        env=environment(),
        check=False,
        capable=False,
        timeout=20.0,
    )


def test_whoever_reads_it_has_had_enough(lan: Lan) -> None:
    running = lan.a.start(
        ["sh", "-c", '"$@" | head -n 1', "sh", *COMMAND, "listen", "-p", "2222"],
        env=environment(),
        capable=False,
    )
    running.wait_for(LISTENING)
    say(lan.b, (ALL_HOSTS, 2222, b"hi"))
    running.wait_for("hi")
    # No second datagram arrives that could show that nobody listens any more.
    assert running.wait() == 0
    assert running.errors().splitlines()[1:] == ["skipped lo: loopback"]


def test_whoever_reads_the_capture_has_had_enough(lan: Lan) -> None:
    running = lan.a.start(
        ["sh", "-c", '"$@" | head -c 4 | wc -c', "sh", *COMMAND, "listen", "-w", "-"],
        env=environment(),
        capable=False,
    )
    running.wait_for("4")
    assert running.wait(timeout=4.0) == 0


@pytest.mark.parametrize(
    "args",
    [
        ["listen", "-p", "2222", "-t", "5"],
        ["listen", "-p", "2222", "-t", "1", "--json"],
        ["send", "hi", "-p", "2222"],
        ["send", "hi", "-p", "2222", "--json"],
        ["interfaces"],
        ["interfaces", "--json"],
        ["--help"],
        ["--version"],
    ],
    ids=" ".join,
)
def test_an_output_that_takes_no_more(lan: Lan, args: list[str]) -> None:
    running = lan.a.start(
        ["sh", "-c", '"$@" >/dev/full', "sh", *COMMAND, *args], env=environment(), capable=False
    )
    if args[:1] == ["listen"] and "--json" not in args:
        running.wait_for(LISTENING)
        say(lan.b, (ALL_HOSTS, 2222, b"hi"))
    assert running.wait() == 3
    sentence = "bcast: can't write the output: No space left on device"
    assert running.errors().splitlines().count(sentence) == 1
    assert "bug" not in running.errors()
    assert "Traceback" not in running.errors()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("args", [["interfaces"], ["listen", "-i", "lo", "-t", "0.1"]])
def test_streams_that_are_not_there(lan: Lan, args: list[str], closed: str) -> None:
    done = in_shell(lan.a, f'"$@" {closed}', *args)
    assert done.returncode in (0, 3)
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stdout + done.stderr
    if closed == "2>&-":
        assert "listening" not in done.stdout


@pytest.mark.parametrize(
    "numbers",
    [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]],
    ids=["SIGTERM", "SIGINT twice"],
)
def test_a_reader_that_stalls_does_not_make_it_immortal(
    lan: Lan, numbers: list[signal.Signals]
) -> None:
    running = lan.a.start(
        ["sh", "-c", '"$@" | sleep 60', "sh", *COMMAND, "listen", "-p", "2222", "--json"],
        env=environment(),
        capable=False,
    )
    running.wait_for(LISTENING)
    shell = running.pid
    pid = eventually(lambda: child_named(shell, "bcast"))
    # More than a pipe holds: it waits for a reader who never comes.
    say(lan.b, (ALL_HOSTS, 2222, b"x" * 1000), times=150)
    time.sleep(0.3)
    try:
        for number in numbers:
            os.kill(pid, number)
            time.sleep(0.1)
        eventually(lambda: state(pid) in ("", "Z"), timeout=8)
    finally:
        running.kill()
    assert "Traceback" not in running.errors()


def child_named(parent: int, word: str) -> int | None:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for child in children:
        if word in Path(f"/proc/{child}/cmdline").read_text():
            return int(child)
    return None


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@pytest.mark.parametrize("option", ["--json", "--show=hex"])
def test_it_ends_in_good_order_in_the_middle_of_a_flood(lan: Lan, option: str) -> None:
    listening = listen(lan.a, option)
    flooding = lan.b.start_python(_FLOOD, "100000000")
    eventually(lambda: listening.output().count("\n") > 2000)
    try:
        assert listening.interrupt(timeout=PATIENCE) == 0
    finally:
        flooding.kill()
    output, errors = listening.output(), listening.errors()
    assert output.endswith("\n")
    if option == "--json":
        found = events(output)
        summary = found[-1]
        assert summary["event"] == "summary"
        assert summary["datagrams"] == sum(e["event"] == "datagram" for e in found)
    else:
        shown = sum("  ttl " in line for line in output.splitlines())
        assert f"\n{shown} datagrams, {shown * 200} bytes" in errors


def test_a_capture_is_whole_when_it_ends_in_the_middle_of_a_flood(
    lan: Lan, tmp_path: Path
) -> None:
    path = tmp_path / "flood.pcapng"
    listening = listen(lan.a, "-w", str(path))
    flooding = lan.b.start_python(_FLOOD, "100000000")
    eventually(lambda: path.stat().st_size > 100_000)
    try:
        assert listening.terminate(timeout=PATIENCE) == 0
    finally:
        flooding.kill()
    found = re.search(r"^(\d+) datagrams", listening.errors(), re.MULTILINE)
    assert found is not None
    assert len(payloads(path)) == int(found[1])


# -- captures -------------------------------------------------------------------------------------


def payloads(path: Path) -> list[bytes]:
    with CaptureReader(str(path)) as reader:
        return [datagram.payload for datagram in reader]


def test_what_was_written_is_shown_the_same(lan: Lan, tmp_path: Path) -> None:
    path = tmp_path / "all.pcapng"
    listening = listen(lan.a, "-w", str(path), "-g", "239.1.2.3")
    shown = listen(lan.a, "--json", "-g", "239.1.2.3")
    say(
        lan.b,
        (ALL_HOSTS, 2222, b"hello"),
        ("239.1.2.3", 2222, bytes(range(256))),
        ("ff02::1", 2222, b""),
        ("10.9.1.255", 2222, "grüße".encode()),
    )
    say(lan.c, (ALL_HOSTS, 2222, b"from green"))
    eventually(lambda: len(datagrams(shown)) == 5)
    live = heard(shown)
    assert listening.interrupt() == 0
    assert listening.output() == ""
    assert "5 datagrams" in listening.errors()

    read_output = run_bcast(lan.a, "listen", "--read", str(path), "--json").stdout
    found = events(read_output)
    read = [e for e in found if e["event"] == "datagram"]
    # Two sockets, one datagram: the kernel stamped it once.
    own = ("index", "source", "destination")  # of another listing: no indexes, no scopes
    strip = [{k: v for k, v in e.items() if k not in own} for e in live]
    assert sorted(map(str, strip)) == sorted(
        str({k: v for k, v in e.items() if k not in own}) for e in read
    )
    assert {e["source"].partition("%")[0] for e in read} == {
        e["source"].partition("%")[0] for e in live
    }

    done = run_bcast(lan.a, "listen", "-r", str(path), "--from", "10.9.2.0/24", "-c", "1")
    assert done.stdout.rstrip().endswith("  from green")
    done = in_shell(lan.a, f'"$@" <{path}', "listen", "-r", "-", "--json")
    assert done.stdout == read_output


def test_the_options_of_a_listener_are_not_ignored_when_reading(lan: Lan, tmp_path: Path) -> None:
    path = tmp_path / "all.pcapng"
    listening = listen(lan.a, "-w", str(path))
    say(lan.b, (ALL_HOSTS, 2222, b"blue"), ("ff02::1", 2222, b"blue6"))
    say(lan.c, (ALL_HOSTS, 2222, b"green"))
    time.sleep(0.2)
    assert listening.interrupt() == 0
    read = ("listen", "-r", str(path), "--json")
    for options, expected in (
        (["-i", "eth1"], ["green"]),
        (["-x", "eth1"], ["blue", "blue6"]),
        (["-6"], ["blue6"]),
    ):
        done = lan.a.run([*COMMAND, *read, *options], env=environment(), check=False)
        texts = [e.get("text") for e in events(done.stdout) if e["event"] == "datagram"]
        assert done.returncode == 2 or texts == expected, options


def test_drops_are_in_the_capture(lan: Lan, tmp_path: Path) -> None:
    path = tmp_path / "drops.pcapng"
    listening = listen(lan.a, "-w", str(path))
    pause(listening)
    flood(lan.b, 20_000)
    proceed(listening)
    settled(path, above=10_000)
    assert listening.interrupt() == 0
    summary = listening.errors().splitlines()[-1]
    counted = re.match(r"(\d+) datagrams, .*; kernel drops (\d+); rejected 0$", summary)
    assert counted is not None
    received, dropped = map(int, counted.groups())
    assert received + dropped == 20_000
    assert dropped > 0
    with CaptureReader(str(path)) as reader:
        assert sum(1 for _ in reader) == received
    assert reader.drops == dropped


def settled(path: Path, *, above: int) -> None:
    """Waits until a capture has grown and, for more than the time between two flushes, not."""
    before = -1
    while (size := eventually(lambda: max(0, path.stat().st_size - above))) != before:
        before = size
        time.sleep(0.7)


_FLOOD = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as said:
    said.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    said.setsockopt(socket.SOL_SOCKET, 25, b"eth0\\0")
    said.connect(("255.255.255.255", 2222))
    for _ in range(int(sys.argv[1])):
        said.send(b"x" * 200)
"""


def flood(host: Host, count: int) -> None:
    host.python(_FLOOD, str(count), timeout=30.0)


def test_tools_read_it_without_complaint(lan: Lan, tmp_path: Path) -> None:
    if not (shutil.which("tshark") and shutil.which("capinfos")):
        pytest.skip("needs tshark and capinfos (Wireshark)")
    path = tmp_path / "all.pcapng"
    listening = listen(lan.a, "-w", str(path), "-g", "ff15::1:2")
    say(lan.b, (ALL_HOSTS, 2222, b"hello"), ("ff15::1:2", 2222, b"six"), ("10.9.1.1", 2222, b""))
    time.sleep(0.3)
    assert listening.interrupt() == 0
    # Port 2222 is somebody's, whose format it isn't.
    args = [
        "-n",
        "-r",
        str(path),
        "-d",
        "udp.port==2222,data",
        "-o",
        "udp.check_checksum:TRUE",
        "-o",
        "ip.check_checksum:TRUE",
    ]
    fields = ["ip.src", "ipv6.src", "udp.dstport", "data.text", "frame.interface_name"]
    shown = subprocess.run(
        ["tshark", *args, "-T", "fields", *(w for f in fields for w in ("-e", f))],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split("\t") for line in shown.stdout.splitlines()]
    assert sorted(line[0] or line[1] for line in lines) == ["10.9.1.2", "10.9.1.2", "fd00:1::2"]
    assert {line[2] for line in lines} == {"2222"}
    assert {line[4] for line in lines} == {"eth0"}
    warned = subprocess.run(
        ["tshark", *args, "-Y", "_ws.malformed || udp.checksum.status == 0"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert warned.stdout == ""
    told = subprocess.run(["capinfos", str(path)], capture_output=True, text=True, check=True)
    assert re.search(r"Number of packets:\s+3\b", told.stdout)
    assert "bcast" in told.stdout


def test_a_kill_costs_the_last_second_only(lan: Lan, tmp_path: Path) -> None:
    path = tmp_path / "killed.pcapng"
    listening = listen(lan.a, "-w", str(path))
    said = 0
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        say(lan.b, (ALL_HOSTS, 2222, b"hello"), times=10)
        said += 10
    time.sleep(1.2)
    os.kill(listening.pid, signal.SIGKILL)
    assert listening.wait() == -signal.SIGKILL
    assert len(payloads(path)) == said


def test_a_file_that_may_not_grow(lan: Lan, tmp_path: Path) -> None:
    path = tmp_path / "limited.pcapng"
    args = ["listen", "-p", "2222", "-w", str(path)]
    running = lan.a.start(
        ["sh", "-c", 'ulimit -f 16; exec "$@"', "sh", *COMMAND, *args],
        env=environment(),
        capable=False,
    )
    running.wait_for(LISTENING)
    flood(lan.b, 500)
    assert running.wait() == 3
    assert re.search(
        rf"^bcast: the file may not grow any more: {path} holds the first \d+ datagrams",
        running.errors(),
        re.MULTILINE,
    )
    assert payloads(path) == [b"x" * 200] * len(payloads(path)) != []


def test_a_disk_that_is_full(lan: Lan, tmp_path: Path) -> None:
    # The tmpfs is seen by the command alone, so what is on it is copied out at the end.
    script = (
        'mount -t tmpfs -o size=32k none "$0" || exit 99; "$@"; status=$?;'
        f' cp "$0/full.pcapng" {tmp_path}/copy.pcapng; exit $status'
    )
    folder = tmp_path / "small"
    folder.mkdir()
    alone = ("unshare", "--user", "--map-root-user", "--mount")
    args = ("listen", "-p", "2222", "-w", str(folder / "full.pcapng"))
    running = lan.a.start(
        [*alone, "sh", "-c", script, str(folder), *COMMAND, *args],
        env=environment(),
        capable=True,
    )
    try:
        running.wait_for(LISTENING)
    except Exception as error:
        pytest.skip(f"a file system can't be mounted here: {error}")
    flood(lan.b, 500)
    assert running.wait() == 3
    assert "bcast: the disk is full: " in running.errors()
    assert "Traceback" not in running.errors()
    assert payloads(tmp_path / "copy.pcapng") != []


def test_a_capture_that_can_not_be_opened(lan: Lan, tmp_path: Path) -> None:
    done = run_bcast(lan.a, "listen", "-w", str(tmp_path / "none" / "f"), status=3)
    assert re.match(r"bcast: can't write .*/none/f: there is no directory", done.stderr)
    done = run_bcast(lan.a, "listen", "-w", str(tmp_path), status=3)
    assert "it is a directory" in done.stderr


def test_what_is_no_capture(lan: Lan, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("this is no capture at all, but it is long enough to be one")
    done = run_bcast(lan.a, "listen", "-r", str(path), status=3)
    assert done.stderr.startswith("bcast: ")
    assert str(path) in done.stderr
    done = run_bcast(lan.a, "listen", "-r", str(tmp_path / "none"), status=3)
    assert done.stderr == f"bcast: there is no file {tmp_path / 'none'}\n"


def test_a_fifo_that_nobody_reads_can_be_given_up(lan: Lan, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    running = start_bcast(lan.a, "listen", "-i", "lo", "-w", str(fifo))
    # Its sockets are open; next it waits for a reader, and says nothing of it.
    eventually(lambda: ":6E48 " in lan.a.run(["cat", "/proc/self/net/udp"]).stdout)
    time.sleep(0.1)
    assert running.interrupt(timeout=3.0) in (0, 130)


def test_json_and_a_capture_do_not_mix_on_one_stream(lan: Lan) -> None:
    done = lan.a.run(
        [*COMMAND, "listen", "-t", "0", "--json", "-w", "-"], env=environment(), check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("bcast: ")


def test_json_with_a_capture_shows_and_writes(lan: Lan, tmp_path: Path) -> None:
    path = tmp_path / "both.pcapng"
    listening = listen(lan.a, "--json", "-w", str(path))
    say(lan.b, (ALL_HOSTS, 2222, b"hello"))
    eventually(lambda: datagrams(listening))
    assert listening.interrupt() == 0
    assert payloads(path) == [b"hello"]


def test_events_are_lines_of_json_to_the_end(lan: Lan) -> None:
    listening = listen(lan.a, "--json")
    flood(lan.b, 3_000)
    assert listening.interrupt() == 0
    lines = listening.output().splitlines()
    assert json.loads(lines[-1])["event"] == "summary"
    assert json.loads(lines[-1])["datagrams"] == sum('"datagram"' in line for line in lines)
