"""Turns on the loopback interface: one process at a time, whatever becomes of it."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest

from bcast.lans import LoopbackLan, UnsupportedError
from bcast.lans.turns import Turn
from tests.command import PATIENCE
from tests.loopback import nothing_leaks

if sys.platform != "linux":
    pytest.skip("there are no abstract sockets", allow_module_level=True)

_OTHER = """
import sys
from bcast.lans.turns import Turn
turn = Turn(sys.argv[1])
turn.take()
print("taken", flush=True)
sys.stdin.read()
turn.give_back()
"""


@pytest.fixture
def name() -> str:
    return f"bcast test {uuid4()}"


@contextmanager
def other(name: str) -> Iterator[subprocess.Popen[str]]:
    """A process that wants the turn, says when it has it, and gives it back at the end."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", _OTHER, name]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def is_taken(process: subprocess.Popen[str]) -> bool:
    assert process.stdout is not None
    return process.stdout.readline() == "taken\n"


@pytest.mark.parametrize("end", ["gives it back", "is killed"])
def test_it_is_waited_for(name: str, end: str) -> None:
    turn = Turn(name)
    with nothing_leaks(), other(name) as process:
        assert is_taken(process)
        taken = threading.Event()

        def take() -> None:
            turn.take(PATIENCE)
            taken.set()

        thread = threading.Thread(target=take)
        thread.start()
        assert not taken.wait(0.05)
        if end == "is killed":
            process.kill()
        else:
            assert process.stdin is not None
            process.stdin.close()
        assert taken.wait(PATIENCE)
        thread.join()
        turn.give_back()


def test_one_process_has_it_for_all_that_need_it(name: str) -> None:
    first, second = Turn(name), Turn(name)
    with nothing_leaks():
        first.take()
        first.take()
        with other(name) as process:
            first.give_back()
            # To another turn of that name this one is another process.
            with pytest.raises(UnsupportedError, match="another process plays accessories with"):
                second.take(0.05)
            first.give_back()
            assert is_taken(process)


def test_a_holder_that_accepts_nobody_is_waited_for(name: str) -> None:
    turn = Turn(name)
    with nothing_leaks(), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf:
        deaf.bind(f"\0{name}")
        with pytest.raises(UnsupportedError):
            turn.take(0.02)
        timer = threading.Timer(0.02, deaf.close)
        timer.start()
        turn.take(PATIENCE)
        timer.join()
        turn.give_back()


def test_a_lan_has_it_from_its_first_described_accessory_to_its_end() -> None:
    stranger = Turn("bcast.lans.loopback")
    stranger.take()
    with LoopbackLan() as lan:
        lan.accessory("lamp", "_lamp")
        stranger.give_back()
        lan.accessory("wiz")
        with pytest.raises(UnsupportedError):
            stranger.take(0.0)
    stranger.take()
    stranger.give_back()
