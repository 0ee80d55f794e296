"""Checksums, against the check values that their definitions come with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.accessory.checksums import CHECKSUMS

#: Of the nine digits: the published check values of the CRCs, sums by hand.
OF_DIGITS = {
    "adler32": 0x091E01DE,
    "crc16-ccitt": 0x29B1,
    "crc16-modbus": 0x4B37,
    "crc16-xmodem": 0x31C3,
    "crc32": 0xCBF43926,
    "neg8": 0x23,
    "sum16": 0x01DD,
    "sum8": 0xDD,
    "xor8": 0x31,
}


@pytest.mark.parametrize("name", CHECKSUMS)
def test_the_nine_digits(name: str) -> None:
    _, compute = CHECKSUMS[name]
    assert compute(b"123456789") == OF_DIGITS[name]


@given(st.binary(max_size=600))
def test_a_checksum_fits_its_bits_and_sees_a_flipped_one(data: bytes) -> None:
    for bits, compute in CHECKSUMS.values():
        value = compute(data)
        assert 0 <= value < 1 << bits
        if data:
            assert compute(bytes((data[0] ^ 1,)) + data[1:]) != value


@given(st.binary(max_size=100))
def test_neg8_makes_the_sum_zero(data: bytes) -> None:
    assert (sum(data) + CHECKSUMS["neg8"][1](data)) % 256 == 0
