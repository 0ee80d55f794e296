"""Browsers and announcers in labs: several hosts, and interfaces that come, change and go."""

from __future__ import annotations

import json
import shutil

import pytest

from bcast.datagram import Family
from bcast.lab import Host, Lab, Running
from tests.command import PATIENCE, two_networks

pytestmark = pytest.mark.kernel("hosts whose interfaces can be changed")

_ENVIRONMENT = {"PYTHONWARNINGS": "error"}

#: Announces until a line comes on standard input, or for ever.
_ANNOUNCE = """
import sys, time, bcast
with bcast.Announcer(bcast.Service(sys.argv[1], "_lamp", 80), interval=1) as lamp:
    print("announced", *[s.interface.name for s in lamp.states], flush=True)
    while True:
        time.sleep(1)
"""

_DISCOVER = """
import json, sys, bcast
found = bcast.discover("_lamp", timeout=10.0, expect=int(sys.argv[1]))
print(json.dumps(sorted(
    [d.name, *sorted(f"{s.interface} {s.address}" for s in d.sightings)] for d in found)))
"""

#: Prints events and changes of interfaces as they happen.
_BROWSE = """
import asyncio, os, signal, sys, bcast

async def main():
    names = sys.argv[1:] or None
    before = len(os.listdir("/proc/self/fd"))
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with bcast.Browser("_lamp", interfaces=names, all_paths=True) as browser:
        async def states():
            told = None
            while True:
                now = [(s.interface.name, s.state, s.reason) for s in browser.states]
                if now != told:
                    told = now
                    print("states", *(" ".join(one).strip() + ";" for one in now), flush=True)
                await asyncio.sleep(0.02)
        async def events():
            async for event in browser:
                device = event.device
                paths = sorted({s.interface for s in device.sightings})
                print(type(event).__name__, device.name, *paths, flush=True)
        tasks = [asyncio.create_task(states()), asyncio.create_task(events())]
        await ended.wait()
        for task in tasks:
            task.cancel()
    print("left", len(os.listdir("/proc/self/fd")) - before, flush=True)
asyncio.run(main())
"""


def announce(host: Host, name: str) -> Running:
    running = host.start_python(_ANNOUNCE, name, env=_ENVIRONMENT)
    running.wait_for("announced", timeout=PATIENCE)
    return running


def browse(host: Host, *interfaces: str) -> Running:
    running = host.start_python(_BROWSE, *interfaces, env=_ENVIRONMENT)
    running.wait_for("states", timeout=PATIENCE)
    return running


def end(running: Running) -> None:
    """Ends a browser, which must leave nothing open and complain of nothing."""
    running.terminate(timeout=PATIENCE)
    assert running.output().splitlines()[-1] == "left 0"
    assert running.errors() == ""


def discover(host: Host, count: int) -> list[list[str]]:
    found = host.python(_DISCOVER, str(count), env=_ENVIRONMENT, timeout=PATIENCE)
    assert found.stderr == ""
    names: list[list[str]] = json.loads(found.stdout)
    return names


def test_peers_are_found_on_every_network(lab: Lab) -> None:
    lan = two_networks(lab)
    for host, name in ((lan.b, "b"), (lan.c, "c"), (lan.c, "c2")):
        announce(host, name)
    # Of several processes on one host each is found, and each path is that of its network.
    found = discover(lan.a, 3)
    # (A slow answer by the other family may come before the search is over: another path.)
    assert [(name, path.partition(" ")[0]) for name, path, *_ in found] == [
        ("b", "eth0"),
        ("c", "eth1"),
        ("c2", "eth1"),
    ]
    # Each host sees its own network only, the host on both included.
    announce(lan.a, "a")
    assert [name for name, *_ in discover(lan.b, 2)] == ["a", "b"]
    assert [name for name, *_ in discover(lan.c, 3)] == ["a", "c", "c2"]


