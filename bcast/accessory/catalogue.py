"""The descriptions that there are: the catalogue's, the user's, and those of other packages.

Nothing is parsed before it is asked for: names are those of files, and which ports are spoken on
is kept in an index.
"""

from __future__ import annotations

from bcast.accessory.description import Description

__all__ = ["by_port", "load_named", "names"]


def names() -> tuple[str, ...]:
    """The names of all descriptions, sorted; nothing is parsed."""
    raise NotImplementedError


def load_named(name: str) -> Description:
    """The description of that name, or in that file (``./mine.toml``); each is loaded once.

    Raises `ArgumentError` for a name that nobody has, `DescriptionError` for mistakes in it.
    """
    raise NotImplementedError


def by_port(port: int) -> tuple[str, ...]:
    """The names of the descriptions that speak on a port; nothing is parsed."""
    raise NotImplementedError
