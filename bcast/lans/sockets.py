"""What LANs on sockets of this process have in common: machines that run in threads."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from random import Random, SystemRandom
from typing import Any

from bcast.datagram import Datagram, Endpoint, Family, Interface
from bcast.domain import Domain
from bcast.driver import Driver
from bcast.lans.gate import Gate
from bcast.lans.hosts import Host, Running
from bcast.lans.real import RealLan
from bcast.lans.residents import Occupant, make_resident, open_driver
from bcast.runners import ThreadRunner
from bcast.sweep import unix_offset

__all__ = ["SocketLan", "ThreadRunning"]


class SocketLan(RealLan):
    """A LAN whose machines run in threads of this process, on its sockets.

    Faults are made between sockets and machines, so they concern what the LAN runs itself.
    """

    def __init__(self, domain: Domain, networks: Sequence[str], seed: int) -> None:
        super().__init__(domain, networks, seed)
        self._running: list[tuple[Host, ThreadRunning]] = []
        self._lossy = Random(f"{seed} loss")
        self._places: dict[Host, int] = {}

    def close(self) -> None:
        for _, running in self._running:
            running.stop()

    def _failures(self) -> list[BaseException]:
        return [one.error for _, one in tuple(self._running) if one.error is not None]

    def _run(
        self,
        host: Host,
        occupant: Occupant,
        *,
        interfaces: Sequence[str] | str | None,
        family: Family | None,
        list_interfaces: Callable[[], tuple[Interface, ...]],
    ) -> ThreadRunning:
        resident = make_resident(
            occupant,
            self.domain,
            random=SystemRandom(),
            since=unix_offset(self.now),
            host=host.name,
            note=self.journal.add,
        )
        machine = resident.machine
        gate: Gate[Any] = Gate(machine, lambda datagram: self._arrives(host, datagram))
        driver = open_driver(
            resident,
            gate,
            interfaces=interfaces,
            family=family,
            clock=lambda: self.now,
            list_interfaces=list_interfaces,
        )
        running = ThreadRunning(machine, gate, driver, self._wake)
        self._running.append((host, running))
        return running

    # -- faults -------------------------------------------------------------------------------

    def _arrives(self, host: Host, datagram: Datagram) -> bool:
        """Whether a datagram reaches a host; called by the threads."""
        if not self._chance and not self._places:
            return True
        sender = self._sender(datagram.source)
        if sender is host:
            return True
        here, there = self._places.get(host), None
        if sender is not None:
            there = self._places.get(sender)
        if here is not None and there is not None and here != there:
            return False
        return not self._chance or self._lossy.random() >= self._chance

    def _sender(self, source: Endpoint) -> Host | None:
        for host, running in tuple(self._running):
            if source in running.endpoints:
                return host
        return None

    def _set_loss(self, chance: float) -> None:
        """The threads look at the chance themselves."""

    def _set_sides(self, sides: tuple[tuple[Host, ...], ...]) -> None:
        self._places = {host: number for number, side in enumerate(sides) for host in side}

    def _set_down(self, host: Host, interface: str, down: bool) -> None:
        for where, running in self._running:
            if where is host:
                running.set_down(interface, down)

    @abstractmethod
    def _start(self, host: Host, occupant: Occupant) -> Running: ...


class ThreadRunning:
    """A machine that a thread of its own drives, which calls ``failed`` if it does."""

    def __init__(
        self,
        machine: object,
        gate: Gate[Any],
        driver: Driver[Any],
        failed: Callable[[], object] = lambda: None,
    ) -> None:
        self._machine = machine
        self._gate = gate
        self._driver = driver
        self.endpoints = driver.endpoints
        self._failed = failed
        self._runner: ThreadRunner | None = None
        try:
            self._runner = ThreadRunner(driver, self._look)
        except BaseException:
            driver.close()
            raise

    def _look(self) -> None:
        if self.error is not None:
            self._failed()

    @property
    def error(self) -> BaseException | None:
        """What its thread failed of."""
        return None if self._runner is None else self._runner.error

    def _call(self, function: Callable[[], object]) -> None:
        assert self._runner is not None
        self._runner.call(function)

    def tell(self, verb: str, *arguments: object) -> None:
        function = getattr(self._machine, verb)
        self._call(lambda: function(*arguments, self._driver.now()))

    def set_down(self, interface: str, down: bool) -> None:
        """Cuts it off from an interface, or connects it again."""
        self._call(lambda: self._gate.set_down(interface, down, self._driver.now()))

    def stop(self) -> None:
        if self._runner is not None:
            self._runner.close()
