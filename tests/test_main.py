"""The way in: what people get wrong, what ends it, and what it says then."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import bcast
from bcast.cli import run
from bcast.datagram import Family
from bcast.lab import Host
from tests.command import COMMAND, PATIENCE, any_lab, environment, free_port, run_bcast


@pytest.fixture(autouse=True)
def signals_stay_as_they_are() -> Iterator[None]:
    """run() installs handlers for the process that it has to itself."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


# -- misuse: told apart from what the environment prevents, in a sentence -------------------------

#: Nothing here gets as far as opening a socket; -i lo is for the day on which one does.
MISUSE = {
    "a port that doesn't exist": "send hi -i lo -p 0",
    "a port above all": "send hi -i lo -p 70000",
    "no port to listen on": "listen -i lo -p 0",
    "a port above all to listen on": "listen -i lo -p 70000",
    "a source port above all": "send hi -i lo --source-port 65536",
    "a source port below all": "send hi -i lo --source-port -1",
    "a TTL above all": "send hi -i lo --ttl 256",
    "a TTL of nothing": "send hi -i lo --ttl 0",
    "an interval before now": "send hi -i lo -c 2 --interval -1",
    "an endless interval": "send hi -i lo -c 2 --interval inf",
    "an interval that is no number": "send hi -i lo -c 2 --interval nan",
    "not even once": "send hi -i lo -c 0",
    "a wait before now": "send hi -i lo --wait -1",
    "an endless wait": "send hi -i lo --wait inf",
    "both families": "send hi -i lo -4 -6",
    "both families to listen on": "listen -i lo -4 -6",
    "broadcast in IPv6": "send hi -i lo -6",
    "an IPv6 group in IPv4": "send hi -i lo -4 --to ff02::1",
    "an IPv6 host in IPv4": "send hi -i lo -4 --to ::1",
    "an IPv4 group in IPv6": "send hi -i lo -6 --to 239.1.2.3",
    "an IPv6 group in IPv4 to join": "listen -i lo -4 -g ff02::5",
    "an IPv4 group in IPv6 to join": "listen -i lo -6 -g 239.1.2.3",
    "no destination": "send hi -i lo --to nowhere",
    "a name for a destination": "send hi -i lo --to example.com",
    "the unspecified address": "send hi -i lo --to 0.0.0.0",
    "no group": "listen -i lo -g nonsense",
    "an address that is no group": "listen -i lo -g 192.168.1.1",
    "a group for a source": "listen -i lo -g 239.1.2.3@239.1.2.4",
    "a source of another family": "listen -i lo -g ::1@239.1.2.4",
    "half a byte": "send --hex 012 -i lo",
    "no hex digits": "send --hex xyz -i lo",
    "no brace's partner": "send --template {seq -i lo",
    "an unknown value": "send --template {sequence} -i lo",
    "a payload and a file": "send hi --file f -i lo",
    "more than UDP can carry": f"send {'x' * 65_508} -i lo",
    "an expression with a space": "send hi -i a\u00a0b",
    "a half-written network": "send hi -i 10.0.0.0/",
    "a network that doesn't exist": "listen -i 10.0.0.0/33",
    "an address that doesn't exist": "interfaces -i 300.1.1.1",
    "not a network to receive from": "listen -i lo --from nonsense",
    "not a count": "listen -i lo -c 0",
    "a time before now": "listen -i lo -t -1",
    "an endless time": "listen -i lo -t inf",
    "to read and to write": "listen -i lo -r a -w b",
    "to read and to wait": "listen -i lo -r a -t 1",
    "to read and to join": "listen -i lo -r a -g 239.1.2.3",
}


