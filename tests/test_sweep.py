"""One search by several protocols, from the library, over the loopback interface."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

import bcast
from bcast.accessory.catalogue import load_named, names
from bcast.device import Added, Cause, Device, Removed
from bcast.errors import ArgumentError
from bcast.impersonator import Impersonator
from tests.command import PATIENCE, free_port
from tests.fakes import Fake, form
from tests.loopback import nothing_leaks

if sys.platform != "linux":
    pytest.skip("the loopback interface is used as Linux has it", allow_module_level=True)


def protocol(name: str, id: str, mac: str = "") -> Fake:
    """One that asks from a port of its own, and hears announcements."""
    return Fake(
        form("probe", "ask", "_token", sources={"_token": "random"}, repeat=(3, 0.2)),
        form(
            "reply",
            "tell",
            "_token id name" + (" mac" if mac else ""),
            sources={"_token": "probe._token"},
            answers=("ask",),
        ),
        form("announcement", "here", "id name", every=1.0),
        form("goodbye", "gone", "id"),
        protocol=name,
        port=free_port(),
        id=id,
        name=f"a {name}",
        mac=mac,
    )


@pytest.fixture(autouse=True)
def leaks() -> Iterator[None]:
    with nothing_leaks():
        yield


def search(*protocols: Fake | str, **more: object) -> tuple[Device, ...]:
    return bcast.discover(protocols=protocols, interfaces="lo", **more)  # type: ignore[arg-type, unused-ignore]


def test_one_device_that_speaks_two_protocols() -> None:
    mac = "02:00:00:00:00:07"
    one, other = protocol("one", id=mac), protocol("two", "b", mac)
    with Impersonator(one, interfaces="lo"), Impersonator(other, interfaces="lo"):
        [device] = search(one, other, timeout=0.5)
        assert device.protocols in (("one", "two"), ("two", "one"))
        assert len(device.sightings) == 2
        apart = search(one, other, timeout=PATIENCE, expect=2, merge=False)
        assert {(d.protocols, d.name) for d in apart} == {
            (("one",), "a one"),
            (("two",), "a two"),
        }


def test_natives_are_in_the_same_list() -> None:
    lamp = bcast.Service("lamp-1", "_lamp", 80)
    plug = protocol("plug", id="a")
    realm = f"test-{free_port()}"
    with (
        bcast.Announcer(lamp, interfaces="lo", realm=realm),
        Impersonator(plug, interfaces="lo", count=2),
    ):
        found = search(plug, "bcast", timeout=PATIENCE, expect=3, realm=realm)
        assert sorted(d.protocols[0] for d in found) == ["bcast", "plug", "plug"]
        # Without being asked for, nothing but native peers is looked for.
        [native] = bcast.discover(interfaces="lo", realm=realm, expect=1, timeout=PATIENCE)
        assert native.protocols == ("bcast",)


def test_a_hundred_accessories_of_several_protocols_answer_without_a_miss() -> None:
    protocols = [protocol(f"p{number}", id="02:00:00:00:00:00") for number in range(5)]
    with ExitStack() as opened:
        for one in protocols:
            opened.enter_context(Impersonator(one, interfaces="lo", count=20))
        found = search(*protocols, timeout=PATIENCE, expect=100, merge=False)
        assert len(found) == 100
        assert {name for d in found for name in d.protocols} == {p.name for p in protocols}


@pytest.mark.once  # on the catalogue's own ports, which runs side by side would share
def test_a_hundred_accessories_of_the_catalogue_answer_without_a_miss() -> None:
    with ExitStack() as opened:
        expected: Counter[str] = Counter()
        for name in names():
            description = load_named(name)
            if not description.needs:
                # Without an id of its own there is one device at an address.
                count = 8 if description.identified else 1
                played = Impersonator(description, interfaces="lo", count=count)
                opened.enter_context(played)
                expected[name] = count
        found = search("all", timeout=PATIENCE, expect=expected.total(), merge=False)
        assert Counter(name for d in found for name in d.protocols) == expected


def test_presence() -> None:
    radio = protocol("radio", id="a")
    with bcast.Browser(protocols=radio, interfaces="lo") as browser:
        with Impersonator(radio, interfaces="lo"):
            event = browser.next_event(PATIENCE)
            assert isinstance(event, Added)
            assert [d.name for d in browser.devices] == ["a radio"]
        event = browser.next_event(PATIENCE)
        assert isinstance(event, Removed)
        assert event.cause is Cause.GOODBYE
        assert browser.statistics.probes >= 1


def test_with_asyncio() -> None:
    radio = protocol("radio", id="a")

    async def run() -> None:
        async with (
            Impersonator(radio, interfaces="lo") as playing,
            bcast.Browser(protocols=radio, interfaces="lo") as browser,
        ):
            event = await anext(aiter(browser))
            assert isinstance(event, Added)
            assert [values["name"] for values in playing.values] == ["a radio"]
            found = await bcast.discover_async(
                protocols=radio, interfaces="lo", timeout=PATIENCE, expect=1
            )
            assert found[0].name == "a radio"

    asyncio.run(run())


def test_what_can_not_be_searched_by() -> None:
    radio = protocol("radio", id="a")
    with pytest.raises(ArgumentError, match="have types"):
        bcast.discover("_lamp", protocols=radio)
    with pytest.raises(ArgumentError, match="no protocol is named"):
        bcast.discover(protocols=[])
    with pytest.raises(ArgumentError, match="1001 accessories"):
        Impersonator(radio, count=1001)
    with pytest.raises(ArgumentError, match=r"no value called 'nmae'.*did you mean 'name'"):
        Impersonator(radio, values={"nmae": "x"})
