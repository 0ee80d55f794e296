"""``SECONDS``: who answers libcoap's coap-client, one JSON object a line."""

from __future__ import annotations

import json
import subprocess
import sys

output = subprocess.run(
    ["coap-client-notls", "-N", "-B", sys.argv[1], "coap://224.0.1.187/.well-known/core"],
    stdout=subprocess.PIPE,
    text=True,
    check=True,
).stdout
print(json.dumps({"links": output.strip()}))
