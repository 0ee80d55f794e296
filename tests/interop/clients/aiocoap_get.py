"""``SECONDS``: who answers aiocoap first, as a JSON object."""

from __future__ import annotations

import asyncio
import json
import sys

from aiocoap import GET, NON, Context, Message


async def main() -> None:
    """Asks the group, which aiocoap does for one reply."""
    context = await Context.create_client_context()
    request = Message(code=GET, mtype=NON, uri="coap://224.0.1.187/.well-known/core")
    async with asyncio.timeout(float(sys.argv[1])):
        reply = await context.request(request).response
    address = reply.remote.hostinfo.partition(":")[0]
    print(json.dumps({"links": reply.payload.decode(), "address": address}))
    await context.shutdown()


asyncio.run(main())
