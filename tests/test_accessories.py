"""The catalogue, held against what real clients and accessories sent."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping
from importlib.resources import files
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.accessory.catalogue import names
from bcast.accessory.description import Decoded, Description
from bcast.accessory.forms import Form, Role
from bcast.accessory.holes import Reference
from bcast.accessory.template import Value
from bcast.datagram import Datagram
from tests.accessories import (
    ALL_ROLES,
    CATALOGUE,
    FOLDER,
    OWN,
    captured,
    catalogue,
    message_values,
    needs_aes,
)

#: How many datagrams each capture has: a check that finds none must not pass.
CAPTURED = {
    "artnet": 20,
    "bacnet": 9,
    "coap": 6,
    "flux_led": 24,
    "govee": 10,
    "kasa": 12,
    "knx": 3,
    "lifx": 12,
    "ssdp": 111,
    "tapo": 18,
    "tuya": 22,
    "wiz": 6,
    "wsd": 47,
    "yeelight": 2,
    "zre": 23,
}

#: Which of their datagrams don't decode, by what they begin with, and why.
NOT_READ = {
    "artnet": {b"Art-Net\0\x00\x80": "another question of lighting controllers (OpTodRequest)"},
    "tuya": {b"\0\0\x66\x99": "protocol 3.5: AES-GCM, with the header as associated data"},
}

#: Who was on the LAN: ids, or the address where a protocol has none.
DEVICES = {
    "artnet": {"02:00:00:77:00:0a", "02:00:00:77:00:14", "02:00:00:77:00:1e"},
    "bacnet": {"77", "88"},
    "coap": {"10.77.0.10", "10.77.0.30"},
    "flux_led": {"02:00:00:77:00:0a"},
    "govee": {"1F:80:02:00:00:77:00:0A"},
    "kasa": {"8006AA77"},
    "knx": {"02:00:00:77:00:0a"},
    "lifx": {"02:00:00:77:00:0a"},
    "ssdp": {"4d696e69-444c-164e-9d41-02000077000a", "77777777-0000-4000-8000-0000000000dd"},
    "tapo": {"bcast77aabbccdd"},
    "tuya": {"bcast77000a0001abcd", "bcast77000a0002abcd"},
    "wiz": {"02:00:00:77:00:0a"},
    "wsd": {
        "3d1219c7-c4c5-404a-aa1f-6d2a48adfda4",
        "92c5cb89-1cc4-4e11-b8e6-3e5cebe7c196",
        "bd75d347-29e1-5026-8447-cf772da18c8d",
    },
    "yeelight": {"0x000000000077000a"},
    "zre": {"32690ea7-34c9-4b09-a283-6bd1849238d0", "e6761d14-97c6-4705-99e3-92563c911e34"},
}


#: What a searcher tries, and what an impersonator does.
HEARD: tuple[Role, ...] = ("goodbye", "announcement", "reply")
ASKED: tuple[Role, ...] = ("probe",)


def decode(description: Description, payload: bytes) -> Decoded | None:
    decoded = description.decode(payload, roles=ALL_ROLES)
    return decoded if isinstance(decoded, Decoded) else None


def not_read(name: str, datagram: Datagram) -> str:
    known = NOT_READ.get(name, {})
    return next((why for start, why in known.items() if datagram.payload.startswith(start)), "")


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_captured_datagram_decodes_or_the_reason_is_known(name: str) -> None:
    needs_aes(name)
    description = catalogue()[name]
    datagrams = captured(name)
    assert len(datagrams) == CAPTURED[name]
    for datagram in datagrams:
        ports = datagram.source.port, datagram.destination.port
        decoded = description.decode(datagram.payload, roles=ALL_ROLES)
        if not_read(name, datagram):
            assert not isinstance(decoded, Decoded)
            assert str(decoded), "whoever asks is told why"
        else:
            assert isinstance(decoded, Decoded), f"{datagram}: {decoded}"
            assert not description.hears.isdisjoint(ports)


@pytest.mark.parametrize("name", CATALOGUE)
def test_what_was_captured_is_built_again(name: str) -> None:
    """The same meaning; the same bytes wherever the format has only one way to say it."""
    needs_aes(name)
    description = catalogue()[name]
    same = Counter[bool]()
    for datagram in captured(name):
        if not_read(name, datagram):
            continue
        decoded = decode(description, datagram.payload)
        assert decoded is not None
        built = description.encode(
            decoded.form,
            decoded.values,
            own=OWN,
            random=Random(1),
            now=0.0,
            probe=echoed(decoded.form, decoded.values),
        )
        again = decode(description, built)
        assert again is not None
        assert again.form is decoded.form
        assert again.values == decoded.values
        same[built == datagram.payload] += 1
    if name in BYTE_FOR_BYTE:
        assert not same[False]


#: Formats in which nothing can be said in two ways.
BYTE_FOR_BYTE = ("artnet", "bacnet", "coap", "flux_led", "govee", "knx", "lifx", "zre")


def echoed(form: Form, values: dict[str, Value]) -> dict[str, Value]:
    """The probe that these values answer, as far as they repeat it."""
    return {
        hole.source.name: values[hole.name]
        for hole in form.template.holes
        if isinstance(hole.source, Reference) and hole.source.where == "probe"
        if hole.name in values
    }


@pytest.mark.parametrize("name", CATALOGUE)
def test_who_was_on_the_lan_is_found(name: str) -> None:
    needs_aes(name)
    description = catalogue()[name]
    found = set()
    for datagram in captured(name):
        heard = description.decode(datagram.payload, roles=HEARD)
        if isinstance(heard, Decoded) and heard.form.role != "probe":
            identity = description.identity(heard, str(datagram.source.address))
            if identity.id is not None:
                found.add(identity.id)
            assert identity.type
    assert found == DEVICES[name]


@pytest.mark.parametrize("name", CATALOGUE)
def test_probes_are_no_devices(name: str) -> None:
    """One's own probe comes back on every socket that hears broadcasts."""
    needs_aes(name)
    description = catalogue()[name]
    for form in description.messages:
        if form.role == "probe":
            device = {"id": min(DEVICES[name])}
            payload = description.encode(
                form, {}, own=OWN, random=Random(1), now=0.0, device=device
            )
            heard = description.decode(payload, roles=HEARD)
            assert not isinstance(heard, Decoded)
            assert isinstance(description.decode(payload, roles=ASKED), Decoded)


