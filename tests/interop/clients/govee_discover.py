"""``SECONDS``: what govee-local-api finds, one JSON object a line."""

from __future__ import annotations

import asyncio
import json
import sys

from govee_local_api import GoveeController, GoveeDevice


def _tell(device: GoveeDevice, _: bool) -> bool:
    said = {"id": device.fingerprint, "model": device.sku, "address": device.ip}
    print(json.dumps(said), flush=True)
    return True


async def main() -> None:
    """Scans once, as Home Assistant's Govee integration does."""
    controller = GoveeController(
        discovery_enabled=True, update_enabled=False, discovered_callback=_tell
    )
    await controller.start()
    await asyncio.sleep(float(sys.argv[1]))
    await controller.cleanup().wait()


asyncio.run(main())
