"""The hashes of the protocol: cheap on a microcontroller, and no defence against anybody."""

from __future__ import annotations

__all__ = ["id64", "mix64", "realm_hash", "slot", "type_hash"]

_MASK = 0xFFFF_FFFF_FFFF_FFFF


def mix64(x: int) -> int:
    """A bijection of 64-bit integers: one step of splitmix64 from state ``x``.

    (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014.)
    """
    x = (x + 0x9E37_79B9_7F4A_7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58_476D_1CE4_E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D0_49BB_1331_11EB) & _MASK
    return x ^ (x >> 31)


def id64(id: bytes) -> int:
    """The 64 bits that stand for a peer's id of 16 bytes in slots and filters."""
    whole = int.from_bytes(id, "big")
    return mix64(whole >> 64 ^ mix64(whole & _MASK))


def slot(id64: int, nonce: int) -> int:
    """Where a peer stands among 65,536 slots, for the probe with this nonce."""
    return mix64(id64 ^ nonce) >> 48


def _fnv1a(data: bytes) -> int:
    """FNV-1a of 32 bits (draft-eastlake-fnv, section 2)."""
    value = 0x811C_9DC5
    for byte in data:
        value = ((value ^ byte) * 0x0100_0193) & 0xFFFF_FFFF
    return value


def type_hash(type: str) -> int:
    """The 32 bits that stand for a service type in a probe."""
    return _fnv1a(type.encode())


def realm_hash(realm: str) -> int:
    """The 16 bits that stand for a realm in headers: 1..65535, and 0 for "", no realm."""
    if not realm:
        return 0
    value = _fnv1a(realm.encode())
    return (value >> 16 ^ value & 0xFFFF) or 1
