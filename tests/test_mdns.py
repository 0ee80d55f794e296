"""Services found by zeroconf: a stand-in for it over the loopback interface, and the real one."""

from __future__ import annotations

import asyncio
import errno
import sys
import threading
from collections.abc import Callable, Iterator
from enum import Enum
from functools import partial
from importlib.util import find_spec
from types import ModuleType
from typing import Any, ClassVar

import pytest

import bcast
from bcast import sweep
from bcast.cli import run
from bcast.device import Added, Cause, Changed, Removed
from bcast.errors import ArgumentError, PortTakenError
from bcast.lab import Host, Lab, Running
from tests.command import PATIENCE, events, eventually, start_bcast, two_networks
from tests.loopback import nothing_leaks

if sys.platform != "linux":
    pytest.skip("the loopback interface is used as Linux has it", allow_module_level=True)

HAS_ZEROCONF = find_spec("zeroconf") is not None
TYPES = "_services._dns-sd._udp.local."


class Change(Enum):
    Added = 1
    Removed = 2
    Updated = 3


class Record:
    """A PTR record."""

    type = 12

    def __init__(self, alias: str, ttl: int) -> None:
        self.new = self
        self.alias, self.ttl = alias, ttl


class Net:
    """What the stand-in finds: services by full name, with port, addresses and TXT record."""

    services: ClassVar[dict[str, tuple[int, list[str], dict[bytes, bytes | None]]]] = {}
    #: The addresses that it was opened on, each time, and what fails then.
    opened: ClassVar[list[list[str | int]]] = []
    failures: ClassVar[list[Exception]] = []
    browsers: ClassVar[dict[str, Callable[..., None]]] = {}
    listeners: ClassVar[list[Any]] = []
    loops: ClassVar[list[asyncio.AbstractEventLoop]] = []

    @classmethod
    def tell(cls, name: str, change: Change, *, ttl: int = 120) -> None:
        """Something happens to a service, while somebody searches."""
        type = name.partition(".")[2]

        def happen() -> None:
            for listener in cls.listeners:
                listener.async_update_records(None, 0.0, [Record(name, ttl)])
            cls.browsers[type](zeroconf=None, service_type=type, name=name, state_change=change)

        cls.loops[-1].call_soon_threadsafe(happen)


class AsyncZeroconf:
    def __init__(self, interfaces: list[str | int]) -> None:
        Net.opened.append(interfaces)
        if Net.failures:
            raise Net.failures.pop(0)
        self.zeroconf = self
        Net.loops.append(asyncio.get_running_loop())

    async def async_wait_for_start(self) -> None:
        await asyncio.sleep(0)

    def async_add_listener(self, listener: Any, question: None) -> None:
        Net.listeners.append(listener)

    async def async_close(self) -> None:
        Net.browsers.clear()
        Net.listeners.clear()


class AsyncServiceBrowser:
    def __init__(self, zc: object, type: str, handlers: list[Callable[..., None]]) -> None:
        Net.browsers[type] = handlers[0]
        found = [name for name in Net.services if name.partition(".")[2] == type]
        if type == TYPES:
            found = list({name.partition(".")[2] for name in Net.services})
        for name in found:
            told = partial(
                handlers[0], zeroconf=zc, service_type=type, name=name, state_change=Change.Added
            )
            asyncio.get_running_loop().call_soon(told)

    async def async_cancel(self) -> None:
        """It ends."""


class AsyncServiceInfo:
    def __init__(self, type: str, name: str) -> None:
        self._name = name

    async def async_request(self, zc: object, timeout: float) -> bool:
        await asyncio.sleep(0)
        if self._name not in Net.services:
            return False
        self.port, self._addresses, self.properties = Net.services[self._name]
        return True

    def parsed_scoped_addresses(self) -> list[str]:
        return self._addresses


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Net]]:
    """zeroconf is there, and it is this."""
    package, inner = ModuleType("zeroconf"), ModuleType("zeroconf.asyncio")
    for name, thing in (
        ("Error", type("Error", (Exception,), {})),
        ("RecordUpdateListener", object),
        ("asyncio", inner),
    ):
        setattr(package, name, thing)
    for made in (AsyncZeroconf, AsyncServiceBrowser, AsyncServiceInfo):
        setattr(inner, made.__name__, made)
    monkeypatch.setitem(sys.modules, "zeroconf", package)
    monkeypatch.setitem(sys.modules, "zeroconf.asyncio", inner)
    monkeypatch.setattr(sweep, "_has_zeroconf", lambda: True)
    for kept in (Net.services, Net.opened, Net.failures, Net.browsers, Net.listeners, Net.loops):
        kept.clear()
    Net.services["Printer._ipp._tcp.local."] = (631, ["127.0.0.1"], {b"rp": b"x", b"flag": None})
    Net.services["Lamp._http._tcp.local."] = (80, ["127.0.0.2"], {b"\xff": b"", b"v": b"\xff"})
    with nothing_leaks():
        yield Net
    assert [one.name for one in threading.enumerate() if "mdns" in one.name] == []


