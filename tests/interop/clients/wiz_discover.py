"""``SECONDS``: what pywizlight finds, one JSON object a line."""

from __future__ import annotations

import asyncio
import json
import sys

from pywizlight.discovery import find_wizlights

for lamp in asyncio.run(find_wizlights(wait_time=float(sys.argv[1]))):
    print(json.dumps({"id": lamp.mac_address, "address": lamp.ip_address}))
