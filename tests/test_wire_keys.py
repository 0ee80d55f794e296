from __future__ import annotations

import hashlib
import hmac
import itertools
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.errors import ArgumentError, KeyFileError
from bcast.messages import Beat, Header, Message
from bcast.wire import encode
from bcast.wire.keys import Keyring, is_authentic, read_key_file, tag
from tests.strategies import keyrings, messages

OLD, NEW = b"o" * 16, b"n" * 32
BEAT = Beat(Header(bytes(range(16)), 1, 2), 1, 30, 1)


# --- tags


def test_a_tag_is_128_bits_of_hmac_sha_256_over_all_before_it() -> None:
    """Test case 2 of RFC 4231, cut; then a datagram."""
    whole = bytes.fromhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    assert tag(b"what do ya want for nothing?", b"Jefe") == b"\x7f\x10" + whole[:16]
    payload = encode(BEAT, Keyring({5: OLD}, 5))
    assert payload[5] == 5
    assert payload[-16:] == hmac.new(OLD, payload[:-18], hashlib.sha256).digest()[:16]


def test_keys_are_changed_without_a_gap() -> None:
    """First all accept the new key, then all send with it, then the old one goes."""
    before = Keyring({1: OLD}, 1)
    between = [Keyring({1: OLD, 2: NEW}, 1), Keyring({1: OLD, 2: NEW}, 2)]
    after = Keyring({2: NEW}, 2)
    steps = [before, *between, after]
    for step, following in itertools.pairwise(steps):
        assert is_authentic(encode(BEAT, step), following)
        assert is_authentic(encode(BEAT, following), step)
    assert not is_authentic(encode(BEAT, before), after)
    assert not is_authentic(encode(BEAT, after), before)


@given(messages, keyrings(), st.data())
def test_one_wrong_bit_anywhere_is_noticed(
    message: Message, keyring: Keyring, data: st.DataObject
) -> None:
    payload = encode(message, keyring)
    bit = data.draw(st.integers(0, len(payload) * 8 - 1))
    wrong = bytearray(payload)
    wrong[bit >> 3] ^= 1 << (bit & 7)
    assert not is_authentic(bytes(wrong), keyring)


@given(messages, keyrings())
def test_without_a_tag_nothing_is_authentic(message: Message, keyring: Keyring) -> None:
    payload = encode(message)
    assert not is_authentic(payload, keyring)
    assert not is_authentic(encode(message, keyring)[:-1], keyring)


@given(st.binary(max_size=100), keyrings())
def test_any_bytes_may_be_asked_about(payload: bytes, keyring: Keyring) -> None:
    assert not is_authentic(payload, keyring)


def test_the_key_of_another_id_doesnt_count() -> None:
    payload = encode(BEAT, Keyring({1: OLD}, 1))
    assert is_authentic(payload, Keyring({1: OLD, 2: NEW}, 2))
    assert not is_authentic(payload, Keyring({2: OLD}, 2))
    assert not is_authentic(payload, Keyring({1: NEW}, 1))


# --- keyrings


@pytest.mark.parametrize(
    ("keys", "current", "says"),
    [
        ({}, 1, "there is no key 1"),
        ({2: OLD}, 1, "there is no key 1"),
        ({0: OLD}, 0, "0 is not a key id: use 1 to 255"),
        ({256: OLD}, 256, "256 is not a key id"),
        ({1: b"k" * 15}, 1, "key 1 has 15 bytes: it must have 16 to 64"),
        ({1: b"k" * 65}, 1, "key 1 has 65 bytes"),
    ],
)
def test_what_no_keyring_can_be(keys: dict[int, bytes], current: int, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        Keyring(keys, current)


def test_a_keyring_stays_as_it_is_and_shows_no_key() -> None:
    keys = {1: OLD, 2: NEW}
    keyring = Keyring(keys, 2)
    keys.clear()
    assert keyring.keys == {1: OLD, 2: NEW}
    assert repr(keyring) == "Keyring(keys 1, 2; current 2)"
    same = Keyring({2: NEW, 1: OLD}, 2)
    assert (keyring == same, hash(keyring) == hash(same)) == (True, True)
    assert keyring != Keyring(keyring.keys, 1)
    assert pickle.loads(pickle.dumps(keyring)) == keyring


# --- files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.touch(0o600)
    return path


@pytest.mark.parametrize(
    "text",
    [
        f"{OLD.hex()}",
        f"{OLD.hex()}\n",
        f"1 {OLD.hex().upper()}\r\n",
        f"\ufeff# the lab\n\n  1\t{OLD.hex()} # since May\n",
    ],
)
def test_one_key(file: Path, text: str) -> None:
    file.write_text(text, "utf-8")
    assert read_key_file(file) == (Keyring({1: OLD}, 1), "")
    assert read_key_file(str(file)).keyring.current == 1


def test_of_several_keys_the_first_is_current(file: Path) -> None:
    file.write_text(f"7 {NEW.hex()}\n{OLD.hex()}\n")
    assert read_key_file(file).keyring == Keyring({1: OLD, 7: NEW}, 7)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is no key in FILE: make one with: openssl rand -hex 16 > FILE"),
        ("# nothing yet\n\n", "there is no key in FILE"),
        (f"\n{OLD.hex()[2:]}", "FILE, line 2: the key has 15 bytes: it must have 16 to 64"),
        ("00" * 65, "FILE, line 1: the key has 65 bytes"),
        ("correct-horse-battery-staple", "FILE, line 1: the key is not in hex: make one with"),
        (f"x{OLD.hex()[1:]}", "FILE, line 1: the key is not in hex"),
        (f"0 {OLD.hex()}", "FILE, line 1: that is not a key id: use a number from 1 to 255"),
        (f"256 {OLD.hex()}", "not a key id"),
        (f"-1 {OLD.hex()}", "not a key id"),
        (f"{'9' * 5000} {OLD.hex()}", "not a key id"),
        (f"{OLD.hex()} {NEW.hex()}", "not a key id"),
        (f"1 {OLD.hex()} lamp", "FILE, line 1 has 3 words: write an id and a key in hex"),
        (f"{OLD.hex()}\n{NEW.hex()}", "FILE, line 2: key 1 is there already: write another id"),
        ("\n" * 70_000, "FILE is too large for a key file"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_without_its_keys(
    file: Path, text: str, says: str
) -> None:
    file.write_text(text)
    with pytest.raises(KeyFileError) as caught:
        read_key_file(file)
    sentence = str(caught.value)
    assert says in sentence.replace(str(file), "FILE")
    assert OLD.hex()[2:] not in sentence
    assert NEW.hex() not in sentence


@given(data=st.binary(max_size=300))
def test_any_file_holds_keys_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "any"
    file.write_bytes(data)
    try:
        assert read_key_file(file).keyring.keys
    except KeyFileError as error:
        sentence = str(error)
        assert str(file) in sentence


def test_a_file_that_cant_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"there is no key file .*none: make one with"):
        read_key_file(tmp_path / "none")
    with pytest.raises(KeyFileError, match=r"can't read the key file .*: name a file that"):
        read_key_file(tmp_path)
    with pytest.raises(KeyFileError, match="can't read the key file"):
        read_key_file("a\0b")


@pytest.mark.skipif(os.name != "posix", reason="files have no mode")
def test_a_file_that_everybody_can_read_is_warned_of(file: Path) -> None:
    file.write_text(OLD.hex())
    file.chmod(0o644)
    assert read_key_file(file).warning == (
        f"everybody on this machine can read {file}: chmod 600 {file}"
    )
    file.chmod(0o640)
    assert read_key_file(file).warning == ""
