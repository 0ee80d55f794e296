"""The network of a benchmark: two hosts and a cable, in namespaces that vanish with it.

As root the programs run with root's capabilities; otherwise without root and without any, and
the receive buffer is what net.core.rmem_max allows.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bcast.lab import Lab, Running, lab_unavailable
from tests.bench.processes import pause, queue, resume

__all__ = ["GROUP", "INTERFACE", "LENGTH", "Cable", "Sending", "bcast_command", "cable", "subject"]

GROUP = "239.192.7.7"
INTERFACE = "eth0"
#: Bytes of payload in every datagram.
LENGTH = 200
_SENDER, _RECEIVER = "10.0.0.1", "10.0.0.2"


@dataclass(frozen=True, slots=True)
class Sending:
    """What the reference says about its sending."""

    sent: int
    cpu_ns: int
    wall_ns: int


class Cable:
    """A sending and a receiving host with `INTERFACE` each, and the reference program.

    Their network is 10.0.0.0/8, so that made-up sources of it are neighbours.
    """

    def __init__(self, lab: Lab, reference: Path, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.sender = lab.host("sender")
        self.receiver = lab.host("receiver")
        self._reference = str(reference)
        lab.wire(
            self.sender,
            INTERFACE,
            self.receiver,
            INTERFACE,
            addresses=(f"{_SENDER}/8", f"{_RECEIVER}/8"),
        )
        self._started: list[int] = []
        for name, payload in _payloads().items():
            (folder / name).write_bytes(payload)

    def start(self, args: Sequence[str], *, port: int) -> Running:
        """Starts a receiver and waits until it says that it listens on ``port``.

        Raises `LabError` with what it wrote if it doesn't.
        """
        environment = {"PYTHONPATH": _project(), "PYTHONUNBUFFERED": "1"}
        running = self.receiver.start(args, env=environment)
        running.wait_for(f"listening on port {port}", timeout=15.0)
        self._started.append(running.pid)
        return running

    def release(self) -> None:
        """Continues what may be paused: what is stopped can't be ended."""
        for _ in range(3):
            for pid in self._started:
                try:
                    resume(pid)
                except (FileNotFoundError, ProcessLookupError):
                    pass  # it has ended
            time.sleep(0.01)

    def start_reference(self, *, port: int) -> Running:
        """Starts the reference as a receiver."""
        return self.start([self._reference, "receive", INTERFACE, GROUP, str(port)], port=port)

    def send_args(
        self,
        count: int,
        *,
        port: int,
        group: str = GROUP,
        batch: int = 64,
        rate: float = 0.0,
        payload: str = "text",
        mode: str = "plain",
    ) -> list[str]:
        """The command line that sends ``count`` datagrams to the receiver's port."""
        file = str(self.folder / payload)
        return [
            *(self._reference, "send", INTERFACE, _SENDER, group, str(port), str(count)),
            *(str(batch), str(rate), file, mode),
        ]

    def send(
        self,
        count: int,
        *,
        port: int,
        batch: int = 64,
        rate: float = 0.0,
        payload: str = "text",
        mode: str = "plain",
    ) -> Sending:
        """Sends ``count`` datagrams to the group, and returns when the last has left.

        ``rate`` datagrams a second, 0 for as fast as possible; ``payload`` is text, json or
        binary; ``mode`` as in reference.c.
        """
        args = self.send_args(count, port=port, batch=batch, rate=rate, payload=payload, mode=mode)
        patience = 30.0 + count / 20_000 + (count / rate if rate else 0.0)
        capable = True if mode.isdigit() else None
        words = self.sender.run(args, timeout=patience, capable=capable).stdout.split()
        return Sending(int(words[1]), int(words[3]), int(words[5]))

    def run_sender(self, args: Sequence[str]) -> str:
        """Runs a program on the sending host to its end; returns what it printed."""
        environment = {"PYTHONPATH": _project()}
        return self.sender.run(args, env=environment, timeout=60.0).stdout

    def room(self, pid: int, port: int, wanted: int) -> int:
        """How many datagrams, up to ``wanted``, fit into the queue of a process that is paused.

        The queue is empty before, and left full.
        """
        pause(pid)
        self.send(wanted, port=port)
        filled = queue(pid, port)
        return wanted - filled.drops


@contextmanager
def cable() -> Iterator[Cable]:
    """Makes the network and compiles the reference; afterwards nothing of both is left.

    Raises `LabError` where namespaces aren't allowed, SystemExit without a C compiler.
    """
    privileged = sys.platform != "win32" and os.geteuid() == 0 and not lab_unavailable(True)
    with tempfile.TemporaryDirectory(prefix="bcast-bench-") as folder:
        os.chmod(folder, 0o755)
        reference = _compile(Path(folder))
        with Lab(privileged=privileged) as lab:
            made = Cable(lab, reference, Path(folder))
            try:
                yield made
            finally:
                made.release()


def bcast_command(*args: str) -> list[str]:
    """The command line of this bcast."""
    return [sys.executable, "-m", "bcast", *args]


def subject(name: str, *args: str) -> list[str]:
    """The command line of one of the programs in `bench.subjects`."""
    return [sys.executable, str(Path(__file__).with_name("subjects.py")), name, *args]


def _compile(folder: Path) -> Path:
    source = Path(__file__).with_name("reference.c")
    made = folder / "reference"
    try:
        subprocess.run(["cc", "-O2", "-o", str(made), str(source)], check=True)
    except FileNotFoundError:
        raise SystemExit("bench: there is no C compiler: install gcc or clang") from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"bench: {source.name} doesn't compile") from error
    return made


def _payloads() -> dict[str, bytes]:
    """Printable ASCII that JSON writes as it is; JSON, which it doesn't; and random bytes."""
    text = b"The quick brown fox jumps over the lazy dog. "
    told = b'{"name":"lamp-1","type":"_lamp","port":80,"firmware":"1.4.2","serial":"0017C9A2"}'
    return {
        "text": (text * LENGTH)[:LENGTH],
        "json": (told * LENGTH)[:LENGTH],
        "binary": random.Random(1).randbytes(LENGTH),
    }


def _project() -> str:
    return str(Path(__file__).parent.parent.parent)
