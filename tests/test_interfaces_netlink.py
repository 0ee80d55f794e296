from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bcast.datagram import IPAddress
from bcast.errors import SocketError
from bcast.interfaces.netlink import (
    ATTEMPTS,
    NLM_F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_OVERRUN,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_NEWADDR,
    RTM_NEWLINK,
    Link,
    LinkAddress,
    Message,
    NetlinkError,
    Notice,
    decode_address,
    decode_link,
    dump,
    read_messages,
    read_notifications,
    refused,
)

# What a kernel sends, written down a second time.


def message(kind: int, body: bytes, *, sequence: int = 0, flags: int = 0) -> bytes:
    padding = bytes(-len(body) % 4)
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 77) + body + padding


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def link_body(link: Link) -> bytes:
    body = struct.pack("=BxHiII", link.family, link.type, link.ifindex, link.flags, 0xFFFFFFFF)
    body += attribute(3, link.name.encode() + b"\0") + attribute(4, struct.pack("=I", link.mtu))
    if link.hardware_address:
        body += attribute(1, link.hardware_address)
    if link.master:
        body += attribute(10, struct.pack("=I", link.master))
    if link.kind:
        nested = attribute(1, link.kind.encode() + b"\0") + attribute(2, b"\1\2\3")
        body += attribute(18 | 0x8000, nested)
    return body


def address_body(address: LinkAddress) -> bytes:
    family = 2 if isinstance(address.address, IPv4Address) else 10
    body = struct.pack("=BBBBI", family, address.prefix_length, 0, 0, address.ifindex)
    body += attribute(1, (address.peer or address.address).packed)
    if family == 2 or address.peer:
        body += attribute(2, address.address.packed)
    if address.broadcast is not None:
        body += attribute(4, address.broadcast.packed)
    return body + attribute(8, struct.pack("=I", address.flags))


u32 = st.integers(0, 2**32 - 1)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=15)
links = st.builds(
    Link,
    family=st.just(0),
    ifindex=st.integers(1, 2**31 - 1),
    name=names,
    type=st.integers(0, 2**16 - 1),
    flags=u32,
    mtu=u32,
    hardware_address=st.binary(max_size=20),
    master=u32,
    kind=st.sampled_from(["", "veth", "bridge", "ip6gretap"]),
)


@st.composite
def link_addresses(draw: st.DrawFn) -> LinkAddress:
    index, flags = draw(u32), draw(u32)
    address: IPAddress = draw(st.ip_addresses())
    if isinstance(address, IPv4Address):
        broadcast = draw(st.none() | st.integers(0, 2**32 - 1).map(IPv4Address))
        peer: IPAddress | None = draw(st.none() | st.ip_addresses(v=4))
    else:
        broadcast, peer = None, draw(st.none() | st.ip_addresses(v=6))
    prefix_length = draw(st.integers(0, address.max_prefixlen))
    peer = peer if peer != address else None
    return LinkAddress(index, address, prefix_length, broadcast, peer, flags)


@given(links)
def test_link_is_decoded(link: Link) -> None:
    assert decode_link(link_body(link)) == link


@given(link_addresses())
def test_address_is_decoded(address: LinkAddress) -> None:
    assert decode_address(address_body(address)) == address


def test_flags_of_an_old_kernel_are_in_the_fixed_part() -> None:
    body = struct.pack("=BBBBI", 10, 64, 0x40, 0, 3) + attribute(1, bytes(15) + b"\1")
    assert decode_address(body) == LinkAddress(3, IPv6Address("::1"), 64, None, None, 0x40)


def test_address_of_another_family_is_nothing() -> None:
    assert decode_address(struct.pack("=BBBBI", 12, 8, 0, 0, 3)) is None


@given(st.lists(st.tuples(st.integers(0, 99), st.binary(max_size=9)), max_size=4))
def test_messages_are_split(parts: list[tuple[int, bytes]]) -> None:
    data = b"".join(message(kind, body, sequence=5, flags=2) for kind, body in parts)
    assert list(read_messages(data)) == [Message(kind, 2, 5, body) for kind, body in parts]


SOME_LINK = Link(0, 4, "eth0", 1, 0x1043, 1500, b"\2\0\0\0\0\1", 9, "veth")
SOME_ADDRESS = LinkAddress(4, IPv4Address("10.9.1.1"), 24, IPv4Address("10.9.1.255"), None, 0x80)


