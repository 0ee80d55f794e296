"""The library's manners: in threads, loops, forked processes, and when the interpreter ends."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing

import pytest

import bcast
from bcast.errors import ArgumentError
from tests.command import PATIENCE, environment, free_port
from tests.loopback import nothing_leaks

if sys.platform != "linux":
    pytest.skip("the loopback interface is used as Linux has it", allow_module_level=True)

LAMP = bcast.Service("lamp-1", "_lamp", 80)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    with nothing_leaks():
        yield
    assert not [thread for thread in threading.enumerate() if thread.name == "bcast"]


def run(program: str, port: int, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    """Runs a program that is shown every warning."""
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program, str(port)],
        env={"PATH": "", **environment()},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


# --- raw datagrams with asyncio


def test_datagrams_in_a_loop(port: int) -> None:
    async def main() -> list[bytes]:
        async with (
            bcast.Receiver("lo", port=port, family=4, timeout=PATIENCE) as receiver,
            bcast.Sender("lo", family=4) as sender,
        ):
            sent = await sender.send_async(b"hello", port=port, count=3, interval=0.01)
            assert sum(one.count for one in sent.sent) == 3
            found = []
            async for datagram in receiver:
                found.append(datagram.payload)
                if len(found) == 3:
                    break
            assert await receiver.receive_async(0.01) is None
            return found

    assert asyncio.run(main()) == [b"hello"] * 3


def test_replies_in_a_loop(port: int) -> None:
    async def answer(receiver: bcast.Receiver) -> None:
        async for datagram in receiver:
            there = datagram.source
            with bcast.Sender("lo", family=4) as sender:
                await sender.send_async(b"here", to=str(there.address), port=there.port)

    async def main() -> bytes:
        async with (
            bcast.Receiver("lo", port=port, family=4) as receiver,
            bcast.Sender("lo", family=4) as sender,
        ):
            answering = asyncio.create_task(answer(receiver))
            await sender.send_async(b"who", port=port)
            async with aclosing(sender.replies_async(PATIENCE)) as replies:
                reply = await anext(replies)
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
            return reply.payload

    assert asyncio.run(main()) == b"here"


def test_a_receiver_that_waits_is_closed_from_elsewhere(port: int) -> None:
    async def main(close: Callable[[bcast.Receiver], object]) -> list[bcast.Datagram]:
        receiver = bcast.Receiver("lo", port=port, family=4)

        async def read() -> list[bcast.Datagram]:
            return [datagram async for datagram in receiver]

        reading = asyncio.create_task(read())
        await asyncio.sleep(0.01)
        close(receiver)
        found = await asyncio.wait_for(reading, PATIENCE)
        assert await receiver.receive_async() is None
        assert await receiver.read_async() == []
        return found

    def in_thread(receiver: bcast.Receiver) -> None:
        closing = threading.Thread(target=receiver.close)
        closing.start()
        closing.join()

    assert asyncio.run(main(lambda receiver: receiver.close())) == []
    assert asyncio.run(main(in_thread)) == []


def test_waiting_for_datagrams_may_be_cancelled(port: int) -> None:
    async def main() -> bytes | None:
        async with bcast.Receiver("lo", port=port, family=4) as receiver:
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(receiver.receive_async(), 0.01)
            waiting = asyncio.create_task(receiver.receive_async())
            with bcast.Sender("lo", family=4) as sender:
                sender.send(b"1", port=port)
            await asyncio.sleep(0)
            waiting.cancel()
            found = await asyncio.gather(waiting, return_exceptions=True)
            if isinstance(found[0], bcast.Datagram):
                return found[0].payload
            received = await receiver.receive_async(PATIENCE)
            return None if received is None else received.payload

    assert asyncio.run(main()) == b"1"


def test_a_loop_that_cannot_wait_for_sockets_looks_at_them(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise NotImplementedError

    async def main() -> bytes:
        loop = asyncio.get_running_loop()
        async with bcast.Receiver("lo", port=port, family=4) as receiver:
            monkeypatch.setattr(loop, "add_reader", refuse)
            with bcast.Sender("lo", family=4) as sender:
                loop.call_later(0.01, lambda: sender.send(b"late", port=port))
                received = await receiver.receive_async(PATIENCE)
            assert received is not None
            return received.payload

    assert asyncio.run(main()) == b"late"


def test_a_flood_leaves_the_loop_its_turn(port: int) -> None:
    async def main() -> int:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async with bcast.Receiver("lo", port=port, family=4) as receiver:
            task = asyncio.create_task(other())
            with bcast.Sender("lo", family=4) as sender:
                for _ in range(20):
                    sender.send(b"flood", port=port)
                    assert await receiver.receive_async(PATIENCE)
            task.cancel()
        return turns

    assert asyncio.run(main()) >= 20


def test_a_watcher_in_a_loop() -> None:
    async def main() -> bool:
        loop = asyncio.get_running_loop()
        with bcast.InterfaceWatcher(now=loop.time()) as watcher:
            loop.add_reader(watcher.fileno(), lambda: watcher.wake(loop.time()))
            await asyncio.sleep(0.01)
            loop.remove_reader(watcher.fileno())
            return watcher.interfaces == bcast.list_interfaces()

    assert asyncio.run(main())


# --- threads and loops


def browser(port: int) -> bcast.Browser:
    return bcast.Browser(interfaces="lo", port=port)


def test_two_threads_have_a_browser_each_and_share_one(port: int) -> None:
    found: list[str] = []

    def browse() -> None:
        with browser(port) as own:
            found.extend(event.device.name for event in [own.next_event(PATIENCE)] if event)

    shared = browser(port)

    def take() -> None:
        found.extend(event.device.name for event in shared)

    with bcast.Announcer(LAMP, interfaces="lo", port=port):
        with shared:
            threads = [threading.Thread(target=one) for one in (browse, browse, take, take)]
            for thread in threads:
                thread.start()
            threads[0].join(PATIENCE)
            threads[1].join(PATIENCE)
            end = time.monotonic() + PATIENCE
            while len(found) < 3 and time.monotonic() < end:
                time.sleep(0.001)
        for thread in threads:
            thread.join(PATIENCE)
    # One event goes to one thread.
    assert found == ["lamp-1"] * 3


def test_two_loops_have_a_browser_each(port: int) -> None:
    async def browse() -> str:
        async with browser(port) as own:
            async for event in own:
                return event.device.name
        return ""

    found: list[str] = []
    with bcast.Announcer(LAMP, interfaces="lo", port=port):
        threads = [
            threading.Thread(target=lambda: found.append(asyncio.run(browse()))) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert asyncio.run(browse()) == "lamp-1"
    assert found == ["lamp-1"] * 2


def test_one_browser_is_for_one_loop(port: int) -> None:
    async def wait(waited: bcast.Browser) -> None:
        await waited.next_event_async(PATIENCE)

    async def main() -> None:
        async with browser(port) as mine:
            with pytest.raises(ArgumentError, match="another event loop: open one for each loop"):
                await asyncio.to_thread(asyncio.run, wait(mine))
        with (
            browser(port) as plain,
            pytest.raises(ArgumentError, match="with a plain with: use a plain for"),
        ):
            await wait(plain)

    asyncio.run(main())


def test_another_thread_may_close_what_a_loop_runs(port: int) -> None:
    async def main() -> list[object]:
        async with browser(port) as mine:
            asyncio.get_running_loop().call_later(
                0.01, lambda: threading.Thread(target=mine.close).start()
            )
            return [event async for event in mine]

    assert asyncio.run(asyncio.wait_for(main(), PATIENCE)) == []


def test_one_that_nobody_holds_any_more_ends(port: int) -> None:
    browser(port).__enter__()
    # What is left of it, the fixture would find.


# --- processes

# That who forks has threads, of which there are none in the child, and what it leaves open there.
IGNORING = "import warnings\nwarnings.simplefilter('ignore')\n"

FORKED = """
import os, sys, time, bcast
port = int(sys.argv[1])
def browse():
    with bcast.Browser(interfaces="lo", port=port) as browser:
        return browser.next_event(5).device.name
