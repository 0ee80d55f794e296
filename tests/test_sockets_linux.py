"""What Linux makes of the sockets that are opened: each script runs on a host of a lab.

The host `a` is on two networks without any route between them, eth0 and eth1; `b` is on the first
and `c` on the second, and a raw socket there says what really came.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from bcast.lab import Host, Lab
from tests.command import Lan, Wire, any_lab, say, two_networks

if sys.platform != "linux":
    pytest.skip("needs network namespaces", allow_module_level=True)

pytestmark = pytest.mark.kernel("hosts with two interfaces")

PRELUDE = r"""
import errno, json, os, select, signal, socket, time
from ipaddress import ip_address
from bcast.datagram import Family, Group
from bcast.errors import BcastError, PortTakenError, SocketError
from bcast.interfaces import list_interfaces
from bcast.sockets import linux, open_receivers, open_sender
from bcast.sockets.transfer import open_reader
interfaces = {i.name: i for i in list_interfaces()}
eth0, eth1, lo = interfaces.get("eth0"), interfaces.get("eth1"), interfaces["lo"]
result = {}
FOUR, SIX = Family.IPV4, Family.IPV6

def own(interface, family=FOUR):
    return interface.addresses_of(family)[0].address

def sender(interface, family=FOUR, **options):
    source = options.pop("source", own(interface, family))
    return open_sender(interface, family, source=source, **options)

def send(opened, interface, source, to, payload=b"hi", port=2222):
    to = ip_address(to)
    scope = interface.index if to.is_link_local or to.is_multicast else 0
    told = linux.send_ancillary(interface, source)
    six = () if to.version == 4 else (0, scope)
    return opened.sendmsg([payload], told, 0, (str(to), port, *six))

def name_of(call, *args, **options):
    '''The error of a call, None if there is none.'''
    try:
        made = call(*args, **options)
    except BcastError as error:
        return [type(error).__name__, getattr(error, "error", ""), str(error)]
    except OSError as error:
        return [type(error).__name__, errno.errorcode[error.errno], str(error)]
    for one in made if isinstance(made, list) else [made]:
        if isinstance(one, socket.socket):
            one.close()

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})

def wait_for_signal():
    print("ready", flush=True)
    signal.sigwait({signal.SIGUSR1})

def heard(opened, patience=5.0):
    '''All that a socket has, once it has something.'''
    if not select.select([opened], [], [], patience)[0]:
        return []
    read = open_reader({})
    found = []
    while batches := read(opened, eth0 or lo, 2222):
        found += [[d.payload.decode(), str(d.source), d.ttl, d.time_ns]
                  for batch in batches for d in batch.datagrams()]
    return found
"""


def on(host: Host, script: str) -> Any:
    """Runs ``script`` after the prelude: its ``result``."""
    done = host.python(f"{PRELUDE}{script}\nprint(json.dumps(result))", env=WARNINGS)
    assert "Warning" not in done.stderr, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


WARNINGS = {"PYTHONWARNINGS": "default::ResourceWarning"}


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    with any_lab() as lab:
        yield two_networks(lab)


@pytest.fixture
def own_lan() -> Iterator[Lan]:
    """A lan of its own, for tests that change it."""
    with any_lab() as lab:
        yield two_networks(lab)


def test_a_sender_sends_out_of_its_interface_whatever_the_routes(lab: Lab) -> None:
    lan = two_networks(lab)
    for route in ("", "10.9.1.2"):
        if route:
            lan.a.default_route(route)
        blue, green = Wire(lan.b), Wire(lan.c)
        on(
            lan.a,
            """
for interface in (eth0, eth1):
    with sender(interface) as opened:
        for to in ("255.255.255.255", str(interface.addresses_of(FOUR)[0].broadcast), "239.1.2.3"):
            send(opened, interface, own(interface), to, interface.name.encode())
    with sender(interface, SIX) as opened:
        for to, source in (("ff02::1", 1), ("ff15::1", 0)):
            address = interface.addresses_of(SIX)[source].address
            send(opened, interface, address, to, interface.name.encode())
