"""The file that a capture is read from, as a stream that knows where it is."""

from __future__ import annotations

import errno
import os
from typing import BinaryIO, Protocol

from bcast.capture.output import STANDARD_STREAM
from bcast.errors import CaptureError

__all__ = ["Input", "ReadableFile", "TruncatedError"]


class ReadableFile(Protocol):
    """What a capture is read from: a binary file, pipes included."""

    def read(self, size: int, /) -> bytes | None: ...


class TruncatedError(Exception):
    """The file ends where more should follow. Not an error of bcast's: what was read counts."""


class Input:
    """Reads from a path, ``"-"`` or an open file, and counts the bytes.

    Raises `CaptureError` if a path can't be opened or the file can't be read.
    """

    def __init__(self, file: str | os.PathLike[str] | ReadableFile) -> None:
        self._owned: BinaryIO | None = None
        #: How many bytes were read.
        self.offset = 0
        if isinstance(file, (str, os.PathLike)):
            path = os.fspath(file)
            self.name = "standard input" if path == STANDARD_STREAM else path
            self._owned = _open(path)
            self._file: ReadableFile = self._owned
        else:
            self._file = file
            name = getattr(file, "name", None)
            self.name = name if isinstance(name, str) else "the capture"

    def read(self, size: int) -> bytes:
        """Reads exactly ``size`` bytes. Raises `TruncatedError` if there are fewer."""
        data = self.read_up_to(size)
        if len(data) < size:
            raise TruncatedError
        return data

    def read_head(self, size: int) -> bytes:
        """Reads ``size`` bytes, or none at the end. Raises `TruncatedError` in between."""
        data = self.read_up_to(size)
        if data and len(data) < size:
            raise TruncatedError
        return data

    def read_up_to(self, size: int) -> bytes:
        """Reads ``size`` bytes, fewer only at the end of the file."""
        parts = []
        missing = size
        while missing:
            try:
                part = self._file.read(missing)
            except OSError as error:
                raise _unreadable(self.name, error) from error
            if not part:
                break
            parts.append(part)
            missing -= len(part)
        self.offset += size - missing
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def damaged(self, what: str, offset: int) -> CaptureError:
        """The error for what can't be, with where it starts."""
        return CaptureError(f"{self.name} is damaged: {what} at byte {offset}")

    def close(self) -> None:
        """Closes the file if it was opened here."""
        if self._owned is not None:
            self._owned.close()


def _open(path: str) -> BinaryIO:
    try:
        if path == STANDARD_STREAM:
            return open(0, "rb", closefd=False)
        return open(path, "rb")
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(name: str, error: OSError) -> CaptureError:
    if error.errno == errno.ENOENT:
        return CaptureError(f"there is no file {name}")
    if error.errno == errno.EISDIR or os.path.isdir(name):
        return CaptureError(f"{name} is a directory", "give the name of a file")
    if error.errno in (errno.EACCES, errno.EPERM):
        return CaptureError(f"can't read {name}: no permission")
    return CaptureError(f"can't read {name}: {os.strerror(error.errno or 0)}")
