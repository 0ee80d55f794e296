"""Interface expressions: which of the interfaces are meant, and why the others are not.

One expression is, in this order:

- the name of an interface, which wins over everything that it could mean besides;
- ``all``;
- an index (``4``);
- an address of the interface (``192.168.1.5``, ``fe80::1``, ``fe80::1%eth0``);
- a network that has one of its addresses (``192.168.1.0/24``; host bits may be set);
- a kind (``wifi``, ``ethernet``, ``loopback``: the values of `Kind`);
- a glob over names (``eth*``: ``*``, ``?`` and ``[...]``, case-sensitive).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from bcast.datagram import Interface, IPAddress, Kind
from bcast.errors import ArgumentError, InterfaceError
from bcast.interfaces.wording import enumerated, shown
from bcast.values import Value

__all__ = ["Expression", "Selection", "Skipped", "listed", "parse", "select"]

#: Characters of an expression: as many as a name may have on any system (Windows: 256).
LONGEST = 256

_FORMS = (
    "give a name or glob (eth0, 'eth*'), an index (4), an address (192.168.1.5),"
    " a network (192.168.1.0/24), a kind (wifi, ethernet, loopback) or all"
)


class Skipped(Value):
    """An interface that isn't used, and why (``"down"``, ``"loopback"``, ``"excluded"``)."""

    interface: Interface
    reason: str


class Selection(Value):
    """What an expression chose, both parts ordered by index."""

    chosen: tuple[Interface, ...]
    skipped: tuple[Skipped, ...] = ()


class Expression(NamedTuple):
    """A well-formed expression: its text, and what it means where no interface has that name.

    ``scope`` is the interface that a link-local address is meant on (name or index), or empty.
    """

    text: str
    meaning: IPAddress | IPv4Network | IPv6Network | Kind | int | str
    scope: str = ""

    def matches(self, interface: Interface) -> bool:
        """Whether ``interface`` is meant, its name aside."""
        meaning = self.meaning
        if isinstance(meaning, Kind):
            return interface.kind is meaning
        if isinstance(meaning, int):
            return interface.index == meaning
        if isinstance(meaning, str):
            if meaning == "all":
                return True
            from fnmatch import fnmatchcase

            return fnmatchcase(interface.name, meaning)
        if self.scope not in ("", interface.name, str(interface.index)):
            return False
        if isinstance(meaning, IPv4Network | IPv6Network):
            return any(_unscoped(a.address) in meaning for a in interface.addresses)
        return any(_unscoped(a.address) == meaning for a in interface.addresses)


def _unscoped(address: IPAddress) -> IPAddress:
    return IPv6Address(int(address)) if isinstance(address, IPv6Address) else address


def parse(text: str, *, spaces: bool = sys.platform == "win32") -> Expression:
    """Reads one expression. ``spaces``: whether names may have spaces inside, as on Windows.

    Raises `ArgumentError` for one that can't mean anything.
    """
    if not isinstance(text, str):
        raise ArgumentError(f"an interface expression is text, not {text!r}", _FORMS)
    if len(text) > LONGEST:
        raise ArgumentError(f"an interface expression has at most {LONGEST} characters", _FORMS)
    wrong = ArgumentError(f"{text!r} is not an interface expression", _FORMS)
    if not text:
        raise ArgumentError("an interface expression is empty", _FORMS)
    if not text.isprintable() or text != text.strip() or (" " in text and not spaces):
        raise wrong
    if text.isascii() and text.isdecimal():
        return Expression(text, int(text))
    if text[0] == "-" and text[1:].isdecimal():
        raise wrong
    # No system lets "/" or ":" into a name; only digits and dots are meant as an IPv4 address.
    if "/" in text or ":" in text or not text.strip("0123456789."):
        try:
            return _numeric(text)
        except ValueError:
            raise wrong from None
    try:
        return Expression(text, Kind(text))
    except ValueError:
        return Expression(text, text)


def _numeric(text: str) -> Expression:
    address, slash, length = text.partition("/")
    address, percent, scope = address.partition("%")
    if percent and (not scope or not ip_address(address).is_link_local):
        raise ValueError("only a link-local address has a scope")
    if slash:
        if not length:
            raise ValueError("no prefix length")
        return Expression(text, ip_network(f"{address}/{length}", strict=False), scope)
    return Expression(text, ip_address(address), scope)


