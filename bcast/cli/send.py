"""``bcast send``."""

import sys
from time import monotonic, sleep
from typing import TYPE_CHECKING, Annotated

import typer

from bcast.cli.interruption import held
from bcast.cli.options import (
    Exclude,
    Interfaces,
    IPv4Only,
    IPv6Only,
    Json,
    Port,
    Quiet,
    Verbose,
    family_of,
)
from bcast.cli.output import Output
from bcast.cli.show import JsonFormat, TextFormat, sanitize
from bcast.destinations import DEFAULT_PORT, check_port, parse_destination
from bcast.errors import ArgumentError, BcastError
from bcast.payload import Template, parse_hex

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bcast.results import SendResults
    from bcast.sockets.batch import Batch

__all__ = ["app"]

app = typer.Typer(add_completion=False)

# Seconds that are waited for at most: a day.
_LONGEST = 86_400.0

# The longest payload that UDP can carry (RFC 768 over RFC 8200), with room to say it is too long.
_MOST = 65_527


@app.command(
    epilog="Examples:"
    "\n\nbcast send hello"
    "\n\nbcast send -i eth1 --hex '01 02 ff' -p 9999"
    "\n\nbcast send --to 239.1.2.3 --ttl 4 -c 10 --interval 0.5 hi"
    "\n\nbcast send --template 'I am {address} on {interface}'"
    "\n\nbcast send ping --wait 2"
)
def send(
    payload: Annotated[
        str | None,
        typer.Argument(
            metavar="PAYLOAD", help="Text, or - for standard input.", show_default=False
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="F", help="Send a file's bytes.", show_default=False),
    ] = None,
    hexadecimal: Annotated[bool, typer.Option("--hex", help="PAYLOAD is hex digits.")] = False,
    template: Annotated[
        bool, typer.Option("--template", help="Fill {seq} {interface} {address} {mac} {time}.")
    ] = False,
    to: Annotated[
        str,
        typer.Option("--to", metavar="WHERE", help="all-hosts, subnet, both, a group or a host."),
    ] = "all-hosts",
    port: Port = DEFAULT_PORT,
    source_port: Annotated[
        int,
        typer.Option(
            "--source-port", help="Send from this port. (default: any)", show_default=False
        ),
    ] = 0,
    count: Annotated[int, typer.Option("-c", "--count", help="How many times.")] = 1,
    interval: Annotated[float, typer.Option("--interval", help="Seconds between them.")] = 1.0,
    ttl: Annotated[
        int | None,
        typer.Option("--ttl", help="1..255. (default: 1 for groups)", show_default=False),
    ] = None,
    no_loop: Annotated[
        bool, typer.Option("--no-loop", help="Groups: not to this host's own members.")
    ] = False,
    wait: Annotated[
        float, typer.Option("--wait", metavar="S", help="Print replies for S seconds.")
    ] = 0.0,
    interface: Interfaces = None,
    exclude: Exclude = None,
    four: IPv4Only = False,
    six: IPv6Only = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Send a datagram out of every selected interface and say what became of it."""
    family = family_of(four, six)
    destination = parse_destination(to, family)
    check_port(port)
    if count < 1:
        raise ArgumentError(f"can't send {count} times", "use a count of 1 or more")
    for seconds, name in ((interval, "--interval"), (wait, "--wait")):
        if not 0 <= seconds <= _LONGEST:
            raise ArgumentError(f"{name} {seconds:g} can't be", "use 0 to 86400 seconds (a day)")
    content = _payload(payload, file, hexadecimal)
    limit = 65_507 if destination.family == 4 else _MOST
    if len(content) > limit:
        raise ArgumentError(
            f"the payload is longer than a UDP datagram can be ({limit} bytes)",
            "send less, or in several datagrams",
        )
    filled: bytes | Template = Template(content) if template else content
    output = Output(as_json=as_json, quiet=quiet, verbose=verbose)
    from bcast.results import merge
    from bcast.sender import Sender

    with Sender(
        interface or None,
        exclude=exclude or None,
        family=family,
        source_port=source_port,
        ttl=ttl,
        loop=not no_loop,
    ) as sender:
        rounds: list[SendResults] = []
        replies = 0
        start = monotonic()
        try:
            for sequence in range(1, count + 1):
                if sequence > 1:
                    # Counted from the start, so that the rounds don't drift.
                    pause = max(0.0, start + (sequence - 1) * interval - monotonic())
                    if wait:
                        replies += _show_replies(output, sender.read_replies(pause))
                    else:
                        sleep(pause)
                with held():
                    results = sender.send_round(filled, to=to, port=port, sequence=sequence)
                    rounds = [merge([*rounds, results])]
        finally:
            # Interrupted or not: what was sent is said.
            results = merge(rounds)
            _show(output, results)
        if wait and results.sent:
            replies += _show_replies(output, sender.read_replies(wait))
    if not results.sent:
        raise typer.Exit(3)
    if wait and not replies:
        raise typer.Exit(1)


def _payload(payload: str | None, file: str | None, hexadecimal: bool) -> bytes:
    if payload is not None and file is not None:
        raise ArgumentError("PAYLOAD and --file exclude each other", "give one of them")
    if file is not None:
        try:
            with open(file, "rb") as opened:
                content = opened.read(_MOST * 4)
        except OSError as error:
            raise BcastError(f"can't read {file}: {error.strerror}") from error
    elif payload is None:
        raise ArgumentError(
            "there is nothing to send",
            "give a PAYLOAD (text, or - for standard input) or --file FILE"
            " (--probe, to ask for devices, is still to come)",
        )
    elif payload == "-":
        content = sys.stdin.buffer.read(_MOST * 4)
    else:
        content = payload.encode(errors="surrogateescape")
    if not hexadecimal:
        return content
    try:
        return parse_hex(content.decode("ascii"))
    except UnicodeDecodeError:
        raise ArgumentError("the payload isn't hex digits", "write bytes as 01 ff 7a") from None


def _show(output: Output, results: "SendResults") -> None:
    for sent in results.sent:
        times = f" x{sent.count}" if sent.count > 1 else ""
        output.result(
            f"{sent.interface.name}  {sent.source} > {sent.destination}"
            f"  {sent.length} bytes{times}",
            {
                "event": "sent",
                "interface": sent.interface.name,
                "source": str(sent.source.address),
                "source_port": sent.source.port,
                "destination": str(sent.destination.address),
                "destination_port": sent.destination.port,
                "length": sent.length,
                "count": sent.count,
            },
        )
    for skipped in results.skipped:
        output.skipped(skipped.interface, skipped.reason)
    for failed in results.failed:
        error = failed.error
        event = {
            "event": "failed",
            "interface": failed.interface.name,
            "error": error.error,
            "advice": str(error),
            "count": failed.count,
        }
        if output.as_json:
            output.result("", event)
        else:
            print(sanitize(f"failed {error}"), file=sys.stderr)


def _show_replies(output: Output, batches: "Iterator[Batch]") -> int:
    shape = JsonFormat() if output.as_json else TextFormat()
    count = 0
    for batch in batches:
        output.write(shape.batch(batch))
        count += len(batch)
    return count
