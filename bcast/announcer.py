"""Announcing: being found, and saying goodbye. Layer 5."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import SystemRandom

from bcast.datagram import Family, Group, Interface
from bcast.destinations import DEFAULT_PORT
from bcast.discovery.responder import Responder, ResponderEvent, ResponderStatistics
from bcast.errors import ArgumentError
from bcast.interfaces import list_interfaces
from bcast.messages import Service
from bcast.participant import Participant, domain_of
from bcast.runners import ThreadRunner
from bcast.wire.keys import Keyring

__all__ = ["Announcer"]

# The last goodbye goes after 0.3 seconds; nobody is kept waiting for it much longer than that.
_PATIENCE = 1.0


class Announcer(Participant[ResponderEvent]):
    """A native peer that offers services while a ``with`` or ``async with`` block lasts::

        async with bcast.Announcer(bcast.Service("lamp-1", "_lamp", port=80)):
            ...

    It announces itself, answers probes in the background, and says goodbye at the end of the
    block (three times within 0.3 seconds). Iterating yields `Conflict` when another peer has the
    same id; nobody has to.

    ``services``: one or several. ``stable_id``: 16 bytes or their 32 hex digits (a UUID), by
    which it is recognised after a restart; None: random each time. ``interval``: seconds between
    beats, 1..3600; None: 30, and more where there are more than a thousand peers. All others, and
    the errors, are those of `Browser`.
    """

    def __init__(
        self,
        services: Service | Iterable[Service],
        *,
        interfaces: str | Iterable[str] | None = None,
        exclude: str | Iterable[str] | None = None,
        family: Family | int | None = None,
        realm: str = "",
        keyring: Keyring | None = None,
        port: int = DEFAULT_PORT,
        groups: str | Iterable[str | Group] | None = None,
        broadcast: bool = False,
        stable_id: bytes | str | None = None,
        interval: float | None = None,
        timeout: float | None = None,
        list_interfaces: Callable[[], tuple[Interface, ...]] = list_interfaces,
    ) -> None:
        domain = domain_of(realm, keyring, port, groups, broadcast)
        self._responder = Responder(
            _listed(services),
            random=SystemRandom(),
            domain=domain,
            id=_id(stable_id),
            interval=interval,
        )
        super().__init__(
            self._responder,
            domain=domain,
            interfaces=interfaces,
            exclude=exclude,
            family=family,
            timeout=timeout,
            list_interfaces=list_interfaces,
        )

    @property
    def id(self) -> str:
        """By which others know it: the `Device.id` of its first service."""
        return self._responder.id.hex()

    @property
    def statistics(self) -> ResponderStatistics:
        """Counts so far; stays readable afterwards."""
        return self._look(lambda: self._responder.statistics)

    def update(self, services: Service | Iterable[Service]) -> None:
        """Offers these services from now on, and announces it. Raises `ArgumentError`.

        Inside the block only. With asyncio, in the thread of its event loop.
        """
        offered = _listed(services)
        self._call(lambda now: self._responder.offer(offered, now))

    def _leave(self) -> None:
        runner = self._runner
        assert isinstance(runner, ThreadRunner)
        if runner.error is None:
            self._call(self._responder.leave)
            runner.wait(lambda: self._responder.finished, _PATIENCE)

    async def _leave_async(self) -> None:
        if self._running():
            self._call(self._responder.leave)
            await self._wait_async(lambda: self._look(lambda: self._responder.finished), _PATIENCE)


def _listed(services: Service | Iterable[Service]) -> tuple[Service, ...]:
    return (services,) if isinstance(services, Service) else tuple(services)


def _id(stable: bytes | str | None) -> bytes | None:
    if isinstance(stable, str):
        try:
            stable = bytes.fromhex(stable.replace("-", ""))
        except ValueError:
            stable = b""
    if stable is not None and len(stable) != 16:
        raise ArgumentError(
            "a stable id has 16 bytes", "write it as 32 hex digits, as a device's id or a UUID is"
        )
    return stable