""",
        )
        for wire, number, host in ((blue, 1, lan.b), (green, 2, lan.c)):
            seen = wire.seen()
            assert {s.payload for s in seen} == {b"eth%d" % (number - 1)}
            link = lan.a.links[number - 1]
            own = f"result = [str(a.address) for a in eth{number - 1}.addresses_of(SIX)]"
            plain = [address.partition("%")[0] for address in on(lan.a, own)]
            assert [(s.source, s.destination, s.ttl) for s in seen] == [
                (f"10.9.{number}.1", "255.255.255.255", 64),
                (f"10.9.{number}.1", f"10.9.{number}.255", 64),
                (f"10.9.{number}.1", "239.1.2.3", 1),
                (plain[1], "ff02::1", 1),
                (plain[0], "ff15::1", 1),
            ]
            assert str(link.link_local) in plain
            assert host.links[0].index != link.index


def test_a_reply_comes_to_the_socket_that_asked(lab: Lab) -> None:
    lan = two_networks(lab)
    answer = lan.b.start_python(
        """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
    opened.bind(("", 2222))
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 33)
    print("ready")
    asked, source = opened.recvfrom(100)
    opened.sendto(b"yes", source)
"""
    )
    answer.wait_for("ready")
    ((payload, source, ttl, time_ns),) = on(
        lan.a,
        """
with sender(eth0) as opened:
    send(opened, eth0, own(eth0), "255.255.255.255", b"who?")
    result = heard(opened)
    assert abs(result[0][3] - time.time_ns()) < 60_000_000_000
""",
    )
    assert (payload, source, ttl) == ("yes", "10.9.1.2:2222", 33)
    assert time_ns > 0


def test_a_reply_by_another_interface_is_none(lan: Lan) -> None:
    asking = lan.a.start_python(
        PRELUDE
        + """
with sender(eth0, source_port=3333) as four, sender(eth0, SIX, source_port=3333) as six:
    wait_for_signal()
    print(json.dumps([[h[0] for h in heard(each, 0)] for each in (four, six)]))
"""
    )
    asking.wait_for("ready")
    for host, number, mark in ((lan.c, 2, b"green"), (lan.b, 1, b"blue")):
        say(
            host,
            (f"10.9.{number}.1", 3333, mark),
            ("255.255.255.255", 3333, mark),
            (f"fd00:{number}::1", 3333, mark),
        )
    asking.send_signal(signal.SIGUSR1)
    assert asking.wait() == 0
    assert json.loads(asking.output().splitlines()[-1]) == [["blue", "blue"], ["blue"]]


def test_an_address_that_is_gone_is_never_replaced_by_another_interfaces(own_lan: Lan) -> None:
    # The kernel alone would go on sending out of eth1, with eth0's address as the source.
    own_lan.a.setup("ip addr add 10.9.2.66/24 brd + dev eth1")
    blue, green = Wire(own_lan.b), Wire(own_lan.c)
    script = """
from_it = next(a.address for a in eth1.addresses if str(a.address) == "{address}")
family = Family(from_it.version)
with open_sender(eth1, family, source=from_it) as opened:
    for to in {to}:
        send(opened, eth1, from_it, to, b"before")
    wait_for_signal()
    for to in {to}:
        result[to] = name_of(send, opened, eth1, from_it, to, b"after")
result["new"] = name_of(open_sender, eth1, family, source=from_it)
"""
    for address, to, commands in (
        ("10.9.2.66", ["255.255.255.255", "239.1.2.3", "10.9.2.2"], ["ip addr del 10.9.2.66/24"]),
        ("10.9.2.1", ["255.255.255.255", "239.1.2.3"], ["ip -4 addr flush"]),
        ("fd00:2::1", ["ff15::1", "fd00:2::2"], ["ip addr del fd00:2::1/64"]),
    ):
        code = script.format(address=address, to=to)
        running = own_lan.a.start_python(f"{PRELUDE}{code}\nprint(json.dumps(result))")
        running.wait_for("ready")
        own_lan.a.setup(*(f"{command} dev eth1" for command in commands))
        running.send_signal(signal.SIGUSR1)
        assert running.wait() == 0, running.errors()
        errors = json.loads(running.output().splitlines()[-1])
        refused = {"EINVAL", "ENETUNREACH", "EADDRNOTAVAIL", "ENODEV"}
        assert {errors[each][1] for each in to} <= refused, errors
    assert blue.seen() == []
    assert {s.payload for s in green.seen()} == {b"before"}


def test_nothing_is_fragmented(lan: Lan) -> None:
    blue = Wire(lan.b)
    result = on(
        lan.a,
        """