with bcast.Announcer(bcast.Service("lamp", "_lamp"), interfaces="lo", port=port):
    pid = os.fork()
    if not pid:
        os._exit(browse() != "lamp")
    assert os.waitpid(pid, 0)[1] == 0
    print(browse())
"""

INHERITED = """
import os, sys, bcast
port = int(sys.argv[1])
announcer = bcast.Announcer(bcast.Service("lamp", "_lamp"), interfaces="lo", port=port)
with announcer, bcast.Browser(interfaces="lo", port=port) as browser:
    print(browser.next_event(5).device.name, flush=True)
    if not (pid := os.fork()):
        try:
            browser.next_event(5)
        except bcast.ArgumentError as error:
            print(error, flush=True)
            raise SystemExit
    os.waitpid(pid, 0)
    announcer.update(bcast.Service("lamp", "_lamp", attributes={"fw": "2"}))
    print(browser.next_event(5).device.attributes["fw"])
"""


def test_a_process_that_is_forked_opens_its_own(port: int) -> None:
    done = run(IGNORING + FORKED, port)
    assert (done.stdout, done.stderr, done.returncode) == ("lamp\n", "", 0)


def test_what_was_open_at_a_fork_goes_on_in_the_parent_alone(port: int) -> None:
    done = run(IGNORING + INHERITED, port)
    said = "this browser belongs to the process that forked this one: open one here"
    assert (done.stdout, done.stderr) == (f"lamp\n{said}\n2\n", "")


@pytest.mark.parametrize(
    "program",
    [
        "opened = make().__enter__()",
        "opened = make().__enter__(); opened.next_event(0.01); raise SystemExit",
        "make().__enter__()",
        "iterator = iter(make().__enter__()); next(iterator)",
        "asyncio.run(make().__aenter__())",
        "async def main():\n    global opened\n    opened = await make().__aenter__()\n"
        "    await opened.next_event_async(5)\nasyncio.run(main())",
        "loop = asyncio.new_event_loop(); opened = loop.run_until_complete(make().__aenter__())\n"
        "loop.close()",
        "opened = make().__enter__()\n"
        "threading.Thread(target=lambda: list(opened), daemon=True).start()",
        "opened = make().__enter__()\n"
        "atexit.register(lambda: (opened.devices, opened.close(), opened.close()))",
    ],
)
def test_the_interpreter_ends_with_one_open(program: str, port: int) -> None:
    imports = "import asyncio, atexit, sys, threading, bcast\nport = int(sys.argv[1])\n"
    make = "def make(): return bcast.Browser(interfaces='lo', port=port)\n"
    announcing = "bcast.Announcer(bcast.Service('x', '_x'), interfaces='lo', port=port)"
    began = time.monotonic()
    done = run(f"{imports}{make}here = {announcing}.__enter__()\n{program}", port)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert time.monotonic() - began < PATIENCE / 2


def test_importing_opens_and_starts_nothing() -> None:
    program = """
import os, threading, bcast
before = os.listdir("/proc/self/fd")
for name in bcast.__all__:
    getattr(bcast, name)
print(os.listdir("/proc/self/fd") == before, threading.active_count())
"""
    done = run(program, 1)
    assert (done.stdout, done.stderr) == ("True 1\n", "")
