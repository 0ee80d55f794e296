"""``SECONDS``: what WSDiscovery finds, one JSON object a line."""

from __future__ import annotations

import json
import sys

from wsdiscovery.discovery import ThreadedWSDiscovery

searcher = ThreadedWSDiscovery()
searcher.start()
for service in searcher.searchServices(timeout=int(sys.argv[1])):
    device = {
        "id": service.getEPR().removeprefix("urn:uuid:"),
        "types": [each.getLocalname() for each in service.getTypes()],
        "scopes": [str(each) for each in service.getScopes()],
        "xaddrs": service.getXAddrs(),
    }
    print(json.dumps(device))
searcher.stop()
