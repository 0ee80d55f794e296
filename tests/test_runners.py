"""What runs drivers: threads and event loops, through ends of all kinds."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from bcast.destinations import DEFAULT_GROUPS
from bcast.driver import Driver
from bcast.machine import Received
from bcast.runners import LoopRunner, Runner, ThreadRunner, run_in_loop
from tests.command import PATIENCE, environment, eventually, free_port
from tests.echo import Echo, everybody
from tests.loopback import loopback, nothing_leaks

if sys.platform != "linux":
    pytest.skip("the loopback interface is used as Linux has it", allow_module_level=True)


@pytest.fixture
def port() -> int:
    return free_port()


def open_driver(machine: Echo, port: int, own: str = "127.0.0.1") -> Driver[bytes]:
    return Driver(
        machine,
        port=port,
        groups=DEFAULT_GROUPS,
        interfaces="lo",
        list_interfaces=lambda: (loopback(own),),
    )


def ask(port: int) -> bytes | None:
    """What the first answers who is there."""
    machine = Echo(b"asking")
    with open_driver(machine, port, "127.0.0.9") as driver:
        machine.say(b"who", everybody(port))
        driver.flush(driver.now())
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            driver.wait(0.1)
            for payload in machine.payloads:
                if payload not in (b"who", b"asking"):
                    return payload
    return None


# -- a thread -------------------------------------------------------------------------------------


def test_a_thread_answers_in_the_background(port: int) -> None:
    with nothing_leaks():
        runner = ThreadRunner(open_driver(Echo(b"thread"), port))
        assert ask(port) == b"thread"
        runner.close()
        runner.close()
    assert not [t for t in threading.enumerate() if t.name == "bcast"]
    assert runner.error is None


def test_what_a_thread_is_told_happens_at_once(port: int) -> None:
    machine = Echo()
    runner = ThreadRunner(open_driver(machine, port))
    try:
        # It sleeps without end; a timer that is set from outside wakes it.
        runner.call(lambda: setattr(machine, "timer", time.monotonic() + 0.05))
        assert runner.wait(lambda: bool(machine.called), PATIENCE)
        runner.call(lambda: machine.say(b"news", everybody(port)))
        assert runner.wait(lambda: b"news" in machine.payloads, PATIENCE)
        assert runner.look(lambda: len(machine.called)) == 1
        assert not runner.wait(lambda: False, 0.05)
    finally:
        runner.close()


def test_waiting_for_a_thread_ends_with_it(port: int) -> None:
    runner = ThreadRunner(open_driver(Echo(), port))
    closing = threading.Timer(0.05, runner.close)
    closing.start()
    assert not runner.wait(lambda: False)
    closing.join()


def fail(received: Received) -> None:
    raise ZeroDivisionError("a bug")


def test_a_thread_that_fails_says_so(port: int) -> None:
    machine, told = Echo(), threading.Event()
    machine.prank = fail
    with nothing_leaks():
        runner = ThreadRunner(open_driver(machine, port), told.set)
        provoke(port)
        assert not runner.wait(lambda: False, PATIENCE)
        assert told.is_set() or told.wait(PATIENCE)
        assert isinstance(runner.error, ZeroDivisionError)
        runner.close()


def provoke(port: int) -> None:
    from bcast.sender import Sender

    with Sender("lo") as sender:
        sender.send(b"news", port=port)


def test_a_driver_that_is_not_closed_does_not_keep_the_interpreter(port: int) -> None:
    code = """
import sys
from bcast.destinations import DEFAULT_GROUPS
from bcast.driver import Driver
from bcast.runners import ThreadRunner
from tests.echo import Echo
ThreadRunner(Driver(Echo(), port=int(sys.argv[1]), groups=DEFAULT_GROUPS, interfaces="lo"))
print("open")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(port)],
        env={"PATH": "", **environment()},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "open\n", "")


# -- an event loop --------------------------------------------------------------------------------

