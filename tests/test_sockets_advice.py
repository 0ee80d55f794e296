"""Errors of socket calls as sentences with the fix."""

from __future__ import annotations

import errno
import os

import pytest

from bcast.errors import PortTakenError, SocketError
from bcast.sockets.advice import errno_name, port_owner_command, socket_error

SYSTEMS = ["linux", "darwin", "win32", "freebsd14", "openbsd7", "netbsd10", "sunos5"]


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def test_the_name_of_an_errno() -> None:
    assert errno_name(error(errno.ENETUNREACH)) == "ENETUNREACH"
    assert errno_name(OSError("no number")) == "OSError"
    assert errno_name(TimeoutError()) == "TimeoutError"


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_command_that_finds_a_port_s_owner_has_the_port(system: str) -> None:
    assert "28232" in port_owner_command(28232, system)


def test_the_command_is_one_that_the_system_has() -> None:
    assert port_owner_command(5353, "linux").startswith("ss ")
    assert port_owner_command(5353, "darwin").startswith("lsof ")
    assert port_owner_command(5353, "win32").startswith("Get-")


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_taken_port(system: str) -> None:
    raised = socket_error(
        error(errno.EADDRINUSE), "bind to port 28232", "eth0", port=28232, system=system
    )
    assert isinstance(raised, PortTakenError)
    assert "28232" in raised.message
    assert raised.message.startswith("eth0: ")
    assert port_owner_command(28232, system) in raised.advice
    assert (raised.error, raised.interface) == ("EADDRINUSE", "eth0")
    assert raised.operation == "bind to port 28232"


def test_an_address_in_use_without_a_port_is_not_a_taken_port() -> None:
    raised = socket_error(error(errno.EADDRINUSE), "set membership of 239.1.2.3", "eth0")
    assert not isinstance(raised, PortTakenError)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_privileged_port(number: int) -> None:
    raised = socket_error(error(number), "bind to port 67", "eth0", port=67, system="linux")
    assert "below 1024" in raised.advice
    assert "67" in raised.advice
    raised = socket_error(error(number), "bind to port 6700", "eth0", port=6700, system="linux")
    assert "1024" not in raised.advice


def test_an_address_that_is_gone() -> None:
    raised = socket_error(
        error(errno.EADDRNOTAVAIL), "bind to port 0", "en0", port=0, address="fe80::1%en0"
    )
    assert raised.advice == "fe80::1 is not an address of en0 any more"
    raised = socket_error(error(errno.EADDRNOTAVAIL), "set IP_MULTICAST_IF", "en0")
    assert "en0" in raised.advice


def test_macos_may_keep_programs_from_the_local_network() -> None:
    raised = socket_error(error(errno.EHOSTUNREACH), "send", "en0", system="darwin")
    assert "Local Network" in raised.advice
    assert "try again" in raised.advice
    raised = socket_error(error(errno.EHOSTUNREACH), "send", "eth0", system="linux")
    assert "Local Network" not in raised.advice
    assert raised.advice


def test_too_many_groups() -> None:
    operation = "set membership of 239.1.2.3"
    raised = socket_error(error(errno.ENOBUFS), operation, "eth0", system="linux")
    assert "igmp_max_memberships" in raised.advice
    raised = socket_error(error(errno.ENOBUFS), operation, "en0", system="darwin")
    assert "too many groups" in raised.advice
    assert "sysctl" not in raised.advice
    raised = socket_error(error(errno.ENOBUFS), "send", "eth0", system="linux")
    assert "slowly" in raised.advice


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(
    "name",
    [
        "EACCES",
        "EADDRNOTAVAIL",
        "EAFNOSUPPORT",
        "EAGAIN",
        "EHOSTUNREACH",
        "EINVAL",
        "EMFILE",
        "ENETUNREACH",
        "ENFILE",
        "ENOBUFS",
        "ENODEV",
        "ENOMEM",
        "ENXIO",
        "EPERM",
    ],
)
def test_what_can_be_done_is_said(name: str, system: str) -> None:
    raised = socket_error(error(getattr(errno, name)), "send", "eth0", system=system)
    assert type(raised) is SocketError
    assert raised.advice
    assert raised.error in (name, "EWOULDBLOCK")
    assert raised.interface == "eth0"
    assert raised.operation == "send"
    assert str(raised) == f"{raised.message}: {raised.advice}"
    assert raised.message.startswith(f"eth0: can't send: {raised.error} (")


@pytest.mark.parametrize("name", ["ENETUNREACH", "ENODEV", "ENXIO"])
def test_an_interface_that_can_not_be_used_is_named(name: str) -> None:
    raised = socket_error(error(getattr(errno, name)), "send", "wlp3s0")
    assert "wlp3s0" in raised.advice


def test_an_error_that_nobody_knows() -> None:
    raised = socket_error(error(errno.EDOM), "send", "eth0")
    assert raised.advice == ""
    assert str(raised) == f"eth0: can't send: EDOM ({os.strerror(errno.EDOM)})"


def test_without_an_interface() -> None:
    raised = socket_error(error(errno.EMFILE), "open an IPv4 socket", "")
    assert raised.message.startswith("can't open an IPv4 socket: EMFILE (")