@pytest.mark.parametrize(
    ("decode", "body"),
    [(decode_link, link_body(SOME_LINK)), (decode_address, address_body(SOME_ADDRESS))],
)
def test_any_damage_is_one_error(decode: Callable[[bytes], object], body: bytes) -> None:
    for at in range(len(body)):
        for damaged in (body[:at], body[:at] + b"\xff" + body[at + 1 :]):
            try:
                decode(damaged)
            except NetlinkError as error:
                assert "netlink" in str(error)  # noqa: PT017 (many of them decode)


@given(st.binary(max_size=200))
@example(struct.pack("=IHHII", 0, 16, 0, 0, 0))
@example(struct.pack("=IHHII", 2**32 - 1, 16, 0, 0, 0))
def test_any_bytes_are_understood_or_one_error(data: bytes) -> None:
    for read in (lambda d: list(read_messages(d)), decode_link, decode_address):
        try:
            read(data)
        except NetlinkError:
            pass
    assert isinstance(read_notifications(data), Notice)


@pytest.mark.parametrize(
    "damaged",
    [
        SOME_LINK._replace(ifindex=0),
        SOME_LINK._replace(ifindex=-1),
        SOME_LINK._replace(name=""),
    ],
)
def test_link_without_index_or_name_is_an_error(damaged: Link) -> None:
    with pytest.raises(NetlinkError):
        decode_link(link_body(damaged))


def test_address_with_an_impossible_prefix_is_an_error() -> None:
    with pytest.raises(NetlinkError, match="33 bits"):
        decode_address(address_body(SOME_ADDRESS._replace(prefix_length=33)))


def test_deletion_is_told_and_a_bridge_port_leaving_is_not_one() -> None:
    gone = message(RTM_DELLINK, link_body(SOME_LINK))
    left = message(RTM_DELLINK, link_body(SOME_LINK._replace(family=7, ifindex=8)))
    assert read_notifications(gone + left) == Notice(True, frozenset({4}))
    assert read_notifications(left) == Notice(False)


@pytest.mark.parametrize("kind", [RTM_NEWLINK, RTM_NEWADDR, RTM_DELADDR])
def test_every_change_is_a_reason_to_look(kind: int) -> None:
    body = link_body(SOME_LINK) if kind == RTM_NEWLINK else address_body(SOME_ADDRESS)
    assert read_notifications(message(kind, body)) == Notice(True)


def test_other_notifications_are_passed_over_and_damaged_ones_are_a_reason_to_look() -> None:
    assert read_notifications(message(24, b"route")) == Notice(False)
    assert read_notifications(b"") == Notice(False)
    gone = message(RTM_DELLINK, link_body(SOME_LINK))
    assert read_notifications(gone + b"\1") == Notice(True, frozenset({4}))


class Kernel(socket.socket):
    """A kernel that answers the n-th request with the n-th list of (data, port) or errors."""

    def __init__(self, *answers: Sequence[bytes | OSError | tuple[bytes, int]]) -> None:
        super().__init__()
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.queue: list[bytes | OSError | tuple[bytes, int]] = []

    def send(self, data: object, flags: int = 0, /) -> int:
        assert isinstance(data, bytes)
        self.requests.append(data)
        self.queue += self.answers.pop(0)
        return len(data)

    def recvfrom(self, size: int, flags: int = 0, /) -> tuple[bytes, tuple[int, int]]:
        assert size >= 32_768
        if not self.queue:
            raise TimeoutError("timed out")
        first = self.queue.pop(0)
        if isinstance(first, OSError):
            raise first
        data, port = first if isinstance(first, tuple) else (first, 0)
        return data, (port, 0)


def part(sequence: int, *bodies: bytes, kind: int = RTM_NEWLINK, flags: int = 2) -> bytes:
    return b"".join(message(kind, b, sequence=sequence, flags=flags) for b in bodies)


def done(sequence: int, code: int = 0, flags: int = 2) -> bytes:
    return message(NLMSG_DONE, struct.pack("=i", code), sequence=sequence, flags=flags)


def refusal(sequence: int, number: int) -> bytes:
    return message(NLMSG_ERROR, struct.pack("=i", -number), sequence=sequence)


