"""Runs programs in turns and measures them: a script for `bench.start`, run in a namespace.

``stopwatch.py ROUNDS``: reads a JSON object of names and command lines from stdin; prints one of
names and samples in seconds: ``cpu`` (user and system time, by wait4) and ``wall``. Every program
is run twice before it counts. One that fails ends all with its own words.
"""

from __future__ import annotations

import json
import os
import sys
import time

__all__ = ["main"]

_WARM_UP = 2


def main() -> None:
    """Measures what the standard input asks for."""
    rounds = int(sys.argv[1])
    programs: dict[str, list[str]] = json.load(sys.stdin)
    results: dict[str, dict[str, list[float]]] = {
        name: {"cpu": [], "wall": []} for name in programs
    }
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "BCAST_"))}
    for number in range(-_WARM_UP, rounds):
        for name, args in programs.items():
            cpu, wall = _run(args, env)
            if number >= 0:
                results[name]["cpu"].append(cpu)
                results[name]["wall"].append(wall)
    print(json.dumps(results))


def _run(args: list[str], env: dict[str, str]) -> tuple[float, float]:
    if sys.platform == "win32":
        raise NotImplementedError
    with open(os.devnull, "w") as nowhere:
        quiet = [(os.POSIX_SPAWN_DUP2, nowhere.fileno(), n) for n in (1, 2)]
        began = time.perf_counter()
        pid = os.posix_spawn(args[0], args, env, file_actions=quiet)
        _, status, used = os.wait4(pid, 0)
        wall = time.perf_counter() - began
    if status:
        raise SystemExit(f"{args} ended with {os.waitstatus_to_exitcode(status)}")
    return used.ru_utime + used.ru_stime, wall


if __name__ == "__main__":
    main()
