"""The protocol by which native peers find one another, as machines without I/O.

No clock, socket or randomness of its own may enter: time, bytes and a generator are arguments
(see `bcast.machine`). Only the values and the encodings (layers 1 and 2) may be imported from
outside this folder. Layer 3.
"""

from __future__ import annotations

__all__: list[str] = []
