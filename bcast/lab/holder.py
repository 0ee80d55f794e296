"""The first process of a lab, which all its namespaces hang from."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import count

from bcast.errors import LabError
from bcast.lab.running import Running
from bcast.lab.system import HOLDS, check_proc, not_linux, refusal, tool

__all__ = ["Holder"]

#: Prints its process id, then makes a network namespace for each line it reads (the commands
#: that set it up) and prints the process id of what holds it, or none.
_SCRIPT = f"""
read -r pid rest </proc/self/stat; echo "=$pid"
while read -r setup; do
    unshare --net sh -ec "$setup"'
        read -r pid rest </proc/self/stat; echo "=$pid"
        exec {HOLDS} >/dev/null 2>&1' 2>&1 || echo = &
done
"""

# Seconds between looks whether something keeps the end from coming, and how often is looked.
_LOOK = 0.1
_LOOKS = 50


class Holder:
    """Makes namespaces, and ends with all that lives in them.

    It is the first process of a process namespace, and reads a pipe that only the caller holds
    the other end of. ``pid``: as the machine counts, 0 before it is opened.
    """

    def __init__(self, *, privileged: bool) -> None:
        self.privileged = privileged
        self.pid = 0
        #: No two interfaces share an index, so that an index that strayed from another host is
        #: noticed. Above those that the kernel gives itself.
        self.indexes = count(101)
        #: Commands that were started, whose pipes are to be closed.
        self.running: list[Running] = []
        self._process: subprocess.Popen[str] | None = None

    def open(self) -> None:
        """Starts it. Raises `LabError` with the reason when the system refuses."""
        if sys.platform != "linux":
            raise not_linux()
        if self.pid:
            raise LabError("a lab can be opened once", "make another one")
        if self.privileged and os.geteuid() != 0:
            raise LabError("a privileged lab needs root", "use Lab() without privileged")
        check_proc()
        tools = [tool(name) for name in ("unshare", "nsenter", "ip")]
        folders = dict.fromkeys(os.path.dirname(one) for one in tools)
        path = os.pathsep.join([os.environ.get("PATH", os.defpath), *folders])
        user = [] if self.privileged else ["--user", "--map-root-user"]
        self._process = subprocess.Popen(
            [tools[0], *user, "--pid", "--fork", "--kill-child", "sh", "-c", _SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": path, "LC_ALL": "C"},
            encoding="utf-8",
            errors="replace",
            bufsize=1,
            cwd="/",
            start_new_session=True,
        )
        try:
            self.pid = self._read_pid("the system refuses to make namespaces")
        except LabError as error:
            self.close()
            raise LabError(error.message, refusal(self.privileged)) from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends it, and waits until it and all below it are gone. Twice is harmless."""
        process, self._process = self._process, None
        if process is None:
            return
        with process:
            assert process.stdin is not None
            process.stdin.close()
            for _ in range(_LOOKS):
                try:
                    process.wait(timeout=_LOOK)
                    break
                except subprocess.TimeoutExpired:
                    # The first process can't end before all others are collected.
                    for running in self.running:
                        running.wake()
            else:
                process.kill()  # and unshare's --kill-child kills the rest
        for running in self.running:
            running.finish()
        self.running.clear()

    def namespace(self, commands: Sequence[str]) -> int:
        """A new network namespace, set up by these commands: the process id of what holds it."""
        process = self.require_open()
        assert process.stdin is not None
        try:
            process.stdin.write("; ".join(commands) + "\n")
        except BrokenPipeError:
            raise LabError("the lab's first process was killed") from None
        return self._read_pid("the system refuses a network namespace")

    def require_open(self) -> subprocess.Popen[str]:
        """Its process. Raises `LabError` before `open` and after `close`."""
        if self._process is None:
            raise LabError("the lab isn't open", "use it in a with block")
        return self._process

    def _read_pid(self, refused: str) -> int:
        process = self.require_open()
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            mark, _, pid = line.strip().partition("=")
            if pid and not mark:
                return int(pid)
            said.append(line.strip())
            if line.strip() == "=":
                break
        raise LabError(f"{refused} ({' '.join(said).rstrip(' =') or 'its process died'})")
