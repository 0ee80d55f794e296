"""A LAN of hosts of the real kernel: network namespaces, without root."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address
from tempfile import TemporaryDirectory
from time import monotonic
from typing import ClassVar
from uuid import uuid4

from bcast.domain import Domain
from bcast.errors import ArgumentError, LabError
from bcast.lab import Host as LabHost
from bcast.lab import Lab, lab_unavailable
from bcast.lab import Running as Process
from bcast.lans.agent import Failure, Line, Ready, Task
from bcast.lans.hosts import Host, Running, UnsupportedError
from bcast.lans.journal import Note
from bcast.lans.real import RealLan
from bcast.lans.residents import Occupant

__all__ = ["LabLan", "lab_lan_unavailable"]

_AGENT = "import sys; from bcast.lans.agent import main; main(sys.argv[1])"
# Seconds that a process gets to start.
_PATIENCE = 20.0
# Seconds between two looks whether it died of something meanwhile.
_LOOK = 0.1


class LabLan(RealLan):
    """A LAN of `bcast.lab`: each host has the kernel's network to itself, and can run commands.

    ``networks``: how many there are, 1..100. ``domain``: where and with whom peers meet; None is
    a realm of its own. ``snooping``: bridges forward groups to their members alone. Chance is the
    kernel's: ``seed`` decides nothing but the ids of accessories. Faults are the kernel's too: a
    link that is down has no carrier. Raises `LabError` where there can't be a lab.
    """

    kind: ClassVar[str] = "lab"

    def __init__(
        self,
        *,
        seed: int = 0,
        networks: int = 1,
        domain: Domain | None = None,
        snooping: bool = False,
    ) -> None:
        if not 1 <= networks <= 100:
            raise ArgumentError(f"a LAN of {networks} networks", "use 1 to 100")
        names = [f"eth{number}" for number in range(networks)]
        super().__init__(domain or Domain(f"lan-{uuid4()}"), names, seed)
        #: What it is made of, for more that can be done to hosts, links and segments.
        self.lab = Lab(privileged=_takes_root())
        self._agents: list[_Agent] = []
        self._places: dict[Host, LabHost] = {}
        self._programs: list[Process] = []
        self.lab.open()
        try:
            self._segments = {n: self.lab.segment(n, snooping=snooping) for n in names}
            self._connect(self.observer)
        except BaseException:
            self.lab.close()
            raise

    @property
    def label(self) -> str:
        return "LAN of the lab"

    def close(self) -> None:
        for agent in self._agents:
            agent.stopped = True
        self.lab.close()
        for agent in self._agents:
            agent.close()

    # -- hosts --------------------------------------------------------------------------------

    def _connect(self, host: Host) -> None:
        place = self._places[host] = self.lab.host(host.name)
        for network in host.networks:
            place.connect(self._segments[network])

    def _address(self, host: Host, network: str) -> IPv4Address:
        links, there = self._places[host].links, self._segments[network]
        return IPv4Address(next(link for link in links if link.segment is there).address())

    def _roam(self, host: Host, network: str) -> None:
        place, there = self._places[host], self._segments[network]
        for link in place.links:
            link.down()
        known = next((link for link in place.links if link.segment is there), None)
        if known is None:
            place.connect(there)
        else:
            known.up()

    def _interfaces(self, host: Host) -> tuple[str, ...]:
        return tuple(link.name for link in self._places[host].links)

    def _run_on(
        self,
        host: Host,
        args: Sequence[str],
        *,
        input: str | None,
        timeout: float,
        check: bool,
        env: Mapping[str, str] | None,
        cwd: str | os.PathLike[str] | None,
    ) -> subprocess.CompletedProcess[str]:
        __tracebackhide__ = True
        place = self._places[host]
        self._remark(f"{host.name} runs {args[0] if args else 'nothing'}")
        return place.run(args, input=input, timeout=timeout, check=check, env=env, cwd=cwd)

    def _start_on(
        self,
        host: Host,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None,
        cwd: str | os.PathLike[str] | None,
    ) -> Process:
        __tracebackhide__ = True
        self._remark(f"{host.name} starts {args[0] if args else 'nothing'}")
        started = self._places[host].start(args, env=env, cwd=cwd)
        self._programs.append(started)
        return started

    @property
    def programs(self) -> tuple[Process, ...]:
        return tuple(self._programs)

    # -- faults -------------------------------------------------------------------------------

    def _set_loss(self, chance: float) -> None:
        with _possible():
            for segment in self._segments.values():
                segment.loss = chance

    def _set_sides(self, sides: tuple[tuple[Host, ...], ...]) -> None:
        placed = [[self._places[host] for host in side] for side in sides]
        with _possible():
            for segment in self._segments.values():
                segment.partition(*placed)

    def _set_down(self, host: Host, interface: str, down: bool) -> None:
        for link in self._places[host].links:
            if link.name == interface:
                change = link.down if down else link.up
                change()

    # -- what runs ----------------------------------------------------------------------------

    def _start(self, host: Host, occupant: Occupant) -> Running:
        self._agents = [agent for agent in self._agents if not agent.closed]
        task = Task(self.began, self.domain, occupant, host.name)
        agent = _Agent(self._places[host], task, self.journal.add, self._wake)
        self._agents.append(agent)
        return agent

    def _failures(self) -> list[BaseException]:
        return [agent.error for agent in self._agents if agent.error is not None]


def lab_lan_unavailable() -> str:
    """Why there can't be such a LAN here; empty if there can."""
    return "" if _takes_root() else lab_unavailable()


