"""The two sides of a sweep, as programs of `bench.sweep`.

``sweeping.py impersonate COUNT``: stands in for that many accessories of all protocols, in one
process, and says "impersonating".

``sweeping.py search EXPECTED SECONDS MERGE``: searches once by all protocols, until it has found
``EXPECTED`` devices or that time has passed, and prints a "result": pairs, as JSON, of a protocol
and the seconds from the start of the search to a device of it. When that begins all is imported,
but no description is loaded: that belongs to the search, as in any program. Where ``MERGE`` is
"no" accessories that share an address are told apart.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack

from bcast.accessory.catalogue import load_named, names
from bcast.browser import Browser
from bcast.device import Added
from bcast.impersonator import Impersonator
from bcast.sweep import ALL

__all__ = ["impersonate", "search"]


def impersonate(count: int) -> None:
    """Stands in for ``count`` accessories; for ever."""
    usable = [one for one in map(load_named, names()) if not one.needs]
    many = [one for one in usable if one.identified]
    # Without an id of its own there is one device at an address.
    single = len(usable) - len(many)
    share, more = divmod(count - single, len(many))
    with ExitStack() as opened:
        for description in usable:
            number = 1
            if description.identified:
                number = share + (many.index(description) < more)
            opened.enter_context(Impersonator(description, count=number))
        print("impersonating", flush=True)
        while True:
            time.sleep(3600)


def search(expected: int, seconds: float, *, merge: bool) -> None:
    """Searches once, and prints what it found when."""
    found: list[tuple[str, float]] = []
    began = time.monotonic()
    with Browser(protocols=ALL, merge=merge, timeout=seconds) as browser:
        for event in browser:
            if isinstance(event, Added):
                found.append((event.device.protocols[0], time.monotonic() - began))
            if len(found) >= expected:
                break
    print("result", json.dumps(found), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "impersonate":
        impersonate(int(sys.argv[2]))
    else:
        search(int(sys.argv[2]), float(sys.argv[3]), merge=sys.argv[4] != "no")
