"""``bcast impersonate``."""

from collections.abc import Iterable
from random import SystemRandom
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bcast.cli.driving import begin, driving, turns
from bcast.cli.interruption import interruptible
from bcast.cli.options import (
    Exclude,
    Interfaces,
    IPv4Only,
    IPv6Only,
    Json,
    Quiet,
    Verbose,
    check_seconds,
    family_of,
)
from bcast.cli.output import Output, rejections
from bcast.errors import ArgumentError

if TYPE_CHECKING:
    from bcast.driver import Driver
    from bcast.foreign.casting import Part
    from bcast.foreign.mimic import Mimic
    from bcast.machine import Machine

__all__ = ["app"]

app = typer.Typer(add_completion=False)

# The last goodbye goes after 0.3 s; an end that takes longer than this has gone wrong.
_PATIENCE = 1.0


@app.command(
    epilog="Examples:"
    "\n\nbcast impersonate kasa"
    "\n\nbcast impersonate lifx --set name='Kitchen lamp' --count 3 -i eth1"
    "\n\nbcast impersonate ./mine.toml"
)
def impersonate(
    protocol: Annotated[
        str,
        typer.Argument(metavar="NAME_OR_FILE", help="One of bcast protocols, or ./FILE.toml."),
    ],
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="What it says instead of what the examples say; repeatable.",
            show_default=False,
        ),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", metavar="N", help="Be so many, with ids that count up.")
    ] = 1,
    timeout: Annotated[
        float | None,
        typer.Option(
            "-t", "--timeout", metavar="S", help="End after S seconds.", show_default=False
        ),
    ] = None,
    interface: Interfaces = None,
    exclude: Exclude = None,
    four: IPv4Only = False,
    six: IPv6Only = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Answer as the accessory that a description describes, until Ctrl-C."""
    family = family_of(four, six)
    check_seconds(timeout, "--timeout")
    given = _values(values or ())
    from bcast.domain import Domain
    from bcast.foreign.doors import families_of
    from bcast.foreign.mimic import Mimic
    from bcast.sweep import host_name, load_all, unix_offset

    [description] = load_all([protocol], family)
    random = SystemRandom()
    output = Output(as_json=as_json, quiet=quiet, verbose=verbose)
    nobody: Machine[Any] | None = None
    with (
        interruptible() as stopped,
        driving(stopped, nobody, Domain(), interface, exclude, family) as driver,
    ):
        mimic = Mimic(
            description,
            given,
            number=count,
            random=random,
            since=unix_offset(driver.now()),
            host=host_name(),
        )
        families = families_of(description)
        driver.add(mimic, mimic.doors, families=families, name=description.name)
        driver.raise_if_none()
        many = f"{count} of " if count > 1 else ""
        begin(output, driver, f"impersonating {many}{description.name} ({description.title})")
        _tell(output, description.name, next(iter(mimic.parts.values()), []))
        try:
            for _ in turns(output, driver, stopped, timeout=timeout, attentive=False):
                pass
        finally:
            _leave(driver, mimic)
        with stopped.breaking():
            _summarise(output, mimic)


def _values(given: Iterable[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not (name and equals):
            raise ArgumentError(f"'{one}' sets nothing", "write --set NAME=VALUE")
        if name in values:
            raise ArgumentError(f"the value '{name}' is there twice", "give it once")
        values[name] = value
    return values


def _tell(output: Output, protocol: str, parts: "Iterable[Part]") -> None:
    """Says who is stood in for."""
    for part in parts:
        shown = {k: v for k, v in part.values.items() if not k.startswith("_")}
        if output.as_json:
            output.result("", {"event": "impersonated", "protocol": protocol, "values": shown})
        else:
            output.detail("  ".join(f"{name}={value}" for name, value in shown.items()))


def _leave(driver: "Driver[Any]", mimic: "Mimic") -> None:
    """Says goodbye everywhere, if the protocol has one."""
    now = driver.now()
    end = now + _PATIENCE
    mimic.leave(now)
    driver.flush(now)
    while not mimic.finished and (now := driver.now()) < end:
        driver.wait(end - now)


def _summarise(output: Output, mimic: "Mimic") -> None:
    told = mimic.statistics
    event = {
        "event": "summary",
        "probes": told.probes,
        "replies": told.replies,
        "announcements": told.announcements,
        "goodbyes": told.goodbyes,
        "rejected": sum(told.rejected.values()),
        "rejected_reasons": told.rejected,
    }
    line = (
        f"{told.replies} replies to {told.probes} probes; {told.announcements} announcements,"
        f" {told.goodbyes} goodbyes; {rejections(told.rejected)}"
    )
    output.event(line, event)
