"""What goes wrong on a segment of a lab: it is lost, cut off, kept apart; and snooping."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bcast.datagram import Family
from bcast.errors import ArgumentError, LabError
from bcast.lab import Host, Lab, Link, system
from bcast.lab import segment as segment_module
from tests.command import PATIENCE, Wire, eventually

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="a lab needs Linux"),
    pytest.mark.skipif(not system.has_tool("nft"), reason="needs nft (nftables)"),
]

#: Sends argv[3] numbered datagrams to a group or by broadcast, out of eth0.
SEND = """
import socket, struct, sys
destination, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
six = ":" in destination
with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as said:
    said.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    said.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
    for number in range(count):
        said.sendto(b"%d" % number, (destination, port))
"""
#: Joins argv[1] on eth0 and stays.
JOIN = """
import socket, struct, sys, time
index = socket.if_nametoindex("eth0")
if ":" in sys.argv[1]:
    opened = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    group = socket.inet_pton(socket.AF_INET6, sys.argv[1]) + struct.pack("@I", index)
    opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
else:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    group = struct.pack("4s4si", socket.inet_aton(sys.argv[1]), bytes(4), index)
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
print("joined", flush=True)
time.sleep(60)
"""
ALL = "255.255.255.255"


def hosts_on(lab: Lab, count: int, **options: bool | float) -> list[Host]:
    """Hosts of one segment, a, b, c, ..."""
    lan = lab.segment(**options)  # type: ignore[arg-type]
    made = [lab.host(name) for name in "abcd"[:count]]
    for host in made:
        host.connect(lan)
    return made


def received(sender: Host, receivers: Sequence[Host], count: int = 1, to: str = ALL) -> list[int]:
    """How many of so many datagrams each receiver's interface saw."""
    wires = [Wire(receiver) for receiver in receivers]
    sender.python(SEND, to, "2222", str(count))
    return [len([s for s in wire.seen() if s.port == 2222]) for wire in wires]


def arrived(host: Host) -> int:
    """How many frames the kernel has counted at eth0, more than a raw socket can hold."""
    [shown] = json.loads(host.setup("ip -json -stats link show dev eth0"))
    count: int = shown["stats64"]["rx"]["packets"]
    return count


# --- loss


def test_each_receiver_of_a_segment_loses_its_share(lab: Lab) -> None:
    a, b, c = hosts_on(lab, 3, loss=0.3)
    (lan,) = lab.segments
    assert (lan.loss, lan.fault_tool) == (0.3, "nft")
    before = [arrived(host) for host in (b, c)]
    a.python(SEND, ALL, "2222", "3000")
    got = [arrived(host) - count for host, count in zip((b, c), before, strict=True)]
    # 900 are lost, with a deviation of 25.
    assert all(1_950 < number < 2_250 for number in got), got
    lan.loss = 1.0
    assert received(a, [b, c], 10) == [0, 0]
    lan.loss = 0.0
    assert received(a, [b, c], 100) == [100, 100]


def test_a_link_loses_by_itself(lab: Lab) -> None:
    a, b, c = hosts_on(lab, 3)
    c.links[0].loss = 1.0
    assert received(a, [b, c], 50) == [50, 0]
    # What it sends isn't lost.
    assert received(c, [a, b], 50) == [50, 50]
    late = lab.host("late")
    late.connect(lab.segments[0], loss=1.0)
    assert late.links[0].loss == 1.0
    assert received(a, [b, late], 50) == [50, 0]
    late.links[0].loss = 0.0
    assert received(a, [c, late], 50) == [0, 50]


def test_neighbours_are_found_on_a_segment_that_loses_everything_else(lab: Lab) -> None:
    a, b = hosts_on(lab, 2, loss=1.0)
    wire = Wire(b)
    code = "import socket; socket.socket(2, 2).sendto(b'x', ('10.9.1.2', 9))"
    a.python(code)
    known = eventually(lambda: "lladdr" in a.setup("ip neigh show 10.9.1.2"), timeout=PATIENCE)
    assert known
    assert wire.seen() == []


@pytest.mark.parametrize("chance", [-0.1, 1.1, float("nan")])
def test_what_is_no_chance_is_refused(lab: Lab, chance: float) -> None:
    lan, a = lab.segment(), lab.host("a")
    link = a.connect(lan)
    for change in (
        lambda: setattr(lan, "loss", chance),
        lambda: setattr(link, "loss", chance),
        lambda: lab.segment("other", loss=chance),
        lambda: a.connect(lan, loss=chance),
    ):
        with pytest.raises(ArgumentError, match=r"is no chance \(loss\): use 0 \(never\) to 1"):
            change()
    assert (lan.loss, link.loss, len(lab.segments), len(a.links)) == (0.0, 0.0, 1, 1)


# --- cables and partitions


def test_a_link_that_is_down_has_no_carrier_and_hears_nothing(lab: Lab) -> None:
    a, b, c = hosts_on(lab, 3)
    link = b.links[0]
    link.down()
    link.down()  # there is no more to pull
    assert not link.is_up
    shown = b.setup("ip addr show dev eth0")
    assert "NO-CARRIER" in shown
    assert "10.9.1.2" in shown
    assert received(a, [b, c]) == [0, 1]
    link.up()
    eventually(lambda: "LOWER_UP" in b.setup("ip addr show dev eth0"))
    assert received(a, [b, c]) == [1, 1]


