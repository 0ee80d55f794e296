"""Finding accessories that speak protocols of their own, and standing in for them, without I/O.

What they say is data (`bcast.accessory`); what is done about it, when and to whom, is here, as
are rows in which one device shows that is heard by several protocols. No clock, socket or
randomness of its own may enter. Only the values and the encodings (layers 1 and 2), and what
`bcast.discovery` knows of links and floods, may be imported from outside this folder. Layer 3.
"""

from __future__ import annotations

__all__: list[str] = []