def test_dump_asks_for_everything_and_collects_all_parts() -> None:
    with Kernel([part(1, b"one", b"two"), part(1, b"three"), done(1)]) as kernel:
        assert dump(kernel, RTM_GETLINK) == [b"one", b"two", b"three"]
    assert kernel.requests == [struct.pack("=IHHII", 32, 18, 0x301, 1, 0) + bytes(16)]


def test_dump_ends_within_the_last_part_too() -> None:
    with Kernel([part(1, b"one", kind=RTM_NEWADDR) + done(1)]) as kernel:
        assert dump(kernel, RTM_GETADDR) == [b"one"]


@pytest.mark.parametrize("flagged", ["part", "end"])
def test_interrupted_dump_is_begun_again(flagged: str) -> None:
    flags = {"part": 2, "end": 2} | {flagged: 2 | NLM_F_DUMP_INTR}
    first = [part(1, b"old", flags=flags["part"]), done(1, flags=flags["end"])]
    with Kernel(first, [part(2, b"new"), done(2)]) as kernel:
        assert dump(kernel, RTM_GETLINK) == [b"new"]


def test_listing_that_is_always_interrupted_is_taken_as_it_is() -> None:
    answers = [
        [part(n, b"%d" % n, flags=2 | NLM_F_DUMP_INTR), done(n)] for n in range(1, ATTEMPTS + 1)
    ]
    with Kernel(*answers) as kernel:
        assert dump(kernel, RTM_GETLINK) == [b"%d" % ATTEMPTS]


@pytest.mark.parametrize(
    "lost",
    [OSError(errno.ENOBUFS, "No buffer space"), message(NLMSG_OVERRUN, b"", sequence=1)],
)
def test_dump_that_overran_is_begun_again(lost: bytes | OSError) -> None:
    # The first dump goes on meanwhile, so the kernel is busy once, and old parts still come.
    with Kernel(
        [part(1, b"old"), lost],
        [part(1, b"older"), refusal(2, errno.EBUSY)],
        [done(1), part(3, b"new"), done(3)],
    ) as kernel:
        assert dump(kernel, RTM_GETLINK) == [b"new"]


def test_dump_that_always_overruns_is_an_error() -> None:
    answers = [[OSError(errno.ENOBUFS, "No buffer space")]] * ATTEMPTS
    with Kernel(*answers) as kernel, pytest.raises(SocketError) as raised:
        dump(kernel, RTM_GETLINK)
    assert raised.value.error == "ENOBUFS"


def test_refusal_is_a_sentence_with_advice() -> None:
    with Kernel([refusal(1, errno.EPERM)]) as kernel, pytest.raises(SocketError) as raised:
        dump(kernel, RTM_GETLINK)
    assert raised.value.error == "EPERM"
    assert "AF_NETLINK" in raised.value.advice


def test_dump_that_fails_at_its_end_is_an_error() -> None:
    answer = [part(1, b"one"), done(1, -errno.EIO)]
    with Kernel(answer) as kernel, pytest.raises(SocketError) as raised:
        dump(kernel, RTM_GETLINK)
    assert raised.value.error == "EIO"


@given(st.integers(-(2**31), 2**31 - 1).filter(bool))
def test_any_error_code_is_an_error_of_ours(code: int) -> None:
    # Those that mean "again" are answered until the attempts are used up.
    answers = [
        [message(NLMSG_ERROR, struct.pack("=i", code), sequence=n)] for n in range(1, ATTEMPTS + 1)
    ]
    with Kernel(*answers) as kernel, pytest.raises(SocketError):
        dump(kernel, RTM_GETLINK)


def test_kernel_that_does_not_answer_is_an_error() -> None:
    with Kernel([]) as kernel, pytest.raises(SocketError, match="timed out"):
        dump(kernel, RTM_GETLINK)


def test_only_the_kernel_is_heard() -> None:
    with Kernel([(part(1, b"forged") + done(1), 4711), part(1, b"one"), done(1)]) as kernel:
        assert dump(kernel, RTM_GETLINK) == [b"one"]


def test_too_many_open_files_is_not_called_a_sandbox() -> None:
    assert "ulimit" in refused(OSError(errno.EMFILE, "Too many open files")).advice
