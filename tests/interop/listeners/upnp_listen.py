"""Who async-upnp-client hears come and go: ``here ID`` and ``gone ID``, until it is ended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from async_upnp_client.advertisement import SsdpAdvertisementListener


def _tell(what: str, headers: Mapping[str, str]) -> None:
    print(what, headers["usn"].partition("::")[0].removeprefix("uuid:"), flush=True)


async def main() -> None:
    """Listens as Home Assistant does."""
    listener = SsdpAdvertisementListener(
        on_alive=lambda headers: _tell("here", headers),
        on_byebye=lambda headers: _tell("gone", headers),
    )
    await listener.async_start()
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()


asyncio.run(main())
