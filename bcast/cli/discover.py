"""``bcast discover``."""

import sys
from contextlib import ExitStack
from time import time_ns
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bcast.cli.devices import (
    counts_object,
    counts_parts,
    device_object,
    in_order,
    table_lines,
)
from bcast.cli.driving import begin, driving, turns
from bcast.cli.interruption import Stopped, interruptible
from bcast.cli.options import (
    Exclude,
    Interfaces,
    IPv4Only,
    IPv6Only,
    Json,
    KeyFile,
    NoMerge,
    Protocols,
    Quiet,
    Realm,
    Verbose,
    check_seconds,
    family_of,
    keyring_of,
)
from bcast.cli.output import Output
from bcast.cli.searching import Search
from bcast.cli.show import sanitize
from bcast.cli.timeline import Timeline
from bcast.device import Device, DeviceEvent, Removed
from bcast.domain import Domain
from bcast.errors import ArgumentError
from bcast.matching import Matcher
from bcast.messages import check_type

if TYPE_CHECKING:
    from bcast.cli.table import LiveTable
    from bcast.driver import Driver

__all__ = ["app"]

app = typer.Typer(add_completion=False)

# So many devices are named with how often each answered; of more, the range is said.
_NAMED = 8

# Seconds until nobody's answer means that nobody is there: stations of a wireless network that
# save power are woken for what goes to a group only a few times a second.
_SURE = 1.0

# Seconds between frames of the table, at most.
_PACE = 0.25


