"""aiocoap serves a resource, and lists it to who asks the group."""

from __future__ import annotations

import asyncio

from aiocoap import Context
from aiocoap.resource import Resource, Site, WKCResource


class Temperature(Resource):  # type: ignore[misc]  # aiocoap isn't there when types are checked
    """A resource that is only listed."""

    rt = "temperature"


async def main() -> None:
    """Serves until it is ended."""
    site = Site()
    site.add_resource([".well-known", "core"], WKCResource(site.get_resources_as_linkheader))
    site.add_resource(["temperature"], Temperature())
    await Context.create_server_context(site, multicast=[("224.0.1.187", "eth0")])
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()


asyncio.run(main())
