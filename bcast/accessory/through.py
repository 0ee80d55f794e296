"""A template behind transforms: what it says went through ciphers and encodings."""

from __future__ import annotations

from collections.abc import Sequence

from bcast.accessory.template import Misfit, Reading, Template, Writing
from bcast.accessory.transforms import Transform

__all__ = ["MAX_TRANSFORMED", "Through"]

#: Bytes: ciphers take their time, and a reply that has more was never seen.
MAX_TRANSFORMED = 4_096


class Through:
    """``through = [first, second]``: on writing the first is applied first."""

    def __init__(self, transforms: Sequence[Transform], inner: Template) -> None:
        self._transforms = tuple(transforms)
        self._inner = inner
        self.holes = inner.holes
        self.constants = inner.constants
        self.guard = b""
        guard = b"" if getattr(inner, "guard_at", 0) else inner.guard
        if isinstance(guard, bytes) and not any(t.missing for t in transforms):
            # What the transforms make of all that begins with the inner guard begins alike.
            ends = [self._apply(guard + end) for end in (bytes(16), b"\xff" * 16)]
            self.guard = _common(*ends)

    def _apply(self, payload: bytes) -> bytes:
        for transform in self._transforms:
            payload = transform.apply(payload)
        return payload

    def read(self, payload: bytes, reading: Reading) -> None:
        if len(payload) > MAX_TRANSFORMED:
            raise Misfit("%d bytes, more than %d", len(payload), MAX_TRANSFORMED)
        for transform in reversed(self._transforms):
            payload = transform.undo(payload)
        self._inner.read(payload, reading)

    def write(self, writing: Writing) -> bytes:
        return self._apply(self._inner.write(writing))


def _common(one: bytes, other: bytes) -> bytes:
    """What both begin with."""
    length = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
    return one[:length]
