"""The datagrams that the searches start from, kept as text: one a line, in hex."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import bcast

__all__ = ["fewest", "keep_corpus", "read_corpus"]

_PACKAGE = str(Path(bcast.__file__).parent)

#: From one line to another, in a file.
_Step = tuple[str, int, int]


def _path(target: str) -> Path:
    return Path(__file__).with_name(f"{target}.txt")


def read_corpus(target: str) -> list[bytes]:
    lines = _path(target).read_text("ascii").splitlines()
    return [bytes.fromhex(line) for line in lines if not line.startswith("#")]


def keep_corpus(target: str, payloads: Iterable[bytes]) -> None:
    head = f"# Different ways through the code. Written by: python -m tests.fuzz {target} --keep\n"
    text = "".join(f"{payload.hex()}\n" for payload in sorted(payloads, key=len) if payload)
    _path(target).write_text(head + text, "ascii")


def fewest(payloads: Iterable[bytes], check: Callable[[bytes], object]) -> list[bytes]:
    """Those of ``payloads``, small ones first, that together take every step that all take."""
    left = {payload: _steps(check, payload) for payload in sorted(payloads, key=len)}
    kept = []
    while left:
        best = max(left, key=lambda payload: len(left[payload]))
        steps = left[best]
        kept.append(best)
        left = {p: rest for p, own in left.items() if (rest := own - steps)}
    return kept


def _steps(check: Callable[[bytes], object], payload: bytes) -> set[_Step]:
    """The steps from line to line that the check takes in bcast's own files."""
    steps: set[_Step] = set()
    before: dict[FrameType, int] = {}

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(_PACKAGE):
            return None
        steps.add((file, before.get(frame, 0), frame.f_lineno))
        before[frame] = frame.f_lineno
        return trace

    sys.settrace(trace)
    try:
        check(payload)
    finally:
        sys.settrace(None)
    return steps
