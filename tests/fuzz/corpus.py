"""The datagrams that the searches start from, kept as text: one a line, in hex."""

from __future__ import annotations

from pathlib import Path

__all__ = ["read_corpus"]


def read_corpus(target: str) -> list[bytes]:
    lines = Path(__file__).with_name(f"{target}.txt").read_text("ascii").splitlines()
    return [bytes.fromhex(line) for line in lines if not line.startswith("#")]