@pytest.mark.parametrize("line", MISUSE.values(), ids=MISUSE.keys())
def test_misuse(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(line.split(" ")) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert re.fullmatch(r"bcast: .{10,400}\n", errors)


def test_nothing_to_send(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["send", "-i", "lo"]) == 2
    _, errors = capsys.readouterr()
    for way in ("PAYLOAD", "--file", "--probe", "standard input"):
        assert way in errors


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("send -i lo", ["PAYLOAD", "--probe"]),
        ("send hi --probe", ["PAYLOAD", "--probe"]),
        ("send --probe bcast hi", ["PAYLOAD", "--probe"]),
        ("send --probe --file f", ["--probe", "--file"]),
        ("send --probe --hex -", ["--probe", "--hex"]),
        ("send --probe mdns", ["'mdns'", "bcast"]),
        ("send --probe -6 --to 239.1.2.3", ["-6"]),
        ("send --probe --to nowhere", ["'nowhere'"]),
        ("send --probe -p 0", ["port 0"]),
        (f"send --probe --realm {'x' * 256}", ["256 bytes", "1 to 255"]),
        ("send hi --realm lab", ["--realm", "--probe"]),
        ("send hi --key-file f", ["--key-file", "--probe"]),
        ("send -- --probe --probe", ["--probe"]),
    ],
)
def test_misuse_of_probes(line: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(line.split()) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert "Traceback" not in errors
    assert all(word in errors for word in words)


def test_an_empty_expression(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["send", "hi", "-i", ""]) == 2
    assert capsys.readouterr().err.startswith("bcast: an interface expression is empty")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("send --bogus", "bogus"),
        ("listen -p nonsense", "nonsense"),
        ("listen --show colourful", "colourful"),
        ("send a b", "b"),
        ("demo --count", "count"),
    ],
)
def test_options_that_do_not_exist_or_are_no_numbers(
    line: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line.split()) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert told in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("lissen", "did you mean 'listen'?"),
        ("interface", "did you mean 'interfaces'?"),
        ("sned", "did you mean 'send'?"),
        ("xyzzy", "see bcast --help"),
    ],
)
def test_a_command_that_does_not_exist(
    word: str, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([word]) == 2
    assert capsys.readouterr().err == f"bcast: there is no command '{word}': {advice}\n"


def test_a_file_that_can_not_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, reason in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        assert run(["send", "-i", "lo", "--file", str(name)]) == 3
        errors = capsys.readouterr().err
        assert errors.startswith(f"bcast: can't read {name}: {reason}")


@pytest.mark.parametrize("command", ["", "interfaces", "send", "listen", "demo"])
def test_help_fits_a_screen(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("-h", "--help"):
        assert run([*command.split(), option]) == 0
        output = capsys.readouterr().out
        assert len(output.splitlines()) <= 60
        assert "Traceback" not in output
        if command:
            assert f"bcast {command}" in output
            assert "xample" in output


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"bcast {bcast.__version__}\n"


def test_a_bug_of_ours_asks_to_be_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_down() -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr("bcast.cli.interfaces.list_interfaces", break_down)
    assert run(["interfaces"]) == 70
    errors = capsys.readouterr().err
    assert errors.startswith(f"bcast: this is a bug in bcast {bcast.__version__} (ZeroDivision")
    assert "please report it" in errors
    assert "Traceback" not in errors
    assert run(["interfaces", "-v"]) == 70
    assert "break_down" in capsys.readouterr().err


# -- what the environment prevents ----------------------------------------------------------------


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with any_lab() as lab:
        host = lab.host("a")
        host.connect(lab.segment("blue"))
        yield host


@pytest.mark.kernel("a host whose interfaces are known")
@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ("send hi -i eth7", "no interface matches 'eth7'; there are lo (127.0.0.1/8), eth0 (10."),
        ("listen -i wlan*", "no interface matches 'wlan*'; there are lo (127.0.0.1/8), eth0 (10."),
        ("interfaces -i 77", "no interface has the index 77; there are 1 (lo), "),
        (
            "listen -i wifi",
            "no interface is of the kind wifi; there are loopback (lo), veth (eth0",
        ),
        ("send hi -i 10.9.9.9", "no interface has the address 10.9.9.9; there are 127.0.0.1 (lo)"),
        ("send hi -i 10.9.9.0/24", "no interface has an address in 10.9.9.0/24; there are 127.0"),
        ("send hi -x all", "no usable interface: lo is excluded, eth0 is excluded: exclude less"),
        ("listen -i eth0 -x 10.9.1.1", "no usable interface: eth0 is excluded: exclude less"),
    ],
)
def test_interfaces_that_are_not_there(host: Host, args: str, sentence: str) -> None:
    done = run_bcast(host, *args.split(), status=3)
    assert done.stderr.startswith(f"bcast: {sentence}")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.kernel("a host without IPv6")
def test_no_ipv6_at_all() -> None:
    with any_lab() as lab:
        host = lab.host("old")
        for which in ("all", "default"):
            host.set_sysctl(f"net.ipv6.conf.{which}.disable_ipv6", 1)
        host.connect(lab.segment("blue"), families=[Family.IPV4])
        run_bcast(host, "listen", "-t", "0")
        run_bcast(host, "send", "hi")
        run_bcast(host, "interfaces", "--explain")
        done = run_bcast(host, "send", "hi", "--to", "ff02::1", status=3)
        assert "skipped eth0: no IPv6 address" in done.stderr
        done = run_bcast(host, "listen", "-6", "-t", "0", status=3)
        assert re.match(r"bcast: .*eth0.*IPv6", done.stderr)


# -- signals --------------------------------------------------------------------------------------

#: Without PYTHONWARNINGS, which makes Python import more before it is ours.
_ENVIRONMENT = {**os.environ, "PYTHONPATH": environment()["PYTHONPATH"]}


