"""Browsers and one-shot searches: over the loopback interface, with announcers that are real."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

import bcast
from bcast.announcer import Announcer
from bcast.browser import Browser, discover, discover_async
from bcast.datagram import Interface
from bcast.destinations import DEFAULT_GROUPS
from bcast.device import Added, Cause, Changed, Device, Removed
from bcast.errors import ArgumentError, InterfaceError
from bcast.messages import Service
from bcast.wire.keys import Keyring
from tests.command import PATIENCE, free_port
from tests.loopback import loopback, nothing_leaks

if sys.platform != "linux":
    pytest.skip("the loopback interface is used as Linux has it", allow_module_level=True)

EventT = TypeVar("EventT")
LAMP = Service("lamp-1", "_lamp", 80, {"fw": "1.4"})
PLUG = Service("plug-1", "_plug", 8080)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    with nothing_leaks():
        yield
    assert not [thread for thread in threading.enumerate() if thread.name == "bcast"]


def host(number: int) -> Callable[[], tuple[Interface, ...]]:
    """The interfaces of a host that is 127.0.0.N."""
    return lambda: (loopback(f"127.0.0.{number}"),)


def announcer(port: int, number: int, *services: Service, **options: object) -> Announcer:
    settings = {"interfaces": "lo", "port": port, "list_interfaces": host(number), **options}
    return Announcer(services or (LAMP,), **settings)  # type: ignore[arg-type, unused-ignore]


def browser(port: int, *types: str, **options: object) -> Browser:
    settings = {"interfaces": "lo", "port": port, "list_interfaces": host(99), **options}
    return Browser(types, **settings)  # type: ignore[arg-type, unused-ignore]


# -- the one-shot search --------------------------------------------------------------------------


def test_what_is_there_is_found(port: int) -> None:
    with announcer(port, 1), announcer(port, 2, PLUG):
        found = discover(interfaces="lo", port=port, timeout=PATIENCE, expect=2)
    lamp, plug = sorted(found, key=lambda device: device.name)
    assert (lamp.name, lamp.type, lamp.port) == ("lamp-1", "_lamp", 80)
    assert lamp.attributes == {"fw": "1.4"}
    [sighting] = lamp.sightings
    assert (sighting.interface, str(sighting.address)) == ("lo", "127.0.0.1")
    assert sighting.latency is not None
    assert 0 < sighting.latency < PATIENCE
    assert abs(sighting.last_heard_ns / 1e9 - time.time()) < 60
    [sighting] = plug.sightings
    assert str(sighting.address) == "127.0.0.2"
    assert lamp.id != plug.id


def test_a_type_is_searched_for(port: int) -> None:
    with announcer(port, 1), announcer(port, 2, PLUG):
        options = {"interfaces": "lo", "port": port, "until_quiet": True}
        assert names(discover("_plug", **options)) == ["plug-1"]  # type: ignore[arg-type, unused-ignore]
        assert names(discover("_plug", "_lamp", **options)) == ["lamp-1", "plug-1"]  # type: ignore[arg-type, unused-ignore]
        assert discover("_oven", **options) == ()  # type: ignore[arg-type, unused-ignore]


def names(devices: tuple[Device, ...]) -> list[str]:
    return sorted(device.name for device in devices)


def test_a_search_ends_in_time(port: int) -> None:
    start = time.monotonic()
    assert discover(interfaces="lo", port=port, timeout=0.2, expect=1) == ()
    assert 0.2 <= time.monotonic() - start < PATIENCE
    start = time.monotonic()
    assert discover(interfaces="lo", port=port, timeout=PATIENCE, until_quiet=True) == ()
    assert time.monotonic() - start < PATIENCE / 2


def test_a_search_in_a_loop(port: int) -> None:
    async def main() -> None:
        async with announcer(port, 1), announcer(port, 2, PLUG):
            found = await discover_async(interfaces="lo", port=port, timeout=PATIENCE, expect=2)
            assert names(found) == ["lamp-1", "plug-1"]
            # Two at once, and one that is given up.
            searches = [
                asyncio.create_task(
                    discover_async("_lamp", interfaces="lo", port=port, until_quiet=True)
                )
                for _ in range(3)
            ]
            await asyncio.sleep(0)
            searches[0].cancel()
            assert [names(one) for one in await asyncio.gather(*searches[1:])] == [["lamp-1"]] * 2
            with pytest.raises(asyncio.CancelledError):
                await searches[0]
            assert await discover_async("_x", interfaces="lo", port=port, timeout=0.05) == ()

    asyncio.run(main(), debug=True)


def test_a_blocking_search_beside_a_loop(port: int) -> None:
    async def main() -> None:
        async with announcer(port, 1):
            found = await asyncio.to_thread(
                discover, interfaces="lo", port=port, timeout=PATIENCE, expect=1
            )
            assert names(found) == ["lamp-1"]

    asyncio.run(main())


def test_a_blocking_search_in_the_loops_own_thread(port: int) -> None:
    async def main() -> None:
        with announcer(port, 1):
            assert names(discover(interfaces="lo", port=port, timeout=PATIENCE, expect=1)) == [
                "lamp-1"
            ]

    asyncio.run(main())


def test_realms_and_keys_keep_apart(port: int) -> None:
    ours, theirs = Keyring({1: b"k" * 16}, 1), Keyring({1: b"x" * 16}, 1)
    with announcer(port, 1, realm="blue"), announcer(port, 2, PLUG, keyring=ours):

        def search(**options: object) -> list[str]:
            settings = {"interfaces": "lo", "port": port, "until_quiet": True, **options}
            return names(discover(**settings))  # type: ignore[arg-type, unused-ignore]

        assert search(realm="blue") == ["lamp-1"]
        assert search(realm="green") == []
        assert search(keyring=ours) == ["plug-1"]
        assert search(keyring=theirs) == []
        assert search() == []


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": -1.0},
        {"timeout": float("nan")},
        {"expect": 0},
        {"port": 0},
        {"groups": ["10.0.0.1"]},
        {"groups": [], "broadcast": False},
        {"opening": "sesame"},
        {"family": 5},
        {"family": 6, "groups": DEFAULT_GROUPS[:1]},
    ],
    ids=str,
)
def test_arguments_that_can_not_be(options: dict[str, object]) -> None:
    settings = {"interfaces": "lo", "timeout": 0.0, **options}
    with pytest.raises(ArgumentError):
        discover(**settings)  # type: ignore[arg-type, unused-ignore]
    with pytest.raises(ArgumentError):
        asyncio.run(discover_async(**settings))  # type: ignore[arg-type, unused-ignore]
    with pytest.raises(ArgumentError):
        discover("Not a type", interfaces="lo", timeout=0.0)
    with pytest.raises(InterfaceError):
        discover(interfaces="nosuch0", timeout=0.0)


# -- the browser ----------------------------------------------------------------------------------


def test_what_comes_and_goes(port: int) -> None:
    with browser(port) as browsing:
        with announcer(port, 1) as lamp:
            added = browsing.next_event(PATIENCE)
            assert isinstance(added, Added)
            assert added.device.name == "lamp-1"
            assert added.device.id == lamp.id
            assert names(browsing.devices) == ["lamp-1"]
            lamp.update(Service("lamp-1", "_lamp", 80, {"fw": "1.5"}))
            changed = until(browsing, Changed)
            assert changed.changed == ("attributes",)
            assert changed.device.attributes == {"fw": "1.5"}
        removed = until(browsing, Removed)
        assert (removed.device.id, removed.cause) == (lamp.id, Cause.GOODBYE)
        assert browsing.devices == ()
    assert browsing.statistics.found == 0
    assert browsing.statistics.replies >= 1
    assert browsing.traffic.received >= browsing.statistics.replies


def until(browsing: Browser, kind: type[EventT]) -> EventT:
    """The next event of a kind."""
    end = time.monotonic() + PATIENCE
    while (event := browsing.next_event(end - time.monotonic())) is not None:
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind.__name__}")


def test_several_browsers_see_the_same(port: int) -> None:
    async def main() -> None:
        async with (
            browser(port) as one,
            browser(port, "_lamp") as other,
            browser(port, "_x") as no,
        ):
            async with announcer(port, 1) as lamp:
                for browsing in (one, other):
                    async for event in browsing:
                        assert isinstance(event, Added)
                        assert event.device.id == lamp.id
                        break
            for browsing in (one, other):
                assert isinstance(await browsing.next_event_async(PATIENCE), Removed)
            assert await no.next_event_async(0.05) is None

    asyncio.run(main())


def test_a_browser_that_only_searches_becomes_quiet(port: int) -> None:
    with announcer(port, 1), browser(port, watch=False) as browsing:
        end = time.monotonic() + PATIENCE
        while not browsing.quiet and time.monotonic() < end:
            time.sleep(0.005)
        assert names(browsing.devices) == ["lamp-1"]


def test_public_names() -> None:
    assert bcast.Browser is Browser
    assert bcast.discover is discover
    assert bcast.discover_async is discover_async
    assert bcast.Announcer is Announcer
