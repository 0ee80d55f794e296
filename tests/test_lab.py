"""The lab: what it promises about the network, the capabilities, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from ipaddress import IPv4Address
from pathlib import Path

import pytest

import bcast
from bcast.errors import ArgumentError
from bcast.lab import Host, Lab, LabError, Link, Running, lab_unavailable, lan, system

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a lab needs Linux")

#: SIGKILL, which Windows lacks the name of.
KILL = 9
#: Receives one datagram on port argv[1] and prints it with its sender's address.
RECEIVE = """
import socket, sys
s = socket.socket(int(sys.argv[2]), socket.SOCK_DGRAM)
s.bind(("", int(sys.argv[1])))
print("ready")
payload, source = s.recvfrom(100)
print(payload.decode(), source[0])
"""
SEND_BROADCAST = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, sys.argv[1].encode())
s.sendto(b"hello", ("255.255.255.255", 2222))
"""
SEND_ALL_NODES = """
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.sendto(b"hello", ("ff02::1", 2222, 0, socket.if_nametoindex(sys.argv[1])))
"""


def exchange(a: Host, ours: Link, b: Host, *, ipv6: bool = False) -> str:
    """Sends to all hosts out of one interface of ``a``; what ``b`` printed about it."""
    family = 10 if ipv6 else 2
    with b.start_python(RECEIVE, "2222", str(family)) as receiver:
        receiver.wait_for("ready")
        a.python(SEND_ALL_NODES if ipv6 else SEND_BROADCAST, ours.name)
        return receiver.wait_for("hello")


def gone(pid: int) -> bool:
    """Whether no such process runs any more (one that nobody collected doesn't run)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def wait_until_stopped(pid: int) -> None:
    """Until a process has stopped (SIGSTOP)."""
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.01)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def with_path() -> dict[str, str]:
    """An environment in which Python finds what it finds here."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def settings_are_read_only() -> bool:
    """Whether this is a container whose /proc/sys can't be written."""
    return sys.platform == "linux" and bool(os.statvfs("/proc/sys").f_flag & os.ST_RDONLY)


writes_settings = pytest.mark.skipif(settings_are_read_only(), reason="/proc/sys is read-only")


