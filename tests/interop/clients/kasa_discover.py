"""``SECONDS [tapo]``: what python-kasa finds, one JSON object a line.

A device answers on two ports, and python-kasa takes the first reply of an address; with `tapo`
it doesn't ask on the older port.
"""

from __future__ import annotations

import asyncio
import json
import sys

from kasa import Discover


async def main() -> None:
    """Discovers, and builds a device of each reply; devices it can't build are told too."""
    raw = {}
    found = await Discover.discover(
        discovery_timeout=int(sys.argv[1]),
        port=1 if "tapo" in sys.argv else None,
        on_discovered_raw=lambda reply: raw.update({reply["meta"]["ip"]: reply}),
    )
    for address, device in found.items():
        reply = raw[address]["discovery_response"]
        whole = reply.get("system", {}).get("get_sysinfo") or reply["result"]
        said = {
            "id": whole.get("deviceId") or whole["device_id"],
            "name": device.alias,
            "model": whole.get("model") or whole["device_model"],
            "built": device.model,
            "address": address,
            "asked": raw[address]["meta"]["port"],
        }
        print(json.dumps(said))
        await device.disconnect()


asyncio.run(main())
