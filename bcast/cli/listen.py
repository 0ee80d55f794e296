"""``bcast listen``."""

import os
import stat
import sys
from enum import StrEnum
from time import monotonic, time_ns
from typing import TYPE_CHECKING, Annotated

import typer

from bcast import __version__
from bcast.cli.interruption import Stopped, interruptible
from bcast.cli.options import (
    Exclude,
    Interfaces,
    IPv4Only,
    IPv6Only,
    Json,
    Quiet,
    Verbose,
    family_of,
)
from bcast.cli.output import Output, interface_object
from bcast.cli.show import JsonFormat, TextFormat
from bcast.datagram import Group
from bcast.destinations import DEFAULT_PORT, parse_group
from bcast.errors import ArgumentError

if TYPE_CHECKING:
    from bcast.capture import CaptureWriter
    from bcast.channels import Notice, Statistics
    from bcast.receiver import Receiver

__all__ = ["app"]

app = typer.Typer(add_completion=False)

# Written data reaches the file at least this often, in seconds: what a kill -9 may cost.
_FLUSH = 0.5
# How often, in seconds, an idle listener looks whether anybody still reads its output.
_LOOK = 1.0


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
)
def listen(
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
    if timeout is not None and not 0 <= timeout < float("inf"):
        raise ArgumentError(f"can't wait for {timeout:g} s", "use 0 or more seconds")
    groups: list[Group] | None = [parse_group(text) for text in group] if group else None
    output = Output(as_json=as_json, quiet=quiet, verbose=verbose)
    if read is not None:
        if group or timeout is not None or write is not None:
            raise ArgumentError(
                "--read shows a capture and doesn't listen",
                "leave out --group, --timeout and --write",
            )
        from bcast.cli.replay import replay

        replay(output, read, shape=show, count=count, sources=source or [], port=port)
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
            stopped.call(receiver.stop)
            if write is not None:
                writer = _open_capture(write)
            _begin(output, receiver)
            loop = _Listening(output, receiver, writer, stopped, show)
            try:
                loop.run(count, timeout)
            finally:
                if writer is not None:
                    _finish(writer, receiver)
                if not loop.abandoned:
                    _end(output, receiver.statistics)
    if count is not None and loop.taken < count and not stopped.is_set():
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
    ) -> None:
        self._output = output
        self._receiver = receiver
        self._writer = writer
        self._stopped = stopped
        self._format = JsonFormat() if output.as_json else TextFormat(shape)
        self._shows = writer is None or output.as_json
        #: How many datagrams were shown or written.
        self.taken = 0
        #: Whether nobody reads the output any more.
        self.abandoned = False

    def run(self, count: int | None, timeout: float | None) -> None:
        """Goes on until ``count`` datagrams, ``timeout`` seconds, or stopped.

        Raises BrokenPipeError when nobody reads the output any more.
        """
        try:
            self._run(count, timeout)
        except BrokenPipeError:
            self.abandoned = True
            raise

    def _run(self, count: int | None, timeout: float | None) -> None:
        now = monotonic()
        end = None if timeout is None else now + timeout
        flush = now + _FLUSH
        watched = self._shows and _is_pipe(sys.stdout.fileno())
        while not self._stopped.is_set():
            times = [end] if end is not None else []
            if self._writer is not None:
                times.append(flush)
            if watched:
                times.append(now + _LOOK)
            wait = max(0.0, min(times) - now) if times else None
            batches = self._receiver.read(wait)
            for notice in self._receiver.changes():
                _tell(self._output, notice)
            for batch in batches:
                wanted = batch if count is None else batch.first(count - self.taken)
                self.taken += len(wanted)
                if self._shows:
                    sys.stdout.write(self._format.batch(wanted))
                if self._writer is not None:
                    self._writer.write_batch(wanted.interface, wanted.port, wanted.rows)
                if self.taken == count:
                    break
            if batches and self._shows:
                sys.stdout.flush()
            now = monotonic()
            if self._writer is not None and now >= flush:
                self._writer.flush()
                flush = now + _FLUSH
            if self.taken == count or (end is not None and now >= end):
                break
            if watched and not batches and _is_abandoned(sys.stdout.fileno()):
                raise BrokenPipeError


def _begin(output: Output, receiver: "Receiver") -> None:
    names = ", ".join(state.interface.name for state in receiver.states)
    output.remark(f"listening on port {receiver.port} of {names}; Ctrl-C ends")
    if output.as_json:
        for chosen in receiver.selection.chosen:
            output.result("", interface_object(chosen, "present"))
    for skipped in receiver.selection.skipped:
        output.skipped(skipped.interface, skipped.reason)
    for notice in receiver.changes():
        _tell(output, notice)
    for name, counts in receiver.statistics.interfaces.items():
        output.detail(f"{name}: a receive buffer of {counts.buffer} bytes was granted")


def _tell(output: Output, notice: "Notice") -> None:
    from bcast.channels import InterfaceFailed
    from bcast.interfaces import InterfaceAdded, InterfaceRemoved

    if isinstance(notice, InterfaceFailed):
        event = {
            "event": "failed",
            "interface": notice.interface.name,
            "error": notice.error.error,
            "advice": str(notice.error),
        }
        output.event(notice.sentence, event)
        return
    kinds = {InterfaceAdded: "added", InterfaceRemoved: "removed"}
    change = kinds.get(type(notice), "changed")
    output.event(notice.sentence, interface_object(notice.interface, change))


def _finish(writer: "CaptureWriter", receiver: "Receiver") -> None:
    counts = receiver.statistics.interfaces
    for state in receiver.states:
        if state.interface.name in counts:
            writer.drops(state.interface, counts[state.interface.name].kernel_drops or 0)
    writer.close(time_ns())


def _end(output: Output, statistics: "Statistics") -> None:
    """The summary."""
    drops = statistics.kernel_drops
    event = {
        "event": "summary",
        "datagrams": statistics.datagrams,
        "bytes": statistics.bytes,
        "kernel_drops": drops,
        "rejected": 0,
        "filtered": statistics.filtered,
        "interfaces": {
            name: {
                "datagrams": one.datagrams,
                "bytes": one.bytes,
                "kernel_drops": one.kernel_drops,
                "buffer": one.buffer,
            }
            for name, one in statistics.interfaces.items()
        },
    }
    each = ", ".join(f"{n} {one.datagrams}" for n, one in statistics.interfaces.items())
    parts = [f"{statistics.datagrams} datagrams, {statistics.bytes} bytes ({each})"]
    parts.append(f"kernel drops {'unknown' if drops is None else drops}")
    parts.append("rejected 0")
    if statistics.filtered:
        parts.append(f"from elsewhere {statistics.filtered}")
    output.event("; ".join(parts), event)


def _is_pipe(descriptor: int) -> bool:
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _is_abandoned(descriptor: int) -> bool:
    """Whether the reader of a pipe is gone: its end then reports an error."""
    import select

    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
