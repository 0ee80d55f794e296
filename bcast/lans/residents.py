"""What runs on the hosts of a LAN: the one place where its machines are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from bcast.domain import Domain
from bcast.lans.fakes import Accessory
from bcast.lans.journal import Note
from bcast.lans.observer import Observer
from bcast.machine import Machine
from bcast.messages import Message
from bcast.wire import decode

__all__ = ["make_resident"]


def make_resident(
    accessory: Accessory | None,
    domain: Domain,
    *,
    random: Random,
    note: Callable[[Sequence[Note]], object],
    decode: Callable[[bytes], Message] = decode,
) -> tuple[Machine[Any], Domain]:
    """The machine of an accessory, or if that is None of the observer; and where it is heard.

    ``domain`` is the LAN's; ``note`` is called with what the observer notes down.
    """
    if accessory is None:
        return Observer(random=random, domain=domain, note=note, decode=decode), domain
    meets = accessory.meets(domain)
    return accessory.machine(random=random, domain=meets, decode=decode), meets
