"""``bcast send`` as a person runs it, and what really leaves by the cables."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from bcast.lab import Lab
from tests.command import (
    ALL_HOSTS,
    Lan,
    Sighting,
    Wire,
    any_lab,
    events,
    run_bcast,
    start_bcast,
    two_networks,
)

pytestmark = pytest.mark.kernel("hosts with two interfaces")


def build(lab: Lab) -> Lan:
    """Two networks, and the default route on the first of them."""
    lan = two_networks(lab)
    lan.a.default_route("10.9.1.2")
    # Addresses beyond both networks: one behind b by the default route, the other one's host
    # answers for it on green as well.
    lan.b.setup("ip addr add 198.51.100.7/32 dev lo")
    lan.c.setup("ip addr add 198.51.100.7/32 dev lo")
    return lan


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    with any_lab() as lab:
        yield build(lab)


def seen_at_both(lan: Lan, *args: str, status: int = 0) -> list[tuple[str, Sighting]]:
    """Runs ``bcast send ARGS`` on a: what arrived on which network, and no more than was said."""
    blue, green = Wire(lan.b), Wire(lan.c)
    done = run_bcast(lan.a, "send", *args, "--json", status=status)
    found = [("blue", s) for s in blue.seen()] + [("green", s) for s in green.seen()]
    said = [e for e in events(done.stdout) if e["event"] == "sent"]
    ends = ("source", "source_port", "destination", "destination_port")
    assert sorted([str(e[end]).partition("%")[0] for end in ends] for e in said) == sorted(
        [s.source, str(s.source_port), s.destination, str(s.port)] for _, s in found
    )
    return found


def ways(found: list[tuple[str, Sighting]]) -> list[tuple[str, str, str]]:
    return sorted((network, s.source, s.destination) for network, s in found)


def test_a_broadcast_leaves_by_each_interface_with_its_address(lab: Lab) -> None:
    # What it is all for: two networks, the default route on the first, and a listener on the
    # second interface of the same host.
    lan = build(lab)
    blue, green = Wire(lan.b), Wire(lan.c)
    listening = start_bcast(
        lan.a, "listen", "-i", "eth1", "--port", "2222", until="listening on port 2222 of eth1"
    )
    done = run_bcast(lan.a, "send", "hi", "--to", "all-hosts", "--port", "2222")
    (first,), (second,) = blue.seen(), green.seen()
    assert (first.source, first.destination, first.port) == ("10.9.1.1", ALL_HOSTS, 2222)
    assert (second.source, second.destination, second.port) == ("10.9.2.1", ALL_HOSTS, 2222)
    assert first.payload == second.payload == b"hi"
    assert done.stdout.splitlines() == [
        f"eth0  10.9.1.1:{first.source_port} > 255.255.255.255:2222  2 bytes",
        f"eth1  10.9.2.1:{second.source_port} > 255.255.255.255:2222  2 bytes",
    ]
    assert done.stderr == "skipped lo: loopback\n"
    listening.wait_for("hi")
    assert listening.interrupt() == 0
    (line,) = listening.output().splitlines()
    ending = f"  eth1  10.9.2.1:{second.source_port} > 255.255.255.255:2222  ttl 64  2 bytes  hi"
    assert line.endswith(ending)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        pytest.param(
            ["--to", "subnet"],
            [("blue", "10.9.1.1", "10.9.1.255"), ("green", "10.9.2.1", "10.9.2.255")],
            id="subnet",
        ),
        pytest.param(
            ["--to", "both"],
            [
                ("blue", "10.9.1.1", "10.9.1.255"),
                ("blue", "10.9.1.1", ALL_HOSTS),
                ("green", "10.9.2.1", "10.9.2.255"),
                ("green", "10.9.2.1", ALL_HOSTS),
            ],
            id="both",
        ),
        pytest.param(
            ["--to", "239.1.2.3"],
            [("blue", "10.9.1.1", "239.1.2.3"), ("green", "10.9.2.1", "239.1.2.3")],
            id="an IPv4 group",
        ),
        pytest.param(
            ["--to", "ff15::1:2"],
            [("blue", "fd00:1::1", "ff15::1:2"), ("green", "fd00:2::1", "ff15::1:2")],
            id="an IPv6 group of the site",
        ),
        pytest.param(["--to", "10.9.2.2"], [("green", "10.9.2.1", "10.9.2.2")], id="on the link"),
        pytest.param(
            ["--to", "fd00:2::2"], [("green", "fd00:2::1", "fd00:2::2")], id="on the IPv6 link"
        ),
        pytest.param(
            ["--to", "198.51.100.7"],
            [("blue", "10.9.1.1", "198.51.100.7")],
            id="where the kernel routes it",
        ),
        pytest.param(
            ["--to", "198.51.100.7", "-i", "eth1"],
            [("green", "10.9.2.1", "198.51.100.7")],
            id="where it was told to go",
        ),
        pytest.param(["-x", "eth0"], [("green", "10.9.2.1", ALL_HOSTS)], id="not there"),
        pytest.param(["-i", "10.9.2.0/24"], [("green", "10.9.2.1", ALL_HOSTS)], id="a network"),
    ],
)
def test_where_it_goes(lan: Lan, args: list[str], expected: list[tuple[str, str, str]]) -> None:
    assert ways(seen_at_both(lan, "hi", *args)) == expected


def test_a_group_of_the_link_is_sent_to_from_link_local_addresses(lan: Lan) -> None:
    found = seen_at_both(lan, "hi", "--to", "ff02::1")
    own = [str(link.link_local) for link in lan.a.links]
    assert ways(found) == [("blue", own[0], "ff02::1"), ("green", own[1], "ff02::1")]


def test_a_link_local_host_is_looked_for_on_every_link_unless_one_is_named(lan: Lan) -> None:
    host, own = str(lan.c.links[0].link_local), str(lan.a.links[1].link_local)
    # On blue nobody has that address, and the neighbour solicitation stays without an answer.
    blue, green = Wire(lan.b), Wire(lan.c)
    done = run_bcast(lan.a, "send", "hi", "--to", host, "--json")
    sent = [e for e in events(done.stdout) if e["event"] == "sent"]
    assert [e["interface"] for e in sent] == ["eth0", "eth1"]
    assert blue.seen() == []
    assert [(s.source, s.destination) for s in green.seen()] == [(own, host)]
    assert ways(seen_at_both(lan, "hi", "--to", f"{host}%eth1")) == [("green", own, host)]


def test_a_scope_does_not_lead_to_another_interface(lan: Lan) -> None:
    host = f"{lan.c.links[0].link_local}%eth1"
    assert seen_at_both(lan, "hi", "--to", host, "-i", "eth0", status=3) == []
    assert ways(seen_at_both(lan, "hi", "--to", "ff02::1%eth1", status=0)) == [
        ("green", str(lan.a.links[1].link_local), "ff02::1")
    ]


def test_a_host_that_another_interface_leads_to(lan: Lan) -> None:
    done = run_bcast(lan.a, "send", "hi", "--to", "10.9.2.2")
    assert "skipped eth0: 10.9.2.2 isn't reached by it\n" in done.stderr


def test_the_ttl_arrives_as_sent(lan: Lan) -> None:
    for args, ttl in (
        (["--to", "239.1.2.3"], 1),
        (["--to", "ff15::1:2"], 1),
        (["--to", "239.1.2.3", "--ttl", "7"], 7),
        (["--to", "ff15::1:2", "--ttl", "255"], 255),
        (["--to", "all-hosts", "--ttl", "3"], 3),
        (["--to", "10.9.2.2", "--ttl", "9"], 9),
        (["--to", "fd00:2::2", "--ttl", "10"], 10),
    ):
        found = seen_at_both(lan, "hi", *args)
        assert {s.ttl for _, s in found} == {ttl}, args


def test_the_source_port(lan: Lan) -> None:
    found = seen_at_both(lan, "hi", "--source-port", "5555")
    assert [s.source_port for _, s in found] == [5555, 5555]


def test_no_loop_keeps_a_group_from_this_hosts_own_members_only(lan: Lan) -> None:
    listening = start_bcast(lan.a, "listen", "-p", "2222", "-g", "239.1.2.3", until="listening on")
    blue = Wire(lan.b)
    group = ("--to", "239.1.2.3", "-p", "2222", "-i", "eth0")
    run_bcast(lan.a, "send", "unheard", "--no-loop", *group)
    run_bcast(lan.a, "send", "heard", *group)
    listening.wait_for("heard")
    assert listening.interrupt() == 0
    assert len(listening.output().splitlines()) == 1
    assert [s.payload for s in blue.seen()] == [b"unheard", b"heard"]


def test_several_times(lan: Lan) -> None:
    blue = Wire(lan.b)
    args = ["{seq} at {time}", "--template", "-c", "3", "--interval", "0.2", "-i", "eth0"]
    done = run_bcast(lan.a, "send", *args)
    assert done.stdout.rstrip().endswith(" x3")
    assert len(done.stdout.splitlines()) == 1
    numbers, times = zip(*(s.payload.decode().split(" at ") for s in blue.seen()), strict=True)
    assert numbers == ("1", "2", "3")
    seconds = [float(time.rpartition(":")[2].rstrip("Z")) for time in times]
    for before, after in pairwise(seconds):
        assert 0.1 < (after - before) % 60 < 5


def test_a_template_is_filled_for_each_interface(lan: Lan) -> None:
    found = seen_at_both(lan, "{{{interface}}} {address} {mac} {seq}", "--template")
    assert [s.payload.decode() for _, s in found] == [
        f"{{eth0}} 10.9.1.1 {lan.a.links[0].hardware_address} 1",
        f"{{eth1}} 10.9.2.1 {lan.a.links[1].hardware_address} 1",
    ]


def test_what_is_sent(lan: Lan, tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(bytes(range(256)))
    digits = tmp_path / "digits"
    digits.write_text("de ad\nbe:ef\n")
    blue = Wire(lan.b)
    eth0 = ("-i", "eth0")
    run_bcast(lan.a, "send", "grüße 🎈", *eth0)
    run_bcast(lan.a, "send", "", *eth0)
    run_bcast(lan.a, "send", "--hex", "01 02:ff", *eth0)
    run_bcast(lan.a, "send", "--file", str(blob), *eth0)
    run_bcast(lan.a, "send", "--hex", "--file", str(digits), *eth0)
    run_bcast(lan.a, "send", "-", *eth0, input="from the pipe\n")
    run_bcast(lan.a, "send", "-", "--hex", *eth0, input="c0 ff ee")
    assert [s.payload for s in blue.seen()] == [
        "grüße 🎈".encode(),
        b"",
        b"\x01\x02\xff",
        bytes(range(256)),
        b"\xde\xad\xbe\xef",
        b"from the pipe\n",
        b"\xc0\xff\xee",
    ]


_ANSWER = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as answering:
    answering.bind(("", 2222))
    print("answering")
    while True:
        asked, source = answering.recvfrom(2048)
        answering.sendto(b"pong " + asked, source)
"""


