"""How ``bcast listen``, and what else writes without end, ends."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bcast.capture import CaptureReader
from tests.command import (
    ALL_HOSTS,
    COMMAND,
    FLOOD,
    LISTENING,
    PATIENCE,
    Lan,
    any_lab,
    end_listeners,
    environment,
    events,
    eventually,
    flood,
    in_shell,
    listen,
    pause,
    proceed,
    say,
    two_networks,
)

if sys.platform != "linux":
    pytest.skip("needs network namespaces", allow_module_level=True)

pytestmark = pytest.mark.kernel("hosts with two interfaces")


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    with any_lab() as lab:
        yield two_networks(lab)


@pytest.fixture(autouse=True)
def nobody_goes_on_listening() -> Iterator[None]:
    yield
    end_listeners()


def test_whoever_reads_it_has_had_enough(lan: Lan) -> None:
    running = lan.a.start(
        ["sh", "-c", '"$@" | head -n 1', "sh", *COMMAND, "listen", "-p", "2222"],
        env=environment(),
        capable=False,
    )
    running.wait_for(LISTENING)
    say(lan.b, (ALL_HOSTS, 2222, b"hi"))
    running.wait_for("hi")
    # No second datagram arrives that could show that nobody listens any more.
    assert running.wait() == 0
    assert running.errors().splitlines()[1:] == ["skipped lo: loopback"]


def test_whoever_reads_the_capture_has_had_enough(lan: Lan) -> None:
    running = lan.a.start(
        ["sh", "-c", '"$@" | head -c 4 | wc -c', "sh", *COMMAND, "listen", "-w", "-"],
        env=environment(),
        capable=False,
    )
    running.wait_for("4")
    assert running.wait(timeout=4.0) == 0


@pytest.mark.parametrize(
    "args",
    [
        ["listen", "-p", "2222", "-t", "5"],
        ["listen", "-p", "2222", "-t", "1", "--json"],
        ["send", "hi", "-p", "2222"],
        ["send", "hi", "-p", "2222", "--json"],
        ["interfaces"],
        ["interfaces", "--json"],
        ["--help"],
        ["--version"],
    ],
    ids=" ".join,
)
def test_an_output_that_takes_no_more(lan: Lan, args: list[str]) -> None:
    running = lan.a.start(
        ["sh", "-c", '"$@" >/dev/full', "sh", *COMMAND, *args], env=environment(), capable=False
    )
    if args[:1] == ["listen"] and "--json" not in args:
        running.wait_for(LISTENING)
        say(lan.b, (ALL_HOSTS, 2222, b"hi"))
    assert running.wait() == 3
    sentence = "bcast: can't write the output: No space left on device"
    assert running.errors().splitlines().count(sentence) == 1
    assert "bug" not in running.errors()
    assert "Traceback" not in running.errors()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("args", [["interfaces"], ["listen", "-i", "lo", "-t", "0.1"]])
def test_streams_that_are_not_there(lan: Lan, args: list[str], closed: str) -> None:
    done = in_shell(lan.a, f'"$@" {closed}', *args)
    assert done.returncode in (0, 3)
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stdout + done.stderr
    if closed == "2>&-":
        assert "listening" not in done.stdout


@pytest.mark.parametrize(
    "numbers",
    [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]],
    ids=["SIGTERM", "SIGINT twice"],
)
def test_a_reader_that_stalls_does_not_make_it_immortal(
    lan: Lan, numbers: list[signal.Signals]
) -> None:
    running = lan.a.start(
        ["sh", "-c", '"$@" | sleep 60', "sh", *COMMAND, "listen", "-p", "2222", "--json"],
        env=environment(),
        capable=False,
    )
    running.wait_for(LISTENING)
    shell = running.pid
    pid = eventually(lambda: child_named(shell, "bcast"))
    # More than a pipe holds: it waits for a reader who never comes.
    say(lan.b, (ALL_HOSTS, 2222, b"x" * 1000), times=150)
    time.sleep(0.3)
    try:
        for number in numbers:
            os.kill(pid, number)
            time.sleep(0.1)
        eventually(lambda: state(pid) in ("", "Z"), timeout=8)
    finally:
        running.kill()
    assert "Traceback" not in running.errors()


def child_named(parent: int, word: str) -> int | None:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for child in children:
        if word in Path(f"/proc/{child}/cmdline").read_text():
            return int(child)
    return None


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@pytest.mark.parametrize("option", ["--json", "--show=hex"])
def test_it_ends_in_good_order_in_the_middle_of_a_flood(lan: Lan, option: str) -> None:
    listening = listen(lan.a, option)
    flooding = lan.b.start_python(FLOOD, "100000000")
    eventually(lambda: listening.output().count("\n") > 2000)
    try:
        assert listening.interrupt(timeout=PATIENCE) == 0
    finally:
        flooding.kill()
    output, errors = listening.output(), listening.errors()
    assert output.endswith("\n")
    if option == "--json":
        found = events(output)
        summary = found[-1]
        assert summary["event"] == "summary"
        assert summary["datagrams"] == sum(e["event"] == "datagram" for e in found)
    else:
        shown = sum("  ttl " in line for line in output.splitlines())
        assert f"\n{shown} datagrams, {shown * 200} bytes" in errors


@pytest.mark.parametrize("form", ["text", "json", "capture"])
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, "timeout"], ids=str)
def test_what_had_arrived_when_it_ends_is_received_or_dropped(
    lan: Lan, tmp_path: Path, end: signal.Signals | str, form: str
) -> None:
    path = tmp_path / "all.pcapng"
    args = {"text": [], "json": ["--json"], "capture": ["-w", str(path)]}[form]
    listening = listen(lan.a, *args, *(["-t", "0.5"] if end == "timeout" else []))
    eventually(lambda: state(listening.pid) == "S")  # it waits, and its time runs
    pause(listening)
    # More than the receive buffer holds, and than is read at once.
    flood(lan.b, 20_000)
    if isinstance(end, signal.Signals):
        os.kill(listening.pid, end)
    else:
        time.sleep(0.5)
    proceed(listening)
    assert listening.wait(timeout=PATIENCE) == 0
    if form == "json":
        *_, summary = found = events(listening.output())
        received, dropped = summary["datagrams"], summary["kernel_drops"]
        assert sum(e["event"] == "datagram" for e in found) == received
    else:
        told = re.search(r"^(\d+) datagrams.*kernel drops (\d+)", listening.errors(), re.MULTILINE)
        assert told is not None
        received, dropped = map(int, told.groups())
    if form == "text":
        assert listening.output().count("  ttl ") == received
    if form == "capture":
        with CaptureReader(path) as reader:
            assert sum(1 for _ in reader) == received
        assert reader.drops == dropped
    assert received > 2000
    assert dropped > 0
    assert received + dropped == 20_000


_SLOWLY = """
import os, sys, time
while piece := os.read(0, 65536):
    time.sleep(0.03)
    last = piece
