"""``SECONDS``: what xknx's gateway scanner finds, one JSON object a line."""

from __future__ import annotations

import asyncio
import json
import sys

from xknx import XKNX
from xknx.io import GatewayScanner


async def main() -> None:
    """Scans as Home Assistant's KNX integration does, by both kinds of search request."""
    scanner = GatewayScanner(XKNX(), timeout_in_seconds=float(sys.argv[1]))
    for gateway in await scanner.scan():
        device = {
            "id": gateway.mac_address.lower(),
            "name": gateway.name,
            "address": gateway.ip_addr,
            "port": gateway.port,
            "individual_address": str(gateway.individual_address),
        }
        print(json.dumps(device))


asyncio.run(main())