def wait_until_gone(pids: list[int], timeout: float = 5.0) -> list[int]:
    """Those of the processes that still run after at most ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while left := [pid for pid in pids if not gone(pid)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    return left


# --- the network


def test_hosts_of_a_network_hear_each_others_broadcasts(lab: Lab) -> None:
    blue = lab.segment("blue", network="10.9.1.0/24")
    a, b = lab.host("a"), lab.host("b")
    ours = a.connect(blue, name="lan0", address="10.9.1.7")
    b.connect(blue)
    assert ours.address() == IPv4Address("10.9.1.7")
    assert exchange(a, ours, b) == "hello 10.9.1.7"


def test_link_local_ipv6_works_without_a_wait(lab: Lab) -> None:
    blue = lab.segment("blue")
    a, b = lab.host("a"), lab.host("b")
    ours, _ = a.connect(blue, unique_local="fd00:9:1::1/64"), b.connect(blue)
    assert "tentative" not in a.setup("ip -6 addr") + b.setup("ip -6 addr")
    assert exchange(a, ours, b, ipv6=True).split("%")[0] == f"hello {ours.link_local}"
    assert "fd00:9:1::1/64" in a.setup("ip -6 addr show dev eth0")


def test_networks_are_apart(lab: Lab) -> None:
    blue, green = lab.segment("blue"), lab.segment("green")
    a, b, c = lab.host("a"), lab.host("b"), lab.host("c")
    to_blue, to_green = a.connect(blue), a.connect(green)
    b.connect(blue)
    c.connect(green)
    assert [to_blue.name, to_green.name] == ["eth0", "eth1"]
    assert not blue.network.overlaps(green.network)
    with c.start_python(RECEIVE, "2222", "2") as other:
        other.wait_for("ready")
        assert exchange(a, to_blue, b) == "hello 10.9.1.1"
        a.python(SEND_BROADCAST, to_green.name)
        assert other.wait_for("hello") == "hello 10.9.2.1"


def test_a_wire_joins_two_hosts(lab: Lab) -> None:
    a, b = lab.host("a"), lab.host("b")
    ours, theirs = lab.wire(a, "v1", b, "v2", addresses=("10.8.0.1/30", "10.8.0.2/30"))
    assert [ours.name, theirs.name, ours.host, theirs.host] == ["v1", "v2", a, b]
    assert exchange(a, ours, b) == "hello 10.8.0.1"
    assert exchange(b, theirs, a, ipv6=True).split("%")[0] == f"hello {theirs.link_local}"


def test_an_interface_is_what_its_link_says(lab: Lab) -> None:
    a = lab.host("a")
    link = a.connect(lab.segment("blue", network="10.9.5.0/28"), address="169.254.7.7/16")
    [shown] = json.loads(a.setup(f"ip -json addr show dev {link.name}"))
    assert shown["ifindex"] == link.index
    assert shown["address"] == link.hardware_address
    assert "LOWER_UP" in shown["flags"]
    found = {(each["local"], each["prefixlen"]) for each in shown["addr_info"]}
    assert found == {("169.254.7.7", 16), (str(link.link_local), 64)}
    assert {each.get("broadcast") for each in shown["addr_info"]} == {"169.254.255.255", None}


def test_an_interface_can_be_without_addresses(lab: Lab) -> None:
    a = lab.host("a")
    link = a.connect(lab.segment("blue"), families=())
    assert (link.interface.addresses, link.link_local) == ((), None)
    with pytest.raises(ArgumentError, match="eth0 of a has no IPv4 address"):
        link.address()
    [shown] = json.loads(a.setup(f"ip -json addr show dev {link.name}"))
    assert shown["addr_info"] == []


def test_addresses_are_given_out_in_order_and_once(lab: Lab) -> None:
    blue = lab.segment("blue", network="10.9.5.0/30")
    a = lab.host("a")
    links = [a.connect(blue, address="10.9.5.1"), a.connect(blue)]
    assert [str(link.address()) for link in links] == ["10.9.5.1", "10.9.5.2"]
    with pytest.raises(ArgumentError, match=r"all addresses of 10\.9\.5\.0/30 are taken on blue"):
        a.connect(blue)


def test_lo_is_up_unless_asked_otherwise(lab: Lab) -> None:
    up, down = lab.host("up"), lab.host("down", loopback=False)
    assert "127.0.0.1" in up.setup("ip addr show dev lo")
    assert "127.0.0.1" not in down.setup("ip addr show dev lo")


def test_default_routes(lab: Lab) -> None:
    a, blue = lab.host("a"), lab.segment("blue")
    link = a.connect(blue, unique_local="fd00::2/64")
    a.default_route(link.name)
    assert f"default dev {link.name}" in a.setup("ip route")
    a.default_route("10.9.1.200")
    assert f"default via 10.9.1.200 dev {link.name}" in a.setup("ip route")
    a.default_route("fd00::1")
    assert f"default via fd00::1 dev {link.name}" in a.setup("ip -6 route")


@writes_settings
def test_settings_of_the_host_are_set_and_those_of_the_machine_are_refused(lab: Lab) -> None:
    a = lab.host("a")
    name = "net/ipv4/igmp_max_memberships"
    machine = Path("/proc/sys", name).read_text()
    a.set_sysctl(name.replace("/", "."), 7)
    assert a.run(["cat", f"/proc/sys/{name}"]).stdout == "7\n"
    assert Path("/proc/sys", name).read_text() == machine
    for refused in ("kernel.hostname", "net.core.rmem_max", "net/ipv4/../../kernel/hostname"):
        with pytest.raises(ArgumentError, match="isn't a setting of a network namespace"):
            a.set_sysctl(refused, "x")


def test_labs_do_not_meet(lab: Lab) -> None:
    """Equal names and addresses in two labs at once, as when tests run in parallel."""
    with Lab(privileged=lab.privileged) as other:
        heard = []
        for each in (lab, other):
            blue, a, b = each.segment("blue"), each.host("a"), each.host("b")
            link = a.connect(blue)
            b.connect(blue)
            heard.append(exchange(a, link, b))
        assert heard == ["hello 10.9.1.1"] * 2
    assert lab.hosts[0].run(["echo", "alive"]).stdout == "alive\n"


# --- capabilities

BIND_TWICE = """
import errno, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(2):
    try:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
        print("ok")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


