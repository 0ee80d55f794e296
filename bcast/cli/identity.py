"""The file that an announcer's stable id is kept in."""

from __future__ import annotations

import os

from bcast.errors import BcastError

__all__ = ["ID_SIZE", "keep_id"]

#: Bytes of an id.
ID_SIZE = 16

# Longer than any id with blanks around it: whatever the file is, no more is read of it.
_MOST = 256


def keep_id(path: str) -> bytes:
    """The id in the file, 16 bytes as 32 hex digits; makes one, readable by its owner only.

    Raises `BcastError` with a sentence that names the file.
    """
    try:
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read(path)
    except OSError as error:
        if os.path.exists(path):
            return _read(path)
        raise BcastError(f"can't make the id file {path}: {error.strerror}") from error
    id = os.urandom(ID_SIZE)
    try:
        with open(made, "w", encoding="ascii") as file:
            file.write(id.hex() + "\n")
    except OSError as error:
        os.unlink(path)
        raise BcastError(f"can't write the id file {path}: {error.strerror}") from error
    return id


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            text = file.read(_MOST).strip()
    except OSError as error:
        raise BcastError(f"can't read the id file {path}: {error.strerror}") from error
    try:
        id = bytes.fromhex(text.decode("ascii").replace("-", ""))
    except ValueError:
        id = b""
    if len(id) != ID_SIZE:
        raise BcastError(
            f"{path} holds no id", "delete it to get a new one, or write 32 hex digits into it"
        )
    return id
