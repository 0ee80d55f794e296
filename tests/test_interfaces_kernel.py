"""What the real kernel says: each test runs one script in a network namespace of its own."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import bcast

pytestmark = pytest.mark.kernel("network namespaces")

PRELUDE = r"""
import dataclasses, json, os, select, socket, struct, subprocess, sys, threading, time
from ipaddress import ip_address
from bcast.interfaces import InterfaceWatcher, kernel_choice, list_interfaces
from bcast.interfaces.linux import open_notifications
result = {}

def ip(text):
    subprocess.run(["ip", *text.split()], check=True)

def plain(interface):
    value = dataclasses.asdict(interface)
    value["addresses"] = {str(a): str(a.broadcast) for a in interface.addresses}
    value["flags"] = sorted(flag.name for flag in interface.flags)
    return value

def listed():
    return {i.name: plain(i) for i in list_interfaces()}

def changes(watcher, enough=1, patience=3.0):
    '''What the watcher sees until there were enough changes and it has nothing more to do.'''
    found, end = [], time.monotonic() + patience
    while time.monotonic() < end and (len(found) < enough or watcher.due() is not None):
        due = watcher.due()
        left = (end if due is None else due) - time.monotonic()
        if select.select([watcher], [], [], max(0, left))[0]:
            watcher.wake(time.monotonic())
        found += watcher.changes(time.monotonic())
    return [change.sentence for change in found]
"""


@functools.cache
def unshare() -> tuple[list[str], str]:
    """How to get a network namespace with `ip` in it, or why that can't be had."""
    try_it = [
        sys.executable,
        "-c",
        "import subprocess; subprocess.run(['ip', 'link'], check=True)",
    ]
    reasons = []
    for command in (["unshare", "-Urn"], ["unshare", "-n"]):
        try:
            run = subprocess.run([*command, *try_it], capture_output=True, text=True)
        except OSError as error:
            return [], str(error)
        if run.returncode == 0:
            return command, ""
        reasons.append(f"{' '.join(command)}: {run.stderr.strip().rpartition(chr(10))[2]}")
    return [], "; ".join(reasons)


def in_namespace(script: str) -> Any:
    """Runs ``script`` after the prelude in a new namespace; returns its ``result``."""
    command, reason = unshare()
    if reason:
        pytest.skip(reason)
    root = Path(bcast.__file__).parents[1]
    run = subprocess.run(
        [
            *command,
            sys.executable,
            "-W",
            "error",
            "-c",
            f"{PRELUDE}{script}\nprint(json.dumps(result))",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *filter(None, sys.path)])},
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_listing() -> None:
    result = in_namespace(r"""
ip("link set lo up")
ip("link add v1 address 02:00:00:00:00:01 mtu 1400 type veth peer name v2")
for name in ("v1", "v2"):
    ip(f"link set {name} addrgenmode none")
ip("link add br0 type bridge")
ip("link add docker0 type bridge")
ip("link add p1 type veth peer name p2")
ip("link set p1 master br0")
ip("link add m1 link v1 type macvlan")
ip("link add cali12345 type veth peer name w1")
ip("addr add 10.9.1.1/24 dev v1")
ip("addr add 10.9.2.1/24 broadcast + dev v1")
ip("addr add 10.9.3.1/24 broadcast 10.9.3.127 dev v1 label v1:alias")
ip("addr add 10.9.4.0/31 dev v1")
ip("addr add 10.9.5.1/32 dev v1")
ip("addr add 10.9.6.1 peer 10.9.6.2/32 dev v1")
ip("addr add 10.9.7.1 peer 10.9.7.2/24 dev v1")
ip("link set v1 up")
ip("link set br0 up")
ip("link set p1 up")
result["found"] = listed()
""")
    found = result["found"]
    assert list(found) == sorted(found, key=lambda name: found[name]["index"])
    kinds = {name: found[name]["kind"] for name in found}
    assert kinds == kinds | {
        "lo": "loopback",
        "v1": "veth",
        "br0": "bridge",
        "m1": "macvlan",
    }
    v1 = found["v1"]
    assert (v1["mtu"], v1["hardware_address"]) == (1400, "02:00:00:00:00:01")
    assert v1["flags"] == ["BROADCAST", "MULTICAST", "UP"]  # its other end is down: no carrier
    assert {a: b for a, b in v1["addresses"].items() if ":" not in a} == {
        "10.9.1.1/24": "10.9.1.255",
        "10.9.2.1/24": "10.9.2.255",
        "10.9.3.1/24": "10.9.3.127",
        "10.9.4.0/31": "None",
        "10.9.5.1/32": "None",
        "10.9.6.1/32": "None",
        "10.9.7.1/24": "None",
    }
    assert found["lo"]["addresses"]["127.0.0.1/8"] == "127.255.255.255"
    assert {name for name in found if found[name]["enslaved_to"]} == {"p1"}
    assert found["p1"]["enslaved_to"] == "br0"
    assert {name for name in found if found[name]["plumbing"]} == {"docker0", "cali12345"}