@pytest.mark.parametrize("capable", [None, True, False])
def test_commands_have_the_capabilities_that_were_asked_for(
    lab: Lab, capable: bool | None
) -> None:
    a = lab.host("a")
    expected = lab.privileged if capable is None else capable
    status = a.run(["cat", "/proc/self/status"], capable=capable).stdout
    effective = next(line for line in status.splitlines() if line.startswith("CapEff"))
    assert (int(effective.split()[1], 16) != 0) is expected
    # A second bind to an interface is what needs CAP_NET_RAW.
    second = "ok" if expected else "EPERM"
    assert a.python(BIND_TWICE, capable=capable).stdout.split() == ["ok", second]
    down = a.run(
        ["sh", "-c", "PATH=$PATH:/sbin ip link set lo down"], check=False, capable=capable
    )
    assert (down.returncode == 0) is expected


def test_a_command_without_capabilities_can_not_regain_them(lab: Lab) -> None:
    a = lab.host("a")
    regain = ["unshare", "--user", "--map-root-user", "sh", "-c"]
    tried = [*regain, "PATH=$PATH:/sbin ip link set lo down"]
    refused = a.run(tried, check=False, capable=False)
    assert "not permitted" in refused.stderr
    assert a.run(["id", "-u"], capable=False).stdout.strip() != "0"


def test_commands_read_this_bcast_and_write_where_the_tests_do(lab: Lab, tmp_path: Path) -> None:
    code = "import bcast, pathlib, sys; pathlib.Path(sys.argv[1]).write_text(bcast.__file__)"
    lab.host("a").python(code, str(tmp_path / "file"), cwd=tmp_path)
    assert (tmp_path / "file").read_text() == bcast.__file__


# --- commands


def test_run_feeds_stdin_and_adds_to_the_environment(lab: Lab) -> None:
    a = lab.host("a")
    done = a.run(["sh", "-c", 'cat; echo "$WORD" >&2'], input="fed ä\n", env={"WORD": "said"})
    assert (done.stdout, done.stderr, done.returncode) == ("fed ä\n", "said\n", 0)


def test_a_command_runs_in_the_folder_that_it_is_given(lab: Lab, tmp_path: Path) -> None:
    a = lab.host("a")
    script = tmp_path / "here"
    script.write_text("#!/bin/sh\npwd\n")
    script.chmod(0o755)
    assert a.run(["./here"], cwd=tmp_path).stdout == f"{tmp_path}\n"
    with a.start(["pwd"], cwd=tmp_path) as running:
        assert running.wait_for("/") == str(tmp_path)
    assert a.python("import os; print(os.getcwd())", cwd=tmp_path).stdout == f"{tmp_path}\n"
    with pytest.raises(LabError, match="on a there is no folder '/nowhere'"):
        a.run(["pwd"], cwd="/nowhere")


def test_a_command_may_have_the_callers_own_streams(
    lab: Lab, capfd: pytest.CaptureFixture[str]
) -> None:
    a = lab.host("a")
    assert a.attach(["sh", "-c", "echo said; echo more >&2; exit 7"]) == 7
    assert capfd.readouterr() == ("said\n", "more\n")
    assert a.attach(["sh", "-c", "kill -KILL $$"]) == -KILL
    with pytest.raises(LabError, match="on a there is no command 'nope'"):
        a.attach(["nope"])