for family, to in ((FOUR, "255.255.255.255"), (SIX, "ff02::1")):
    limit = eth0.payload_limit(family)
    with sender(eth0, family) as opened:
        source = own(eth0, family)
        send(opened, eth0, source, to, b"x" * limit)
        result[to] = name_of(send, opened, eth0, source, to, b"x" * (limit + 1))
""",
    )
    assert [error[1] for error in result.values()] == ["EMSGSIZE", "EMSGSIZE"]
    assert [len(s.payload) for s in blue.seen()] == [1472, 1452]


def test_an_interface_that_is_gone_or_another_one_now(own_lan: Lan) -> None:
    # SO_BINDTOIFINDEX takes any number, and an index can be somebody else's by now.
    result = on(
        own_lan.a,
        """
from bcast.datagram import Interface
def alike(name, index):
    return Interface(name, index, eth0.kind, eth0.flags, eth0.mtu, None, eth0.addresses)
for title, interface in (("gone", alike("eth7", 4321)), ("renamed", alike("eth7", eth0.index))):
    result[title] = [
        name_of(sender, interface), name_of(open_receivers, interface, FOUR, port=2222)
    ]
result["fds"] = len(os.listdir("/proc/self/fd"))
for _ in range(10):
    name_of(sender, alike("eth7", 4321))
    groups = tuple(Group(ip_address("239.1.2.0") + i) for i in range(25))
    name_of(open_receivers, alike("eth7", 4321), FOUR, port=2222, groups=groups)
result["fds"] -= len(os.listdir("/proc/self/fd"))
""",
    )
    for found in result["gone"]:
        assert found[:2] == ["SocketError", "ENODEV"]
        assert "interface eth7 (index 4321) is gone" in found[2]
    for found in result["renamed"]:
        assert "is now called eth0" in found[2]
    assert result["fds"] == 0


def test_a_receiver_hears_its_interface_only(lan: Lan) -> None:
    receiving = lan.a.start_python(
        PRELUDE
        + """
groups = (Group(ip_address("239.1.2.3")),)
(opened,) = open_receivers(eth0, FOUR, port=2222, groups=groups)
(six,) = open_receivers(eth0, SIX, port=2222, groups=(Group(ip_address("ff15::1")),))
wait_for_signal()
print(json.dumps([[h[0] for h in heard(each, 0)] for each in (opened, six)]))
opened.close()
six.close()
"""
    )
    receiving.wait_for("ready")
    for host, number, mark in ((lan.c, 2, b"green "), (lan.b, 1, b"blue ")):
        say(
            host,
            ("255.255.255.255", 2222, mark + b"all"),
            (f"10.9.{number}.255", 2222, mark + b"subnet"),
            (f"10.9.{number}.1", 2222, mark + b"unicast"),
            ("239.1.2.3", 2222, mark + b"group"),
            ("239.1.2.4", 2222, mark + b"other"),
            ("ff02::1", 2222, mark + b"nodes"),
            ("ff15::1", 2222, mark + b"group6"),
            ("ff15::2", 2222, mark + b"other6"),
            (f"fd00:{number}::1", 2222, mark + b"unicast6"),
        )
    receiving.send_signal(signal.SIGUSR1)
    assert receiving.wait() == 0
    four, six = json.loads(receiving.output().splitlines()[-1])
    assert four == ["blue all", "blue subnet", "blue unicast", "blue group"]
    # All nodes is a group like any other, and wasn't asked for here.
    assert six == ["blue group6", "blue unicast6"]


def test_a_port_is_shared_or_not(lan: Lan) -> None:
    result = on(
        lan.a,
        """
def receivers(interface, share, **more):
    return open_receivers(interface, FOUR, port=2222, share=share, **more)
def again(first, second, interface=eth0):
    opened = receivers(eth0, first)
    result_ = name_of(receivers, interface, second)
    for one in opened:
        one.close()
    return result_
result["shared"] = again(True, True)
result["first alone"] = again(False, True)
result["second alone"] = again(True, False)
result["other interface"] = again(False, False, eth1)
groups = tuple(Group(ip_address("239.1.2.0") + i) for i in range(21))
result["many groups alone"] = name_of(receivers, eth0, False, groups=groups)
with sender(eth0, source_port=3333) as first:
    result["sender"] = name_of(sender, eth0, source_port=3333)
with sender(eth0, source_port=3333, share=True) as first:
    result["shared sender"] = name_of(sender, eth0, source_port=3333, share=True)
