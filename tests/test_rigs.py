"""docs/rigs.md, followed from an empty folder: its files are written, its commands are run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from functools import cache
from ipaddress import ip_interface
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest

import bcast
from bcast.lans import loopback_unavailable
from tests.command import any_lab

PROJECT = Path(__file__).resolve().parent.parent
DOCUMENT = PROJECT / "docs" / "rigs.md"

if sys.platform == "win32":
    pytest.skip("the commands are those of a POSIX shell", allow_module_level=True)
if not DOCUMENT.exists():
    pytest.skip("docs/rigs.md isn't here", allow_module_level=True)

needs_loopback = pytest.mark.skipif(bool(loopback_unavailable()), reason=loopback_unavailable())
needs_device = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None,
    reason="the device is for Linux, and made with a C compiler (cc)",
)

#: Seconds that all the commands of a block get, on a slow machine that does much else.
PATIENCE = 180.0

# The commands that `pip install bcast pytest` brings, as its scripts start them.
SCRIPTS = {"bcast": "-P -m bcast", "pytest": "-P -m pytest"}


class Block(NamedTuple):
    """A fenced block: a file if it has a name, else what is to be typed."""

    name: str
    language: str
    text: str


class Part(NamedTuple):
    """A part of the tutorial. ``saved``: files that are linked, and to be put in the folder."""

    title: str
    blocks: tuple[Block, ...]
    saved: tuple[Path, ...]

    @property
    def files(self) -> dict[str, str]:
        return {block.name: block.text for block in self.blocks if block.name}

    @property
    def commands(self) -> list[str]:
        """The lines of its shell blocks."""
        return [
            line
            for block in self.blocks
            if block.language == "sh" and not block.name
            for line in block.text.splitlines()
        ]

    @property
    def sessions(self) -> list[str]:
        return [block.text for block in self.blocks if block.language == "console"]


@cache
def parts() -> tuple[Part, ...]:
    made = []
    for text in re.split(r"^## ", DOCUMENT.read_text("utf-8"), flags=re.MULTILINE):
        blocks = re.findall(r"(?:^`([^`\n]+)`:\n\n)?^```(\w*)\n(.*?)^```$", text, re.M | re.S)
        saved = re.findall(r"Save \[[^]]+\]\(([^)]+)\) in the folder", " ".join(text.split()))
        paths = tuple(DOCUMENT.parent / path for path in saved)
        made.append(Part(text.partition("\n")[0], tuple(Block(*b) for b in blocks), paths))
    return tuple(made)


class Rig(NamedTuple):
    """The folder of somebody who follows the tutorial, and what surrounds them."""

    folder: Path
    environment: dict[str, str]

    def follow(self, part: Part) -> None:
        """Does all that a part says, in its order."""
        self.save(part)
        for block in part.blocks:
            if block.name:
                self.write(block)
            elif block.language == "console":
                self.play(block.text)
            else:
                self.run(["set -e", block.text])

    def skip(self, part: Part) -> None:
        """Does of a part what later ones build on: files that stay, and what is compiled."""
        self.save(part)
        for block in part.blocks:
            if block.name and f"$ rm {block.name}\n" not in "".join(part.sessions):
                self.write(block)
        self.run(["set -e", *(line for line in part.commands if line.startswith("cc "))])

    def save(self, part: Part) -> None:
        for path in part.saved:
            shutil.copy(path, self.folder)

    def write(self, file: Block) -> None:
        path = self.folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text, "utf-8")

    def script(self, lines: Iterable[str]) -> list[str]:
        """The command that types some lines in this folder and its environment."""
        activate = self.folder / ".venv/bin/activate"
        entered = f". {activate}" if activate.exists() else ":"
        return ["sh", "-c", "\n".join([f"cd {self.folder}; {entered}", *lines])]

    def run(self, lines: Iterable[str]) -> str:
        """Types some lines; returns what is written."""
        with subprocess.Popen(
            self.script(lines),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as shell:
            try:
                written, _ = shell.communicate(timeout=PATIENCE)
            except BaseException:
                # What it left running would hold the pipe, and outlive the tests.
                os.killpg(shell.pid, signal.SIGKILL)
                raise
        assert "Traceback" not in written, written
        assert shell.returncode == 0, written
        return written

    def play(self, session: str) -> None:
        """Types what a session shows, and compares what is written with what it shows.

        Each ``...`` of it may be anything.
        """
        steps = [step.partition("\n") for step in session.removeprefix("$ ").split("\n$ ")]
        lines = []
        for command, _, _ in steps:
            lines += [command, "status=$?", "echo @@@", "(exit $status)"]
        *written, last = self.run([*lines, "exit 0"]).split("@@@\n")
        assert last == ""
        for (command, _, shown), said in zip(steps, written, strict=True):
            shown = shown if shown.endswith("\n") or not shown else f"{shown}\n"
            fits = OutputChecker().check_output(shown, said, ELLIPSIS | NORMALIZE_WHITESPACE)
            assert fits, f"$ {command}\n{said}\n(the document shows:)\n{shown}"


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """An empty folder, in which what comes before the first part was done."""
    tools, folder = tmp_path_factory.mktemp("tools"), tmp_path_factory.mktemp("begun")
    (tools / "python3").symlink_to(sys.executable)
    for name, arguments in SCRIPTS.items():
        (tools / name).write_text(f'#!/bin/sh\nexec python3 {arguments} "$@"\n')
        (tools / name).chmod(0o755)
    packages = tmp_path_factory.mktemp("packages")
    install(packages)
    # What was installed for these tests is there already, for pip too, which asks no index.
    apart = ("BCAST_", "CI", "PIP_", "PYTEST_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(apart)}
    environment = kept | {
        "PATH": os.pathsep.join([str(tools), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join([str(PROJECT), str(packages), *filter(None, sys.path)]),
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "TMPDIR": str(tmp_path_factory.mktemp("tmp")),
        "NO_COLOR": "1",
    }
    rig = Rig(folder, environment)
    rig.follow(parts()[0])
    return rig


def install(folder: Path) -> None:
    """Makes this bcast known as an installed one, which its entry points are read of."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    known = folder / f"bcast-{bcast.__version__}.dist-info"
    known.mkdir()
    about = ["Metadata-Version: 2.1", "Name: bcast", f"Version: {bcast.__version__}"]
    needs = [f"Requires-Dist: {one}" for one in project["dependencies"]]
    (known / "METADATA").write_text("\n".join([*about, *needs, ""]))
    points = {"console_scripts": project["scripts"], **project["entry-points"]}
    lines = [
        line
        for group, named in points.items()
        for line in (f"[{group}]", *(f"{name} = {place}" for name, place in named.items()))
    ]
    (known / "entry_points.txt").write_text("\n".join([*lines, ""]))


