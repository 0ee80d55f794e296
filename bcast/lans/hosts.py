"""What a script holds in its hands: the hosts of a LAN, and the fake accessories on them."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol, Unpack

from bcast.errors import ArgumentError, BcastError
from bcast.lans.described import Described, Spoken
from bcast.lans.fakes import Accessory, Switches, SwitchSettings
from bcast.matching import exactly
from bcast.messages import Service

if TYPE_CHECKING:
    from ipaddress import IPv4Address
    from subprocess import CompletedProcess

    from bcast.accessory.description import Description
    from bcast.accessory.template import Value
    from bcast.lab import Running as Process
    from bcast.lans.lan import Lan

__all__ = ["Announced", "Fake", "Host", "Impersonated", "Running", "UnsupportedError"]


class UnsupportedError(BcastError):
    """This kind of LAN can't do that; another one can."""


class Running(Protocol):
    """A machine that runs on a host."""

    def tell(self, verb: str, *arguments: object) -> None:
        """Calls a method of the machine, with the arguments and the time."""

    def stop(self) -> None:
        """Ends it without a word. More than once is fine."""


class Host:
    """A host of a LAN; `Lan.host` makes one.

    ``name``; ``networks``: those that it is connected to, by name; ``accessories`` on it.
    """

    def __init__(self, lan: Lan, name: str, networks: tuple[str, ...]) -> None:
        self.name = name
        self.networks = networks
        self.accessories: list[Fake] = []
        self._lan = lan

    def __repr__(self) -> str:
        return f"<Host {self.name}>"

    def announce(
        self,
        *services: Service,
        id: bytes | None = None,
        interval: float | None = None,
        **switches: Unpack[SwitchSettings],
    ) -> Announced:
        """Starts a fake accessory that offers these services.

        ``id``: 16 bytes, random if not given. ``interval``: seconds between its beats, 1..3600.
        The rest is `Switches`. Raises `ArgumentError` for what can't be.
        """
        if not services:
            raise ArgumentError("an accessory without a service can't be found", "give it one")
        made = Accessory(
            services, id or self._lan.random.randbytes(16), Switches().set(switches), interval
        )
        return Announced(self._lan, self, made)

    def impersonate(
        self,
        description: Description,
        *,
        values: Mapping[str, Value] | None = None,
        count: int = 1,
        **switches: Unpack[SwitchSettings],
    ) -> Impersonated:
        """Starts a fake accessory that a description describes, or ``count`` of them.

        ``values``: what it says, as `bcast.Impersonator` has it. The rest is `Switches`. Raises
        `ArgumentError` for what can't be, `SocketError` if it can't have its port.
        """
        # Real LANs share fixed ports: who was made with the same seed elsewhere is somebody else.
        id = sha256(self._lan.realm.encode() + self._lan.random.randbytes(16)).digest()[:16]
        made = Described(
            Spoken(description), dict(values or {}), count, id, Switches().set(switches)
        )
        made.check()
        return Impersonated(self._lan, self, made)

    def address(self, network: str | None = None) -> IPv4Address:
        """Its address on one of its networks; None: the first.

        Raises `ArgumentError` if it isn't on that network, `UnsupportedError` on a real LAN.
        """
        if network is not None and network not in self.networks:
            raise ArgumentError(
                f"{self.name} isn't on {network!r}", f"use one of {', '.join(self.networks)}"
            )
        return self._lan._address(self, network or self.networks[0])

    def roam(self, network: str) -> None:
        """Leaves all networks that it is on, and connects to this one instead.

        Raises `ArgumentError` if there is no network of that name.
        """
        self._lan._check_network(network)
        self._lan._remark(f"{self.name} roams from {', '.join(self.networks)} to {network}")
        self._lan._roam(self, network)
        self.networks = (network,)

    def run(
        self,
        args: Sequence[str],
        *,
        input: str | None = None,
        timeout: float = 10.0,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> CompletedProcess[str]:
        """Runs a command on it to its end, as `bcast.lab.Namespace.run` does; on hosts of the lab.

        Raises `LabError` when the command doesn't exist, isn't through after ``timeout`` seconds
        (then it is killed) or, with ``check``, fails; `UnsupportedError` on other LANs.
        """
        __tracebackhide__ = True
        return self._lan._run_on(
            self, args, input=input, timeout=timeout, check=check, env=env, cwd=cwd
        )

    def start(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> Process:
        """Starts a command on it, which is killed with the LAN at the latest; as `run`."""
        __tracebackhide__ = True
        return self._lan._start_on(self, args, env=env, cwd=cwd)


class Fake(ABC):
    """A fake accessory on a host.

    ``host``: where it is.
    """

    _made: Accessory | Described

    def __init__(self, lan: Lan, host: Host, running: Running) -> None:
        self.host = host
        self._lan = lan
        self._running = running
        host.accessories.append(self)

    def __repr__(self) -> str:
        return f"<accessory {self.name!r} on {self.host.name}>"

    @property
    @abstractmethod
    def id(self) -> str:
        """The `bcast.Device.id` that it has, or should have."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called."""

    @property
    @abstractmethod
    def conditions(self) -> tuple[str, ...]:
        """What its device is like, as `bcast.matching.Matcher` has it."""

    @property
    def switches(self) -> Switches:
        return self._made.switches

    @abstractmethod
    def _switch(self, switches: Switches) -> None:
        """Notes how it misbehaves from now on."""

    def switch(self, **switches: Unpack[SwitchSettings]) -> None:
        """Changes how it misbehaves, from now on. Raises `ArgumentError`."""
        changed = self._made.switches.set(switches)
        self._switch(changed)
        said = ", ".join(f"{name}={value}" for name, value in switches.items())
        self._remark(f"is switched to {said}")
        self._running.tell("switch", changed)

    def leave(self) -> None:
        """Says goodbye (three times within 0.3 seconds) and nothing more, unless it forgets to.

        An accessory whose protocol has no goodbye just says nothing more.
        """
        self._remark("leaves")
        self._running.tell("leave")

    def crash(self) -> None:
        """Ends at once, without a word, as without power."""
        self._remark("crashes")
        self._running.stop()

    def restart(self) -> None:
        """Crashes and starts again: the same id, and nothing else that it remembers."""
        self._remark("restarts")
        self._running.stop()
        self._running = self._lan._start(self.host, self._made)

    def roam(self, network: str) -> None:
        """Its host leaves its networks and connects to this one instead: see `Host.roam`."""
        self.host.roam(network)

    def _remark(self, what: str) -> None:
        self._lan._remark(f"{self.name!r} on {self.host.name} {what}")


class Announced(Fake):
    """A fake native accessory on a host; `Host.announce` makes one."""

    def __init__(
        self, lan: Lan, host: Host, accessory: Accessory, running: Running | None = None
    ) -> None:
        self._made: Accessory = accessory
        super().__init__(lan, host, running or lan._start(host, accessory))

    @property
    def id(self) -> str:
        return self._made.id.hex()

    @property
    def name(self) -> str:
        return self.service.name

    @property
    def service(self) -> Service:
        """The first that it offers now."""
        return self._made.services[0]

    @property
    def services(self) -> tuple[Service, ...]:
        return self._made.services

    @property
    def conditions(self) -> tuple[str, ...]:
        return f"name={exactly(self.service.name)}", f"type={self.service.type}"

    def _switch(self, switches: Switches) -> None:
        self._made = self._made.__replace__(switches=switches)

    def change(
        self,
        *,
        name: str | None = None,
        port: int | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        """Offers its first service otherwise, and says so. Raises `ArgumentError`."""
        old = self.service
        new = Service(
            old.name if name is None else name,
            old.type,
            old.port if port is None else port,
            old.attributes if attributes is None else attributes,
        )
        fields = ("name", "port", "attributes")
        changed = ", ".join(f for f in fields if getattr(new, f) != getattr(old, f))
        self._remark(f"changes its {changed or 'version'}")
        self._made = self._made.__replace__(services=(new, *self._made.services[1:]))
        self._running.tell("offer", self._made.services)


class Impersonated(Fake):
    """A fake accessory of a described protocol on a host; `Host.impersonate` makes one.

    If they are several, it is any of them that is expected, and their host that something
    happens to.
    """

    def __init__(
        self, lan: Lan, host: Host, described: Described, running: Running | None = None
    ) -> None:
        self._made: Described = described
        lan.search(described.description)
        super().__init__(lan, host, running or lan._start(host, described))

    @property
    def id(self) -> str:
        """As `Fake.id`; of the first, if they are several."""
        return self._made.device_id() or str(self.host.address())

    @property
    def name(self) -> str:
        """What it is called, or if it has no name what it speaks."""
        return str(self.values.get("name") or self.protocol)

    @property
    def protocol(self) -> str:
        """The name of its protocol."""
        return self._made.description.name

    @property
    def values(self) -> Mapping[str, Value]:
        """What it says; of the first, if they are several."""
        address = str(self.host.address())
        return self._made.parts(address)[0].values

    @property
    def conditions(self) -> tuple[str, ...]:
        known = self._made.device_id() if self._made.count == 1 else None
        who = f"address={self.host.address()}" if known is None else f"id={exactly(known)}"
        conditions = [f"protocol={self.protocol}", who]
        # It may be there before it says its name; and others on its host may have another one.
        if self._made.says_name and len(self.host.accessories) == 1:
            conditions.append(f"name={exactly(self.name)}")
        return tuple(conditions)

    def _switch(self, switches: Switches) -> None:
        made = self._made.__replace__(switches=switches)
        made.check()
        self._made = made

    def change(self, **values: Value) -> None:
        """Says these values from now on, the others as before; and announces them, if it does.

        Raises `ArgumentError`.
        """
        made = self._made.__replace__(given={**self._made.given, **values})
        made.check()
        self._remark(f"changes its {', '.join(values)}")
        self._made = made
        self._running.tell("change", made.given)