@app.command(
    epilog="Examples:"
    "\n\nbcast discover"
    "\n\nbcast discover _lamp --expect 3 --timeout 10"
    "\n\nbcast discover --match 'name=lamp-*' --match fw=1.4 --json"
    "\n\nbcast discover --match name=lamp-1 --gone --timeout 120"
    "\n\nbcast discover --protocol kasa --protocol ./mine.toml"
)
def discover(
    types: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TYPE]...", help="Only of these types.", show_default=False),
    ] = None,
    timeout: Annotated[
        float, typer.Option("-t", "--timeout", metavar="S", help="Search for S seconds.")
    ] = 2.0,
    expect: Annotated[
        int | None,
        typer.Option(
            "--expect",
            metavar="N",
            help="End as soon as N are found; fewer are a failure.",
            show_default=False,
        ),
    ] = None,
    match: Annotated[
        list[str] | None,
        typer.Option(
            "--match",
            metavar="KEY=GLOB",
            help="Only those; repeatable, all must hold. KEY: name, type, id, protocol, address,"
            " interface or an attribute.",
            show_default=False,
        ),
    ] = None,
    gone: Annotated[
        bool,
        typer.Option(
            "--gone",
            help="Succeed once there is none (seen at once after a goodbye, else after three"
            " silent beats).",
        ),
    ] = False,
    protocol: Protocols = None,
    no_merge: NoMerge = False,
    realm: Realm = "",
    key_file: KeyFile = None,
    interface: Interfaces = None,
    exclude: Exclude = None,
    four: IPv4Only = False,
    six: IPv6Only = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Search for devices by all protocols, and show each with its addresses.

    With a TYPE only native peers (protocol bcast) and services of mDNS (like _ipp._tcp) are
    searched for; with a realm or keys only native peers.
    """
    family = family_of(four, six)
    check_seconds(timeout, "--timeout")
    if expect is not None and expect < 1:
        raise ArgumentError(f"can't expect {expect} devices", "use --expect 1 or more, or --gone")
    if expect is not None and gone:
        raise ArgumentError("--expect and --gone exclude each other", "give one of them")
    wanted = tuple(check_type(type) for type in types or ())
    matches = Matcher(match or ())
    output = Output(as_json=as_json, quiet=quiet, verbose=verbose)
    domain = Domain(realm, keyring=keyring_of(key_file, output.remark))
    by = Search(
        output, protocol or (), wanted, domain, watch=gone, merge=not no_merge, only=family
    )
    search = _Search(output, by, matches, expect, gone)
    expecting = gone or expect is not None
    with interruptible() as stopped, ExitStack() as opened:
        table = opened.enter_context(_table()) if output.is_live() else None
        with driving(stopped, by.prober, domain, interface, exclude, family) as driver:
            begin(output, driver, f"searching for {timeout:g} s")
            by.begin(driver)
            search.run(driver, stopped, timeout, table)
            opened.close()
            devices = search.devices
            with stopped.breaking():
                search.show(devices)
                failed = bool(devices) if gone else len(devices) < (expect or 1)
                if failed and expecting and stopped.number is None:
                    search.tell_why(driver)
                search.summarise(devices, driver)
    if stopped.number is not None:
        raise typer.Exit(128 + stopped.number)
    if failed:
        raise typer.Exit(1)


def _table() -> "LiveTable":
    from bcast.cli.table import LiveTable

    return LiveTable()


class _Search:
    """One search: what matches, when it is over, and what is said at the end."""

    def __init__(
        self, output: Output, search: Search, matches: Matcher, expect: int | None, gone: bool
    ) -> None:
        self._output = output
        self._search = search
        self._matches = matches
        self._expect = expect
        self._gone = gone
        #: Those that match, as far as their events tell.
        self._there: set[str] = set()
        self._sure = 0.0
        self._timeline = Timeline(time_ns())

    @property
    def devices(self) -> list[Device]:
        """All that match."""
        return in_order(filter(self._matches, self._search.source.devices))

    def run(
        self,
        driver: "Driver[Any]",
        stopped: Stopped,
        timeout: float,
        table: "LiveTable | None",
    ) -> None:
        """Searches until the time is up, or it is known how it ends."""
        pace = None if table is None else _PACE
        if self._gone:
            self._sure = driver.now() + _SURE
            pace = pace or _SURE
        for now in turns(
            self._output, driver, stopped, timeout=timeout, pace=pace, due=self._search.due
        ):
            while (event := self._search.source.next_event()) is not None:
                if self._note(event) and table is not None:
                    table.note(event, now)
            if table is not None:
                table.show(lambda: self.devices, self._status, now)
            if self._is_over(now):
                return
            self._search.advance(driver)

    def _note(self, event: DeviceEvent) -> bool:
        """Takes an event in; returns whether the device matches or did."""
        device = event.device
        before = device.id in self._there
        matches = self._matches(device)
        self._timeline.note(event, time_ns(), matches=matches or before)
        if not isinstance(event, Removed) and matches:
            self._there.add(device.id)
            return True
        self._there.discard(device.id)
        return before

    def _is_over(self, now: float) -> bool:
        if self._gone:
            # Nobody is gone before all were asked who is there, and had time to answer.
            return not self._there and now >= self._sure and self._search.source.quiet
        return self._expect is not None and len(self._there) >= self._expect

    def _status(self) -> str:
        probes = self._search.source.statistics.probes
        return f"{len(self._there)} found with {probes} probes; Ctrl-C ends"

    def show(self, devices: list[Device]) -> None:
        output = self._output
        if output.as_json:
            for device in devices:
                output.result("", device_object("found", device))
            return
        lines = table_lines(devices, details=output.verbose) if devices else []
        if not self._gone:
            output.write("".join(f"{line}\n" for line in lines))
        elif lines:
            # What is left isn't what was asked for.
            print("still there:", *map(sanitize, lines), sep="\n", file=sys.stderr)

    def tell_why(self, driver: "Driver[Any]") -> None:
        """Says what was heard, to whoever waited for something else."""
        for line in self._timeline.lines(state.interface.name for state in driver.states):
            self._output.remark(line)

    def summarise(self, devices: list[Device], driver: "Driver[Any]") -> None:
        statistics, traffic = self._search.source.statistics, driver.traffic
        there = len(self._search.source.devices)
        others = there - len(devices)
        event = {
            "event": "summary",
            "found": len(devices),
            "not_matching": others,
            **counts_object(there, statistics, traffic),
        }
        parts = [f"{len(devices)} found with {statistics.probes} probes"]
        if others:
            parts[0] += f", {others} that don't match"
        if devices:
            parts.append(_answered(devices))
        parts += counts_parts(there, statistics, traffic)
        self._output.event("; ".join(parts), event)


def _answered(devices: list[Device]) -> str:
    """How often each device answered."""
    counts = sorted(device.probes_answered for device in devices)
    least, most = counts[0], counts[-1]
    if len(devices) <= _NAMED:
        each = ", ".join(f"{device.name} {device.probes_answered}" for device in devices)
        return f"probes answered: {each}"
    if least == most:
        return f"probes answered: {least} each"
    middle = counts[len(counts) // 2]
    return f"probes answered: {least} to {most} each, half of them {middle} or fewer"
