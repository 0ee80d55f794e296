"""How interfaces appear in sentences: harmless on a terminal, and never without end."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["enumerated", "shown"]


def shown(name: str) -> str:
    """An interface's name; quoted if it has escape sequences in it, which the kernel allows."""
    return name if name.isprintable() else ascii(name)


def enumerated(entries: Sequence[str], most: int = 10) -> str:
    """The first ``most`` entries and how many more there are: a host may have thousands."""
    if len(entries) <= most:
        return ", ".join(entries)
    return f"{', '.join(entries[:most])} and {len(entries) - most} more"