def test_sides_of_a_partition_do_not_hear_each_other(lab: Lab) -> None:
    a, b, c, d = hosts_on(lab, 4)
    (lan,) = lab.segments
    lan.partition([a, b], [c])
    assert received(a, [b, c, d]) == [1, 0, 1]
    assert received(c, [a, b, d]) == [0, 0, 1]
    assert received(d, [a, b, c]) == [1, 1, 1]
    late = lab.host("late")
    lan.partition([a, late], [b])  # replaces the other one, for whoever comes too
    late.connect(lan)
    assert received(b, [a, late, c]) == [0, 0, 1]
    assert received(a, [late, b]) == [1, 0]
    lan.heal()
    lan.heal()
    assert received(b, [a, late, c]) == [1, 1, 1]
    with pytest.raises(ArgumentError, match="a can't be on two sides of lan: name each host once"):
        lan.partition([a, b], [a])


def test_loss_and_partition_hold_together(lab: Lab) -> None:
    a, b, c = hosts_on(lab, 3)
    (lan,) = lab.segments
    c.links[0].loss = 1.0
    lan.partition([a], [b])
    assert received(a, [b, c], 5) == [0, 0]
    lan.heal()
    assert received(a, [b, c], 5) == [5, 0]


def test_the_ends_of_a_wire_are_no_place_for_faults(lab: Lab) -> None:
    left, _ = lab.wire(lab.host("a"), "v1", lab.host("b"), "v2")

    def lose() -> None:
        left.loss = 0.5

    for change in (left.down, lose):
        with pytest.raises(ArgumentError, match=r"v1 of a can't .*: it is one end of a wire: c"):
            change()
    assert left.is_up


# --- snooping


@pytest.mark.parametrize("group", ["239.1.2.3", "ff12::1:2"])
def test_a_segment_that_snoops_forwards_groups_to_members_alone(lab: Lab, group: str) -> None:
    a, b, c = hosts_on(lab, 3, snooping=True)
    assert lab.segments[0].snooping
    with b.start_python(JOIN, group) as member:
        member.wait_for("joined", timeout=PATIENCE)
        # The bridge floods until those who were asked had time to answer.
        eventually(lambda: received(a, [b, c], to=group) == [1, 0])
        assert received(a, [b, c]) == [1, 1], "broadcasts are for everybody"


def test_a_segment_that_does_not_snoop_forwards_groups_to_all(lab: Lab) -> None:
    a, b, c = hosts_on(lab, 3)
    with b.start_python(JOIN, "239.1.2.3") as member:
        member.wait_for("joined", timeout=PATIENCE)
        assert received(a, [b, c], to="239.1.2.3") == [1, 1]


# --- families


def test_hosts_get_the_addresses_of_the_segments_families(lab: Lab) -> None:
    a = lab.host("a")
    four = a.connect(lab.segment("four", families=[Family.IPV4]))
    six = a.connect(lab.segment("six", families=[Family.IPV6]))
    assert [a.family for a in four.interface.addresses] == [Family.IPV4]
    assert [a.family for a in six.interface.addresses] == [Family.IPV6]
    assert str(six.address(Family.IPV6)) == f"{six.link_local}%eth1"
    assert "inet " not in a.setup("ip addr show dev eth1")
    assert "inet6" not in a.setup("ip addr show dev eth0")


# --- where the system can't do it


def without(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str | None) -> None:
    """Takes nft away; tc is the script, or there is none."""
    tc = folder / "tc"
    if script is not None:
        tc.write_text(f"#!/bin/sh\n{script}\n")
        tc.chmod(0o755)
    tools = {"tc": str(tc)} if script is not None else {}
    monkeypatch.setattr(segment_module, "has_tool", tools.__contains__)
    monkeypatch.setattr(segment_module, "tool", tools.__getitem__)


def test_without_nft_loss_is_tcs(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without(monkeypatch, tmp_path, f'echo "$@" >>{tmp_path}/calls')
    a, b = hosts_on(lab, 2, loss=0.1)
    b.links[0].loss = 0.5
    ports = [link.port for link in lab.segments[0].links]
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[-2:] == [
        f"qdisc replace dev {ports[0]} root netem loss 10.0000%",
        f"qdisc replace dev {ports[1]} root netem loss 55.0000%",
    ]
    assert lab.segments[0].fault_tool == "tc"
    with pytest.raises(LabError, match="hosts of lan can't be kept apart: there is no command nf"):
        lab.segments[0].partition([a], [b])
    lab.segments[0].heal()
    lab.segments[0].loss = 0.0
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[-2] == f"qdisc replace dev {ports[0]} root pfifo"


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (None, "nothing can be lost on lan: there is no command nft, and there is no tc either"),
        ("echo 'Error: kind is unknown.' >&2; exit 2", r"tc has no netem either \(Error: kind is"),
    ],
)
def test_where_nothing_can_be_lost_that_is_said(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str | None, sentence: str
) -> None:
    without(monkeypatch, tmp_path, script)
    lan, a = lab.segment(), lab.host("a")
    link: Link = a.connect(lan)
    with pytest.raises(LabError, match=sentence):
        lan.loss = 0.5
    with pytest.raises(LabError, match=sentence):
        link.loss = 0.5
    assert (lan.loss, link.loss, lan.fault_tool) == (0.0, 0.0, "")
