"""``SECONDS``: the lamps that aiolifx finds and talks to, one JSON object a line."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from aiolifx import LifxDiscovery


class Lamps:
    """Asks each lamp that registers for its label and version."""

    def register(self, lamp: Any) -> None:
        """Called when a lamp answered, once."""
        lamp.get_label(lambda lamp, _: lamp.get_version(self.told))

    def unregister(self, lamp: Any) -> None:
        """Called when a lamp is gone."""

    def told(self, lamp: Any, answer: Any) -> None:
        """Called with the version, or with None if none came."""
        if answer is not None:
            device = {
                "id": lamp.mac_addr,
                "name": lamp.label,
                "address": lamp.ip_addr,
                "port": lamp.port,
                "product": answer.product,
            }
            print(json.dumps(device), flush=True)


async def main() -> None:
    """Listens for the given time."""
    discovery = LifxDiscovery(asyncio.get_running_loop(), Lamps())
    discovery.start()
    await asyncio.sleep(float(sys.argv[1]))
    discovery.cleanup()


asyncio.run(main())
