"""``INSTANCE ADDRESS/LENGTH``: bacpypes3 answers Who-Is as a device of that number."""

from __future__ import annotations

import asyncio
import sys

from bacpypes3.app import Application
from bacpypes3.argparse import SimpleArgumentParser


async def main() -> None:
    """Answers until it is ended."""
    arguments = ["--name", "device", "--instance", sys.argv[1], "--address", sys.argv[2]]
    application = Application.from_args(SimpleArgumentParser().parse_args(arguments))
    await asyncio.sleep(0.2)  # it opens its sockets in tasks of its own
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()
    application.close()


asyncio.run(main())
