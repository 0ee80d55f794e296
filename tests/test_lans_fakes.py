"""Fake accessories: each switch does what it says, and what a search makes of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bcast.device import Cause
from bcast.lans import ExpectationError, SimulatedLan
from bcast.lans.fakes import Switches
from bcast.messages import Announcement, Goodbye, Message, Reply, Service
from bcast.wire import decode

LAMP = Service("lamp-1", "_lamp", 80)


@pytest.fixture
def lan() -> Iterator[SimulatedLan]:
    with SimulatedLan() as made:
        yield made


def heard(lan: SimulatedLan, kind: type[Message]) -> list[bytes]:
    """The datagrams of a kind that the observer heard."""
    return [d.payload for d in lan.journal.datagrams if isinstance(decode(d.payload), kind)]


def test_an_honest_one_is_as_any_other(lan: SimulatedLan) -> None:
    lamp = lan.accessory(LAMP)
    assert lan.expect_device(lamp).id == lamp.id
    lan.wait(10)
    assert len(heard(lan, Announcement)) == 3
    assert len(heard(lan, Reply)) == 1
    lamp.leave()
    lan.expect_goodbye(lamp)
    assert len(heard(lan, Goodbye)) == 3


def test_silent(lan: SimulatedLan) -> None:
    lamp = lan.accessory(LAMP, silent=True)
    lan.expect_no_device(lamp, during=60)
    lamp.switch(silent=False)
    lan.expect_device(lamp)
    lamp.switch(silent=True)
    lan.expect_removal(lamp, cause=Cause.SILENCE, within=300)


def test_slow(lan: SimulatedLan) -> None:
    lamp = lan.accessory(LAMP, slow=0.4)
    lan.expect_no_device(lamp, during=0.39)
    assert lan.expect_device(lamp, within=0.05).sightings[0].latency == pytest.approx(0.4, 0.01)


def test_twice(lan: SimulatedLan) -> None:
    lamp = lan.accessory(LAMP, twice=True)
    lan.expect_device(lamp)
    lan.wait(10)
    first, second = heard(lan, Reply)
    assert first == second
    assert len(heard(lan, Announcement)) == 3
    assert [device.name for device in lan.devices] == ["lamp-1"]


def test_wrong_id(lan: SimulatedLan) -> None:
    lamp = lan.accessory(LAMP, wrong_id=True)
    assert lan.expect_device(lamp).id != lamp.id
    lan.wait(1)
    announced = {decode(one).header.id.hex() for one in heard(lan, Announcement)}
    assert announced == {lamp.id}


def test_malformed(lan: SimulatedLan) -> None:
    lamp = lan.accessory(LAMP, malformed=True)
    with pytest.raises(ExpectationError, match=r"bytes that are no message \(\S+\)"):
        lan.expect_device(lamp)
    lamp.switch(malformed=False)
    lan.expect_device(lamp)


def test_forgets_its_goodbye(lan: SimulatedLan) -> None:
    lamp = lan.accessory(LAMP, forgets_goodbye=True)
    lan.expect_device(lamp)
    lamp.leave()
    with pytest.raises(ExpectationError):
        lan.expect_goodbye(lamp)
    assert heard(lan, Goodbye) == []
    lan.expect_removal(lamp, cause=Cause.SILENCE, within=300)


def test_it_changes_what_it_offers(lan: SimulatedLan) -> None:
    lamp = lan.accessory(LAMP)
    lan.expect_device(lamp)
    lamp.change(name="lamp-2", attributes={"on": "1"})
    changed = lan.expect_change(lamp, "name", "attributes")
    assert (changed.name, changed.port, changed.attributes) == ("lamp-2", 80, {"on": "1"})
    assert lamp.service == Service("lamp-2", "_lamp", 80, {"on": "1"})


def test_it_restarts_as_what_it_was_last(lan: SimulatedLan) -> None:
    lamp = lan.accessory(LAMP, twice=True)
    lan.expect_device(lamp)
    lamp.change(port=81)
    lamp.switch(slow=0.1)
    lamp.restart()
    assert lan.expect_restart(lamp).port == 81
    assert lamp.switches == Switches(slow=0.1, twice=True)
