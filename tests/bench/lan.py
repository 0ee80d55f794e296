"""A LAN of very many hosts on one bridge that loses what it is told to, and counts.

`lan` makes a lab with one segment: some hosts for those who search, and any number of
namespaces for those who are found, which one process holds (a process for each of 400 would be
slow to make, and to remove). All of it vanishes with the lab, whatever ends it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bcast.datagram import Family
from bcast.lab import Host, Lab, Running, lab_unavailable
from bcast.lab.segment import BRIDGE

__all__ = ["Counts", "Lan", "environment", "lan", "script"]

_SUBNET = "10.9.0.0/20"
_FIRST = "10.9.1.0/20"
#: What the bridge may lose, in parts of so many.
_PARTS = 10_000
_PATIENCE = 60.0
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))

# Each copy that the bridge forwards to a port is lost on its own. What a host sends to itself
# never comes here. What a host says to all by multicast DNS reaches those who search only: that
# hundreds of hosts in one process hear it too would slow them down as no real host would be.
_RULES = """
add table bridge lan
delete table bridge lan
table bridge lan {{
    counter groups {{ }}
    counter others {{ }}
    counter copies {{ }}
    counter lost {{ }}
    chain sent {{
        type filter hook prerouting priority 0;
        ip protocol udp ip daddr 224.0.0.0/4 counter name groups accept
        ip protocol udp counter name others
    }}
    chain forwarded {{
        type filter hook forward priority 0;
        oifname "host*" udp sport 5353 @th,80,1 1 drop
        ip protocol udp counter name copies
        {loss}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Counts:
    """UDP datagrams since the loss was set: sent to groups, and to others; copies forwarded to
    a host or lost, and how many of them were lost.
    """

    groups: int
    others: int
    copies: int
    lost: int

    def since(self, before: Counts) -> Counts:
        return Counts(
            self.groups - before.groups,
            self.others - before.others,
            self.copies - before.copies,
            self.lost - before.lost,
        )


class Lan:
    """``count`` hosts that can be found, and ``searchers``, who can be searched from."""

    def __init__(self, lab: Lab, count: int, searchers: int) -> None:
        self.lab = lab
        self.count = count
        self._segment = lab.segment(network=_SUBNET, families=(Family.IPV4,))
        self.searchers: list[Host] = []
        known = []
        for number in range(searchers):
            host = lab.host(f"searcher{number}")
            link = host.connect(self._segment)
            self.searchers.append(host)
            known.append(f"{link.address()}={link.hardware_address}")
        self._holder = self._start(
            script("namespaces", BRIDGE, f"{_FIRST}x{count}", ",".join(known))
        )
        said = self._holder.wait_for("places", timeout=_PATIENCE)
        self._places = said.split()[1:]
        self._started: list[Running] = []

    def start(self, command: Sequence[str], ready: str, *, processes: int = 1) -> list[Running]:
        """Starts programs that do something on every host; each says when it is ``ready``.

        They are given who holds the namespaces and which of them they are to enter. They have
        all capabilities, because entering needs them.
        """
        holder = str(self._holder.pid)
        started = []
        for number in range(min(processes, self.count)):
            places = ",".join(self._places[number::processes])
            started.append(self._start([*command, holder, places, str(number)]))
        self._started += started
        for running in started:
            running.wait_for(ready, timeout=_PATIENCE)
        return started

    def stop(self) -> None:
        """Ends what `start` has started."""
        for running in self._started:
            running.kill()
        self._started.clear()

    def lose(self, share: float) -> None:
        """Loses this share of the copies from now on, at random; 1 closes the LAN."""
        parts = round(share * _PARTS)
        loss = f"ip protocol udp numgen random mod {_PARTS} < {parts} counter name lost drop"
        if share >= 1:
            loss = "ip protocol udp counter name lost drop"
        self._nft("-f", "-", rules=_RULES.format(loss=loss if parts else ""))

    def counts(self) -> Counts:
        """What was counted since `lose`."""
        said = json.loads(self._nft("-j", "list", "counters", "table", "bridge", "lan"))
        told = [one["counter"] for one in said["nftables"] if "counter" in one]
        by_name = {one["name"]: one["packets"] for one in told}
        return Counts(by_name["groups"], by_name["others"], by_name["copies"], by_name["lost"])

    def _start(self, command: Sequence[str]) -> Running:
        return self._segment.start(command, env=environment(), capable=True)

    def _nft(self, *args: str, rules: str | None = None) -> str:
        done = self._segment.run(
            ["nft", *args], input=rules, env={"PATH": _PATH}, capable=True, timeout=_PATIENCE
        )
        return done.stdout


@contextmanager
def lan(count: int, searchers: int = 1) -> Iterator[Lan]:
    """Makes a LAN, closed; afterwards nothing of it is left.

    As root it is a privileged lab's, else a rootless one's. Raises `LabError` where namespaces
    aren't allowed, or there is no nft.
    """
    privileged = sys.platform != "win32" and os.geteuid() == 0 and not lab_unavailable(True)
    with Lab(privileged=privileged) as lab:
        made = Lan(lab, count, searchers)
        made.lose(1.0)
        yield made


def script(name: str, *args: str, python: str = sys.executable) -> list[str]:
    """The command line of one of the modules beside this one, run as a script."""
    return [python, str(Path(__file__).with_name(f"{name}.py")), *args]


def environment() -> dict[str, str]:
    """What the programs need to find this bcast, and to say at once what they say."""
    project = str(Path(__file__).parent.parent.parent)
    return {"PYTHONPATH": project, "PYTHONUNBUFFERED": "1", "PATH": _PATH}
