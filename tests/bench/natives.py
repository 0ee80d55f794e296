"""The two sides of a native search, as programs of `bench.discovery`.

``natives.py announce PEERS HOLDER PLACES NUMBER``: announces that many peers in each namespace
(see `bench.lan`), all in one event loop, and says "announced" when they have said so for the last
time. ``natives.py announce-one INTERFACE`` is one `bcast.Announcer` instead.

``natives.py search INTERFACE EXPECTED OPENING STALL SECONDS TELLS``: says "ready", searches when
it gets SIGUSR1, prints a "result" as JSON when ``EXPECTED`` peers were found or ``SECONDS`` have
passed, and 0.15 s more; and so on until it is killed. It asks for the receive buffer that every
process is granted by default, and its event loop stalls for ``STALL`` milliseconds once the first
probe has left. Where ``TELLS`` is "yes" it says "left" then.
"""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
import time
from collections.abc import Iterable
from random import Random
from typing import Any

import bcast
from bcast.attachments import Attachments
from bcast.driver import Driver
from bcast.machine import Outgoing
from tests.bench.crowd import Crowd
from tests.bench.namespaces import allow_files, enter, open_places

__all__ = ["TYPE", "announce", "announce_one", "search"]

#: The reference service: a name of 16 and a type of 13 bytes, and 6 attributes.
TYPE = "_lamp._dev-v1"
_ATTRIBUTES = {
    "fw": "1.4.2",
    "serial": "0017C9A2-0042-7F31-AB",
    "model": "L-200",
    "room": "kitchen",
    "hw": "3",
    "on": "1",
}
#: What any Linux process is granted where nobody has changed net.core.rmem_max.
_BUFFER = 212_992
#: The last announcement is sent three seconds after the first.
_ANNOUNCING = 3.3
#: Answers that are on their way when the last peer is found belong to the search.
_AFTER = 0.15


def announce(peers: int, places: Iterable[int], number: int) -> None:
    """Announces ``peers`` peers in each namespace; for ever."""
    crowd = Crowd(Random())
    for position, place in enumerate(places):
        enter(place)
        for peer in range(peers):
            name = f"lamp{number}-{position:05}-{peer:04}"
            crowd.add(bcast.Service(name, TYPE, 80, _ATTRIBUTES))
    # A host has no other peers' garbage to collect.
    gc.collect()
    gc.freeze()
    end = time.monotonic() + _ANNOUNCING
    crowd.run(until=lambda: time.monotonic() >= end)
    print("announced", flush=True)
    crowd.run()


async def search(
    interface: str, expected: int, opening: str, stall: float, seconds: float, tells: bool
) -> None:
    """Searches whenever SIGUSR1 says so."""
    if sys.platform == "win32":
        raise NotImplementedError
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, asked.set)
    departure = _Departure()
    print("started", flush=True)
    while True:
        gc.collect()
        print("ready", flush=True)
        await asked.wait()
        asked.clear()
        departure.time = None
        times: list[float] = []
        async with bcast.Browser(TYPE, interfaces=interface, opening=opening) as browser:
            assert departure.time is not None
            began = departure.time
            if stall:
                time.sleep(stall)
            elif tells:
                print("left", flush=True)
            while len(times) < expected:
                left = began + seconds - time.monotonic()
                event = await browser.next_event_async(left)
                if event is None:
                    break
                if isinstance(event, bcast.Added):
                    times.append(time.monotonic() - began)
            await asyncio.sleep(_AFTER)
            counted = browser.statistics
            told = {"times": times, "probes": counted.probes, "drops": counted.drops}
        print("result", json.dumps(told), flush=True)


async def announce_one(interface: str) -> None:
    """One `bcast.Announcer`; for ever."""
    print("started", flush=True)
    service = bcast.Service("lamp-loopback-01", TYPE, 80, _ATTRIBUTES)
    async with bcast.Announcer(service, interfaces=interface, interval=3600.0):
        await asyncio.sleep(_ANNOUNCING)
        print("announced", flush=True)
        await asyncio.Event().wait()


class _Departure:
    """Notes when the first datagram is about to be sent."""

    def __init__(self) -> None:
        self.time: float | None = None
        send = Attachments.send

        def note(attachments: Attachments, datagrams: Iterable[Outgoing]) -> None:
            if self.time is None and datagrams:
                self.time = time.monotonic()
            send(attachments, datagrams)

        setattr(Attachments, "send", note)  # noqa: B010


def _announce(peers: str, holder: str, places: str, number: str) -> None:
    allow_files()
    opened = open_places(int(holder), [int(place) for place in places.split(",")])
    announce(int(peers), opened, int(number))


def _search(
    interface: str, expected: str, opening: str, stall: str, seconds: str, tells: str
) -> None:
    defaults: dict[str, Any] = getattr(Driver.__init__, "__kwdefaults__")  # noqa: B009
    defaults["buffer"] = min(defaults["buffer"], _BUFFER)
    waiting = float(stall) / 1000, float(seconds)
    asyncio.run(search(interface, int(expected), opening, *waiting, tells == "yes"))


if __name__ == "__main__":
    if sys.argv[1] == "announce":
        _announce(*sys.argv[2:])
    elif sys.argv[1] == "announce-one":
        asyncio.run(announce_one(sys.argv[2]))
    else:
        _search(*sys.argv[2:])
