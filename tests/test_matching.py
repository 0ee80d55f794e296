from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.device import Device, Sighting
from bcast.errors import ArgumentError
from bcast.matching import Matcher, exactly
from tests.strategies import devices

LAMP = Device(
    "00ff" * 8,
    "lamp-1",
    "_lamp",
    80,
    {"fw": "1.4", "room": "", "name": "shadow", "a=b": "c"},
    (
        Sighting("eth0", 2, IPv4Address("10.9.1.7"), 40_000),
        Sighting("wlan0", 3, IPv6Address("fe80::7%wlan0"), 40_001),
    ),
)


@pytest.mark.parametrize(
    "condition",
    [
        "name=lamp-1",
        "name=lamp-*",
        "name=lamp-?",
        "name=lamp-[0-9]",
        "name=*",
        "type=_lamp",
        "id=00ff*",
        "protocol=bcast",
        "address=10.9.1.7",
        "address=10.*",
        "address=fe80::7%wlan0",
        "interface=eth0",
        "interface=wlan*",
        "fw=1.4",
        "fw=1.*",
        "room=",
        "room=*",
    ],
)
def test_what_matches(condition: str) -> None:
    assert Matcher([condition])(LAMP)


@pytest.mark.parametrize(
    "condition",
    [
        "name=lamp",  # the whole value
        "name=amp-1",
        "name=LAMP-1",
        "name=shadow",  # an attribute doesn't take the place of what has that name
        "type=",
        "id=ff*",
        "protocol=mdns",
        "address=10.9.1",
        "interface=eth1",
        "fw=1",
        "serial=*",  # it has none
        "port=80",
    ],
)
def test_what_does_not(condition: str) -> None:
    assert not Matcher([condition])(LAMP)


def test_all_must_hold() -> None:
    assert Matcher([])(LAMP)
    assert Matcher(["name=lamp-*", "fw=1.4"])(LAMP)
    assert not Matcher(["name=lamp-*", "fw=1.5"])(LAMP)
    assert not Matcher(["name=plug-*", "fw=1.4"])(LAMP)
    # Only the first equals sign parts key and glob.
    assert Matcher(["fw=*", "a=*"])(LAMP) is False
    assert Matcher(["x=1=2"])(Device("", "", "", 0, {"x": "1=2"}))


@pytest.mark.parametrize("condition", ["", "name", "=lamp", "lamp-*"])
def test_what_is_no_condition_is_said(condition: str) -> None:
    with pytest.raises(ArgumentError, match=r"write KEY=GLOB"):
        Matcher([condition])


@given(devices(), st.data())
def test_a_device_matches_what_it_is(device: Device, data: st.DataObject) -> None:
    keys = {"name": device.name, "type": device.type, "id": device.id}
    own = {"name", "type", "id", "protocol", "address", "interface"}
    plain = {k: v for k, v in device.attributes.items() if "=" not in k and k not in own}
    key, value = data.draw(st.sampled_from(sorted((keys | plain).items())))
    meant = Matcher([f"{key}={exactly(value)}"])
    assert meant(device)
    assert meant.unmet(device) == ()
    assert not Matcher([f"{key}={exactly(value)}?"])(device)


def test_what_is_not_as_it_is_meant_is_said() -> None:
    meant = Matcher(["name=lamp-*", "type=_plug", "serial=7", "interface=eth1"])
    assert meant.unmet(LAMP) == (
        "type is _lamp, not _plug",
        "serial isn't there, let alone 7",
        "interface is eth0 and wlan0, not eth1",
    )
