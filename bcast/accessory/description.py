"""A protocol as data: decodes what its accessories say, and says it in their place."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from bcast.accessory.forms import Answer, Form, Role
from bcast.accessory.template import Misfit, Own, Random, Reading, Value

__all__ = ["Decoded", "Description", "Identity", "Misfits", "load"]


class Decoded(NamedTuple):
    """A datagram that fits: which message it is, and its values.

    ``values`` has all names but the unnamed; those that begin with ``_`` are internal. ``rest``:
    which of them a ``{*}`` took.
    """

    description: Description
    form: Form
    values: dict[str, Value]
    rest: frozenset[str]


class Misfits(NamedTuple):
    """A datagram that fits nothing: each message that was tried, and the reason why not."""

    reasons: tuple[tuple[Form, Misfit], ...]

    def __str__(self) -> str:
        return "; ".join(f"{form.name}: {misfit}" for form, misfit in self.reasons)


class Identity(NamedTuple):
    """What a datagram says about its device. "" and 0: it doesn't say.

    ``id`` is None where this message doesn't tell it: it belongs to the device that its source
    address is known by. ``address`` is a claim; the sighting is the source.
    """

    id: str | None
    name: str
    type: str
    port: int
    address: str
    attributes: dict[str, Value]


class Description:
    """One protocol. Made by `load`; immutable.

    ``port``: where its probes go. ``group``: "" if it has none. ``messages``: in file order.
    ``example``: values for each name, as the file's ``[impersonate]`` and samples have them:
    what an accessory says if nobody sets anything. ``rows``: the lists that ``for_each`` names.
    ``collect``: attributes of which one device tells several. ``hears``: the ports at one end or
    the other of its datagrams.
    """

    name: str
    title: str
    port: int
    group: str
    messages: tuple[Form, ...]
    rows: Mapping[str, tuple[Mapping[str, Value], ...]]
    collect: tuple[str, ...]
    hears: frozenset[int]

    @property
    def example(self) -> Mapping[str, Value]:
        raise NotImplementedError

    def form(self, name: str) -> Form:
        """The message of that name. Raises KeyError."""
        raise NotImplementedError

    def decode(
        self,
        payload: bytes,
        *,
        roles: Collection[Role],
        probes: Mapping[str, Mapping[str, Value]] | None = None,
    ) -> Decoded | Misfits:
        """What a datagram says. A searcher tries goodbye, announcement, reply; an impersonator
        only probe: so one's own probe is never a device.

        ``probes``: the values of the probes that were sent, by the probe's name (to learn them,
        random ones too, decode what was sent); a reply has to echo those of one of the probes
        that it answers. None: nobody knows what was asked, and nothing of it is checked.
        Never raises for any payload.
        """
        raise NotImplementedError

    def identity(self, decoded: Decoded, source: str) -> Identity:
        """What is said about the device; ``source`` is the address that it was heard from.

        A description in which nothing is called ``id`` takes the source address for it.
        """
        raise NotImplementedError

    def encode(
        self,
        form: Form,
        values: Mapping[str, Value],
        *,
        own: Own,
        random: Random,
        now: float,
        probe: Mapping[str, Value] | None = None,
        device: Mapping[str, Value] | None = None,
    ) -> bytes:
        """The datagram. ``now``: Unix time in seconds; ``probe``: the values of the probe that is
        answered; ``device``: what is known of the device that a follow-up goes to.

        A value None is left out where that is possible. Raises `ArgumentError` for a value that
        is missing, or doesn't fit.
        """
        raise NotImplementedError

    def answers(self, decoded: Decoded, values: Mapping[str, Value]) -> list[Answer]:
        """What an accessory with these values says to a probe, in file order; maybe nothing."""
        raise NotImplementedError

    def announcements(
        self, role: Role, values: Mapping[str, Value]
    ) -> list[tuple[Form, Mapping[str, Value]]]:
        """The announcements, or goodbyes, of such an accessory: one for each row."""
        raise NotImplementedError


def load(text: str, *, file: str) -> Description:
    """The description in the TOML ``text``; ``file`` names it in mistakes.

    Raises `DescriptionError` with all mistakes at once.
    """
    raise NotImplementedError


_ = Reading
