"""The sender: over the loopback interface here, and through what happens to interfaces in labs."""

from __future__ import annotations

import errno
import json
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.datagram import Address, Endpoint, Family, Interface, InterfaceFlag, Kind
from bcast.errors import (
    ArgumentError,
    BcastError,
    InterfaceError,
    PortTakenError,
    SocketError,
    TooLargeError,
)
from bcast.interfaces import Skipped, list_interfaces
from bcast.lab import Host, Lab, Running
from bcast.payload import Template
from bcast.receiver import Receiver
from bcast.results import Failed, SendResults, Sent, merge
from bcast.sender import Sender
from bcast.sockets.transfer import Way
from tests.command import Wire, any_lab, eventually, free_port
from tests.loopback import nothing_leaks

if sys.platform != "linux":
    pytest.skip("the loopback interface is used as Linux has it", allow_module_level=True)


@pytest.fixture
def port() -> int:
    return free_port()


# What is sent over lo is there when the call that sent it is over.
@pytest.fixture
def receiver(port: int) -> Iterator[Receiver]:
    with Receiver("lo", port=port, groups=["239.1.2.3"], timeout=0.0) as receiver:
        yield receiver


def heard(receiver: Receiver) -> list[bytes]:
    return [datagram.payload for datagram in receiver]


def loopback(*addresses: str) -> Interface:
    """The loopback interface, with its own addresses or these."""
    lo = next(i for i in list_interfaces() if i.name == "lo")
    if not addresses:
        return lo
    return replace(lo, addresses=tuple(Address(IPv4Address(a), 8) for a in addresses))


def only(interface: Interface) -> Callable[[], tuple[Interface, ...]]:
    return lambda: (interface,)


# -- sending --------------------------------------------------------------------------------------


def test_results_say_what_was_sent(port: int, receiver: Receiver) -> None:
    with Sender("lo") as sender:
        results = sender.send(b"hello", port=port)
    (sent,) = results.sent
    (datagram,) = list(receiver)
    assert sent.interface.name == "lo"
    assert sent.source == datagram.source
    assert sent.destination == Endpoint(IPv4Address("255.255.255.255"), port)
    assert (sent.length, sent.count) == (5, 1)
    assert (results.skipped, results.failed) == ((), ())
    results.raise_if_none()


@pytest.mark.parametrize(
    ("to", "destinations"),
    [
        ("all-hosts", ["255.255.255.255"]),
        ("255.255.255.255", ["255.255.255.255"]),
        ("subnet", ["127.255.255.255"]),
        ("both", ["255.255.255.255", "127.255.255.255"]),
        ("239.1.2.3", ["239.1.2.3"]),
        ("127.0.0.1", ["127.0.0.1"]),
    ],
)
def test_where_to(port: int, receiver: Receiver, to: str, destinations: list[str]) -> None:
    with Sender("lo") as sender:
        results = sender.send(b"hi", to=to, port=port)
    assert [str(sent.destination.address) for sent in results.sent] == destinations
    assert [str(d.destination.address) for d in receiver] == destinations


def test_each_host_on_loopback_has_its_own_address(port: int, receiver: Receiver) -> None:
    for address in ("127.0.0.2", "127.0.0.3"):
        host = loopback(address)
        with Sender("lo", list_interfaces=only(host)) as sender:
            for to in ("all-hosts", "subnet", "239.1.2.3"):
                sender.send(b"hi", to=to, port=port).raise_if_none()
    assert [str(d.source.address) for d in receiver] == ["127.0.0.2"] * 3 + ["127.0.0.3"] * 3


def test_options_of_the_socket(port: int, receiver: Receiver) -> None:
    source = free_port()
    with Sender("lo", source_port=source, ttl=42) as sender:
        for to in ("all-hosts", "239.1.2.3"):
            (sent,) = sender.send(b"hi", to=to, port=port).sent
            assert sent.source.port == source
    assert [(d.source.port, d.ttl) for d in receiver] == [(source, 42)] * 2


