"""A simulated LAN: hosts with several interfaces, segments that lose and delay, made-up time.

Runs the machines of `bcast.machine` (and any bytes besides) without a socket or a second of real
time, the same way each time for the same seed. Layer 4: only the values of layer 1 may be
imported from outside this folder; it knows no protocol.
"""

from __future__ import annotations

from bcast.simnet.faults import Faults, GilbertElliott
from bcast.simnet.flight import Transmission, datagram_cost
from bcast.simnet.host import Host, Link, Listener
from bcast.simnet.lan import Lan
from bcast.simnet.process import Process
from bcast.simnet.segment import Segment
from bcast.simnet.trace import Fate, Traced
from bcast.simnet.wifi import WifiMode

__all__ = [
    "Fate",
    "Faults",
    "GilbertElliott",
    "Host",
    "Lan",
    "Link",
    "Listener",
    "Process",
    "Segment",
    "Traced",
    "Transmission",
    "WifiMode",
    "datagram_cost",
]