@pytest.mark.parametrize("name", CATALOGUE)
def test_nobody_elses_datagrams_are_taken_for_ones_own(name: str) -> None:
    """All that the others sent is a stranger's on one's port."""
    description = catalogue()[name]
    for other in CATALOGUE:
        if other == name:
            continue
        for datagram in captured(other):
            if {name, other} == {"ssdp", "yeelight"}:
                continue  # Yeelight's is SSDP on another port: only the port tells
            assert decode(description, datagram.payload) is None


@pytest.mark.parametrize("name", CATALOGUE)
@given(st.data())
def test_what_is_built_decodes_to_its_values(name: str, data: st.DataObject) -> None:
    needs_aes(name)
    description = catalogue()[name]
    form = data.draw(st.sampled_from(description.messages))
    drawn = data.draw(message_values(form))
    ours = description.accessory(drawn, own=OWN, random=Random(1))
    probe, values = spoken(description, form, ours, drawn, data)
    payload = description.encode(
        form, values, own=OWN, random=Random(2), now=1.8e9, probe=probe, device=ours
    )
    # A reply to a probe that one didn't send is nobody's business here.
    probes = dict.fromkeys(form.answers, probe) if probe else None
    decoded = description.decode(payload, roles=(form.role,), probes=probes)
    assert isinstance(decoded, Decoded), decoded
    assert decoded.form is form
    for key, value in drawn.items():
        if values.get(key, value) == value:
            assert decoded.values.get(key) == value


def spoken(
    description: Description,
    form: Form,
    ours: Mapping[str, Value],
    drawn: Mapping[str, Value],
    data: st.DataObject,
) -> tuple[Mapping[str, Value] | None, Mapping[str, Value]]:
    """The probe that a message answers, and the values that an accessory puts into it."""
    if form.role == "probe":
        return None, drawn
    if form.role != "reply":
        said = [values for f, values in description.announcements(form.role, ours) if f is form]
        return None, data.draw(st.sampled_from(said or [ours]))
    asked = description.form(data.draw(st.sampled_from(form.answers)))
    seed = Random(data.draw(st.integers(0, 99)))
    payload = description.encode(asked, {}, own=OWN, random=seed, now=0.0, device=ours)
    decoded = description.decode(payload, roles=ASKED)
    assert isinstance(decoded, Decoded)
    answers = [a.values for a in description.answers(decoded, ours) if a.form is form]
    assert answers or not form.sent
    return decoded.values, data.draw(st.sampled_from(answers or [ours]))


def test_the_catalogue_is_complete_and_comes_with_the_package() -> None:
    assert set(CATALOGUE) == set(CAPTURED)
    assert set(CATALOGUE) <= set(names())
    folder = files("bcast") / "accessories"
    for name in CATALOGUE:
        assert tomllib.loads((folder / f"{name}.toml").read_text("utf-8"))["name"] == name


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_message_has_a_sample(name: str) -> None:
    """Samples are the tests of a description: what has none isn't tested."""
    text = (FOLDER / f"{name}.toml").read_text("utf-8")
    shown = {sample["message"] for sample in tomllib.loads(text)["sample"]}
    assert shown == {form.name for form in catalogue()[name].messages}


@pytest.mark.parametrize("name", ["govee", "zre"])
def test_simple_accessories_are_short(name: str) -> None:
    """A dozen lines for one question and one answer, besides the samples."""
    text = (FOLDER / f"{name}.toml").read_text("utf-8").partition("[[sample]]")[0]
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) <= 12