@pytest.fixture
def rig_at(begun: Rig, tmp_path: Path) -> Callable[[int], Rig]:
    """The folder of somebody who begins with a part, and has those before it behind him."""

    def reach(number: int) -> Rig:
        rig = Rig(tmp_path, begun.environment)
        (tmp_path / ".venv").symlink_to(begun.folder / ".venv")
        for part in parts()[1:number]:
            rig.skip(part)
        return rig

    return reach


# --- the parts


def test_there_is_no_block_that_is_not_run() -> None:
    for part in parts():
        for block in part.blocks:
            assert block.name or block.language in ("sh", "console"), block
            assert (block.language == "console") == block.text.startswith("$ "), block
    assert [len(part.blocks) for part in parts()] == [1, 5, 6, 2, 1, 3]


@needs_loopback
def test_1_the_app(rig_at: Callable[[int], Rig]) -> None:
    rig_at(1).follow(parts()[1])


@pytest.mark.kernel("the lab's LAN")
@needs_device
@needs_loopback
def test_2_the_firmware(rig_at: Callable[[int], Rig]) -> None:
    rig = rig_at(2)
    rig.follow(parts()[2])
    # What was broken to show how it fails is whole again.
    for name, text in parts()[2].files.items():
        assert (rig.folder / name).read_text("utf-8") == text


