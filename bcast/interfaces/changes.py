"""What changed between two listings of interfaces: frozen events, each with its sentence."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from bcast.datagram import Address, Interface, InterfaceFlag
from bcast.interfaces.wording import enumerated, shown
from bcast.values import Value

__all__ = [
    "FIELDS",
    "InterfaceAdded",
    "InterfaceChange",
    "InterfaceChanged",
    "InterfaceRemoved",
    "differences",
]

#: What is compared: everything but the index, which is the identity.
FIELDS = (
    "name",
    "kind",
    "flags",
    "mtu",
    "hardware_address",
    "addresses",
    "enslaved_to",
    "plumbing",
)

#: Addresses that a sentence names.
NAMED = 5


class InterfaceAdded(Value):
    """An interface that wasn't there before."""

    interface: Interface

    @property
    def sentence(self) -> str:
        return f"{shown(self.interface.name)} appeared"

    def __str__(self) -> str:
        return self.sentence


class InterfaceRemoved(Value):
    """An interface that is gone. ``replaced``: another one has its index now."""

    interface: Interface
    replaced: bool = False

    @property
    def sentence(self) -> str:
        return f"{shown(self.interface.name)} was {'replaced' if self.replaced else 'deleted'}"

    def __str__(self) -> str:
        return self.sentence


class InterfaceChanged(Value):
    """An interface that isn't what it was; ``changed`` names the fields that differ."""

    before: Interface
    interface: Interface
    changed: tuple[str, ...]

    @property
    def sentence(self) -> str:
        parts = _parts(self.before, self.interface)
        told = " and ".join([", ".join(parts[:-1]), parts[-1]] if parts[1:] else parts)
        return f"{shown(self.before.name)} {told or 'changed'}"

    def __str__(self) -> str:
        return self.sentence


InterfaceChange = InterfaceAdded | InterfaceRemoved | InterfaceChanged


def _parts(before: Interface, after: Interface) -> list[str]:
    parts = []
    if before.name != after.name:
        parts.append(f"is now called {shown(after.name)}")
    parts += _state(before.flags, after.flags)
    parts += _addresses(before.addresses, after.addresses)
    if before.mtu != after.mtu:
        parts.append(f"has an MTU of {after.mtu} bytes now")
    if before.hardware_address != after.hardware_address:
        parts.append(f"has {after.hardware_address or 'no'} as its hardware address now")
    if before.enslaved_to != after.enslaved_to:
        if after.enslaved_to:
            parts.append(f"is a port of {shown(after.enslaved_to)} now")
        else:
            parts.append(f"left {shown(before.enslaved_to or '')}")
    if before.kind != after.kind:
        parts.append(f"is of the kind {after.kind} now")
    if before.plumbing != after.plumbing:
        parts.append(f"{'became' if after.plumbing else 'is no longer'} container plumbing")
    return parts


def _state(before: InterfaceFlag, after: InterfaceFlag) -> list[str]:
    gained, lost = after & ~before, before & ~after
    up, running = InterfaceFlag.UP, InterfaceFlag.RUNNING
    parts = []
    if up in lost:
        parts.append("went down")
    elif up in gained:
        parts.append("came up" if running in after else "came up without carrier")
    elif running in lost:
        parts.append("lost its carrier")
    elif running in gained:
        parts.append("got a carrier")
    for flag in (gained | lost) & ~(up | running):
        name = (flag.name or "").lower().replace("_", "-")
        parts.append(f"{'became' if flag in after else 'is no longer'} {name}")
    return parts


def _addresses(before: Sequence[Address], after: Sequence[Address]) -> list[str]:
    old, new = _by_value(before), _by_value(after)
    lost = [str(old[key]) for key in old if key not in new]
    got = [str(new[key]) for key in new if key not in old]
    parts = []
    if lost:
        parts.append(f"lost {enumerated(lost, NAMED)}")
    if got:
        parts.append(f"got {enumerated(got, NAMED)}")
    for key in [key for key in old if key in new]:
        was, now = old[key], new[key]
        if was.tentative != now.tentative:
            parts.append(f"{'must not use' if now.tentative else 'may use'} {now}")
        if was.broadcast != now.broadcast:
            parts.append(f"has {now.broadcast or 'no'} as the broadcast address of {now} now")
    if list(old) != list(new) and not parts:
        parts.append("has its addresses in another order")
    return parts


def _by_value(addresses: Iterable[Address]) -> dict[tuple[int, int, int], Address]:
    # Without the scope: an interface that was renamed hasn't lost its link-local address.
    return {(a.address.version, int(a.address), a.prefix_length): a for a in addresses}


def differences(
    before: Iterable[Interface],
    after: Iterable[Interface],
    deleted: Collection[int] = frozenset(),
) -> tuple[InterfaceChange, ...]:
    """What turns ``before`` into ``after``: removals first, then changes, then additions.

    An interface is known by its index. One in ``deleted`` that is in both was deleted and
    created again in between: it is removed and added.
    """
    old = {interface.index: interface for interface in before}
    new = {interface.index: interface for interface in after}
    removed: list[InterfaceChange] = []
    changes: list[InterfaceChange] = []
    for index, was in sorted(old.items()):
        now = new.get(index)
        if now is None or index in deleted:
            removed.append(InterfaceRemoved(was, replaced=now is not None))
        elif now != was:
            names = tuple(name for name in FIELDS if getattr(was, name) != getattr(now, name))
            changes.append(InterfaceChanged(was, now, names))
    added = [
        InterfaceAdded(interface)
        for index, interface in sorted(new.items())
        if index not in old or index in deleted
    ]
    return (*removed, *changes, *added)
