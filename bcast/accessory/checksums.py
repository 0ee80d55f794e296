"""Checksums, by the names that a description calls them.

================  ==============================================================================
``sum8 sum16``    the sum of all bytes, its lowest 8 or 16 bits
``xor8``          all bytes XORed
``neg8``          what makes the sum of all bytes and itself 0 (two's complement of ``sum8``)
``adler32``       RFC 1950, section 8
``crc32``         as in Ethernet and zip (reflected 04c11db7, from ffffffff, inverted)
``crc16-ccitt``   polynomial 1021, from ffff ("CCITT-FALSE")
``crc16-xmodem``  polynomial 1021, from 0
``crc16-modbus``  reflected 8005, from ffff
================  ==============================================================================
"""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Callable, Mapping
from functools import cache, reduce
from operator import xor

__all__ = ["CHECKSUMS"]


def _sum8(data: bytes) -> int:
    return sum(data) & 0xFF


def _sum16(data: bytes) -> int:
    return sum(data) & 0xFFFF


def _neg8(data: bytes) -> int:
    return -sum(data) & 0xFF


def _xor8(data: bytes) -> int:
    return reduce(xor, data, 0)


def _crc16_ccitt(data: bytes) -> int:
    return binascii.crc_hqx(data, 0xFFFF)


def _crc16_xmodem(data: bytes) -> int:
    return binascii.crc_hqx(data, 0)


def _crc16_modbus(data: bytes) -> int:
    table, rest = _modbus_table(), 0xFFFF
    for byte in data:
        rest = rest >> 8 ^ table[(rest ^ byte) & 0xFF]
    return rest


@cache
def _modbus_table() -> tuple[int, ...]:
    table = []
    for rest in range(256):
        for _ in range(8):
            rest = rest >> 1 ^ (0xA001 if rest & 1 else 0)
        table.append(rest)
    return tuple(table)


#: How many bits each has, and how it is computed.
CHECKSUMS: Mapping[str, tuple[int, Callable[[bytes], int]]] = {
    "sum8": (8, _sum8),
    "sum16": (16, _sum16),
    "xor8": (8, _xor8),
    "neg8": (8, _neg8),
    "adler32": (32, zlib.adler32),
    "crc32": (32, zlib.crc32),
    "crc16-ccitt": (16, _crc16_ccitt),
    "crc16-xmodem": (16, _crc16_xmodem),
    "crc16-modbus": (16, _crc16_modbus),
}
