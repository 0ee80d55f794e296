"""``bcast listen`` as a person runs it: what it shows of what plain sockets sent."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from bcast.lab import Lab, Running
from tests.command import (
    ALL_HOSTS,
    Lan,
    any_lab,
    datagrams,
    end_listeners,
    events,
    eventually,
    heard,
    listen,
    pause,
    proceed,
    run_bcast,
    say,
    start_bcast,
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


def test_every_interface_and_both_families_at_once(lab: Lab) -> None:
    lan = two_networks(lab)
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
