"""Waiting in an event loop, for drivers that otherwise block.

Layer 5. asyncio is imported by who waits, and by nobody else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

__all__ = ["in_thread", "pause", "until_readable"]

ResultT = TypeVar("ResultT")

# Where an event loop can't wait for sockets, they are looked at this often (seconds).
_POLL = 0.02


async def in_thread(function: Callable[[], ResultT]) -> ResultT:
    """Calls what may block in a thread, while the running event loop goes on."""
    from asyncio import to_thread

    return await to_thread(function)


async def pause(seconds: float) -> None:
    """Lets the running event loop do other things for so long."""
    from asyncio import sleep

    await sleep(seconds)


async def until_readable(fileno: int, timeout: float) -> None:
    """Waits in the running event loop until a descriptor is readable, for ``timeout`` seconds.

    One waits for a descriptor at a time. Where the loop can't wait for it, this returns early.
    """
    from asyncio import get_running_loop

    if timeout <= 0:
        return await pause(0)  # the loop's other tasks get their turn
    loop = get_running_loop()
    readable = loop.create_future()

    def settle() -> None:
        if not readable.done():
            readable.set_result(None)

    try:
        if fileno < 0:
            raise NotImplementedError
        loop.add_reader(fileno, settle)
    except NotImplementedError:
        return await pause(min(timeout, _POLL))
    alarm = loop.call_later(timeout, settle)
    try:
        await readable
    finally:
        alarm.cancel()
        loop.remove_reader(fileno)
    return None