def test_wait_shows_the_replies(lan: Lan) -> None:
    with lan.b.start_python(_ANSWER) as peer:
        peer.wait_for("answering")
        done = run_bcast(lan.a, "send", "ping", "-p", "2222", "--wait", "0.5")
        sent, reply = done.stdout.splitlines()[0], done.stdout.splitlines()[2]
        assert sent.startswith("eth0  10.9.1.1:")
        port = sent.split(" > ")[0].rpartition(":")[2]
        ending = f"  eth0  10.9.1.2:2222 > 10.9.1.1:{port}  ttl 64  9 bytes  pong ping"
        assert reply.endswith(ending)
        assert len(done.stdout.splitlines()) == 3

        both = ["send", "ping", "-p", "2222", "--wait", "0.3", "-c", "2", "--interval", "0.3"]
        found = events(run_bcast(lan.a, *both, "--json").stdout)
        replies = [e for e in found if e["event"] == "datagram"]
        assert [(e["interface"], e["source"], e["text"]) for e in replies] == [
            ("eth0", "10.9.1.2", "pong ping")
        ] * 2


def test_wait_without_a_reply_is_told_by_the_exit_status(lan: Lan) -> None:
    done = run_bcast(lan.a, "send", "ping", "-p", "2222", "--wait", "0.2", status=1)
    assert len(done.stdout.splitlines()) == 2


