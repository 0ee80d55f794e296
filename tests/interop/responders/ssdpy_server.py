"""``ID ADDRESS``: ssdpy answers M-SEARCH as a device of that UUID."""

from __future__ import annotations

import sys

from ssdpy import SSDPServer

identity, address = sys.argv[1:]
server = SSDPServer(
    f"uuid:{identity}::upnp:rootdevice",
    device_type="upnp:rootdevice",
    location=f"http://{address}:8000/device.xml",
    max_age=1800,
)
print("ready", flush=True)
server.serve_forever()
