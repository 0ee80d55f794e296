"""``SECONDS ADDRESS/LENGTH``: who answers bacpypes3's Who-Is, one JSON object a line."""

from __future__ import annotations

import asyncio
import json
import sys

from bacpypes3.app import Application
from bacpypes3.argparse import SimpleArgumentParser


async def main() -> None:
    """Asks once without limits, and once with limits that exclude every device."""
    arguments = ["--name", "searcher", "--instance", "4000", "--address", sys.argv[2]]
    application = Application.from_args(SimpleArgumentParser().parse_args(arguments))
    seconds = float(sys.argv[1])
    everybody, nobody = (
        await application.who_is(timeout=seconds / 2),
        await application.who_is(4100, 4101, timeout=seconds / 2),
    )
    for i_am in everybody:
        device = {
            "id": i_am.iAmDeviceIdentifier[1],
            "address": str(i_am.pduSource),
            "vendor": i_am.vendorID,
            "outside_limits": len(nobody),
        }
        print(json.dumps(device))
    application.close()


asyncio.run(main())