def test_the_own_datagram_is_not_a_reply(lan: Lan) -> None:
    own = ["--source-port", "2222", "-p", "2222", "--wait", "0.2"]
    done = run_bcast(lan.a, "send", "ping", *own, status=1)
    assert "ttl" not in done.stdout


def test_json(lan: Lan) -> None:
    done = run_bcast(lan.a, "send", "hi", "-p", "2222", "--source-port", "1234", "--json")
    assert done.stderr == ""
    assert events(done.stdout) == [
        {
            "event": "sent",
            "interface": name,
            "source": source,
            "source_port": 1234,
            "destination": ALL_HOSTS,
            "destination_port": 2222,
            "length": 2,
            "count": 1,
        }
        for name, source in (("eth0", "10.9.1.1"), ("eth1", "10.9.2.1"))
    ] + [{"event": "skipped", "interface": "lo", "reason": "loopback"}]


def test_quiet_says_results_only(lan: Lan) -> None:
    done = run_bcast(lan.a, "send", "hi", "-q")
    assert (len(done.stdout.splitlines()), done.stderr) == (2, "")


@pytest.fixture
def pair() -> Iterator[Lan]:
    """A lan of its own, for tests that change it."""
    with any_lab() as lab:
        yield build(lab)


def test_one_interface_that_fails_does_not_stop_the_others(pair: Lan) -> None:
    pair.a.setup("ip link set eth0 mtu 576")
    blue, green = Wire(pair.b), Wire(pair.c)
    done = run_bcast(pair.a, "send", "x" * 600)
    (only,) = green.seen()
    assert only.payload == b"x" * 600
    assert blue.seen() == []
    assert done.stdout.startswith("eth1  10.9.2.1:")
    sentence = "600 bytes don't fit into one datagram: at most 548 bytes do (MTU 576)"
    assert f"failed eth0: {sentence}" in done.stderr

    found = events(run_bcast(pair.a, "send", "x" * 600, "--json").stdout)
    (failed,) = [e for e in found if e["event"] == "failed"]
    assert (failed["interface"], failed["error"]) == ("eth0", "EMSGSIZE")
    assert sentence in failed["advice"]

    done = run_bcast(pair.a, "send", "x" * 600, "-i", "eth0", status=3)
    assert done.stdout == ""
    assert sentence in done.stderr


