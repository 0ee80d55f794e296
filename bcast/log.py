"""What drivers log, under ``bcast.*``, at no cost to a program that doesn't log. Layer 1.

- WARNING: what keeps discovery from working: a socket that can't be opened or sent through,
  a receive buffer that was full.
- INFO: what happens to interfaces, and what is opened.
- DEBUG: what was skipped and why, datagrams that were rejected, and the sum at the end.

Who didn't import `logging` can't have said where to log to, so it isn't imported here.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logging import Logger

__all__ = ["DEBUG", "INFO", "WARNING", "is_wanted", "log"]

#: As `logging` has them.
DEBUG = 10
INFO = 20
WARNING = 30

_loggers: dict[str, Logger] = {}


def log(name: str, level: int, message: str, *values: object) -> None:
    """Logs to ``bcast.<name>``; the values are put in where the message has a ``%s``."""
    logger = _logger(name)
    if logger is not None:
        logger.log(level, message, *values, stacklevel=2)


def is_wanted(name: str, level: int) -> bool:
    """Whether anybody would see it: to be asked before something is made to be logged."""
    logger = _logger(name)
    return logger is not None and logger.isEnabledFor(level)


def _logger(name: str) -> Logger | None:
    if name in _loggers:
        return _loggers[name]
    logging = sys.modules.get("logging")
    if not hasattr(logging, "NullHandler"):  # not there, or another thread is importing it
        return None
    assert logging is not None
    # A library's warnings don't go to stderr by themselves.
    root = logging.getLogger("bcast")
    if not root.handlers:
        root.addHandler(logging.NullHandler())
    made: Logger = logging.getLogger(f"bcast.{name}")
    _loggers[name] = made
    return made
