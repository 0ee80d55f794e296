"""What runs on the hosts of a LAN: the one place where its machines are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple, TypeAlias

from bcast.datagram import Family
from bcast.domain import Domain
from bcast.driver import Driver
from bcast.foreign.doors import families_of
from bcast.lans.described import Described, FakeDescribed
from bcast.lans.fakes import Accessory, FakeAccessory
from bcast.lans.journal import Note
from bcast.lans.observer import Observer
from bcast.lans.searching import Search, Searching
from bcast.machine import Door, Machine
from bcast.messages import Message
from bcast.wire import decode

__all__ = ["Occupant", "Resident", "make_resident", "open_driver"]

#: Who lives on a host: an accessory, or None: the observer, or what it searches by besides.
Occupant: TypeAlias = "Accessory | Described | Search | None"


class Resident(NamedTuple):
    """A machine, and where it is heard: where native peers meet, or by its own ``doors``.

    ``families`` are those of the doors; ``name``: what is spoken there.
    """

    machine: Machine[Any]
    domain: Domain
    doors: tuple[Door, ...] = ()
    families: tuple[Family, ...] = ()
    name: str = ""


def make_resident(
    occupant: Occupant,
    domain: Domain,
    *,
    random: Random,
    since: float,
    host: str,
    note: Callable[[Sequence[Note]], object],
    decode: Callable[[bytes], Message] = decode,
) -> Resident:
    """The machine of an occupant, and where it is heard.

    ``domain`` is the LAN's; ``note`` is called with what the observer notes down. ``since``: the
    Unix time when the LAN's was 0. ``host``: what the host is called.
    """
    if occupant is None:
        observer = Observer(random=random, domain=domain, note=note, decode=decode)
        return Resident(observer, domain)
    if isinstance(occupant, Accessory):
        native = FakeAccessory(occupant, random=random, domain=domain, decode=decode)
        return Resident(native, domain)
    description = occupant.spoken.description
    machine: FakeDescribed | Searching
    if isinstance(occupant, Described):
        machine = FakeDescribed(occupant, random=random, since=since, host=host)
    else:
        machine = Searching(description, random=random, since=since, host=host, note=note)
    families = families_of(description)
    return Resident(machine, domain, machine.doors, families, description.name)


def open_driver(resident: Resident, machine: Machine[Any], **settings: Any) -> Driver[Any]:
    """What runs a resident on sockets: its machine, or the one that stands before it.

    ``settings`` are those of `Driver`, whose errors it raises.
    """
    domain = resident.domain
    if not resident.doors:
        return Driver(
            machine,
            port=domain.port,
            groups=domain.groups,
            broadcast=domain.broadcast,
            **settings,
        )
    driver: Driver[Any] = Driver(None, **settings)
    try:
        driver.add(machine, resident.doors, families=resident.families, name=resident.name)
        # Half an accessory would be a riddle; who searches goes on with what there is.
        driver.raise_if_none(every_door=isinstance(resident.machine, FakeDescribed))
    except BaseException:
        driver.close()
        raise
    return driver