sys.stdout.write(last.decode().splitlines()[-1])
"""


def test_a_reader_that_is_slow_gets_all_of_it(lan: Lan) -> None:
    # It is given up when it doesn't read at all, not when it takes longer than that altogether.
    running = lan.a.start(
        [
            *("sh", "-c", f'"$@" | {sys.executable} -c "$SLOWLY"', "sh", *COMMAND),
            *("listen", "-p", "2222", "--json"),
        ],
        env=environment({"SLOWLY": _SLOWLY}),
        capable=False,
    )
    running.wait_for(LISTENING)
    pid = eventually(lambda: child_named(running.pid, "bcast"))
    os.kill(pid, signal.SIGSTOP)
    flood(lan.b, 20_000)
    began = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGCONT)
    assert running.wait(timeout=PATIENCE) == 0
    assert time.monotonic() - began > 1.2
    summary = events(running.output())[-1]
    assert summary["event"] == "summary"
    assert summary["datagrams"] + summary["kernel_drops"] == 20_000


@pytest.mark.once
@pytest.mark.parametrize(
    "args",
    [
        ["listen", "-t", "0"],
        ["listen", "-t", "0", "-w", "/dev/null"],
        ["send", "hi", "-c", "2", "--wait", "0.01"],
    ],
    ids=" ".join,
)
def test_however_few_files_may_be_open(lan: Lan, args: list[str]) -> None:
    ends = set()
    for limit in range(6, 22):
        done = in_shell(lan.a, f'ulimit -n {limit}; "$@"', *args)
        words = done.stdout + done.stderr
        if "Traceback" in words or "shared libraries" in words:
            assert "bcast:" not in words  # Python itself could not start
            continue
        ends.add(done.returncode)
        assert "bug" not in words
        if done.returncode == 3:
            assert f"no more than {limit} files can be open at once" in words
            assert "ulimit -n" in words
    assert 3 in ends
    assert ends <= {0, 1, 3}
