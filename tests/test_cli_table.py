"""The live table of ``discover`` and ``watch``: what it shows, and the terminal afterwards."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bcast.cli.table import LiveTable
from bcast.device import (
    Added,
    Cause,
    Changed,
    Device,
    DeviceEvent,
    Removed,
    Restarted,
    Sighting,
    Suspect,
)
from bcast.lab import Host, Running
from tests.announcing import announcing
from tests.command import COMMAND, PATIENCE, any_lab, environment
from tests.strategies import devices

SECOND = 1_000_000_000
START = 1_795_409_294 * SECOND


def device(name: str, heard: int = 0) -> Device:
    """A device that was heard so many seconds after the start."""
    seen = Sighting("eth0", 2, IPv4Address("10.9.1.7"), 4, "bcast", 0.002, START + heard * SECOND)
    return Device(name.encode().hex(), name, "_lamp", 80, {}, (seen,))


class Screen:
    """A live table on a terminal of so many columns and rows, at made-up times from 0.0."""

    def __init__(self, width: int = 100, height: int = 10, *, stays: bool = False) -> None:
        self.written = io.StringIO()
        self.console = Console(
            file=self.written, force_terminal=True, width=width, height=height, highlight=False
        )
        self.now = 0.0
        self.frames = 0
        self.table = LiveTable(
            self.console, stays=stays, wall_clock=self._wall_clock, stopwatch=lambda: self.now
        )

    def _wall_clock(self) -> int:
        return START + int(self.now * SECOND)

    def at(self, now: float, *shown: Device, events: tuple[DeviceEvent, ...] = ()) -> list[str]:
        """The lines of the frame that is drawn now; none if there is none."""
        self.now = now
        for event in events:
            self.table.note(event, now)
        before = self.written.tell()
        self.table.show(lambda: shown, lambda: "status", now)
        drawn = self.written.getvalue()[before:]
        return [
            line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", drawn).split("\n")
        ]


LAMP = device("lamp")


def test_a_row_has_all_that_there_is() -> None:
    screen = Screen()
    with screen.table:
        heading, row, status = screen.at(0.0, LAMP, events=(Added(LAMP),))
        assert heading.split() == [
            "NAME", "TYPE", "ADDRESS", "INTERFACES", "LATENCY", "PROTOCOLS", "AGE", "STATE",
        ]  # fmt: skip
        assert row.split() == [
            "lamp",
            "_lamp",
            "10.9.1.7:80",
            "eth0",
            "2.0",
            "ms",
            "bcast",
            "0",
            "s",
            "here",
        ]
        assert status == "status"


def test_ages_go_on() -> None:
    screen = Screen()
    with screen.table:
        for now, age in (
            (0, "0 s"),
            (59, "59 s"),
            (300, "5 min"),
            (7200, "2 h"),
            (400_000, "5 d"),
        ):
            assert f"  {age}  " in screen.at(float(now), LAMP)[1]
        # A wall clock that was set back doesn't make anybody younger than born.
        assert "  0 s  " in screen.at(500_000.0, device("lamp", heard=900_000))[1]


def test_states() -> None:
    screen = Screen()
    plug = device("plug")
    with screen.table:
        screen.at(0.0, LAMP, plug, events=(Added(LAMP), Added(plug)))
        lines = screen.at(5.0, LAMP, plug, events=(Suspect(LAMP),))
        lines = screen.at(6.0, LAMP, plug)
        assert lines[1].endswith("suspect")
        assert lines[2].endswith("here")
        lines = screen.at(8.0, LAMP, plug, events=(Changed(LAMP, ()),))
        lines = screen.at(9.0, LAMP, plug)
        assert lines[1].endswith("here")
        # Who is gone is shown for a while, last.
        screen.at(10.0, plug, events=(Removed(LAMP, Cause.SILENCE),))
        lines = screen.at(12.0, plug)
        assert lines[1].startswith("plug")
        assert lines[2].startswith("lamp")
        assert lines[2].endswith("gone (silence)")
        assert len(screen.at(25.0, plug)) == 3
        # And isn't when it is back.
        screen.at(26.0, events=(Removed(plug, Cause.GOODBYE),))
        screen.at(27.0, plug, events=(Restarted(plug),))
        assert len(screen.at(29.0, plug)) == 3


def test_frames_come_soon_but_not_all_the_time() -> None:
    screen = Screen()
    with screen.table:
        assert screen.at(0.0) != [""]
        assert screen.at(0.05, LAMP, events=(Added(LAMP),)) == [""]
        assert screen.at(0.16, LAMP) != [""]
        assert screen.at(0.9, LAMP) == [""]
        assert screen.at(1.2, LAMP) != [""]


def test_drawing_takes_a_small_share_of_the_time() -> None:
    screen = Screen()

    def slow() -> list[Device]:
        screen.now += 1.0
        return [LAMP]

    with screen.table:
        screen.table.show(slow, lambda: "", 0.0)
        assert screen.at(15.0, LAMP, events=(Added(LAMP),)) == [""]
        assert screen.at(20.1, LAMP) != [""]


def test_what_does_not_fit_is_counted() -> None:
    screen = Screen(height=10)
    many = [device(f"lamp-{number:04}") for number in range(1000)]
    with screen.table:
        lines = screen.at(0.0, *many)
    assert len(lines) <= 9
    assert lines[-1] == "status"
    assert lines[-2] == f"... and {1000 - (len(lines) - 3)} more"


@pytest.mark.parametrize("width", [20, 40, 60, 100])
def test_narrow_terminals(width: int) -> None:
    screen = Screen(width=width)
    with screen.table:
        lines = screen.at(0.0, device("a" * 63))
    assert len(lines) == 3
    assert all(len(line) <= width for line in lines)
    if width >= 60:
        assert lines[1].endswith("here")


def test_a_resized_terminal_is_drawn_anew() -> None:
    screen = Screen()
    with screen.table:
        screen.at(0.0, LAMP)
        screen.console.size = screen.console.size._replace(width=50)
        before = screen.written.tell()
        lines = screen.at(0.01, LAMP)
        assert "\x1b[2J\x1b[H" in screen.written.getvalue()[before:]
        assert any(line.startswith("lamp") for line in lines)
        assert screen.at(0.02, LAMP) == [""]


@pytest.mark.parametrize("stays", [False, True])
def test_the_terminal_is_as_it_was(stays: bool) -> None:
    screen = Screen(stays=stays)
    with screen.table:
        screen.at(0.0, LAMP)
        assert "\x1b[?25l" in screen.written.getvalue()
        before = screen.written.tell()
    end = screen.written.getvalue()[before:]
    assert end.count("\x1b[?25h") == 1
    # The last frame is wiped away; where it stays, it is printed once more, without its status.
    assert ("lamp" in end.rpartition("\x1b[2K")[2]) is stays
    assert "status" not in end.rpartition("\x1b[2K")[2]


def test_the_terminal_is_as_it_was_after_an_exception() -> None:
    screen = Screen(stays=True)

    def fail() -> None:
        with screen.table:
            screen.at(0.0, LAMP)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert "\x1b[?25h" in screen.written.getvalue()


@given(st.lists(devices(), max_size=3), st.integers(20, 120))
def test_no_name_gets_through_to_the_terminal(found: list[Device], width: int) -> None:
    screen = Screen(width=width)
    with screen.table:
        events = tuple(Added(one) for one in found)
        for line in screen.at(0.0, *found, events=events):
            assert line.isprintable() or not line
    own = re.findall(r"\x1b\[[0-9;?]*[A-Za-z]", screen.written.getvalue())
    assert len(own) == screen.written.getvalue().count("\x1b")


def test_markup_in_a_name_is_text() -> None:
    screen = Screen()
    with screen.table:
        lines = screen.at(0.0, device("[red]lamp[/red]:smile:"))
    assert lines[1].startswith("[red]lamp[/red]:smile:  ")


# --- on a real terminal

_TERMINAL = """
import fcntl, os, pty, select, signal, struct, sys, termios, time
wanted, ending, size, *command = sys.argv[1:]
pid, terminal = pty.fork()
if not pid:
    os.execvp(command[0], command)
