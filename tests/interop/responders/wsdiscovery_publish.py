"""``ID ADDRESS``: WSDiscovery answers probes as a camera of that UUID."""

from __future__ import annotations

import sys
import time

from wsdiscovery import QName, Scope
from wsdiscovery.publishing import ThreadedWSPublishing

identity, address = sys.argv[1:]
publisher = ThreadedWSPublishing()
publisher.uuid = f"urn:uuid:{identity}"
publisher.start()
publisher.publishService(
    [QName("http://www.onvif.org/ver10/network/wsdl", "NetworkVideoTransmitter")],
    [Scope("onvif://www.onvif.org/name/Camera")],
    [f"http://{address}/onvif/device_service"],
)
print("ready", flush=True)
while True:
    time.sleep(60)
