"""Linux: many datagrams a system call, through recvmmsg and sendmmsg by ctypes.

The arrays of the two calls are laid out once. After each call the headers are restored by one
copy, lengths are read through strided views of them, and addresses and control messages are
taken apart in bulk, by struct, when somebody looks. 64-bit only: the layouts below are those of
struct mmsghdr, iovec and cmsghdr there (include/linux/socket.h, bits/socket.h).
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import accumulate
from mmap import mmap
from typing import Any, NamedTuple

from bcast.datagram import Family, Interface
from bcast.sockets.batch import Batch, Part
from bcast.sockets.linux import read_arrival
from bcast.sockets.plan import Ancillary

__all__ = ["Heading", "MmsgReader", "MmsgSender", "available", "lay_out"]

#: Datagrams a call. More gains nothing: the cost of the call itself is spread thin by then.
COUNT = 64
# Room for the longest datagram that UDP can say; pages that nothing is written to cost no memory.
# The rest keeps the beginnings of the slots from falling onto the same lines of the cache.
_SLOT = 65_536 + 320
_NAME = 28  # struct sockaddr_in6
_CONTROL = 128  # timestamp 32, drops 24, address 32 or 40, TTL 24

# Bytes of payloads that are laid together for one call.
_TOGETHER = 2048 * COUNT

_HEADER = struct.Struct("@QIxxxxQQQQixxxxIxxxx")  # struct mmsghdr: name, iov, control, flags, len
_MSG_DONTWAIT = 0x40

# The control messages in the order in which the kernel writes them, when all are there.
_CONTROL4 = struct.Struct("=16xqq16x4x4x4s4x16xi44x")
_CONTROL6 = struct.Struct("=16xqq16x16s8x16xi36x")
_WHOLE4 = 88
_WHOLE6 = 96
_NAMES4 = struct.Struct("=16s12x")
_NAMES6 = struct.Struct("=28s")


@cache
def available() -> bool:
    """Whether this system has both calls and the layouts above."""
    if struct.calcsize("P") != 8:
        return False
    libc = _libc()
    return hasattr(libc, "recvmmsg") and hasattr(libc, "sendmmsg")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _area(size: int) -> Any:
    # A slice of such an array is bytes, in one copy; its type stub says list[bytes].
    return (ctypes.c_char * size)()


class _Arrays:
    """The arrays of one call: headers that point at names, slots and control messages."""

    def __init__(self) -> None:
        self.headers = _area(_HEADER.size * COUNT)
        self.names = _area(_NAME * COUNT)
        self.controls = _area(_CONTROL * COUNT)
        self.vectors = _area(16 * COUNT)
        self.view = memoryview(self.headers).cast("B")


class MmsgReader:
    """Reads batches from any number of sockets, one after the other, into the same arrays."""

    def __init__(self) -> None:
        self._recvmmsg = _libc().recvmmsg
        self._recvmmsg.argtypes = [
            ctypes.c_int,
            ctypes.c_void_p,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_void_p,
        ]
        self._arrays = arrays = _Arrays()
        # Not an array of ctypes, which would write zeros into all of its pages.
        self._slots = mmap(-1, _SLOT * COUNT)
        slots = ctypes.addressof(ctypes.c_char.from_buffer(self._slots))
        for i in range(COUNT):
            struct.pack_into("@QQ", arrays.vectors, i * 16, slots + i * _SLOT, 65_536)
            _HEADER.pack_into(
                arrays.headers,
                i * _HEADER.size,
                ctypes.addressof(arrays.names) + i * _NAME,
                _NAME,
                ctypes.addressof(arrays.vectors) + i * 16,
                1,
                ctypes.addressof(arrays.controls) + i * _CONTROL,
                _CONTROL,
                0,
                0,
            )
        self._template = bytes(arrays.view)
        self._address = ctypes.addressof(arrays.headers)
        self._lengths = arrays.view.cast("I")[14::16]
        self._control_lengths = arrays.view.cast("Q")[5::8]
        self._flags = arrays.view.cast("I")[12::16]
        self._offsets = range(0, _SLOT * COUNT, _SLOT)

    def read(self, opened: socket.socket, interface: Interface, port: int) -> list[Batch]:
        """The next datagrams of a non-blocking socket, at most `COUNT`, as one batch or none.

        Raises OSError for anything but an empty queue.
        """
        arrays = self._arrays
        arrays.view[:] = self._template
        count: int = self._recvmmsg(opened.fileno(), self._address, COUNT, _MSG_DONTWAIT, None)
        if count < 0:
            number = ctypes.get_errno()
            if number in (errno.EAGAIN, errno.EINTR):
                return []
            raise OSError(number, os.strerror(number))
        lengths = self._lengths[:count].tolist()
        slots = self._slots
        payloads = [slots[o : o + n] for o, n in zip(self._offsets, lengths, strict=False)]
        four = opened.family == socket.AF_INET
        whole = _WHOLE4 if four else _WHOLE6
        control_lengths = self._control_lengths[:count].tolist()
        names = arrays.names[: count * _NAME]
        controls = arrays.controls[: count * _CONTROL]
        if control_lengths.count(whole) == count and not any(self._flags[:count].tolist()):
            unpack = _CONTROL4 if four else _CONTROL6
            unpack_names = _NAMES4 if four else _NAMES6

            def parts() -> Iterable[Part]:
                return zip(
                    unpack.iter_unpack(controls),
                    unpack_names.iter_unpack(names),
                    payloads,
                    strict=True,
                )
        else:

            def parts() -> Iterable[Part]:
                return _load_slowly(names, controls, control_lengths, payloads, four)

        return [Batch(interface, port, payloads, parts, sum(lengths))]


def _load_slowly(
    names: bytes, controls: bytes, control_lengths: list[int], payloads: list[bytes], four: bool
) -> Iterator[Part]:
    """Parts where a control message is missing, cut off, or in another order."""
    family = Family.IPV4 if four else Family.IPV6
    unknown = bytes(4 if four else 16)
    for i, payload in enumerate(payloads):
        start = i * _CONTROL
        end = start + min(control_lengths[i], _CONTROL)
        arrival = read_arrival(family, _split_control(controls[start:end]))
        seconds, rest = divmod(arrival.time_ns or 0, 1_000_000_000)
        ttl = -1 if arrival.ttl is None else arrival.ttl
        name = names[i * _NAME : i * _NAME + (16 if four else 28)]
        yield (seconds, rest, arrival.destination or unknown, ttl), (name,), payload


def _split_control(control: bytes) -> Ancillary:
    """Takes a control buffer apart (CMSG_NXTHDR); what is cut off is left out."""
    found = []
    start = 0
    while start + 16 <= len(control):
        length, level, kind = struct.unpack_from("@Nii", control, start)
        if length < 16 or start + length > len(control):
            break
        found.append((level, kind, control[start + 16 : start + length]))
        start += (length + 7) & ~7
    return found


class Heading(NamedTuple):
    """Where datagrams go, laid out: the destination's sockaddr and the control messages."""

    name: bytes
    control: bytes


