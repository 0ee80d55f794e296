"""``bcast watch``."""

from collections import Counter
from contextlib import ExitStack
from time import time_ns
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bcast.cli.devices import (
    counts_object,
    counts_parts,
    event_line,
    event_name,
    event_object,
)
from bcast.cli.driving import begin, driving, turns
from bcast.cli.interruption import interruptible
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
from bcast.cli.searching import Search, Source
from bcast.domain import Domain
from bcast.messages import check_type

if TYPE_CHECKING:
    from bcast.driver import Driver

__all__ = ["app"]

app = typer.Typer(add_completion=False)

# Seconds between frames of the table, at most.
_PACE = 0.25


@app.command(
    epilog="Examples:"
    "\n\nbcast watch"
    "\n\nbcast watch _lamp _plug -i eth1"
    "\n\nbcast watch --json --timeout 60"
)
def watch(
    types: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TYPE]...", help="Only of these types.", show_default=False),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "-t", "--timeout", metavar="S", help="End after S seconds.", show_default=False
        ),
    ] = None,
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
    """Search for devices, and show how they come, change, fall silent and go.

    With a TYPE only native peers (protocol bcast) and services of mDNS (like _ipp._tcp) are
    searched for; with a realm or keys only native peers.
    """
    family = family_of(four, six)
    check_seconds(timeout, "--timeout")
    wanted = tuple(check_type(type) for type in types or ())
    output = Output(as_json=as_json, quiet=quiet, verbose=verbose)
    domain = Domain(realm, keyring=keyring_of(key_file, output.remark))
    search = Search(
        output, protocol or (), wanted, domain, watch=True, merge=not no_merge, only=family
    )
    counts: Counter[str] = Counter()
    with interruptible() as stopped, ExitStack() as opened:
        table = None
        if output.is_live():
            from bcast.cli.table import LiveTable

            table = opened.enter_context(LiveTable(stays=True))
        with driving(stopped, search.prober, domain, interface, exclude, family) as driver:
            begin(output, driver, "watching")
            search.begin(driver)
            pace = None if table is None else _PACE
            for now in turns(
                *(output, driver, stopped),
                timeout=timeout,
                pace=pace,
                due=search.due,
            ):
                while (event := search.source.next_event()) is not None:
                    counts[event_name(event)] += 1
                    if table is None:
                        at = time_ns()
                        output.result(event_line(event, at), event_object(event, at))
                    else:
                        table.note(event, now)
                if table is not None:
                    table.show(lambda: search.source.devices, lambda: _status(search.source), now)
                search.advance(driver)
            opened.close()
            with stopped.breaking():
                _summarise(output, search.source, driver, counts)


def _status(source: Source) -> str:
    told = source.statistics
    return f"{len(source.devices)} there; {told.probes} probes; Ctrl-C ends"


def _summarise(
    output: Output, source: Source, driver: "Driver[Any]", counts: Counter[str]
) -> None:
    """What is there now, what happened, and how well it could be heard."""
    statistics, traffic = source.statistics, driver.traffic
    there = len(source.devices)
    names = ("added", "changed", "suspect", "restarted", "removed")
    event = {
        "event": "summary",
        "found": there,
        **{name: counts[name] for name in names},
        **counts_object(there, statistics, traffic),
    }
    happened = ", ".join(f"{counts[name]} {name}" for name in names if counts[name])
    parts = [
        f"{there} there now" + (f" ({happened})" if happened else ""),
        f"{statistics.probes} probes, {statistics.queries} queries",
        *counts_parts(there, statistics, traffic),
    ]
    output.event("; ".join(parts), event)
