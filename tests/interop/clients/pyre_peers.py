"""``SECONDS``: the peers that pyre hears, one JSON object a line."""

from __future__ import annotations

import json
import sys
import time

from pyre import Pyre

node = Pyre("searcher")
node.start()
time.sleep(float(sys.argv[1]))
for peer in node.peers():
    _, address, port = node.peer_address(peer).replace("//", "").split(":")
    print(json.dumps({"id": str(peer), "address": address, "port": int(port)}))
node.stop()
