"""``start``: what starting costs, in CPU time and on the clock.

For each interpreter a fresh virtual environment is made and bcast installed in it, as a user's
would be, with .pyc files. In it, and in a namespace that has only ``lo`` and one end of a cable,
the programs take turns; each is run twice before it counts. CPU time is what wait4(2) says.

- ``import bcast``, and with a first value of it used, against ``python -c pass``;
- ``bcast --version``, ``interfaces``, ``send``, ``listen``, ``discover``, ``watch`` and
  ``announce`` against a trivial application of the same typer: two commands, one of which prints a
  word. Its module is compiled and its script made like bcast's.

``listen`` ends with its first datagram (``--count 1``); at the other end of the cable one is sent
every millisecond, so that hardly any of its time is waiting for one. ``discover`` and ``watch``
end when they have sent their first probe, ``announce`` after its first announcement.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import bcast
from bcast.destinations import DEFAULT_GROUPS, DEFAULT_PORT
from tests.bench.measure import Goal, Series, at_most, print_table
from tests.bench.network import Cable, cable

__all__ = ["run"]

_TRIVIAL = '''
import typer

app = typer.Typer()


@app.command()
def hello(name: str = "world") -> None:
    """Say hello."""
    print(f"hello {name}")


@app.command()
def goodbye(name: str = "world") -> None:
    """Say goodbye."""
    print(f"goodbye {name}")
'''
_SCRIPT = """#!{python}
import sys
from trivial import app
if __name__ == "__main__":
    sys.exit(app())
"""
_PASS = "python -c pass (reference)"
_APP = "typer application (reference)"


@dataclass(frozen=True, slots=True)
class _Program:
    """One row: what is run in the environment's bin folder, and what it is compared with."""

    name: str
    args: tuple[str, ...]
    reference: str
    goal: Goal | None = None


_PROGRAMS = (
    _Program(_PASS, ("python", "-c", "pass"), _PASS),
    _Program("import bcast", ("python", "-c", "import bcast"), _PASS, at_most(1.3)),
    _Program(
        "import bcast; bcast.Datagram",
        ("python", "-c", "import bcast; bcast.Datagram"),
        _PASS,
        at_most(5),
    ),
    _Program(_APP, ("trivial", "hello"), _APP),
    _Program("bcast --version", ("bcast", "--version"), _APP, at_most(1.15)),
    _Program("bcast interfaces", ("bcast", "interfaces"), _APP, at_most(1.35)),
    _Program("bcast send hello", ("bcast", "send", "hello"), _APP, at_most(1.35)),
    _Program("bcast listen --count 1", ("bcast", "listen", "-c", "1"), _APP, at_most(1.35)),
    _Program("bcast discover", ("bcast", "discover", "--gone", "-t", "0"), _APP, at_most(1.8)),
    _Program("bcast watch", ("bcast", "watch", "-t", "0"), _APP, at_most(1.8)),
    _Program(
        "bcast announce",
        ("bcast", "announce", "lamp", "_lamp", "-p", "80", "-t", "0.1"),
        _APP,
        at_most(1.8),
    ),
)


def run(rounds: int, interpreters: list[str]) -> None:
    """Measures ``rounds`` rounds with each interpreter and prints a table for each."""
    for interpreter in interpreters:
        with tempfile.TemporaryDirectory(prefix="bcast-bench-") as folder:
            os.chmod(folder, 0o755)
            environment = Path(folder)
            about = _install(interpreter, environment)
            with cable() as network:
                results = _measure(network, environment / "bin", rounds)
        _print(about, results, rounds)


def _install(interpreter: str, folder: Path) -> str:
    """Makes the environment; returns the versions in it, as a sentence."""
    project = Path(bcast.__file__).parent.parent
    if not (project / "pyproject.toml").exists():
        project = Path.cwd()
    python = str(folder / "bin" / "python")
    # A .pyc file is written at the first run, whatever the caller's environment says.
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    subprocess.run([interpreter, "-m", "venv", str(folder)], check=True, env=env)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    wanted = f"typer=={_own_typer()}"
    subprocess.run([*install, str(project), wanted], check=True, env=env)
    told = "import sys, importlib.metadata as m; print(sys.version.split()[0], m.version('typer'))"
    versions = subprocess.run(
        [python, "-c", told], check=True, env=env, capture_output=True, text=True
    ).stdout.split()
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run(
        [python, "-c", where], check=True, env=env, capture_output=True, text=True
    ).stdout.strip()
    Path(site, "trivial.py").write_text(_TRIVIAL)
    script = folder / "bin" / "trivial"
    script.write_text(_SCRIPT.format(python=python))
    script.chmod(0o755)
    subprocess.run([python, "-m", "compileall", "-q", site], check=True, env=env)
    return f"Python {versions[0]}, typer {versions[1]}"


def _own_typer() -> str:
    from importlib.metadata import version

    return version("typer")


def _measure(network: Cable, folder: Path, rounds: int) -> dict[str, dict[str, list[float]]]:
    """What `bench.stopwatch` says, by program: seconds of ``cpu`` and ``wall``."""
    seconds = 60 + rounds * len(_PROGRAMS)
    group = str(DEFAULT_GROUPS[0].address)
    args = network.send_args(seconds * 1000, port=DEFAULT_PORT, group=group, batch=1, rate=1000)
    order = {p.name: [str(folder / p.args[0]), *p.args[1:]] for p in _PROGRAMS}
    stopwatch = [sys.executable, str(Path(__file__).with_name("stopwatch.py")), str(rounds)]
    with network.sender.start(args):
        done = network.receiver.run(stopwatch, input=json.dumps(order), timeout=seconds)
    results: dict[str, dict[str, list[float]]] = json.loads(done.stdout)
    return results


def _print(about: str, results: dict[str, dict[str, list[float]]], rounds: int) -> None:
    cpu = {name: Series(told["cpu"]) for name, told in results.items()}
    wall = {name: Series(told["wall"]) for name, told in results.items()}
    rows = []
    for program in _PROGRAMS:
        name = program.name
        ratio = cpu[name].over(cpu[program.reference])
        rows.append(
            (
                name,
                *cpu[name].cells(0.001, 1),
                f"{ratio:.2f}",
                program.goal.verdict(ratio) if program.goal else "",
                *wall[name].cells(0.001, 1),
                f"{wall[name].over(wall[program.reference]):.2f}",
            )
        )
    print_table(
        f"start: {about}, {rounds} rounds",
        ("program", "ms CPU", "min-max", "x", "goal", "ms wall", "min-max", "x"),
        rows,
    )