def discover(*types: str, expect: int = 2, timeout: float = PATIENCE) -> dict[str, bcast.Device]:
    found = bcast.discover(
        *types, protocols="mdns", interfaces="lo", expect=expect, timeout=timeout
    )
    return {one.name: one for one in found}


def test_all_services_that_there_are(net: type[Net]) -> None:
    found = discover()
    assert set(found) == {"Printer", "Lamp"}
    assert found["Printer"].type == "_ipp._tcp"
    assert found["Printer"].attributes == {"rp": "x", "flag": ""}
    assert found["Lamp"].attributes == {"v": "�"}
    assert [str(one.address) for one in found["Lamp"].sightings] == ["127.0.0.2"]
    # What zeroconf can't do on ::1 isn't asked of it.
    assert net.opened == [["127.0.0.1"]]


def test_services_of_a_type(net: type[Net]) -> None:
    found = discover("_ipp._tcp", expect=1)
    assert set(found) == {"Printer"}
    assert bcast.discover("_no._tcp", protocols="mdns", interfaces="lo", timeout=0.2) == ()
    with pytest.raises(ArgumentError, match="'_lamp' is no type of DNS-SD"):
        discover("_lamp")


def test_natives_and_services_in_one_list(net: type[Net]) -> None:
    realm = "test-mdns"
    lamp = bcast.Service("lamp-1", "_http._tcp", 80)
    with bcast.Announcer(lamp, interfaces="lo", realm=realm):
        found = bcast.discover(
            "_http._tcp",
            protocols=["bcast", "mdns"],
            interfaces="lo",
            realm=realm,
            expect=2,
            timeout=PATIENCE,
        )
    assert {(one.name, one.protocols) for one in found} == {
        ("lamp-1", ("bcast",)),
        ("Lamp", ("mdns",)),
    }


def test_services_come_change_and_go(net: type[Net]) -> None:
    with bcast.Browser("_ipp._tcp", protocols="mdns", interfaces="lo") as browser:
        assert isinstance(browser.next_event(PATIENCE), Added)
        net.services["Printer._ipp._tcp.local."] = (632, ["127.0.0.1"], {})
        net.tell("Printer._ipp._tcp.local.", Change.Updated)
        event = browser.next_event(PATIENCE)
        assert isinstance(event, Changed)
        assert event.changed == ("port", "attributes")
        for name, ttl, cause in (("Printer", 0, Cause.GOODBYE), ("Other", 120, Cause.SILENCE)):
            if name != "Printer":
                net.services[f"{name}._ipp._tcp.local."] = (1, ["127.0.0.1"], {})
                net.tell(f"{name}._ipp._tcp.local.", Change.Added)
                assert isinstance(browser.next_event(PATIENCE), Added)
            net.tell(f"{name}._ipp._tcp.local.", Change.Removed, ttl=ttl)
            event = browser.next_event(PATIENCE)
            assert isinstance(event, Removed)
            assert (event.device.name, event.cause) == (name, cause)
        assert browser.devices == ()


def test_with_asyncio(net: type[Net]) -> None:
    async def search() -> tuple[bcast.Device, ...]:
        return await bcast.discover_async(
            protocols="mdns", interfaces="lo", expect=2, timeout=PATIENCE
        )

    assert len(asyncio.run(search())) == 2


def test_names_that_are_none_are_left_out(net: type[Net]) -> None:
    net.services["._ipp._tcp.local."] = (1, ["127.0.0.1"], {})
    net.services["Up.Stairs._ipp._tcp.local."] = (1, ["127.0.0.1"], {})
    with bcast.Browser("_ipp._tcp", protocols="mdns", interfaces="lo") as browser:
        eventually(lambda: net.browsers or None)
        for name in ("._ipp._tcp.local.", "Printer._ipp._tcp.local."):
            net.tell(name, Change.Added)
        assert isinstance(browser.next_event(PATIENCE), Added)
        assert [one.name for one in browser.devices] == ["Printer"]


def test_a_flood_of_types_and_names_is_bounded(net: type[Net]) -> None:
    for number in range(400):
        net.services[f"a._t{number}._tcp.local."] = (1, ["127.0.0.1"], {})
        net.services[f"n{number}._ipp._tcp.local."] = (1, ["127.0.0.1"], {})
    with bcast.Browser(protocols="mdns", interfaces="lo") as browser:

        def refused() -> int | None:
            return browser.statistics.rejected.get("full")

        # 402 types, of which 256 are asked for; names may be refused besides.
        eventually(lambda: (refused() or 0) >= 402 - 256 or None)
        assert len(net.browsers) == 1 + 256


