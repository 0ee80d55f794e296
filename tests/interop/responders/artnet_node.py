"""``ADDRESS MAC``: python_artnet answers ArtPoll as a node of that address."""

from __future__ import annotations

import sys
import time

from python_artnet.python_artnet import Artnet

address, hardware_address = sys.argv[1:]
Artnet(SYSIP=address, MAC=hardware_address.split(":"), SHORTNAME="Dimmer", LONGNAME="A dimmer")
time.sleep(0.2)  # it opens its socket in a thread of its own
print("ready", flush=True)
while True:
    time.sleep(60)
