"""Which protocols a search is by, and what finds them.

The catalogue of protocols is looked at when the first native probes are out, and not at all where
only native peers are wanted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Protocol

from bcast.cli.output import Output
from bcast.destinations import MDNS, NATIVE
from bcast.discovery.prober import Prober
from bcast.errors import ArgumentError

if TYPE_CHECKING:
    from bcast.accessory.description import Description
    from bcast.datagram import Family
    from bcast.device import Device, DeviceEvent
    from bcast.discovery.prober import SearchStatistics
    from bcast.domain import Domain
    from bcast.driver import Driver
    from bcast.sweep import Sweep

__all__ = ["Search", "Source"]


# Seconds until the catalogue is loaded, when nothing was named: that takes some, in which nobody
# else is looked after, and most native peers have answered by then.
_LATER = 0.1


class Source(Protocol):
    """What finds devices: a prober, or a sweep."""

    @property
    def devices(self) -> tuple[Device, ...]: ...

    @property
    def quiet(self) -> bool: ...

    @property
    def statistics(self) -> SearchStatistics: ...

    def next_event(self) -> DeviceEvent | None: ...


class Search:
    """A search by the ``protocols`` that were asked for; None asked for means all.

    ``types`` are native peers' and services' of mDNS, and a realm and keys are native peers'
    alone: with any of them only these are searched for. Raises `ArgumentError` for protocols that
    there aren't, or that have no types.
    """

    def __init__(
        self,
        output: Output,
        protocols: Sequence[str],
        types: Sequence[str],
        domain: Domain,
        *,
        watch: bool,
        merge: bool,
        only: Family | None,
    ) -> None:
        self._output = output
        self._watch = watch
        self._merge = merge
        self._only = only
        self._native = not protocols or NATIVE in protocols
        self._named: list[str | Description] = []
        others = [name for name in protocols if name not in (NATIVE, MDNS)]
        if others and types:
            raise ArgumentError(
                f"{others[0]} has no types", "leave out the TYPE, or that --protocol"
            )
        if MDNS in protocols:
            from bcast.foreign.services import check_service_type
            from bcast.sweep import check_mdns

            check_mdns()
            for type in types:
                check_service_type(type)
            self._named.append(MDNS)
        if others:
            from bcast.sweep import load_all

            self._named += load_all(others, only)
        for_natives = domain.realm or domain.keyring is not None
        self._types = tuple(type for type in types if type.endswith(("._tcp", "._udp")))
        # Types that services can't have are native peers' alone.
        self._everything = not (protocols or for_natives or (types and not self._types))
        self.prober: Prober | None = None
        self.source: Source
        self._sweep: Sweep | None = None
        self._later: float | None = None
        if self._native:
            self.source = self.prober = Prober(
                random=SystemRandom(), domain=domain, types=types, watch=watch, all_paths=True
            )

    def begin(self, driver: Driver[Any]) -> None:
        """Begins to search by what was asked for by name; the rest of it begins in `advance`."""
        if self._everything:
            self._later = driver.now() + _LATER
        elif self._named:
            self._sweep_by(self._named)
            self.advance(driver)
            driver.raise_if_none()

    def _sweep_by(
        self, protocols: Iterable[str | Description], told: Iterable[Device] = ()
    ) -> None:
        from bcast.sweep import Sweep

        self.source = self._sweep = Sweep(
            self.prober,
            protocols,
            merge=self._merge,
            watch=self._watch,
            only=self._only,
            told=told,
            types=self._types,
        )

    def due(self) -> float | None:
        """When `advance` has something to do."""
        if self._sweep is not None and self._sweep.is_loading:
            return 0.0
        return self._later

    def advance(self, driver: Driver[Any]) -> None:
        """Begins to search by one protocol more, if it is time and there are any left."""
        if self._later is not None and driver.now() >= self._later:
            self._later = None
            protocols = self._all()
            if protocols:
                # What happened so far has been told, by the prober itself.
                self._sweep_by(protocols, () if self.prober is None else self.prober.devices)
        elif self._sweep is not None and self._sweep.is_loading:
            self._sweep.advance(driver, self._complain)

    def _all(self) -> list[str]:
        """The protocols that there are; those that have types, if some are wanted."""
        from bcast.sweep import everything

        found = everything()
        if self._types:
            from bcast.foreign.services import is_service_type

            self._types = tuple(filter(is_service_type, self._types))
            return [MDNS] if self._types and MDNS in found else []
        return found

    def _complain(self, error: ArgumentError) -> None:
        self._output.detail(f"left out: {error}")
