"""``bcast announce``."""

import sys
from collections.abc import Iterable
from random import SystemRandom
from typing import TYPE_CHECKING, Annotated

import typer

from bcast.cli.driving import begin, driving, turns
from bcast.cli.interruption import interruptible
from bcast.cli.options import (
    Exclude,
    Interfaces,
    IPv4Only,
    IPv6Only,
    Json,
    KeyFile,
    Quiet,
    Realm,
    Verbose,
    check_seconds,
    family_of,
    keyring_of,
)
from bcast.cli.output import Output, rejections
from bcast.cli.show import sanitize
from bcast.discovery.rejection import Rejection
from bcast.discovery.responder import Conflict, Responder
from bcast.domain import Domain
from bcast.errors import ArgumentError
from bcast.messages import Service

if TYPE_CHECKING:
    from bcast.driver import Driver

__all__ = ["app"]

app = typer.Typer(add_completion=False)

# The last goodbye goes after 0.3 s; an end that takes longer than this has gone wrong.
_PATIENCE = 1.0

# Nothing is wrong with these: its own datagrams come back, probes come by IPv6 too, and late.
_ORDINARY = {Rejection.OWN, Rejection.REPEATED, Rejection.SUPERSEDED, Rejection.BUNCHED}


@app.command(
    epilog="Examples:"
    "\n\nbcast announce lamp-1 _lamp -p 80"
    "\n\nbcast announce lamp-1 _lamp -p 80 -a fw=1.4 -a room=hall --stable-id lamp-1.id"
    "\n\nbcast announce test-7 _plug -p 9999 --realm ci-7 --interval 5"
)
def announce(
    name: Annotated[str, typer.Argument(metavar="NAME", help="1 to 63 bytes.")],
    type: Annotated[str, typer.Argument(metavar="TYPE", help="Like _lamp: a-z 0-9 _ . -")],
    port: Annotated[int, typer.Option("-p", "--port", help="Where the service is; 0: nowhere.")],
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            "-a", "--attribute", metavar="KEY=VALUE", help="Repeatable.", show_default=False
        ),
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(
            "--interval",
            metavar="S",
            help="Seconds between beats, 1 to 3600. (default: 30, more among many)",
            show_default=False,
        ),
    ] = None,
    stable_id: Annotated[
        str | None,
        typer.Option(
            "--stable-id",
            metavar="FILE",
            help="Keep the id in this file, made if missing; without it, a new one each time.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "-t", "--timeout", metavar="S", help="End after S seconds.", show_default=False
        ),
    ] = None,
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
    """Be discoverable until Ctrl-C, then say goodbye."""
    family = family_of(four, six)
    check_seconds(timeout, "--timeout")
    service = Service(name, type, port, _attributes(attribute or ()))
    output = Output(as_json=as_json, quiet=quiet, verbose=verbose)
    domain = Domain(realm, keyring=keyring_of(key_file, output.remark))
    id = None
    if stable_id is not None:
        from bcast.cli.identity import keep_id

        id = keep_id(stable_id)
    responder = Responder(
        (service,), random=SystemRandom(), domain=domain, id=id, interval=interval
    )
    with (
        interruptible() as stopped,
        driving(stopped, responder, domain, interface, exclude, family) as driver,
    ):
        begin(output, driver, f"announcing {name} ({type})")
        _tell_announced(output, responder, service)
        # It doesn't look whether anybody still reads what it says, so that there is nothing to do
        # between two beats.
        try:
            for _ in turns(output, driver, stopped, timeout=timeout, attentive=False):
                while (conflict := responder.next_event()) is not None:
                    _warn(output, conflict)
        finally:
            _leave(driver, responder)
        with stopped.breaking():
            _summarise(output, responder)


def _attributes(given: Iterable[str]) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not equals:
            raise ArgumentError(
                f"the attribute '{one}' has no value", "write -a KEY=VALUE, or -a KEY= for none"
            )
        if key in attributes:
            raise ArgumentError(f"the attribute '{key}' is there twice", "give it once")
        attributes[key] = value
    return attributes


def _tell_announced(output: Output, responder: Responder, service: Service) -> None:
    output.detail(f"id {responder.id.hex()}; a beat every {responder.interval} s")
    if output.as_json:
        event = {
            "event": "announced",
            "id": responder.id.hex(),
            "name": service.name,
            "type": service.type,
            "port": service.port,
            "attributes": dict(service.attributes),
            "interval": responder.interval,
        }
        output.result("", event)


def _warn(output: Output, conflict: Conflict) -> None:
    """Two that can't be told apart are trouble for everybody: said even quietly."""
    advice = "give each of them a --stable-id file of its own"
    if output.as_json:
        event = {
            "event": "conflict",
            "interface": conflict.interface,
            "source": str(conflict.source.address),
            "source_port": conflict.source.port,
            "advice": advice,
        }
        output.result("", event)
        return
    line = f"{conflict.source} on {conflict.interface} announces itself with the same id: {advice}"
    print(sanitize(line), file=sys.stderr, flush=True)


def _leave(driver: "Driver[Conflict]", responder: Responder) -> None:
    """Says goodbye everywhere; the last of three leaves 0.3 seconds later."""
    now = driver.now()
    end = now + _PATIENCE
    responder.leave(now)
    driver.flush(now)
    while not responder.finished and (now := driver.now()) < end:
        driver.wait(end - now)


def _summarise(output: Output, responder: Responder) -> None:
    told = responder.statistics
    rejected = {str(k): n for k, n in sorted(told.rejected.items()) if k not in _ORDINARY}
    event = {
        "event": "summary",
        "probes": told.probes,
        "queries": told.queries,
        "replies": told.replies,
        "short": told.short,
        "announcements": told.announcements,
        "beats": told.beats,
        "goodbyes": told.goodbyes,
        "rejected": sum(rejected.values()),
        "rejected_reasons": rejected,
    }
    line = (
        f"{told.replies} replies to {told.probes} probes and {told.queries} queries;"
        f" {told.announcements} announcements, {told.beats} beats, {told.goodbyes} goodbyes;"
        f" {rejections(rejected)}"
    )
    output.event(line, event)
