"""Keeps a machine going for a command: until a signal, or for some time.

The driver runs in the one thread that there is, so that nothing is waited for but datagrams,
timers and signals, and no thread has to be started before the first datagram leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from bcast.cli.interruption import Stopped
from bcast.cli.notices import tell
from bcast.cli.output import LOOK, Output, interface_object
from bcast.domain import Domain
from bcast.driver import Driver

if TYPE_CHECKING:
    from bcast.datagram import Family
    from bcast.machine import Machine

__all__ = ["begin", "driving", "turns"]

EventT = TypeVar("EventT")

# Seconds in which the first answers come, before anything else takes our time: how long they
# took is told by when we get to them.
_FIRST = 0.005


@contextmanager
def driving(
    stopped: Stopped,
    machine: Machine[EventT] | None,
    domain: Domain,
    interfaces: Sequence[str] | None,
    exclude: Sequence[str] | None,
    family: Family | None,
) -> Iterator[Driver[EventT]]:
    """The machine on the selected interfaces; a signal is something that it wakes up for.

    None: all that there are will be added.
    """
    with Driver(
        machine,
        port=domain.port,
        groups=domain.groups,
        broadcast=domain.broadcast,
        interfaces=interfaces or None,
        exclude=exclude or None,
        family=family,
    ) as driver:
        driver.watch(stopped.fileno(), lambda now: stopped.quieten())
        yield driver


def begin(output: Output, driver: Driver[EventT], doing: str) -> None:
    """Says what is done on which interfaces, and what about the others."""
    end = driver.now() + _FIRST
    while (left := end - driver.now()) > 0:
        driver.wait(left)
    states = driver.states
    there = [one.interface for one in states] if states else driver.selection.chosen
    names = ", ".join(interface.name for interface in there)
    output.remark(f"{doing} on {names}; Ctrl-C ends")
    if output.as_json:
        for chosen in driver.selection.chosen:
            output.result("", interface_object(chosen, "present"))
    for skipped in driver.selection.skipped:
        output.skipped(skipped.interface, skipped.reason)
    _tell_changes(output, driver)


def turns(
    output: Output,
    driver: Driver[EventT],
    stopped: Stopped,
    *,
    timeout: float | None = None,
    pace: float | None = None,
    attentive: bool = True,
    due: Callable[[], float | None] = lambda: None,
) -> Iterator[float]:
    """The time, at once and after each thing that happens, until stopped or ``timeout`` seconds.

    At least every ``pace`` seconds, and at ``due()``. ``attentive``: raises BrokenPipeError when
    nobody reads the results any more, which takes a look a second.
    """
    now = driver.now()
    end = None if timeout is None else now + timeout
    watched = attentive and output.is_pipe()
    look = now + LOOK
    while not stopped.is_set():
        # Whoever reads the results may stop reading, while we are being told to end.
        with stopped.breaking():
            yield now
        now = driver.now()
        if end is not None and now >= end:
            return
        moments = [end, look if watched else None, None if pace is None else now + pace, due()]
        left = [max(0.0, moment - now) for moment in moments if moment is not None]
        driver.wait(min(left, default=None))
        _tell_changes(output, driver)
        now = driver.now()
        if watched and now >= look:
            output.check_reader()
            look = now + LOOK
    with stopped.breaking():
        yield now


def _tell_changes(output: Output, driver: Driver[EventT]) -> None:
    for notice in driver.changes():
        tell(output, notice)
