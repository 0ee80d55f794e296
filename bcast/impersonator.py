"""Standing in for accessories, for the tests of what looks for them. Layer 5."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import SystemRandom
from typing import TYPE_CHECKING, Any

from bcast.accessory.description import Description
from bcast.accessory.template import Value
from bcast.datagram import Family, Interface
from bcast.destinations import check_family
from bcast.domain import Domain
from bcast.foreign.doors import families_of
from bcast.foreign.mimic import Mimic, MimicStatistics
from bcast.interfaces import list_interfaces
from bcast.participant import Participant
from bcast.runners import ThreadRunner
from bcast.sweep import check_usable, host_name, load_all, unix_offset

if TYPE_CHECKING:
    from bcast.driver import Driver

__all__ = ["Impersonator"]

# The last goodbye goes after 0.3 seconds; nobody is kept waiting for it much longer than that.
_PATIENCE = 1.0


class Impersonator(Participant[None]):
    """One accessory or several of a protocol, while a ``with`` or ``async with`` block lasts::

        with bcast.Impersonator("kasa", values={"name": "Plug"}):
            ...

    It answers probes in the background, announces itself and says goodbye as the protocol has it.

    ``protocol``: its name, a file that describes it (``"./mine.toml"``), or a `Description`.
    ``values``: what it says instead of what the description's examples say, by their names.
    ``count``: so many accessories, 1..1000, whose ids count up. The others are those of `Browser`.

    The constructor raises `ArgumentError`. Entering the block raises `InterfaceError` if no
    interface can be used, `SocketError` (`PortTakenError`) if no socket could be opened on any.
    """

    def __init__(
        self,
        protocol: str | Description,
        *,
        values: Mapping[str, Value] | None = None,
        count: int = 1,
        interfaces: str | Iterable[str] | None = None,
        exclude: str | Iterable[str] | None = None,
        family: Family | int | None = None,
        timeout: float | None = None,
        list_interfaces: Callable[[], tuple[Interface, ...]] = list_interfaces,
    ) -> None:
        only = check_family(family)
        if isinstance(protocol, str):
            [protocol] = load_all([protocol], only)
        check_usable(protocol)
        description = protocol
        random = SystemRandom()
        self._mimic = mimic = Mimic(
            protocol, values or {}, number=count, random=random, host=host_name()
        )

        def begin(driver: Driver[Any]) -> None:
            mimic.since = unix_offset(driver.now())
            families = families_of(description)
            driver.add(mimic, mimic.doors, families=families, name=description.name)
            driver.raise_if_none()

        super().__init__(
            None,
            domain=Domain(),
            interfaces=interfaces,
            exclude=exclude,
            family=family,
            timeout=timeout,
            list_interfaces=list_interfaces,
            source=mimic,
            begin=begin,
        )

    @property
    def values(self) -> tuple[Mapping[str, Value], ...]:
        """What each of the accessories says of itself, on the first interface; () before."""
        found = self._look(lambda: list(self._mimic.parts.values()))
        return tuple(part.values for part in found[0]) if found else ()

    @property
    def statistics(self) -> MimicStatistics:
        """Counts so far; stays readable afterwards."""
        return self._look(lambda: self._mimic.statistics)

    def _leave(self) -> None:
        runner = self._runner
        assert isinstance(runner, ThreadRunner)
        if runner.error is None:
            self._call(self._mimic.leave)
            runner.wait(lambda: self._mimic.finished, _PATIENCE)

    async def _leave_async(self) -> None:
        if self._running():
            self._call(self._mimic.leave)
            await self._wait_async(lambda: self._look(lambda: self._mimic.finished), _PATIENCE)
