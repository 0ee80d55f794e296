"""The command line's way in: ``bcast`` and ``python -m bcast``."""

from __future__ import annotations

# The C module: the one written in Python takes a while to import, and until the handlers are
# installed Ctrl-C leaves a traceback.
import _signal  # type: ignore[import-not-found,unused-ignore]
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

__all__ = ["main"]


def _end(number: int, frame: FrameType | None) -> None:
    # While modules are being imported nothing is open that would have to be closed, and an
    # exception could end up anywhere.
    import os

    os._exit(128 + number)


def main() -> None:
    """Runs the command line and ends the process with its exit status."""
    _signal.signal(_signal.SIGINT, _end)
    _signal.signal(_signal.SIGTERM, _end)
    from bcast.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
