"""LANs to test on: hosts, fake accessories, faults and expectations, the same on each kind.

The same script runs under made-up time (`SimulatedLan`), on the loopback interface and on
hosts of the real kernel. Layer 5: machines and drivers of the layers below may enter; what runs
tests may not.
"""

from __future__ import annotations

from bcast.lans.expectations import ExpectationError
from bcast.lans.fakes import Switches
from bcast.lans.hosts import Announced, Host, UnsupportedError
from bcast.lans.lan import Lan
from bcast.lans.loopback import LoopbackLan, loopback_unavailable
from bcast.lans.simulated import SimulatedLan
from bcast.lans.target import TargetLan

__all__ = [
    "Announced",
    "ExpectationError",
    "Host",
    "Lan",
    "LoopbackLan",
    "SimulatedLan",
    "Switches",
    "TargetLan",
    "UnsupportedError",
    "loopback_unavailable",
]
