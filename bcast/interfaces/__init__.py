"""Which interfaces there are, which of them are meant, and what changes about them.

Layer 4: reads the system and changes nothing. Only the values (layer 1) may be imported
from outside this folder; `ifaddr` is imported by `addresses`, `psutil` by `other`, each
when it is called. Listing and selecting load with the package, the rest when it is first used.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bcast.interfaces.selection import Selection, Skipped, listed, select

if TYPE_CHECKING:
    from bcast.interfaces.changes import (
        InterfaceAdded,
        InterfaceChange,
        InterfaceChanged,
        InterfaceRemoved,
        differences,
    )
    from bcast.interfaces.routing import kernel_choice
    from bcast.interfaces.watch import InterfaceWatcher, watch_changes

if sys.platform == "linux":
    from bcast.interfaces.linux import list_interfaces
else:
    from bcast.interfaces.other import list_interfaces

__all__ = [
    "InterfaceAdded",
    "InterfaceChange",
    "InterfaceChanged",
    "InterfaceRemoved",
    "InterfaceWatcher",
    "Selection",
    "Skipped",
    "differences",
    "kernel_choice",
    "list_interfaces",
    "listed",
    "select",
    "watch_changes",
]


_LATER = {
    "InterfaceAdded": "changes",
    "InterfaceChange": "changes",
    "InterfaceChanged": "changes",
    "InterfaceRemoved": "changes",
    "InterfaceWatcher": "watch",
    "differences": "changes",
    "kernel_choice": "routing",
    "watch_changes": "watch",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
