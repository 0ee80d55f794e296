"""An app that finds lamps: with asyncio, plainly, and by their raw datagrams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import assert_never, assert_type

import bcast


def once(interfaces: list[str], realm: str, port: int) -> dict[str, int]:
    """Where lamps listen, by name."""
    found = bcast.discover(
        "_lamp", timeout=5.0, expect=1, interfaces=interfaces, realm=realm, port=port
    )
    assert_type(found, tuple[bcast.Device, ...])
    return {device.name: device.port for device in found}


async def follow(interfaces: str, realm: str, port: int) -> AsyncIterator[str]:
    """What happens to lamps, in words."""
    async with bcast.Browser("_lamp", interfaces=interfaces, realm=realm, port=port) as browser:
        assert_type(browser, bcast.Browser)
        async for event in browser:
            yield words(event)


def words(event: bcast.DeviceEvent) -> str:
    """An event in words; a type checker sees that none is forgotten."""
    match event:
        case bcast.Added(device):
            return f"{device.name} came"
        case bcast.Changed(device, changed):
            assert_type(changed, tuple[str, ...])
            return f"{device.name} has another {' and '.join(changed)}"
        case bcast.Suspect(device) | bcast.Restarted(device):
            return f"{device.name} is being asked"
        case bcast.Removed(device, cause):
            assert_type(cause, bcast.Cause)
            return f"{device.name} went: {cause.value}"
        case _:
            assert_never(event)


def addresses(device: bcast.Device) -> Iterator[tuple[str, IPv4Address | IPv6Address]]:
    """Where it was heard."""
    for sighting in device.sightings:
        assert_type(sighting.latency, float | None)
        yield sighting.interface, sighting.address


def heard(path: str, seconds: float, port: int) -> int:
    """Captures what arrives, and returns what the kernel dropped meanwhile."""
    with (
        bcast.Receiver("lo", port=port, timeout=seconds) as receiver,
        bcast.CaptureWriter(path) as writer,
    ):
        for datagram in receiver:
            assert_type(datagram.payload, bytes)
            writer.write(datagram)
        return receiver.statistics.kernel_drops or 0


async def say(payload: bytes, port: int) -> list[str]:
    """Sends out of every interface, and returns where that worked and where it didn't."""
    async with bcast.Sender(interfaces="lo") as sender:
        results = await sender.send_async(payload, to="all-hosts", port=port)
    failed = [f"{one.interface.name}: {one.error}" for one in results.failed]
    return [one.interface.name for one in results.sent] + failed
