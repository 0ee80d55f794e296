"""``bcast lab``: commands on the hosts of a LAN that is there for as long as they are."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bcast.lab import LabError
from bcast.lab.system import entrance
from tests.command import COMMAND, PATIENCE, environment, events, eventually

if sys.platform != "linux":
    pytest.skip("needs network namespaces", allow_module_level=True)

pytestmark = pytest.mark.kernel("labs of its own")

#: The command within a script.
BCAST = 'bcast() { "$PYTHON" -m bcast "$@"; }; '


def variables(**more: str) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("BCAST_LAB")}
    return {**inherited, **environment(), "PYTHON": sys.executable, **more}


def lab(*args: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, "lab", *args],
        env=variables(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def script(text: str, *args: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs a shell's script, in which bcast is the command, on the first host."""
    return lab(*args, "--", "sh", "-ec", BCAST + text, status=status)


# --- what is there


def test_hosts_are_shown_and_reached() -> None:
    done = script("ip -4 -br addr show eth0; bcast lab --on h3 ip -4 -br addr show eth0")
    assert [line.split()[2] for line in done.stdout.splitlines()] == ["10.9.1.1/24", "10.9.1.3/24"]
    *hosts, elsewhere = done.stderr.splitlines()
    assert [re.split("  +", line) for line in hosts] == [
        ["h1", "here", "eth0 10.9.1.1"],
        ["h2", "bcast lab --on h2 COMMAND", "eth0 10.9.1.2"],
        ["h3", "bcast lab --on h3 COMMAND", "eth0 10.9.1.3"],
    ]
    assert re.fullmatch(r"from another terminal: export BCAST_LAB=h1=\d+,h2=\d+,h3=\d+", elsewhere)


def test_what_is_announced_on_one_host_is_found_on_another() -> None:
    done = script(
        "bcast lab --on h2 $PYTHON -m bcast announce lamp-1 _lamp -p 80 -q &"
        "bcast discover --expect 1 -t 15 --json -4",
        *("--hosts", "2", "-q"),
    )
    (found,) = [
        one for one in map(json.loads, done.stdout.splitlines()) if one["event"] == "found"
    ]
    assert (found["name"], found["sightings"][0]["address"]) == ("lamp-1", "10.9.1.2")


def test_the_first_host_is_on_all_networks() -> None:
    done = lab("--hosts", "3", "--networks", "2", "--json", "--", "true")
    hosts = events(done.stdout)
    where = {h["name"]: [(one["interface"], one["segment"]) for one in h["links"]] for h in hosts}
    assert where == {
        "h1": [("eth0", "n1"), ("eth1", "n2")],
        "h2": [("eth0", "n1")],
        "h3": [("eth0", "n2")],
    }


def test_what_is_lost_is_lost(tmp_path: Path) -> None:
    text = (
        f"cd {tmp_path}; rm -f said;"
        " bcast lab --on h2 $PYTHON -m bcast announce lamp-1 _lamp -p 80 --json >said &"
        " until grep -q announced said; do sleep 0.05; done;"
        " bcast discover --expect 1 -t 0.5"
    )
    assert "lamp-1" in script(text, "--hosts", "2").stdout
    assert script(text, "--hosts", "2", "--loss", "1", status=1).stdout == ""


def test_a_command_may_change_the_lan_and_not_the_machine() -> None:
    done = script(
        "ip link set eth0 down; cat /sys/class/net/lo/mtu >/dev/null;"
        " ip -br link show eth0; echo $BCAST_LAB_HOST $BCAST_LAB_ADDRESSES;"
        " bcast lab --on h2 sh -c 'echo $BCAST_LAB_HOST'",
        *("--hosts", "2", "-q"),
    )
    state, here, there = done.stdout.splitlines()
    assert state.split()[1] == "DOWN"
    assert here == "h1 h1=10.9.1.1,h2=10.9.1.2"
    assert there == "h2"


# --- how it ends


def test_it_ends_as_the_command_does() -> None:
    lab("--hosts", "1", "--", "sh", "-c", "exit 7", status=7)
    lab("--hosts", "1", "--", "sh", "-c", "kill -KILL $$", status=128 + 9)
    script("bcast lab --on h1 sh -c 'exit 3' || exit $((10 + $?))", "--hosts", "1", status=13)


