"""docs/accessories.md says what there is: all of it, under the names that it has."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bcast.accessory.checksums import CHECKSUMS
from bcast.accessory.description import Decoded, Description
from bcast.accessory.fields import ENCODINGS, FIELD_TYPES
from bcast.accessory.holes import FUNCTIONS, OWN
from bcast.accessory.leaves import TEXT_TYPES
from bcast.accessory.loading import load
from bcast.accessory.mistakes import DescriptionError
from bcast.accessory.tables import KEYS
from bcast.accessory.transforms import TRANSFORMS
from bcast.cli.drafting import draft_of
from tests.accessories import ALL_ROLES, CAPTURES, captured
from tests.command import environment

DOCUMENT = Path(__file__).parent.parent / "docs" / "accessories.md"

if not DOCUMENT.exists():
    pytest.skip("docs/accessories.md isn't here", allow_module_level=True)

TEXT = DOCUMENT.read_text("utf-8")


def block(mark: str) -> str:
    found = re.search(rf"<!-- {mark} -->\n```\w*\n(.*?)```", TEXT, re.DOTALL)
    assert found, mark
    return found[1]


def described() -> Description:
    return load(block("description"), file="luxmeter.toml")


def test_the_draft_is_what_comes_out() -> None:
    drafted = draft_of(str(CAPTURES / "luxmeter.pcap"))
    assert block("drafted") == drafted.partition("\n[[sample]]")[0].rstrip() + "\n"


def test_the_description_reads_the_instrument() -> None:
    description = described()
    found = set()
    for datagram in captured("luxmeter"):
        decoded = description.decode(datagram.payload, roles=ALL_ROLES)
        assert isinstance(decoded, Decoded), decoded
        if decoded.form.role == "reply":
            identity = description.identity(decoded, str(datagram.source.address))
            found.add((identity.id, identity.name, identity.type, identity.attributes["serial"]))
    assert found == {
        ("00:1d:d4:a0:11:3f", "Window", "meter", 40_117),
        ("00:1d:d4:a0:12:9c", "Bench 2", "meter", 40_223),
    }


def test_the_description_is_as_short_as_is_promised() -> None:
    lines = block("description").partition("[[sample]]")[0].splitlines()
    assert len([line for line in lines if line.strip()]) <= 12


def test_the_mistakes_are_what_is_told() -> None:
    told = block("mistakes").strip()
    text = block("description").replace("{id:mac~", "{id:mca~")
    with pytest.raises(DescriptionError) as caught:
        load(text, file="luxmeter.toml")
    assert str(caught.value).splitlines()[0] == told


def test_the_commands_say_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "luxmeter.toml").write_text(block("description"))
    (tmp_path / "luxmeter.pcap").write_bytes((CAPTURES / "luxmeter.pcap").read_bytes())
    for mark in ("draft", "check"):
        line, _, shown = block(mark).partition("\n")
        done = subprocess.run(
            [sys.executable, "-m", *shlex.split(line.removeprefix("$ "))],
            cwd=tmp_path,
            env={**environment(), "PYTHONPATH": str(DOCUMENT.parent.parent)},
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        assert done.stdout.startswith(shown)
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "names",
    [
        *(pytest.param(keys, id=table or "file") for table, keys in KEYS.items()),
        pytest.param(TRANSFORMS, id="transforms"),
        pytest.param(CHECKSUMS, id="checksums"),
        pytest.param(FUNCTIONS, id="functions"),
        pytest.param(TEXT_TYPES, id="types in text"),
        pytest.param(ENCODINGS, id="encodings"),
        pytest.param([f"own.{name}" for name in OWN], id="own"),
    ],
)
def test_nothing_is_left_out(names: list[str]) -> None:
    reference = TEXT.partition("## Reference")[2]
    missing = [
        n for n in names if not re.search(rf"`[^`\n]*(?<!\w){re.escape(n)}(?!\w)", reference)
    ]
    assert not missing


def test_no_type_in_hex_is_left_out() -> None:
    reference = TEXT.partition("### Types in hex")[2].partition("### Types in text")[0]
    types = [kind for kind in FIELD_TYPES if not re.fullmatch(r"u\d+(le)?", kind)]
    assert not [t for t in types if not re.search(rf"`{t}\b", reference)]
