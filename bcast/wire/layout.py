"""The numbers of the wire format: where fields stand, what types are called, what is too much.

All integers are big endian. docs/protocol.md says the same in words, and a test compares them.
"""

from __future__ import annotations

from struct import Struct

__all__ = [
    "ANNOUNCE",
    "ANNOUNCE_FORMAT",
    "ANNOUNCE_SIZE",
    "BEAT",
    "BEAT_FORMAT",
    "BEAT_SIZE",
    "CRITICAL",
    "FILTER_BLOOM",
    "FLAG_MORE",
    "FULL_QUERY",
    "GOODBYE",
    "HEADER_FORMAT",
    "HEADER_SIZE",
    "MAGIC",
    "MAJOR_VERSION",
    "MAX_DATAGRAM",
    "MAX_FILTER",
    "MAX_FILTER_HASHES",
    "MAX_INTERVAL",
    "MAX_PARTS",
    "MAX_PROBE_TYPES",
    "MAX_REPLY_RATIO",
    "MIN_FILTER",
    "MIN_INTERVAL",
    "MIN_PROBE",
    "PROBE",
    "PROBE_FORMAT",
    "PROBE_SIZE",
    "QUERY",
    "QUERY_FORMAT",
    "QUERY_SIZE",
    "REPLY",
    "REPLY_FORMAT",
    "REPLY_SIZE",
    "TAG_HEAD",
    "TAG_SIZE",
    "TLV_FILTER",
    "TLV_PAD",
    "TLV_SERVICE",
    "TLV_TAG",
    "TLV_TYPES",
    "VERSION",
]

MAGIC = 0xBD50

#: The high nibble is the major version, which must be known; the low one says what is optional.
VERSION = 0x10
MAJOR_VERSION = VERSION >> 4

#: No datagram is larger, in bytes, so that none is ever fragmented: 1280, the least MTU of IPv6
#: (RFC 8200, section 5), less 48 for the headers of IPv6 and UDP, less what a tunnel may add.
MAX_DATAGRAM = 1_200

#: Message types.
PROBE, REPLY, ANNOUNCE, BEAT, GOODBYE, QUERY = 1, 2, 3, 4, 5, 6

FLAG_MORE = 0x01

#: Types of the fields that follow the fixed part. An unknown type with this bit is refused.
CRITICAL = 0x80
TLV_PAD, TLV_TYPES, TLV_FILTER, TLV_SERVICE, TLV_TAG = 0x00, 0x01, 0x03, 0x10, 0x7F

#: The tag is always the last field, in the short form: 2 bytes, then 16 of HMAC.
TAG_HEAD = bytes((TLV_TAG, 16))
TAG_SIZE = 18

#: Magic, version, type, flags, key id, realm, id, epoch, sequence.
HEADER_FORMAT = Struct(">HBBBBH16sII")
HEADER_SIZE = HEADER_FORMAT.size

#: The fixed part of each message, after the header, and where it ends.
PROBE_FORMAT = Struct(">QHHHHBBBx")
REPLY_FORMAT = Struct(">QIHBB")
ANNOUNCE_FORMAT = Struct(">IHBB")
BEAT_FORMAT = Struct(">IHH")
QUERY_FORMAT = Struct(">QIBxH")
PROBE_SIZE = HEADER_SIZE + PROBE_FORMAT.size
REPLY_SIZE = HEADER_SIZE + REPLY_FORMAT.size
ANNOUNCE_SIZE = HEADER_SIZE + ANNOUNCE_FORMAT.size
BEAT_SIZE = HEADER_SIZE + BEAT_FORMAT.size
QUERY_SIZE = HEADER_SIZE + QUERY_FORMAT.size

#: A probe is padded to this size in bytes (without the tag), because it bounds its answers.
MIN_PROBE = 96

#: An answer is at most this many times as large as what it answers: nobody is amplified.
MAX_REPLY_RATIO = 3

#: A query of this size in bytes may be answered by any part.
FULL_QUERY = MAX_DATAGRAM // MAX_REPLY_RATIO

#: Parts of a peer's state, hashes of types in a probe.
MAX_PARTS = 16
MAX_PROBE_TYPES = 8

#: Seconds between beats: less would be a flood, more would keep the dead for days.
MIN_INTERVAL = 1
MAX_INTERVAL = 3_600

#: The one kind of filter, its sizes in bytes, and its hash functions, which cost the receiver.
FILTER_BLOOM = 1
MIN_FILTER = 8
MAX_FILTER = MAX_DATAGRAM - PROBE_SIZE - 4
MAX_FILTER_HASHES = 16
