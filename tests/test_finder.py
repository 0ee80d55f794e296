"""Finding accessories, and standing in for them: both machines on a simulated LAN."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import partial
from ipaddress import IPv4Address
from random import Random
from typing import Any, Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.accessory.catalogue import load_named, names
from bcast.accessory.description import Description
from bcast.accessory.template import Value
from bcast.datagram import Datagram, Endpoint, Family, Group
from bcast.device import Added, Cause, Changed, DeviceEvent, Removed, Suspect
from bcast.discovery.rejection import Rejection
from bcast.errors import ArgumentError
from bcast.foreign.asking import PERIOD
from bcast.foreign.casting import Cast
from bcast.foreign.doors import asking_doors, other_ports, playing_doors
from bcast.foreign.ends import End
from bcast.foreign.finder import Finder
from bcast.foreign.mimic import Mimic
from bcast.machine import Attached, Door, Doorway, Received
from bcast.simnet import Host, Lan, Process
from tests.fakes import Fake, form
from tests.machines import ETH

ASK = form("probe", "ask", "_token", sources={"_token": "random"}, repeat=(3, 0.5))
TELL = form(
    "reply", "tell", "_token id name", sources={"_token": "probe._token"}, answers=("ask",)
)
HERE = form("announcement", "here", "id name", every=5.0)
GONE = form("goodbye", "gone", "id")
PLUG = Fake(ASK, TELL, id="02:00:00:00:00:01", name="plug")
BEACON = Fake(HERE, GONE, port=5670, protocol="beacon", id="02:00:00:00:00:02")


class Hear(Protocol):
    """Makes a machine hear a payload."""

    def __call__(self, payload: bytes, source: str = ...) -> None: ...


class Room:
    """A simulated LAN with a searcher, and accessories."""

    def __init__(self, *, loss: float = 0.0) -> None:
        self.lan = Lan(1)
        self.segment = self.lan.segment(loss=loss)
        self.machines: list[Mimic] = []
        self.seen = 0

    def host(self, name: str, address: str | None = None) -> Host:
        host = self.lan.host(name)
        host.connect(self.segment, address)
        return host

    def search(self, *protocols: Fake, watch: bool = True, **more: Any) -> Finder:
        finder = Finder(protocols, random=Random(1), watch=watch, **more)
        self.searching: Process[DeviceEvent] = self.host("searcher").run(
            finder, doors=finder.doors
        )
        return finder

    def play(self, protocol: Fake, number: int = 1, **given: Value) -> Process[object]:
        mimic = Mimic(protocol, given, number=number, random=Random(3))
        self.machines.append(mimic)
        host = self.host(f"accessory-{len(self.machines)}")
        process: Process[object] = host.run(mimic, doors=mimic.doors)
        return process

    def run(self, until: float) -> list[tuple[float, DeviceEvent]]:
        """What happened on the way."""
        self.lan.run(until)
        new = self.searching.events[self.seen :]
        self.seen += len(new)
        return new


def kinds(events: Iterable[tuple[float, DeviceEvent]]) -> list[str]:
    return [type(event).__name__ for _, event in events]


# -- asking and answering -------------------------------------------------------------------------


def test_who_is_asked_is_found_at_once() -> None:
    room = Room()
    room.play(PLUG)
    finder = room.search(PLUG, watch=False)
    [(time, added)] = room.run(2.0)
    assert isinstance(added, Added)
    assert time < 0.01
    [device] = finder.devices
    assert (device.id, device.name, device.protocols) == ("02:00:00:00:00:01", "plug", ("fake",))
    [sighting] = device.sightings
    assert sighting.protocol == "fake"
    assert sighting.port == 9999, "it answers from where it was asked"
    assert sighting.latency == pytest.approx(time, abs=0.0002)
    assert finder.quiet
    # Three times the same question: a device has answered one search.
    assert finder.statistics.probes == 3
    assert finder.statistics.replies == 3
    assert device.probes_answered == 1


def test_many_accessories_of_one_machine_are_found_without_a_miss() -> None:
    room = Room()
    room.play(PLUG, number=100)
    finder = room.search(PLUG, watch=False)
    room.run(1.0)
    assert len(finder.devices) == 100
    assert len({device.name for device in finder.devices}) == 100


def test_repeated_probes_make_up_for_loss() -> None:
    room = Room(loss=0.3)
    for number in range(20):
        room.play(PLUG, id=f"02:00:00:00:01:{number:02x}")
    finder = room.search(PLUG)
    room.run(2 * PERIOD)
    assert len(finder.devices) == 20


def test_a_reply_to_somebody_else_is_none_of_ours() -> None:
    finder, hear = alone(PLUG)
    [question, *_] = finder.datagrams_to_send(0.0)
    hear(reply(_token=1, id="a", name="forged"))
    assert not finder.devices
    assert finder.statistics.rejected == {Rejection.MISFIT: 1}
    token = token_of(question.payload)
    hear(reply(_token=token, id="a", name="right"))
    assert [device.name for device in finder.devices] == ["right"]


def test_probes_are_never_devices() -> None:
    finder, hear = alone(PLUG)
    [question, *_] = finder.datagrams_to_send(0.0)
    hear(question.payload)
    assert not finder.devices
    assert finder.statistics.rejected == {}


def test_only_hosts_on_the_link_are_heard() -> None:
    finder, hear = alone(BEACON)
    hear(announcement(id="a", name="n"), source="192.0.2.1")
    hear(announcement(id="b", name="n"))
    assert [device.id for device in finder.devices] == ["b"]
    assert finder.statistics.rejected == {Rejection.OFF_LINK: 1}


def test_a_flood_of_made_up_devices_is_bounded() -> None:
    finder, hear = alone(BEACON, max_devices=50)
    for number in range(200):
        hear(announcement(id=str(number), name="n"))
    assert len(finder.devices) == 50
    assert finder.statistics.rejected == {Rejection.FULL: 150}
    for number in range(1, 200):
        hear(announcement(id="0", name="n"), source=f"10.0.2.{number}")
    [device] = [device for device in finder.devices if device.id == "0"]
    assert len(device.sightings) == 16


# -- joining --------------------------------------------------------------------------------------

VERSION = form("reply", "version", "firmware", answers=("ask",))


def test_what_names_nobody_belongs_to_who_is_known_there() -> None:
    protocol = Fake(ASK._replace(template=form("probe", "ask").template), VERSION, HERE)
    finder, hear = alone(protocol)
    hear(json_of("fake", "version", firmware="1.0"))
    assert not finder.devices
    hear(json_of("fake", "here", id="a", name="lamp"))
    [device] = finder.devices
    assert dict(device.attributes) == {"firmware": "1.0"}
    hear(json_of("fake", "version", firmware="1.1"))
    [device] = finder.devices
    assert dict(device.attributes) == {"firmware": "1.1"}
    # Of two, nobody can tell which is meant.
    hear(json_of("fake", "here", id="b", name="lamp"))
    hear(json_of("fake", "version", firmware="1.2"))
    assert {one.attributes.get("firmware") for one in finder.devices} == {"1.1", None}
    assert finder.statistics.rejected == {Rejection.CLAIM: 1}


def test_what_one_device_tells_in_several_datagrams_is_collected() -> None:
    protocol = Fake(form("announcement", "here", "id target"), collect=("target",))
    finder, hear = alone(protocol)
    for target in ("root", "uuid:1", "root"):
        hear(json_of("fake", "here", id="a", target=target))
    [device] = finder.devices
    assert device.attributes == {"target": "root, uuid:1"}


def test_follow_ups_are_sent_until_they_are_answered() -> None:
    label = form(
        "probe",
        "label",
        "_token _target",
        to="device",
        sources={"_token": "random", "_target": "device.id"},
        after="tell",
    )
    named = form(
        "reply",
        "named",
        "_token id label",
        sources={"_token": "probe._token"},
        answers=("label",),
        only_if={"_target": ("{id}",)},
    )
    protocol = Fake(ASK, TELL, label, named, id="02:00:00:00:00:01", name="lamp", label="Kitchen")
    room = Room()
    room.play(protocol, number=3)
    finder = room.search(protocol, watch=False)
    room.run(5.0)
    assert [device.attributes for device in finder.devices] == [{"label": "Kitchen"}] * 3
    # One question each is enough where nothing is lost.
    assert finder.statistics.probes == 3 + 3
    finder, hear = alone(protocol)
    [question, *_] = finder.datagrams_to_send(0.0)
    token = token_of(question.payload)
    hear(reply(_token=token, id="a", name="silent"))
    asked = 0
    while (timer := finder.get_timer()) is not None and timer < PERIOD:
        finder.handle_timer(timer)
        asked += sum(b'"label"' in one.payload for one in finder.datagrams_to_send(timer))
    assert asked == 3


# -- presence -------------------------------------------------------------------------------------


def test_who_announces_itself_is_there_until_it_says_goodbye() -> None:
    room = Room()
    room.search(BEACON)
    process = room.play(BEACON, name="radio")
    [(_, added)] = room.run(60.0)
    assert isinstance(added, Added)
    mimic = room.machines[0]
    process.call(mimic.leave)
    [(time, removed)] = room.run(61.0)
    assert isinstance(removed, Removed)
    assert removed.cause is Cause.GOODBYE
    assert time == pytest.approx(60.0, abs=0.01)
    assert mimic.finished
    assert mimic.statistics.goodbyes == 3


def test_who_no_longer_announces_itself_is_gone() -> None:
    room = Room()
    room.search(BEACON)
    process = room.play(BEACON, name="radio")
    room.run(60.0)
    process.stop()
    [(time, removed)] = room.run(120.0)
    assert isinstance(removed, Removed)
    assert removed.cause is Cause.SILENCE
    assert 60 + 2.5 * 5.0 < time < 60 + 5 * 5.0


def test_who_no_longer_answers_is_suspected_and_then_gone() -> None:
    room = Room()
    room.search(PLUG)
    process = room.play(PLUG)
    # It came too late for the first search, but not for the next one.
    assert kinds(room.run(PERIOD + 1)) == ["Added"]
    process.stop()
    events = room.run(6 * PERIOD)
    assert kinds(events) == ["Suspect", "Removed"]
    [(suspected, _), (removed, _)] = events
    assert suspected > 3 * PERIOD
    assert 1.0 < removed - suspected < 10.0


def test_a_suspect_that_answers_was_never_gone() -> None:
    room = Room()
    room.search(PLUG)
    process = room.play(PLUG)
    room.run(1.0)
    link = process.host.links[0]
    link.down()
    room.run(3.5 * PERIOD)
    link.up()
    events = [event for _, event in room.run(8 * PERIOD)]
    assert not any(isinstance(event, Removed) for event in events) or kinds(
        (0.0, event) for event in events
    ) == ["Suspect", "Removed", "Added"]


def test_an_interface_that_goes_takes_its_devices_along() -> None:
    room = Room()
    room.play(PLUG)
    finder = room.search(PLUG)
    room.run(1.0)
    link = room.searching.host.links[0]
    link.down()
    [(_, removed)] = room.run(2.0)
    assert isinstance(removed, Removed)
    assert removed.cause is Cause.PATH
    link.up()
    assert kinds(room.run(3.0)) == ["Added"]
    assert len(finder.devices) == 1


def test_changes_are_told() -> None:
    finder, hear = alone(BEACON)
    hear(announcement(id="a", name="one"))
    hear(announcement(id="a", name="one"))
    hear(announcement(id="a", name="two"))
    hear(announcement(id="a", name="two"), source="10.0.2.9")
    events: list[DeviceEvent] = []
    while (event := finder.next_event()) is not None:
        events.append(event)
    assert [type(event) for event in events] == [Added, Changed, Changed]
    assert [event.changed for event in events if isinstance(event, Changed)] == [
        ("name",),
        ("sightings",),
    ]
    assert not any(isinstance(event, Suspect) for event in events)


# -- standing in ----------------------------------------------------------------------------------


def test_an_answer_waits_as_long_as_the_protocol_says() -> None:
    late = Fake(ASK, TELL._replace(delay=(1.0, 2.0)), id="a", name="n")
    room = Room()
    room.play(late)
    room.search(late, watch=False)
    [(time, _)] = room.run(5.0)
    assert 1.0 < time < 2.01


def test_an_address_in_a_probe_is_answered_only_on_the_link() -> None:
    ask = form("probe", "ask", "_address", sources={"_address": "own.address"})
    tell = form("reply", "tell", "id", to="payload", answers=("ask",))
    tell = tell._replace(to=tell.to._replace(address="_address"))
    protocol = Fake(ask, tell, id="a")
    room = Room()
    room.play(protocol)
    room.search(protocol, watch=False)
    assert kinds(room.run(1.0)) == ["Added"]
    mimic = room.machines[0]
    link = room.segment
    assert link is not None
    sender = room.lan.host("forger").connect(room.segment)
    sender.transmit(
        Endpoint(sender.address(), 4000),
        Endpoint(IPv4Address("255.255.255.255"), 9999),
        json_of("fake", "ask", _address="192.0.2.1"),
        1,
    )
    room.lan.run(2.0)
    assert mimic.statistics.rejected == {Rejection.OFF_LINK: 1}


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("kasa", {"mac": "x"}, "kasa: sysinfo can't be written: 'x' isn't a hardware address"),
        ("tuya", {"active": "no"}, "tuya: encrypted can't be written: 'no' isn't an integer"),
        ("lifx", {"name": "n" * 33}, "lifx: label can't be written: .* there is room for 32"),
        ("lifx", {"colour": 1}, "lifx has no value called 'colour': it has id, name, port,"),
        ("kasa", {"port": 80}, "kasa has no value called 'port': it has feature, firmware, "),
        ("wiz", {"type": "x"}, "wiz has no value called 'type': it has env, firmware, id, m"),
    ],
)
def test_what_could_never_be_said_is_refused_at_once(
    name: str, given: dict[str, str], sentence: str
) -> None:
    description = load_named(name)
    if description.needs:
        pytest.skip(description.needs)
    with pytest.raises(ArgumentError, match=sentence):
        Mimic(description, given, random=Random(1))
    mimic = Mimic(description, {}, random=Random(1))
    with pytest.raises(ArgumentError, match=sentence):
        mimic.change(given, 1.0)


def test_a_flood_of_probes_is_not_answered_for_ever() -> None:
    mimic = Mimic(PLUG, {}, random=Random(1))
    mimic.interfaces_changed(attached(mimic.doors), 0.0)
    question = json_of("fake", "ask", _token=1)
    for number in range(2_000):
        mimic.receive_datagrams(
            Received(ETH, [datagram(question, source=f"10.0.2.{number % 200 + 1}")]), 0.0
        )
    assert len(mimic.datagrams_to_send(0.0)) == 500
    assert mimic.statistics.rejected[Rejection.RATE] == 1_500


def test_doors() -> None:
    group = Group(IPv4Address("239.255.255.250"))
    ssdp = Fake(
        form("probe", "search", to="group"),
        form("reply", "found"),
        form("announcement", "alive", to="group"),
        port=1900,
        group="239.255.255.250",
    )
    assert asking_doors([ssdp]) == (Door(0), Door(1900, (group,), sends=False))
    assert playing_doors(ssdp) == (Door(1900, (group,)),)
    govee = Fake(
        form("probe", "scan", to="group", source_port=4002),
        form("reply", "found", port=4002),
        port=4001,
        group="239.255.255.250",
    )
    assert asking_doors([govee]) == (Door(4002),)
    assert playing_doors(govee) == (Door(4001, (group,)),)
    flux = Fake(form("probe", "scan", prefer=48899), form("reply", "found"), port=48899)
    assert asking_doors([flux]) == (Door(48899, or_any=True),)
    tuya = Fake(form("announcement", "here", ports=(6666, 6667)), port=6666)
    assert asking_doors([tuya]) == (Door(6666, sends=False), Door(6667, sends=False))
    assert playing_doors(tuya) == (Door(0),)
    assert [other_ports(one) for one in (ssdp, govee, tuya)] == [[], [4002], [6667]]
    bacnet = Fake(
        form("probe", "who", source_port=47808), form("reply", "i", to="broadcast"), port=47808
    )
    assert asking_doors([bacnet]) == (Door(47808),)


# -- whatever comes -------------------------------------------------------------------------------

CATALOGUE = [one for one in map(load_named, names()) if not one.needs]
SAMPLES = [(one, sample.payload) for one in CATALOGUE for sample in one.samples]


@given(st.sampled_from(SAMPLES), st.data())
def test_no_datagram_does_any_harm(sample: tuple[Description, bytes], data: st.DataObject) -> None:
    """Real ones with something wrong, to whoever searches and whoever is searched."""
    description, payload = sample
    changed = bytearray(payload)
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(changed) - 1))
        changed[place] = data.draw(st.integers(0, 255))
    del changed[data.draw(st.integers(1, len(changed))) :]
    finder = Finder([description], random=Random(1))
    mimic = Mimic(description, {}, number=2, random=Random(1))
    now = 0.0
    for machine in (finder, mimic):
        machine.interfaces_changed(attached(machine.doors), 0.0)
        for door in machine.doors:
            one = datagram(bytes(changed), to=door.port or 40_000)
            machine.receive_datagrams(Received(ETH, [one]), now)
        for _ in range(20):
            machine.datagrams_to_send(now)
            if (timer := machine.get_timer()) is None or timer > 10.0:
                break
            now = max(now, timer)
            machine.handle_timer(now)
    assert len(finder.devices) <= 1


# -- by hand --------------------------------------------------------------------------------------


def json_of(protocol: str, message: str, **values: Value) -> bytes:
    return json.dumps([protocol, message, values]).encode()


def token_of(payload: bytes) -> int:
    token: int = json.loads(payload)[2]["_token"]
    return token


def reply(**values: Value) -> bytes:
    return json_of("fake", "tell", **values)


def announcement(**values: Value) -> bytes:
    return json_of("beacon", "here", **values)


def datagram(payload: bytes, source: str = "10.0.2.7", to: int = 9999) -> Datagram:
    return Datagram(
        payload,
        Endpoint(IPv4Address(source), 9999),
        Endpoint(IPv4Address("10.0.2.1"), to),
        ETH,
        0,
        64,
    )


def attached(doors: Sequence[Door]) -> list[Attached]:
    ways = tuple(Doorway(door.port, Family.IPV4, door.port or 40_000) for door in doors)
    return [Attached(ETH, (Family.IPV4,), 512, ways)]


def alone(protocol: Fake, **more: Any) -> tuple[Finder, Hear]:
    """A searcher on eth2, and what makes it hear something by its first door."""
    finder = Finder([protocol], random=Random(1), **more)
    finder.interfaces_changed(attached(finder.doors), 0.0)
    port = finder.doors[0].port or 40_000

    def hear(payload: bytes, source: str = "10.0.2.7") -> None:
        finder.receive_datagrams(Received(ETH, [datagram(payload, source, port)]), 0.0)

    return finder, hear


# -- told in the meantime -------------------------------------------------------------------------


def test_what_changes_is_announced_and_found_by_whoever_asks_again() -> None:
    room = Room()
    playing, beacon = room.play(PLUG), room.play(BEACON, name="radio")
    finder = room.search(PLUG, BEACON)
    room.run(4.0)
    for process, mimic in zip((playing, beacon), room.machines, strict=True):
        process.call(partial(mimic.change, {"name": "other"}))
    # The one announces itself, the other waits to be asked.
    [(_, changed)] = room.run(6.0)
    assert isinstance(changed, Changed)
    assert (changed.device.name, changed.device.protocols) == ("other", ("beacon",))
    room.searching.call(finder.search)
    [(time, changed)] = room.run(PERIOD)
    assert isinstance(changed, Changed)
    assert changed.device.protocols == ("fake",)
    assert time < 6.01
    with pytest.raises(ArgumentError, match="no value called 'colour'"):
        room.machines[0].change({"colour": "red"}, 7.0)


def test_a_hardware_address_says_who_it_is_wherever_it_is() -> None:
    ids = []
    for own in ("02:00:00:00:0a:01", "02:00:00:00:0a:01", ""):
        cast = Cast(load_named("lifx"), {}, number=2, hardware_address=own, random=Random(1))
        end = End(attached(())[0])
        ids.append([part.values["id"] for part in cast.parts([end], end)])
    assert ids[0] == ids[1] == ["02:00:00:00:0a:01", "02:00:00:00:0a:02"]
    assert ids[2] != ids[0]