Run = Callable[[Driver[bytes], Callable[[], object]], Runner]


def beside(driver: Driver[bytes], told: Callable[[], object]) -> Runner:
    """As where the loop can't wait for descriptors."""
    loop = asyncio.get_running_loop()

    class Proactor:
        def call_soon_threadsafe(self, function: Callable[[], object]) -> None:
            loop.call_soon_threadsafe(function)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("bcast.driver.Driver.fileno", lambda self: -1)
        runner = run_in_loop(driver, Proactor(), told)  # type: ignore[arg-type, unused-ignore]
    assert isinstance(runner, ThreadRunner)
    return runner


def within(driver: Driver[bytes], told: Callable[[], object]) -> Runner:
    runner = run_in_loop(driver, asyncio.get_running_loop(), told)
    assert isinstance(runner, LoopRunner)
    return runner


@pytest.mark.parametrize("run", [within, beside])
def test_a_loop_goes_on_with_other_things(run: Run, port: int) -> None:
    async def main() -> None:
        told = asyncio.Event()
        runner = run(open_driver(Echo(b"loop"), port), told.set)
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        ticking = asyncio.create_task(tick())
        assert await asyncio.to_thread(ask, port) == b"loop"
        await asyncio.wait_for(told.wait(), PATIENCE)
        while ticks < 2:
            await asyncio.sleep(0.001)
        ticking.cancel()
        runner.close()
        runner.close()

    with nothing_leaks():
        asyncio.run(main(), debug=True)


@pytest.mark.parametrize("run", [within, beside])
def test_a_loop_wakes_for_timers(run: Run, port: int) -> None:
    async def main() -> None:
        machine, told = Echo(), asyncio.Event()
        runner = run(open_driver(machine, port), told.set)
        runner.call(lambda: setattr(machine, "timer", time.monotonic() + 0.03))
        await asyncio.wait_for(told.wait(), PATIENCE)
        end = time.monotonic() + PATIENCE
        while not machine.called and time.monotonic() < end:
            await asyncio.sleep(0.001)
        assert len(machine.called) == 1
        runner.close()

    asyncio.run(main())


@pytest.mark.parametrize("run", [within, beside])
def test_a_loop_is_told_of_failures(run: Run, port: int) -> None:
    async def main() -> None:
        machine, told = Echo(), asyncio.Event()
        machine.prank = fail
        runner = run(open_driver(machine, port), told.set)
        provoke(port)
        end = time.monotonic() + PATIENCE
        while runner.error is None and time.monotonic() < end:
            await asyncio.sleep(0.001)
        assert isinstance(runner.error, ZeroDivisionError)
        runner.close()

    with nothing_leaks():
        asyncio.run(main())


def test_an_idle_loop_wakes_for_beats_only(port: int) -> None:
    async def main() -> None:
        machine = Echo()
        machine.again = 0.2
        driver = open_driver(machine, port)
        runner = run_in_loop(driver, asyncio.get_running_loop(), lambda: None)
        runner.call(lambda: setattr(machine, "timer", time.monotonic() + 0.1))
        before = driver.traffic.wakeups
        await asyncio.sleep(1.0)
        beats = len(machine.called)
        assert beats >= 2
        # An interface of this machine may change meanwhile: a notification and a listing.
        assert driver.traffic.wakeups - before <= beats + 2
        assert isinstance(runner, LoopRunner)
        runner.close()

    asyncio.run(main())


def test_an_idle_thread_wakes_for_beats_only(port: int) -> None:
    machine = Echo()
    machine.again = 0.2
    driver = open_driver(machine, port)
    runner = ThreadRunner(driver)
    runner.call(lambda: setattr(machine, "timer", time.monotonic() + 0.1))
    eventually(lambda: len(machine.called) >= 3)
    runner.close()
    # Twice more: it was nudged to look at the timer, and to end.
    assert driver.traffic.wakeups <= len(machine.called) + 3


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "bcast"]
