"""``SCRIPT ARGUMENT... [-- SCRIPT ARGUMENT...]...``: several of its neighbours on one host."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

commands: list[list[str]] = [[]]
for argument in sys.argv[1:]:
    if argument == "--":
        commands.append([])
    else:
        commands[-1].append(argument)
neighbours = Path(__file__).parent
running = []
for script, *arguments in commands:
    command = [sys.executable, "-P", str(neighbours / f"{script}.py"), *arguments]
    running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
for process in running:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("ready"):
            break
print("ready", flush=True)
running[0].wait()