def test_several_times(port: int, receiver: Receiver) -> None:
    with Sender("lo") as sender:
        start = time.monotonic()
        results = sender.send(
            Template(b"{seq} {interface} {address}"), port=port, count=3, interval=0.1
        )
        assert 0.2 <= time.monotonic() - start < 5
        (sent,) = results.sent
        assert sent.count == 3
        assert sender.send_round(Template(b"{seq}"), port=port, sequence=77).sent[0].length == 2
    assert heard(receiver) == [b"1 lo 127.0.0.1", b"2 lo 127.0.0.1", b"3 lo 127.0.0.1", b"77"]


def test_many_at_once(port: int, receiver: Receiver) -> None:
    payloads = [b"%d" % n for n in range(200)]
    with Sender("lo") as sender:
        (sent,) = sender.send_many(payloads, port=port).sent
        assert (sent.count, sent.length) == (200, 3)
        (sent,) = sender.send_many(tuple(payloads[:2]), port=port).sent
        assert sent.count == 2
        assert sender.send_many([], port=port).sent == ()
    assert heard(receiver) == payloads + payloads[:2]


def test_the_longest_datagram(port: int, receiver: Receiver) -> None:
    with Sender("lo") as sender:
        sender.send(b"x" * 65_507, port=port).raise_if_none()
        sender.send(b"", port=port).raise_if_none()
        assert [len(payload) for payload in heard(receiver)] == [65_507, 0]
        results = sender.send_many([b"ok", b"x" * 65_508], port=port)
        # Nothing of what can't be sent whole is begun.
        assert results.sent == ()
        (failed,) = results.failed
        assert isinstance(failed.error, TooLargeError)
        assert failed.count == 2
        with pytest.raises(TooLargeError, match="65508 bytes don't fit into one datagram"):
            results.raise_if_none()
        grown = Template(b"{interface}" + b"x" * 65_507)
        with pytest.raises(TooLargeError):
            sender.send(grown, port=port).raise_if_none()


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({"ttl": 0}, {}),
        ({"ttl": 256}, {}),
        ({"source_port": -1}, {}),
        ({"source_port": 65_536}, {}),
        ({"family": 5}, {}),
        ({"interfaces": "a b"}, {}),
        ({}, {"port": 0}),
        ({}, {"port": 65_536}),
        ({}, {"to": "nowhere"}),
        ({}, {"count": 0}),
        ({}, {"interval": -1.0}),
        ({}, {"interval": float("nan")}),
        ({}, {"interval": float("inf")}),
        ({"family": 6}, {}),
        ({"family": 4}, {"to": "ff02::1"}),
        ({"family": 6}, {"to": "239.1.2.3"}),
    ],
    ids=str,
)
def test_arguments_that_can_not_be(
    options: dict[str, Any], arguments: dict[str, Any], port: int
) -> None:
    with (
        nothing_leaks(),
        pytest.raises(ArgumentError),
        Sender(**{"interfaces": "lo", **options}) as sender,
    ):
        sender.send(b"hi", **{"port": port, **arguments})


def test_no_interface() -> None:
    with pytest.raises(InterfaceError, match="no interface matches 'nosuch0'"):
        Sender("nosuch0")
    with pytest.raises(InterfaceError, match="no usable interface"):
        Sender(list_interfaces=lambda: (loopback(),))
    with pytest.raises(InterfaceError, match="no usable interface"):
        Sender(list_interfaces=lambda: ())


def test_nothing_was_sent_and_why() -> None:
    v4_only = loopback("127.0.0.1")
    with Sender("lo", list_interfaces=lambda: (v4_only,)) as sender:
        results = sender.send(b"hi", to="ff02::1")
        assert results.skipped == (Skipped(v4_only, "no IPv6 address"),)
        with pytest.raises(InterfaceError, match=r"nothing was sent .*lo: no IPv6 address"):
            results.raise_if_none()


def test_a_source_port_that_is_taken(port: int) -> None:
    source = free_port()
    with Sender("lo", source_port=source) as first, Sender("lo", source_port=source) as second:
        first.send(b"hi", port=port).raise_if_none()
        with pytest.raises(PortTakenError, match=f"UDP port {source} is taken"):
            second.send(b"hi", port=port).raise_if_none()
    with (
        Sender("lo", source_port=source, share=True) as first,
        Sender("lo", source_port=source, share=True) as second,
    ):
        first.send(b"hi", port=port).raise_if_none()
        second.send(b"hi", port=port).raise_if_none()


