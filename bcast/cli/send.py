"""``bcast send``."""

import sys
from time import monotonic, sleep
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from bcast.cli.interruption import held
from bcast.cli.options import (
    Exclude,
    Interfaces,
    IPv4Only,
    IPv6Only,
    Json,
    KeyFile,
    Port,
    Quiet,
    Realm,
    Verbose,
    family_of,
    is_given,
    keyring_of,
)
from bcast.cli.output import Output
from bcast.cli.show import JsonFormat, TextFormat, sanitize
from bcast.destinations import DEFAULT_PORT, check_port, parse_destination
from bcast.errors import ArgumentError, BcastError
from bcast.payload import Template, parse_hex

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bcast.cli.probe import Asked
    from bcast.results import SendResults
    from bcast.sockets.batch import Batch
    from bcast.wire.keys import Keyring

__all__ = ["app"]

app = typer.Typer(add_completion=False)

# Seconds that are waited for at most: a day.
_LONGEST = 86_400.0

# The longest payload that UDP can carry (RFC 768 over RFC 8200), with room to say it is too long.
_MOST = 65_527

# Seconds that replies to a probe are waited for: who asks wants to see them.
_PROBE_WAIT = 1.0


class _Send(TyperCommand):
    """``--probe`` may stand without a PROTOCOL, as no option of typer's can."""

    # The type of a context is click's, which typer brings under changing names.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        words = args[:end]
        words = [
            "--probe=bcast" if word == "--probe" and after.startswith("-") else word
            for word, after in zip(words, [*words[1:], "-"], strict=False)
        ]
        return super().parse_args(ctx, words + args[end:])