def test_tunnels() -> None:
    result = in_namespace(r"""
command = ["ip", "tuntap", "add", "t0", "mode", "tun"]
result["refused"] = subprocess.run(command, capture_output=True, text=True).stderr
if not result["refused"]:
    ip("tuntap add t1 mode tap")
    ip("addr add 10.9.8.1 peer 10.9.8.2/32 dev t0")
    result.update(listed())
""")
    if result["refused"]:
        pytest.skip(f"can't make a tunnel: {result['refused'].strip()}")
    assert (result["t0"]["kind"], result["t1"]["kind"]) == ("tunnel", "tunnel")
    assert result["t0"]["addresses"] == {"10.9.8.1/32": "None"}
    assert "POINT_TO_POINT" in result["t0"]["flags"]
    assert result["t0"]["hardware_address"] is None


def test_carrier_and_link_local_address() -> None:
    result = in_namespace(r"""
ip("link add v1 type veth peer name v2")
ip("link set v1 up")
ip("link set v2 up")
for _ in range(100):
    v1 = next(i for i in list_interfaces() if i.name == "v1")
    if v1.addresses and not any(a.tentative for a in v1.addresses):
        break
    time.sleep(0.05)
result["tentative"] = [a.tentative for a in v1.addresses]
result["ipv6"] = os.path.exists("/proc/net/if_inet6")
result["later"] = plain(v1)
ip("link set v1 down")
ip("link set v1 name lan0")
ip("link set lan0 up")
result["renamed"] = listed()["lan0"]
""")
    # The kernel notices a carrier somewhat later (linkwatch); an address comes after that.
    assert result["later"]["flags"] == ["BROADCAST", "MULTICAST", "RUNNING", "UP"]
    if not result["ipv6"]:
        pytest.skip("this kernel has no IPv6")
    assert result["tentative"] == [False]
    (address,) = result["later"]["addresses"]
    assert address.startswith("fe80::")
    assert address.endswith("%v1/64")
    assert all("%lan0" in address for address in result["renamed"]["addresses"])
    assert result["renamed"]["index"] == result["later"]["index"]


def test_listing_works_without_ipv6_and_without_sysfs() -> None:
    result = in_namespace(r"""
from bcast.interfaces import linux
try:
    for name in ("all", "default"):
        with open(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "w") as file:
            file.write("1")
except OSError:
    pass
ip("link set lo up")
ip("link add v1 type veth peer name v2")
ip("addr add 10.9.1.1/24 dev v1")
result["found"] = {
    i.name: [str(a) for a in i.addresses] for i in linux.list_interfaces(sysfs="/nonexistent")
}
""")
    assert result["found"] == {"lo": ["127.0.0.1/8"], "v1": ["10.9.1.1/24"], "v2": []}


def test_listing_when_ifaddr_gives_up() -> None:
    result = in_namespace(r"""
name = os.fsdecode(b"caf\xe9")
ip(f"link add {name} type veth peer name v2")
ip(f"addr add 10.9.1.1/24 dev {name}")
ip("addr add 10.9.2.1 peer 10.9.2.2/32 dev v2")
for interface in list_interfaces():
    shown = os.fsencode(interface.name).decode("latin-1")
    result[shown] = [str(a) for a in interface.addresses]
""")
    assert result == {"lo": [], "café": ["10.9.1.1/24"], "v2": ["10.9.2.1/32"]}


def test_hundreds_of_interfaces_that_come_and_go() -> None:
    result = in_namespace(r"""
add = "".join(f"link add a{n} type veth peer name b{n}\n" for n in range(100))
subprocess.run(["ip", "-batch", "-"], input=add, text=True, check=True)
result["quiet"] = len(list_interfaces())
flap = "link add x type veth peer name y\nlink del x\n" * 60
churn = subprocess.Popen(["ip", "-batch", "-"], stdin=subprocess.PIPE, text=True)
thread = threading.Thread(target=churn.communicate, args=(flap,))
thread.start()
counts = set()
while thread.is_alive():
    found = list_interfaces()
    counts.add(len([i for i in found if i.name not in "xy"]))
    assert len({i.index for i in found}) == len(found)
thread.join()
result["busy"] = sorted(counts)
""")
    assert result == {"quiet": 201, "busy": [201]}


