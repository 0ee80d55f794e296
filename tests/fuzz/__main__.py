"""``python -m tests.fuzz TARGET --seconds N --corpus DIR``: see the docstring of the package."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from tests.fuzz.corpus import read_corpus
from tests.fuzz.targets import TARGETS

__all__ = ["main"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="how long (default: 60)")
    parser.add_argument(
        "--corpus", type=Path, required=True, help="folder for what was found; seeded if empty"
    )
    parser.add_argument("--minimize", type=Path, help="folder to put the fewest of CORPUS into")
    asked = parser.parse_args()
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        parser.error("needs atheris: pip install atheris")
    asked.corpus.mkdir(parents=True, exist_ok=True)
    if not any(asked.corpus.iterdir()):
        for number, payload in enumerate(read_corpus(asked.target)):
            (asked.corpus / f"seed-{number}").write_bytes(payload)
    options = [f"-max_total_time={asked.seconds}", "-max_len=1300", str(asked.corpus)]
    if asked.minimize:
        asked.minimize.mkdir(parents=True, exist_ok=True)
        options = ["-merge=1", "-max_len=1300", str(asked.minimize), str(asked.corpus)]
    # Only what is instrumented guides the search: the modules, which are loaded already, aren't.
    for name in [name for name in sys.modules if name.split(".")[0] == "bcast"]:
        del sys.modules[name]
    del sys.modules["tests.fuzz.targets"]
    with atheris.instrument_imports(include=["bcast"]):
        targets = importlib.import_module("tests.fuzz.targets").TARGETS
    atheris.Setup([sys.argv[0], *options], targets[asked.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
