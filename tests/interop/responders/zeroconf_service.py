"""``NAME TYPE ADDRESS PORT``: zeroconf registers a service."""

from __future__ import annotations

import sys
import time
from ipaddress import ip_address

from zeroconf import ServiceInfo, Zeroconf

name, kind, address, port = sys.argv[1:]
with Zeroconf() as zeroconf:
    zeroconf.register_service(
        ServiceInfo(
            kind,
            f"{name}.{kind}",
            int(port),
            addresses=[ip_address(address).packed],
            properties={"fw": "1.4"},
            server="zeroconf-device.local.",
        )
    )
    print("ready", flush=True)
    while True:
        time.sleep(60)
