"""``python -m tests.interop [PROTOCOL...]``; see the package's docstring."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bcast.lab import lab_unavailable
from tests.interop.cases import CASES, Case, Responder
from tests.interop.lan import Outcome, run
from tests.interop.table import compare, put, table

_DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "accessories.md"

#: LANs at a time. Most of the time all wait; but a program that sends all its probes in a
#: millisecond, on a machine that is busy starting others, may do so before it can be heard.
_SIDE_BY_SIDE = 4


def main() -> None:
    """Runs the cases of the protocols that the command line names."""
    protocols = list(dict.fromkeys(case.protocol for case in CASES))
    parser = argparse.ArgumentParser(prog="python -m tests.interop", description=__doc__)
    parser.add_argument("protocol", nargs="*", metavar="PROTOCOL", help=", ".join(protocols))
    parser.add_argument("--program", action="append", help="only this one; repeatable")
    parser.add_argument("--wire", action="store_true", help="show the datagrams of a failure")
    parser.add_argument("--write", action="store_true", help="put the table into the document")
    options = parser.parse_args()
    for name in options.protocol:
        if name not in protocols:
            parser.error(f"there is no case for {name!r}: choose from {', '.join(protocols)}")
    # Whatever ends it, namespaces, processes and files are removed.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    required = bool(os.environ.get("CI"))
    if why := lab_unavailable(False) and lab_unavailable(True):
        print(f"{'failed' if required else 'skipped'}: all, {why}")
        sys.exit(int(required))
    chosen = [
        case
        for case in CASES
        if case.protocol in (options.protocol or protocols)
        and case.program.name in (options.program or [case.program.name])
    ]
    missing = [case for case in chosen if case.program.version() is None]
    for case in missing:
        _say("failed" if required else "skipped", case, f"install {case.program.where()}")
    there = [case for case in chosen if case not in missing]
    began = time.monotonic()
    try:
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            outcomes = list(pool.map(lambda case: _run(case, options.wire), there))
    except KeyboardInterrupt:
        sys.exit(130)
    seconds = time.monotonic() - began
    print("", seen := table(outcomes), "", f"in {seconds:.0f} s", sep="\n")
    failed = sum(not outcome.ok for outcome in outcomes) + required * len(missing)
    skipped = 0 if required else len(missing)
    passed = len(chosen) - failed - skipped
    if options.write:
        _DOCUMENT.write_text(put(seen, _DOCUMENT.read_text()))
    elif len(there) == len(CASES) and (differences := compare(seen, _DOCUMENT.read_text())):
        print(*differences, sep="\n")
        failed += 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(bool(failed))


def _run(case: Case, wire: bool) -> Outcome:
    outcome = run(case, wire=wire)
    _say("passed" if outcome.ok else "failed", case, f"{outcome.seconds:.1f} s", outcome.why)
    return outcome


def _say(result: str, case: Case, detail: str, more: str = "") -> None:
    does = "is found by bcast" if isinstance(case, Responder) else "finds what bcast impersonates"
    lines = [f"{result}: {case.protocol}: {case.program.name} {does} ({detail})"]
    print("\n    ".join([*lines, *more.splitlines()]), flush=True)


if __name__ == "__main__":
    main()
