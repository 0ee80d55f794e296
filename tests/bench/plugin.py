"""``plugin``: what tests cost that use the pytest plugin, and those that don't; ``endurance``.

- on loopback and in the lab: from the start of a fake accessory until it is found, and the whole
  test with set-up and teardown, as pytest's JUnit report has it;
- a hundred simulated tests of 20 hosts and an hour each;
- a suite that uses nothing of it, with the plugin and without, in turns: CPU time by wait4(2);
- the same loopback tests in four workers, where pytest-xdist is installed.

``endurance`` runs the plugin's own tests again and again, three at once and while both cores (or
all there are) are busy: ``--rounds`` times, 200 unless said. It prints what fails, and how often.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import NamedTuple
from xml.etree import ElementTree

from tests.bench.measure import print_table

__all__ = ["endure", "run"]

_PROJECT = Path(__file__).parent.parent.parent

_FOUND = """
from time import perf_counter
import pytest

@pytest.mark.parametrize("number", range({count}))
def test_found(bcast_{kind}, record_property, number):
    began = perf_counter()
    lamp = bcast_{kind}.accessory("lamp", "_lamp")
    bcast_{kind}.expect_device(lamp)
    record_property("found", perf_counter() - began)
    assert [device.name for device in bcast_{kind}.devices] == ["lamp"]
"""

_HOURS = """
import pytest

@pytest.mark.parametrize("number", range({count}))
def test_an_hour(bcast_sim, number):
    lamps = [bcast_sim.accessory(f"lamp-{{n}}", "_lamp") for n in range(20)]
    for lamp in lamps:
        bcast_sim.expect_device(lamp)
    bcast_sim.wait(3600)
    for lamp in lamps:
        bcast_sim.expect_device(lamp, within=0)
"""

_OWN = ["tests/test_pytest_plugin.py", *map(str, sorted(_PROJECT.glob("tests/test_lans*.py")))]
#: How often they run at the same time: so they take turns, as those of several workers do.
_AT_ONCE = 3

#: pytest, with the plugin or without, of this project; the environment is stripped.
_PYTEST = f"import sys; sys.path[:0] = [{str(_PROJECT)!r}]; import pytest; sys.exit(pytest.main())"
_ALONE = ("-p", "no:cacheprovider")
_WITH = ("-p", "bcast.pytest_plugin")
#: Nothing is loaded that isn't named, installed or not.
_ENVIRONMENT = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


class _Report(NamedTuple):
    """Seconds: of whole tests, of what they call found, and of the run; its CPU time too."""

    tests: list[float]
    found: list[float]
    wall: float
    cpu: float


def run(rounds: int) -> None:
    """Measures all, and prints one table."""
    rows = []
    for kind, goals in (("loopback", ("<= 20 ms", "<= 60 ms")), ("lab", ("", ""))):
        report = _suite(_FOUND.format(kind=kind, count=3 * rounds))
        rows += [
            (f"{kind}: a fake accessory is found", _ms(report.found), goals[0]),
            (f"{kind}: the whole test", _ms(report.tests), goals[1]),
        ]
    report = _suite(_HOURS.format(count=100))
    took = f"{report.wall:.1f} s, {report.cpu:.1f} s of CPU"
    rows.append(("100 simulated tests of 20 hosts and an hour", took, "<= 60 s"))
    rows.append(("a suite that doesn't use it", _ms(_idle_cost(rounds)), "<= 5 ms"))
    if find_spec("xdist"):
        report = _suite(_FOUND.format(kind="loopback", count=100), "-p", "xdist", "-n", "4")
        rows.append(("100 loopback tests in 4 workers", f"{report.wall:.1f} s, all pass", ""))
    print_table(
        f"plugin: median (worst) of {rounds} rounds, loopback and lab three times as many",
        ("what", "measured", "goal"),
        rows,
    )


def _ms(times: Sequence[float]) -> str:
    return f"{1_000 * median(times):.1f} ms ({1_000 * max(times):.1f})"


def _suite(text: str, *args: str) -> _Report:
    """Runs a suite that has to pass."""
    with tempfile.TemporaryDirectory(prefix="bcast-bench-") as folder:
        Path(folder, "test_suite.py").write_text(text)
        junit = Path(folder, "report.xml")
        command = [sys.executable, "-c", _PYTEST, *_ALONE, *_WITH, f"--junitxml={junit}", *args]
        before, began = os.times(), time.perf_counter()
        done = subprocess.run(
            command, cwd=folder, env=_ENVIRONMENT, capture_output=True, text=True, check=False
        )
        wall, after = time.perf_counter() - began, os.times()
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        cases = list(ElementTree.parse(junit).iter("testcase"))
    cpu = sum(after[2:4]) - sum(before[2:4])
    found = [float(p.get("value", "")) for p in _properties(cases, "found")]
    return _Report([float(case.get("time", "")) for case in cases], found, wall, cpu)


def _properties(cases: Sequence[ElementTree.Element], name: str) -> Iterator[ElementTree.Element]:
    for case in cases:
        yield from (p for p in case.iter("property") if p.get("name") == name)


def _idle_cost(rounds: int) -> list[float]:
    """The CPU seconds that the plugin adds, round by round."""
    with tempfile.TemporaryDirectory(prefix="bcast-bench-") as folder:
        suite = Path(folder, "test_suite.py")
        suite.write_text("def test_it():\n    assert True\n")
        plain = [sys.executable, "-c", _PYTEST, *_ALONE, "--rootdir", folder, str(suite)]
        programs = {"without": plain, "with": [*plain, *_WITH]}
        stopwatch = [sys.executable, str(Path(__file__).with_name("stopwatch.py")), str(rounds)]
        done = subprocess.run(
            stopwatch,
            input=json.dumps(programs),
            env=_ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    told: dict[str, dict[str, list[float]]] = json.loads(done.stdout)
    pairs = zip(told["with"]["cpu"], told["without"]["cpu"], strict=True)
    return [ours - theirs for ours, theirs in pairs]


def endure(rounds: int) -> None:
    """Runs the plugin's own tests so often, several at once and under load; prints what failed."""
    failed: Counter[str] = Counter()
    ended: list[int] = []
    began = time.perf_counter()
    with _load(), ThreadPoolExecutor(_AT_ONCE) as pool:
        for done in pool.map(_own_tests, range(rounds)):
            failed.update(re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE))
            ended.append(done.returncode)
            last = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1]
            print(f"{len(ended)}: {last}", flush=True)
            if done.returncode:
                print(done.stdout, done.stderr, flush=True)
    minutes = (time.perf_counter() - began) / 60
    rows = [(test, str(count)) for test, count in sorted(failed.items())]
    print_table(
        f"endurance: {rounds} repetitions in {minutes:.0f} minutes, {_AT_ONCE} at once, all cores"
        f" busy; {len(ended) - ended.count(0)} failed",
        ("failed", "times"),
        rows or [("nothing", "0")],
    )


def _own_tests(number: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rfE", *_OWN]
    return subprocess.run(command, cwd=_PROJECT, capture_output=True, text=True, check=False)


@contextmanager
def _load() -> Iterator[None]:
    """Keeps every core busy."""
    spin = [sys.executable, "-c", "while True: pass"]
    burning = [subprocess.Popen(spin) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for one in burning:
            one.kill()
            one.wait()