class MmsgSender:
    """Sends many payloads to one destination a call."""

    def __init__(self) -> None:
        self._sendmmsg = _libc().sendmmsg
        self._sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
        self._arrays = arrays = _Arrays()
        self._address = ctypes.addressof(arrays.headers)
        self._vectors = memoryview(arrays.vectors).cast("B").cast("Q")
        self._heading: Heading | None = None
        # Payloads are copied here, one behind the other: that is cheaper than a pointer to each.
        self._area = _area(_TOGETHER)
        self._area_view = memoryview(self._area).cast("B")
        self._base = ctypes.addressof(self._area)
        self._laid: list[int] = []

    def send(
        self, opened: socket.socket, payloads: Sequence[bytes], start: int, heading: Heading
    ) -> int:
        """Sends ``payloads`` from ``start`` on, as many as fit a call.

        Returns how many went; raises OSError if not even the first did.
        """
        if heading is not self._heading:
            self._address_all(heading.name, heading.control)
            self._heading = heading
        batch = payloads[start : start + COUNT]
        count = len(batch)
        lengths = list(map(len, batch))
        joined = b"".join(batch)
        if len(joined) <= _TOGETHER:
            self._area_view[: len(joined)] = joined
            if lengths != self._laid:
                starts = [self._base, *(self._base + end for end in accumulate(lengths))]
                self._vectors[0 : 2 * count : 2] = memoryview(array("Q", starts[:count]))
                self._vectors[1 : 2 * count : 2] = memoryview(array("Q", lengths))
                self._laid = lengths
        else:
            pointers = (ctypes.c_char_p * count)(*batch)
            self._vectors[0 : 2 * count : 2] = memoryview(pointers).cast("B").cast("Q")
            self._vectors[1 : 2 * count : 2] = memoryview(array("Q", lengths))
            self._laid = []
        sent: int = self._sendmmsg(opened.fileno(), self._address, count, _MSG_DONTWAIT)
        if sent < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return sent

    def _address_all(self, name: bytes, control: bytes) -> None:
        arrays = self._arrays
        ctypes.memmove(arrays.names, name, len(name))
        ctypes.memmove(arrays.controls, control, len(control))
        header = _HEADER.pack(
            ctypes.addressof(arrays.names), len(name), 0, 1,
            ctypes.addressof(arrays.controls) if control else 0, len(control), 0, 0,
        )  # fmt: skip
        for i in range(COUNT):
            at = i * _HEADER.size
            arrays.view[at : at + _HEADER.size] = header
            struct.pack_into(
                "@Q", arrays.headers, at + 16, ctypes.addressof(arrays.vectors) + i * 16
            )


def lay_out(ancillary: Ancillary) -> bytes:
    """The control buffer of some control messages (CMSG_SPACE, CMSG_LEN)."""
    laid = b""
    for level, kind, data in ancillary:
        padded = data + bytes(-len(data) % 8)
        laid += struct.pack("@Nii", 16 + len(data), level, kind) + padded
    return laid
