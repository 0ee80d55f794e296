"""``memory``: memory stays flat over very many datagrams from very many sources.

A raw socket on the sending host makes up 50,000 sources (addresses and ports) in 10.0.0.0/8,
which take turns at random, 40,000 datagrams of 200 bytes a second: far more than any cache keeps,
so what is kept of a source is made and dropped all the time. Resident memory is read after 10, 50
and 100 % of the datagrams, as the receiving namespace's kernel counts what has been read.

The receivers are ``listen --json >/dev/null``, ``listen --write /dev/null`` and a
`bcast.Receiver` of which all attributes are read. A million datagrams take half a minute each;
``--datagrams 10000000`` is the full run.
"""

from __future__ import annotations

import threading
import time

from bcast.lab import LabError
from tests.bench.measure import print_table
from tests.bench.network import GROUP, INTERFACE, LENGTH, Cable, bcast_command, cable, subject
from tests.bench.processes import resident, traffic

__all__ = ["run"]

_SOURCES = 50_000
_RATE = 40_000
_BATCH = 40
_MOMENTS = (0.1, 0.5, 1.0)


def run(datagrams: int) -> None:
    """Lets each receiver take ``datagrams`` datagrams and prints their memory."""
    listen = bcast_command("listen", "-i", INTERFACE, "-g", GROUP, "-4")
    quietly = ["sh", "-c", 'exec "$@" >/dev/null', "sh"]
    contestants = {
        "listen --json": [*quietly, *listen, "--json", "-p"],
        "listen --write": [*quietly, *listen, "-w", "/dev/null", "-p"],
        "Receiver, all attributes": subject("receiver-all", INTERFACE, GROUP),
    }
    rows = []
    failures = {}
    with cable() as network:
        for port, (name, command) in enumerate(contestants.items(), start=28_600):
            try:
                rows.append(_measure(network, name, [*command, str(port)], port, datagrams))
            except LabError as error:
                failures[name] = str(error)
    print_table(
        f"memory: {datagrams} datagrams of {LENGTH} bytes from {_SOURCES} sources, resident MB",
        ("receiver", "at start", *(f"{m:.0%}" for m in _MOMENTS), "10 % to 100 %", "lost"),
        rows,
        failures,
    )


def _measure(
    network: Cable, name: str, command: list[str], port: int, datagrams: int
) -> tuple[str, ...]:
    with network.start(command, port=port) as running:
        pid = running.pid
        seen = [resident(pid)]
        before = traffic(pid, INTERFACE)
        sending = threading.Thread(
            target=network.send,
            args=(datagrams,),
            kwargs={"port": port, "batch": _BATCH, "rate": _RATE, "mode": str(_SOURCES)},
        )
        sending.start()
        for moment in _MOMENTS:
            while True:
                now = traffic(pid, INTERFACE)
                taken = now.read - before.read + now.unread - before.unread
                if taken >= moment * datagrams or not sending.is_alive():
                    break
                time.sleep(0.02)
            if moment == 1.0:
                time.sleep(0.5)
            seen.append(resident(pid))
        sending.join()
        lost = datagrams - (traffic(pid, INTERFACE).read - before.read)
        running.terminate()
    growth = seen[-1] - seen[1]
    return (name, *(f"{kb / 1024:.1f}" for kb in seen), f"{growth:+d} kB", str(lost))