def interrupted(args: list[str], number: signal.Signals, delays: list[float]) -> list[str]:
    """Starts a command for each delay, all at once, ends each after its delay: what is wrong."""
    start = time.monotonic()
    running = [
        subprocess.Popen(
            [*COMMAND, *args],
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in delays
    ]
    for delay, process in zip(delays, running, strict=True):
        time.sleep(max(0.0, start + delay - time.monotonic()))
        process.send_signal(number)
    wrong = []
    for delay, process in zip(delays, running, strict=True):
        ended = True
        try:
            output, errors = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            ended = False
            process.kill()
            output, errors = process.communicate()
        # Until main() runs the handlers are Python's: it dies of the signal, says
        # KeyboardInterrupt, or even passes that over while it starts. Ours never raise that.
        if "KeyboardInterrupt" in errors or (process.returncode == -number and not errors):
            continue
        if args[0] == "listen" and "listening on" in errors:
            fine = process.returncode == 0 and "0 datagrams, 0 bytes" in errors.splitlines()[-1]
        else:
            fine = process.returncode == 128 + number
        if not (ended and fine) or "Traceback" in errors or "Exception ignored" in errors:
            status = process.returncode if ended else "not at all"
            wrong.append(f"{args} ended after {delay:.3f} s: {status} {output!r} {errors!r}")
    return wrong


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "line", ["listen -i lo -p {port}", "send hi -i lo -p {port} -c 1000 --interval 0.01"]
)
def test_it_can_be_ended_at_any_moment(line: str, number: signal.Signals) -> None:
    chance = random.Random(line + number.name)
    args = line.format(port=free_port()).split()
    wrong = []
    for _ in range(3):
        wrong += interrupted(args, number, sorted(chance.uniform(0.0, 0.5) for _ in range(4)))
    assert wrong == []


def test_a_signal_ends_it_within_the_import_system_too() -> None:
    # Python calls some of that from where exceptions are only printed.
    code = (
        "import sys; from types import SimpleNamespace as Made; from bcast import cli;"
        "print('so far'); frame = Made(f_code=Made(co_filename='<frozen importlib._bootstrap>'));"
        "cli._end(15, frame)\nprint('and on')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (128 + 15, "so far\n", "")


def test_what_was_sent_is_said_when_it_is_interrupted() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("", 0))
        peer.settimeout(PATIENCE)
        port = str(peer.getsockname()[1])
        args = ["send", "hi", "-i", "lo", "-p", port, "-c", "10000", "--interval", "0.001"]
        with subprocess.Popen(
            [*COMMAND, *args],
            env={**os.environ, **environment()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            for _ in range(20):
                assert peer.recv(100) == b"hi"
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=PATIENCE)
        sent = 20
        peer.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while peer.recv(100):
                sent += 1
    assert process.returncode == 130
    # Not one more or less, whenever the signal came.
    said = rf"lo  127\.0\.0\.1:\d+ > 255\.255\.255\.255:{port}  2 bytes x{sent}\n"
    assert re.fullmatch(said, output), (output, sent)
    assert errors == ""


@pytest.mark.parametrize(
    "line",
    ["send hi -i lo -c 2 --interval 1e11", "send hi -i lo --wait 1e7", "listen -i lo -t 1e7"],
)
def test_a_very_long_time(line: str, tmp_path: Path) -> None:
    # More than a clock of 64 bits in ns, and more than the 24.8 days of epoll_wait(). Where the
    # output isn't a pipe nothing else wakes a listener in between.
    with (
        (tmp_path / "output").open("w") as output,
        subprocess.Popen(
            [*COMMAND, *line.split(), "-p", str(free_port())],
            env={**os.environ, **environment()},
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            assert process.wait(timeout=0.7) == 2
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=PATIENCE) in (0, 143, -signal.SIGTERM)
        assert process.stderr is not None
        assert "bug" not in process.stderr.read()


def test_nothing_is_imported_before_signals_are_handled() -> None:
    # Whoever presses Ctrl-C while Python imports sees a traceback, unless ours are in place.
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); before = set(sys.modules)\n"
        "import bcast.__main__; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(Path(bcast.__file__).parents[1])],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) <= {"__future__", "_signal", "bcast", "bcast.__main__"}


_IMPORTED = """
import os, signal
class Telling:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), signal.{0})
try:
    class Told:
        telling = Telling()
except BaseException as error:
    raise ImportError("it was taken for something else") from error
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_can_be_ended_while_it_imports(number: signal.Signals, tmp_path: Path) -> None:
    # What a handler raises there comes out as another exception, or not at all: Python 3.11
    # makes a RuntimeError of what is raised in __set_name__, and packages catch what they like.
    (tmp_path / "typer.py").write_text(_IMPORTED.format(number.name))
    path = os.pathsep.join([str(tmp_path), _ENVIRONMENT["PYTHONPATH"]])
    done = subprocess.run(
        [*COMMAND, "interfaces"],
        env={**_ENVIRONMENT, "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "")
