"""``python -m tests.fuzz TARGET --corpus DIR``: see the docstring of the package."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from tests.fuzz.corpus import fewest, keep_corpus, read_corpus
from tests.fuzz.targets import TARGETS

__all__ = ["main"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="how long (default: 60)")
    parser.add_argument(
        "--corpus", type=Path, required=True, help="folder for what is found; seeded if empty"
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="don't search: keep the fewest of CORPUS that reach all that it reaches",
    )
    asked = parser.parse_args()
    asked.corpus.mkdir(parents=True, exist_ok=True)
    if asked.keep:
        found = [path.read_bytes() for path in asked.corpus.iterdir()]
        known = read_corpus(asked.target)
        keep_corpus(asked.target, fewest([*known, *found], TARGETS[asked.target]))
        return
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        parser.error("needs atheris: pip install atheris")
    if not any(asked.corpus.iterdir()):
        for number, payload in enumerate(read_corpus(asked.target)):
            (asked.corpus / f"seed-{number}").write_bytes(payload)
    # What is loaded already isn't instrumented, and only what is guides the search.
    for name in [*sys.modules]:
        if name.partition(".")[0] in ("bcast", "tests"):
            del sys.modules[name]
    with atheris.instrument_imports(include=["bcast"]):
        targets = importlib.import_module("tests.fuzz.targets").TARGETS
    options = [f"-max_total_time={asked.seconds}", "-max_len=1300", str(asked.corpus)]
    atheris.Setup([sys.argv[0], *options], targets[asked.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
