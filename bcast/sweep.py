"""One search by many protocols: machines side by side on one driver, and one list of devices.

Layer 5. Descriptions are loaded one by one, between two looks at the sockets, so that nobody who
answers in the meantime is kept waiting.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from random import SystemRandom
from typing import TYPE_CHECKING, Any, TypeAlias

from bcast.accessory.catalogue import load_named, names
from bcast.accessory.description import Description
from bcast.datagram import Family
from bcast.destinations import MDNS, NATIVE
from bcast.device import Added, Device, DeviceEvent
from bcast.discovery.prober import Prober, SearchStatistics
from bcast.errors import ArgumentError
from bcast.foreign.doors import families_of
from bcast.foreign.finder import Finder
from bcast.foreign.merging import Merger

if TYPE_CHECKING:
    from bcast.driver import Driver
    from bcast.mdns import Mdns

__all__ = [
    "ALL",
    "Protocols",
    "Sweep",
    "check_mdns",
    "choose",
    "everything",
    "host_name",
    "load_all",
    "unix_offset",
]

#: What all protocols are called.
ALL = "all"

#: Protocols by name, by file (``./mine.toml``), or as a description; or several of these.
Protocols: TypeAlias = "str | Description | Iterable[str | Description]"


class Sweep:
    """Finds devices by ``protocols``, which are loaded by `advance`, and by ``prober`` if any.

    ``merge``: whether a device that speaks several protocols is one. ``watch``: goes on asking,
    and gives up who is silent. ``only``: the family that the search is limited to. ``told``: what
    the prober has found and told already. ``types``: those of services, for mDNS alone.
    """

    def __init__(
        self,
        prober: Prober | None,
        protocols: Iterable[str | Description],
        *,
        merge: bool = True,
        watch: bool = True,
        only: Family | None = None,
        told: Iterable[Device] = (),
        types: Iterable[str] = (),
    ) -> None:
        self._prober = prober
        self._left = list(protocols)
        self._watch = watch
        self._only = only
        self._merger = Merger(merge=merge)
        for device in told:
            self._merger.take(Added(device))
        while self._merger.next_event() is not None:
            pass
        self._types = tuple(types)
        self._finders: list[Finder | Mdns] = []

    @property
    def is_loading(self) -> bool:
        """Whether there are protocols that aren't searched by yet."""
        return bool(self._left)

    def advance(
        self, driver: Driver[Any], complain: Callable[[ArgumentError], object] | None = None
    ) -> None:
        """Begins to search by the next protocol; all that are loaded already count as one.

        ``complain`` is told of a description that can't be used; without it, that is raised.
        """
        while self._left:
            given = self._left.pop(0)
            if given == MDNS:
                self._add_mdns(driver)
                return
            if isinstance(given, str):
                try:
                    description = load_named(given)
                    check_usable(description)
                except ArgumentError as error:
                    if complain is None:
                        raise
                    complain(error)
                else:
                    self._add(description, driver)
                return
            self._add(given, driver)

    def advance_fully(self, driver: Driver[Any]) -> None:
        """Begins to search by all protocols. What can't be used of all that there are is left out.

        Raises `SocketError` if there is nothing to search by.
        """
        while self._left:
            self.advance(driver, lambda error: None)
        driver.raise_if_none()

    def _add(self, description: Description, driver: Driver[Any]) -> None:
        families = families_of(description)
        if self._only is not None and self._only not in families:
            return
        finder = Finder(
            [description],
            random=SystemRandom(),
            watch=self._watch,
            since=unix_offset(driver.now()),
            host=host_name(),
        )
        self._finders.append(finder)
        driver.add(finder, finder.doors, families=families, name=description.name)

    def _add_mdns(self, driver: Driver[Any]) -> None:
        from bcast.mdns import Mdns

        alone = self._prober is None and not self._finders and not self._left
        finder = Mdns(self._types, since=unix_offset(driver.now()), alone=alone)
        self._finders.append(finder)
        finder.start(driver)

    # -- what is known ------------------------------------------------------------------------

    @property
    def devices(self) -> tuple[Device, ...]:
        """All that are there, as they are known now."""
        self._collect()
        for machine in self._machines():
            self._merger.renew(machine.devices)
        return self._merger.devices

    def _machines(self) -> list[Prober | Finder | Mdns]:
        return [*self._finders] if self._prober is None else [self._prober, *self._finders]

    def _collect(self) -> None:
        for machine in self._machines():
            while (event := machine.next_event()) is not None:
                self._merger.take(event)

    def next_event(self) -> DeviceEvent | None:
        """The next event, oldest first; None when there is none left."""
        event = self._merger.next_event()
        if event is None:
            self._collect()
            event = self._merger.next_event()
        return event

    @property
    def quiet(self) -> bool:
        """Whether it looks as if all were found: everybody was asked, and had time to answer."""
        native = self._prober is None or self._prober.quiet
        return native and not self._left and all(finder.quiet for finder in self._finders)

    @property
    def statistics(self) -> SearchStatistics:
        """Counts since the start, of all protocols together."""
        rejected: Counter[str] = Counter()
        probes = replies = 0
        for finder in self._finders:
            told = finder.statistics
            probes += told.probes
            replies += told.replies
            rejected.update(told.rejected)
        native = None if self._prober is None else self._prober.statistics
        if native is None:
            return SearchStatistics(
                probes, 0, replies, len(self._merger), None, 0, 0, dict(rejected)
            )
        rejected.update(native.rejected)
        return SearchStatistics(
            native.probes + probes,
            native.queries,
            native.replies + replies,
            len(self._merger),
            native.estimated_missing,
            native.drops,
            native.refused,
            dict(rejected),
        )