def _takes_root() -> bool:
    """Whether only root can have a lab here, and is who asks."""
    is_root = sys.platform != "win32" and os.geteuid() == 0
    return is_root and bool(lab_unavailable()) and not lab_unavailable(privileged=True)


class _Agent:
    """A process on a host that runs a machine, and the thread that listens to it.

    ``note`` is called in that thread with what the machine notes down, ``failed`` when it fails.
    """

    def __init__(
        self,
        place: LabHost,
        task: Task,
        note: Callable[[Iterable[Note]], object],
        failed: Callable[[], object],
    ) -> None:
        #: What it failed of.
        self.error: BaseException | None = None
        self.stopped = self.closed = self._ready = False
        self._where = place.name
        self._note = note
        self._thread: threading.Thread | None = None
        self._failed = failed
        self._process, self._line = _dial(place)
        try:
            self._line.send(task)
            while not self._ready:
                self._hear()
                if self.error is not None:
                    raise self.error
        except BaseException:
            self.stop()
            raise
        self._thread = threading.Thread(target=self._listen, name="bcast", daemon=True)
        self._thread.start()

    def _told(self, failure: Failure) -> BaseException:
        said = f"what runs on {self._where} failed:\n{failure.trace}"
        return failure.error or RuntimeError(said)

    def _listen(self) -> None:
        try:
            while True:
                self._hear()
        except (EOFError, OSError):
            if self.stopped:
                return
            said = self._process.errors().strip()
            self.error = self.error or LabError(f"what ran on {self._where} was ended", said)
            self._failed()

    def _hear(self) -> None:
        for message in self._line.receive():
            if isinstance(message, Failure):
                self.error = self._told(message)
            elif isinstance(message, Ready):
                self._ready = True
            else:
                self._note(message)

    def tell(self, verb: str, *arguments: object) -> None:
        if self.stopped:
            return
        try:
            self._line.send((verb, arguments))
        except OSError:
            pass  # the thread knows why

    def stop(self) -> None:
        self.stopped = True
        self._process.kill()
        self.close()

    def close(self) -> None:
        """Forgets it, when it is gone."""
        if self.closed:
            return
        self.closed = self.stopped = True
        self._line.close()
        if self._thread is not None:
            self._thread.join()


def _dial(place: LabHost) -> tuple[Process, Line]:
    """Starts an agent on a host, and has it connect."""
    if sys.platform == "win32":
        raise LabError("a lab needs Linux")
    with (
        TemporaryDirectory(prefix="bcast-") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening,
    ):
        path = os.path.join(folder, "agent")
        listening.bind(path)
        listening.listen(1)
        listening.settimeout(_LOOK)
        process = place.start_python(_AGENT, path)
        end = monotonic() + _PATIENCE
        while True:
            try:
                return process, Line(listening.accept()[0])
            except TimeoutError:
                if process.status is None and monotonic() < end:
                    continue
            except BaseException:
                process.kill()
                raise
            process.kill()
            raise LabError(
                f"nothing can be run on {place.name}",
                process.errors().strip() or "it didn't start",
            )


@contextmanager
def _possible() -> Iterator[None]:
    """What this system's kernel can't do isn't the test's fault."""
    try:
        yield
    except LabError as error:
        raise UnsupportedError(error.message, error.advice) from error
