"""``bcast listen``."""

import os
import sys
from enum import StrEnum
from time import monotonic, time_ns
from typing import TYPE_CHECKING, Annotated

import typer

from bcast import __version__
from bcast.cli.interruption import Interrupted, Stopped, interruptible
from bcast.cli.notices import tell
from bcast.cli.options import (
    Exclude,
    Interfaces,
    IPv4Only,
    IPv6Only,
    Json,
    KeyFile,
    Quiet,
    Verbose,
    family_of,
    is_given,
    keyring_of,
)
from bcast.cli.output import LOOK, Output, interface_object, rejections
from bcast.cli.show import JsonFormat, TextFormat
from bcast.datagram import Group
from bcast.destinations import DEFAULT_PORT, NATIVE, parse_group
from bcast.errors import ArgumentError

if TYPE_CHECKING:
    from bcast.accessory.description import Description
    from bcast.capture import CaptureWriter
    from bcast.counts import Statistics
    from bcast.receiver import Receiver
    from bcast.sockets.batch import Batch
    from bcast.wire.keys import Keyring

__all__ = ["app"]

app = typer.Typer(add_completion=False)

# Written data reaches the file at least this often, in seconds: what a kill -9 may cost.
_FLUSH = 0.5


class _Shape(StrEnum):
    AUTO = "auto"
    TEXT = "text"
    HEX = "hex"