@pytest.mark.parametrize("ignoring", ["", "trap '' TERM; "])
def test_an_attached_command_ends_with_the_wait_for_it(lab: Lab, ignoring: str) -> None:
    class EnoughError(Exception):
        pass

    def enough(*_: object) -> None:
        raise EnoughError

    if sys.platform == "win32":
        raise NotImplementedError
    a = lab.host("a")
    before = signal.signal(signal.SIGALRM, enough)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(EnoughError):
            a.attach(["sh", "-c", f"{ignoring}while :; do sleep 0.01; done"])
    finally:
        signal.signal(signal.SIGALRM, before)
    # What it ran itself ends in a moment.
    assert wait_until_gone(a.inhabitants()) == []


def test_a_thread_enters_a_host_for_a_block(lab: Lab) -> None:
    if sys.platform == "win32" or os.geteuid() != 0:
        pytest.skip("needs root")
    a, b = lab.host("a"), lab.host("b")
    a.connect(lab.segment("blue"))
    home = socket.if_nameindex()
    with a.entered():
        assert [name for _, name in socket.if_nameindex()] == ["lo", "eth0"]
        with b.entered():
            assert [name for _, name in socket.if_nameindex()] == ["lo"]
        kept = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    assert socket.if_nameindex() == home
    with kept:
        kept.bind(("10.9.1.1", 0))  # it is a's for ever
    with pytest.raises(ZeroDivisionError), a.entered():
        raise ZeroDivisionError
    assert socket.if_nameindex() == home


@pytest.mark.kernel("an ordinary user's lab")
def test_an_ordinary_user_is_told_what_to_do_instead_of_entering() -> None:
    code = """
from bcast.lab import Lab, LabError
with Lab() as lab:
    try:
        with lab.host("a").entered():
            print("entered")
    except LabError as error:
        print(error)
"""
    command = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]
    done = subprocess.run(
        [*command, sys.executable, "-c", code], capture_output=True, text=True, env=with_path()
    )
    assert done.stdout == (
        "this thread can't enter a: Operation not permitted: that takes root; use python() or"
        " start() to have a process there\n"
    ), done.stderr


def test_a_host_that_is_stopped_runs_nothing_and_may_run_again(lab: Lab) -> None:
    a, b = lab.host("a"), lab.host("b")
    link = a.connect(lab.segment("blue"))
    left, other = a.start_python(DAEMON), b.start(["sleep", "60"])
    pids = pids_of(left)
    a.stop()
    assert left.status == -KILL
    assert wait_until_gone(pids) == []
    assert other.status is None
    a.stop()
    assert link.name in a.run(["cat", "/proc/net/dev"]).stdout


def test_what_fails_is_said_in_a_sentence(lab: Lab) -> None:
    a = lab.host("a")
    with pytest.raises(LabError, match=r"on a there is no command 'nope'"):
        a.run(["nope"])
    with pytest.raises(LabError, match=r"on a there is no command 'nope'"):
        a.start(["nope"])
    failing = ["sh", "-c", "echo reason >&2; exit 3"]
    with pytest.raises(LabError, match=r"on a, sh -c .* ended with status 3: reason"):
        a.run(failing)
    assert a.run(failing, check=False).returncode == 3
    with pytest.raises(LabError, match=r"was killed by SIGTERM: it wrote nothing"):
        a.run(["sh", "-c", "kill $$"])
    with pytest.raises(LabError, match=r'Cannot find device "eth7"'):
        a.setup("ip link set eth7 up")
    with pytest.raises(ArgumentError, match=r"'300\.1\.1\.1/24' isn't an IPv4 address"):
        a.connect(lab.segment("blue"), address="300.1.1.1")
    with pytest.raises(ArgumentError, match=r"10\.9\.1\.0/33 is no IPv4 network"):
        lab.segment("green", network="10.9.1.0/33")
    with pytest.raises(ArgumentError, match="there is a host a already"):
        lab.host("a")


