"""`bcast.capture.output`: whatever goes wrong, the file holds whole datagrams, and how many."""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.capture import CaptureReader, CaptureWriter
from bcast.capture import output as module
from bcast.errors import CaptureError
from tests.test_capture_pcapng import ETH0, WLAN0, datagram, row

ROOT = Path(__file__).parent.parent

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


class Disk(io.BytesIO):
    """A file on a disk with room for so many bytes, which takes them in small pieces."""

    def __init__(self, room: int, error: int = errno.ENOSPC, piece: int = 1 << 30) -> None:
        super().__init__()
        self.room = room
        self.error = error
        self.piece = piece

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        size = min(len(data), self.room - self.tell(), self.piece)
        if size <= 0 and len(data):
            raise OSError(self.error, os.strerror(self.error))
        return super().write(data[:size])


def read(data: bytes) -> tuple[list[bytes], bool]:
    reader = CaptureReader(io.BytesIO(data))
    return [d.payload for d in reader], reader.truncated


def fill(writer: CaptureWriter, count: int = 50) -> None:
    """Writes ``count`` datagrams that tell their number, with a flush now and then."""
    with writer:
        for number in range(count):
            writer.write(datagram(b"%d" % number, (ETH0, WLAN0)[number % 2]))
            if number % 7 == 6:
                writer.flush()


@given(st.integers(200, 3400), st.sampled_from([1 << 30, 100]))
def test_a_full_disk_leaves_whole_datagrams(room: int, piece: int) -> None:
    disk = Disk(room, piece=piece)
    writer = CaptureWriter(disk)
    with pytest.raises(CaptureError, match="the disk is full: the capture holds") as caught:
        fill(writer)
    payloads, truncated = read(disk.getvalue())
    assert payloads == [b"%d" % number for number in range(writer.written)]
    assert not truncated
    count = len(payloads)
    held = f"the first {count} datagrams" if count > 1 else f"{count or 'no'} datagram"
    assert f"holds {held}: free some space or write elsewhere" in str(caught.value)
    # The next datagram would not have fit.
    assert room - len(disk.getvalue()) < 160
    # Whoever has the file open can go on behind it.
    assert disk.tell() == len(disk.getvalue())
    writer.close()


def test_after_a_failure_every_use_says_so_but_close() -> None:
    writer = CaptureWriter(Disk(200))
    uses: list[Callable[[], None]] = [
        lambda: writer.write_batch(ETH0, 1, [row(bytes(1000))] * 1000),
        lambda: writer.write(datagram()),
        lambda: writer.drops(ETH0, 1),
        writer.flush,
    ]
    for use in uses:
        with pytest.raises(CaptureError, match="the disk is full"):
            use()
    writer.close()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (errno.ENOSPC, "the disk is full: "),
        (errno.EDQUOT, "the disk is full: "),
        (errno.EFBIG, "the file may not grow any more: "),
        (errno.EIO, r"can't go on writing \(Input/output error\): "),
    ],
)
def test_failures_are_sentences(error: int, sentence: str) -> None:
    writer = CaptureWriter(Disk(300, error))
    with pytest.raises(CaptureError, match=sentence) as caught:
        fill(writer)
    assert "holds" in str(caught.value)
    assert caught.value.advice


def test_no_room_for_the_header() -> None:
    with pytest.raises(CaptureError, match="the capture holds no datagram"):
        CaptureWriter(Disk(10))


def test_no_room_for_the_counts_at_the_end() -> None:
    file = io.BytesIO()
    with CaptureWriter(file) as writer:
        writer.write(datagram())
    disk = Disk(len(file.getvalue()) - 1)
    writer = CaptureWriter(disk)
    writer.write(datagram())
    with pytest.raises(CaptureError, match="holds 1 datagram:"):
        writer.close()
    writer.close()
    assert read(disk.getvalue()) == ([b"hello"], False)


@linux
def test_a_device_that_is_full() -> None:
    with pytest.raises(CaptureError, match="the disk is full: /dev/full holds no datagram"):
        CaptureWriter("/dev/full")


