"""``bcast demo``: works wherever there is a loopback interface, and says so where not."""

from __future__ import annotations

import shutil
import time

import pytest

from bcast.lab import Lab
from tests.command import any_lab, events, run_bcast, start_bcast

pytestmark = pytest.mark.kernel("a host with a loopback interface only")

_REMARKS = [
    "three accessories announce themselves on lo:",
    "the plug is switched on:",
    "the camera loses its power, and can't say goodbye:",
    "all of it was seen",
]


def test_three_accessories_are_found_and_followed(lab: Lab) -> None:
    # Privileged or not, a network namespace with nothing but lo will do.
    began = time.monotonic()
    done = run_bcast(lab.host("alone"), "demo")
    assert time.monotonic() - began < 10
    rows = [line.split() for line in done.stdout.splitlines()]
    assert sorted(row[1:5] for row in rows[:3]) == [
        ["added", "camera", "_camera", "127.0.0.4:554"],
        ["added", "lamp", "_lamp", "127.0.0.2:80"],
        ["added", "plug", "_plug", "127.0.0.3:80"],
    ]
    assert [row[1:3] for row in rows[3:]] == [
        ["changed", "plug"],
        ["suspect", "camera"],
        ["removed", "camera"],
    ]
    assert rows[3][-1] == "(attributes)"
    assert rows[5][-1] == "(silence)"
    assert done.stderr.splitlines() == _REMARKS


@pytest.mark.once
def test_without_ipv6_as_objects() -> None:
    with any_lab() as lab:
        host = lab.host("alone")
        host.set_sysctl("net.ipv6.conf.all.disable_ipv6", 1)
        done = run_bcast(host, "demo", "--json")
        *happened, summary = events(done.stdout)
        assert [e["event"] for e in happened] == [
            "added", "added", "added", "changed", "suspect", "removed",
        ]  # fmt: skip
        assert happened[3]["attributes"] == {"state": "on"}
        assert happened[5]["cause"] == "silence"
        assert summary == {"event": "summary", "seen": 6, "missing": 0}


@pytest.mark.once
def test_two_at_a_time_do_not_meet() -> None:
    with any_lab() as lab:
        host = lab.host("alone")
        both = [start_bcast(host, "demo") for _ in range(2)]
        for each in both:
            assert each.wait(timeout=20) == 0, each.errors()
            assert len(each.output().splitlines()) == 6


@pytest.mark.once
def test_nobody_is_in_its_way() -> None:
    """Somebody who has bcast's port for himself."""
    with any_lab() as lab:
        host = lab.host("alone")
        hold = (
            "import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
            "s.bind(('', 28232)); print('held'); time.sleep(60)"
        )
        with host.start_python(hold) as holding:
            holding.wait_for("held")
            run_bcast(host, "demo")


@pytest.mark.once
def test_what_is_not_seen_is_a_failure() -> None:
    if shutil.which("nft") is None:
        pytest.skip("needs nft")
    with any_lab() as lab:
        host = lab.host("deaf")
        host.setup(
            "nft add table inet deaf",
            "nft add chain inet deaf input '{ type filter hook input priority 0; }'",
            # Whoever isn't 127.0.0.1 is never heard.
            "nft add rule inet deaf input ip saddr != 127.0.0.1 drop",
        )
        done = run_bcast(host, "demo", status=1, timeout=30)
        assert done.stderr.splitlines()[-1] == "6 of 6 events were not seen"
        assert done.stdout == ""


def test_without_loopback() -> None:
    with any_lab() as lab:
        host = lab.host("dead", loopback=False)
        done = run_bcast(host, "demo", status=3)
        assert done.stderr.startswith("bcast: no usable interface: lo is down")
        host.setup("ip link set lo up", "ip -4 addr flush dev lo")
        done = run_bcast(host, "demo", status=3)
        assert done.stderr == "bcast: lo has no IPv4 address: add 127.0.0.1/8 to it\n"


@pytest.mark.once
def test_quietly() -> None:
    with any_lab() as lab:
        done = run_bcast(lab.host("alone"), "demo", "-q")
        assert (len(done.stdout.splitlines()), done.stderr) == (6, "")


def test_an_interruption_ends_it() -> None:
    with (
        any_lab() as lab,
        start_bcast(lab.host("alone"), "demo", until="camera loses") as running,
    ):
        assert running.interrupt() == 130
        assert "Traceback" not in running.errors()


@pytest.mark.once
def test_only_one_host_of_loopback() -> None:
    """As on other systems, where 127.0.0.1 is all there is."""
    alone = "import bcast.cli.demo as d, sys; d.sys = type(sys)('s'); d.sys.platform = 'darwin'"
    run = "from bcast.cli import run; sys.exit(run(['demo']))"
    with any_lab() as lab:
        done = lab.host("alone").python(f"{alone}; {run}", capable=False, timeout=20)
        rows = [line.split() for line in done.stdout.splitlines()]
        assert {row[4].partition(":")[0] for row in rows} == {"127.0.0.1"}
        assert len(rows) == 6
