"""The command line: parses, calls the library, prints.

Layer 6: a front door; it may import everything of bcast, and nothing of bcast imports it. The
only place where typer is imported. Each command is a module of its own that is loaded when it
is run, so that no command pays for the others; and has no ``from __future__ import annotations``,
because typer would evaluate each annotation's text twice (2 ms of the 50 that a command takes).
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from bcast import __version__
from bcast.errors import ArgumentError, BcastError, open_files_advice

if TYPE_CHECKING:
    from types import FrameType, ModuleType

__all__ = ["run"]

# What a write to standard output can fail with that is nobody's mistake.
_OUTPUT_FAILS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

_COMMANDS = (
    *("interfaces", "send", "listen", "discover", "watch", "announce"),
    *("impersonate", "protocols", "diff", "lab", "demo"),
)


class _Commands(TyperGroup):
    """Loads a command's module when the command is asked for."""

    # The types of context and command are click's, which typer brings under changing names.
    def list_commands(self, ctx: Any) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _COMMANDS:
            return None
        module: ModuleType = import_module(f"bcast.cli.{cmd_name}")
        return typer.main.get_command(module.app)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], _COMMANDS, n=1)
            advice = f"did you mean '{near[0]}'?" if near else "see bcast --help"
            raise ArgumentError(f"there is no command '{args[0]}'", advice)
        return super().resolve_command(ctx, args)


_app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"bcast {__version__}")
        raise typer.Exit


@_app.callback()
def _bcast(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and end."
        ),
    ] = False,
) -> None:
    """UDP broadcast and multicast discovery, interface by interface.

    Every command has --json, examples in its --help, and ends with 0 (done), 1 (not found),
    2 (misuse) or 3 (the environment prevents it).
    """


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit status. Prints, and never raises an Exception."""
    _mend_streams()
    # SystemExit unwinds everything (sockets, capture files) and prints nothing. Commands that end
    # with 0 when they are interrupted set their own handlers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    try:
        typer.main.get_command(_app)(args=list(arguments), prog_name="bcast")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BrokenPipeError:
        status = 0  # whoever read our output has had enough
    except BcastError as error:
        # A description may have several mistakes: each is a line.
        for sentence in getattr(error, "mistakes", (error,)):
            _complain(str(sentence))
        status = 2 if isinstance(error, ArgumentError) else 3
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            _complain(f"can't go on: {error.strerror}: {open_files_advice()}")
            status = 3
        elif error.errno not in _OUTPUT_FAILS:
            status = _bug(error, arguments)
        else:
            _abandon(sys.stdout)
            _complain(f"can't write the output: {error.strerror}")
            status = 3
    except Exception as error:
        status = _bug(error, arguments)
    return _flush(status)


def _end(number: int, frame: FrameType | None) -> None:
    if frame is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
        # From callbacks of the import system no exception gets out, and nothing would end.
        _flush(0)
        os._exit(128 + number)
    raise SystemExit(128 + number)


def _bug(error: Exception, arguments: Sequence[str]) -> int:
    """Says that it is ours, and returns the exit status for that."""
    if "-v" in arguments or "--verbose" in arguments:
        import traceback

        traceback.print_exc()
    _complain(
        f"this is a bug in bcast {__version__} ({type(error).__name__}: {error}): please"
        " report it with what you did; -v shows where it happened"
    )
    return 70


def _complain(sentence: str) -> None:
    try:
        from bcast.cli.show import sanitize

        print(f"bcast: {sanitize(sentence)}", file=sys.stderr)
    except OSError:
        pass  # nobody is left to tell


def _flush(status: int) -> int:
    """Flushes what is printed; an output that can't take it is told once, not at exit again."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            _abandon(stream)
        except OSError as error:
            _abandon(stream)
            if stream is sys.stdout:
                _complain(f"can't write the output: {error.strerror}")
                status = 3
    return status


def _mend_streams() -> None:
    """Opens what the caller closed, so that no socket gets its number and every print works."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    # With PYTHONUNBUFFERED standard output is a raw file, which may write a part of what it is
    # given (to a pipe, when a signal comes) and lose the rest.
    raw = getattr(sys.stdout, "buffer", None)
    if isinstance(raw, io.RawIOBase):
        buffered = io.BufferedWriter(raw)
        sys.stdout = io.TextIOWrapper(buffered, encoding=sys.stdout.encoding, line_buffering=True)


def _abandon(stream: TextIO) -> None:
    from bcast.cli.interruption import abandon

    abandon(stream)
