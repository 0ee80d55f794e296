"""``SECONDS``: what flux_led finds, one JSON object a line."""

from __future__ import annotations

import json
import sys

from flux_led import BulbScanner

for lamp in BulbScanner().scan(timeout=int(sys.argv[1])):
    device = {
        "id": lamp["id"],
        "model": lamp["model"],
        "version": lamp["version_num"],
        "remote_host": lamp["remote_access_host"],
        "address": lamp["ipaddr"],
    }
    print(json.dumps(device))
