from __future__ import annotations

import io
import json
import sys
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given

from bcast.cli.output import Output, interface_object
from bcast.datagram import Address, Interface, InterfaceFlag, Kind
from tests.strategies import hostile_names, interfaces

Captured = pytest.CaptureFixture[str]

UP = InterfaceFlag.UP | InterfaceFlag.RUNNING
ETH0 = Interface(
    "eth0",
    2,
    Kind.ETHERNET,
    UP | InterfaceFlag.BROADCAST | InterfaceFlag.MULTICAST,
    1500,
    "02:00:00:00:01:01",
    (
        Address(IPv4Address("192.168.1.5"), 24, IPv4Address("192.168.1.255")),
        Address(IPv6Address("fe80::5%eth0"), 64),
    ),
)
EVIL = Interface("\x1b[2J\u202e", 3, Kind.VETH, UP, 1500)
EVENT = {"event": "sent", "interface": "eth0", "length": 5}


def told(captured: Captured) -> tuple[str, str]:
    out, err = captured.readouterr()
    return out, err


# --- what goes where


def test_for_people_results_go_out_and_remarks_aside(capsys: Captured) -> None:
    output = Output()
    output.result("eth0  5 bytes", EVENT)
    assert told(capsys) == ("eth0  5 bytes\n", "")
    output.event("1 datagram", {"event": "summary"})
    assert told(capsys) == ("", "1 datagram\n")
    output.remark("listening")
    assert told(capsys) == ("", "listening\n")
    output.skipped(ETH0, "down")
    assert told(capsys) == ("", "skipped eth0: down\n")
    output.write("a line\nand another\n")
    assert told(capsys) == ("a line\nand another\n", "")


def test_for_programs_results_and_events_are_objects_and_remarks_still_go_aside(
    capsys: Captured,
) -> None:
    output = Output(as_json=True)
    output.result("eth0  5 bytes", EVENT)
    output.event("1 datagram", {"event": "summary", "datagrams": 1})
    output.skipped(ETH0, "down")
    output.remark("listening")
    out, err = told(capsys)
    assert [json.loads(line) for line in out.splitlines()] == [
        EVENT,
        {"event": "summary", "datagrams": 1},
        {"event": "skipped", "interface": "eth0", "reason": "down"},
    ]
    assert err == "listening\n"


def test_quiet_keeps_results_and_objects(capsys: Captured) -> None:
    output = Output(quiet=True)
    output.result("eth0  5 bytes", EVENT)
    output.event("1 datagram", {"event": "summary"})
    output.skipped(ETH0, "down")
    output.remark("listening")
    assert told(capsys) == ("eth0  5 bytes\n", "")
    output = Output(as_json=True, quiet=True)
    output.event("1 datagram", {"event": "summary"})
    output.remark("listening")
    assert told(capsys) == ('{"event":"summary"}\n', "")


@pytest.mark.parametrize(
    ("verbose", "quiet", "said"), [(False, False, ""), (True, False, "why\n"), (True, True, "")]
)
def test_details_are_for_those_who_ask(
    capsys: Captured, verbose: bool, quiet: bool, said: str
) -> None:
    Output(verbose=verbose, quiet=quiet).detail("why")
    assert told(capsys) == ("", said)


# --- what a terminal gets


def test_remarks_are_harmless_whatever_an_interface_is_called(capsys: Captured) -> None:
    output = Output(verbose=True)
    output.skipped(EVIL, "down")
    output.remark(EVIL.name)
    output.detail(EVIL.name)
    output.event(EVIL.name, {})
    out, err = told(capsys)
    assert out == ""
    for line in err.splitlines():
        assert r"\x1b[2J\u202e" in line
        assert line.isprintable()


def test_results_are_harmless_too(capsys: Captured) -> None:
    Output().result(f"{EVIL.name}  5 bytes", EVENT)
    assert told(capsys) == ("\\x1b[2J\\u202e  5 bytes\n", "")


def test_one_remark_is_one_line(capsys: Captured) -> None:
    Output().remark("two\nlines")
    assert told(capsys) == ("", "two\\nlines\n")


def terminal(encoding: str) -> tuple[io.TextIOWrapper, io.BytesIO]:
    """A stream that isn't flushed before it is full, and where it goes."""
    below = io.BytesIO()
    return io.TextIOWrapper(below, encoding=encoding), below


def test_a_terminal_that_cannot_show_a_character_gets_an_escape(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (out, below_out), (err, below_err) = terminal("ascii"), terminal("ascii")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    output = Output()
    output.result("Küche \udcff", EVENT)
    output.remark("Küche")
    assert below_out.getvalue() == b"K\\xfcche \\udcff\n"
    assert below_err.getvalue() == b"K\\xfcche\n"


def test_everything_is_there_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads a pipe doesn't wait for 8 kB of results."""
    out, below = terminal("utf-8")
    monkeypatch.setattr(sys, "stdout", out)
    Output(as_json=True).event("", {"event": "summary"})
    assert below.getvalue() == b'{"event":"summary"}\n'
    Output().write("hi\n")
    assert below.getvalue().endswith(b"hi\n")


# --- interfaces as objects


def test_an_interface() -> None:
    assert interface_object(ETH0, "added") == {
        "event": "interface",
        "change": "added",
        "name": "eth0",
        "index": 2,
        "kind": "ethernet",
        "flags": ["up", "running", "broadcast", "multicast"],
        "mtu": 1500,
        "hardware_address": "02:00:00:00:01:01",
        "addresses": [
            {"address": "192.168.1.5", "prefix_length": 24, "broadcast": "192.168.1.255"},
            {"address": "fe80::5%eth0", "prefix_length": 64, "broadcast": None},
        ],
        "usable": True,
        "reason": "",
    }


def test_an_interface_that_is_not_used_says_why() -> None:
    told = interface_object(Interface("lo", 1, Kind.LOOPBACK, InterfaceFlag(0), 65_536), "present")
    assert (told["usable"], told["reason"]) == (False, "down")
    assert (told["flags"], told["addresses"], told["hardware_address"]) == ([], [], None)


@given(interfaces(hostile_names))
def test_any_interface_is_one_line_of_json(interface: Interface) -> None:
    told = interface_object(interface, "present")
    line = json.dumps(told)
    assert line.isascii()
    assert json.loads(line) == told
    assert told["name"] == interface.name
    assert told["usable"] is not bool(told["reason"])
    assert len(told["flags"]) == len(interface.flags)
    assert [a["address"] for a in told["addresses"]] == [
        str(a.address) for a in interface.addresses
    ]
