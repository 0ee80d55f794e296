"""Plans carried out: which calls are made, in which order, and what happens when one fails.

The plans of all platforms go through `execute` here with a socket that records what it is told.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.datagram import Address, Family, Group, Interface, InterfaceFlag, IPAddress, Kind
from bcast.errors import PortTakenError, SocketError
from bcast.sockets import bsd, darwin, illumos, linux, windows
from bcast.sockets.plan import (
    ANY,
    Bind,
    Plan,
    Platform,
    SetOption,
    Step,
    Verify,
    execute,
    run_steps,
)

Call = tuple[object, ...]

FLAGS = (
    InterfaceFlag.UP | InterfaceFlag.RUNNING | InterfaceFlag.BROADCAST | InterfaceFlag.MULTICAST
)
OWN = IPv4Address("192.168.1.5")
LINK_LOCAL = IPv6Address("fe80::5%eth7")
ETH7 = Interface(
    "eth7",
    7,
    Kind.ETHERNET,
    FLAGS,
    1500,
    addresses=(Address(OWN, 24, IPv4Address("192.168.1.255")), Address(LINK_LOCAL, 64)),
)
LO = Interface(
    "lo",
    1,
    Kind.LOOPBACK,
    InterfaceFlag.UP | InterfaceFlag.RUNNING | InterfaceFlag.LOOPBACK,
    65536,
    addresses=(Address(IPv4Address("127.0.0.1"), 8), Address(IPv6Address("::1"), 128)),
)


@dataclass
class Recorder:
    """A socket that only writes down what it is told.

    ``fails`` decides for each call whether it fails, and with which errno.
    """

    fails: Callable[[Call], int | None] = lambda call: None
    calls: list[Call] = field(default_factory=list)
    closed: bool = False

    def create(self, family: int, kind: int, protocol: int) -> socket.socket:
        self.call("socket", family, kind, protocol)
        return cast(socket.socket, self)

    def setblocking(self, flag: bool) -> None:
        self.call("setblocking", flag)

    def setsockopt(self, level: int, number: int, value: int | bytes) -> None:
        self.call("setsockopt", level, number, value)

    def bind(self, address: tuple[object, ...]) -> None:
        self.call("bind", address)

    def close(self) -> None:
        self.closed = True

    def call(self, *call: object) -> None:
        assert not self.closed
        self.calls.append(call)
        number = self.fails(call)
        if number is not None:
            raise OSError(number, os.strerror(number))


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    """The names of interfaces by index; a test may change them."""
    known = {7: "eth7", 1: "lo"}

    def if_indextoname(index: int) -> str:
        if index not in known:
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        return known[index]

    monkeypatch.setattr(socket, "if_indextoname", if_indextoname)
    return known


def plan(*steps: Step, family: Family = Family.IPV4) -> Plan:
    return Plan(ETH7, family, steps)


def failing(number: int, *which: Call) -> Callable[[Call], int | None]:
    return lambda call: number if call in which else None


FIRST = SetOption(1, 11, 1, "SO_FIRST")
SECOND = SetOption(2, 22, b"\0\1", "IP_SECOND")
FIRST_CALL = ("setsockopt", 1, 11, 1)
SECOND_CALL = ("setsockopt", 2, 22, b"\0\1")
BIND = Bind(("", 28232))


def test_the_steps_are_made_in_order_on_a_socket_that_does_not_block() -> None:
    recorder = Recorder()
    opened = execute(plan(FIRST, SECOND, BIND), recorder.create)
    assert opened is cast(socket.socket, recorder)
    assert recorder.calls == [
        ("socket", socket.AF_INET, socket.SOCK_DGRAM, 0),
        ("setblocking", False),
        FIRST_CALL,
        SECOND_CALL,
        ("bind", ("", 28232)),
    ]
    assert not recorder.closed


def test_an_ipv6_socket() -> None:
    recorder = Recorder()
    execute(plan(Bind(("::", 1, 0, 0)), family=Family.IPV6), recorder.create)
    assert recorder.calls[0] == ("socket", socket.AF_INET6, socket.SOCK_DGRAM, 0)
    assert recorder.calls[-1] == ("bind", ("::", 1, 0, 0))


def test_no_socket_to_be_had() -> None:
    recorder = Recorder(fails=lambda call: errno.EMFILE)
    with pytest.raises(SocketError) as raised:
        execute(plan(FIRST), recorder.create)
    assert raised.value.operation == "open an IPv4 socket"
    assert raised.value.error == "EMFILE"
    assert raised.value.interface == "eth7"
    assert "ulimit" in raised.value.advice


@pytest.mark.parametrize("call", [FIRST_CALL, SECOND_CALL, ("bind", ("", 28232))])
def test_a_failure_closes_the_socket_and_says_what_failed(call: Call) -> None:
    recorder = Recorder(fails=failing(errno.EPERM, call))
    with pytest.raises(SocketError) as raised:
        execute(plan(FIRST, SECOND, BIND), recorder.create)
    assert recorder.closed
    assert recorder.calls[-1] == call
    error = raised.value
    assert error.operation in ("set SO_FIRST", "set IP_SECOND", "bind to port 28232")
    assert error.operation in str(error)
    assert str(error).startswith("eth7: ")
    assert isinstance(error.__cause__, OSError)


def test_an_interruption_closes_the_socket_too() -> None:
    def interrupt(call: Call) -> int | None:
        if call == SECOND_CALL:
            raise KeyboardInterrupt
        return None

    recorder = Recorder(fails=interrupt)
    with pytest.raises(KeyboardInterrupt):
        execute(plan(FIRST, SECOND), recorder.create)
    assert recorder.closed


def test_steps_on_an_open_socket_leave_it_open() -> None:
    recorder = Recorder(fails=failing(errno.EPERM, SECOND_CALL))
    opened = cast(socket.socket, recorder)
    with pytest.raises(SocketError):
        run_steps(opened, (FIRST, SECOND, BIND), "eth7")
    assert recorder.calls == [FIRST_CALL, SECOND_CALL]
    assert not recorder.closed


def test_a_benign_failure_is_passed_over() -> None:
    step = FIRST._replace(benign=(errno.EADDRINUSE, errno.ENOPROTOOPT))
    recorder = Recorder(fails=failing(errno.EADDRINUSE, FIRST_CALL))
    execute(plan(step, SECOND), recorder.create)
    assert recorder.calls[-2:] == [FIRST_CALL, SECOND_CALL]


def test_another_failure_of_the_same_option_is_not() -> None:
    step = FIRST._replace(benign=(errno.EADDRINUSE,))
    recorder = Recorder(fails=failing(errno.ENODEV, FIRST_CALL))
    with pytest.raises(SocketError) as raised:
        execute(plan(step, SECOND), recorder.create)
    assert raised.value.error == "ENODEV"
    assert recorder.closed


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOBUFS, errno.EINVAL, errno.ENXIO])
def test_any_failure_of_an_improvement_is_passed_over(number: int) -> None:
    recorder = Recorder(fails=failing(number, FIRST_CALL))
    execute(plan(FIRST._replace(benign=(ANY,)), SECOND), recorder.create)
    assert recorder.calls[-1] == SECOND_CALL


@pytest.mark.parametrize("number", [errno.ENOPROTOOPT, errno.EINVAL])
def test_what_the_system_does_not_have_is_replaced(number: int) -> None:
    recorder = Recorder(fails=failing(number, FIRST_CALL))
    execute(plan(FIRST._replace(instead=SECOND), BIND), recorder.create)
    assert recorder.calls[2:] == [FIRST_CALL, SECOND_CALL, ("bind", ("", 28232))]


def test_nothing_is_replaced_that_works() -> None:
    recorder = Recorder()
    execute(plan(FIRST._replace(instead=SECOND)), recorder.create)
    assert SECOND_CALL not in recorder.calls


def test_what_the_system_forbids_is_not_replaced() -> None:
    recorder = Recorder(fails=failing(errno.EPERM, FIRST_CALL))
    with pytest.raises(SocketError):
        execute(plan(FIRST._replace(instead=SECOND)), recorder.create)
    assert SECOND_CALL not in recorder.calls


def test_a_replacement_that_fails_is_named() -> None:
    recorder = Recorder(fails=failing(errno.EINVAL, FIRST_CALL, SECOND_CALL))
    with pytest.raises(SocketError) as raised:
        execute(plan(FIRST._replace(instead=SECOND)), recorder.create)
    assert raised.value.operation == "set IP_SECOND"
    assert recorder.closed


def test_a_replacement_has_its_own_benign_failures() -> None:
    recorder = Recorder(fails=failing(errno.EINVAL, FIRST_CALL, SECOND_CALL))
    step = FIRST._replace(instead=SECOND._replace(benign=(ANY,)))
    execute(plan(step, BIND), recorder.create)
    assert recorder.calls[-1] == ("bind", ("", 28232))


def test_the_interface_is_still_the_one_that_was_meant() -> None:
    recorder = Recorder()
    execute(plan(Verify(7, "eth7"), FIRST), recorder.create)
    assert recorder.calls[-1] == FIRST_CALL


def test_the_interface_is_gone(names: dict[int, str]) -> None:
    del names[7]
    recorder = Recorder()
    with pytest.raises(SocketError, match=r"eth7 \(index 7\) is gone") as raised:
        execute(plan(Verify(7, "eth7"), FIRST), recorder.create)
    assert raised.value.error == "ENODEV"
    assert raised.value.interface == "eth7"
    assert raised.value.advice
    assert FIRST_CALL not in recorder.calls
    assert recorder.closed


def test_another_interface_took_the_index_over(names: dict[int, str]) -> None:
    names[7] = "wlan0"
    recorder = Recorder()
    with pytest.raises(SocketError, match="is now called wlan0"):
        execute(plan(FIRST, Verify(7, "eth7"), SECOND), recorder.create)
    assert SECOND_CALL not in recorder.calls
    assert recorder.closed


def test_a_port_that_is_taken() -> None:
    recorder = Recorder(fails=failing(errno.EADDRINUSE, ("bind", ("", 28232))))
    with pytest.raises(PortTakenError, match="28232"):
        execute(plan(BIND), recorder.create)
    assert recorder.closed


def test_an_address_that_is_gone() -> None:
    step = Bind(("fe80::1", 0, 0, 7))
    recorder = Recorder(fails=failing(errno.EADDRNOTAVAIL, ("bind", step.address)))
    with pytest.raises(SocketError, match="fe80::1 is not an address of eth7"):
        execute(plan(step, family=Family.IPV6), recorder.create)


# What follows is true of the plans of every platform.

PLATFORMS: dict[str, Platform] = {
    "linux": linux,
    "darwin": darwin,
    "freebsd": bsd.system("freebsd14"),
    "openbsd": bsd.system("openbsd7"),
    "netbsd": bsd.system("netbsd10"),
    "illumos": illumos,
    "windows": windows,
}
EACH = pytest.mark.parametrize("used", PLATFORMS.values(), ids=PLATFORMS)

GROUPS = {
    Family.IPV4: (
        Group(IPv4Address("239.1.2.3")),
        Group(IPv4Address("232.1.2.3"), IPv4Address("10.0.0.1")),
    ),
    Family.IPV6: (
        Group(IPv6Address("ff02::fb")),
        Group(IPv6Address("ff32::1"), IPv6Address("2001:db8::1")),
    ),
}


def sender_plan(
    used: Platform,
    source: IPAddress,
    interface: Interface = ETH7,
    *,
    port: int = 0,
    ttl: int | None = None,
    loop: bool = True,
    share: bool = False,
) -> Plan:
    family = Family(source.version)
    steps = used.sender_steps(
        interface, family, source=source, source_port=port, ttl=ttl, loop=loop, share=share
    )
    return Plan(interface, family, steps)


def receiver_plan(
    used: Platform, family: Family, interface: Interface = ETH7, *, share: bool = True
) -> Plan:
    steps = used.receiver_steps(
        interface, family, port=28232, groups=GROUPS[family], share=share, buffer=1_048_576
    )
    return Plan(interface, family, steps)


def all_plans(used: Platform) -> list[Plan]:
    senders = [
        sender_plan(used, source, interface, ttl=ttl, loop=loop, share=share)
        for interface in (ETH7, LO)
        for source in (address.address for address in interface.addresses)
        for ttl in (None, 255)
        for loop in (True, False)
        for share in (True, False)
    ]
    receivers = [
        receiver_plan(used, family, interface, share=share)
        for interface in (ETH7, LO)
        for family in Family
        for share in (True, False)
    ]
    return senders + receivers


def calls_of(steps: tuple[Step, ...]) -> list[Call]:
    calls: list[Call] = []
    for step in steps:
        if isinstance(step, SetOption):
            calls.append(("setsockopt", step.level, step.number, step.value))
        elif isinstance(step, Bind):
            calls.append(("bind", step.address))
    return calls


@EACH
def test_exactly_the_planned_calls_are_made(used: Platform) -> None:
    for made in all_plans(used):
        recorder = Recorder()
        execute(made, recorder.create)
        family = socket.AF_INET if made.family is Family.IPV4 else socket.AF_INET6
        assert recorder.calls == [
            ("socket", family, socket.SOCK_DGRAM, 0),
            ("setblocking", False),
            *calls_of(made.steps),
        ]
        assert not recorder.closed


@EACH
@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOPROTOOPT, errno.EADDRINUSE])
def test_whichever_call_fails_the_socket_is_closed_or_can_do_without(
    used: Platform, number: int
) -> None:
    for made in all_plans(used):
        for index, step in enumerate(made.steps):
            if isinstance(step, Verify):
                continue
            [call] = calls_of((step,))
            recorder = Recorder(fails=failing(number, call))
            without = isinstance(step, SetOption) and (
                ANY in step.benign
                or number in step.benign
                or (step.instead is not None and number == errno.ENOPROTOOPT)
            )
            if without:
                execute(made, recorder.create)
                assert not recorder.closed
                rest = calls_of(made.steps[index + 1 :])
                assert recorder.calls[len(recorder.calls) - len(rest) :] == rest
                continue
            with pytest.raises(SocketError) as raised:
                execute(made, recorder.create)
            assert recorder.closed
            assert recorder.calls[2:] == calls_of(made.steps[: index + 1])
            assert raised.value.interface == made.interface.name
            assert raised.value.error == errno.errorcode[number]


@EACH
def test_only_improvements_may_fail(used: Platform) -> None:
    """What decides where datagrams go and who receives them is never optional."""
    for made in all_plans(used):
        for step in made.steps:
            if isinstance(step, SetOption) and ANY in step.benign:
                assert step.name in {
                    "SO_TIMESTAMPNS",
                    "SO_TIMESTAMP",
                    "SO_TS_CLOCK",
                    "IP_RECVTTL",
                    "IPV6_RECVHOPLIMIT",
                    "SO_RCVBUF",
                    "SO_RCVBUFFORCE",
                    "SO_SNDBUF",
                    "IP_BROADCAST_TTL",
                }


@EACH
def test_a_receive_buffer_is_asked_for_up_to_the_wanted_size(used: Platform) -> None:
    steps = [step for step in used.buffer_steps(1_048_576) if isinstance(step, SetOption)]
    sizes = [step.value for step in steps]
    assert sizes == sorted(sizes, key=int)
    assert sizes[-1] == 1_048_576
    assert all(ANY in step.benign for step in steps)


@EACH
def test_the_order_that_the_systems_want(used: Platform) -> None:
    for made in all_plans(used):
        [bound] = [i for i, step in enumerate(made.steps) if isinstance(step, Bind)]
        names = [step.name if isinstance(step, SetOption) else "" for step in made.steps]
        for index, name in enumerate(names):
            if name.startswith("membership"):
                assert index > bound
            elif name:
                assert index < bound
        assert (names[0] == "IPV6_V6ONLY") is (made.family is Family.IPV6)
        assert "SO_BROADCAST" in names


@EACH
def test_no_option_is_of_the_other_family(used: Platform) -> None:
    for made in all_plans(used):
        other = 41 if made.family is Family.IPV4 else 0
        options = [step for step in made.steps if isinstance(step, SetOption)]
        assert all(step.level != other for step in options)
        assert all(len(step.value) > 0 for step in options if isinstance(step.value, bytes))


@EACH
def test_no_scope_can_override_the_interface(used: Platform) -> None:
    for made in all_plans(used):
        for step in made.steps:
            if isinstance(step, Bind):
                assert "%" not in step.address[0]
                if len(step.address) == 4:
                    assert step.address[3] in (0, made.interface.index)


@EACH
@pytest.mark.parametrize("source", [IPv4Address("127.0.0.1"), IPv6Address("::1")], ids=str)
def test_on_loopback_the_sender_has_its_own_address(used: Platform, source: IPAddress) -> None:
    [bound] = [s for s in sender_plan(used, source, LO).steps if isinstance(s, Bind)]
    assert bound.address[0] == str(source)


def ttls(made: Plan) -> dict[str, int]:
    """What is said of TTLs and hop limits, by option."""
    return {
        step.name: step.value if isinstance(step.value, int) else step.value[0]
        for step in made.steps
        if isinstance(step, SetOption)
        and step.name.endswith(("_TTL", "_HOPS"))
        and "RECV" not in step.name
    }


@EACH
def test_groups_have_a_ttl_of_1_unless_one_is_asked_for(used: Platform) -> None:
    assert ttls(sender_plan(used, OWN)) == {"IP_MULTICAST_TTL": 1}
    assert ttls(sender_plan(used, LINK_LOCAL)) == {"IPV6_MULTICAST_HOPS": 1}


@EACH
@given(ttl=st.integers(1, 255))
def test_a_ttl_is_for_groups_and_hosts(used: Platform, ttl: int) -> None:
    four = ttls(sender_plan(used, OWN, ttl=ttl))
    assert four.keys() >= {"IP_MULTICAST_TTL", "IP_TTL"}
    assert set(four.values()) == {ttl}
    six = ttls(sender_plan(used, LINK_LOCAL, ttl=ttl))
    assert six == {"IPV6_MULTICAST_HOPS": ttl, "IPV6_UNICAST_HOPS": ttl}


@EACH
def test_sharing_says_so(used: Platform) -> None:
    def reuses(made: Plan) -> bool:
        return any(isinstance(s, SetOption) and s.name == "SO_REUSEADDR" for s in made.steps)

    assert reuses(sender_plan(used, OWN, share=True))
    assert not reuses(sender_plan(used, OWN, share=False))
    assert reuses(receiver_plan(used, Family.IPV4, share=True))
    assert not reuses(receiver_plan(used, Family.IPV4, share=False))


# Levels and types that mean something somewhere, so that the bytes get read.
LEVELS = (0, 1, 41, 0xFFFF)
TYPES = (2, 4, 5, 7, 8, 11, 12, 20, 23, 24, 26, 30, 31, 35, 40, 46, 47, 50, 52, 64, 65, 0x1013)
MESSAGES = st.lists(
    st.tuples(
        st.sampled_from(LEVELS) | st.integers(-(2**31), 2**31 - 1),
        st.sampled_from(TYPES) | st.integers(-(2**31), 2**31 - 1),
        st.binary(max_size=24) | st.sampled_from([1, 4, 8, 12, 16, 20]).map(lambda n: b"\xff" * n),
    ),
    max_size=6,
)


@EACH
@given(ancillary=MESSAGES, family=st.sampled_from(list(Family)))
def test_no_control_message_can_hurt(
    used: Platform, ancillary: list[tuple[int, int, bytes]], family: Family
) -> None:
    arrival = used.read_arrival(family, ancillary)
    assert arrival.destination is None or len(arrival.destination) in (4, 16)
    assert arrival.local is None or len(arrival.local) == 4
    for value in (arrival.ifindex, arrival.ttl, arrival.time_ns, arrival.drops):
        assert value is None or isinstance(value, int)


@EACH
def test_nothing_said_is_nothing_known(used: Platform) -> None:
    arrival = used.read_arrival(Family.IPV4, [])
    assert (arrival.ifindex, arrival.destination, arrival.ttl, arrival.time_ns) == (None,) * 4


@pytest.mark.parametrize("told", [errno.EMFILE, errno.ENOENT])
def test_too_many_open_files_are_not_taken_for_a_missing_interface(
    monkeypatch: pytest.MonkeyPatch, told: int
) -> None:
    # glibc opens a socket to ask, and says ENOENT when it can't.
    def refuse(index: int) -> str:
        raise OSError(told, os.strerror(told))

    def full(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "if_indextoname", refuse)
    monkeypatch.setattr(socket, "socket", full)
    with pytest.raises(SocketError, match="ulimit -n") as raised:
        run_steps(cast("socket.socket", None), [Verify(7, "eth7")], "eth7")
    assert raised.value.error == "EMFILE"
