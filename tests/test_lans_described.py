"""Fake accessories of described protocols: the same on each kind of LAN, and each switch."""

from __future__ import annotations

import pickle
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import bcast
from bcast.accessory.catalogue import load_named
from bcast.accessory.description import Decoded
from bcast.accessory.forms import ROLES
from bcast.accessory.loading import load
from bcast.device import Cause
from bcast.errors import ArgumentError, PortTakenError
from bcast.lans import (
    ExpectationError,
    LabLan,
    Lan,
    LoopbackLan,
    SimulatedLan,
    TargetLan,
    UnsupportedError,
)
from bcast.lans.described import Spoken
from bcast.lans.loopback import TURN
from tests.command import PATIENCE
from tests.fakes import Fake, form
from tests.loopback import nothing_leaks

KINDS: dict[str, Callable[[], Lan]] = {
    "sim": SimulatedLan,
    "loopback": LoopbackLan,
    "lab": LabLan,
}

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="uses all of 127.0.0.0/8")

FINDER = """
import bcast
for device in bcast.discover(protocols="kasa", timeout=5, expect=1):
    print(device.name, device.sightings[0].interface)
"""

MINE = """
name = "mine"
title = "Made up"
port = 40404

[[probe]]
text = "who?"

[[reply]]
text = "{id~own.id} {name~nobody}"
"""


@pytest.fixture(
    params=[
        "sim",
        pytest.param("loopback", marks=ON_LINUX),
        pytest.param("lab", marks=pytest.mark.kernel),
    ]
)
def lan(request: pytest.FixtureRequest) -> Iterator[Lan]:
    """Each kind that there is."""
    with KINDS[request.param]() as made:
        yield made


@pytest.fixture
def sim() -> Iterator[SimulatedLan]:
    with SimulatedLan(networks=2) as made:
        yield made


@contextmanager
def turn() -> Iterator[None]:
    """No other process plays anything on the loopback interface, other runs of these tests too."""
    TURN.take()
    try:
        yield
    finally:
        TURN.give_back()


def said(lan: Lan, protocol: str, name: str) -> list[bytes]:
    """The messages of that name that the observer heard, each as often as it was heard."""
    description = load_named(protocol)
    found = []
    for datagram in lan.journal.datagrams:
        decoded = description.decode(datagram.payload, roles=ROLES)
        if isinstance(decoded, Decoded) and decoded.form.name == name:
            found.append(datagram.payload)
    return found


# --- the same on each


def test_kasa(lan: Lan) -> None:
    lamp = lan.accessory("lamp-1", "_lamp")
    plug = lan.accessory("kasa", name="Desk", model="HS100(EU)")
    found = lan.expect_device(plug, within=2, on=lan.networks[0])
    assert (found.id, found.name, found.protocols) == (plug.id, "Desk", ("kasa",))
    assert found.attributes["model"] == "HS100(EU)"
    assert lan.expect_device([f"address={plug.host.address()}", "protocol=kasa"]).id == plug.id
    # Native ones are in the same list.
    assert lan.expect_device(lamp).protocols == ("bcast",)
    plug.change(name="Shelf")
    assert lan.expect_change(plug, "name").name == "Shelf"
    plug.restart()
    assert lan.expect_device(plug).name == "Shelf"
    # Who comes later is found as fast.
    began = lan.now
    other = lan.accessory("kasa", silent=True)
    lan.expect_no_device(other, during=0.1)
    other.switch(silent=False)
    assert lan.expect_device(other).id == other.id != plug.id
    assert lan.now - began < 2
    assert said(lan, "kasa", "sysinfo")
    assert "kasa reply sysinfo 'Shelf'" in lan.timeline


def test_ssdp(lan: Lan) -> None:
    lan.expect_no_device("protocol=ssdp", during=0.01)
    server = lan.accessory("ssdp", values={"location": "http://media/description.xml"}, slow=0.01)
    found = lan.expect_device(server)
    assert found.attributes["location"] == "http://media/description.xml"
    server.leave()
    assert lan.expect_goodbye(server).id == server.id
    lan.expect_no_device(server, during=0.05)
    heard = b"".join(said(lan, "ssdp", "alive") + said(lan, "ssdp", "byebye"))
    assert server.id.encode() in heard


def test_knx(lan: Lan) -> None:
    # The reply goes to the address that the probe says.
    gateway = lan.accessory(
        "knx", name="Hall", values={"area": 2, "service": [2], "service_version": [1]}
    )
    found = lan.expect_device(gateway)
    assert (found.name, found.attributes["area"], found.port) == ("Hall", "2", 3671)


def test_lifx(lan: Lan) -> None:
    # The name is told to who asks that lamp alone.
    lamp = lan.accessory("lifx", name="Kitchen")
    found = lan.expect_device(lamp)
    assert (found.id, found.name) == (lamp.id, "Kitchen")


