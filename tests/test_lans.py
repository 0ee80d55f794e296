"""The same short script on each kind of LAN, and what expectations say when they aren't met."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bcast.capture import CaptureReader
from bcast.device import Cause, Device
from bcast.errors import ArgumentError
from bcast.lans import (
    ExpectationError,
    LabLan,
    Lan,
    LoopbackLan,
    SimulatedLan,
    UnsupportedError,
)
from bcast.messages import Service

LAMP = Service("lamp-1", "_lamp", 80, {"fw": "1.4"})


KINDS: dict[str, Callable[[], Lan]] = {
    "sim": SimulatedLan,
    "loopback": LoopbackLan,
    "lab": LabLan,
}


@pytest.fixture(params=["sim", "loopback", pytest.param("lab", marks=pytest.mark.kernel)])
def lan(request: pytest.FixtureRequest) -> Iterator[Lan]:
    """Each kind that there is."""
    with KINDS[request.param]() as made:
        yield made


@pytest.fixture
def sim() -> Iterator[SimulatedLan]:
    with SimulatedLan(networks=2) as made:
        yield made


# --- the same on each


def test_a_short_script(lan: Lan) -> None:
    lamp = lan.host("lamp").announce(LAMP, interval=1)
    found = lan.expect_device(lamp, within=1, on=lan.networks[0])
    assert (found.id, found.attributes) == (lamp.id, LAMP.attributes)
    assert {s.interface for s in found.sightings} == {lan.networks[0]}
    # Of two families either may be heard first.
    assert lan.expect_device(["type=_lamp", f"address={lamp.host.address()}"]).id == lamp.id
    lan.expect_no_device("type=_plug", during=0.02)
    # Who comes later is found as fast.
    began = lan.now
    plug = lan.accessory("plug", "_plug")
    assert lan.expect_device(plug).name == "plug"
    assert lan.now - began < 1
    lamp.change(attributes={"fw": "1.5"})
    assert lan.expect_change(lamp, "attributes").attributes == {"fw": "1.5"}
    lamp.leave()
    assert lan.expect_goodbye(lamp).name == "lamp-1"
    lan.expect_no_device(lamp, during=0.02)
    assert [device.name for device in lan.devices] == ["plug"]


def test_faults_end_with_their_blocks(lan: Lan) -> None:
    lamp, plug = lan.accessory(LAMP), lan.accessory("plug")
    # One within the other: between two blocks in a row real time goes by.
    with lan.partition(lan.observer, [lamp]):
        with lan.loss(1.0):
            lan.expect_no_device(during=0.05)
        assert lan.expect_device().name == "plug"
        with lan.partition(lamp), lan.loss(0.2):
            lan.expect_no_device(lamp, during=0.05)
        lan.expect_no_device(lamp, during=0.05)
    lan.expect_device(lamp)
    with lan.down(lan.networks[0]):
        assert lan.expect_removal(lamp).name == "lamp-1"
        lan.expect_removal(plug, cause=Cause.PATH)
        lan.expect_no_device(during=0.05)
    lan.expect_device(lamp)
    lan.expect_device(plug)


def test_a_block_that_fails_ends_its_fault_too(lan: Lan) -> None:
    lamp = lan.accessory(LAMP)
    with pytest.raises(ExpectationError), lan.loss(1.0):
        lan.expect_device(lamp, within=0.01)
    lan.expect_device(lamp)


def test_what_restarts_is_the_same_device(lan: Lan) -> None:
    lamp = lan.accessory(LAMP)
    first = lan.expect_device(lamp)
    lamp.restart()
    assert lan.expect_restart(lamp).id == first.id


def test_what_was_heard_is_captured(lan: Lan, tmp_path: Path) -> None:
    lan.expect_device(lan.accessory(LAMP))
    count = lan.capture(tmp_path / "heard.pcapng")
    with CaptureReader(tmp_path / "heard.pcapng") as reader:
        found = list(reader)
    assert len(found) == count > 0
    assert any(b"lamp-1" in datagram.payload for datagram in found)
    assert {datagram.interface.name for datagram in found} == {lan.networks[0]}


def test_a_silent_death_is_noticed_by_silence(sim: SimulatedLan) -> None:
    for number in range(3):
        lamp = sim.accessory(f"lamp-{number}", "_lamp")
        sim.expect_device(lamp)
    lamp.crash()
    assert sim.expect_removal(lamp, cause=Cause.SILENCE, within=300).name == "lamp-2"
    assert sim.now > 90


# --- on several networks


def test_a_device_is_expected_on_an_interface(sim: SimulatedLan) -> None:
    lamp = sim.accessory(LAMP, on="eth1")
    sim.expect_device(lamp, on="eth1")
    sim.expect_no_device(lamp, on="eth0", during=1)
    with pytest.raises(ExpectationError, match=r"it was heard on eth1, not wlan\*"):
        sim.expect_device(lamp, on="wlan*", within=1)
    both = sim.host("hub", on=["eth0", "eth1"]).announce(Service("hub", "_hub"))
    sim.expect_device(both, on="eth0")
    there = sim.expect_device(both, on="eth1")
    places = [both.host.address(network) for network in ("eth0", "eth1")]
    assert sorted(s.address for s in there.sightings) == places
    with pytest.raises(ArgumentError, match="lamp-1 isn't on 'eth0': use one of eth1"):
        lamp.host.address("eth0")


def test_what_roams_is_heard_elsewhere(sim: SimulatedLan) -> None:
    lamp = sim.accessory(LAMP)
    sim.expect_device(lamp, on="eth0")
    lamp.roam("eth1")
    there = sim.expect_device(lamp, on="eth1")
    # The old sighting goes when nobody answers there any more.
    sim.expect_change(lamp, "sightings", within=300)
    lamp.roam("eth0")
    sim.expect_device(lamp, on="eth0", within=300)
    assert there.id == lamp.id


def test_an_interface_of_another_host_goes_down(sim: SimulatedLan) -> None:
    lamp = sim.accessory(LAMP)
    sim.expect_device(lamp)
    with sim.down("eth0", host=lamp.host):
        sim.expect_removal(lamp, cause=Cause.SILENCE, within=300)
    sim.expect_device(lamp)


# --- what isn't met


def test_the_timeline_says_what_was_heard_instead(lan: Lan) -> None:
    lan.accessory(LAMP)
    lan.expect_device()
    with pytest.raises(ExpectationError) as caught:
        lan.expect_device(["type=_lamp", "fw=2"], within=0.05)
    said = str(caught.value).splitlines()
    assert said[0] == "no device with type=_lamp and fw=2 was there within 0.05 s"
    assert said[1] == "'lamp-1' _lamp came nearest: fw is 1.4, not 2"
    assert said[2].startswith(f"timeline of the {lan.label}")
    timeline = "\n".join(said)
    assert "added 'lamp-1' _lamp" in timeline
    assert "reply 'lamp-1' _lamp" in timeline[timeline.index(f"\n{lan.networks[0]}\n") :]


def test_events_before_the_last_expectation_do_not_count(sim: SimulatedLan) -> None:
    lamp = sim.accessory(LAMP)
    lamp_seen = sim.expect_device(lamp)
    lamp.change(port=81)
    sim.wait(1)
    assert sim.expect_change(lamp, "port").port == 81
    with pytest.raises(ExpectationError, match=r"changed \(port\) within 1 s"):
        sim.expect_change(lamp, "port", within=1)
    with pytest.raises(ExpectationError, match=r"changed \(name\)"):
        sim.expect_change(lamp, "name", within=1)
    with pytest.raises(ExpectationError, match=r"was gone \(goodbye\)"):
        sim.expect_goodbye(lamp, within=1)
    with pytest.raises(ExpectationError, match="restarted"):
        sim.expect_restart(lamp, within=1)
    with pytest.raises(ExpectationError, match="is there: 'lamp-1' _lamp"):
        sim.expect_no_device(lamp, during=1)
    assert lamp_seen.port == 80


def is_new(device: Device) -> bool:
    return device.attributes.get("fw", "") >= "2"


def test_a_function_may_say_what_is_expected(sim: SimulatedLan) -> None:
    lamp = sim.accessory(LAMP)
    with pytest.raises(ExpectationError, match=r"that is_new accepts.*\n.*doesn't accept it"):
        sim.expect_device(is_new, within=1)
    lamp.change(attributes={"fw": "2.0"})
    assert sim.expect_device(is_new).attributes["fw"] == "2.0"
    assert sim.expect_device(Service("lamp-1", "_lamp", 80, {"fw": "2.0"}))


def test_a_service_is_expected_with_its_attributes(sim: SimulatedLan) -> None:
    attributes = {"name": "shadow", "a=b": "[c]"}
    sim.accessory("lamp-1", "_lamp", attributes=attributes)
    assert sim.expect_device(Service("lamp-1", "_lamp", 80, attributes))
    with pytest.raises(ExpectationError, match=r"nearest: name is shadow, not x, on isn't there"):
        sim.expect_device(Service("lamp-1", "_lamp", 80, {"name": "x", "on": "1"}), within=1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda lan: lan.accessory("lamp", slient=True), "'slient' is no switch.*silent, slow"),
        (lambda lan: lan.accessory("lamp", slow=-1), r"slow=-1 can't be set: use seconds"),
        (lambda lan: lan.accessory("lamp", twice=2), r"twice=2 can't be set: use True or False"),
        (lambda lan: lan.host("lamp").announce(), "without a service"),
        (lambda lan: lan.accessory("lamp", on="eth7"), "no network 'eth7': use one of eth0, eth1"),
        (lambda lan: lan.accessory("lamp").roam("eth7"), "no network 'eth7'"),
        (lambda lan: (lan.host("a"), lan.host("a", on="eth1")), "a host a already, on eth0"),
        (lambda lan: lan.down("eth7").__enter__(), "observer has no interface 'eth7'"),
        (lambda lan: lan.loss(2).__enter__(), "2 is no chance"),
        (lambda lan: lan.partition("nobody").__enter__(), "no host 'nobody': use one of observer"),
        (lambda lan: lan.partition("observer", "observer").__enter__(), "on two sides"),
        (lambda lan: lan.expect_device("lamp"), "'lamp' is no condition"),
        (lambda lan: lan.expect_device(7), "7 says nothing about a device"),
        (lambda lan: lan.expect_device(within=-1), "can't wait for -1 s"),
        (lambda lan: lan.expect_change((), "colour"), "no 'colour' can change: use name"),
        (lambda lan: lan.wait(float("inf")), "can't wait for inf s"),
        (lambda lan: SimulatedLan(networks=0), "LAN of 0 networks"),
    ],
)
def test_what_cannot_be_is_a_sentence(
    sim: SimulatedLan, wrong: Callable[[Lan], object], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        wrong(sim)


def test_the_loopback_interface_is_one_network() -> None:
    with pytest.raises(UnsupportedError, match="one network, not 2: use the simulated LAN"):
        LoopbackLan(networks=2)
    with LoopbackLan() as lan, pytest.raises(UnsupportedError, match="lo is the only network"):
        lan.accessory(LAMP).roam("lo")
