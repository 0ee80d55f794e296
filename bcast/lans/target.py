"""A LAN with a real device on it: the same script, told to who it is that should be found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from bcast.domain import Domain
from bcast.errors import ArgumentError
from bcast.interfaces import list_interfaces, select
from bcast.lans.described import Described, Spoken, description_of
from bcast.lans.fakes import Accessory, Switches
from bcast.lans.hosts import Announced, Fake, Host, Impersonated, Running, UnsupportedError
from bcast.lans.residents import Occupant
from bcast.lans.sockets import SocketLan
from bcast.lans.wanted import Match, Wanted
from bcast.matching import exactly
from bcast.messages import Service

if TYPE_CHECKING:
    from bcast.accessory.description import Description
    from bcast.accessory.template import Value

__all__ = ["TargetLan"]

_ANY_TYPE = "_accessory"


class TargetLan(SocketLan):
    """The interfaces of this machine, and the device at an address or on an interface.

    ``target``: its address, or an expression for the interface that it is on; then whatever is
    found there is taken for it. ``interfaces``: those that are used, None for the usable ones. An
    `accessory` of a script is that device, told by its type: it can be found, but nobody can tell
    it to misbehave (`UnsupportedError`). Faults concern what the observer hears.
    """

    kind: ClassVar[str] = "target"

    def __init__(
        self,
        target: str,
        *,
        interfaces: Sequence[str] | None = None,
        seed: int = 0,
        domain: Domain | None = None,
    ) -> None:
        self._always: tuple[str, ...] = ()
        try:
            self._always = (f"address={exactly(str(ip_address(target)))}",)
        except ValueError:
            interfaces = [*(interfaces or ()), target]
        self.target = target
        chosen = select(list_interfaces(), interfaces).chosen
        super().__init__(domain or Domain(), [one.name for one in chosen], seed)

    @property
    def label(self) -> str:
        return f"real LAN, target {self.target}"

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
        """The device; only its type counts, and that only if one is given, or its protocol."""
        if switches := [name for name in Switches._names if given.get(name)]:
            self._refuse(f"be told to be {', '.join(switches)}")
        protocol = description_of(service) if type is None else None
        host = Host(self, "target", self.networks)
        untouched = _Untouched(self)
        if protocol is not None:
            if count != 1:
                self._refuse("be several")
            return _Spoken(self, host, Described(Spoken(protocol), {}, 1, b""), untouched)
        if not isinstance(service, Service):
            port, attributes = given.get("port", 80), given.get("attributes")
            service = Service(str(service), type or _ANY_TYPE, port, attributes or {})
        return _Device(self, host, Accessory((service,), b""), untouched)

    def _wanted(self, match: Match, on: str | None = None) -> Wanted:
        return Wanted(match, on, self._always)

    def _start(self, host: Host, occupant: Occupant) -> Running:
        if isinstance(occupant, Accessory | Described):
            self._refuse("be started")
        return self._run(
            host,
            occupant,
            interfaces=self.networks,
            family=None,
            list_interfaces=list_interfaces,
        )

    def _connect(self, host: Host) -> None:
        self._refuse(f"be on a host that is made up, such as {host.name}")

    def _address(self, host: Host, network: str) -> IPv4Address:
        self._refuse("say where it will be")

    def _roam(self, host: Host, network: str) -> None:
        self._refuse("be told to roam")

    def _set_sides(self, sides: tuple[tuple[Host, ...], ...]) -> None:
        if sides:
            self._refuse("be cut off")

    def _refuse(self, what: str) -> NoReturn:
        raise UnsupportedError(
            f"a real device can't {what}", "use the simulated LAN, the loopback one or the lab"
        )

    def _interfaces(self, host: Host) -> tuple[str, ...]:
        if host is not self.observer:
            self._refuse("lose an interface")
        return self.networks


def _id_of(fake: Fake) -> str:
    fits = fake._lan._wanted(fake)
    for device in fake._lan.devices:
        if fits(device):
            return device.id
    raise ArgumentError("the device wasn't found yet", "expect it first")


class _Device(Announced):
    """The real device, as far as a script may know it."""

    @property
    def id(self) -> str:
        return _id_of(self)

    @property
    def conditions(self) -> tuple[str, ...]:
        return () if self.service.type == _ANY_TYPE else (f"type={self.service.type}",)


class _Spoken(Impersonated):
    """The real device, known by what it speaks."""

    @property
    def id(self) -> str:
        return _id_of(self)

    @property
    def name(self) -> str:
        return self.protocol

    @property
    def conditions(self) -> tuple[str, ...]:
        return (f"protocol={self.protocol}",)

    def change(self, **values: Value) -> None:
        self._running.tell("change")


class _Untouched:
    """What runs on a real device is nothing to us."""

    def __init__(self, lan: TargetLan) -> None:
        self._lan = lan

    def tell(self, verb: str, *arguments: object) -> None:
        self._lan._refuse(f"be told to {verb}")

    def stop(self) -> None:
        self._lan._refuse("be stopped")
