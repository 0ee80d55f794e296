"""The two sides of a search by python-zeroconf, as programs of `bench.discovery`.

The arguments and what they say are as in `bench.natives`: ``multicast_dns.py announce HOLDER
PLACES NUMBER`` has one responder in each namespace, ``multicast_dns.py search ADDRESS EXPECTED
SECONDS`` counts from when its browser is made, which is when a program has decided to search.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import Any

from tests.bench.namespaces import allow_files, enter, open_places

__all__ = ["announce", "search"]

_TYPE = "_lamp._udp.local."
# Registering takes three probes a quarter of a second apart, and two announcements.
_ANNOUNCING = 3.0


async def announce(places: Iterable[int], number: int) -> None:
    """Registers one service in each namespace; for ever."""
    zeroconf, asynchronous = _load()
    made: list[tuple[Any, Any]] = []
    for position, place in enumerate(places):
        enter(place)
        address = _address()
        one = asynchronous.AsyncZeroconf(
            interfaces=[address], ip_version=zeroconf.IPVersion.V4Only
        )
        name = f"lamp{number}-{position:05}.{_TYPE}"
        info = zeroconf.ServiceInfo(
            *(_TYPE, name),
            port=80,
            addresses=[socket.inet_aton(address)],
            server=f"lamp{number}-{position:05}.local.",
            properties={"fw": "1.4.2", "serial": "0017C9A2", "model": "L-200"},
        )
        made.append((one, info))
    done = await asyncio.gather(*(one.async_register_service(info) for one, info in made))
    await asyncio.gather(*done)
    gc.collect()
    gc.freeze()
    await asyncio.sleep(_ANNOUNCING)
    print("announced", flush=True)
    await asyncio.Event().wait()


async def search(address: str, expected: int, seconds: float) -> None:
    """Searches whenever SIGUSR1 says so."""
    if sys.platform == "win32":
        raise NotImplementedError
    zeroconf, asynchronous = _load()
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, asked.set)
    print("started", flush=True)
    while True:
        gc.collect()
        print("ready", flush=True)
        await asked.wait()
        asked.clear()
        one = asynchronous.AsyncZeroconf(
            interfaces=[address], ip_version=zeroconf.IPVersion.V4Only
        )
        await one.zeroconf.async_wait_for_start()
        times: list[float] = []
        found = asyncio.Event()
        began = time.monotonic()

        def changed(
            zeroconf: Any,
            service_type: str,
            name: str,
            state_change: Any,
            times: list[float] = times,
            found: asyncio.Event = found,
            began: float = began,
        ) -> None:
            if state_change.name == "Added":
                times.append(time.monotonic() - began)
                if len(times) >= expected:
                    found.set()

        browser = asynchronous.AsyncServiceBrowser(one.zeroconf, _TYPE, handlers=[changed])
        try:
            await asyncio.wait_for(found.wait(), seconds)
        except TimeoutError:
            pass
        print("result", json.dumps({"times": times, "probes": 0, "drops": 0}), flush=True)
        await browser.async_cancel()
        await one.async_close()


def _load() -> tuple[Any, Any]:
    return importlib.import_module("zeroconf"), importlib.import_module("zeroconf.asyncio")


def _address() -> str:
    """The address of eth0 in the namespace that this thread is in."""
    told = subprocess.run(
        ["ip", "-j", "-4", "addr", "show", "eth0"], capture_output=True, text=True, check=True
    )
    address: str = json.loads(told.stdout)[0]["addr_info"][0]["local"]
    return address


def main() -> None:
    """Runs one of the two."""
    allow_files()
    if sys.argv[1] == "announce":
        holder, places, number = sys.argv[2:]
        opened = open_places(int(holder), [int(place) for place in places.split(",")])
        asyncio.run(announce(opened, int(number)))
    else:
        address, expected, seconds = sys.argv[2:]
        asyncio.run(search(address, int(expected), float(seconds)))


if __name__ == "__main__":
    main()