def test_a_description_of_ones_own(lan: Lan, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    mine = lan.accessory(str(path), name="me")
    assert lan.expect_device(mine).name == "me"


# --- programs under test


@ON_LINUX
def test_a_program_finds_it_on_loopback_and_is_found() -> None:
    with nothing_leaks(), LoopbackLan() as lan:
        plug = lan.accessory("kasa", name="Desk")
        found = bcast.discover(protocols="kasa", timeout=0.5, **lan.settings)
        # What else is tested on this machine has the same ports.
        assert [d.name for d in found if d.id == plug.id] == ["Desk"]
        lan.search("lifx")
        lan.expect_no_device("name=my lamp", during=0.05)
        with bcast.Impersonator("lifx", values={"name": "my lamp"}, interfaces="lo"):
            assert lan.expect_device("name=my lamp").protocols == ("lifx",)


@pytest.mark.kernel
def test_a_command_on_a_host_of_the_lab_finds_it() -> None:
    with LabLan() as lan:
        lan.accessory("kasa", name="Desk")
        bcast = {"PYTHONPATH": str(Path(__file__).parent.parent)}
        done = lan.host("phone").run([sys.executable, "-c", FINDER], env=bcast, timeout=PATIENCE)
        assert done.stdout == "Desk eth0\n"


def test_another_process_reads_the_file(tmp_path: Path) -> None:
    kasa = pickle.loads(pickle.dumps(Spoken(load_named("kasa"))))
    assert kasa.description.name == "kasa"
    with pytest.raises(ArgumentError, match=r"mine is in no file, so .*process can read"):
        pickle.dumps(Spoken(load(MINE, file="made up")))


@ON_LINUX
@pytest.mark.parametrize("port", [20002, 20004])
def test_without_one_of_its_ports_it_does_not_start(port: int) -> None:
    with turn(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", port))
        with (
            nothing_leaks(),
            LoopbackLan() as lan,
            pytest.raises(PortTakenError, match=f"tapo: lo: UDP port {port} is taken"),
        ):
            lan.accessory("tapo")


@ON_LINUX
def test_a_real_device_is_known_by_what_it_speaks() -> None:
    with (
        turn(),
        bcast.Impersonator("knx", values={"name": "real"}, interfaces="lo"),
        TargetLan("127.0.0.1", interfaces=["lo"]) as lan,
    ):
        gateway = lan.accessory("knx", name="of no importance")
        assert lan.expect_device(gateway).name == "real"
        assert gateway.id == lan.expect_device("name=real").id
        for attempt in (
            gateway.restart,
            lambda: gateway.change(name="x"),
            lambda: lan.accessory("knx", count=2),
            lambda: lan.accessory("knx", silent=True),
        ):
            with pytest.raises(UnsupportedError, match="a real device can't be"):
                attempt()


# --- switches, and what happens to it


def test_slow(sim: SimulatedLan) -> None:
    plug = sim.accessory("kasa", slow=0.4)
    sim.expect_no_device(plug, during=0.39)
    sim.expect_device(plug, within=0.05)


def test_twice(sim: SimulatedLan) -> None:
    gateways = [sim.accessory("knx", twice=twice) for twice in (True, False)]
    for gateway in gateways:
        sim.expect_device(gateway)
    sim.wait(2)
    replies = said(sim, "knx", "found")
    often, once = (
        sum(bytes.fromhex(gateway.id.replace(":", "")) in reply for reply in replies)
        for gateway in gateways
    )
    assert often == 2 * once > 0


@pytest.mark.parametrize("protocol", ["kasa", "knx", "lifx", "ssdp", "wsd", "zre"])
def test_malformed(sim: SimulatedLan, protocol: str) -> None:
    broken = sim.accessory(protocol, malformed=True)
    with pytest.raises(ExpectationError, match=f"bytes that are no message of {protocol}"):
        sim.expect_device(f"protocol={protocol}")
    broken.switch(malformed=False)
    sim.expect_device(broken, within=60)


@pytest.mark.parametrize("given", [{}, {"id": "4d696e69-444c-164e-9d41-0200007700aa"}])
def test_wrong_id(sim: SimulatedLan, given: dict[str, str]) -> None:
    server = sim.accessory("ssdp", wrong_id=True, values=given)
    sim.wait(2)
    ids = {device.id for device in sim.devices}
    assert len(ids) == 2
    assert server.id in ids
    assert all(server.id.encode() in one for one in said(sim, "ssdp", "alive"))
    assert not any(server.id.encode() in one for one in said(sim, "ssdp", "found"))


@pytest.mark.parametrize("protocol", ["artnet", "bacnet", "knx", "lifx"])
def test_wrong_id_of_those_that_only_reply(sim: SimulatedLan, protocol: str) -> None:
    wrong = sim.accessory(protocol, wrong_id=True)
    assert sim.expect_device(f"protocol={protocol}").id != wrong.id
    wrong.switch(wrong_id=False)
    sim.expect_device(wrong)


def test_forgets_its_goodbye(sim: SimulatedLan) -> None:
    server = sim.accessory("ssdp", forgets_goodbye=True)
    sim.expect_device(server)
    server.leave()
    with pytest.raises(ExpectationError):
        sim.expect_goodbye(server)
    sim.expect_removal(server, cause=Cause.SILENCE, within=3600)


@pytest.mark.parametrize("end", ["crash", "leave"])
def test_a_silent_end_is_noticed_by_silence(sim: SimulatedLan, end: str) -> None:
    plug = sim.accessory("kasa")
    sim.expect_device(plug)
    getattr(plug, end)()
    assert sim.expect_removal(plug, cause=Cause.SILENCE, within=300).id == plug.id


def test_it_is_the_same_wherever_it_roams_and_after_a_restart(sim: SimulatedLan) -> None:
    plug = sim.accessory("kasa", name="Desk")
    sim.expect_device(plug, on="eth0")
    plug.roam("eth1")
    assert sim.expect_device(plug, on="eth1").id == plug.id
    plug.restart()
    plug.change(name="Shelf")
    assert sim.expect_change(plug, "name").id == plug.id


def test_a_change_that_nobody_announces_is_asked_for(sim: SimulatedLan) -> None:
    plug = sim.accessory("kasa", name="Desk")
    sim.expect_device(plug)
    sim.wait(5)
    plug.change(name="Shelf")
    assert sim.expect_change(plug, "name", within=1).name == "Shelf"


def test_what_is_there_already_is_not_waited_for(sim: SimulatedLan) -> None:
    plug = sim.accessory("kasa", name="Desk")
    sim.expect_device(plug)
    sim.wait(5)
    began = sim.now
    plug.change(name="Shelf")
    sim.wait(60)
    sim.expect_change(plug, "name")
    assert sim.now == began + 60


def test_several_on_one_host(sim: SimulatedLan) -> None:
    lamps = sim.accessory("lifx", count=3, name="Lamp", id="d0:73:d5:00:00:09")
    sim.expect_device(lamps)
    sim.wait(2)
    assert {d.id for d in sim.devices} == {f"d0:73:d5:00:00:{n}" for n in ("09", "10", "11")}
    assert {str(d.sightings[0].address) for d in sim.devices} == {str(lamps.host.address())}


def test_the_same_seed_makes_the_same_accessory() -> None:
    ids = []
    for seed in (1, 1, 2):
        with SimulatedLan(seed=seed) as lan:
            ids.append(lan.expect_device(lan.accessory("lifx")).id)
    assert ids[0] == ids[1] != ids[2]


def test_two_protocols_of_one_host_are_one_device(sim: SimulatedLan) -> None:
    hub = sim.host("hub")
    hub.announce(bcast.Service("hub", "_hub"))
    sim.expect_device("type=_hub")
    hub.impersonate(load_named("knx"), values={"name": "bus"})
    both = sim.expect_change("name=hub", "protocols")
    assert both.protocols == ("bcast", "knx")
    assert len(sim.devices) == 1


# --- what can't be


def test_a_name_with_a_type_is_a_native_accessory(sim: SimulatedLan) -> None:
    for one in (sim.accessory("kasa", "_lamp"), sim.accessory("nothing-that-is-known")):
        assert sim.expect_device(one).protocols == ("bcast",)


def unusable() -> Fake:
    made = Fake(form("probe", "ask"))
    made.needs = "AES is missing: pip install 'bcast[aes]'"
    return made


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda lan: lan.accessory("lifx", nmae="x"), "lifx has no value called 'nmae'.*'name'"),
        (lambda lan: lan.accessory("kasa", slient=True), "'slient' is no switch.*mean 'silent'"),
        (lambda lan: lan.accessory("kasa", slow="much"), "slow='much' can't be set: use seconds"),
        (lambda lan: lan.accessory("kasa", forgets_goodbye=True), "kasa has no goodbye to forget"),
        (lambda lan: lan.accessory("coap", wrong_id=True), "coap has no ids, let alone wrong"),
        (lambda lan: lan.accessory("zre", wrong_id=True), "zre has no replies, let alone wrong"),
        (lambda lan: lan.accessory("kasa", attributes={}), "kasa has no attributes: give what it"),
        (lambda lan: lan.accessory("kasa", count=0), "can't stand in for 0 accessories"),
        (lambda lan: lan.accessory("lifx", name="x" * 33), "lifx: label can't be written"),
        (lambda lan: lan.accessory("knx", id="?"), "knx: found can't be written"),
        (lambda lan: lan.accessory("kasa").change(mac="x"), "kasa: .* can't be written"),
        (lambda lan: lan.accessory("kasa").switch(forgets_goodbye=True), "no goodbye to forget"),
        (lambda lan: lan.accessory("kassa", count=2), "'kassa' is no protocol"),
        (lambda lan: lan.accessory("./nosuch.toml"), "can't read nosuch.toml"),
        (lambda lan: lan.accessory(unusable()), "AES is missing: pip install"),
        (lambda lan: lan.search("kassa"), "'kassa' is no protocol: see bcast protocols"),
        (lambda lan: lan.expect_restart(lan.accessory("kasa")), "kasa doesn't tell that"),
    ],
)
def test_what_cannot_be_is_a_sentence(
    sim: SimulatedLan, wrong: Callable[[Lan], object], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        wrong(sim)
