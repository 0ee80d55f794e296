"""What can go wrong, as one tree.

::

    BcastError
    ├── ArgumentError       what was asked for cannot be (exit status 2); a description with
    │                       mistakes is one too (`bcast.accessory.mistakes.DescriptionError`)
    ├── InterfaceError      no such interface, or none that can be used (3)
    ├── SocketError         the system refused a socket operation (3)
    │   ├── PortTakenError  somebody else has the port and doesn't share it
    │   └── TooLargeError   the payload doesn't fit the interface's MTU
    ├── CaptureError        a capture file is damaged, or can't be written (3)
    ├── KeyFileError        a key can't be read, or is none (3)
    ├── LabError            no lab of namespaces here, or a command in one went wrong (3)
    └── DecodeError         bytes that are no message: a peer's doing, counted, never shown raw

Every error is a sentence that a person can act on: ``str(error)`` says what happened and,
where something can be done about it, what to do.
"""

from __future__ import annotations

import os
import sys

__all__ = [
    "ArgumentError",
    "BcastError",
    "CaptureError",
    "DecodeError",
    "InterfaceError",
    "KeyFileError",
    "LabError",
    "PortTakenError",
    "SocketError",
    "TooLargeError",
    "open_files_advice",
]


class BcastError(Exception):
    """Base of all errors that bcast raises on purpose.

    ``message`` says what happened, ``advice`` what to do about it (may be empty).
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message, advice)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message}: {self.advice}" if self.advice else self.message


class ArgumentError(BcastError, ValueError):
    """An argument is malformed, out of range, or contradicts another one."""


class InterfaceError(BcastError):
    """No interface fits an expression, or none of those selected can be used."""


class SocketError(BcastError):
    """The system refused to open, set up or use a socket.

    ``error`` is the symbolic errno (``"ENETUNREACH"``), ``interface`` the name of the
    interface concerned, ``operation`` what was tried (``"bind to port 2222"``).
    """

    def __init__(
        self,
        message: str,
        advice: str = "",
        *,
        error: str = "",
        interface: str = "",
        operation: str = "",
    ) -> None:
        super().__init__(message, advice)
        self.error = error
        self.interface = interface
        self.operation = operation


class PortTakenError(SocketError):
    """Another program has the port and doesn't share it (EADDRINUSE)."""


class TooLargeError(SocketError):
    """The payload doesn't fit into one unfragmented datagram on the interface (EMSGSIZE)."""


class CaptureError(BcastError):
    """A capture file can't be read or written, or isn't one."""


class KeyFileError(BcastError):
    """A key file is missing, unreadable, empty, or holds a key that is too short."""


class LabError(BcastError):
    """A lab can't be made here, or a command in it failed, or didn't do in time what it should."""


class DecodeError(BcastError):
    """A datagram is no message of the protocol. ``reason`` names why, for counting."""

    def __init__(self, message: str, advice: str = "", *, reason: str = "") -> None:
        super().__init__(message, advice)
        self.reason = reason


def open_files_advice() -> str:
    """What to do about EMFILE: this process has as many files and sockets open as it may."""
    # Of the module "resource" there would be nothing to load any more, with what it is for.
    if sys.platform == "win32":
        return "close some, or raise the limit of open files"
    limit = os.sysconf("SC_OPEN_MAX")
    return f"no more than {limit} files can be open at once: raise that with ulimit -n"