@pytest.mark.kernel("the lab's LAN")
@needs_device
@needs_loopback
def test_3_continuous_integration(rig_at: Callable[[int], Rig]) -> None:
    rig = rig_at(3)
    rig.follow(parts()[3])
    report = ElementTree.parse(rig.folder / "report.xml")
    [suite] = report.findall("testsuite")
    counts = [suite.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert counts == ["9", "0", "0", "0"]
    assert {"bcast_kernel", "bcast_interfaces", "bcast_seed"} <= {
        str(one.get("name")) for one in suite.iter("property")
    }
    # A test that fails leaves what it heard where the workflow takes it from.
    broken = (rig.folder / "test_firmware.py").read_text("utf-8").replace('"1.4"', '"1.5"')
    (rig.folder / "test_firmware.py").write_text(broken, "utf-8")
    rig.run([*(f"{command} -k version" for command in parts()[3].commands), "test $? = 1"])
    assert [one.suffix for one in (rig.folder / "captures").iterdir()] == [".pcapng"]


def test_3_the_workflow_runs_the_commands_of_the_tutorial() -> None:
    [workflow] = [text for name, text in parts()[3].files.items() if "workflows" in name]
    [job] = mapping(mapping(read_yaml(workflow))["jobs"]).values()
    steps = [mapping(step) for step in listed(mapping(job)["steps"])]
    commands = [str(step["run"]) for step in steps if "run" in step]
    typed = [line for part in parts() for line in part.commands]
    allowed = [one for one in commands if one not in typed]
    [first] = parts()[0].commands[-1:]
    assert commands == [first, *parts()[2].commands, *allowed, *parts()[3].commands]
    # What isn't typed is what the lab needs, as its document has it, from who may do that.
    needs = (PROJECT / "docs" / "lab.md").read_text("utf-8").partition("\n## What is needed\n")[2]
    install, setting = allowed
    assert install.startswith("sudo apt-get update && sudo apt-get install -y ")
    assert f"({install.split()[-1]})" in needs
    assert setting.startswith("sudo sysctl -w ")
    assert f"`{setting.removeprefix('sudo ')}`" in needs
    # What is kept is what the command leaves.
    kept = str(mapping(steps[-1]["with"])["path"]).split()
    assert kept == re.findall(r"--(?:bcast-capture|junitxml) (\S+)", commands[-1])


@pytest.mark.kernel("a lamp, and a desk, on a LAN of their own")
@needs_device
def test_4_hardware(rig_at: Callable[[int], Rig]) -> None:
    rig = rig_at(4)
    [command] = parts()[4].commands
    address = command.split()[-1]
    lamp = ["./lamp", "-n", "kitchen", "-t", "_lamp", "-p", "80", "-a", "fw=1.4", "-i", address]
    with any_lab() as lab:
        there = lab.segment("there", network=str(ip_interface(f"{address}/24").network))
        desk, hardware = lab.host("desk"), lab.host("hardware")
        desk.connect(there)
        hardware.connect(there, address=address)
        running = hardware.start(lamp, cwd=rig.folder)
        tried = desk.run(
            rig.script([f"{command} -v"]),
            env=rig.environment,
            timeout=PATIENCE,
            check=False,
        )
        assert running.status is None
    assert tried.returncode == 0, tried.stdout
    met = re.findall(r"::test_(\w+) PASSED", tried.stdout)
    assert met == [
        "it_is_found_with_its_version",
        "it_is_found_though_datagrams_are_lost",
        "a_lamp_is_shown",
    ], tried.stdout


@needs_device
@needs_loopback
def test_5_scripts(rig_at: Callable[[int], Rig]) -> None:
    rig_at(5).follow(parts()[5])


# --- the part of YAML that a workflow needs


Yaml = str | list["Yaml"] | dict[str, "Yaml"]


def mapping(value: Yaml) -> dict[str, Yaml]:
    assert isinstance(value, dict)
    return value


def listed(value: Yaml) -> list[Yaml]:
    assert isinstance(value, list)
    return value


def read_yaml(text: str) -> Yaml:
    """Mappings, lists, plain texts and ``|``, by indentation. Fails for all else."""
    lines = [line for line in text.splitlines() if line.strip() and line.strip()[0] != "#"]
    value, rest = read_value(lines, 0)
    assert not rest, rest
    return value


def depth(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def read_value(lines: list[str], at: int) -> tuple[Yaml, list[str]]:
    """What the lines of an indentation say, and the lines after them."""
    if lines[0].lstrip().startswith("- "):
        items: list[Yaml] = []
        while lines and depth(lines[0]) == at and lines[0].lstrip().startswith("- "):
            # What an item begins with is indented as if there were no dash.
            item, lines = read_value([" " * (at + 2) + lines[0][at + 2 :], *lines[1:]], at + 2)
            items.append(item)
        return items, lines
    found: dict[str, Yaml] = {}
    while lines and depth(lines[0]) == at:
        key, colon, value = lines.pop(0).strip().partition(":")
        assert colon, key
        assert key not in found, key
        assert re.fullmatch(r"[\w-]+", key), key
        value = value.strip()
        if value == "|":
            taken = list(takewhile(lambda line: depth(line) > at, lines))
            found[key], lines = "\n".join(map(str.strip, taken)), lines[len(taken) :]
        elif value:
            # These would mean something else than what they say.
            assert not re.search(r'^[&*!>%@`{]|: | #|^"[^"]*$', value), value
            found[key] = value.strip('"')
        else:
            found[key], lines = read_value(lines, depth(lines[0]))
    return found, lines
