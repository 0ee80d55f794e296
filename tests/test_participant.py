"""What browsers and announcers have in common: plain and asynchronous blocks around a machine."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from ipaddress import IPv4Address

import pytest

from bcast.datagram import Group
from bcast.destinations import DEFAULT_GROUPS
from bcast.domain import Domain
from bcast.errors import ArgumentError, InterfaceError
from bcast.machine import Received
from bcast.participant import Participant, domain_of
from bcast.sender import Sender
from tests.command import PATIENCE, free_port
from tests.echo import Echo, everybody
from tests.loopback import loopback, nothing_leaks

if sys.platform != "linux":
    pytest.skip("the loopback interface is used as Linux has it", allow_module_level=True)


@pytest.fixture
def port() -> int:
    return free_port()


Make = Callable[..., Participant[bytes]]


@pytest.fixture
def make(port: int) -> Make:
    def on_loopback(machine: Echo | None = None, **options: object) -> Participant[bytes]:
        settings: dict[str, object] = {
            "domain": Domain(port=port),
            "interfaces": "lo",
            "exclude": None,
            "family": None,
            "timeout": None,
            "list_interfaces": lambda: (loopback("127.0.0.1"),),
            **options,
        }
        return Participant(machine or Echo(), **settings)  # type: ignore[arg-type, unused-ignore]

    return on_loopback


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    with nothing_leaks():
        yield
    assert not [thread for thread in threading.enumerate() if thread.name == "bcast"]


def say(port: int, *payloads: bytes) -> None:
    with Sender("lo") as sender:
        sender.send_many(payloads, to=str(everybody(port).address), port=port)


# -- plainly --------------------------------------------------------------------------------------


def test_events_as_they_happen(port: int, make: Make) -> None:
    with make() as participant:
        say(port, b"1", b"2")
        found = iter(participant)
        assert [next(found), next(found)] == [b"1", b"2"]
        say(port, b"3")
        assert next(found) == b"3"
        assert [state.state for state in participant.states] == ["ready"]
        assert [chosen.name for chosen in participant.selection.chosen] == ["lo"]
        assert participant.changes() == []
        assert participant.traffic.received == 3
    assert participant.traffic.received == 3
    assert participant.states == ()


def test_iteration_ends_after_its_time(port: int, make: Make) -> None:
    start = time.monotonic()
    with make(timeout=0.1) as participant:
        say(port, b"1")
        assert list(participant) == [b"1"]
        assert participant.next_event(0.0) is None
    assert 0.1 <= time.monotonic() - start < PATIENCE


def test_iteration_ends_with_the_block_and_nothing_is_lost(port: int, make: Make) -> None:
    participant = make()
    found: list[bytes] = []
    reading = threading.Thread(target=lambda: found.extend(participant))
    with participant:
        reading.start()
        say(port, b"1", b"2")
        while len(found) < 2:
            time.sleep(0.001)
    reading.join(PATIENCE)
    assert not reading.is_alive()
    assert found == [b"1", b"2"]
    assert list(participant) == []


def test_a_failure_is_raised_where_events_are_waited_for(port: int, make: Make) -> None:
    machine = Echo()

    def fail(received: Received) -> None:
        raise ZeroDivisionError("a bug")

    machine.prank = fail
    with make(machine) as participant:
        say(port, b"1")
        with pytest.raises(ZeroDivisionError):
            list(participant)


def test_it_can_be_opened_once(make: Make) -> None:
    participant = make()
    with pytest.raises(ArgumentError, match="this participant isn't open: use it in a with block"):
        participant.next_event()
    with participant, pytest.raises(ArgumentError, match="was opened before"), participant:
        pass
    with pytest.raises(ArgumentError, match="was opened before"), participant:
        pass
    participant.close()


def test_closed_before_it_was_opened(make: Make) -> None:
    participant = make()
    participant.close()
    assert participant.states == ()


def test_nothing_to_work_on(make: Make) -> None:
    with pytest.raises(InterfaceError), make(interfaces="nosuch0"):
        pass
    with pytest.raises(ArgumentError):
        make(family=7)


# -- with asyncio ---------------------------------------------------------------------------------


def test_events_in_a_loop(port: int, make: Make) -> None:
    async def main() -> None:
        async with make() as participant:
            say(port, b"1", b"2")
            found = []
            async for event in participant:
                found.append(event)
                if event == b"2":
                    say(port, b"3")
                if event == b"3":
                    break
            assert found == [b"1", b"2", b"3"]
            assert [state.state for state in participant.states] == ["ready"]
            with pytest.raises(ArgumentError, match="use async for there"):
                participant.next_event()
        assert participant.traffic.received == 3

    asyncio.run(main(), debug=True)


def test_iteration_in_a_loop_ends_after_its_time(port: int, make: Make) -> None:
    async def main() -> list[bytes]:
        async with make(timeout=0.1) as participant:
            say(port, b"1")
            return [event async for event in participant]

    start = time.monotonic()
    assert asyncio.run(main()) == [b"1"]
    assert 0.1 <= time.monotonic() - start < PATIENCE


def test_iteration_in_a_loop_ends_with_the_block(port: int, make: Make) -> None:
    async def main() -> None:
        participant = make()

        async def read(events: AsyncIterator[bytes]) -> list[bytes]:
            return [event async for event in events]

        async with participant:
            tasks = [asyncio.create_task(read(aiter(participant))) for _ in range(3)]
            await asyncio.sleep(0.01)
            say(port, b"1", b"2", b"3", b"4")
            await asyncio.sleep(0.05)
        found = await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)
        # Each event goes to one of those that wait.
        assert sorted(event for one in found for event in one) == [b"1", b"2", b"3", b"4"]

    asyncio.run(main())


def test_waiting_may_be_cancelled(port: int, make: Make) -> None:
    async def main() -> None:
        async with make() as participant:
            waiting = asyncio.create_task(participant.next_event_async())
            await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await participant.next_event_async()
            say(port, b"1")
            assert await participant.next_event_async(PATIENCE) == b"1"
            assert await participant.next_event_async(0.01) is None

    asyncio.run(main())


def test_a_task_that_is_cancelled_closes_it(make: Make) -> None:
    async def main() -> None:
        async def browse() -> None:
            async with make() as participant:
                async for _ in participant:
                    pass

        task = asyncio.create_task(browse())
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_a_failure_is_raised_in_the_loop(port: int, make: Make) -> None:
    machine = Echo()

    def fail(received: Received) -> None:
        raise ZeroDivisionError("a bug")

    machine.prank = fail

    async def main() -> None:
        async with make(machine) as participant:
            say(port, b"1")
            with pytest.raises(ZeroDivisionError):
                async for _ in participant:
                    pass

    asyncio.run(main())


def test_several_in_one_program(port: int, make: Make) -> None:
    async def main() -> None:
        async with make() as one, make() as other:
            with make() as third:
                say(port, b"1")
                assert await one.next_event_async(PATIENCE) == b"1"
                assert await other.next_event_async(PATIENCE) == b"1"
                assert third.next_event(PATIENCE) == b"1"

    asyncio.run(main())


def test_a_plain_one_beside_a_loop(port: int, make: Make) -> None:
    def plainly() -> bytes | None:
        with make() as participant:
            say(port, b"1")
            return participant.next_event(PATIENCE)

    async def main() -> None:
        assert await asyncio.to_thread(plainly) == b"1"
        assert plainly() == b"1"

    asyncio.run(main())


# -- arguments ------------------------------------------------------------------------------------


def test_groups_as_text() -> None:
    four, six = DEFAULT_GROUPS

    def groups(given: str | list[str | Group] | None) -> tuple[Group, ...]:
        return domain_of("", None, 2222, given, True).groups

    assert groups(None) == DEFAULT_GROUPS
    assert groups("239.1.2.3") == (Group(IPv4Address("239.1.2.3")),)
    assert groups([four, str(six), four]) == (four, six)
    assert groups([]) == ()
    for wrong in ("10.0.0.1", ["239.1.2.3", "239.1.2.4"], "10.0.0.1@232.1.1.1"):
        with pytest.raises(ArgumentError):
            groups(wrong)  # type: ignore[arg-type, unused-ignore]