def test_what_a_firewall_refuses(pair: Lan) -> None:
    if shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
        pytest.skip("needs nft (nftables)")
    pair.a.setup(
        "nft add table inet filter",
        "nft 'add chain inet filter out { type filter hook output priority 0; }'",
        "nft add rule inet filter out oifname eth0 udp dport 2222 drop",
    )
    done = run_bcast(pair.a, "send", "hi", "-p", "2222")
    assert done.stdout.startswith("eth1  ")
    assert "failed eth0: can't send to 255.255.255.255: EPERM" in done.stderr
    assert "nft list ruleset" in done.stderr
    done = run_bcast(pair.a, "send", "hi", "-p", "2222", "-i", "eth0", status=3)
    assert "EPERM" in done.stderr


def test_interfaces_without_an_address_of_the_family(pair: Lan) -> None:
    pair.a.setup("ip -4 addr flush dev eth0")
    assert ways(seen_at_both(pair, "hi")) == [("green", "10.9.2.1", ALL_HOSTS)]
    done = run_bcast(pair.a, "send", "hi", "-i", "eth0", status=3)
    assert done.stderr == "skipped eth0: no IPv4 address\n"


def test_interfaces_that_can_not_broadcast(pair: Lan) -> None:
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("needs /dev/net/tun, which this user may not open")
    pair.a.setup("ip tuntap add t0 mode tun", "ip addr add 10.9.7.1 peer 10.9.7.2/32 dev t0")
    held = pair.a.start_python(_HOLD_TUNNEL, "t0", capable=True)
    held.wait_for("held")
    done = run_bcast(pair.a, "send", "hi")
    reason = "it can't broadcast (point-to-point): send to a group or a host"
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["eth0", "eth1"]
    assert f"skipped t0: {reason}\n" in done.stderr
    done = run_bcast(pair.a, "send", "hi", "-i", "t0", "--json", status=3)
    assert events(done.stdout) == [{"event": "skipped", "interface": "t0", "reason": reason}]
    run_bcast(pair.a, "send", "hi", "-i", "t0", "--to", "10.9.7.2")
    run_bcast(pair.a, "send", "hi", "-i", "t0", "--to", "239.1.2.3")
    seen = held.wait_for("239.1.2.3")
    assert "10.9.7.2" in held.output()
    assert ALL_HOSTS not in held.output(), seen