def test_an_address_that_is_gone_by_now(port: int, receiver: Receiver) -> None:
    gone = loopback("10.255.255.1")
    with nothing_leaks(), Sender("lo", list_interfaces=lambda: (gone,)) as sender:
        for to in ("all-hosts", "239.1.2.3"):
            results = sender.send(b"hi", to=to, port=port)
            assert results.sent == ()
            (failed,) = results.failed
            assert failed.error.error == "EADDRNOTAVAIL"
            assert "10.255.255.1 is not an address of lo any more" in str(failed.error)
            with pytest.raises(SocketError):
                results.raise_if_none()
    assert heard(receiver) == []


def test_an_interface_that_fails_does_not_stop_the_others(port: int, receiver: Receiver) -> None:
    flags = InterfaceFlag.UP | InterfaceFlag.RUNNING | InterfaceFlag.BROADCAST
    own = (Address(IPv4Address("10.255.255.1"), 24, IPv4Address("10.255.255.255")),)
    gone = Interface("gone0", 2**30, Kind.ETHERNET, flags, 1500, None, own)
    with Sender("all", list_interfaces=lambda: (gone, loopback())) as sender:
        results = sender.send(b"hi", port=port)
        assert [sent.interface.name for sent in results.sent] == ["lo"]
        (failed,) = results.failed
        assert (failed.interface.name, failed.error.error) == ("gone0", "ENODEV")
        results.raise_if_none()
    assert heard(receiver) == [b"hi"]


