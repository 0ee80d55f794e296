"""A network namespace of a lab, and what is done in it: commands, settings, blocks of a thread."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bcast.errors import ArgumentError, LabError
from bcast.lab.holder import Holder
from bcast.lab.running import Running, child_of, kill, rest_of
from bcast.lab.system import SYSTEM_FOLDERS, not_linux, powerless, tool

__all__ = ["Namespace"]

# What setns enters (linux/sched.h).
_CLONE_NEWNET = 0x40000000
# Seconds that a command which is told to end gets for it.
_PATIENCE = 2.0


class Namespace:
    """A network namespace, in which commands can run: a host, or the place of a bridge.

    Made by `Lab.host` and `Lab.segment`. ``pid`` is the process that holds it.
    """

    def __init__(self, holder: Holder, name: str, pid: int) -> None:
        self._holder = holder
        self.name = name
        self.pid = pid

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    # --- commands

    def run(
        self,
        args: Sequence[str],
        *,
        input: str | None = None,
        timeout: float = 10.0,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        capable: bool | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end; its output is text (UTF-8, whatever isn't is replaced).

        ``env`` adds to the caller's environment, ``cwd`` is the folder it runs in (None: the
        caller's). ``capable`` says whether it has all capabilities over the lab's network, or
        none; by default as `Lab` says. Raises `LabError` when the command doesn't exist, doesn't
        end within ``timeout`` seconds (then it is killed, with its process group) or, with
        ``check``, its exit status isn't 0.
        """
        __tracebackhide__ = True
        feed = subprocess.DEVNULL if input is None else subprocess.PIPE
        process = self._spawn(args, env=env, cwd=cwd, capable=capable, stdin=feed)
        with process:
            try:
                output, errors = process.communicate(input, timeout)
            except subprocess.TimeoutExpired:
                kill(process)
                raise LabError(
                    f"{self._saying(args)} was still running after {timeout:g} s",
                    f"it wrote: {rest_of(process)}",
                ) from None
            except BaseException:
                kill(process)
                raise
        status = process.returncode
        if check and status:
            ended = f"ended with status {status}"
            if status < 0:
                ended = f"was killed by {signal.Signals(-status).name}"
            said = errors.strip() or output.strip() or "it wrote nothing"
            raise LabError(f"{self._saying(args)} {ended}", said)
        return subprocess.CompletedProcess(list(args), status, output, errors)

    def start(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        capable: bool | None = None,
    ) -> Running:
        """Starts a command, which is killed with all it started when the lab is closed.

        The arguments are those of `run`. Raises `LabError` when the command doesn't exist.
        """
        __tracebackhide__ = True
        process = self._spawn(args, env=env, cwd=cwd, capable=capable)
        running = Running(process, self._saying(args), self)
        self._holder.running.append(running)
        return running

    def attach(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        capable: bool | None = None,
    ) -> int:
        """Runs a command with the caller's own standard input, output and error: its exit status.

        Or minus the signal that it died of. On a terminal it is the caller's job like any other.
        It has all the time it wants; when an exception ends the wait (a signal handler's), it is
        sent SIGTERM, and killed if it is still there 2 seconds later. The arguments are those of
        `run`. Raises `LabError` when the command doesn't exist.
        """
        process = self._spawn(args, env=env, cwd=cwd, capable=capable, attached=True)
        try:
            return process.wait()
        finally:
            _end(process)

    def python(
        self,
        code: str,
        *args: str,
        input: str | None = None,
        timeout: float = 10.0,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        capable: bool | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """`run` with this interpreter, ``code`` and its ``sys.argv[1:]``; it can import bcast."""
        command = [sys.executable, "-c", code, *args]
        env = _with_bcast(env)
        return self.run(
            command, input=input, timeout=timeout, check=check, env=env, cwd=cwd, capable=capable
        )

    def start_python(
        self,
        code: str,
        *args: str,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        capable: bool | None = None,
    ) -> Running:
        """`start` as `python` runs. What it prints comes at once (PYTHONUNBUFFERED)."""
        env = {"PYTHONUNBUFFERED": "1", **_with_bcast(env)}
        return self.start([sys.executable, "-c", code, *args], env=env, cwd=cwd, capable=capable)

    # --- the namespace itself

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Moves this thread into the namespace for a block: sockets it opens there belong to it.

        And stay there after the block, as do threads and processes started in it. Other threads
        stay where they are. Needs CAP_SYS_ADMIN, which root has; for everybody else a process is
        what can be moved (`python`, `start`). Raises `LabError` where the system refuses.
        """
        if sys.platform != "linux":
            raise not_linux()
        self._holder.require_open()
        setns = ctypes.CDLL(None, use_errno=True).setns
        with open("/proc/thread-self/ns/net") as home, open(f"/proc/{self.pid}/ns/net") as there:
            if setns(there.fileno(), _CLONE_NEWNET):
                raise LabError(
                    f"this thread can't enter {self.name}: {os.strerror(ctypes.get_errno())}",
                    "that takes root; use python() or start() to have a process there",
                )
            try:
                yield
            finally:
                if setns(home.fileno(), _CLONE_NEWNET):
                    raise LabError(
                        f"this thread can't leave {self.name}: {os.strerror(ctypes.get_errno())}"
                    )

    def setup(self, *commands: str, timeout: float = 10.0) -> str:
        """Runs command lines (``"ip link set eth0 down"``) in order, with all capabilities.

        Quoted as in a shell, but there is none. Returns what they wrote to stdout. Raises
        `LabError` at the first that fails.
        """
        path = os.environ.get("PATH", os.defpath)
        env = {"PATH": os.pathsep.join((path, *SYSTEM_FOLDERS)), "LC_ALL": "C"}
        return "".join(
            self.run(shlex.split(line), timeout=timeout, env=env, capable=True).stdout
            for line in commands
        )

    def set_sysctl(self, name: str, value: int | str) -> None:
        """Sets a kernel setting of this namespace: ``net.ipv4.igmp_max_memberships``.

        With slashes instead of dots where an interface's name has a dot. Raises `ArgumentError`
        for one that isn't a namespace's but the machine's, `LabError` when it can't be written.
        """
        path = name if "/" in name else name.replace(".", "/")
        if not path.startswith(("net/ipv4/", "net/ipv6/")) or ".." in path:
            raise ArgumentError(f"{name} isn't a setting of a network namespace")
        script = 'printf "%s" "$1" >"/proc/sys/$2"'
        self.run(["sh", "-c", script, "sh", str(value), path], capable=True)

    def _batch(self, lines: Sequence[str]) -> None:
        """Runs several `ip` commands in one process."""
        self.run([tool("ip"), "-batch", "-"], input="\n".join(lines) + "\n", capable=True)

    def _spawn(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None,
        cwd: str | os.PathLike[str] | None,
        capable: bool | None,
        stdin: int = subprocess.DEVNULL,
        attached: bool = False,
    ) -> subprocess.Popen[str]:
        __tracebackhide__ = True
        privileged = self._holder.privileged
        self._holder.require_open()
        environment = {**os.environ, **(env or {})}
        if cwd is not None and not os.path.isdir(cwd):
            raise LabError(f"on {self.name} there is no folder {os.fspath(cwd)!r}")
        # The file system is the machine's, so the command can be looked for here.
        if not args or not _exists(args[0], environment.get("PATH"), cwd):
            raise LabError(f"on {self.name} there is no command {args[0] if args else ''!r}")
        enter = [tool("nsenter"), "--target", str(self.pid), "--net", "--pid"]
        if not privileged:
            enter += ["--user", "--preserve-credentials"]
        if not (privileged if capable is None else capable):
            enter += [tool("unshare"), *powerless(), "--"]
        piped = None if attached else subprocess.PIPE
        return subprocess.Popen(
            [*enter, *args],
            stdin=None if attached else stdin,
            stdout=piped,
            stderr=piped,
            env=environment,
            cwd=cwd,
            encoding="utf-8",
            errors="replace",
            # A group of its own in our session: should we be killed, the kernel wakes what is
            # stopped in it (setpgid(2)). nsenter has to see that its command is dead.
            process_group=None if attached else 0,
        )

    def _saying(self, args: Sequence[str]) -> str:
        line = shlex.join(args).replace("\n", " ")
        return f"on {self.name}, {line if len(line) <= 100 else line[:97] + '...'}"


def _exists(command: str, path: str | None, cwd: str | os.PathLike[str] | None) -> bool:
    if os.path.dirname(command) and cwd is not None:
        command = os.path.join(cwd, command)
    return shutil.which(command, path=path) is not None


def _end(process: subprocess.Popen[str]) -> None:
    """Sees to it that an attached command is gone: its process group is the caller's own.

    ``process`` is nsenter, which ends when the command that it forked does.
    """
    if sys.platform != "linux":
        raise not_linux()
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        try:
            child = child_of(process.pid)
            os.kill(process.pid if child is None else child, number)
            process.wait(_PATIENCE)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass
    process.kill()
    process.wait()


def _with_bcast(env: Mapping[str, str] | None) -> dict[str, str]:
    """The environment in which Python finds this bcast, installed or not."""
    folder = str(Path(__file__).parent.parent.parent)
    env = dict(env or {})
    others = env.get("PYTHONPATH", os.environ.get("PYTHONPATH"))
    return {**env, "PYTHONPATH": os.pathsep.join([folder, others] if others else [folder])}