@app.command(
    epilog="Examples:"
    "\n\nbcast listen"
    "\n\nbcast listen -i eth1 -p 1900 -g 239.255.255.250"
    "\n\nbcast listen -p 5000 --json --count 10 --timeout 5"
    "\n\nbcast listen -p 2222 -w all.pcapng"
    "\n\nbcast listen -r all.pcapng --from 192.168.1.0/24"
    "\n\nbcast listen --protocol ssdp"
)
def listen(
    context: typer.Context,
    port: Annotated[
        int | None,
        typer.Option(
            "-p", "--port", help=f"UDP port. (default: {DEFAULT_PORT})", show_default=False
        ),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            "-g",
            "--group",
            metavar="GROUP",
            help="Join a group, or SOURCE@GROUP; repeatable. (default: bcast's own)",
            show_default=False,
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option("-c", "--count", help="End after so many.", show_default=False)
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "-t", "--timeout", metavar="S", help="End after S seconds.", show_default=False
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--from", metavar="NETWORK", help="Only from there; repeatable.", show_default=False
        ),
    ] = None,
    show: Annotated[_Shape, typer.Option("--show", help="The payload.")] = _Shape.AUTO,
    write: Annotated[
        str | None,
        typer.Option(
            "-w", "--write", metavar="FILE", help="Write pcapng instead.", show_default=False
        ),
    ] = None,
    read: Annotated[
        str | None,
        typer.Option("-r", "--read", metavar="FILE", help="Show a capture.", show_default=False),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            metavar="NAME",
            help="Listen where this protocol is spoken. (a name, or ./FILE.toml)",
            show_default=False,
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Say why a datagram is no message of a known protocol."),
    ] = False,
    key_file: KeyFile = None,
    interface: Interfaces = None,
    exclude: Exclude = None,
    four: IPv4Only = False,
    six: IPv6Only = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show the datagrams that arrive on every selected interface."""
    family = family_of(four, six)
    if count is not None and count < 1:
        raise ArgumentError(f"can't count to {count}", "use a count of 1 or more")
    if write == "-" and as_json:
        raise ArgumentError(
            "--json and --write - both want standard output", "write the capture to a file"
        )
    if timeout is not None and not 0 <= timeout < float("inf"):
        raise ArgumentError(f"can't wait for {timeout:g} s", "use 0 or more seconds")
    groups: list[Group] | None = [parse_group(text) for text in group] if group else None
    output = Output(as_json=as_json, quiet=quiet, verbose=verbose)
    keyring = keyring_of(key_file, output.remark)
    spoken: list[Description] = []
    if protocol not in (None, NATIVE):
        from bcast.foreign.doors import hearing_door
        from bcast.sweep import load_all

        spoken = load_all([protocol or ""], family)
        door = hearing_door(spoken[0])
        port = door.port if port is None else port
        groups = list(door.groups) if groups is None else groups
    if read is not None:
        for name in ("group", "timeout", "write", "interface", "exclude", "four", "six"):
            if is_given(context, name):
                raise ArgumentError(
                    "--read shows a capture and doesn't listen",
                    "give it no more than --from, --port, --count, --show, --key-file and --json",
                )
        from bcast.cli.replay import replay

        replay(
            output,
            read,
            shape=show,
            count=count,
            sources=source or [],
            port=port,
            keyring=keyring,
            spoken=spoken,
            explain=explain,
        )
        return
    from bcast.receiver import Receiver

    with interruptible() as stopped:
        writer = None
        with Receiver(
            interface or None,
            port=DEFAULT_PORT if port is None else port,
            groups=groups,
            exclude=exclude or None,
            family=family,
            sources=source or (),
        ) as receiver:
            stopped.call(receiver.wake)
            if write is not None:
                # A named pipe is opened when somebody reads it.
                with stopped.breaking():
                    writer = _open_capture(write)
            _begin(output, receiver)
            for description in spoken:
                _tell_ports(output, description, receiver.port)
            loop = _Listening(output, receiver, writer, stopped, show, keyring, spoken, explain)
            try:
                loop.run(count, timeout)
            finally:
                statistics = receiver.statistics
                if writer is not None:
                    _finish(writer, statistics)
                if not loop.abandoned:
                    with stopped.breaking():
                        _end(output, statistics, loop)
    if count is not None and loop.count < count and not stopped.is_set():
        raise typer.Exit(1)


def _open_capture(path: str) -> "CaptureWriter":
    from bcast.capture import CaptureWriter

    system, hardware = "", ""
    if hasattr(os, "uname"):
        told = os.uname()
        system, hardware = f"{told.sysname} {told.release}", told.machine
    return CaptureWriter(
        path,
        hardware=hardware,
        system=system,
        application=f"bcast {__version__}",
        started_ns=time_ns(),
    )


class _Listening:
    """The loop: reads, shows or writes, and looks after time and output."""

    def __init__(
        self,
        output: Output,
        receiver: "Receiver",
        writer: "CaptureWriter | None",
        stopped: Stopped,
        shape: str,
        keyring: "Keyring | None",
        spoken: "list[Description]",
        explain: bool,
    ) -> None:
        self._output = output
        self._receiver = receiver
        self._writer = writer
        self._stopped = stopped
        self.format = (
            JsonFormat(keyring=keyring, spoken=spoken, explain=explain)
            if output.as_json
            else TextFormat(shape, keyring=keyring, spoken=spoken, explain=explain)
        )
        self._shows = writer is None or output.as_json
        #: How many datagrams and bytes of each interface were shown or written.
        self.taken: dict[str, list[int]] = {}
        self.count = 0
        #: Whether nobody reads the output any more.
        self.abandoned = False

    def run(self, count: int | None, timeout: float | None) -> None:
        """Goes on until ``count`` datagrams, ``timeout`` seconds, or stopped.

        Raises BrokenPipeError when nobody reads the output any more.
        """
        try:
            self._run(count, timeout)
        except (BrokenPipeError, Interrupted):
            self.abandoned = True
            raise

    def _run(self, count: int | None, timeout: float | None) -> None:
        now = monotonic()
        end = None if timeout is None else now + timeout
        flush = now + _FLUSH
        watched = self._output.is_pipe()
        while not self._stopped.is_set():
            times = [end] if end is not None else []
            if self._writer is not None and self._writer.pending:
                times.append(flush)
            if watched:
                times.append(now + LOOK)
            batches = self._receiver.read(max(0.0, min(times) - now) if times else None)
            for notice in self._receiver.changes():
                tell(self._output, notice)
            now = monotonic()
            with self._stopped.breaking():
                self._take(batches, count)
                if self._writer is not None and now >= flush:
                    self._writer.flush()
                    flush = now + _FLUSH
            if self.count == count or (end is not None and now >= end):
                break
            if watched and not batches:
                self._output.check_reader()
        if self.count == count:
            return
        # What waited in the receive buffers when it was time to end has arrived: unread, it
        # would be neither received nor dropped.
        for batches in self._receiver.rest():
            with self._stopped.breaking():
                self._take(batches, count)
            if self.count == count:
                break

    def _take(self, batches: "list[Batch]", count: int | None) -> None:
        """Shows and writes, up to ``count`` datagrams in all."""
        for batch in batches:
            wanted = batch if count is None else batch.first(count - self.count)
            self.count += len(wanted)
            taken = self.taken.setdefault(wanted.interface.name, [0, 0])
            taken[0] += len(wanted)
            taken[1] += wanted.size
            if self._shows:
                sys.stdout.write(self.format.batch(wanted))
                self._stopped.goes_on()
            else:
                self.format.count(wanted)
            if self._writer is not None:
                self._writer.write_batch(wanted.interface, wanted.port, wanted.rows)
            if self.count == count:
                break
        if batches and self._shows:
            sys.stdout.flush()


def _begin(output: Output, receiver: "Receiver") -> None:
    names = ", ".join(state.interface.name for state in receiver.states)
    output.remark(f"listening on port {receiver.port} of {names}; Ctrl-C ends")
    if output.as_json:
        for chosen in receiver.selection.chosen:
            output.result("", interface_object(chosen, "present"))
    for skipped in receiver.selection.skipped:
        output.skipped(skipped.interface, skipped.reason)
    for notice in receiver.changes():
        tell(output, notice)
    for name, counts in receiver.statistics.interfaces.items():
        output.detail(f"{name}: a receive buffer of {counts.buffer} bytes was granted")


def _tell_ports(output: Output, description: "Description", port: int) -> None:
    """Says where else a protocol is spoken: one port can be listened to."""
    from bcast.foreign.doors import other_ports

    ports = {*other_ports(description), description.port} - {port}
    if ports:
        listed = ", ".join(map(str, sorted(ports)))
        output.remark(f"{description.name} is also spoken on port {listed}: choose with -p")


def _finish(writer: "CaptureWriter", statistics: "Statistics") -> None:
    for counts in statistics.interfaces.values():
        writer.drops(counts.interface, counts.kernel_drops or 0)
    writer.close(time_ns())


def _end(output: Output, statistics: "Statistics", loop: _Listening) -> None:
    """The summary: what was shown or written, and what was lost on the way."""
    drops = statistics.kernel_drops
    rejected = loop.format.rejected
    names = dict.fromkeys([*statistics.interfaces, *loop.taken])
    interfaces = {}
    for name in names:
        datagrams, size = loop.taken.get(name, (0, 0))
        counts = statistics.interfaces.get(name)
        interfaces[name] = {
            "datagrams": datagrams,
            "bytes": size,
            "kernel_drops": counts.kernel_drops if counts else None,
            "buffer": counts.buffer if counts else 0,
        }
    size = sum(taken[1] for taken in loop.taken.values())
    event = {
        "event": "summary",
        "datagrams": loop.count,
        "bytes": size,
        "kernel_drops": drops,
        "rejected": sum(rejected.values()),
        "rejected_reasons": rejected,
        "filtered": statistics.filtered,
        "interfaces": interfaces,
    }
    each = ", ".join(f"{name} {one['datagrams']}" for name, one in interfaces.items())
    parts = [f"{loop.count} datagrams, {size} bytes ({each})"]
    parts.append(f"kernel drops {'unknown' if drops is None else drops}")
    parts.append(rejections(rejected))
    if statistics.filtered:
        parts.append(f"from elsewhere {statistics.filtered}")
    output.event("; ".join(parts), event)