def test_watching() -> None:
    result = in_namespace(r"""
watcher = InterfaceWatcher(debounce=0.05, now=time.monotonic())
told = result["told"] = []
def after(text, enough=1):
    for line in text.split("; "):
        ip(line)
    told.append(sorted(changes(watcher, enough)))
after("link set lo up")
after("link add v1 index 77 type veth peer name v2 index 78; "
      "link set v1 addrgenmode none; link set v2 addrgenmode none", 2)
after("link set v2 up; link set v1 up; addr add 10.9.1.1/24 dev v1", 2)
after("addr del 10.9.1.1/24 dev v1")
after("link set v2 down", 2)
after("link set v1 down")
after("link set v1 name lan0")
after("link add br0 index 79 type bridge; link set br0 addrgenmode none")
after("link set lan0 master br0")
after("link set lan0 nomaster")
after("link set v2 mtu 1400")
after("link del lan0; link add v1 index 77 type veth peer name v2 index 78", 4)
after("link del v1", 2)
result["overran"] = watcher.overran
result["left"] = [i.name for i in watcher.interfaces]
watcher.close()
""")
    told = [
        [
            # A bridge's hardware address is that of one of its ports.
            " and ".join(p for p in sentence.split(" and ") if "hardware address" not in p)
            for sentence in sentences
            if not (sentence.startswith("br0") and "hardware address" in sentence)
        ]
        for sentences in result["told"]
    ]
    assert told[0][0].startswith("lo came up and got 127.0.0.1/8")
    assert told[1:] == [
        ["v1 appeared", "v2 appeared"],
        ["v1 came up and got 10.9.1.1/24", "v2 came up"],
        ["v1 lost 10.9.1.1/24"],
        ["v1 lost its carrier", "v2 went down"],
        ["v1 went down"],
        ["v1 is now called lan0"],
        ["br0 appeared"],
        ["lan0 is a port of br0 now"],
        ["lan0 left br0"],
        ["v2 has an MTU of 1400 bytes now"],
        ["lan0 was replaced", "v1 appeared", "v2 appeared", "v2 was replaced"],
        ["v1 was deleted", "v2 was deleted"],
    ]
    assert result["left"] == ["lo", "br0"]
    assert result["overran"] is False


def test_overrun_is_noticed_and_nothing_is_missed() -> None:
    result = in_namespace(r"""
def small():
    opened = open_notifications()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
    return opened
with InterfaceWatcher(debounce=0.05, now=time.monotonic(), open_socket=small) as watcher:
    add = "".join(f"link add a{n} type veth peer name b{n}\n" for n in range(100))
    subprocess.run(["ip", "-batch", "-"], input=add, text=True, check=True)
    result["told"] = len(changes(watcher, 200))
    result["overran"] = watcher.overran
    ip("link del a0")
    result["deleted"] = sorted(changes(watcher, 2))
    result["overran_later"] = watcher.overran
""")
    assert result == {
        "told": 200,
        "overran": True,
        "deleted": ["a0 was deleted", "b0 was deleted"],
        "overran_later": False,
    }


def test_kernel_choice_is_where_a_datagram_really_goes() -> None:
    result = in_namespace(r"""
ip("link set lo up")
for number in (1, 2):
    ip(f"link add v{number} type veth peer name w{number}")
    ip(f"link set w{number} up")
    ip(f"link set v{number} up")
    ip(f"addr add 10.9.{number}.1/24 dev v{number}")
for _ in range(100):
    if all(not a.tentative for i in list_interfaces() for a in i.addresses):
        break
    time.sleep(0.05)
TARGETS = ["255.255.255.255", "10.9.2.255", "10.9.2.7", "239.1.2.3", "127.0.0.1"]
TARGETS += ["ff02::7:7", "ff05::7:7"]

def chosen():
    interfaces = list_interfaces()
    named = {t: kernel_choice(ip_address(t), interfaces) for t in TARGETS}
    return {t: i and i.name for t, i in named.items()}

def heard(target, ear, out):
    '''The interface that this host's own ears hear a datagram to the target on.'''
    six, packed = ":" in target, ip_address(target).packed
    ear.settimeout(0.3)
    ear.bind(("", 4711))
    ear.setsockopt(*((41, 49, 1) if six else (0, 8, 1)))  # IPV6_RECVPKTINFO, IP_PKTINFO
    for name in ("v1", "v2"):
        index = socket.if_nametoindex(name)
        if six:
            ear.setsockopt(41, 20, struct.pack("=16si", packed, index))
        elif ip_address(target).is_multicast:
            ear.setsockopt(0, 35, struct.pack("=4s4si", packed, bytes(4), index))
    out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    try:
        out.sendto(b"?", (target, 4711))
        _, ((_, _, data),), _, _ = ear.recvmsg(10, 200)
    except OSError:
        return None
    return socket.if_indextoname(struct.unpack_from("=i", data, 16 if six else 0)[0])

def sent():
    found = {}
    for target in TARGETS:
        kind = socket.AF_INET6 if ":" in target else socket.AF_INET, socket.SOCK_DGRAM
        with socket.socket(*kind) as ear, socket.socket(*kind) as out:
            found[target] = heard(target, ear, out)
    return found

result["none"] = chosen(), sent()
ip("route add default dev v2")
result["default"] = chosen(), sent()
ip("link set v2 down")
result["down"] = chosen(), sent()
""")
    for situation, (chosen, sent) in result.items():
        # A datagram to another host isn't heard here.
        sent["10.9.2.7"] = chosen["10.9.2.7"]
        assert chosen == sent, situation
    assert result["none"][0]["255.255.255.255"] is None
    assert result["none"][0]["10.9.2.7"] == "v2"
    assert result["default"][0]["255.255.255.255"] == "v2"
    assert result["default"][0]["239.1.2.3"] == "v2"
    assert result["default"][0]["127.0.0.1"] == "lo"
    assert result["down"][0]["255.255.255.255"] is None
