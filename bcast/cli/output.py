"""Where results and remarks go: standard output, standard error, or JSON objects.

Results go to standard output; progress, skips, advice and summaries to standard error. With
``--json`` skipped interfaces, interface changes and the summary are objects among the results.
"""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Mapping
from typing import Any

from bcast.cli.show import sanitize
from bcast.datagram import Interface

__all__ = ["LOOK", "Output", "interface_object", "rejections"]


# How often, in seconds, an idle command looks whether anybody still reads its output.
LOOK = 1.0


class Output:
    """Prints for one command, in the form that its options asked for."""

    def __init__(
        self, *, as_json: bool = False, quiet: bool = False, verbose: bool = False
    ) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.verbose = verbose
        # A terminal that can't show a character gets an escape, not a traceback.
        for stream in (sys.stdout, sys.stderr):
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:
                reconfigure(errors="backslashreplace")

    def result(self, line: str, event: dict[str, Any]) -> None:
        """A result: the line for people, or the object for programs."""
        if self.as_json:
            import json

            self.write(json.dumps(event, separators=(",", ":")) + "\n")
        else:
            self.write(sanitize(line) + "\n")

    def is_live(self) -> bool:
        """Whether people watch the results on a terminal where they can be drawn over."""
        dumb = os.environ.get("TERM") in ("dumb", "unknown")
        return not self.as_json and sys.stdout.isatty() and not dumb

    def is_pipe(self) -> bool:
        """Whether a program reads the results, which may end before we do."""
        mode = os.fstat(sys.stdout.fileno()).st_mode
        return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)

    def check_reader(self) -> None:
        """Raises BrokenPipeError if whoever reads the results is gone: their end says so."""
        if sys.platform == "win32":
            return
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
            raise BrokenPipeError

    def write(self, text: str) -> None:
        """Text that is formatted already, to standard output at once."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def event(self, line: str, event: dict[str, Any]) -> None:
        """A remark on standard error; with JSON an object on standard output."""
        if self.as_json:
            self.result("", event)
        else:
            self.remark(line)

    def remark(self, line: str) -> None:
        """Something worth knowing, unless quiet was asked for."""
        if not self.quiet:
            print(sanitize(line), file=sys.stderr, flush=True)

    def detail(self, line: str) -> None:
        """Something only ``--verbose`` asks for."""
        if self.verbose:
            self.remark(line)

    def skipped(self, interface: Interface, reason: str) -> None:
        """Says that an interface was left out, and why."""
        event = {"event": "skipped", "interface": interface.name, "reason": reason}
        self.event(f"skipped {interface.name}: {reason}", event)


def interface_object(interface: Interface, change: str) -> dict[str, Any]:
    """The ``interface`` event: ``change`` is present, added, removed or changed."""
    return {
        "event": "interface",
        "change": change,
        "name": interface.name,
        "index": interface.index,
        "kind": str(interface.kind),
        "flags": [flag.name.lower() for flag in interface.flags if flag.name],
        "mtu": interface.mtu,
        "hardware_address": interface.hardware_address,
        "addresses": [
            {
                "address": str(a.address),
                "prefix_length": a.prefix_length,
                "broadcast": str(a.broadcast) if a.broadcast else None,
            }
            for a in interface.addresses
        ],
        "usable": interface.usable,
        "reason": interface.reason,
    }


def rejections(reasons: Mapping[str, int]) -> str:
    """What a summary says about what was rejected, by reason."""
    each = ", ".join(f"{number} {reason}" for reason, number in sorted(reasons.items()))
    return f"rejected {sum(reasons.values())}" + (f" ({each})" if each else "")
