from __future__ import annotations

import errno
import socket
from ipaddress import ip_address

import pytest

from bcast.datagram import Address, Interface, InterfaceFlag, Kind
from bcast.errors import SocketError
from bcast.interfaces.routing import kernel_choice

UP = InterfaceFlag.UP | InterfaceFlag.RUNNING
ETH0 = Interface(
    "eth0",
    4,
    Kind.ETHERNET,
    UP,
    1500,
    None,
    (
        Address(ip_address("10.9.1.1"), 24),
        Address(ip_address("fe80::1%eth0"), 64),
        Address(ip_address("fd00::1"), 64),
    ),
)
ETH1 = Interface(
    "eth1",
    5,
    Kind.ETHERNET,
    UP,
    1500,
    None,
    (Address(ip_address("10.9.2.1"), 24), Address(ip_address("fe80::1%eth1"), 64)),
)
BOTH = (ETH0, ETH1)

Name = tuple[str, int] | tuple[str, int, int, int]


class Kernel(socket.socket):
    """A kernel that gives every connected socket the same source address, or refuses."""

    def __init__(self, answer: Name | int) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[object] = []
        self.families: list[int] = []

    def create(self, family: int, type: int) -> socket.socket:
        assert type == socket.SOCK_DGRAM
        self.families.append(family)
        return self

    def connect(self, address: object, /) -> None:
        assert self.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
        self.asked.append(address)
        if isinstance(self.answer, int):
            raise OSError(self.answer, "refused")

    def getsockname(self) -> object:
        return self.answer


def choice(destination: str, answer: Name | int) -> tuple[Interface | None, object]:
    with Kernel(answer) as kernel:
        chosen = kernel_choice(ip_address(destination), BOTH, kernel.create)
        assert kernel.fileno() == -1 or not kernel.asked
        expected = socket.AF_INET6 if ":" in destination else socket.AF_INET
        assert all(family == expected for family in kernel.families)
        return chosen, kernel.asked[0] if kernel.asked else None


def test_owner_of_the_source_address() -> None:
    assert choice("255.255.255.255", ("10.9.2.1", 40000)) == (ETH1, ("255.255.255.255", 9))
    assert choice("239.1.2.3", ("10.9.1.1", 40000))[0] == ETH0
    assert choice("fd00::5", ("fd00::1", 40000, 0, 0)) == (ETH0, ("fd00::5", 9, 0, 0))


def test_scope_says_which_interface_has_a_link_local_source() -> None:
    assert choice("fe80::7%eth1", ("fe80::1", 1, 0, 5)) == (ETH1, ("fe80::7", 9, 0, 5))
    assert choice("ff02::1%5", ("fe80::1", 1, 0, 5)) == (ETH1, ("ff02::1", 9, 0, 5))


def test_link_local_source_without_scope_is_found_by_its_address() -> None:
    chosen = choice("ff05::fb", ("fe80::2", 1, 0, 0))[0]
    assert chosen is None
    chosen = choice("ff05::fb", ("fe80::1", 1, 0, 0))[0]
    assert chosen == ETH0


def test_link_local_group_without_scope_is_asked_for_as_a_global_one() -> None:
    assert choice("ff02::fb", ("fd00::1", 1, 0, 0)) == (ETH0, ("ff0e::fb", 9, 0, 0))
    assert choice("ff12::fb", ("fd00::1", 1, 0, 0)) == (ETH0, ("ff1e::fb", 9, 0, 0))
    assert choice("ff05::fb", ("fd00::1", 1, 0, 0)) == (ETH0, ("ff05::fb", 9, 0, 0))


def test_scope_that_does_not_exist_has_no_route() -> None:
    assert choice("ff02::1%gone", ("fd00::1", 1, 0, 0)) == (None, None)


@pytest.mark.parametrize(
    "number",
    [errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EINVAL, errno.EACCES],
)
def test_no_route(number: int) -> None:
    assert choice("255.255.255.255", number)[0] is None


def test_source_that_nobody_owns() -> None:
    assert choice("255.255.255.255", ("0.0.0.0", 1))[0] is None
    assert choice("fd00::5", ("fe80::1", 1, 0, 99))[0] is None


def test_system_without_the_family_has_no_route() -> None:
    def create(family: int, type: int) -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    assert kernel_choice(ip_address("ff02::1"), BOTH, create) is None


def test_trouble_of_our_own_is_not_called_a_missing_route() -> None:
    def create(family: int, type: int) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    with pytest.raises(SocketError, match="EMFILE"):
        kernel_choice(ip_address("255.255.255.255"), BOTH, create)