@app.command(
    cls=_Send,
    epilog="Examples:"
    "\n\nbcast send hello"
    "\n\nbcast send -i eth1 --hex '01 02 ff' -p 9999"
    "\n\nbcast send --to 239.1.2.3 --ttl 4 -c 10 --interval 0.5 hi"
    "\n\nbcast send --template 'I am {address} on {interface}'"
    "\n\nbcast send ping --wait 2"
    "\n\nbcast send --probe"
    "\n\nbcast send --probe kasa",
)
def send(
    context: typer.Context,
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
    probe: Annotated[
        str | None,
        typer.Option(
            "--probe",
            metavar="[PROTOCOL]",
            help="Ask who is there, instead of a PAYLOAD. (bcast)",
            show_default=False,
        ),
    ] = None,
    realm: Realm = "",
    key_file: KeyFile = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="WHERE",
            help="all-hosts, subnet, both, a group or a host."
            " (default: all-hosts; probes: as the protocol has it)",
            show_default=False,
        ),
    ] = None,
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
        typer.Option(
            "--ttl", help="1..255. (default: 1 for groups; probes: 255)", show_default=False
        ),
    ] = None,
    no_loop: Annotated[
        bool, typer.Option("--no-loop", help="Groups: not to this host's own members.")
    ] = False,
    wait: Annotated[
        float | None,
        typer.Option(
            "--wait",
            metavar="S",
            help="Print replies for S seconds. (default: 0; probes: 1)",
            show_default=False,
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
    """Send a datagram out of every selected interface and say what became of it."""
    family = family_of(four, six)
    check_port(port)
    if count < 1:
        raise ArgumentError(f"can't send {count} times", "use a count of 1 or more")
    if wait is None:
        wait = 0.0 if probe is None else _PROBE_WAIT
    for seconds, name in ((interval, "--interval"), (wait, "--wait")):
        if not 0 <= seconds <= _LONGEST:
            raise ArgumentError(f"{name} {seconds:g} can't be", "use 0 to 86400 seconds (a day)")
    output = Output(as_json=as_json, quiet=quiet, verbose=verbose)
    keyring = None
    asked: Asked | None = None
    rounds: list[tuple[bytes | Template, str, int]]
    if probe is None:
        for name in ("realm", "key_file"):
            if is_given(context, name):
                option = "--" + name.replace("_", "-")
                raise ArgumentError(f"{option} is for --probe", "leave it out, or add --probe")
        where = "all-hosts" if to is None else to
        family_there = parse_destination(where, family).family
        content = _payload(payload, file, hexadecimal, 65_507 if family_there == 4 else _MOST)
        rounds = [(Template(content) if template else content, where, port)]
    else:
        if payload is not None or file is not None or hexadecimal or template:
            raise ArgumentError(
                "PAYLOAD and --probe exclude each other",
                "leave out one of them, and --file, --hex and --template with the PAYLOAD",
            )
        if to is not None:
            parse_destination(to, family)
        from bcast.cli.probe import ask
        from bcast.domain import Domain

        keyring = keyring_of(key_file, output.remark)
        asked = ask(probe, Domain(realm, port, keyring=keyring), family)
        rounds = [
            (question.payload, where, port if is_given(context, "port") else question.port)
            for question in asked.questions
            for where in (question.destinations if to is None else (to,))
        ]
        ttl = asked.ttl if ttl is None else ttl
        source_port = source_port or asked.source_port
    from bcast.results import SendResults, merge
    from bcast.sender import Sender

    with Sender(
        interface or None,
        exclude=exclude or None,
        family=family,
        source_port=source_port,
        ttl=ttl,
        loop=not no_loop,
    ) as sender:
        replies = _Replies(output, keyring, asked)
        results = SendResults()
        start = monotonic()
        try:
            for sequence in range(1, count + 1):
                if sequence > 1:
                    # Counted from the start, so that the rounds don't drift.
                    pause = max(0.0, start + (sequence - 1) * interval - monotonic())
                    if wait:
                        replies.show(sender.read_replies(pause))
                    else:
                        sleep(pause)
                for filled, where, there in rounds:
                    with held():
                        more = sender.send_round(filled, to=where, port=there, sequence=sequence)
                        results = merge([results, more])
        finally:
            # Interrupted or not: what was sent is said.
            _show(output, _simplified(results) if len(rounds) > 1 else results)
        if wait and results.sent:
            replies.show(sender.read_replies(wait))
    if not results.sent:
        raise typer.Exit(3)
    if wait and not replies.count:
        raise typer.Exit(1)


def _payload(payload: str | None, file: str | None, hexadecimal: bool, longest: int) -> bytes:
    content = _content(payload, file, hexadecimal)
    if len(content) > longest:
        raise ArgumentError(
            f"the payload is longer than a UDP datagram can be ({longest} bytes)",
            "send less, or in several datagrams",
        )
    return content


def _content(payload: str | None, file: str | None, hexadecimal: bool) -> bytes:
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
            "give a PAYLOAD (text, or - for standard input) or --file FILE,"
            " or --probe to ask who is there",
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


def _simplified(results: "SendResults") -> "SendResults":
    """Without skips of interfaces that were reached all the same, by another destination."""
    from bcast.results import SendResults

    reached = {sent.interface.index for sent in results.sent}
    skipped = tuple(s for s in results.skipped if s.interface.index not in reached)
    return SendResults(results.sent, skipped, results.failed)


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


class _Replies:
    """Shows what comes back, as ``bcast listen`` does, and counts what answers."""

    def __init__(
        self,
        output: Output,
        keyring: "Keyring | None",
        asked: "Asked | None",
    ) -> None:
        self._output = output
        spoken = asked.spoken if asked is not None else ()
        self._format = (
            JsonFormat(keyring=keyring, spoken=spoken)
            if output.as_json
            else TextFormat(keyring=keyring, spoken=spoken)
        )
        self._is_answer = None if asked is None else asked.is_answered_by
        self.count = 0

    def show(self, batches: "Iterator[Batch]") -> None:
        for batch in batches:
            self._output.write(self._format.batch(batch))
            answers = batch.payloads
            if self._is_answer is not None:
                answers = list(filter(self._is_answer, answers))
            self.count += len(answers)
