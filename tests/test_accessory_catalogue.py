"""Where descriptions are found, and what is said when one isn't."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bcast.accessory import catalogue
from bcast.accessory.catalogue import Catalogue, user_folder
from bcast.accessory.mistakes import DescriptionError
from bcast.errors import ArgumentError

LAMP = 'name = "lamp"\nport = 4000\n[[probe]]\ntext = "who"\nfrom = 4003\n'
LAMP += '[[reply]]\ntext = "me {id}"\nto = "source:4002"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lamp.toml").write_text(LAMP)
    (tmp_path / "broken.toml").write_text("name = \n")
    return tmp_path


def test_names_are_those_of_the_files(folder: Path) -> None:
    found = Catalogue([folder, folder / "none"])
    assert found.names() == ("broken", "lamp")
    assert found.load("lamp").title == "lamp"
    assert found.load("lamp") is found.load("lamp")
    assert found.load(str(folder / "lamp.toml")).port == 4000


def test_ports_are_found_without_parsing(folder: Path) -> None:
    found = Catalogue([folder])
    assert [found.by_port(port) for port in (4000, 4002, 4003)] == [("lamp",)] * 3
    assert found.by_port(400) == ()


def test_what_costs_time_is_looked_at_only_for_what_isnt_found(folder: Path) -> None:
    asked: list[int] = []

    def more() -> list[Path]:
        asked.append(1)
        return [folder / "more"]

    (folder / "more").mkdir()
    (folder / "more" / "plug.toml").write_text(LAMP.replace("lamp", "plug"))
    found = Catalogue([folder], more)
    found.load("lamp")
    assert not asked
    assert found.load("plug").name == "plug"
    assert found.names() == ("broken", "lamp", "plug")
    assert len(asked) == 1


def test_an_unknown_name(folder: Path) -> None:
    with pytest.raises(ArgumentError) as caught:
        Catalogue([folder]).load("lmap")
    assert str(caught.value) == (
        "there is no protocol 'lmap', did you mean 'lamp'?: see bcast protocols, or give a file:"
        " ./NAME.toml"
    )


def test_two_of_one_name(folder: Path) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "lamp.toml").write_text(LAMP)
    with pytest.raises(ArgumentError, match=r"two descriptions of 'lamp': .* give one of them"):
        Catalogue([folder, folder / "other"]).load("lamp")
    found = Catalogue([folder])
    with pytest.raises(ArgumentError, match="two descriptions of 'lamp'"):
        found.load_all(["lamp", str(folder / "other" / "lamp.toml")])
    assert len(found.load_all(["lamp", "lamp", str(folder / "lamp.toml")])) == 1


def test_files_that_are_none(folder: Path) -> None:
    found = Catalogue([folder])
    with pytest.raises(ArgumentError, match=r"can't read .*none.toml: No such file"):
        found.load(str(folder / "none.toml"))
    with pytest.raises(DescriptionError, match=r"broken.toml:1: this isn't TOML"):
        found.load("broken")
    (folder / "latin.toml").write_bytes(b'name = "lamp"\ntitle = "\xe4"\n')
    with pytest.raises(DescriptionError, match=r"latin.toml:2: this isn't UTF-8"):
        found.load("latin")
    (folder / "plug.toml").write_text(LAMP)
    with pytest.raises(DescriptionError, match=r"plug.toml:1: name: has to be 'plug'"):
        found.load("plug")
    (folder / "huge.toml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(ArgumentError, match=r"has more than 1,000,000 bytes"):
        found.load("huge")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="these have other places")
def test_the_users_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert user_folder() == tmp_path / "bcast" / "accessories"


def test_packages_name_a_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path
) -> None:
    package = folder / "lamps"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('nobody runs this')\n")
    (package / "bulb.toml").write_text(LAMP.replace("lamp", "bulb"))
    metadata = folder / "lamps-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: lamps\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[bcast.accessories]\nlamps = lamps\nbroken = no.such.package\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    found = Catalogue([], catalogue.of_packages)
    assert found.load("bulb").name == "bulb"
