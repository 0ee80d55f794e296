"""``SECONDS``: what tinytuya finds, one JSON object a line."""

from __future__ import annotations

import json
import sys

import tinytuya

found = tinytuya.deviceScan(maxretry=int(sys.argv[1]), color=False, poll=False)
for address, said in found.items():
    device = {
        "id": said["gwId"],
        "product": said["productKey"],
        "version": said["version"],
        "address": address,
    }
    print(json.dumps(device))