def test_an_interface_that_appears_later(lab: Lab) -> None:
    blue, green = lab.segment("blue"), lab.segment("green")
    a, b = lab.host("a"), lab.host("b")
    a.connect(blue)
    b.connect(green)
    lamp = announce(b, "lamp")
    browser = browse(a)
    a.connect(green)
    browser.wait_for("Added lamp eth1", timeout=PATIENCE)
    # The announcer's too: what it is connected to later hears of it.
    b.connect(blue)
    browser.wait_for("Changed lamp eth0 eth1", timeout=PATIENCE)
    end(browser)
    assert lamp.status is None


def test_an_interface_that_goes_down_and_comes_back(lab: Lab) -> None:
    lan = two_networks(lab)
    announce(lan.b, "lamp")
    browser = browse(lan.a)
    browser.wait_for("Added lamp eth0", timeout=PATIENCE)
    lan.a.setup("ip link set eth0 down")
    browser.wait_for("eth0 waiting down;", timeout=PATIENCE)
    browser.wait_for("Removed lamp", timeout=PATIENCE)
    lan.a.setup("ip link set eth0 up")
    browser.wait_for("eth0 ready;", timeout=PATIENCE)
    browser.wait_for("Added lamp eth0", timeout=PATIENCE)
    # So does the announcer's; nobody has to ask for it.
    lan.b.setup("ip link set eth0 down")
    browser.wait_for("Suspect lamp", timeout=PATIENCE)
    lan.b.setup("ip link set eth0 up")
    browser.wait_for("Changed lamp eth0", timeout=PATIENCE)
    end(browser)


def test_an_interface_that_is_deleted_and_created_again(lab: Lab) -> None:
    blue, green = lab.segment("blue"), lab.segment("green")
    a, b = lab.host("a"), lab.host("b")
    a.connect(blue)
    a.connect(green)
    b.connect(green)
    announce(b, "lamp")
    browser = browse(a, "eth0", "eth1")
    browser.wait_for("Added lamp eth1", timeout=PATIENCE)
    a.setup("ip link del eth1")
    browser.wait_for("eth1 waiting gone;", timeout=PATIENCE)
    browser.wait_for("Removed lamp", timeout=PATIENCE)
    a.connect(green, name="eth1")
    browser.wait_for("eth1 ready;", timeout=PATIENCE)
    browser.wait_for("Added lamp eth1", timeout=PATIENCE)
    end(browser)


def test_an_address_that_changes(lab: Lab) -> None:
    blue = lab.segment("blue", network="10.9.1.0/24")
    a, b = lab.host("a"), lab.host("b")
    a.connect(blue, families=[Family.IPV4])
    b.connect(blue, families=[Family.IPV4])
    announce(b, "lamp")
    browser = browse(a)
    browser.wait_for("Added lamp eth0", timeout=PATIENCE)
    a.setup("ip addr flush dev eth0")
    browser.wait_for("eth0 waiting no address;", timeout=PATIENCE)
    browser.wait_for("Removed lamp", timeout=PATIENCE)
    a.setup("ip addr add 10.9.1.77/24 brd + dev eth0")
    browser.wait_for("Added lamp eth0", timeout=PATIENCE)
    end(browser)


def test_what_a_firewall_refuses_is_told_and_the_other_interface_goes_on(lab: Lab) -> None:
    if shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
        pytest.skip("needs nft (nftables)")
    lan = two_networks(lab)
    lan.a.setup(
        "nft add table inet filter",
        "nft 'add chain inet filter out { type filter hook output priority 0; }'",
        "nft add rule inet filter out oifname eth0 udp dport 28232 drop",
    )
    announce(lan.b, "unheard")
    announce(lan.c, "lamp")
    browser = browse(lan.a)
    told = browser.wait_for("eth0 failed eth0: can't send to", timeout=PATIENCE)
    assert "EPERM" in told
    assert "nft list ruleset" in told
    assert "eth1 ready;" in told
    browser.wait_for("Added lamp eth1", timeout=PATIENCE)
    end(browser)
