"""Transforms: what they undo is what they applied, and nothing that a peer sends breaks them."""

from __future__ import annotations

import sys
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.accessory.mistakes import Wrong
from bcast.accessory.template import Misfit
from bcast.accessory.transforms import TRANSFORMS, transform
from bcast.errors import ArgumentError

#: FIPS 197, appendix B.
_KEY = "2b7e151628aed2a6abf7158809cf4f3c"

PLAIN = ["xor-autokey 171", "xor-autokey 0", "base64", "hex"]
ENCIPHERED = [f"aes-128-ecb {_KEY}", "aes-128-ecb md5:a word"]


def available() -> bool:
    return not transform(ENCIPHERED[0]).missing


needs_aes = pytest.mark.skipif(not available(), reason="needs the extra bcast[aes]")


@pytest.mark.parametrize("text", PLAIN)
@given(payload=st.binary(max_size=300))
def test_what_was_applied_is_undone(text: str, payload: bytes) -> None:
    step = transform(text)
    assert step.undo(step.apply(payload)) == payload


@needs_aes
@pytest.mark.parametrize("text", ENCIPHERED)
@given(payload=st.binary(max_size=300))
def test_what_was_enciphered_is_deciphered(text: str, payload: bytes) -> None:
    step = transform(text)
    assert step.undo(step.apply(payload)) == payload


@pytest.mark.parametrize("text", PLAIN + ENCIPHERED)
@given(payload=st.binary(max_size=300))
def test_any_bytes_are_undone_or_a_misfit(text: str, payload: bytes) -> None:
    try:
        plain = transform(text).undo(payload)
    except Misfit:
        return
    assert len(plain) <= len(payload)


def test_xor_starts_with_the_key_and_goes_on_with_what_was_sent() -> None:
    step = transform("xor-autokey 171")
    sent = bytes.fromhex("d0f281f88bff9af7d5ef94b6d1b4c09fec95e68fe187e8caf08bf68bf6")
    assert step.undo(sent) == b'{"system":{"get_sysinfo":{}}}'
    assert step.apply(b'{"system":{"get_sysinfo":{}}}') == sent


@needs_aes
def test_a_block_is_enciphered_as_the_standard_has_it() -> None:
    step = transform(f"aes-128-ecb {_KEY}")
    plain = bytes.fromhex("3243f6a8885a308d313198a2e0370734")
    sent = step.apply(plain)
    assert sent[:16].hex() == "3925841d02dc09fbdc118597196a0b32"
    assert len(sent) == 32, "a whole block is followed by a block of padding"


@needs_aes
def test_a_key_may_be_the_digest_of_a_text() -> None:
    # printf %s password | md5sum
    by_text = transform("aes-128-ecb md5:password")
    by_key = transform("aes-128-ecb 5f4dcc3b5aa765d61d8327deb882cf99")
    assert by_text.apply(b"on") == by_key.apply(b"on")


@needs_aes
def test_bytes_under_another_key_are_a_misfit() -> None:
    sent = transform(ENCIPHERED[0]).apply(b"on")
    with pytest.raises(Misfit, match="this key"):
        transform(ENCIPHERED[1]).undo(sent)
    with pytest.raises(Misfit, match="17 bytes"):
        transform(ENCIPHERED[0]).undo(sent + b"x")
    padded_wrongly = transform(ENCIPHERED[0]).apply(b"x" * 13 + b"\1\2\3")[:16]
    with pytest.raises(Misfit, match="this key"):
        transform(ENCIPHERED[0]).undo(padded_wrongly)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers", None)
    step = transform(ENCIPHERED[0])
    assert "pip install 'bcast[aes]'" in step.missing
    with pytest.raises(Misfit, match="cryptography"):
        step.undo(bytes(16))
    with pytest.raises(ArgumentError, match="pip install"):
        step.apply(b"on")


@pytest.mark.parametrize(
    "payload", [b"QQ=", b"QQ==\n", b"Q Q==", b"=QQ=", b"QQ==QQ==", b"QQ-_", "ä".encode()]
)
def test_base64_is_strict(payload: bytes) -> None:
    with pytest.raises(Misfit, match="base64"):
        transform("base64").undo(payload)


@pytest.mark.parametrize("payload", [b"0", b"0x00", b"00 00", b"gg", b"\xff\xff"])
def test_hex_is_digits_and_nothing_else(payload: bytes) -> None:
    with pytest.raises(Misfit, match="hex"):
        transform("hex").undo(payload)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("xor-autokye 171", "did you mean 'xor-autokey'"),
        ("rot13", "use one of xor-autokey"),
        ("xor-autokey", "0 to 255"),
        ("xor-autokey 256", "0 to 255"),
        ("xor-autokey \u00b2", "0 to 255"),
        ("aes-128-ecb 00ff", "32 hex digits"),
        ("aes-128-ecb md5:", "32 hex digits"),
        ("aes-128-ecb", "32 hex digits"),
        ("base64 url", "takes nothing"),
        ("hex upper", "takes nothing"),
        ("", "there is no transform"),
    ],
)
def test_a_mistake_in_a_description_is_explained(text: str, complaint: str) -> None:
    with pytest.raises(Wrong, match=complaint):
        transform(text)


def test_the_largest_datagram_takes_no_time() -> None:
    largest = bytes(range(256)) * 255
    for text in PLAIN + ENCIPHERED:
        step = transform(text)
        for payload in (largest, b"A" * 65_504, b"=" * 65_504, b"0" * 65_504):
            took = []
            for _ in range(3):
                began = perf_counter()
                try:
                    step.undo(payload)
                except Misfit:
                    pass
                took.append(perf_counter() - began)
            assert min(took) < 0.05, text


def test_all_are_listed() -> None:
    assert TRANSFORMS == ("xor-autokey", "aes-128-ecb", "base64", "hex")
