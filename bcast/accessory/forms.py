"""One message of a description: its template, and when and where it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from bcast.accessory.template import Template, Value

__all__ = [
    "MAX_DELAY",
    "ROLES",
    "Answer",
    "Form",
    "Role",
    "Target",
]

Role: TypeAlias = Literal["probe", "reply", "announcement", "goodbye"]

#: In the order in which a searcher tries them.
ROLES: tuple[Role, ...] = ("goodbye", "announcement", "reply", "probe")

#: Seconds: what a probe asks for is no longer waited.
MAX_DELAY = 5.0


class Target(NamedTuple):
    """Where a message goes.

    ``kind`` of a probe: ``all-hosts``, ``subnet``, ``both`` of these, ``group``, or ``device``
    (the address that it was heard from). Of what is told: ``source`` (of the probe),
    ``broadcast``, ``group``, or ``payload`` (the probe says where). ``port`` 0: of a message that
    is told, the port of the probe's source; of a probe, each of the form's ``ports``. ``address``
    and ``port_name`` name the probe's values that ``payload`` means.
    """

    kind: str
    port: int = 0
    address: str = ""
    port_name: str = ""


class Form(NamedTuple):
    """A message: how it looks (``template``), and when and where it is sent.

    ``source_port``: the asking socket has to be bound to this port; ``prefer``: it should be, but
    any will do; 0: any. ``ports``: where probes and announcements go. ``repeat``: times, and
    seconds between. ``after``: the reply that a follow-up comes after, "" for a first probe.
    ``answers``: names of the probes that a reply answers. ``only_if``: for values of the probe
    the texts that they may be. ``within``: for a value of ours the names of the two values of the
    probe that it has to lie between. ``for_each``: the list of rows each of which gets a datagram.
    ``delay``: least and most, in seconds or the name of the probe's value that says it. ``every``
    and ``expires``: seconds, or the name of the value that holds them, None if not said.
    ``means``: "absent" for a reply that says "not here", else "". ``sent``: False for one that is
    only decoded, never sent in an accessory's place.
    """

    role: Role
    name: str
    template: Template
    to: Target
    ports: tuple[int, ...] = ()
    source_port: int = 0
    prefer: int = 0
    repeat: tuple[int, float] = (1, 0.0)
    after: str = ""
    answers: tuple[str, ...] = ()
    only_if: Mapping[str, tuple[str, ...]] = {}
    within: Mapping[str, tuple[str, str]] = {}
    for_each: str = ""
    delay: tuple[float | str, float | str] = (0.0, 0.0)
    every: float | str | None = None
    expires: float | str | None = None
    means: str = ""
    sent: bool = True


class Answer(NamedTuple):
    """A datagram that a probe is answered with: build it with `Description.encode`.

    ``delay``: least and most seconds until it is sent. ``kind``: ``source`` (``address`` is "",
    to the probe's source), ``broadcast``, ``group``, or ``address`` (the probe says which:
    to be answered only if it is on the link). ``port`` 0: the port of the probe's source.
    """

    form: Form
    values: Mapping[str, Value]
    delay: tuple[float, float]
    kind: str
    address: str
    port: int
