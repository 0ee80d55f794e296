"""``SECONDS``: what ssdpy finds, one JSON object a line."""

from __future__ import annotations

import json
import sys

from ssdpy import SSDPClient

for headers in SSDPClient(timeout=int(sys.argv[1])).m_search(mx=1):
    name = headers["usn"].partition("::")[0].removeprefix("uuid:")
    device = {
        "id": name,
        "target": headers.get("st") or headers["nt"],
        "location": headers["location"],
    }
    print(json.dumps(device))
