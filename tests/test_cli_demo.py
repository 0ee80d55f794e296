"""``bcast demo``: works wherever there is a loopback interface, and says so where not."""

from __future__ import annotations

import re

import pytest

from tests.command import any_lab, events, run_bcast
from tests.lab import Lab

pytestmark = pytest.mark.kernel("a host with a loopback interface only")


def test_nine_datagrams_come_back(lab: Lab) -> None:
    # Privileged or not, a network namespace with nothing but lo will do.
    done = run_bcast(lab.host("alone"), "demo")
    lines = done.stdout.splitlines()
    assert len(lines) == 9
    ways = {"239.255.110.72", "all-hosts", "subnet"}
    hosts = {"lamp": "127.0.0.2", "plug": "127.0.0.3", "camera": "127.0.0.4"}
    said = {
        tuple(re.findall(r"  lo  ([\d.]+):\d+ > .*  (\w+) says hello to (.+)$", line)[0])
        for line in lines
    }
    assert said == {(address, name, way) for name, address in hosts.items() for way in ways}
    first, last = done.stderr.splitlines()
    assert first.startswith("three hosts on lo send to a group and by broadcast, port ")
    assert last == "9 of 9 datagrams came back"


def test_without_ipv6() -> None:
    with any_lab() as lab:
        host = lab.host("alone")
        host.set_sysctl("net.ipv6.conf.all.disable_ipv6", 1)
        done = run_bcast(host, "demo", "--json")
        *datagrams, summary = events(done.stdout)
        assert [e["event"] for e in datagrams] == ["datagram"] * 9
        assert summary == {"event": "summary", "datagrams": 9, "missing": 0}


def test_two_at_a_time_do_not_meet() -> None:
    from tests.command import start_bcast

    with any_lab() as lab:
        host = lab.host("alone")
        both = [start_bcast(host, "demo") for _ in range(2)]
        for each in both:
            assert each.wait() == 0, each.errors()
            assert len(each.output().splitlines()) == 9


def test_without_loopback() -> None:
    with any_lab() as lab:
        host = lab.host("dead", loopback=False)
        done = run_bcast(host, "demo", status=3)
        assert done.stderr.startswith("bcast: no usable interface: lo is down")
        host.setup("ip link set lo up", "ip -4 addr flush dev lo")
        done = run_bcast(host, "demo", status=3)
        assert done.stderr == "bcast: lo has no IPv4 address: add 127.0.0.1/8 to it\n"


def test_quietly() -> None:
    with any_lab() as lab:
        done = run_bcast(lab.host("alone"), "demo", "-q")
        assert (len(done.stdout.splitlines()), done.stderr) == (9, "")
