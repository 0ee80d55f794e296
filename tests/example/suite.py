"""Tests of the app and of the lamp, which run on any machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import finder
import pytest
from lamp import Lamp

import bcast
from bcast.lans import Announced, Lan


@pytest.mark.bcast(needs="loopback")
def test_the_app_finds_a_lamp(lan: Lan, accessory: Callable[..., Announced]) -> None:
    accessory("lamp-1", "_lamp", port=8080)
    assert finder.once(**lan.settings) == {"lamp-1": 8080}


def test_the_app_follows_a_lamp(bcast_loopback: Lan) -> None:
    lan = bcast_loopback
    lamp = lan.accessory("lamp-1", "_lamp")

    async def follow() -> list[str]:
        said = []
        async for words in finder.follow(lan.networks[0], lan.realm, lan.port):
            said.append(words)
            if len(said) == 2:
                break
            lamp.change(attributes={"on": "1"})
        return said

    assert asyncio.run(follow()) == ["lamp-1 came", "lamp-1 has another attributes"]


def test_the_lamp_is_found(bcast_loopback: Lan) -> None:
    with Lamp("lamp-1", realm=bcast_loopback.realm, port=bcast_loopback.port) as lamp:
        device: bcast.Device = bcast_loopback.expect_device("type=_lamp", within=5)
        assert list(finder.addresses(device))
        lamp.switch(True)
        assert bcast_loopback.expect_change("type=_lamp", "attributes").attributes["on"] == "1"
    bcast_loopback.expect_goodbye("type=_lamp")


def test_raw_datagrams(bcast_loopback: Lan, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("heard") / "heard.pcapng"
    assert asyncio.run(finder.say(b"hello", bcast_loopback.port)) == ["lo"]
    assert finder.heard(str(path), 0.01, bcast_loopback.port) == 0
    with bcast.CaptureReader(path) as reader:
        assert list(reader) == []
