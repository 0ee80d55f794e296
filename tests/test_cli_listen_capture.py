"""``bcast listen --write`` and ``--read``."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
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
    datagrams,
    end_listeners,
    environment,
    events,
    eventually,
    flood,
    heard,
    in_shell,
    listen,
    pause,
    proceed,
    run_bcast,
    say,
    start_bcast,
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


def payloads(path: Path) -> list[bytes]:
    with CaptureReader(str(path)) as reader:
        return [datagram.payload for datagram in reader]


def test_what_was_written_is_shown_the_same(lan: Lan, tmp_path: Path) -> None:
    path = tmp_path / "all.pcapng"
    listening = listen(lan.a, "-w", str(path), "-g", "239.1.2.3")
    shown = listen(lan.a, "--json", "-g", "239.1.2.3")
    say(
        lan.b,
        (ALL_HOSTS, 2222, b"hello"),
        ("239.1.2.3", 2222, bytes(range(256))),
        ("ff02::1", 2222, b""),
        ("10.9.1.255", 2222, "grüße".encode()),
    )
    say(lan.c, (ALL_HOSTS, 2222, b"from green"))
    eventually(lambda: len(datagrams(shown)) == 5)
    live = heard(shown)
    assert listening.interrupt() == 0
    assert listening.output() == ""
    assert "5 datagrams" in listening.errors()

    read_output = run_bcast(lan.a, "listen", "--read", str(path), "--json").stdout
    found = events(read_output)
    read = [e for e in found if e["event"] == "datagram"]
    # Two sockets, one datagram: the kernel stamped it once.
    own = ("index", "source", "destination")  # of another listing: no indexes, no scopes
    strip = [{k: v for k, v in e.items() if k not in own} for e in live]
    assert sorted(map(str, strip)) == sorted(
        str({k: v for k, v in e.items() if k not in own}) for e in read
    )
    assert {e["source"].partition("%")[0] for e in read} == {
        e["source"].partition("%")[0] for e in live
    }

    done = run_bcast(lan.a, "listen", "-r", str(path), "--from", "10.9.2.0/24", "-c", "1")
    assert done.stdout.rstrip().endswith("  from green")
    done = in_shell(lan.a, f'"$@" <{path}', "listen", "-r", "-", "--json")
    assert done.stdout == read_output


def test_the_options_of_a_listener_are_not_ignored_when_reading(lan: Lan, tmp_path: Path) -> None:
    path = tmp_path / "all.pcapng"
    listening = listen(lan.a, "-w", str(path))
    say(lan.b, (ALL_HOSTS, 2222, b"blue"), ("ff02::1", 2222, b"blue6"))
    say(lan.c, (ALL_HOSTS, 2222, b"green"))
    time.sleep(0.2)
    assert listening.interrupt() == 0
    read = ("listen", "-r", str(path), "--json")
    for options, expected in (
        (["-i", "eth1"], ["green"]),
        (["-x", "eth1"], ["blue", "blue6"]),
        (["-6"], ["blue6"]),
    ):
        done = lan.a.run([*COMMAND, *read, *options], env=environment(), check=False)
        texts = [e.get("text") for e in events(done.stdout) if e["event"] == "datagram"]
        assert done.returncode == 2 or texts == expected, options


def test_drops_are_in_the_capture(lan: Lan, tmp_path: Path) -> None:
    path = tmp_path / "drops.pcapng"
    listening = listen(lan.a, "-w", str(path))
    pause(listening)
    flood(lan.b, 20_000)
    proceed(listening)
    settled(path, above=10_000)
    assert listening.interrupt() == 0
    summary = listening.errors().splitlines()[-1]
    counted = re.match(r"(\d+) datagrams, .*; kernel drops (\d+); rejected 0$", summary)
    assert counted is not None
    received, dropped = map(int, counted.groups())
    assert received + dropped == 20_000
    assert dropped > 0
    with CaptureReader(str(path)) as reader:
        assert sum(1 for _ in reader) == received
    assert reader.drops == dropped


def test_a_capture_is_whole_when_it_ends_in_the_middle_of_a_flood(
    lan: Lan, tmp_path: Path
) -> None:
    path = tmp_path / "flood.pcapng"
    listening = listen(lan.a, "-w", str(path))
    flooding = lan.b.start_python(FLOOD, "100000000")
    eventually(lambda: path.stat().st_size > 100_000)
    try:
        assert listening.terminate(timeout=PATIENCE) == 0
    finally:
        flooding.kill()
    found = re.search(r"^(\d+) datagrams", listening.errors(), re.MULTILINE)
    assert found is not None
    assert len(payloads(path)) == int(found[1])


def settled(path: Path, *, above: int) -> None:
    """Waits until a capture has grown and, for more than the time between two flushes, not."""
    before = -1
    while (size := eventually(lambda: max(0, path.stat().st_size - above))) != before:
        before = size
        time.sleep(0.7)


def test_tools_read_it_without_complaint(lan: Lan, tmp_path: Path) -> None:
    if not (shutil.which("tshark") and shutil.which("capinfos")):
        pytest.skip("needs tshark and capinfos (Wireshark)")
    path = tmp_path / "all.pcapng"
    listening = listen(lan.a, "-w", str(path), "-g", "ff15::1:2")
    say(lan.b, (ALL_HOSTS, 2222, b"hello"), ("ff15::1:2", 2222, b"six"), ("10.9.1.1", 2222, b""))
    time.sleep(0.3)
    assert listening.interrupt() == 0
    # Port 2222 is somebody's, whose format it isn't.
    args = [
        "-n",
        "-r",
        str(path),
        "-d",
        "udp.port==2222,data",
        "-o",
        "udp.check_checksum:TRUE",
        "-o",
        "ip.check_checksum:TRUE",
    ]
    fields = ["ip.src", "ipv6.src", "udp.dstport", "data.text", "frame.interface_name"]
    shown = subprocess.run(
        ["tshark", *args, "-T", "fields", *(w for f in fields for w in ("-e", f))],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split("\t") for line in shown.stdout.splitlines()]
    assert sorted(line[0] or line[1] for line in lines) == ["10.9.1.2", "10.9.1.2", "fd00:1::2"]
    assert {line[2] for line in lines} == {"2222"}
    assert {line[4] for line in lines} == {"eth0"}
    warned = subprocess.run(
        ["tshark", *args, "-Y", "_ws.malformed || udp.checksum.status == 0"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert warned.stdout == ""
    told = subprocess.run(["capinfos", str(path)], capture_output=True, text=True, check=True)
    assert re.search(r"Number of packets:\s+3\b", told.stdout)
    assert "bcast" in told.stdout


def test_a_kill_costs_the_last_second_only(lan: Lan, tmp_path: Path) -> None:
    path = tmp_path / "killed.pcapng"
    listening = listen(lan.a, "-w", str(path))
    said = 0
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        say(lan.b, (ALL_HOSTS, 2222, b"hello"), times=10)
        said += 10
    time.sleep(1.2)
    os.kill(listening.pid, signal.SIGKILL)
    assert listening.wait() == -signal.SIGKILL
    assert len(payloads(path)) == said


def test_a_file_that_may_not_grow(lan: Lan, tmp_path: Path) -> None:
    path = tmp_path / "limited.pcapng"
    args = ["listen", "-p", "2222", "-w", str(path)]
    running = lan.a.start(
        ["sh", "-c", 'ulimit -f 16; exec "$@"', "sh", *COMMAND, *args],
        env=environment(),
        capable=False,
    )
    running.wait_for(LISTENING)
    flood(lan.b, 500)
    assert running.wait() == 3
    assert re.search(
        rf"^bcast: the file may not grow any more: {path} holds the first \d+ datagrams",
        running.errors(),
        re.MULTILINE,
    )
    assert payloads(path) == [b"x" * 200] * len(payloads(path)) != []


def test_a_disk_that_is_full(lan: Lan, tmp_path: Path) -> None:
    # The tmpfs is seen by the command alone, so what is on it is copied out at the end.
    script = (
        'mount -t tmpfs -o size=32k none "$0" || exit 99; "$@"; status=$?;'
        f' cp "$0/full.pcapng" {tmp_path}/copy.pcapng; exit $status'
    )
    folder = tmp_path / "small"
    folder.mkdir()
    alone = ("unshare", "--user", "--map-root-user", "--mount")
    args = ("listen", "-p", "2222", "-w", str(folder / "full.pcapng"))
    running = lan.a.start(
        [*alone, "sh", "-c", script, str(folder), *COMMAND, *args],
        env=environment(),
        capable=True,
    )
    try:
        running.wait_for(LISTENING)
    except Exception as error:
        pytest.skip(f"a file system can't be mounted here: {error}")
    flood(lan.b, 500)
    assert running.wait() == 3
    assert "bcast: the disk is full: " in running.errors()
    assert "Traceback" not in running.errors()
    assert payloads(tmp_path / "copy.pcapng") != []


def test_a_capture_that_can_not_be_opened(lan: Lan, tmp_path: Path) -> None:
    done = run_bcast(lan.a, "listen", "-w", str(tmp_path / "none" / "f"), status=3)
    assert re.match(r"bcast: can't write .*/none/f: there is no directory", done.stderr)
    done = run_bcast(lan.a, "listen", "-w", str(tmp_path), status=3)
    assert "it is a directory" in done.stderr


def test_what_is_no_capture(lan: Lan, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("this is no capture at all, but it is long enough to be one")
    done = run_bcast(lan.a, "listen", "-r", str(path), status=3)
    assert done.stderr.startswith("bcast: ")
    assert str(path) in done.stderr
    done = run_bcast(lan.a, "listen", "-r", str(tmp_path / "none"), status=3)
    assert done.stderr == f"bcast: there is no file {tmp_path / 'none'}\n"


def test_a_fifo_that_nobody_reads_can_be_given_up(lan: Lan, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    running = start_bcast(lan.a, "listen", "-i", "lo", "-w", str(fifo))
    # Its sockets are open; next it waits for a reader, and says nothing of it.
    eventually(lambda: ":6E48 " in lan.a.run(["cat", "/proc/self/net/udp"]).stdout)
    time.sleep(0.1)
    assert running.interrupt(timeout=3.0) in (0, 130)


def test_json_and_a_capture_do_not_mix_on_one_stream(lan: Lan) -> None:
    done = lan.a.run(
        [*COMMAND, "listen", "-t", "0", "--json", "-w", "-"], env=environment(), check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("bcast: ")


def test_json_with_a_capture_shows_and_writes(lan: Lan, tmp_path: Path) -> None:
    path = tmp_path / "both.pcapng"
    listening = listen(lan.a, "--json", "-w", str(path))
    say(lan.b, (ALL_HOSTS, 2222, b"hello"))
    eventually(lambda: datagrams(listening))
    assert listening.interrupt() == 0
    assert payloads(path) == [b"hello"]


def test_events_are_lines_of_json_to_the_end(lan: Lan) -> None:
    listening = listen(lan.a, "--json")
    flood(lan.b, 3_000)
    assert listening.interrupt() == 0
    lines = listening.output().splitlines()
    assert json.loads(lines[-1])["event"] == "summary"
    assert json.loads(lines[-1])["datagrams"] == sum('"datagram"' in line for line in lines)
