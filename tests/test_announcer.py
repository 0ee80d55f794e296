"""Announcers: being found, changing one's mind, and saying goodbye."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from uuid import UUID

import pytest

from bcast.announcer import Announcer
from bcast.browser import discover
from bcast.datagram import Datagram
from bcast.discovery.responder import Conflict
from bcast.errors import ArgumentError
from bcast.messages import Announcement, Goodbye, Message, Service
from bcast.receiver import Receiver
from bcast.wire import decode
from tests.command import PATIENCE, environment, free_port
from tests.loopback import nothing_leaks

if sys.platform != "linux":
    pytest.skip("the loopback interface is used as Linux has it", allow_module_level=True)

LAMP = Service("lamp-1", "_lamp", 80)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    with nothing_leaks():
        yield
    assert not [thread for thread in threading.enumerate() if thread.name == "bcast"]


@pytest.fixture
def witness(port: int) -> Iterator[Receiver]:
    """Hears what is sent to the group."""
    with Receiver("lo", port=port, timeout=0.0) as receiver:
        yield receiver


def kinds(heard: list[Datagram]) -> list[type[Message]]:
    return [type(decode(datagram.payload)) for datagram in heard]


def test_a_goodbye_is_said_at_the_end(port: int, witness: Receiver) -> None:
    with Announcer(LAMP, interfaces="lo", port=port) as lamp:
        assert witness.receive(PATIENCE) is not None
        assert [state.state for state in lamp.states] == ["ready"]
        start = time.monotonic()
    took = time.monotonic() - start
    heard = [one for one in witness if one.ttl == 255]
    assert kinds(heard) == [Goodbye] * 3
    assert 0.29 < took < 2.0
    assert lamp.statistics.goodbyes >= 3
    with pytest.raises(ArgumentError, match="said goodbye"):
        lamp.update(LAMP)


def test_a_goodbye_is_said_in_a_loop_and_after_a_failure(port: int, witness: Receiver) -> None:
    async def main() -> None:
        async with Announcer(LAMP, interfaces="lo", port=port):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())
    assert kinds(list(witness))[-3:] == [Goodbye] * 3


def test_who_is_cancelled_while_leaving_has_said_goodbye_once(
    port: int, witness: Receiver
) -> None:
    async def main() -> None:
        async def announce() -> None:
            async with Announcer(LAMP, interfaces="lo", port=port):
                pass

        task = asyncio.create_task(announce())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert kinds(list(witness))[-1] is Goodbye


def test_closing_says_nothing(port: int, witness: Receiver) -> None:
    with Announcer(LAMP, interfaces="lo", port=port) as lamp:
        lamp.close()
    assert Goodbye not in kinds(list(witness))


def test_what_is_updated_is_announced(port: int, witness: Receiver) -> None:
    async def main() -> None:
        async with Announcer(LAMP, interfaces="lo", port=port) as lamp:
            lamp.update([LAMP, Service("lamp-2", "_lamp", 81)])
            await asyncio.sleep(0.2)
            with pytest.raises(ArgumentError):
                lamp.update([LAMP] * 10_000)

    asyncio.run(main())
    messages = [decode(datagram.payload) for datagram in witness]
    said = [m.services for m in messages if isinstance(m, Announcement) and m.version == 2]
    assert [service.name for service in said[0]] == ["lamp-1", "lamp-2"]


def test_an_interval_is_stated(port: int, witness: Receiver) -> None:
    with Announcer(LAMP, interfaces="lo", port=port, interval=7):
        first = witness.receive(PATIENCE)
        assert first is not None
        announcement = decode(first.payload)
        assert isinstance(announcement, Announcement)
        assert announcement.interval == 7


@pytest.mark.parametrize("given", ["bytes", "hex", "uuid"])
def test_a_stable_id(given: str, port: int) -> None:
    uuid = UUID("12345678-1234-5678-1234-567812345678")
    ways: dict[str, bytes | str] = {"bytes": uuid.bytes, "hex": uuid.hex, "uuid": str(uuid)}
    with Announcer(LAMP, interfaces="lo", port=port, stable_id=ways[given]) as lamp:
        [found] = discover(interfaces="lo", port=port, timeout=PATIENCE, expect=1)
        assert found.id == lamp.id == uuid.hex


def test_an_id_is_another_one_each_time() -> None:
    assert Announcer(LAMP).id != Announcer(LAMP).id


@pytest.mark.parametrize("wrong", [b"", b"x" * 15, "12", "z" * 32, ""])
def test_an_id_that_can_not_be(wrong: str | bytes) -> None:
    with pytest.raises(ArgumentError, match="32 hex digits"):
        Announcer(LAMP, stable_id=wrong)


def test_two_with_one_id_are_told(port: int) -> None:
    with Announcer(LAMP, interfaces="lo", port=port, stable_id=b"1" * 16) as one:  # noqa: SIM117
        with Announcer(LAMP, interfaces="lo", port=port, stable_id=b"1" * 16):
            event = one.next_event(PATIENCE)
            assert isinstance(event, Conflict)
            assert event.interface == "lo"


def test_several_processes_of_one_host(port: int) -> None:
    code = """
import sys, bcast
port, name = int(sys.argv[1]), sys.argv[2]
with bcast.Announcer(bcast.Service(name, "_lamp", 80), interfaces="lo", port=port):
    print("announced", flush=True)
    sys.stdin.read()
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(port), f"lamp-{n}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": "", **environment()},
            text=True,
        )
        for n in range(3)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "announced\n"
        with Announcer(Service("lamp-3", "_lamp", 80), interfaces="lo", port=port):
            found = discover("_lamp", interfaces="lo", port=port, timeout=PATIENCE, expect=4)
        assert sorted(device.name for device in found) == [f"lamp-{n}" for n in range(4)]
    finally:
        for process in processes:
            process.communicate("", timeout=PATIENCE)
    assert [process.returncode for process in processes] == [0, 0, 0]


def test_one_that_is_left_open_does_not_keep_the_interpreter(port: int) -> None:
    code = """
import sys, bcast
bcast.Announcer(bcast.Service("lamp", "_lamp"), interfaces="lo", port=int(sys.argv[1])).__enter__()
bcast.Browser(interfaces="lo", port=int(sys.argv[1])).__enter__()
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
