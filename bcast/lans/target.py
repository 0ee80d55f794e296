"""A LAN with a real device on it: the same script, told to who it is that should be found."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, ip_address
from typing import ClassVar, NoReturn, Unpack

from bcast.domain import Domain
from bcast.errors import ArgumentError
from bcast.interfaces import list_interfaces, select
from bcast.lans.fakes import Accessory, Switches, SwitchSettings
from bcast.lans.hosts import Announced, Host, Running, UnsupportedError
from bcast.lans.sockets import SocketLan
from bcast.lans.wanted import Match, Wanted
from bcast.matching import exactly
from bcast.messages import Service

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
        service: Service | str,
        type: str = _ANY_TYPE,
        *,
        port: int = 80,
        attributes: dict[str, str] | None = None,
        on: str | Sequence[str] | None = None,
        interval: float | None = None,
        **switches: Unpack[SwitchSettings],
    ) -> Announced:
        """The device; of the service only the type counts, and that only if one is given."""
        if Switches().set(switches) != Switches():
            self._refuse(f"be told to be {', '.join(switches)}")
        if isinstance(service, str):
            service = Service(service, type, port, attributes or {})
        host = Host(self, "target", self.networks)
        return _Device(self, host, Accessory((service,), b""), _Untouched(self))

    def _wanted(self, match: Match, on: str | None = None) -> Wanted:
        return Wanted(match, on, self._always)

    def _start(self, host: Host, accessory: Accessory | None) -> Running:
        if accessory is not None:
            self._refuse("be started")
        return self._run(
            host,
            None,
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


class _Device(Announced):
    """The real device, as far as a script may know it."""

    @property
    def id(self) -> str:
        fits = self._lan._wanted(self)
        for device in self._lan.devices:
            if fits(device):
                return device.id
        raise ArgumentError("the device wasn't found yet", "expect it first")

    @property
    def conditions(self) -> tuple[str, ...]:
        return () if self.service.type == _ANY_TYPE else (f"type={self.service.type}",)


class _Untouched:
    """What runs on a real device is nothing to us."""

    def __init__(self, lan: TargetLan) -> None:
        self._lan = lan

    def tell(self, verb: str, *arguments: object) -> None:
        self._lan._refuse(f"be told to {verb}")

    def stop(self) -> None:
        self._lan._refuse("be stopped")
