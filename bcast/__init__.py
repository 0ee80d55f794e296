"""UDP broadcast and multicast discovery, interface by interface.

Importing this package loads nothing else; its public names load when they are first used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what type checkers take for true, without the import of typing
if TYPE_CHECKING:
    from bcast.capture import CaptureReader, CaptureWriter
    from bcast.channels import InterfaceFailed, InterfaceReady, InterfaceState
    from bcast.counts import InterfaceStatistics, Statistics
    from bcast.datagram import (
        Address,
        Datagram,
        Endpoint,
        Family,
        Group,
        Interface,
        InterfaceFlag,
        Kind,
    )
    from bcast.errors import (
        ArgumentError,
        BcastError,
        CaptureError,
        InterfaceError,
        PortTakenError,
        SocketError,
        TooLargeError,
    )
    from bcast.interfaces import (
        InterfaceAdded,
        InterfaceChange,
        InterfaceChanged,
        InterfaceRemoved,
        InterfaceWatcher,
        Selection,
        Skipped,
        list_interfaces,
        select,
    )
    from bcast.payload import Template
    from bcast.receiver import Receiver
    from bcast.results import Failed, SendResults, Sent
    from bcast.sender import Sender
    from bcast.sockets import open_receivers, open_sender

__all__ = [
    "Address",
    "ArgumentError",
    "BcastError",
    "CaptureError",
    "CaptureReader",
    "CaptureWriter",
    "Datagram",
    "Endpoint",
    "Failed",
    "Family",
    "Group",
    "Interface",
    "InterfaceAdded",
    "InterfaceChange",
    "InterfaceChanged",
    "InterfaceError",
    "InterfaceFailed",
    "InterfaceFlag",
    "InterfaceReady",
    "InterfaceRemoved",
    "InterfaceState",
    "InterfaceStatistics",
    "InterfaceWatcher",
    "Kind",
    "PortTakenError",
    "Receiver",
    "Selection",
    "SendResults",
    "Sender",
    "Sent",
    "Skipped",
    "SocketError",
    "Statistics",
    "Template",
    "TooLargeError",
    "__version__",
    "list_interfaces",
    "open_receivers",
    "open_sender",
    "select",
]

__version__ = "0.1.0"

_MODULES = {
    "CaptureReader": "capture",
    "CaptureWriter": "capture",
    "InterfaceFailed": "channels",
    "InterfaceReady": "channels",
    "InterfaceState": "channels",
    "InterfaceStatistics": "counts",
    "Statistics": "counts",
    "Address": "datagram",
    "Datagram": "datagram",
    "Endpoint": "datagram",
    "Family": "datagram",
    "Group": "datagram",
    "Interface": "datagram",
    "InterfaceFlag": "datagram",
    "Kind": "datagram",
    "ArgumentError": "errors",
    "BcastError": "errors",
    "CaptureError": "errors",
    "InterfaceError": "errors",
    "PortTakenError": "errors",
    "SocketError": "errors",
    "TooLargeError": "errors",
    "InterfaceAdded": "interfaces",
    "InterfaceChange": "interfaces",
    "InterfaceChanged": "interfaces",
    "InterfaceRemoved": "interfaces",
    "InterfaceWatcher": "interfaces",
    "Selection": "interfaces",
    "Skipped": "interfaces",
    "list_interfaces": "interfaces",
    "select": "interfaces",
    "Template": "payload",
    "Receiver": "receiver",
    "Failed": "results",
    "SendResults": "results",
    "Sent": "results",
    "Sender": "sender",
    "open_receivers": "sockets",
    "open_sender": "sockets",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'bcast' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"bcast.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
