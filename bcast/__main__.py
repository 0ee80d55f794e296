"""The command line's way in: ``bcast`` and ``python -m bcast``."""

from __future__ import annotations

import signal
import sys
from types import FrameType

__all__ = ["main"]


def _end(number: int, frame: FrameType | None) -> None:
    # SystemExit unwinds everything (sockets, terminal, capture files) and prints nothing.
    raise SystemExit(128 + number)


def main() -> None:
    """Runs the command line and ends the process with its exit status."""
    # Before anything slow is imported, so that Ctrl-C has no moment in which it leaves a
    # traceback. Commands that end with 0 when interrupted set their own handlers.
    signal.signal(signal.SIGINT, _end)
    signal.signal(signal.SIGTERM, _end)
    from bcast.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