def test_a_full_send_buffer_is_waited_for(
    port: int, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sender("lo") as sender:
        really, full = sender._transmit, [True, False, True, False]

        def transmit(
            opened: socket.socket, payloads: Sequence[bytes], start: int, way: Way
        ) -> int:
            if full.pop(0):
                raise BlockingIOError(errno.EAGAIN, "full")
            return really(opened, payloads[: start + 1], start, way)

        monkeypatch.setattr(sender, "_transmit", transmit)
        (sent,) = sender.send_many([b"one", b"two"], port=port).sent
        assert sent.count == 2
        assert heard(receiver) == [b"one", b"two"]

        full += [False, True]
        monkeypatch.setattr("bcast.sender._writable", lambda opened, timeout: False)
        results = sender.send_many([b"three", b"four", b"five"], port=port)
        assert [sent.count for sent in results.sent] == [1]
        (failed,) = results.failed
        assert (failed.count, failed.error.error) == (2, "EAGAIN")
        assert "send more slowly" in str(failed.error)


# -- replies --------------------------------------------------------------------------------------


def test_replies(port: int) -> None:
    with (
        Sender("lo") as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        peer.bind(("127.0.0.1", port))
        peer.settimeout(5)
        sender.send(b"who?", to="127.0.0.1", port=port).raise_if_none()
        _, source = peer.recvfrom(100)
        for n in range(3):
            peer.sendto(b"me %d" % n, source)
        found = []
        for reply in sender.replies(5.0):
            found.append((reply.payload, reply.source.port, reply.interface.name))
            if len(found) == 3:
                break
        assert found == [(b"me %d" % n, port, "lo") for n in range(3)]
        start = time.monotonic()
        assert list(sender.replies(0.1)) == []
        assert 0.1 <= time.monotonic() - start < 5
        assert list(sender.replies(0.0)) == []


def test_replies_that_may_take_years(port: int) -> None:
    with Sender("lo", source_port=port) as sender:
        sender.send(b"who?", port=port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.sendto(b"me", ("127.0.0.1", port))
        for seconds in (1e9, float("inf")):
            assert next(iter(sender.replies(seconds))).payload == b"me"
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
                peer.sendto(b"me", ("127.0.0.1", port))


def test_the_own_datagram_is_no_reply(port: int) -> None:
    with (
        Sender("lo", source_port=port, share=True) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        sender.send(b"who?", port=port).raise_if_none()
        peer.sendto(b"me", ("127.0.0.1", port))
        assert [reply.payload for reply in sender.replies(0.3)] == [b"me"]


def test_too_many_open_files_to_wait_for_replies(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with Sender("lo") as sender:
        sender.send(b"hi", port=port)
        monkeypatch.setattr("bcast.sender.selectors.DefaultSelector", full)
        with pytest.raises(SocketError, match=r"can't wait for replies.*ulimit -n"):
            list(sender.replies(0.1))


def test_no_replies_without_anything_sent() -> None:
    with Sender("lo") as sender:
        assert list(sender.replies(0.05)) == []


# -- closing --------------------------------------------------------------------------------------


def test_a_context_manager_closes_everything(port: int) -> None:
    with nothing_leaks():
        with Sender("lo") as sender:
            for to in ("all-hosts", "239.1.2.3", "::1", "both"):
                sender.send(b"hi", to=to, port=port)
            list(sender.replies(0.01))
        sender.close()


def test_sending_after_the_end(port: int) -> None:
    sender = Sender("lo")
    sender.send(b"hi", port=port)
    sender.close()
    try:
        with pytest.raises(BcastError):
            sender.send(b"hi", port=port)
    finally:
        sender.close()


def test_one_that_is_forgotten_is_warned_of(port: int) -> None:
    sender = Sender("lo")
    sender.send(b"hi", port=port)
    forgotten = [sender]
    del sender
    with pytest.warns(ResourceWarning):
        forgotten.clear()


def test_a_socket_that_can_not_be_opened_leaves_nothing_open(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise SocketError("enough")

    with nothing_leaks(), Sender("lo") as sender:
        monkeypatch.setattr("bcast.sender.open_sender", fail)
        with pytest.raises(SocketError, match="enough"):
            sender.send(b"hi", port=port).raise_if_none()
        monkeypatch.undo()
        sender.send(b"hi", port=port).raise_if_none()


# -- results --------------------------------------------------------------------------------------

ETH = [
    Interface(f"eth{n}", n + 3, Kind.ETHERNET, InterfaceFlag.UP, 1500, None, ()) for n in range(3)
]
_sent = st.builds(
    Sent,
    st.sampled_from(ETH),
    st.builds(Endpoint, st.just(IPv4Address("10.9.1.1")), st.integers(1, 3)),
    st.builds(Endpoint, st.sampled_from([IPv4Address("239.1.2.3")]), st.integers(1, 2)),
    st.integers(0, 9),
    st.integers(1, 9),
)
_skipped = st.builds(Skipped, st.sampled_from(ETH), st.sampled_from(["down", "loopback"]))
_errors = [SocketError("it failed"), SocketError("it failed again")]
_failed = st.builds(Failed, st.sampled_from(ETH), st.sampled_from(_errors), st.integers(1, 9))
_results = st.builds(
    SendResults,
    st.lists(_sent, max_size=4).map(tuple),
    st.lists(_skipped, max_size=4).map(tuple),
    st.lists(_failed, max_size=4).map(tuple),
)


@given(st.lists(_results, max_size=4))
def test_the_results_of_several_rounds(rounds: list[SendResults]) -> None:
    whole = merge(rounds)
    sent = [one for each in rounds for one in each.sent]
    failed = [one for each in rounds for one in each.failed]
    assert sum(one.count for one in whole.sent) == sum(one.count for one in sent)
    assert sum(one.count for one in whole.failed) == sum(one.count for one in failed)
    ways = [(one.interface, one.source, one.destination) for one in whole.sent]
    assert sorted(map(str, ways)) == sorted(
        {str((one.interface, one.source, one.destination)) for one in sent}
    )
    assert len(set(whole.skipped)) == len(whole.skipped)
    assert {s for each in rounds for s in each.skipped} == set(whole.skipped)
    assert merge([whole]) == whole
    assert merge([]) == SendResults()


# -- in a lab -------------------------------------------------------------------------------------

_SENDING = """
import json, signal, sys
import bcast
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
options = json.loads(sys.argv[1])
with bcast.Sender(**options) as sender:
    print("[]", flush=True)
    for _ in range(int(sys.argv[2])):
        signal.sigwait({signal.SIGUSR1})
        results = sender.send(b"hi", port=2222, to=sys.argv[3])
        print(json.dumps([
            sorted(f"{s.interface.name} {s.source.address}" for s in results.sent),
            sorted(f"{f.interface.name} {f.error.error}" for f in results.failed),
            sorted(f"{s.interface.name} {s.reason}" for s in results.skipped),
        ]), flush=True)
"""


class Sending:
    """A program on a host that has a sender open, and sends when it is told to."""

    def __init__(
        self, host: Host, times: int, *, to: str = "all-hosts", **options: object
    ) -> None:
        self._running: Running = host.start_python(
            _SENDING,
            *(json.dumps(options), str(times), to),
            env={"PYTHONWARNINGS": "default::ResourceWarning"},
        )
        self._next()

    def send(self) -> Any:
        """Interfaces and addresses that it sent from, that failed, and that were skipped."""
        self._running.send_signal(signal.SIGUSR1)
        return self._next()

    def ends(self) -> None:
        assert self._running.wait() == 0, self._running.errors()
        assert self._running.errors() == ""

    def _next(self) -> Any:
        return json.loads(self._running.wait_for("[", timeout=20.0))


LO = ["lo loopback"]


@pytest.mark.kernel("a host whose interfaces can be changed")
def test_the_next_send_notices_what_changed(lab: Lab) -> None:
    blue, green = lab.segment("blue"), lab.segment("green")
    host = lab.host("a")
    host.connect(blue)
    sending = Sending(host, 7)
    host.connect(green)
    # The first send follows the listing that was made when the sender was opened.
    assert sending.send() == [["eth0 10.9.1.1"], [], LO]
    assert sending.send() == [["eth0 10.9.1.1", "eth1 10.9.2.1"], [], LO]
    host.setup("ip -4 addr flush dev eth1", "ip addr add 10.9.2.9/24 brd + dev eth1")
    assert sending.send() == [["eth0 10.9.1.1", "eth1 10.9.2.9"], [], LO]
    host.setup("ip link set eth1 down")
    assert sending.send() == [["eth0 10.9.1.1"], [], ["eth1 down", *LO]]
    index = host.links[1].index
    host.setup("ip link del eth1")
    assert sending.send() == [["eth0 10.9.1.1"], [], LO]
    host.setup(
        f"ip link add eth1 index {index} type veth peer name peer1",
        "ip link set peer1 up",
        "ip link set eth1 up",
        "ip addr add 10.9.3.1/24 brd + dev eth1",
    )
    # It takes a moment until a link that comes up has a carrier.
    eventually(lambda: sending.send()[0] == ["eth0 10.9.1.1", "eth1 10.9.3.1"])
    host.setup("ip link del eth1")
    host.setup("ip link set eth0 down", "ip link set eth0 name lan0", "ip link set lan0 up")
    eventually(lambda: sending.send() == [["lan0 10.9.1.1"], [], LO])
    sending.ends()


@pytest.mark.kernel("a host whose interfaces can be changed")
@pytest.mark.parametrize("to", ["all-hosts", "subnet", "239.1.2.3", "10.9.2.2"])
def test_no_datagram_leaves_with_the_address_of_another_interface(to: str) -> None:
    # Between listing and sending eth1 loses its address; the kernel alone would take eth0's.
    with any_lab() as lab:
        blue, green = lab.segment("blue"), lab.segment("green")
        a, b, c = lab.host("a"), lab.host("b"), lab.host("c")
        a.connect(blue)
        b.connect(blue)
        a.connect(green)
        c.connect(green)
        first, second = Wire(b), Wire(c)
        sending = Sending(a, 1, to=to, interfaces="eth1", family=4)
        a.setup("ip -4 addr flush dev eth1")
        ((), (failed,), _) = sending.send()
        assert failed.split()[0] == "eth1"
        assert failed.split()[1] in ("EINVAL", "ENETUNREACH", "EADDRNOTAVAIL")
        sending.ends()
        assert first.seen() == second.seen() == []


@pytest.mark.kernel("a host with two interfaces")
def test_a_family_of_its_own(lab: Lab) -> None:
    host = lab.host("a")
    host.connect(lab.segment("blue"))
    link_local = host.links[0].link_local
    sending = Sending(host, 1, to="ff02::1", family=Family.IPV6.value)
    assert sending.send()[0] == [f"eth0 {link_local}%eth0"]
    sending.ends()
