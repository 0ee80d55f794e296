"""The benchmark of searches on real sockets, on a small LAN: what it loses, and that it goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bench.discovery import Case, measure
from tests.bench.lan import lan, script
from tests.command import PATIENCE

pytestmark = [
    pytest.mark.kernel("a LAN of namespaces that loses datagrams"),
    pytest.mark.skipif(sys.platform != "linux", reason="needs network namespaces"),
]

_NFT = any(os.access(f"{folder}/nft", os.X_OK) for folder in ("/usr/sbin", "/sbin", "/usr/bin"))
needs_nft = pytest.mark.skipif(not _NFT, reason="needs nft (nftables)")


@needs_nft
def test_everybody_is_found_in_spite_of_losses() -> None:
    with lan(5) as made:
        natives = made.start(script("natives", "announce", "2"), "announced")
        runs = measure(made, Case(("R5",), 10, 0.3), natives, 4)
        assert [len(run.times) for run in runs] == [10] * 4
        assert all(run.missing(5.0) == 0 for run in runs)
        # Copies to each of the others count on their own, and so do losses.
        total = made.counts()
        assert total.copies == 5 * total.groups + total.others
        assert 0.1 < total.lost / total.copies < 0.5
        made.lose(0.0)
        (lossless,) = measure(made, Case(("R5",), 10), natives, 1)
        assert lossless.counts.lost == 0
        assert lossless.counts.others >= 10
        frozen = measure(made, Case(("R6",), 10, frozen=0.06), natives, 1)[0]
        assert frozen.quantile(0.0) > 60
        pids = [running.pid for running in natives] + [made.lab.pid]
    assert _left(pids) == []


@needs_nft
def test_nothing_is_left_after_an_exception() -> None:
    pids = []

    def fail() -> None:
        with lan(3) as made:
            pids.extend([made.lab.pid, *_descendants(made.lab.pid)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert len(pids) >= 3
    assert _left(pids) == []


@needs_nft
def test_nothing_is_left_after_ctrl_c(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bench", "discovery", "--peers", "5", "--only", "R5"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.getcwd()}
    with subprocess.Popen(
        [*command, "--runs", "1000"],
        env=environment,
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as running:
        try:
            end = time.monotonic() + PATIENCE
            while not any("search" in _command(pid) for pid in _descendants(running.pid)):
                assert time.monotonic() < end
                time.sleep(0.05)
            pids = _descendants(running.pid)
            running.send_signal(signal.SIGINT)
            assert running.wait(PATIENCE) == 130
        finally:
            running.kill()
        assert running.stdout is not None
        assert b"Traceback" not in running.stdout.read()
    assert _left(pids) == []
    assert list(tmp_path.iterdir()) == []


def _descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:
            continue  # the thread ended meanwhile
        for child in children:
            found += [child, *_descendants(child)]
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _left(pids: list[int]) -> list[str]:
    """Those that still run; whoever has ended may wait for a busy system to notice."""
    return [f"{pid} {command}" for pid in pids if (command := _command(pid))]
