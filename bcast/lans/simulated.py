"""A LAN in memory under made-up time: an hour in a moment, and every failure comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from random import Random
from typing import Any, ClassVar

from bcast.domain import Domain
from bcast.errors import ArgumentError
from bcast.lans.hosts import Host, Running
from bcast.lans.lan import Lan
from bcast.lans.residents import Occupant, make_resident
from bcast.simnet import Faults
from bcast.simnet import Lan as SimnetLan
from bcast.simnet.host import Link
from bcast.simnet.process import Process
from bcast.wire import Decoder

__all__ = ["SimulatedLan"]


class SimulatedLan(Lan):
    """A LAN on `bcast.simnet`. Time goes by only while the script waits or expects something.

    ``seed``: the same script with the same seed does the same. ``networks``: how many there are,
    1..100. ``domain``: where and with whom peers meet.
    """

    kind: ClassVar[str] = "sim"

    def __init__(self, *, seed: int = 0, networks: int = 1, domain: Domain | None = None) -> None:
        if not 1 <= networks <= 100:
            raise ArgumentError(f"a LAN of {networks} networks", "use 1 to 100")
        names = [f"eth{number}" for number in range(networks)]
        super().__init__(domain or Domain(), names, seed)
        #: What it runs on, for raw datagrams, more faults, and machines of the script's own.
        self.simnet = SimnetLan(seed)
        self._segments = {name: self.simnet.segment(name) for name in names}
        self._links: dict[tuple[str, str], Link] = {}
        self._decode = Decoder().decode
        self._randoms = 0
        self._connect(self.observer)

    @property
    def now(self) -> float:
        return self.simnet.now

    @property
    def label(self) -> str:
        return f"simulated LAN, seed {self.seed}"

    def close(self) -> None:
        for host in self.simnet.hosts:
            host.stop()

    def _pass_time(self, ready: Callable[[], bool], limit: float) -> bool:
        return self.simnet.run_until(ready, limit)

    def _connect(self, host: Host) -> None:
        made = self.simnet.host(host.name)
        for network in host.networks:
            self._links[host.name, network] = made.connect(self._segments[network])

    def _address(self, host: Host, network: str) -> IPv4Address:
        return IPv4Address(self._links[host.name, network].address())

    def _start(self, host: Host, occupant: Occupant) -> Running:
        self._randoms += 1
        random = Random(f"{self.seed} {host.name} {self._randoms}")
        place = next(one for one in self.simnet.hosts if one.name == host.name)
        resident = make_resident(
            occupant,
            self.domain,
            random=random,
            since=place.clock_ns / 1e9,
            host=host.name,
            note=self.journal.add,
            decode=self._decode,
        )
        if resident.doors:
            return _Running(place.run(resident.machine, doors=resident.doors))
        domain = resident.domain
        return _Running(place.run(resident.machine, port=domain.port, groups=domain.groups))

    def _roam(self, host: Host, network: str) -> None:
        for name in host.networks:
            self._links[host.name, name].down()
        link = self._links.get((host.name, network))
        if link is None:
            place = next(one for one in self.simnet.hosts if one.name == host.name)
            self._links[host.name, network] = place.connect(self._segments[network])
        else:
            link.up()

    def _set_loss(self, chance: float) -> None:
        for segment in self._segments.values():
            faults: Faults = segment.faults
            segment.faults = faults.__replace__(loss=chance)

    def _set_sides(self, sides: tuple[tuple[Host, ...], ...]) -> None:
        by_name = {host.name: host for host in self.simnet.hosts}
        placed: Sequence[list[Any]] = [[by_name[host.name] for host in side] for side in sides]
        for segment in self._segments.values():
            segment.partition(*placed)

    def _set_down(self, host: Host, interface: str, down: bool) -> None:
        for (name, _), link in self._links.items():
            if name == host.name and link.interface.name == interface:
                if down:
                    link.down()
                else:
                    link.up()

    def _interfaces(self, host: Host) -> tuple[str, ...]:
        links = self._links.items()
        return tuple(link.interface.name for (name, _), link in links if name == host.name)


class _Running:
    def __init__(self, process: Process[Any]) -> None:
        self._process = process

    def tell(self, verb: str, *arguments: object) -> None:
        function = getattr(self._process.machine, verb)
        self._process.call(lambda now: function(*arguments, now))

    def stop(self) -> None:
        if self._process.is_running:
            self._process.stop()
