"""What other people's accessories speak, as data: from a description to datagrams and back.

Layer 2: pure. A description is a TOML file whose messages are example datagrams with named holes;
one text serves both directions, so what can be decoded can be encoded. No clock, no randomness,
no socket; nothing in a description is code. It may import the values of layer 1, and nobody pays
for it before a description is needed.
"""

from __future__ import annotations

__all__: list[str] = []