def resize(columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 12, columns, 0, 0))
resize(100)
seen, asked = b"", False
while True:
    ready, _, _ = select.select([terminal], [], [], 0.1)
    if ready:
        try:
            read = os.read(terminal, 1 << 16)
        except OSError:
            break
        if not read:
            break
        seen += read
    if not asked and wanted.encode() in seen:
        asked = True
        if size == "resized":
            resize(60)
            time.sleep(0.6)
        if ending:
            os.write(terminal, ending.encode())
_, status = os.waitpid(pid, 0)
sys.stdout.buffer.write(seen)
print("\\nENDED", os.waitstatus_to_exitcode(status), flush=True)
"""


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with any_lab() as lab:
        yield lab.host("alone")


@pytest.fixture(scope="module")
def lamp(host: Host) -> Iterator[Running]:
    with announcing(host, "lamp-1", "_lamp", "-i", "lo") as running:
        yield running


def on_terminal(
    host: Host,
    *args: str,
    wanted: str = "lamp-1",
    ending: str = "\x03",
    size: str = "",
    more: dict[str, str] | None = None,
) -> str:
    """What ``bcast ARGS`` writes to a terminal; at ``wanted``, Ctrl-C is typed."""
    done = host.run(
        [sys.executable, "-c", _TERMINAL, wanted, ending, size, *COMMAND, *args],
        env=environment({"TERM": "xterm-256color", "NO_COLOR": "", **(more or {})}),
        check=False,
        capable=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout
    return done.stdout


kernel = pytest.mark.kernel("a host with a loopback interface only")


@kernel
def test_watch_on_a_terminal(host: Host, lamp: Running) -> None:
    seen = on_terminal(host, "watch", "-i", "lo")
    assert seen.endswith("\nENDED 0\n")
    assert seen.count("\x1b[?25l") == seen.count("\x1b[?25h") == 1
    table, _, end = seen.rpartition("\x1b[?25h")
    assert "STATE" in table
    assert "Ctrl-C ends" in table
    # The table as it was last, then the summary.
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", end)
    assert re.search(r"lamp-1 +_lamp +127\.0\.0\.1:80 +lo +\d+\.\d ms +bcast +\d+ s +here", plain)
    assert re.search(r"^1 there now \(1 added", plain, re.M)


@kernel
def test_watch_on_a_terminal_that_changes_its_size(host: Host, lamp: Running) -> None:
    seen = on_terminal(host, "watch", "-i", "lo", size="resized")
    assert "\x1b[2J\x1b[H" in seen
    assert seen.endswith("\nENDED 0\n")


@kernel
def test_discover_on_a_terminal_leaves_plain_rows(host: Host, lamp: Running) -> None:
    seen = on_terminal(host, "discover", "-i", "lo", "-t", "0.5", ending="")
    assert seen.endswith("\nENDED 0\n")
    table, _, end = seen.rpartition("\x1b[?25h")
    assert "STATE" in table
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", end)
    assert re.search(r"NAME +TYPE +ADDRESS +INTERFACES +LATENCY +PROTOCOLS\nlamp-1 ", plain)
    assert "STATE" not in plain


@kernel
def test_an_interrupted_search_restores_the_terminal(host: Host, lamp: Running) -> None:
    seen = on_terminal(host, "discover", "-i", "lo", "-t", "60")
    assert seen.endswith("\nENDED 130\n")
    assert "\x1b[?25h" in seen


@kernel
def test_without_colour(host: Host, lamp: Running) -> None:
    # Any SGR parameter of 30 to 49 is a colour.
    colours = re.compile(r"\x1b\[(?:\d+;)*[34]\d(?:;\d+)*m")
    assert colours.search(on_terminal(host, "watch", "-i", "lo"))
    seen = on_terminal(host, "watch", "-i", "lo", more={"NO_COLOR": "1"})
    assert "STATE" in seen
    assert not colours.search(seen)


@kernel
@pytest.mark.parametrize("args", [["--json"], []])
def test_no_table_where_none_is_wanted(host: Host, lamp: Running, args: list[str]) -> None:
    more = {} if args else {"TERM": "dumb"}
    seen = on_terminal(host, "watch", "-i", "lo", *args, more=more)
    assert "\x1b" not in seen
    assert "STATE" not in seen
    assert "added" in seen
