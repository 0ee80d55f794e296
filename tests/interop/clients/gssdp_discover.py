"""``SECONDS``: what GSSDP's gssdp-discover finds, one JSON object a line."""

from __future__ import annotations

import json
import re
import subprocess
import sys

_RESOURCE = re.compile(
    r"resource available\s+USN:\s+uuid:([^\s:]+)(?:::(\S+))?\s+Location:\s+(\S+)"
)

output = subprocess.run(
    ["gssdp-discover", "--interface", "eth0", "--timeout", sys.argv[1]],
    stdout=subprocess.PIPE,
    text=True,
    check=True,
).stdout
for name, target, location in _RESOURCE.findall(output):
    print(json.dumps({"id": name, "target": target or f"uuid:{name}", "location": location}))
