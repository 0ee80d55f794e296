"""The file that a capture is written to, which takes whole blocks or says why it can't."""

from __future__ import annotations

import errno
import os
import struct
from io import SEEK_CUR, SEEK_END, SEEK_SET, FileIO
from typing import Protocol

from bcast.capture.blocks import Block
from bcast.errors import CaptureError

__all__ = ["STANDARD_STREAM", "Output", "RawFile"]

#: The path that stands for standard output, or standard input.
STANDARD_STREAM = "-"

_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))


class RawFile(Protocol):
    """What a capture is written to: an unbuffered binary file such as `io.FileIO`."""

    def write(self, data: memoryview, /) -> int | None: ...

    def seekable(self) -> bool: ...

    def seek(self, offset: int, whence: int, /) -> int: ...

    def truncate(self, size: int, /) -> int: ...

    def fileno(self) -> int: ...


class Output:
    """Writes blocks (big-endian pcapng) to a path, ``"-"`` or an open file, and counts datagrams.

    Raises `CaptureError` if a path can't be opened for writing.
    """

    def __init__(self, file: str | os.PathLike[str] | RawFile) -> None:
        self._owned: FileIO | None = None
        self._failure: CaptureError | None = None
        #: How many datagrams are in the file.
        self.written = 0
        #: How often `write` took its blocks, the file having them all: also in the face of an
        #: interrupt, whether that came before or after.
        self.taken = 0
        if isinstance(file, (str, os.PathLike)):
            path = os.fspath(file)
            self._owned = _open(path)
            self._file: RawFile = self._owned
            self.name = "standard output" if path == STANDARD_STREAM else path
        else:
            self._file = file
            name = getattr(file, "name", None)
            self.name = name if isinstance(name, str) else "the capture"
        self._done = 0
        self._seekable = self._file.seekable()

    @property
    def failed(self) -> bool:
        """Whether nothing more can be written."""
        return self._failure is not None

    def check(self) -> None:
        """Raises the error of an earlier write again."""
        if self._failure is not None:
            raise CaptureError(self._failure.message, self._failure.advice)

    def write(self, blocks: memoryview, datagrams: int) -> None:
        """Writes whole blocks, in which there are that many datagrams.

        If that fails, the file keeps the blocks that fit, and `CaptureError` is raised, from then
        on always. `BrokenPipeError` is raised as it is.
        """
        self.check()
        start = self._position()
        self._done = 0
        try:
            try:
                self._push(blocks)
            except OSError:
                raise
            except BaseException:
                # An interrupt. It can come between a write and the note of how much that wrote;
                # where the file tells, the rest follows before the interrupt goes on.
                self._done = self._position() - start
                if not (self._seekable and 0 <= self._done <= len(blocks)):
                    self._failure = CaptureError(f"writing {self.name} was interrupted")
                    raise
                self._push(blocks)
                self.taken += 1
                self.written += datagrams
                raise
        except BrokenPipeError:
            self._count(blocks)
            self._failure = CaptureError(f"nobody reads {self.name} any more")
            raise
        except OSError as error:
            self._cut(self._done - self._count(blocks))
            self._failure = self._sentence(error)
            raise self._failure from error
        self.taken += 1
        self.written += datagrams

    def close(self) -> None:
        """Closes the file if it was opened here. Raises `CaptureError` for a first failure."""
        if self._owned is None:
            return
        try:
            self._owned.close()
        except OSError as error:
            # A network file system may notice only now that it has no room.
            if self._failure is None:
                self._failure = self._sentence(error)
                raise self._failure from error

    def _push(self, blocks: memoryview) -> None:
        while self._done < len(blocks):
            count = self._file.write(blocks[self._done :])
            if count is None:
                _wait(self._file)
            else:
                self._done += count

    def _position(self) -> int:
        return self._file.seek(0, SEEK_CUR) if self._seekable else 0

    def _count(self, blocks: memoryview) -> int:
        """Counts the datagrams of the blocks that are written whole; returns how many bytes."""
        position = 0
        while position + 8 <= self._done:
            kind, size = struct.unpack_from(">II", blocks, position)
            if position + size > self._done:
                break
            position += size
            self.written += kind == Block.ENHANCED_FRAME
        return position

    def _cut(self, excess: int) -> None:
        """Takes the last ``excess`` bytes off the file, if they are its last."""
        if not excess or not self._seekable:
            return
        try:
            end = self._file.seek(0, SEEK_CUR)
            # Where others append to the same file, the end isn't ours.
            if self._file.seek(0, SEEK_END) == end:
                self._file.truncate(end - excess)
                self._file.seek(end - excess, SEEK_SET)
        except OSError:
            pass  # Readers cope with half a block at the end.

    def _sentence(self, error: OSError) -> CaptureError:
        count = self.written
        first = f"the first {count} datagrams" if count > 1 else f"{count or 'no'} datagram"
        holds = f"{self.name} holds {first}"
        if error.errno in _FULL:
            return CaptureError(f"the disk is full: {holds}", "free some space or write elsewhere")
        if error.errno == errno.EFBIG:
            return CaptureError(
                f"the file may not grow any more: {holds}",
                "raise the limit (ulimit -f) or write elsewhere",
            )
        return CaptureError(f"can't go on writing ({_reason(error)}): {holds}", "write elsewhere")


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or 0)


def _open(path: str) -> FileIO:
    try:
        if path == STANDARD_STREAM:
            return FileIO(1, "w", closefd=False)
        return FileIO(path, "w")
    except OSError as error:
        number = error.errno
        advice = "write to another file"
        if number == errno.ENOENT:
            reason = f"there is no directory {os.path.dirname(path) or '.'}"
            advice = "create it first"
        elif number == errno.EISDIR or os.path.isdir(path):
            reason, advice = "it is a directory", "give the name of a file"
        elif number in (errno.EACCES, errno.EPERM):
            reason, advice = "no permission", "write where you may create files"
        elif number in _FULL:
            reason, advice = "the disk is full", "free some space or write elsewhere"
        else:
            reason = _reason(error)
        raise CaptureError(f"can't write {path}: {reason}", advice) from error


def _wait(file: RawFile) -> None:
    """Waits until a non-blocking pipe takes bytes again."""
    import select

    select.select([], [file.fileno()], [])
