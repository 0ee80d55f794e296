"""`bcast.capture.input`: files and pipes as a stream, and why one can't be read."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pytest

from bcast.capture.input import Input, TruncatedError
from bcast.errors import CaptureError


class Trickle(io.BytesIO):
    """A pipe whose writer is slow: never more than two bytes at a time."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 0, 2))


def test_a_slow_pipe_is_read_in_full() -> None:
    file = Input(Trickle(b"abcdefgh"))
    assert (file.read(5), file.offset) == (b"abcde", 5)
    assert (file.read_head(3), file.offset) == (b"fgh", 8)
    assert file.read_head(3) == b""
    assert file.read(0) == b""


def test_an_end_in_the_middle() -> None:
    file = Input(io.BytesIO(b"abc"))
    with pytest.raises(TruncatedError):
        file.read(4)
    file = Input(io.BytesIO(b"abc"))
    with pytest.raises(TruncatedError):
        file.read_head(4)
    assert Input(io.BytesIO(b"abc")).read_up_to(4) == b"abc"
    with pytest.raises(TruncatedError):
        Input(io.BytesIO()).read(1)


def test_files_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pcap"
    with pytest.raises(CaptureError) as caught:
        Input(path)
    assert str(caught.value) == f"there is no file {path}"
    with pytest.raises(CaptureError, match="is a directory: give the name of a file"):
        Input(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(CaptureError) as caught:
        Input(path)
    assert str(caught.value) == f"can't read {path}: no permission"


def test_a_file_that_fails_while_it_is_read() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(errno.EIO, "")

    with pytest.raises(CaptureError, match="can't read the capture: Input/output error"):
        Input(Broken()).read(1)


def test_only_what_was_opened_here_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(b"a")
    file = Input(path)
    assert (file.name, file.read(1)) == (str(path), b"a")
    file.close()
    with path.open("rb") as opened:
        file = Input(opened)
        assert file.name == os.fspath(path)
        file.close()
        assert opened.read() == b"a"