def test_a_namespace_that_fails_leaves_the_lab_usable(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lan, "_FORGET_MACHINE", "echo two >&2; echo lines; false")
    with pytest.raises(LabError, match=r"refuses a network namespace \(two lines\)"):
        lab.host("a")
    monkeypatch.undo()
    assert lab.host("a").run(["echo", "fine"]).stdout == "fine\n"


def test_run_kills_what_takes_too_long(lab: Lab) -> None:
    a = lab.host("a")
    child = "read -r pid rest </proc/self/stat; echo begun $pid; exec sleep 60"
    script = f"sh -c '{child}' & exec sleep 60"
    with pytest.raises(LabError, match=r"was still running after 0\.3 s: it wrote: begun") as info:
        a.run(["sh", "-c", script], timeout=0.3)
    assert wait_until_gone([int(info.value.advice.split()[-1])]) == []


def test_wait_for_returns_each_line_once_from_either_stream(lab: Lab) -> None:
    script = "echo one 1; echo two 1 >&2; echo one 2; exec sleep 60"
    with lab.host("a").start(["sh", "-c", script]) as running:
        assert [running.wait_for("one"), running.wait_for("one")] == ["one 1", "one 2"]
        assert running.wait_for("two") == "two 1"
        with pytest.raises(LabError, match=r"wrote no 'one' within 0\.05 s; it wrote: "):
            running.wait_for("one", timeout=0.05)
        assert (running.output(), running.errors()) == ("one 1\none 2\n", "two 1\n")
        assert running.status is None


def test_wait_for_does_not_wait_for_what_has_ended(lab: Lab) -> None:
    running = lab.host("a").start(["sh", "-c", "echo bye; exit 4"])
    with pytest.raises(LabError, match="wrote no 'hello' before it ended; it wrote: bye"):
        running.wait_for("hello", timeout=60.0)
    assert running.wait() == 4
    running.terminate()  # what has ended can be ended again
    with pytest.raises(LabError, match="is no longer running"):
        _ = running.pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_may_end_in_its_own_way(lab: Lab, number: signal.Signals) -> None:
    script = (
        f"trap 'echo ending; exit 5' {number.name[3:]}; echo ready; while :; do sleep 0.01; done"
    )
    running = lab.host("a").start(["sh", "-c", script])
    running.wait_for("ready")
    end = running.terminate if number is signal.SIGTERM else running.interrupt
    assert end() == 5
    assert running.output() == "ready\nending\n"


def test_a_command_that_ignores_its_end_is_killed(lab: Lab) -> None:
    running = lab.host("a").start(["sh", "-c", "trap '' TERM; echo ready; exec sleep 60"])
    running.wait_for("ready")
    pid = running.pid
    with pytest.raises(LabError, match=r"didn't end within 0\.1 s of SIGTERM, and was killed"):
        running.terminate(timeout=0.1)
    assert running.status == -9
    assert gone(pid)


# --- what is left behind

#: Leaves a daemon in a session of its own, then stays too. Prints their process ids (those that
#: the machine's /proc shows).
DAEMON = r"""
import os, time
def tell():
    os.write(1, b"pid %s\n" % open("/proc/self/stat", "rb").read().split()[0])
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        tell()
        time.sleep(60)
    os._exit(0)
os.wait()
tell()
time.sleep(60)
"""


def pids_of(running: Running) -> list[int]:
    """The process ids that a running `DAEMON` prints."""
    return [int(running.wait_for("pid").split()[1]) for _ in range(2)]


