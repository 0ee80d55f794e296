from __future__ import annotations

import copy
import pickle
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast import errors
from bcast.errors import (
    ArgumentError,
    BcastError,
    CaptureError,
    DecodeError,
    InterfaceError,
    KeyFileError,
    LabError,
    PortTakenError,
    SocketError,
    TooLargeError,
    open_files_advice,
)

KINDS: tuple[type[BcastError], ...] = (
    BcastError,
    ArgumentError,
    InterfaceError,
    SocketError,
    PortTakenError,
    TooLargeError,
    CaptureError,
    KeyFileError,
    LabError,
    DecodeError,
)


def test_the_tree() -> None:
    assert {kind.__name__ for kind in KINDS} == {
        name for name in errors.__all__ if name[0].isupper()
    }
    for kind in KINDS:
        assert issubclass(kind, BcastError)
    assert issubclass(PortTakenError, SocketError)
    assert issubclass(TooLargeError, SocketError)
    # Exit status 2 and 3 are told apart by this: one must not be the other.
    for kind in KINDS:
        assert issubclass(kind, ArgumentError) is (kind is ArgumentError)


def test_too_many_open_files_are_told_with_the_limit() -> None:
    advice = open_files_advice()
    if sys.platform == "win32":
        assert "limit" in advice
    else:
        import resource

        now = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert advice.startswith(f"no more than {now} files")
        assert "ulimit -n" in advice


def test_a_bad_argument_is_a_value_error_as_everywhere_in_python() -> None:
    with pytest.raises(ValueError, match="port 0 doesn't exist"):
        raise ArgumentError("port 0 doesn't exist", "use a number from 1 to 65535")


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_reads_as_a_sentence_with_its_advice(kind: type[BcastError]) -> None:
    error = kind("eth0 is gone", "see bcast interfaces")
    assert str(error) == "eth0 is gone: see bcast interfaces"
    assert (error.message, error.advice) == ("eth0 is gone", "see bcast interfaces")
    assert repr(error) == f"{kind.__name__}('eth0 is gone', 'see bcast interfaces')"
    assert str(kind("eth0 is gone")) == "eth0 is gone"


@given(st.sampled_from(KINDS), st.text(), st.text())
def test_every_error_survives_pickling_and_copying(
    kind: type[BcastError], message: str, advice: str
) -> None:
    """They cross processes, as those of a test run in parallel do."""
    error = kind(message, advice)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is kind
        assert str(again) == str(error)
        assert (again.message, again.advice) == (message, advice)


@pytest.mark.parametrize("kind", [SocketError, PortTakenError, TooLargeError])
def test_socket_errors_say_where_and_at_what(kind: type[SocketError]) -> None:
    error = kind(
        "eth0: UDP port 2222 is taken",
        "use another port",
        error="EADDRINUSE",
        interface="eth0",
        operation="bind to port 2222",
    )
    for again in (error, pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert str(again) == "eth0: UDP port 2222 is taken: use another port"
        assert again.error == "EADDRINUSE"
        assert again.interface == "eth0"
        assert again.operation == "bind to port 2222"
    bare = kind("no")
    assert (bare.error, bare.interface, bare.operation) == ("", "", "")
