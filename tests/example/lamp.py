"""A lamp that is found, and says what it does."""

from __future__ import annotations

import logging

import bcast

log = logging.getLogger(__name__)


class Lamp:
    """On or off, for all to see."""

    def __init__(self, name: str, *, realm: str = "", port: int = 28232) -> None:
        self._service = bcast.Service(name, "_lamp", port=80, attributes={"on": "0"})
        self._announcer = bcast.Announcer(self._service, interfaces="lo", realm=realm, port=port)

    def __enter__(self) -> Lamp:
        try:
            self._announcer.__enter__()
        except bcast.InterfaceError as error:
            log.error("%s (%s)", error.message, error.advice)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._announcer.__exit__(None, None, None)

    def switch(self, on: bool) -> None:
        """Switches it on or off."""
        service = bcast.Service(self._service.name, "_lamp", 80, {"on": str(int(on))})
        self._announcer.update(service)
