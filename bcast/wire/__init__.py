"""The wire format of bcast's own protocol, as docs/protocol.md specifies it: bytes and messages.

Pure: no socket, clock or randomness of its own may enter, and nothing of the other folders.
Layer 2.
"""

from __future__ import annotations

from bcast.wire.decoding import Decoder, Reason, decode
from bcast.wire.encoding import encode, pack_services, parts_of, service_size
from bcast.wire.layout import (
    FULL_QUERY,
    MAGIC,
    MAX_DATAGRAM,
    MAX_PARTS,
    MAX_PROBE_TYPES,
    MAX_REPLY_RATIO,
    MIN_PROBE,
    TAG_SIZE,
    VERSION,
)

__all__ = [
    "FULL_QUERY",
    "MAGIC",
    "MAX_DATAGRAM",
    "MAX_PARTS",
    "MAX_PROBE_TYPES",
    "MAX_REPLY_RATIO",
    "MIN_PROBE",
    "TAG_SIZE",
    "VERSION",
    "Decoder",
    "Reason",
    "decode",
    "encode",
    "pack_services",
    "parts_of",
    "service_size",
]
