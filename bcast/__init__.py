"""UDP broadcast and multicast discovery, interface by interface.

Importing this package loads nothing else; its public names load when they are first used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what type checkers take for true, without the import of typing
if TYPE_CHECKING:
    from bcast.announcer import Announcer
    from bcast.browser import Browser, discover, discover_async
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
    from bcast.device import (
        Added,
        Cause,
        Changed,
        Device,
        DeviceEvent,
        Removed,
        Restarted,
        Sighting,
        Suspect,
    )
    from bcast.discovery.responder import Conflict
    from bcast.domain import Domain
    from bcast.driver import Traffic
    from bcast.errors import (
        ArgumentError,
        BcastError,
        CaptureError,
        DecodeError,
        InterfaceError,
        KeyFileError,
        LabError,
        PortTakenError,
        SocketError,
        TooLargeError,
    )
    from bcast.impersonator import Impersonator
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
    from bcast.messages import Service
    from bcast.payload import Template
    from bcast.receiver import Receiver
    from bcast.results import Failed, SendResults, Sent
    from bcast.sender import Sender
    from bcast.sockets import open_receivers, open_sender
    from bcast.wire.keys import Keyring, read_key_file

__all__ = [
    "Added",
    "Address",
    "Announcer",
    "ArgumentError",
    "BcastError",
    "Browser",
    "CaptureError",
    "CaptureReader",
    "CaptureWriter",
    "Cause",
    "Changed",
    "Conflict",
    "Datagram",
    "DecodeError",
    "Device",
    "DeviceEvent",
    "Domain",
    "Endpoint",
    "Failed",
    "Family",
    "Group",
    "Impersonator",
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
    "KeyFileError",
    "Keyring",
    "Kind",
    "LabError",
    "PortTakenError",
    "Receiver",
    "Removed",
    "Restarted",
    "Selection",
    "SendResults",
    "Sender",
    "Sent",
    "Service",
    "Sighting",
    "Skipped",
    "SocketError",
    "Statistics",
    "Suspect",
    "Template",
    "TooLargeError",
    "Traffic",
    "__version__",
    "discover",
    "discover_async",
    "list_interfaces",
    "open_receivers",
    "open_sender",
    "read_key_file",
    "select",
]

__version__ = "0.1.0"

_MODULES = {
    "Announcer": "announcer",
    "Browser": "browser",
    "discover": "browser",
    "discover_async": "browser",
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
    "Added": "device",
    "Cause": "device",
    "Changed": "device",
    "Device": "device",
    "DeviceEvent": "device",
    "Removed": "device",
    "Restarted": "device",
    "Sighting": "device",
    "Suspect": "device",
    "Conflict": "discovery.responder",
    "Domain": "domain",
    "Traffic": "driver",
    "ArgumentError": "errors",
    "BcastError": "errors",
    "CaptureError": "errors",
    "DecodeError": "errors",
    "InterfaceError": "errors",
    "KeyFileError": "errors",
    "LabError": "errors",
    "PortTakenError": "errors",
    "SocketError": "errors",
    "TooLargeError": "errors",
    "Impersonator": "impersonator",
    "InterfaceAdded": "interfaces",
    "InterfaceChange": "interfaces",
    "InterfaceChanged": "interfaces",
    "InterfaceRemoved": "interfaces",
    "InterfaceWatcher": "interfaces",
    "Selection": "interfaces",
    "Skipped": "interfaces",
    "list_interfaces": "interfaces",
    "select": "interfaces",
    "Service": "messages",
    "Template": "payload",
    "Receiver": "receiver",
    "Failed": "results",
    "SendResults": "results",
    "Sent": "results",
    "Sender": "sender",
    "open_receivers": "sockets",
    "open_sender": "sockets",
    "Keyring": "wire.keys",
    "read_key_file": "wire.keys",
}


if not TYPE_CHECKING:  # which would take any name for one that is there

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module 'bcast' has no attribute {name!r}")
        from importlib import import_module

        value: object = getattr(import_module(f"bcast.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return __all__
