"""A project that uses bcast with all types checked: what its checker and its tests say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.plugin import run_suite

PROJECT = Path(__file__).parent.parent
EXAMPLE = Path(__file__).parent / "example"


def test_its_types_are_right_as_they_are_seen_from_outside(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    # As it is installed: only what `py.typed` promises is seen.
    venv.create(tmp_path / "venv", symlinks=True)
    [packages] = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    paths = [PROJECT, Path(pytest.__file__).parent.parent]
    (packages / "example.pth").write_text("".join(f"{path}\n" for path in paths))
    shutil.copytree(EXAMPLE, tmp_path / "example")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--config-file="),
            *("--python-executable", str(tmp_path / "venv/bin/python")),
            *("--cache-dir", str(tmp_path / "cache"), "."),
        ],
        cwd=tmp_path / "example",
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "Success: no issues found in 4 source files\n", done.stdout


def test_its_tests_pass(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLE)
    run_suite(pytester, (EXAMPLE / "suite.py").read_text("utf-8")).assert_outcomes(passed=4)