@contextmanager
def standing(*args: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A lab in which something runs, on both hosts; with the processes that hold the hosts."""
    text = f"{BCAST} bcast lab --on h2 sleep 300 & echo up; sleep 300"
    with subprocess.Popen(
        [*COMMAND, "lab", "--hosts", "2", "--json", *args, "--", "sh", "-c", text],
        env=variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        pids = [json.loads(process.stdout.readline())["pid"] for _ in range(2)]
        assert process.stdout.readline() == "up\n"
        eventually(lambda: len(inhabitants(pids)) >= 4)
        try:
            yield process, pids
        finally:
            process.kill()


def inhabitants(pids: list[int]) -> list[str]:
    """All that runs on the hosts that these processes hold or held."""
    found = []
    for one in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            if os.stat(one).st_ino in _networks(pids):
                found.append(one.parts[2])
        except OSError:
            continue
    return found


_known: dict[int, int] = {}


def _networks(pids: list[int]) -> set[int]:
    for pid in pids:
        if pid not in _known:
            _known[pid] = os.stat(f"/proc/{pid}/ns/net").st_ino
    return {_known[pid] for pid in pids}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, 9])
def test_nothing_is_left_whatever_ends_it(number: int) -> None:
    with standing() as (process, pids):
        process.send_signal(number)
        assert process.wait(PATIENCE) == (-9 if number == 9 else 128 + number)
        eventually(lambda: not inhabitants(pids), timeout=2.0)


# --- on a terminal


def until(terminal: int, text: bytes) -> bytes:
    """What a terminal shows up to and with a text."""
    shown, deadline = b"", time.monotonic() + PATIENCE
    while text not in shown:
        assert time.monotonic() < deadline, shown
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 4096)
    return shown


def test_a_shell_on_a_terminal_has_jobs_and_gives_the_terminal_back() -> None:
    import pty

    program = '"$PYTHON" -m bcast lab --hosts 1; echo "back $?"; read word; echo "read $word"'
    child, terminal = pty.fork()
    if child == 0:
        os.execve("/bin/sh", ["sh", "-c", program], variables(SHELL="/bin/sh", PS1="ready> "))
    try:
        until(terminal, b"from another terminal")
        # Ctrl-C ends what the shell runs, not the lab.
        os.write(terminal, b"echo sleep''ing; sleep 300\n")
        until(terminal, b"sleeping")
        time.sleep(0.2)
        os.write(terminal, b"\x03")
        os.write(terminal, b"echo sta''tus $BCAST_LAB_HOST\n")
        until(terminal, b"status h1")
        os.write(terminal, b"exit 5\n")
        until(terminal, b"back 5")
        os.write(terminal, b"this\n")
        until(terminal, b"read this")
    finally:
        os.close(terminal)
        os.waitpid(child, 0)


# --- misuse


@pytest.mark.parametrize(
    ("args", "status", "sentence"),
    [
        (("--hosts", "0"), 2, "--hosts 0 can't be: use 1 to 200"),
        (("--networks", "17"), 2, "--networks 17 can't be: use 1 to 16"),
        (("--loss", "2"), 2, "2.0 is no chance (--loss): use 0 (never) to 1 (always)"),
        (
            ("--on", "h2", "--", "true"),
            2,
            "--on is for use inside a lab: start one with bcast lab",
        ),
        (("--on", "h2", "--hosts", "2"), 2, "--on and --hosts exclude each other"),
        (("-q", "--", "nonsense"), 3, "on h1 there is no command 'nonsense'"),
    ],
)
def test_misuse(args: tuple[str, ...], status: int, sentence: str) -> None:
    done = lab(*args, status=status)
    assert done.stdout == ""
    assert done.stderr.startswith(f"bcast: {sentence}")
    assert len(done.stderr.splitlines()) == 1


def test_misuse_within() -> None:
    done = script("bcast lab --on h9 true", "--hosts", "2", "-q", status=2)
    assert done.stderr == "bcast: the lab has no host h9: there are h1, h2\n"
    done = script("bcast lab --on h2 nonsense", "--hosts", "2", "-q", status=3)
    assert done.stderr == "bcast: on h2 there is no command 'nonsense'\n"


def test_a_process_that_holds_no_host_is_not_entered() -> None:
    with subprocess.Popen(["sleep", "30"]) as other:
        try:
            with pytest.raises(LabError, match=f"there is no lab with process {other.pid} any"):
                entrance(other.pid)
        finally:
            other.kill()
    with pytest.raises(LabError, match="any more"):
        entrance(other.pid)