def test_the_end_of_a_lab_kills_everything_in_it(lab: Lab) -> None:
    with Lab(privileged=lab.privileged) as other:
        a = other.host("a")
        a.connect(other.segment("blue"))
        pids = [a.pid, other.segments[0].pid, *pids_of(a.start_python(DAEMON))]
        assert not any(gone(pid) for pid in pids)
    assert all(gone(pid) for pid in pids), "close returned before they were gone"
    other.close()  # closing twice is harmless
    with pytest.raises(LabError, match="a lab can be opened once"):
        other.open()
    with pytest.raises(LabError, match="the lab isn't open"):
        a.run(["true"])


def test_the_end_of_a_lab_does_not_wait_for_what_is_stopped(lab: Lab) -> None:
    if sys.platform == "win32":
        raise NotImplementedError
    began = time.monotonic()
    with Lab(privileged=lab.privileged) as other:
        stopped = other.host("a").start(["sleep", "60"])
        stopped.send_signal(signal.SIGSTOP)
        pid = stopped.pid
        wait_until_stopped(pid)
    assert gone(pid)
    assert time.monotonic() - began < 3.0


@pytest.mark.parametrize("stopped", [False, True])
def test_kill_minus_nine_leaves_nothing_behind(lab: Lab, stopped: bool) -> None:
    code = f"""
import signal, time
from bcast.lab import Lab
from tests import test_lab
with Lab(privileged={lab.privileged}) as made:
    a = made.host("a")
    a.connect(made.segment("blue"))
    running = a.start_python(test_lab.DAEMON)
    pids = test_lab.pids_of(running)
    if {stopped}:
        running.send_signal(signal.SIGSTOP)
        test_lab.wait_until_stopped(running.pid)
        test_lab.wait_until_stopped(test_lab.parent_of(running.pid))  # nsenter
    print(a.pid, made.segments[0].pid, made.pid, *pids, flush=True)
    time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=with_path()
    ) as process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        running = [pid for pid in pids if not gone(pid)]
        process.kill()
    assert len(running) == 5
    assert wait_until_gone(pids) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_leave_nothing_behind(lab: Lab, number: signal.Signals) -> None:
    code = f"""
from bcast.lab import Lab
from tests import test_lab
with Lab(privileged={lab.privileged}) as made:
    a = made.host("a")
    pids = test_lab.pids_of(a.start_python(test_lab.DAEMON))
    print(a.pid, made.pid, *pids, flush=True)
    a.run(["sleep", "60"], timeout=100)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=with_path(),
    ) as process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert [pid for pid in pids if gone(pid)] == []
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
    assert len(pids) == 4
    assert wait_until_gone(pids) == []
    assert process.returncode == -number
    assert "KeyboardInterrupt" in errors if number is signal.SIGINT else errors == ""


def test_an_exception_leaves_nothing_behind(lab: Lab) -> None:
    pids = []

    def fail() -> None:
        with Lab(privileged=lab.privileged) as other:
            pids.extend(pids_of(other.host("a").start_python(DAEMON)))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


def test_a_lab_is_quick(lab: Lab) -> None:
    started = time.perf_counter()
    with Lab(privileged=lab.privileged) as other:
        blue = other.segment("blue")
        for name in "abc":
            other.host(name).connect(blue)
        up = time.perf_counter()
    down = time.perf_counter()
    print(f"3 hosts: up in {1000 * (up - started):.0f} ms, down in {1000 * (down - up):.0f} ms")
    assert up - started < 1.5
    assert down - up < 0.5


# --- where no lab can be made


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(system, "SYSTEM_FOLDERS", ())
    with pytest.raises(LabError, match="there is no command unshare: install util-linux"):
        Lab().open()


def test_a_privileged_lab_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="a privileged lab needs root"):
        Lab(privileged=True).open()


def test_a_lab_in_a_lab_is_refused(lab: Lab) -> None:
    # It would look up its processes in the /proc of the machine, and end others or none.
    code = "from bcast.lab import lab_unavailable; print(lab_unavailable())"
    said = lab.host("a").python(code).stdout
    assert said.startswith("/proc is that of another process namespace: ")


