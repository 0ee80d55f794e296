"""The same expectations of a device that isn't ours: here another LAN's, on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from bcast.errors import InterfaceError
from bcast.lans import ExpectationError, LoopbackLan, TargetLan, UnsupportedError

LanPair = tuple[LoopbackLan, Callable[[str], TargetLan]]


@pytest.fixture
def lans() -> Iterator[LanPair]:
    """A LAN with a lamp and a plug, and how to look for one of them."""
    with LoopbackLan() as made:
        made.accessory("real-lamp", "_lamp")
        made.accessory("real-plug", "_plug")
        yield made, lambda target: TargetLan(target, interfaces=["lo"], domain=made.domain)


@pytest.mark.parametrize(("target", "name"), [("127.0.0.2", "real-lamp"), ("lo", "real-lamp")])
def test_the_device_is_found_by_its_type(lans: LanPair, target: str, name: str) -> None:
    with lans[1](target) as lan:
        lamp = lan.accessory("lamp-1", "_lamp")
        found = lan.expect_device(lamp, on="lo")
        assert (found.name, found.id) == (name, lamp.id)


def test_who_is_elsewhere_is_not_meant(lans: LanPair) -> None:
    with lans[1]("127.0.0.3") as lan:
        assert lan.expect_device(lan.accessory("any")).name == "real-plug"
        with pytest.raises(ExpectationError, match=r"real-.* came nearest"):
            lan.expect_device(lan.accessory("lamp", "_lamp"), within=0.1)
        with lan.loss(1.0):
            lan.expect_device(lan.accessory("any"))


def test_it_cannot_be_told_what_to_do(lans: LanPair) -> None:
    with lans[1]("127.0.0.2") as lan:
        lamp = lan.accessory("lamp-1", "_lamp")
        refused: list[Callable[[], object]] = [
            lamp.leave,
            lamp.crash,
            lamp.restart,
            lambda: lamp.change(port=81),
            lambda: lamp.switch(silent=True),
            lambda: lamp.roam("lo"),
            lambda: lan.accessory("slow", slow=1),
            lambda: lan.host("other"),
            lamp.host.address,
            lambda: lan.partition(lan.observer, lamp).__enter__(),
            lambda: lan.down("lo", lamp.host).__enter__(),
        ]
        for refuse in refused:
            with pytest.raises(UnsupportedError, match="a real device can't"):
                refuse()


def test_an_interface_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(InterfaceError, match="no interface matches 'eth77'"):
        TargetLan("eth77")
