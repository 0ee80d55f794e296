"""``PORT COMMAND...``: runs a program, and says when something on this host has that UDP port."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

port, command = f":{int(sys.argv[1]):04X}", sys.argv[2:]
with subprocess.Popen(command) as process:
    while process.poll() is None:
        sockets = [Path("/proc/net", name).read_text().splitlines() for name in ("udp", "udp6")]
        if any(line.split()[1].endswith(port) for lines in sockets for line in lines):
            print("ready", flush=True)
            break
        time.sleep(0.02)
sys.exit(process.returncode)
