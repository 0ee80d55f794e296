from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.cli.identity import keep_id
from bcast.errors import ArgumentError, BcastError


def test_an_id_is_made_once_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "lamp.id"
    before = os.umask(0)
    try:
        id = keep_id(str(file))
    finally:
        os.umask(before)
    assert len(id) == 16
    assert file.read_text() == id.hex() + "\n"
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert keep_id(str(file)) == id
    assert keep_id(str(tmp_path / "other.id")) != id


@given(st.binary(min_size=16, max_size=16))
def test_what_people_write_is_read(tmp_path_factory: pytest.TempPathFactory, id: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "written.id"
    digits = id.hex()
    uuid = "-".join([digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]])
    for text in (digits, digits.upper(), f"  {digits} \r\n", uuid):
        file.write_text(text)
        assert keep_id(str(file)) == id


@pytest.mark.parametrize(
    "content", [b"", b"lamp", b"00" * 15, b"00" * 17, b"\xff" * 32, b"0" * 100_000, b"0" * 31]
)
def test_what_is_no_id_is_said(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "lamp.id"
    file.write_bytes(content)
    with pytest.raises(BcastError, match=r"lamp\.id holds no id: delete it") as caught:
        keep_id(str(file))
    assert not isinstance(caught.value, ArgumentError), "that would be misuse"
    assert file.read_bytes() == content


def test_what_can_not_be_read_or_made_is_said(tmp_path: Path) -> None:
    with pytest.raises(BcastError, match="can't read the id file"):
        keep_id(str(tmp_path))
    with pytest.raises(BcastError, match="can't make the id file"):
        keep_id(str(tmp_path / "nowhere" / "lamp.id"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_leaves_no_half_an_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "lamp.id"
    make = os.open

    def full(path: str, flags: int, mode: int = 0o777) -> int:
        os.close(make(path, flags, mode))
        return make("/dev/full", os.O_WRONLY)

    monkeypatch.setattr("bcast.cli.identity.os.open", full)
    with pytest.raises(BcastError, match="No space left"):
        keep_id(str(file))
    assert not file.exists()
