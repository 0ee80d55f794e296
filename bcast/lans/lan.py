"""The interface that all LANs have: hosts, accessories, time, faults, expectations."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypedDict, Unpack, overload

from bcast.domain import Domain
from bcast.errors import ArgumentError
from bcast.lans.described import Spoken, description_of
from bcast.lans.expectations import Expecting
from bcast.lans.fakes import Switches, SwitchSettings
from bcast.lans.hosts import Announced, Fake, Host, Running, UnsupportedError
from bcast.lans.journal import Note
from bcast.lans.residents import Occupant
from bcast.lans.searching import Search
from bcast.messages import Service

if TYPE_CHECKING:
    from ipaddress import IPv4Address
    from subprocess import CompletedProcess

    from bcast.accessory.description import Description
    from bcast.accessory.template import Value
    from bcast.lab import Running as Process

__all__ = ["Lan", "Settings", "Side"]

#: Hosts of one side of a partition: by name, as they are, or by what runs on them.
Side = str | Host | Fake | Iterable[str | Host | Fake]

_OBSERVER = "observer"

# What a native accessory is, unless somebody says.
_TYPE = "_accessory"


class Settings(TypedDict):
    """What a program on the LAN needs to be told, as arguments of `bcast.Browser` and the like."""

    interfaces: list[str]
    realm: str
    port: int


class Lan(Expecting):
    """A LAN of hosts, with an observer that hears all that is said. A context manager.

    Networks are named after the observer's interfaces on them: eth0, eth1 and so on. ``seed``
    decides the faults, and in a simulated LAN everything. ``now`` is in seconds since the LAN was
    made. Each LAN has a realm and, where it is real, a port of its own.

    The methods raise `ArgumentError` for what can't be.
    """

    #: What it is called in options and reports.
    kind: ClassVar[str]

    def __init__(self, domain: Domain, networks: Sequence[str], seed: int) -> None:
        super().__init__(networks)
        self.domain = domain
        self.networks = tuple(networks)
        self.seed = seed
        self.random = Random(f"{seed} lan")
        #: The host that hears everything.
        self.observer = Host(self, _OBSERVER, self.networks)
        self._hosts = {_OBSERVER: self.observer}
        #: What it searches by ("": its own protocol), and what runs of that.
        self._searches: dict[str, Search | None] = {"": None}
        self._observing: dict[str, Running] = {}
        self._chance = 0.0
        self._sides: tuple[tuple[Host, ...], ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- what each LAN does its own way --------------------------------------------------------

    @abstractmethod
    def close(self) -> None:
        """Ends all that runs on it, without a word. More than once is fine."""

    @abstractmethod
    def _connect(self, host: Host) -> None:
        """Gives a new host its interfaces."""

    @abstractmethod
    def _address(self, host: Host, network: str) -> IPv4Address:
        """Where a host is on a network that it is on."""

    @abstractmethod
    def _start(self, host: Host, occupant: Occupant) -> Running:
        """Runs an accessory, or what the observer searches by, on a host."""

    @abstractmethod
    def _roam(self, host: Host, network: str) -> None:
        """Takes a host from its networks to another."""

    @abstractmethod
    def _set_loss(self, chance: float) -> None: ...

    @abstractmethod
    def _set_sides(self, sides: tuple[tuple[Host, ...], ...]) -> None: ...

    @abstractmethod
    def _set_down(self, host: Host, interface: str, down: bool) -> None: ...

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
    ) -> CompletedProcess[str]:
        """Runs a command on a host to its end."""
        raise _no_commands(host)

    def _start_on(
        self,
        host: Host,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None,
        cwd: str | os.PathLike[str] | None,
    ) -> Process:
        """Starts a command on a host."""
        raise _no_commands(host)

    @property
    def programs(self) -> tuple[Process, ...]:
        """What `Host.start` started, ended or not."""
        return ()

    # -- hosts and accessories ----------------------------------------------------------------

    def host(self, name: str, *, on: str | Sequence[str] | None = None) -> Host:
        """The host of that name; makes it, connected to the networks ``on``, if there is none.

        None: the first network.
        """
        if name in self._hosts:
            if on is not None and self._hosts[name].networks != self._listed(on):
                raise ArgumentError(
                    f"there is a host {name} already, on {', '.join(self._hosts[name].networks)}",
                    "use another name, or let it roam",
                )
            return self._hosts[name]
        made = Host(self, name, self._listed(on))
        self._connect(made)
        self._hosts[name] = made
        return made

    def _listed(self, on: str | Sequence[str] | None) -> tuple[str, ...]:
        if on is None:
            return self.networks[:1]
        networks = (on,) if isinstance(on, str) else tuple(on)
        for network in networks:
            self._check_network(network)
        return networks

    def _check_network(self, network: str) -> None:
        if network not in self.networks:
            raise ArgumentError(
                f"there is no network {network!r}", f"use one of {', '.join(self.networks)}"
            )

    @overload
    def accessory(
        self,
        service: Service,
        /,
        *,
        on: str | Sequence[str] | None = None,
        interval: float | None = None,
        **switches: Unpack[SwitchSettings],
    ) -> Announced: ...

    @overload
    def accessory(
        self,
        service: str,
        /,
        type: str,
        *,
        port: int = 80,
        attributes: dict[str, str] | None = None,
        on: str | Sequence[str] | None = None,
        interval: float | None = None,
        **switches: Unpack[SwitchSettings],
    ) -> Announced: ...

    @overload
    def accessory(
        self,
        service: str | Description,
        /,
        *,
        port: int = 80,
        attributes: dict[str, str] | None = None,
        on: str | Sequence[str] | None = None,
        interval: float | None = None,
        count: int = 1,
        values: Mapping[str, Value] | None = None,
        name: str = "",
        id: Value = "",
        model: str = "",
        **switches: Unpack[SwitchSettings],
    ) -> Any: ...

    def accessory(
        self,
        service: Service | str | Description,
        /,
        type: str | None = None,
        *,
        on: str | Sequence[str] | None = None,
        count: int = 1,
        values: Mapping[str, Value] | None = None,
        **given: Any,
    ) -> Any:
        """A fake accessory on a host of its own: `Announced`, or `Impersonated`.

        With a ``type``, or as a `Service`, it is a native one; `port`, `attributes` and `interval`
        as `Host.announce` has them. One argument that is the name of a protocol, a ``.toml`` file
        or a `Description` is what describes it: then there may be ``count`` of them, and what it
        says is given by name, or in ``values``, where a name means something else here. All take
        switches.
        """
        protocol = description_of(service) if type is None else None
        if protocol is not None:
            switches = {name: given.pop(name) for name in Switches._names if name in given}
            for word in ("attributes", "interval"):
                if word in given and word not in protocol.names:
                    raise ArgumentError(
                        f"an accessory of {protocol.name} has no {word}",
                        "give what it says by name, as name='Plug'",
                    )
            host = self._new_host(protocol.name, on)
            said = {**(values or {}), **given}
            return host.impersonate(protocol, values=said, count=count, **switches)
        if count != 1 or values:
            raise ArgumentError(
                f"{service!r} is no protocol, so it can't have values or be several",
                "see bcast protocols, or give a file: NAME.toml",
            )
        port, attributes = given.pop("port", 80), given.pop("attributes", None)
        interval = given.pop("interval", None)
        if not isinstance(service, Service):
            service = Service(str(service), type or _TYPE, port, attributes or {})
        Switches().set(given)
        host = self._new_host(service.name, on)
        return host.announce(service, interval=interval, **given)

    def _new_host(self, name: str, on: str | Sequence[str] | None) -> Host:
        """A host for something of that name."""
        plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in name)[:12]
        free = (f"{plain}{n or ''}" for n in range(len(self._hosts) + 1))
        return self.host(next(one for one in free if one not in self._hosts), on=on)

    def search(self, *protocols: str | Description) -> None:
        """Has the observer search by these protocols too, as it does by those of accessories.

        Names, ``.toml`` files or descriptions. Raises `ArgumentError`.
        """
        for one in protocols:
            description = description_of(one)
            if description is None:
                raise ArgumentError(f"{one!r} is no protocol", "see bcast protocols")
            self._searches.setdefault(description.name, Search(Spoken(description)))
        self.journal.merge()

    @property
    def realm(self) -> str:
        return self.domain.realm

    @property
    def port(self) -> int:
        return self.domain.port

    @property
    def settings(self) -> Settings:
        """For programs under test: ``bcast.discover("_lamp", **lan.settings)``."""
        return Settings(interfaces=list(self.networks), realm=self.realm, port=self.port)

    def _observe(self, *, search: bool = False, silent: bool = False) -> None:
        for name, one in self._searches.items():
            if name not in self._observing:
                self._observing[name] = self._start(self.observer, one)
            elif search or (silent and name):
                self._observing[name].tell("search")

    def _remark(self, what: str) -> None:
        self.journal.add([Note(self.now, "", what)])

    # -- faults -------------------------------------------------------------------------------

    @contextmanager
    def loss(self, chance: float) -> Iterator[None]:
        """While the block lasts, each receiver loses each datagram with this chance, 0..1."""
        if not 0 <= chance <= 1:
            raise ArgumentError(f"{chance} is no chance (loss)", "use 0 (never) to 1 (always)")
        before, self._chance = self._chance, chance
        self._remark(f"{chance:.0%} loss begins")
        self._set_loss(chance)
        try:
            yield
        finally:
            self._chance = before
            self._remark(f"{chance:.0%} loss ends")
            self._set_loss(before)

    @contextmanager
    def down(self, interface: str, host: Host | str | None = None) -> Iterator[None]:
        """While the block lasts, an interface is down: the observer's, or another host's."""
        where = self.observer if host is None else self._host_of(host)
        names = self._interfaces(where)
        if interface not in names:
            raise ArgumentError(
                f"{where.name} has no interface {interface!r}", f"use one of {', '.join(names)}"
            )
        self._remark(f"{interface} of {where.name} goes down")
        self._set_down(where, interface, True)
        try:
            yield
        finally:
            self._remark(f"{interface} of {where.name} comes up")
            self._set_down(where, interface, False)

    def _interfaces(self, host: Host) -> tuple[str, ...]:
        """The names of its interfaces."""
        if host is self.observer:
            return self.networks
        return tuple(f"eth{number}" for number in range(len(host.networks)))

    @contextmanager
    def partition(self, *sides: Side) -> Iterator[None]:
        """While the block lasts, hosts of one side don't hear those of another.

        Hosts that are on no side hear everybody. One side alone is cut off from all others.
        """
        placed = tuple(self._side(side) for side in sides)
        if len(placed) == 1:
            placed += (tuple(h for h in self._hosts.values() if h not in placed[0]),)
        named = [host for side in placed for host in side]
        if len(set(named)) < len(named):
            raise ArgumentError("a host can't be on two sides", "name each host once")
        before, self._sides = self._sides, placed
        words = " | ".join(", ".join(host.name for host in side) for side in placed)
        self._remark(f"partition begins: {words}")
        self._set_sides(placed)
        try:
            yield
        finally:
            self._sides = before
            self._remark("partition ends")
            self._set_sides(before)

    def _side(self, side: Side) -> tuple[Host, ...]:
        listed = [side] if isinstance(side, str | Host | Fake) else list(side)
        return tuple(self._host_of(one) for one in listed)

    def _host_of(self, one: str | Host | Fake) -> Host:
        if isinstance(one, Fake):
            return one.host
        if isinstance(one, Host):
            return one
        if one not in self._hosts:
            raise ArgumentError(
                f"there is no host {one!r}", f"use one of {', '.join(self._hosts)}"
            )
        return self._hosts[one]


def _no_commands(host: Host) -> UnsupportedError:
    return UnsupportedError(f"{host.name} is no host that runs commands", "use the lab for that")
