"""Who WSDiscovery hears come and go: ``here ID`` and ``gone ID``, until it is ended."""

from __future__ import annotations

import time

from wsdiscovery.discovery import ThreadedWSDiscovery

_URN = "urn:uuid:"

listener = ThreadedWSDiscovery()
listener.setRemoteServiceHelloCallback(
    lambda service: print("here", service.getEPR().removeprefix(_URN), flush=True)
)
listener.setRemoteServiceByeCallback(
    lambda name: print("gone", name.removeprefix(_URN), flush=True)
)
listener.start()
time.sleep(0.2)  # it joins the group in a thread of its own
print("ready", flush=True)
while True:
    time.sleep(60)
