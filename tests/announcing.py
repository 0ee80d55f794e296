"""Accessories for the tests of the commands that look for them: `bcast announce` on a host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from bcast.lab import Host, Running
from tests.command import PATIENCE, start_bcast

__all__ = ["ANNOUNCING", "announcing"]

#: What `bcast announce` says once it can be found.
ANNOUNCING = "announcing"


@contextmanager
def announcing(
    host: Host, name: str, type: str = "_lamp", *args: str, env: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """An accessory, until the end of the block; then, if it still is there, it says goodbye."""
    running = start_bcast(
        host, "announce", name, type, "-p", "80", *args, until=ANNOUNCING, env=env
    )
    try:
        yield running
        if running.status is None:
            assert running.interrupt(timeout=PATIENCE) == 0, running.errors()
    finally:
        running.kill()
