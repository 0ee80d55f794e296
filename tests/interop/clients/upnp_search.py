"""``SECONDS``: what async-upnp-client's search finds, one JSON object a line."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

from async_upnp_client.search import async_search


async def main() -> None:
    """Searches for ssdp:all, as Home Assistant's SSDP integration does."""

    async def heard(headers: Mapping[str, Any]) -> None:
        device = {
            "id": headers["_udn"].removeprefix("uuid:"),
            "address": headers["_host"],
            "target": headers["st"],
            "location": headers["location"],
        }
        print(json.dumps(device), flush=True)

    await async_search(async_callback=heard, timeout=int(sys.argv[1]))


asyncio.run(main())
