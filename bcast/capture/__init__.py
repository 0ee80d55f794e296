"""Capture files: datagrams written as pcapng, and read from pcapng and pcap files of any tool.

Layer 4. Only the values (layer 1) may be imported from outside this folder: no
socket, no clock. Writing needs no privileges, since a capture is made of what a receiver knows
anyway; the IP and UDP headers are rebuilt around each payload.

`blocks` has the names of the pcapng format, `frames` the headers in both directions, `pcapng` the
writer and `reading` the reader.
"""

from __future__ import annotations

from bcast.capture.pcapng import CaptureWriter, Row
from bcast.capture.reading import CaptureReader

__all__ = ["CaptureReader", "CaptureWriter", "Row"]
