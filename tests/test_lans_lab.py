"""LANs of the real kernel: networks, commands on hosts, and that nothing is left of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import pytest

from bcast.errors import ArgumentError, BcastError, InterfaceError, LabError
from bcast.lans import ExpectationError, LabLan, LoopbackLan, SimulatedLan, UnsupportedError
from bcast.lans.agent import Line, Ready
from bcast.messages import Service
from tests.command import PATIENCE, environment, eventually
from tests.loopback import nothing_leaks

pytestmark = pytest.mark.kernel

LAMP = Service("lamp-1", "_lamp", 80)

FINDER = """
import sys, bcast
for device in bcast.discover("_lamp", realm=sys.argv[1], timeout=5, expect=1):
    print(device.name, device.sightings[0].interface)
"""


@pytest.fixture
def lan() -> Iterator[LabLan]:
    with LabLan(networks=2) as made:
        yield made


def test_a_command_on_a_host_finds_the_accessory(lan: LabLan) -> None:
    lan.accessory(LAMP)
    phone = lan.host("phone")
    bcast = {"PYTHONPATH": str(Path(__file__).parent.parent)}
    done = phone.run([sys.executable, "-c", FINDER, lan.realm], env=bcast)
    assert done.stdout == "lamp-1 eth0\n"
    running = phone.start(["cat", "/proc/net/dev"])
    assert running.wait() == 0
    assert "eth0" in running.output()
    assert "phone runs " in lan.timeline
    assert "phone starts cat" in lan.timeline


def test_what_is_noted_down_at_the_very_beginning_is_heard(lan: LabLan) -> None:
    lan.search("wiz")
    lan.expect_no_device("protocol=wiz", during=0.1)
    timeline = lan.timeline
    assert timeline.count("  is there\n") == 2
    assert timeline.count("asked 255.255.255.255:38899: wiz probe") == 2


def test_what_is_said_at_once_is_received_at_once() -> None:
    ours, theirs = map(Line, socket.socketpair())
    ours.send(("search", ()))
    ours.send([b"x" * 100_000])
    said = theirs.receive()
    while len(said) < 2:
        said += theirs.receive()
    assert said == [("search", ()), [b"x" * 100_000]]
    ours.send(Ready())
    ours.send(())
    assert theirs.receive() == [Ready(), ()]
    ours.close()
    with pytest.raises(EOFError):
        theirs.receive()
    theirs.close()


def test_a_command_that_does_not_exist_is_a_sentence(lan: LabLan) -> None:
    phone = lan.host("phone")
    for attempt in (phone.run, phone.start):
        with pytest.raises(LabError, match="on phone there is no command 'nosuch'"):
            attempt(["nosuch"])
    with pytest.raises(LabError, match="there is no command ''"):
        phone.run([])


def test_other_lans_have_no_hosts_for_commands() -> None:
    for made in (SimulatedLan(), LoopbackLan()):
        with made, pytest.raises(UnsupportedError, match="phone is no host that runs commands"):
            made.host("phone").run(["true"])
        with made, pytest.raises(UnsupportedError, match="use the lab for that"):
            made.host("phone").start(["true"])


def test_what_roams_is_heard_elsewhere(lan: LabLan) -> None:
    lamp = lan.accessory(LAMP)
    lan.expect_device(lamp, on="eth0")
    lamp.roam("eth1")
    there = lan.expect_device(lamp, on="eth1", within=10)
    lamp.roam("eth0")
    lan.expect_device(lamp, on="eth0", within=10)
    assert there.id == lamp.id


def test_an_interface_of_another_host_goes_down(lan: LabLan) -> None:
    lamp = lan.accessory(LAMP, silent=True)
    with lan.down("eth0", host=lamp.host):
        lamp.switch(silent=False)
        lan.expect_no_device(lamp, during=0.5)
    lan.expect_device(lamp)


def test_what_died_comes_back(lan: LabLan) -> None:
    lamp = lan.accessory(LAMP)
    lan.expect_device(lamp)
    lamp.crash()
    lamp.leave()
    lamp.crash()
    lamp.restart()
    lan.expect_restart(lamp)


def test_nothing_is_left_behind() -> None:
    with nothing_leaks():
        with LabLan() as lan:
            lan.expect_device(lan.accessory(LAMP))
            began = perf_counter()
        assert perf_counter() - began < 5
        lan.close()
    with nothing_leaks(), pytest.raises(ExpectationError), LabLan() as lan:
        lan.expect_device(lan.accessory(LAMP, silent=True), within=0.05)


KILLED = """
import os, sys
from bcast.lans import LabLan
with LabLan() as lan:
    lan.expect_device(lan.accessory("lamp"))
    print(lan.lab.pid, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_nothing_is_left_when_it_is_killed(tmp_path: Path, name: str) -> None:
    env = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), **environment()}
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert os.path.exists(f"/proc/{pid}")
        process.send_signal(signal.Signals[name])
        process.wait(PATIENCE)
        # It is the first process of its namespace: when it is gone, all others are.
        eventually(lambda: not os.path.exists(f"/proc/{pid}"))
    assert list(tmp_path.iterdir()) == []


def test_who_ends_what_runs_on_a_host_is_told(lan: LabLan) -> None:
    lamp = lan.accessory(LAMP)
    lan.expect_device(lamp)
    place = lan.lab.hosts[-1]
    assert place.name == lamp.host.name
    place.stop()
    with pytest.raises(LabError, match=f"what ran on {place.name} was ended"):
        lan.wait(20)


def test_what_a_machine_cannot_do_is_raised_here(
    lan: LabLan, monkeypatch: pytest.MonkeyPatch
) -> None:
    lan.expect_device(lan.accessory(LAMP))
    plug = lan.accessory("plug")
    plug._running.tell("offer", 7)
    with pytest.raises(RuntimeError, match=r"what runs on plug failed:(?s:.)*Error"):
        lan.wait(20)
    monkeypatch.setattr("bcast.lab.Host.connect", lambda self, segment: None)
    with pytest.raises(InterfaceError, match="no usable interface"):
        lan.accessory("lonely")


def test_faults_that_the_kernel_does_not_have_are_the_kinds_affair(
    lan: LabLan, monkeypatch: pytest.MonkeyPatch
) -> None:
    lan.accessory(LAMP)
    monkeypatch.setattr("bcast.lab.segment.has_tool", lambda name: False)
    with pytest.raises(UnsupportedError, match="install nftables"), lan.loss(0.5):
        pass
    with pytest.raises(UnsupportedError, match="can't be kept apart"), lan.partition("lamp-1"):
        pass


@pytest.mark.parametrize("networks", [0, 101])
def test_networks_that_cannot_be(networks: int) -> None:
    with pytest.raises(ArgumentError, match=f"LAN of {networks} networks"):
        LabLan(networks=networks)


def test_a_lab_that_cannot_be_had_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bcast.lab.holder.tool", lambda name: "/bin/false")
    with nothing_leaks(), pytest.raises(BcastError, match="refuses to make namespaces"):
        LabLan()