def choose(
    protocols: Protocols | None, only: Family | None
) -> tuple[bool, list[str | Description]]:
    """Whether native peers are searched for, and by what else. None: native peers only.

    Those that are named are loaded, and raise `ArgumentError`; all there are aren't yet.
    """
    if protocols is None:
        return True, []
    given = [protocols] if isinstance(protocols, str | Description) else list(protocols)
    if ALL in given:
        return True, [*everything(), *(one for one in given if isinstance(one, Description))]
    if not given:
        raise ArgumentError("no protocol is named", f"name one, or '{ALL}'")
    named = [one for one in given if isinstance(one, str) and one not in (NATIVE, MDNS)]
    loaded: list[str | Description] = []
    if MDNS in given:
        check_mdns()
        loaded.append(MDNS)
    loaded += load_all(named, only)
    loaded += [one for one in given if isinstance(one, Description)]
    return NATIVE in given, loaded


def everything() -> list[str]:
    """The names of all protocols that there are, besides the native one.

    mDNS is first: it takes several questions, one after the other.
    """
    return [MDNS, *names()] if _has_zeroconf() else [*names()]


def check_mdns() -> None:
    """Raises `ArgumentError` if there isn't the package that speaks mDNS."""
    if not _has_zeroconf():
        raise ArgumentError(
            f"{MDNS} needs the package 'zeroconf'", "install it with: pip install 'bcast[mdns]'"
        )


def _has_zeroconf() -> bool:
    return find_spec("zeroconf") is not None


def load_all(wanted: Iterable[str], only: Family | None = None) -> list[Description]:
    """The descriptions of these names and files. Raises `ArgumentError`."""
    found: dict[str, Description] = {}
    for name in wanted:
        description = load_named(name)
        check_usable(description)
        spoken = families_of(description)
        if only is not None and only not in spoken:
            raise ArgumentError(
                f"{description.name} is spoken in IPv{spoken[0]}", f"leave out -{only}"
            )
        found.setdefault(description.name, description)
    return list(found.values())


def check_usable(description: Description) -> None:
    """Raises `ArgumentError` if this installation lacks what a description needs."""
    if description.needs:
        raise ArgumentError(f"{description.name}: {description.needs}")


def unix_offset(now: float) -> float:
    """The Unix time at which a driver's clock, which shows ``now``, was 0."""
    return time.time() - now  # noqa: TID251


def host_name() -> str:
    """What this host calls itself, without a domain."""
    return socket.gethostname().partition(".")[0]
