"""The ports that a description is asked, heard and answered by."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from bcast.accessory.description import Description
from bcast.accessory.forms import Form
from bcast.datagram import Family, Group
from bcast.machine import Door

__all__ = [
    "asking_door",
    "asking_doors",
    "families_of",
    "group_of",
    "hearing_door",
    "other_ports",
    "playing_doors",
    "ports_of",
]


def group_of(description: Description) -> Group | None:
    """The group that it is spoken to by; None: by broadcast only."""
    return Group(ip_address(description.group)) if description.group else None


def families_of(description: Description) -> tuple[Family, ...]:
    """The family that it is spoken in."""
    group = group_of(description)
    return (Family.IPV4 if group is None else group.family,)


def ports_of(description: Description, form: Form) -> tuple[int, ...]:
    """Where a probe or an announcement goes."""
    return form.ports or (description.port,)


def asking_door(form: Form) -> int:
    """The `Door.port` of the door that a probe leaves by."""
    return form.source_port or form.prefer


def asking_doors(descriptions: Iterable[Description]) -> tuple[Door, ...]:
    """What a searcher needs: to ask by, and to hear what is said unasked, or not to the asker."""
    doors = _Doors()
    for description in descriptions:
        group = group_of(description)
        for form in description.messages:
            to = form.to
            if form.role == "probe":
                doors.send(asking_door(form), or_any=not form.source_port)
            elif form.role != "reply":
                for port in ports_of(description, form):
                    doors.hear(port, group if to.kind == "group" else None)
            elif to.kind in ("broadcast", "group"):
                port = to.port or description.port
                doors.hear(port, group if to.kind == "group" else None)
            elif to.kind == "source" and to.port:
                doors.hear(to.port)
    return doors.made()


def hearing_door(description: Description) -> Door:
    """Where most of it can be heard: its port, with its group."""
    group = group_of(description)
    return Door(description.port, () if group is None else (group,), sends=False)


def other_ports(description: Description) -> list[int]:
    """The ports that its datagrams go to besides its own."""
    ports: set[int] = set()
    for form in description.messages:
        ports.update((form.to.port,) if form.role == "reply" else form.ports)
    return sorted(ports - {0, description.port})


def playing_doors(description: Description) -> tuple[Door, ...]:
    """What an impersonator needs: to be asked and to answer by, or at least to announce by."""
    doors = _Doors()
    group = group_of(description)
    for form in description.messages:
        if form.role == "probe":
            for port in ports_of(description, form):
                doors.send(port)
                doors.hear(port, group if form.to.kind == "group" else None)
    if not doors.wanted:
        doors.send(0)
    return doors.made()


class _Doors:
    """Doors by their ports, as they turn out to be needed."""

    def __init__(self) -> None:
        self.wanted: dict[int, tuple[set[Group], bool, bool]] = {}

    def send(self, port: int, *, or_any: bool = False) -> None:
        groups, _, before = self.wanted.get(port, (set(), False, True))
        # Who needs a port for certain needs it whatever others do; who hears there does.
        self.wanted[port] = groups, True, before and or_any and bool(port)

    def hear(self, port: int, group: Group | None = None) -> None:
        groups, sends, _ = self.wanted.get(port, (set(), False, False))
        if group is not None:
            groups.add(group)
        self.wanted[port] = groups, sends, False

    def made(self) -> tuple[Door, ...]:
        return tuple(
            Door(port, tuple(sorted(groups, key=str)), sends, or_any)
            for port, (groups, sends, or_any) in self.wanted.items()
        )
