"""Commands that were started and may still run: what they write, how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from time import sleep
from typing import IO, TYPE_CHECKING, Self

from bcast.errors import LabError
from bcast.lab.system import not_linux

if TYPE_CHECKING:
    from bcast.lab.namespace import Namespace

__all__ = ["Running", "child_of", "kill", "rest_of"]

# Seconds between looks at what the kernel has no other way to wait for.
_PAUSE = 0.001
# Lines of output that an account has: as many as one reads.
_TOLD = 50


class Running:
    """A command that was started and may still run. Its output is read as it comes.

    As a context manager it is killed at the end of the block. ``place`` is the host that it
    was started on.
    """

    def __init__(self, process: subprocess.Popen[str], what: str, place: Namespace) -> None:
        self.place = place
        self._process = process
        self._what = what
        self._changed = threading.Condition()
        self._lines: list[tuple[bool, str]] = []  # (is it an error line, line with its end)
        self._returned: set[int] = set()
        self._open_streams = 2
        self._readers = [
            threading.Thread(target=self._read, args=(process.stdout, False), daemon=True),
            threading.Thread(target=self._read, args=(process.stderr, True), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The command's process id as the caller's system counts (inside the lab it differs)."""
        while (child := child_of(self._process.pid)) is None:
            if self.status is not None:
                raise LabError(f"{self._what} is no longer running")
            sleep(_PAUSE)
        return child

    @property
    def status(self) -> int | None:
        """None while it runs; its exit status; or minus the signal that it died of."""
        return self._process.poll()

    def output(self) -> str:
        """What it wrote to stdout so far."""
        return self._written(errors=False)

    def errors(self) -> str:
        """What it wrote to stderr so far."""
        return self._written(errors=True)

    def account(self) -> str:
        """What it is, how it ended if it did, and the last 50 lines that it wrote."""
        status = self.status
        ended = "is running" if status is None else f"ended with status {status}"
        if status is not None and status < 0:
            ended = f"was killed by {signal.Signals(-status).name}"
        with self._changed:
            lines = [line.rstrip("\r\n") for _, line in self._lines[-_TOLD:]]
        return "\n".join([f"{self._what}: {ended}", *(lines or ["it wrote nothing"])])

    def wait_for(self, text: str, *, timeout: float = 5.0) -> str:
        """The next line of stdout or stderr that contains ``text``, without its line end.

        Lines that were written before count, each line is returned once. Raises `LabError` when
        there was none after ``timeout`` seconds, or the command ended without it.
        """
        __tracebackhide__ = True
        seen = 0
        found: str | None = None

        def is_over() -> bool:
            nonlocal seen, found
            for number in range(seen, len(self._lines)):
                line = self._lines[number][1]
                if number not in self._returned and text in line:
                    self._returned.add(number)
                    found = line
                    return True
            seen = len(self._lines)
            return not self._open_streams

        with self._changed:
            self._changed.wait_for(is_over, timeout)
            if found is not None:
                return found.rstrip("\r\n")
            ended = not self._open_streams
            written = "".join(line for _, line in self._lines)
        when = "before it ended" if ended else f"within {timeout:g} s"
        raise LabError(f"{self._what} wrote no {text!r} {when}; it wrote: {written or 'nothing'}")

    def wait(self, *, timeout: float = 10.0) -> int:
        """Its exit status (minus the signal that it died of). Raises `LabError` on timeout."""
        __tracebackhide__ = True
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self._what} was still running after {timeout:g} s") from None
        for reader in self._readers:
            reader.join(timeout=1.0)  # something that it left running may hold them open
        return status

    def send_signal(self, number: int) -> None:
        """Sends it a signal; nothing if it has ended."""
        try:
            os.kill(self.pid, number)
        except (LabError, ProcessLookupError):
            pass

    def interrupt(self, *, timeout: float = 5.0) -> int:
        """Like `terminate`, with what Ctrl-C sends (SIGINT)."""
        __tracebackhide__ = True
        return self._end(signal.SIGINT, timeout)

    def terminate(self, *, timeout: float = 5.0) -> int:
        """Sends SIGTERM, and returns its exit status (minus the signal that it died of).

        Raises `LabError` when it didn't end within ``timeout`` seconds; then it is killed.
        """
        __tracebackhide__ = True
        return self._end(signal.SIGTERM, timeout)

    def kill(self) -> None:
        """Kills it and its process group, and waits until it is gone."""
        self.strike()
        self.finish()

    def _end(self, number: signal.Signals, timeout: float) -> int:
        __tracebackhide__ = True
        self.send_signal(number)
        try:
            return self.wait(timeout=timeout)
        except LabError:
            self.kill()
            raise LabError(
                f"{self._what} didn't end within {timeout:g} s of {number.name}, and was killed"
            ) from None

    # --- for the lab

    def wake(self) -> None:
        """Lets nsenter see that the command which it stopped with is dead."""
        if sys.platform != "win32":
            self._process.send_signal(signal.SIGCONT)

    def strike(self) -> None:
        """Kills it and its process group; its pipes stay open, a daemon may have them too."""
        kill(self._process)

    def finish(self) -> None:
        """Waits for what was killed, and closes its pipes."""
        self._process.wait()
        for reader in self._readers:
            reader.join(timeout=5.0)
        with self._changed:
            if self._open_streams:
                return  # a daemon that it started has them; the lab's end closes them
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def _read(self, stream: IO[str], errors: bool) -> None:
        for line in stream:
            with self._changed:
                self._lines.append((errors, line))
                self._changed.notify_all()
        with self._changed:
            self._open_streams -= 1
            self._changed.notify_all()

    def _written(self, *, errors: bool) -> str:
        with self._changed:
            return "".join(line for is_error, line in self._lines if is_error is errors)


def child_of(parent: int) -> int | None:
    """The process id of a process's child, None if it has none."""
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return int(children[0]) if children else None
    except OSError:
        pass  # it is gone, or the kernel was built without this file
    for process in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = process.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            return int(process.parent.name)
    return None


def kill(process: subprocess.Popen[str]) -> None:
    """Kills a command, then what is left of its process group.

    ``process`` is nsenter, which waits for the command that it forked. It must outlive that:
    otherwise the command's remains would fall to a process that may never collect them.
    """
    if sys.platform != "linux":
        raise not_linux()
    while process.returncode is None:
        child = child_of(process.pid)
        try:
            if child is not None:
                os.kill(child, signal.SIGKILL)
            # nsenter stops with its child, and would not see it die.
            os.kill(process.pid, signal.SIGCONT)
            ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if ended is not None:
                # Not collected yet, so that the group's number can't be anybody else's.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        except (ProcessLookupError, ChildProcessError):
            process.poll()
        sleep(_PAUSE)


def rest_of(process: subprocess.Popen[str]) -> str:
    """What a killed command has written."""
    try:
        output, errors = process.communicate(timeout=1.0)
    except subprocess.TimeoutExpired:  # a daemon that it started holds them open
        return "nothing that could be read"
    return errors.strip() or output.strip() or "nothing"
