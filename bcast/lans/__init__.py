"""LANs to test on: hosts, fake accessories, faults and expectations, the same on each kind.

The same script runs under made-up time (`SimulatedLan`), on the loopback interface and on
hosts of the real kernel. Layer 5: machines and drivers of the layers below may enter; what runs
tests may not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bcast.lans.expectations import ExpectationError
from bcast.lans.fakes import Switches
from bcast.lans.hosts import Announced, Fake, Host, Impersonated, UnsupportedError
from bcast.lans.lan import Lan
from bcast.lans.loopback import LoopbackLan, loopback_unavailable
from bcast.lans.simulated import SimulatedLan
from bcast.lans.target import TargetLan

if TYPE_CHECKING:
    from bcast.lans.lab import LabLan, lab_lan_unavailable

__all__ = [
    "Announced",
    "ExpectationError",
    "Fake",
    "Host",
    "Impersonated",
    "LabLan",
    "Lan",
    "LoopbackLan",
    "SimulatedLan",
    "Switches",
    "TargetLan",
    "UnsupportedError",
    "lab_lan_unavailable",
    "loopback_unavailable",
]


if not TYPE_CHECKING:  # which would take any name for one that is there

    def __getattr__(name: str) -> object:
        """The lab's names when they are used: all that starts processes comes with them."""
        if name not in ("LabLan", "lab_lan_unavailable"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from bcast.lans import lab

        return getattr(lab, name)
