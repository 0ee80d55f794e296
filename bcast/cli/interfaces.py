"""``bcast interfaces``."""

import select as system
from ipaddress import IPv4Address
from time import monotonic
from typing import Annotated

import typer

from bcast.cli.options import Exclude, Interfaces, Json, Quiet, Verbose
from bcast.cli.output import LOOK, Output, interface_object
from bcast.cli.show import sanitize
from bcast.datagram import Interface
from bcast.destinations import ALL_HOSTS, DEFAULT_GROUPS
from bcast.interfaces import kernel_choice, list_interfaces, select

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command(
    epilog="Examples:"
    "\n\nbcast interfaces --explain"
    "\n\nbcast interfaces -i 'eth*' --json"
    "\n\nbcast interfaces --watch"
)
def interfaces(
    explain: Annotated[
        bool, typer.Option("--explain", help="Add what the kernel alone would choose.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on and print changes.")] = False,
    interface: Interfaces = None,
    exclude: Exclude = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List the interfaces: what they are, and whether they are used or why not."""
    output = Output(as_json=as_json, quiet=quiet, verbose=verbose)
    listed = list_interfaces()
    shown: tuple[Interface, ...] = tuple(listed)
    if interface or exclude:
        shown = _asked_for(listed, interface or ["all"], exclude or None)
    if as_json:
        for one in shown:
            output.result("", interface_object(one, "present"))
    else:
        output.write("".join(f"{sanitize(line)}\n" for line in _table(shown)))
    if explain:
        _explain(output, listed)
    if watch:
        _watch(output)


def _asked_for(
    listed: tuple[Interface, ...], expressions: list[str], exclude: list[str] | None
) -> tuple[Interface, ...]:
    """What the expressions mean, usable or not; `InterfaceError` for one without a match."""
    indexes = set()
    for expression in expressions:
        found = select(listed, expression, exclude, require=False)
        skipped = [s.interface for s in found.skipped if s.reason != "excluded"]
        if not (found.chosen or found.skipped):
            select(listed, expression)  # says what there is
        indexes |= {one.index for one in (*found.chosen, *skipped)}
    return tuple(one for one in listed if one.index in indexes)


def _table(shown: tuple[Interface, ...]) -> list[str]:
    rows = [("INDEX", "NAME", "KIND", "MTU", "HARDWARE ADDRESS", "FLAGS", "USED")]
    for one in shown:
        flags = ",".join(f.name.lower() for f in one.flags if f.name)
        used = "yes" if one.usable else f"no: {one.reason}"
        mac = one.hardware_address or "-"
        rows.append((str(one.index), one.name, str(one.kind), str(one.mtu), mac, flags, used))
    widths = [max(len(row[i]) for row in rows) for i in range(7)]
    lines = ["  ".join(v.ljust(w) for v, w in zip(rows[0], widths, strict=True)).rstrip()]
    for one, row in zip(shown, rows[1:], strict=True):
        lines.append("  ".join(v.ljust(w) for v, w in zip(row, widths, strict=True)).rstrip())
        for address in one.addresses:
            broadcast = f"  broadcast {address.broadcast}" if address.broadcast else ""
            tentative = "  (still being checked)" if address.tentative else ""
            lines.append(f"       {address}{broadcast}{tentative}")
    return lines


def _explain(output: Output, listed: tuple[Interface, ...]) -> None:
    for destination in (ALL_HOSTS, *(group.address for group in DEFAULT_GROUPS)):
        choice = kernel_choice(destination, listed)
        what = "a broadcast" if destination == ALL_HOSTS else "a group"
        if isinstance(destination, IPv4Address) or choice is not None:
            where = choice.name if choice else "none: it has no route"
            output.result(
                f"{destination} ({what}): the kernel alone would choose {where}",
                {
                    "event": "route",
                    "destination": str(destination),
                    "interface": choice.name if choice else None,
                },
            )
    if not output.as_json:
        usable = ", ".join(one.name for one in listed if one.usable) or "none"
        output.result(f"bcast sends out of each usable interface: {usable}", {})


def _watch(output: Output) -> None:
    from bcast.cli.interruption import interruptible
    from bcast.interfaces import InterfaceAdded, InterfaceRemoved, InterfaceWatcher

    with interruptible() as stopped, InterfaceWatcher(now=monotonic()) as watcher:
        output.remark("watching for changes; Ctrl-C ends")
        watched = output.is_pipe()
        while not stopped.is_set():
            due = watcher.due()
            wait = LOOK if due is None else max(0.0, min(LOOK, due - monotonic()))
            readable = [f for f in (watcher.fileno(), stopped.fileno()) if f >= 0]
            ready, _, _ = system.select(readable, [], [], wait)
            if watcher.fileno() in ready:
                watcher.wake(monotonic())
            for change in watcher.changes(monotonic()):
                kind = (
                    "added"
                    if isinstance(change, InterfaceAdded)
                    else "removed"
                    if isinstance(change, InterfaceRemoved)
                    else "changed"
                )
                output.result(change.sentence, interface_object(change.interface, kind))
            if watched:
                output.check_reader()