""",
    )
    assert result["shared"] is None
    assert result["other interface"] is None
    assert result["shared sender"] is None
    for title, port in (("first alone", 2222), ("second alone", 2222), ("sender", 3333)):
        kind, name, sentence = result[title]
        assert (kind, name) == ("PortTakenError", "EADDRINUSE")
        assert sentence == (
            f"eth0: UDP port {port} is taken by a program that doesn't share it:"
            f" find it with ss -lunp 'sport = :{port}', or use another port"
        )
    assert result["many groups alone"][0] == "ArgumentError"


def test_more_groups_than_the_system_allows(own_lan: Lan) -> None:
    own_lan.a.set_sysctl("net.ipv4.igmp_max_memberships", 3)
    result = on(
        own_lan.a,
        """
groups = tuple(Group(ip_address("239.1.2.0") + i) for i in range(4))
before = len(os.listdir("/proc/self/fd"))
result["error"] = name_of(open_receivers, eth0, FOUR, port=2222, groups=groups)
result["left"] = len(os.listdir("/proc/self/fd")) - before
result["fits"] = name_of(open_receivers, eth0, FOUR, port=2222, groups=groups[:3] * 2)
""",
    )
    assert result["error"][1] == "ENOBUFS"
    assert "net.ipv4.igmp_max_memberships" in result["error"][2]
    assert result["left"] == 0
    assert result["fits"] is None


def test_groups_beyond_twenty_have_sockets_that_hear_nothing_else(lan: Lan) -> None:
    result = on(
        lan.a,
        """
groups = tuple(Group(ip_address("239.1.2.0") + i) for i in range(25))
opened = open_receivers(eth0, FOUR, port=2222, groups=groups)
with open("/proc/self/net/igmp") as igmp:
    result["joined"] = sum(line.split()[0].endswith("0201EF") for line in igmp)
with sender(eth0) as sending:
    for to in ("255.255.255.255", "239.1.2.3", "239.1.2.20", "239.1.2.24"):
        send(sending, eth0, own(eth0), to)
        select.select(opened, [], [], 5.0)
        result[to] = [len(heard(one, 0.0)) for one in opened]
for one in opened:
    one.close()
""",
    )
    assert result["joined"] == 25
    assert result["255.255.255.255"] == result["239.1.2.3"] == [0, 0, 0, 0, 0, 1]
    assert result["239.1.2.20"] == [0, 0, 0, 0, 1, 0]
    assert result["239.1.2.24"] == [1, 0, 0, 0, 0, 0]


def test_the_buffer_that_was_asked_for(lan: Lan) -> None:
    result = on(
        lan.a,
        """
for size in (4096, 1 << 16, 1 << 30):
    (opened,) = open_receivers(eth0, FOUR, port=2222, buffer=size)
    result[str(size)] = opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    opened.close()
with sender(eth0, buffer=1 << 16) as opened, sender(eth0, SIX, buffer=1 << 16) as other:
    result["senders"] = [
        one.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) for one in (opened, other)
    ]
with open("/proc/sys/net/core/rmem_max") as most:
    result["most"] = int(most.read())
""",
    )
    assert result["4096"] == 2 * 4096
    assert result[str(1 << 16)] == 2 * (1 << 16)
    assert result["senders"] == [2 * (1 << 16)] * 2
    # No capability over the machine's limits: as much as there is to be had.
    assert result[str(1 << 30)] == 2 * result["most"]


def test_a_listener_and_senders_on_lo_need_no_route(lab: Lab) -> None:
    result = on(
        lab.host("alone"),
        """
groups = (Group(ip_address("239.1.2.3")),)
(opened,) = open_receivers(lo, FOUR, port=2222, groups=groups)
for source in ("127.0.0.1", "127.0.0.9"):
    with open_sender(lo, FOUR, source=ip_address(source)) as sending:
        for to in ("255.255.255.255", "127.255.255.255", "239.1.2.3", "127.0.0.1"):
            send(sending, lo, ip_address(source), to, to.encode())
result = [[payload, source.partition(":")[0]] for payload, source, *_ in heard(opened)]
opened.close()
""",
    )
    ways = ["255.255.255.255", "127.255.255.255", "239.1.2.3", "127.0.0.1"]
    assert result == [[to, source] for source in ("127.0.0.1", "127.0.0.9") for to in ways]