def test_a_port_that_is_taken(net: type[Net]) -> None:
    net.failures += [OSError(errno.EADDRINUSE, "Address already in use")] * 2
    with pytest.raises(PortTakenError, match="mdns: UDP port 5353 is taken"):
        discover()
    # Beside another protocol it is said, and tried again.
    net.failures[:] = [OSError(errno.EADDRINUSE, "Address already in use")]
    with bcast.Browser(protocols=["bcast", "mdns"], interfaces="lo") as browser:
        assert isinstance(browser.next_event(PATIENCE), Added)
        told = [notice.sentence for notice in browser.changes()]
        assert any("5353 is taken" in one for one in told)
        assert any("receives on port 5353 now" in one for one in told)


def test_whatever_is_wrong_with_zeroconf_is_a_sentence(net: type[Net]) -> None:
    net.failures += [ValueError("bug")]
    with pytest.raises(bcast.SocketError, match="mdns: zeroconf failed: ValueError: bug"):
        discover()


def test_without_zeroconf(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sweep, "_has_zeroconf", lambda: False)
    assert "mdns" not in sweep.everything()
    with pytest.raises(ArgumentError, match=r"pip install 'bcast\[mdns\]'"):
        discover()
    assert run(["discover", "--protocol", "mdns", "-i", "lo"]) == 2
    assert "mdns needs the package 'zeroconf'" in capsys.readouterr().err


def test_all_protocols_are_first_of_all_this(net: type[Net]) -> None:
    assert sweep.everything()[0] == "mdns"


# --- the real one

#: Offers a service until it is terminated: address, name, type, port, key=value...
_OFFER = """
import signal, socket, sys, time
from zeroconf import ServiceInfo, Zeroconf
address, name, type, port, *attributes = sys.argv[1:]
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
with Zeroconf(interfaces=[address]) as speaking:
    speaking.register_service(ServiceInfo(
        f"{type}.local.", f"{name}.{type}.local.", port=int(port), server=f"{name}.local.",
        properties=dict(one.split("=") for one in attributes), parsed_addresses=[address],
    ))
    print("offered", flush=True)
    while True:
        time.sleep(1)
"""

real = pytest.mark.skipif(not HAS_ZEROCONF, reason="needs the extra bcast[mdns]")
kernel = pytest.mark.kernel("hosts that offer services")


def offer(host: Host, *args: str) -> Running:
    running = host.start_python(_OFFER, *args)
    running.wait_for("offered", timeout=PATIENCE)
    return running


@real
@kernel
def test_real_services_on_two_networks() -> None:
    with Lab() as lab:
        lan = two_networks(lab)
        attributes = "mac=02:00:00:00:00:05", "rp=ipp/print"
        offer(lan.b, "10.9.1.2", "Printer", "_ipp._tcp", "631", *attributes)
        web = offer(lan.c, "10.9.2.2", "My Web", "_http._tcp", "80")
        strict = {"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1"}
        for args in (
            ["--protocol", "mdns", "--expect", "2"],
            ["--expect", "2"],
            ["_ipp._tcp", "_http._tcp", "--expect", "2"],
        ):
            searching = start_bcast(lan.a, "discover", *args, "--json", "-t", "10", env=strict)
            assert searching.wait(timeout=15) == 0, searching.account()
            found = {one["name"]: one for one in events(searching.output()) if "name" in one}
            found = {name: one for name, one in found.items() if one["event"] == "found"}
            assert set(found) == {"Printer", "My Web"}
            device = found["Printer"]
            assert (device["type"], device["port"]) == ("_ipp._tcp", 631)
            assert device["attributes"] == dict(one.split("=") for one in attributes)
            assert device["probes_answered"] >= 1
            [sighting] = device["sightings"]
            assert sighting["interface"] == lan.a.links[0].name
            assert (sighting["address"], sighting["protocol"]) == ("10.9.1.2", "mdns")
            [sighting] = found["My Web"]["sightings"]
            assert sighting["interface"] == lan.a.links[1].name
            lines = searching.errors().splitlines()
            assert not [one for one in lines if "Warning" in one or "Traceback" in one]
        watching = start_bcast(lan.a, "watch", "--protocol", "mdns", until="watching", env=strict)
        watching.wait_for("My Web", timeout=PATIENCE)
        web.terminate()
        watching.wait_for("removed", timeout=PATIENCE)
        assert "(goodbye)" in watching.output()
        assert watching.interrupt(timeout=PATIENCE) == 0


@real
@kernel
def test_real_services_on_an_interface_that_comes_back() -> None:
    with Lab() as lab:
        lan = two_networks(lab)
        offer(lan.b, "10.9.1.2", "Printer", "_ipp._tcp", "631")
        link = lan.a.links[0]
        watching = start_bcast(lan.a, "watch", "--protocol", "mdns", until="watching")
        watching.wait_for("added", timeout=PATIENCE)
        link.down()
        watching.wait_for("removed", timeout=PATIENCE)
        assert "(path)" in watching.output()
        link.up()
        eventually(lambda: watching.output().count("added") == 2 or None, PATIENCE)
        assert watching.interrupt(timeout=PATIENCE) == 0
