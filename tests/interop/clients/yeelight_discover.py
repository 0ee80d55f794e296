"""``SECONDS``: what yeelight finds, one JSON object a line."""

from __future__ import annotations

import json
import sys

from yeelight import discover_bulbs

for lamp in discover_bulbs(timeout=float(sys.argv[1])):
    told = lamp["capabilities"]
    device = {
        "id": told["id"],
        "name": told.get("name"),
        "model": told["model"],
        "address": lamp["ip"],
        "port": lamp["port"],
    }
    print(json.dumps(device))