_FILL = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from tests.test_capture_pcapng import ETH0, row
from bcast.capture import CaptureWriter
from bcast.errors import CaptureError
if sys.argv[1].endswith("limited.pcapng"):
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
writer = CaptureWriter(sys.argv[1])
try:
    for number in range(10_000):
        writer.write_batch(ETH0, 1, [row(bytes(100))] * 10)
        if number % 10 == 0:
            writer.flush()
except CaptureError as error:
    print(error)
    print(writer.written)
    writer.close()
"""


@linux
def test_a_file_that_the_system_limits(tmp_path: Path) -> None:
    path = tmp_path / "limited.pcapng"
    lines = _run([sys.executable, "-c", _FILL, str(path), str(ROOT)])
    count = int(lines[1])
    assert lines[0] == (
        f"the file may not grow any more: {path} holds the first {count} datagrams:"
        " raise the limit (ulimit -f) or write elsewhere"
    )
    assert 99_800 < path.stat().st_size <= 100_000
    assert read(path.read_bytes()) == ([bytes(100)] * count, False)


@pytest.mark.kernel("a mount namespace")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    disk, copy = tmp_path / "disk", tmp_path / "copy.pcapng"
    disk.mkdir()
    path = disk / "a.pcapng"
    # The file system is gone with its namespace, so the file is copied out of it.
    script = 'mount -t tmpfs -o size=200k disk "$1" && shift && "$0" -c "$@" && cp "$2" "$COPY"'
    arguments = [sys.executable, str(disk), _FILL, str(path), str(ROOT)]
    lines = _run(["unshare", "-Urm", "sh", "-c", script, *arguments], COPY=str(copy))
    count = int(lines[1])
    assert lines[0] == (
        f"the disk is full: {path} holds the first {count} datagrams:"
        " free some space or write elsewhere"
    )
    assert 190_000 < copy.stat().st_size <= 204_800
    assert read(copy.read_bytes()) == ([bytes(100)] * count, False)


def _run(arguments: list[str], **environment: str) -> list[str]:
    done = subprocess.run(
        arguments, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_standard_output_and_pipes() -> None:
    script = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.test_capture_output import fill
from bcast.capture import CaptureWriter
fill(CaptureWriter("-"))
print("still open", file=sys.stderr)
sys.stdout.flush()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(ROOT)],
        capture_output=True,
        check=True,
    )
    assert read(done.stdout) == ([b"%d" % number for number in range(50)], False)
    assert done.stderr.split() == [b"still", b"open"]


@linux
def test_a_full_disk_leaves_alone_what_others_append(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"before")

    class Appended(io.FileIO):
        room = 300

        def write(self, data: memoryview) -> int:  # type: ignore[override]
            size = min(len(data), self.room)
            self.room -= size
            written = super().write(data[:size])
            if not size:
                with path.open("ab") as other:
                    other.write(b"after")
                raise OSError(errno.ENOSPC, "")
            return written

    with Appended(path, "a") as file:
        writer = CaptureWriter(file)
        with pytest.raises(CaptureError, match="the disk is full"):
            fill(writer)
    data = path.read_bytes()
    assert data.startswith(b"before")
    assert data.endswith(b"after")
    assert len(data) == 6 + 300 + 5


def test_a_pipe_that_nobody_reads() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb", buffering=0) as file:
        writer = CaptureWriter(file)
        os.close(reading)
        writer.write(datagram())
        with pytest.raises(BrokenPipeError):
            writer.flush()
        with pytest.raises(CaptureError, match="nobody reads"):
            writer.write(datagram())
        writer.close()


def test_a_slow_pipe_that_does_not_block() -> None:
    if sys.platform == "win32":
        pytest.skip("needs POSIX")
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    received = []

    def drain() -> None:
        with os.fdopen(reading, "rb") as file:
            received.append(file.read())

    thread = threading.Thread(target=drain)
    with os.fdopen(writing, "wb", buffering=0) as file, CaptureWriter(file) as writer:
        writer.write_batch(ETH0, 1, [row(bytes(1000))] * 200)
        thread.start()
        writer.write_batch(ETH0, 1, [row(bytes(1000))] * 200)
    thread.join()
    assert read(received[0]) == ([bytes(1000)] * 400, False)


class Interrupted(Disk):
    """A file on which a write is interrupted just after it, when nobody knows its length yet."""

    def __init__(self) -> None:
        super().__init__(1 << 30, piece=100)
        self.armed = False

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        size = super().write(data)
        if self.armed:
            self.armed = False
            raise KeyboardInterrupt
        return size


def test_an_interrupt_waits_until_the_file_is_whole() -> None:
    file = Interrupted()
    with CaptureWriter(file) as writer:
        for number in range(5):
            writer.write(datagram(b"%d" % number))
        file.armed = True
        with pytest.raises(KeyboardInterrupt):
            writer.flush()
        assert writer.written == 5
        writer.write(datagram(b"5"))
    assert read(file.getvalue()) == ([b"%d" % number for number in range(6)], False)


def test_an_interrupted_pipe_takes_no_more() -> None:
    class Pipe(Interrupted):
        def seekable(self) -> bool:
            return False

    file = Pipe()
    with CaptureWriter(file) as writer:
        writer.write(datagram())
        file.armed = True
        with pytest.raises(KeyboardInterrupt):
            writer.flush()
        with pytest.raises(CaptureError, match="was interrupted"):
            writer.write(datagram())
    assert read(file.getvalue())[1]


def test_a_signal_during_a_write_loses_nothing(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("needs POSIX")
    path = tmp_path / "a.pcapng"
    interrupts = 0

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with CaptureWriter(path) as writer:
            payload = bytes(200)
            for _ in range(30):
                writer.write_batch(ETH0, 1, [row(payload)] * 700)
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.00003)
                    writer.flush()
                    while True:  # the signal comes too late for the flush
                        pass  # (in signal.pause(), a signal just before would not end it)
                except KeyboardInterrupt:
                    interrupts += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    payloads, truncated = read(path.read_bytes())
    assert interrupts == 30
    assert not truncated
    # Whether it came before a flush wrote anything, amid or after it.
    assert payloads == [payload] * 30 * 700
    assert writer.written == 30 * 700


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (errno.EACCES, "no permission: write where you may create files"),
        (errno.EROFS, "Read-only file system: write to another file"),
        (errno.ENOSPC, "the disk is full: free some space or write elsewhere"),
        (errno.ENAMETOOLONG, "File name too long: write to another file"),
    ],
)
def test_a_file_that_cannot_be_opened(
    monkeypatch: pytest.MonkeyPatch, error: int, sentence: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(module, "FileIO", refuse)
    with pytest.raises(CaptureError) as caught:
        CaptureWriter("a.pcapng")
    assert str(caught.value) == f"can't write a.pcapng: {sentence}"


def test_a_directory_that_is_missing_or_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "a.pcapng"
    with pytest.raises(CaptureError) as caught:
        CaptureWriter(path)
    assert str(caught.value) == (
        f"can't write {path}: there is no directory {path.parent}: create it first"
    )
    with pytest.raises(CaptureError, match="it is a directory: give the name of a file"):
        CaptureWriter(tmp_path)


def test_a_file_that_fails_when_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Remote(io.FileIO):
        failing = True

        def close(self) -> None:
            super().close()
            if self.failing:
                self.failing = False
                raise OSError(errno.EDQUOT, "")

    monkeypatch.setattr(module, "FileIO", Remote)
    writer = CaptureWriter(tmp_path / "a.pcapng")
    with pytest.raises(CaptureError, match="the disk is full"):
        writer.close()
    writer.close()


def test_shells_append(tmp_path: Path) -> None:
    if shutil.which("sh") is None:
        pytest.skip("there is no sh")
    path = tmp_path / "a.pcapng"
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from tests.test_capture_output import fill; from bcast.capture import CaptureWriter;"
        "fill(CaptureWriter('-'))"
    )
    for _ in range(2):
        subprocess.run(
            ["sh", "-c", '"$0" -c "$@" >> "$OUT"', sys.executable, script, ROOT],
            env={**os.environ, "OUT": str(path)},
            check=True,
        )
    # Two captures in a row are a capture of two sections.
    assert len(read(path.read_bytes())[0]) == 100
