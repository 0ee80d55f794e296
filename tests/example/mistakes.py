"""What a type checker must not let through: each line is an error that is expected."""

from __future__ import annotations

import bcast
from bcast.lans import Lan

bcast.discover(5)  # type: ignore[arg-type]
bcast.discover("_lamp", timeout="5")  # type: ignore[arg-type]
bcast.Service("lamp", "_lamp", port="80")  # type: ignore[arg-type]
print(bcast.nothing)  # type: ignore[attr-defined]


def misuse(lan: Lan, device: bcast.Device, browser: bcast.Browser) -> None:
    lan.accessory("lamp", slient=True)  # type: ignore[call-overload]
    lan.accessory("lamp", slow="much")  # type: ignore[call-overload]
    lan.expect_device(7)  # type: ignore[arg-type]
    device.name = "other"  # type: ignore[misc]
    for event in browser:
        print(event.nothing)  # type: ignore[union-attr]
