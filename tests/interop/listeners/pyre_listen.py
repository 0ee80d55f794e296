"""Who pyre has for a peer, and no longer: ``here ID`` and ``gone ID``, until it is ended."""

from __future__ import annotations

import time
from uuid import UUID

from pyre import Pyre

node = Pyre("listener")
node.start()
print("ready", flush=True)
known: set[UUID] = set()
while True:
    peers = set(node.peers())
    for peer in peers - known:
        print("here", peer, flush=True)
    for peer in known - peers:
        print("gone", peer, flush=True)
    known = peers
    time.sleep(0.05)