_HOLD_TUNNEL = """
import fcntl, os, socket, struct, subprocess, sys
tunnel = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tunnel, 0x400454CA, struct.pack("16sH22x", sys.argv[1].encode(), 0x1001))
subprocess.run(["ip", "link", "set", sys.argv[1], "up"], check=True)
print("held")
while True:
    frame = os.read(tunnel, 2048)
    if frame[0] >> 4 == 4 and frame[9] == 17:
        print(socket.inet_ntoa(frame[16:20]))
"""


def test_a_network_without_a_broadcast_address(pair: Lan) -> None:
    pair.a.setup("ip -4 addr flush dev eth0", "ip addr add 10.9.1.1/31 dev eth0")
    done = run_bcast(pair.a, "send", "hi", "--to", "subnet")
    reason = "it has no broadcast address (its prefix is /31 or /32)"
    assert f"skipped eth0: {reason}\n" in done.stderr
    run_bcast(pair.a, "send", "hi", "--to", "subnet", "-i", "eth0", status=3)


def test_interfaces_are_chosen_by_the_environment_too(lan: Lan) -> None:
    done = run_bcast(lan.a, "send", "hi", env={"BCAST_INTERFACE": "eth1"})
    assert done.stdout.startswith("eth1  10.9.2.1:")
    assert len(done.stdout.splitlines()) == 1


def test_no_usable_interface(lan: Lan) -> None:
    with any_lab() as lab:
        alone = lab.host("alone")
        done = run_bcast(alone, "send", "hi", status=3)
        assert done.stderr == (
            "bcast: no usable interface: lo is loopback: bring one up, or name one with"
            " --interface, e.g. -i lo to stay on this machine\n"
        )
        done = run_bcast(alone, "send", "hi", "-i", "lo")
        assert done.stdout.startswith("lo  127.0.0.1:")


def test_json_is_one_object_a_line_whatever_the_interface_is_called(pair: Lan) -> None:
    name = '\x1b[31m"ü'
    pair.a.run(["ip", "link", "set", "eth1", "down"], capable=True)
    pair.a.run(["ip", "link", "set", "eth1", "name", name], capable=True)
    pair.a.run(["ip", "link", "set", name, "up"], capable=True)
    done = run_bcast(pair.a, "send", "hi", "--json")
    assert [json.loads(line)["interface"] for line in done.stdout.splitlines()][:2] == [
        "eth0",
        name,
    ]
    done = run_bcast(pair.a, "send", "hi")
    assert "\x1b" not in done.stdout + done.stderr