@writes_settings
@pytest.mark.kernel
def test_the_setting_that_forbids_user_namespaces_is_named() -> None:
    """In a user namespace with that setting, which is one of each user namespace."""
    code = "from bcast.lab import lab_unavailable; print(lab_unavailable())"
    script = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'
    inside = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]
    done = subprocess.run(
        [*inside, sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=with_path(),
        check=True,
    )
    assert "the system refuses to make namespaces (unshare: " in done.stdout
    assert "user.max_user_namespaces is 0; as root, sysctl -w user.max_user" in done.stdout


@pytest.mark.kernel("the program in docs/lab.md")
def test_the_documented_program_runs() -> None:
    document = Path(__file__).parent.parent / "docs" / "lab.md"
    if not document.exists():
        pytest.skip("docs/lab.md isn't here")
    program, output = re.findall(r"^```\w*\n(.*?)^```$", document.read_text(), re.S | re.M)[:2]
    if shutil.which("ping") is None:
        program = program.replace('"ping", ', '"false", ')
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        env=with_path(),
    )
    assert (done.stdout, done.stderr) == (output, "")


# --- the configuration of the tests

INNER = """
import pytest

@pytest.mark.kernel
def test_skipped():
    pytest.skip("no kernel today")

def test_in_a_lab(lab):
    assert lab.host("a").run(["echo", "x"]).stdout == "x\\n"
"""
LEAK = """
import atexit, subprocess

def test_leak():
    process = subprocess.Popen(["sleep", "60"])
    atexit.register(process.wait)
    atexit.register(process.kill)
"""


def pytest_inside(
    folder: Path, code: str, *, require: str, before: tuple[str, ...] = ()
) -> tuple[int, str]:
    """Exit status and output of pytest on one file with this configuration."""
    shutil.copy(Path(__file__).parent / "conftest.py", folder)
    (folder / "test_inner.py").write_text(code)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = kernel(reason): x\n")
    command = [*before, sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider"]
    path = os.pathsep.join([str(Path(bcast.__file__).parent.parent), *sys.path])
    env = {**os.environ, "BCAST_REQUIRE_KERNEL": require, "PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env)
    return done.returncode, done.stdout


def test_a_skip_is_a_failure_where_the_kernel_is_required(tmp_path: Path) -> None:
    status, output = pytest_inside(tmp_path, INNER, require="1")
    assert status == 1
    assert "FAILED test_inner.py::test_skipped" in output
    assert "BCAST_REQUIRE_KERNEL is set, but this test was not run. Skipped: no kernel" in output


def test_a_skip_is_a_skip_elsewhere_but_a_process_left_behind_is_an_error(tmp_path: Path) -> None:
    status, output = pytest_inside(tmp_path, INNER + LEAK, require="0")
    assert status == 1
    assert "SKIPPED [1] test_inner.py:6: no kernel today" in output
    assert "the tests left processes running: ['sleep 60']" in output


@pytest.mark.kernel
def test_an_ordinary_user_runs_the_unprivileged_variant_alone(tmp_path: Path) -> None:
    if reason := lab_unavailable(False):
        pytest.skip(reason)
    before = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
    code = INNER.replace('pytest.skip("no kernel today")', "pass")
    status, output = pytest_inside(tmp_path, code, require="1", before=before)
    assert status == 0, output
    assert "PASSED test_inner.py::test_in_a_lab[unprivileged]" in output
    assert ": needs root" in output


def test_a_stopped_command_can_be_killed(lab: Lab) -> None:
    # nsenter stops itself when its child is stopped, and then doesn't see it die.
    if sys.platform == "win32":
        raise NotImplementedError
    running = lab.host("stopped").start(["sleep", "60"])
    child = running.pid
    os.kill(child, signal.SIGSTOP)
    time.sleep(0.1)
    running.kill()
    assert wait_until_gone([child]) == []
