"""README.md does what it says: its commands are run, its session is played, its program runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bcast.datagram import Family
from bcast.lab import Host
from tests.command import any_lab, environment, say
from tests.plugin import run_suite

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"

if not README.exists():
    pytest.skip("README.md isn't here", allow_module_level=True)


def blocks(language: str) -> list[str]:
    """The contents of the fenced blocks of one language, without their last line end."""
    text = README.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE)


@pytest.fixture
def path(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``bcast`` is this bcast, installed or not."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "bcast"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bcast "$@"\n')
    command.chmod(0o755)
    search = os.pathsep.join([str(folder), os.environ.get("PATH", os.defpath)])
    return {**environment(), "PATH": search}


def in_folder(host: Host, folder: Path, line: str, env: dict[str, str]) -> str:
    done = host.run(
        ["sh", "-ec", f'cd "$0"; {line}', str(folder)],
        env=env,
        check=False,
        capable=False,
        timeout=20.0,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_the_first_two_blocks_are_one_line_each() -> None:
    # The one that tries it, and the one that tests it: both to be pasted as they are.
    assert len(blocks("sh")) >= 3
    assert [len(block.splitlines()) for block in blocks("sh")[:2]] == [1, 1]
    assert blocks("sh")[0].endswith("bcast demo")
    assert blocks("sh")[1].endswith("tox -p")


def test_continuous_integration_runs_the_second_block() -> None:
    script = ROOT / ".ci" / "run"
    if not script.exists():
        pytest.skip(".ci/run isn't here")
    if shutil.which("awk") is None:
        pytest.skip("needs awk")
    (line,) = re.findall(r"^command=\$\((awk '.*' README\.md)\)$", script.read_text(), re.M)
    done = subprocess.run(["sh", "-c", line], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == blocks("sh")[1] + "\n"


@pytest.mark.kernel("a host with a loopback interface only")
def test_the_other_commands_work_on_any_machine(tmp_path: Path, path: dict[str, str]) -> None:
    lines = [line for block in blocks("sh")[2:] for line in block.splitlines()]
    assert len(lines) >= 5
    with any_lab() as lab:
        host = lab.host("alone")
        for line in lines:
            assert line.startswith("bcast ")
            in_folder(host, tmp_path, line, path)


@pytest.mark.kernel("a host with a loopback interface only")
def test_the_programs_run(tmp_path: Path, path: dict[str, str]) -> None:
    finding, receiving, _ = blocks("python")
    assert run_program(finding, tmp_path, path).splitlines() == [
        "lamp-1 80 1.4 127.0.0.1",
        "Added lamp-1",
    ]
    name, source, payload, ttl, drops = run_program(receiving, tmp_path, path).split()
    assert (name, payload, ttl, drops) == ("lo", "b'hello'", "64", "0")
    assert source.startswith("127.0.0.1:")


def test_the_test_passes(pytester: pytest.Pytester) -> None:
    run_suite(pytester, blocks("python")[2]).assert_outcomes(passed=1)


def run_program(program: str, folder: Path, path: dict[str, str]) -> str:
    """What a program prints on a host of its own."""
    (folder / "program.py").write_text(program)
    with any_lab() as lab:
        return in_folder(lab.host("alone"), folder, f"{sys.executable} -W error program.py", path)


def likeness(text: str) -> list[str]:
    """The words of an output without what differs from one machine, or minute, to another."""
    text = re.sub(r"\d\d:\d\d:\d\d\.\d{6}", "TIME", text)
    text = re.sub(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", "MAC", text)
    text = re.sub(r"(\d+\.\d+\.\d+\.\d+):(?!2222\b)\d+", r"\1:PORT", text)
    text = re.sub(r"(?m)^\d+(?=  )", "INDEX", text)
    return re.sub(r"\bveth\b", "ethernet", text).split()


def steps_of(session: str) -> list[tuple[str, str]]:
    """The commands of a session and what each shows."""
    steps = [step.partition("\n") for step in session.removeprefix("$ ").split("\n$ ")]
    return [(command, output.replace("^C", "")) for command, _, output in steps]


@pytest.mark.kernel("a host with two interfaces")
def test_the_session_is_what_one_sees(tmp_path: Path, path: dict[str, str]) -> None:
    commands = steps_of(blocks("console")[0])
    assert [command.split()[1] for command, _ in commands] == ["interfaces", "send", "listen"]
    with any_lab() as lab:
        a, c = lab.host("a"), lab.host("c")
        green = lab.segment("green", network="10.9.2.0/24")
        a.connect(lab.segment("blue", network="10.9.1.0/24"), families=[Family.IPV4])
        a.connect(green, families=[Family.IPV4])
        a.default_route("eth0")
        c.connect(green, address="10.9.2.7", families=[Family.IPV4])
        # IPv6 on lo is there or isn't; the session has none.
        a.set_sysctl("net.ipv6.conf.lo.disable_ipv6", 1)
        for command, output in commands[:2]:
            assert likeness(in_folder(a, tmp_path, command, path)) == likeness(output), command
        command, output = commands[2]
        listening = a.start(["sh", "-c", f"exec {command}"], env=path, capable=False)
        listening.wait_for("listening")
        say(c, ("255.255.255.255", 2222, b"hello"), ttl=64)
        listening.wait_for("hello")
        assert listening.interrupt() == 0
        first, *rest = listening.errors().splitlines()
        said = "\n".join([first, listening.output().rstrip("\n"), *rest])
        assert likeness(said) == likeness(output)


def found_alike(text: str) -> list[str]:
    """The words of what a search shows, without times, latencies and counts of datagrams."""
    text = re.sub(r"\d\d:\d\d:\d\d\.\d{3}", "TIME", text)
    text = re.sub(r"\d+\.\d ms", "LATENCY", text)
    text = re.sub(r"(lamp-1|plug) \d+(?=[,;])", r"\1 COUNT", text)
    return re.sub(r"\d+ (probes|queries)", r"COUNT \1", text).split()


@pytest.mark.kernel("hosts with two interfaces")
def test_the_session_of_devices_is_what_one_sees(tmp_path: Path, path: dict[str, str]) -> None:
    (announced,) = re.findall(
        r"`bcast (announce lamp-1 [^`]*)`\s+and\s+`bcast (announce plug[^`]*)`",
        README.read_text("utf-8"),
    )
    (discover, found), (watch, happened) = steps_of(blocks("console")[1])
    assert (discover.split()[1], watch.split()[1]) == ("discover", "watch")
    with any_lab() as lab:
        a, b, c = lab.host("a"), lab.host("b"), lab.host("c")
        blue = lab.segment("blue", network="10.9.1.0/24")
        green = lab.segment("green", network="10.9.2.0/24")
        a.connect(blue, families=[Family.IPV4])
        a.connect(green, families=[Family.IPV4])
        b.connect(blue, address="10.9.1.7", families=[Family.IPV4])
        c.connect(green, address="10.9.2.7", families=[Family.IPV4])
        accessories = [
            host.start(["sh", "-c", f"exec bcast {args}"], env=path, capable=False)
            for host, args in zip((b, c), announced, strict=True)
        ]
        for accessory in accessories:
            accessory.wait_for("announcing", timeout=20.0)
        done = a.run(["sh", "-c", discover], env=path, capable=False, timeout=20.0)
        *remarks, summary = done.stderr.splitlines()
        said = "\n".join([*remarks, done.stdout, summary])
        assert found_alike(said) == found_alike(found)
        command = f"exec {watch.removesuffix(' | cat')}"
        watching = a.start(["sh", "-c", command], env=path, capable=False)
        watching.wait_for("added", timeout=20.0)
        assert accessories[0].interrupt() == 0
        watching.wait_for("removed", timeout=20.0)
        assert watching.interrupt() == 0
        *remarks, summary = watching.errors().splitlines()
        said = "\n".join([*remarks, watching.output(), summary])
        assert found_alike(said) == found_alike(happened)


def test_the_first_block_works_from_a_clean_checkout(tmp_path: Path) -> None:
    # It asks the package index for what bcast needs.
    wanted = [os.environ.get(name, "0") for name in ("BCAST_REQUIRE_KERNEL", "CI")]
    if not any(value not in ("", "0", "false") for value in wanted):
        pytest.skip("asks the package index: set BCAST_REQUIRE_KERNEL=1 to run it")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip(f"needs a git checkout: {listed.stderr.strip()}")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    # The interpreter that runs the tests, by the name that the line has for it.
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "python3").symlink_to(sys.executable)
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env["PATH"] = os.pathsep.join([str(tools), env.get("PATH", os.defpath)])
    done = subprocess.run(
        ["sh", "-c", blocks("sh")[0]],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all of it was seen" in done.stderr