def listed(expressions: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """One expression or several as a tuple that can be used again; None stays None."""
    if expressions is None:
        return None
    return (expressions,) if isinstance(expressions, str) else tuple(expressions)


def select(
    interfaces: Sequence[Interface],
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    *,
    require: bool = True,
) -> Selection:
    """Chooses among ``interfaces``.

    Without ``include`` every usable interface is chosen, and all others are skipped. What an
    expression names is wished for, so that loopback, ports of a bridge and plumbing are chosen
    too, and only what can't carry a datagram now is skipped; what no expression names isn't
    reported. ``exclude`` may match nothing.

    Raises `ArgumentError` for a malformed expression and, unless ``require`` is false,
    `InterfaceError` when an expression of ``include`` matches nothing or nothing is chosen.
    """
    wanted, unwanted = _expressions(include), _expressions(exclude)
    excluded = {i.index for expression in unwanted for i in _matching(expression, interfaces)}
    meant: set[int] = set()
    for expression in wanted:
        found = _matching(expression, interfaces)
        if require and not found:
            raise _no_match(expression, interfaces)
        meant.update(i.index for i in found)
    chosen, skipped = {}, {}
    for interface in interfaces:
        if wanted and interface.index not in meant:
            continue
        reason = interface.blocked if wanted else interface.reason
        if interface.index in excluded:
            reason = "excluded"
        if reason:
            skipped[interface.index] = Skipped(interface, reason)
        else:
            chosen[interface.index] = interface
    selection = Selection(
        tuple(chosen[index] for index in sorted(chosen)),
        tuple(skipped[index] for index in sorted(skipped)),
    )
    if require and not selection.chosen:
        raise _none_usable(selection.skipped)
    return selection


def _expressions(given: str | Iterable[str] | None) -> list[Expression]:
    if given is None:
        return []
    return [parse(text) for text in ([given] if isinstance(given, str) else given)]


def _matching(expression: Expression, interfaces: Sequence[Interface]) -> list[Interface]:
    named = [i for i in interfaces if i.name == expression.text]
    return named or [i for i in interfaces if expression.matches(i)]


def _no_match(expression: Expression, interfaces: Sequence[Interface]) -> InterfaceError:
    ordered = sorted(interfaces, key=lambda interface: interface.index)
    meaning = expression.meaning
    if isinstance(meaning, Kind):
        what = f"is of the kind {meaning.value}"
        kinds: dict[str, list[str]] = {}
        for interface in ordered:
            kinds.setdefault(interface.kind.value, []).append(shown(interface.name))
        there = [f"{kind} ({enumerated(names, 3)})" for kind, names in kinds.items()]
    elif isinstance(meaning, int):
        what = f"has the index {expression.text}"
        there = [f"{i.index} ({shown(i.name)})" for i in ordered]
    elif isinstance(meaning, str):
        what = f"matches {expression.text!r}"
        there = [_with_address(i) for i in ordered]
    else:
        network = isinstance(meaning, IPv4Network | IPv6Network)
        what = f"has {'an address in' if network else 'the address'} {expression.text}"
        there = [
            f"{_unscoped(a.address)} ({shown(i.name)})"
            for i in ordered
            for a in i.addresses
            if a.address.version == meaning.version
        ]
    return InterfaceError(f"no interface {what}; there are {enumerated(there) or 'none'}")


def _none_usable(skipped: Sequence[Skipped]) -> InterfaceError:
    if not skipped:
        return InterfaceError("no usable interface", "this system has none at all")
    reasons = [f"{shown(s.interface.name)} is {s.reason}" for s in skipped]
    message = f"no usable interface: {enumerated(reasons)}"
    if all(s.reason == "excluded" for s in skipped):
        return InterfaceError(message, "exclude less")
    loopback = [s.interface for s in skipped if s.reason == "loopback"]
    if loopback:
        example = f"-i {shown(loopback[0].name)} to stay on this machine"
        return InterfaceError(
            message, f"bring one up, or name one with --interface, e.g. {example}"
        )
    return InterfaceError(message, "bring one up, or name another one with --interface")


def _with_address(interface: Interface) -> str:
    if not interface.addresses:
        return shown(interface.name)
    return f"{shown(interface.name)} ({interface.addresses[0]})"
