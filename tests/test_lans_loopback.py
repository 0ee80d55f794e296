"""LANs on the loopback interface: real programs meet the fakes, and other LANs don't."""

from __future__ import annotations

import socket
from dataclasses import replace
from time import perf_counter

import pytest

import bcast
from bcast.datagram import InterfaceFlag
from bcast.errors import InterfaceError
from bcast.interfaces import list_interfaces
from bcast.lans import LoopbackLan, loopback_unavailable
from tests.loopback import loopback, nothing_leaks


def test_a_program_finds_the_accessory() -> None:
    with LoopbackLan() as lan:
        lan.accessory("lamp-1", "_lamp", port=8080)
        [found] = bcast.discover("_lamp", expect=1, timeout=5, **lan.settings)
        assert (found.name, found.port) == ("lamp-1", 8080)
        assert str(found.sightings[0].address) == "127.0.0.2"


def test_the_observer_finds_a_program() -> None:
    service = bcast.Service("mine", "_app", 80)
    with LoopbackLan() as lan:
        with bcast.Announcer(service, **lan.settings):
            lan.expect_device(service)
        lan.expect_goodbye("name=mine")


def test_lans_do_not_hear_one_another() -> None:
    with LoopbackLan() as one, LoopbackLan() as other:
        one.accessory("lamp")
        other.accessory("plug")
        assert one.expect_device().name == "lamp"
        assert other.expect_device().name == "plug"
        one.expect_no_device("name=plug", during=0.1)
        assert "plug" not in one.timeline


def test_its_port_is_nobody_elses_before_anything_runs() -> None:
    with LoopbackLan() as lan, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        with pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", lan.port))
        lan.expect_device(lan.accessory("lamp"))


def test_nothing_is_left_behind_and_it_takes_no_time() -> None:
    with nothing_leaks():
        began = perf_counter()
        with LoopbackLan() as lan:
            lamp = lan.accessory("lamp")
            lan.expect_device(lamp)
        assert perf_counter() - began < 1
        lan.close()


def test_what_a_thread_fails_of_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    with LoopbackLan() as lan:
        lan.accessory("lamp")
        lan.expect_device()
        monkeypatch.setattr("bcast.lans.observer.Observer.receive_datagrams", broken)
        began = perf_counter()
        with pytest.raises(RuntimeError, match="a bug"):
            lan.expect_device("name=nobody", within=30)
        assert perf_counter() - began < 20


@pytest.mark.parametrize(
    ("lo", "reason"),
    [
        (
            replace(loopback(), flags=InterfaceFlag.LOOPBACK),
            "no usable interface: lo is down",
        ),
        (replace(loopback(), addresses=()), "lo has no IPv4 address"),
    ],
)
def test_why_there_is_none_is_a_sentence(
    lo: bcast.Interface, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert loopback_unavailable() == ""
    monkeypatch.setattr("bcast.lans.loopback.list_interfaces", lambda: (lo,))
    assert loopback_unavailable().startswith(reason)
    with pytest.raises(InterfaceError, match=reason):
        LoopbackLan()
    assert list_interfaces() != (lo,)
