"""``SECONDS FOLDER``: the nodes that olad, with its configuration there, hears of; JSON lines."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time

_DEVICE = re.compile(r"^Device (\d+): ArtNet", re.MULTILINE)


def _ask(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


until = time.monotonic() + float(sys.argv[1])
daemon = ["olad", "--config-dir", sys.argv[2], "--no-http", "--no-register-with-dns-sd"]
with subprocess.Popen(daemon) as olad:
    while not (device := _DEVICE.search(_ask("ola_dev_info"))):
        time.sleep(0.1)
    # It polls for those who listen to the universe that one of its ports sends.
    _ask("ola_patch", "--device", device[1], "--port", "0", "--universe", "0")
    while time.monotonic() < until:
        if nodes := _ask("ola_artnet", "--device", device[1], "--universe", "0"):
            for address in nodes.split():
                print(json.dumps({"address": address}))
            break
        time.sleep(0.2)
    olad.terminate()
