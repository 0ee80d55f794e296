"""``python -m tests.bench [NAME...]``; see the package's docstring."""

from __future__ import annotations

import argparse
import signal
import sys

from bcast.lab import LabError
from tests.bench import (
    accessories,
    discovery,
    flood,
    memory,
    plugin,
    receive,
    send,
    start,
    sweep,
    targets,
)

#: Those that take minutes run only when they are named.
_LONG = ("memory", "discovery", "targets", "plugin", "endurance", "sweep")
#: Rounds, where it isn't said how many.
_ROUNDS = {"endurance": 200, "sweep": 5}
_NAMES = ("receive", "send", "flood", "start", "accessories", *_LONG)


def main() -> None:
    """Runs the benchmarks that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("name", nargs="*", metavar="NAME", help=", ".join(_NAMES))
    parser.add_argument(
        "--rounds",
        type=int,
        help="how often each takes its turn (default: 21; 200 for `endurance`, 5 for `sweep`)",
    )
    parser.add_argument(
        "--datagrams", type=int, default=1_000_000, help="how many `memory` receives"
    )
    parser.add_argument(
        "--python",
        action="append",
        metavar="PATH",
        help="an interpreter that `start` measures (default: this one); repeatable",
    )
    parser.add_argument(
        "--peers",
        type=_numbers,
        default=[10, 100, 400, 2000],
        help="how many peers `discovery` searches for: 100,400",
    )
    parser.add_argument("--runs", type=int, default=11, help="how often `discovery` searches")
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=[],
        metavar="R3,T1...",
        help=f"targets of `discovery` ({', '.join(discovery.ONLY)})"
        f" or of `targets` ({', '.join(targets.NAMES)})",
    )
    parser.add_argument("--quick", action="store_true", help="`targets` at small sizes")
    options = parser.parse_args()
    for name in options.only:
        if name not in (*discovery.ONLY, *targets.NAMES):
            parser.error(f"there is no target {name!r}: see --help")
    if min(options.rounds or 1, options.datagrams, options.runs, *options.peers) < 1:
        parser.error("use a number of 1 or more")
    names = options.name or [name for name in _NAMES if name not in _LONG]
    for name in names:
        if name not in _NAMES:
            parser.error(f"there is no benchmark {name!r}: choose from {', '.join(_NAMES)}")
    # Whatever ends it, namespaces, processes and files are removed.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        for name in names:
            _run(name, options)
    except LabError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _run(name: str, options: argparse.Namespace) -> None:
    rounds = _ROUNDS.get(name, 21) if options.rounds is None else options.rounds
    if name == "receive":
        receive.run(rounds)
    elif name == "send":
        send.run(rounds)
    elif name == "flood":
        flood.run()
    elif name == "start":
        start.run(rounds, options.python or [sys.executable])
    elif name == "plugin":
        plugin.run(rounds)
    elif name == "endurance":
        plugin.endure(rounds)
    elif name == "discovery":
        discovery.run(options.peers, options.runs, options.only)
    elif name == "accessories":
        accessories.run()
    elif name == "sweep":
        sweep.run(rounds)
    elif name == "targets":
        targets.run(options.only, options.quick)
    else:
        memory.run(options.datagrams)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    main()
