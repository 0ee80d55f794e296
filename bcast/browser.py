"""Browsing: the devices that are there, as they come, change and go; and the one-shot search.

Layer 5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import SystemRandom
from time import monotonic
from typing import TYPE_CHECKING

from bcast.datagram import Family, Group, Interface
from bcast.destinations import DEFAULT_PORT, MDNS, check_family
from bcast.device import Added, Cause, Device, DeviceEvent, Removed
from bcast.discovery.prober import DEFAULT_MAX_PEERS, Prober, SearchStatistics
from bcast.discovery.search import Opening
from bcast.driver import Driver
from bcast.errors import ArgumentError
from bcast.interfaces import list_interfaces
from bcast.messages import check_type
from bcast.participant import Participant, domain_of
from bcast.wire.keys import Keyring

if TYPE_CHECKING:
    from bcast.sweep import Protocols, Sweep

__all__ = ["Browser", "discover", "discover_async"]


class Browser(Participant[DeviceEvent]):
    """Finds devices, and keeps looking after them, while a ``with`` block lasts::

        async with bcast.Browser("_lamp") as browser:
            async for event in browser:
                print(event)

    The same without ``async``. Iterating yields `Added`, `Changed`, `Suspect`, `Restarted` and
    `Removed`; see `Participant` for when it ends.

    ``types``: one service type or several; only devices of these. None at all means any.
    ``protocols``: what else than native peers is found: names of protocols or files that describe
    them (``"./mine.toml"``), ``"mdns"`` for services of DNS-SD (needs ``bcast[mdns]``), ``"all"``
    for every protocol that is known; ``"bcast"`` among several means native peers too. None:
    native peers only. Only these and ``"mdns"`` have types (there, ``"_ipp._tcp"``).
    ``merge``: a device that speaks several protocols is one; False tells each by itself.

    ``interfaces`` and ``exclude`` are selection expressions, one or several; None means the
    usable interfaces. ``family`` limits to IPv4 or IPv6. ``realm``, ``keyring``, ``port``,
    ``groups`` (text or `Group`, at most one of a family) and ``broadcast`` say where and with
    whom peers meet, see `Domain`. ``opening``: how a search begins (``"auto"``, ``"all"``,
    ``"sample"``). ``watch``: False only searches, and never removes a device. ``all_paths``: a
    device shows on every interface and in every family that it can be reached by, for more
    traffic. ``max_peers``: more than so many are refused and counted.

    The constructor raises `ArgumentError`. Entering the block raises `InterfaceError` if no
    interface can be used, `SocketError` (`PortTakenError`) if no socket could be opened on any.
    """

    def __init__(
        self,
        types: str | Iterable[str] = (),
        *,
        protocols: Protocols | None = None,
        merge: bool = True,
        interfaces: str | Iterable[str] | None = None,
        exclude: str | Iterable[str] | None = None,
        family: Family | int | None = None,
        realm: str = "",
        keyring: Keyring | None = None,
        port: int = DEFAULT_PORT,
        groups: str | Iterable[str | Group] | None = None,
        broadcast: bool = False,
        opening: Opening | str = Opening.AUTO,
        watch: bool = True,
        all_paths: bool = False,
        max_peers: int = DEFAULT_MAX_PEERS,
        timeout: float | None = None,
        list_interfaces: Callable[[], tuple[Interface, ...]] = list_interfaces,
    ) -> None:
        domain = domain_of(realm, keyring, port, groups, broadcast)
        prober = Prober(
            random=SystemRandom(),
            domain=domain,
            types=_checked((types,) if isinstance(types, str) else types),
            opening=_opening(opening),
            watch=watch,
            all_paths=all_paths,
            max_peers=max_peers,
        )
        native, sweep = _sweep(prober, protocols, family, merge=merge, watch=watch)
        self._finder = prober if sweep is None else sweep
        super().__init__(
            native,
            domain=domain,
            interfaces=interfaces,
            exclude=exclude,
            family=family,
            timeout=timeout,
            list_interfaces=list_interfaces,
            source=self._finder,
            begin=None if sweep is None else sweep.advance_fully,
        )

    @property
    def devices(self) -> tuple[Device, ...]:
        """All that are there, as they are known now."""
        return self._look(lambda: self._finder.devices)

    @property
    def quiet(self) -> bool:
        """Whether it looks as if all were found: three rounds without anybody new everywhere."""
        return self._look(lambda: self._finder.quiet)

    @property
    def statistics(self) -> SearchStatistics:
        """Counts so far; stays readable afterwards."""
        return self._look(lambda: self._finder.statistics)


def discover(
    *types: str,
    timeout: float = 2.0,
    expect: int | None = None,
    until_quiet: bool = False,
    protocols: Protocols | None = None,
    merge: bool = True,
    interfaces: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    family: Family | int | None = None,
    realm: str = "",
    keyring: Keyring | None = None,
    port: int = DEFAULT_PORT,
    groups: str | Iterable[str | Group] | None = None,
    broadcast: bool = False,
    opening: Opening | str = Opening.AUTO,
    clock: Callable[[], float] = monotonic,
    list_interfaces: Callable[[], tuple[Interface, ...]] = list_interfaces,
) -> tuple[Device, ...]:
    """Searches for ``timeout`` seconds and returns the devices that answered.

    Ends early once ``expect`` devices are found, and with ``until_quiet`` once three rounds of
    the search brought nobody new. The other arguments and the errors are those of `Browser`.

    Blocks. In any thread, whether an event loop runs there or elsewhere; in the thread of a loop
    it holds the loop up: `discover_async` doesn't.
    """
    _check_end(timeout, expect)
    domain = domain_of(realm, keyring, port, groups, broadcast)
    prober = Prober(
        random=SystemRandom(),
        domain=domain,
        types=_checked(types),
        opening=_opening(opening),
        watch=False,
    )
    native, sweep = _sweep(prober, protocols, family, merge=merge, watch=False)
    finder = prober if sweep is None else sweep
    end = clock() + timeout
    found = 0
    with Driver(
        native,
        port=domain.port,
        groups=domain.groups,
        broadcast=domain.broadcast,
        interfaces=interfaces,
        exclude=exclude,
        family=family,
        clock=clock,
        list_interfaces=list_interfaces,
    ) as driver:
        if sweep is not None:
            sweep.advance_fully(driver)
        while (left := end - clock()) > 0:
            driver.wait(left)
            while (event := finder.next_event()) is not None:
                found += _counts(event)
            if (expect is not None and found >= expect) or (until_quiet and finder.quiet):
                break
    return finder.devices


def _counts(event: DeviceEvent) -> int:
    """What an event adds to the devices that there are."""
    return isinstance(event, Added) - (isinstance(event, Removed) and event.cause is Cause.MERGED)


def _sweep(
    prober: Prober,
    protocols: Protocols | None,
    family: Family | int | None,
    *,
    merge: bool,
    watch: bool,
) -> tuple[Prober | None, Sweep | None]:
    """The prober, if native peers are searched for, and a sweep if anything else is."""
    if protocols is None:
        return prober, None
    from bcast.foreign.services import check_service_type
    from bcast.sweep import Sweep, choose

    only = check_family(family)
    is_native, others = choose(protocols, only)
    types = prober.types
    if types and others:
        if others != [MDNS]:
            raise ArgumentError(
                "only native peers and services of mDNS have types",
                f'leave them out, or use "bcast", "{MDNS}" or both',
            )
        for type in types:
            check_service_type(type)
    native = prober if is_native else None
    if not others:
        return native, None
    return native, Sweep(native, others, merge=merge, watch=watch, only=only, types=types)


async def discover_async(
    *types: str,
    timeout: float = 2.0,
    expect: int | None = None,
    until_quiet: bool = False,
    protocols: Protocols | None = None,
    merge: bool = True,
    interfaces: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    family: Family | int | None = None,
    realm: str = "",
    keyring: Keyring | None = None,
    port: int = DEFAULT_PORT,
    groups: str | Iterable[str | Group] | None = None,
    broadcast: bool = False,
    opening: Opening | str = Opening.AUTO,
    list_interfaces: Callable[[], tuple[Interface, ...]] = list_interfaces,
) -> tuple[Device, ...]:
    """As `discover`, for asyncio: the loop goes on meanwhile. May be cancelled at any time."""
    _check_end(timeout, expect)
    found = 0
    async with Browser(
        types,
        watch=False,
        protocols=protocols,
        merge=merge,
        interfaces=interfaces,
        exclude=exclude,
        family=family,
        realm=realm,
        keyring=keyring,
        port=port,
        groups=groups,
        broadcast=broadcast,
        opening=opening,
        list_interfaces=list_interfaces,
    ) as browser:

        def enough() -> bool:
            nonlocal found
            while (event := browser._finder.next_event()) is not None:
                found += _counts(event)
            return (expect is not None and found >= expect) or (until_quiet and browser.quiet)

        await browser._wait_async(lambda: browser._look(enough), timeout)
        return browser.devices


def _checked(types: Iterable[str]) -> tuple[str, ...]:
    return tuple(check_type(type) for type in types)


def _opening(opening: Opening | str) -> Opening:
    try:
        return Opening(opening)
    except ValueError:
        names = ", ".join(one.value for one in Opening)
        raise ArgumentError(f"{opening!r} is no opening", f"use one of {names}") from None


def _check_end(timeout: float, expect: int | None) -> None:
    if not 0 <= timeout < float("inf"):
        raise ArgumentError(f"can't search for {timeout} s", "use 0 seconds or more")
    if expect is not None and expect < 1:
        raise ArgumentError(f"can't expect {expect} devices", "use 1 or more, or None")
