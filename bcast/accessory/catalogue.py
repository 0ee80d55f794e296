"""The descriptions that there are: the catalogue's, the user's, and those of other packages.

Nothing is parsed before it is asked for by name: names are those of the files (``kasa.toml``),
and which port is spoken on is found by looking at the lines that say so.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

from bcast.accessory.description import Description
from bcast.accessory.loading import load
from bcast.accessory.mistakes import DescriptionError, Mistake, meant
from bcast.errors import ArgumentError

__all__ = [
    "ENTRY_POINTS",
    "Catalogue",
    "by_port",
    "check_named",
    "is_file",
    "load_all",
    "load_named",
    "names",
    "of_packages",
    "user_folder",
]

#: Other packages name a module here whose folder holds descriptions.
ENTRY_POINTS = "bcast.accessories"

#: Bytes of a description: the largest of the catalogue has a tenth.
_MAX_FILE = 1_000_000

_OURS = Path(__file__).parent.parent / "accessories"

_PORTS = re.compile(rb"^\s*(?:port|from|prefer|to)\s*=(.*)$", re.MULTILINE)
_NUMBER = re.compile(rb"\b[0-9]{1,5}\b")


def user_folder() -> Path:
    """Where the user's own descriptions are looked for; it needn't exist."""
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or home / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    return base / "bcast" / "accessories"


def is_file(name: str) -> bool:
    """Whether this is the path of a file, not a name."""
    return name.endswith(".toml") or "/" in name or os.sep in name


class Catalogue:
    """Descriptions in folders: a name may be in one of them only.

    ``folders``: those that are looked at at once; ``more``: gives others, at a price, when a name
    isn't found, or all are wanted.
    """

    def __init__(
        self, folders: Iterable[Path], more: Callable[[], Iterable[Path]] = lambda: ()
    ) -> None:
        self._folders = tuple(folders)
        self._more = more
        self._found: dict[str, list[Path]] | None = None
        self._loaded: dict[str, Description] = {}
        self._speaking: dict[int, tuple[str, ...]] | None = None

    def names(self) -> tuple[str, ...]:
        """The names of all descriptions, sorted."""
        return tuple(sorted(self._files()))

    def load(self, name: str) -> Description:
        """The description of that name, or in that file (``./mine.toml``); each is loaded once.

        Raises `ArgumentError` for a name that nobody has, or two have, and for a file that can't
        be read; `DescriptionError` for mistakes in it.
        """
        if name not in self._loaded:
            path = Path(name) if is_file(name) else self._path(name)
            # Ours are tried out by the tests: nobody waits for that again.
            tried = path.parent == _OURS
            description = load(_read(path), file=str(path), tried=tried)
            if not is_file(name) and description.name != name:
                message = f"name: has to be '{name}', as the file is called"
                raise DescriptionError([Mistake(str(path), 1, "", message)])
            self._loaded[name] = description
        return self._loaded[name]

    def check(self, name: str) -> Description:
        """As `load`, and tries it out whoever wrote it."""
        path = Path(name) if is_file(name) else self._path(name)
        return load(_read(path), file=str(path))

    def load_all(self, names: Iterable[str]) -> tuple[Description, ...]:
        """Several, each once. Raises as `load`, and `ArgumentError` for two of one name."""
        loaded: dict[str, Description] = {}
        for name in names:
            description = self.load(name)
            other = loaded.setdefault(description.name, description)
            if other is not description and other.path != description.path:
                raise _ambiguous(description.name, [other.path, description.path])
        return tuple(loaded.values())

    def by_port(self, port: int) -> tuple[str, ...]:
        """The names of the descriptions that speak on a port, as far as can be seen unparsed."""
        if self._speaking is None:
            speaking: dict[int, set[str]] = {}
            for name, (path, *_) in self._files().items():
                try:
                    content = path.read_bytes()[:_MAX_FILE]
                except OSError:
                    continue  # whoever asks for it by name is told
                for line in _PORTS.findall(content):
                    for number in _NUMBER.findall(line):
                        speaking.setdefault(int(number), set()).add(name)
            self._speaking = {one: tuple(sorted(names)) for one, names in speaking.items()}
        return self._speaking.get(port, ())

    def _path(self, name: str) -> Path:
        files = _files_of(self._folders)
        if name not in files:
            files = self._files()
        if name not in files:
            known = meant(name, files) or f" ({', '.join(sorted(files)) or 'none is known'})"
            raise ArgumentError(
                f"there is no protocol '{name}'{known}",
                "see bcast protocols, or give a file: ./NAME.toml",
            )
        if len(files[name]) > 1:
            raise _ambiguous(name, map(str, files[name]))
        return files[name][0]

    def _files(self) -> dict[str, list[Path]]:
        if self._found is None:
            self._found = _files_of((*self._folders, *self._more()))
        return self._found


def _ambiguous(name: str, paths: Iterable[str]) -> ArgumentError:
    return ArgumentError(
        f"there are two descriptions of '{name}': {' and '.join(sorted(paths))}",
        "give one of them another name",
    )


def _files_of(folders: Iterable[Path]) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for folder in dict.fromkeys(folders):
        try:
            found = sorted(folder.glob("*.toml"))
        except OSError:
            continue
        for path in found:
            files.setdefault(path.stem, []).append(path)
    return files


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE + 1)
        if len(content) > _MAX_FILE:
            raise ArgumentError(
                f"{path} has more than {_MAX_FILE:,} bytes", "is it a description?"
            )
        return content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DescriptionError([Mistake(str(path), line, "", "this isn't UTF-8")]) from None
    except OSError as error:
        raise ArgumentError(f"can't read {path}: {error.strerror}") from None


def of_packages() -> Iterator[Path]:
    """Folders that installed packages name. One that is broken hides no other."""
    from importlib.metadata import entry_points
    from importlib.util import find_spec

    for point in entry_points(group=ENTRY_POINTS):
        try:
            spec = find_spec(point.module)
        except (ImportError, ValueError, AttributeError):
            continue
        for place in (spec and spec.submodule_search_locations) or ():
            yield Path(place)


@cache
def _default() -> Catalogue:
    return Catalogue((_OURS, user_folder()), of_packages)


def names() -> tuple[str, ...]:
    """The names of all descriptions that there are here, sorted; nothing is parsed."""
    return _default().names()


def load_named(name: str) -> Description:
    """As `Catalogue.load`, from all that there is here."""
    return _default().load(name)


def check_named(name: str) -> Description:
    """As `Catalogue.check`, of all that there is here."""
    return _default().check(name)


def load_all(names: Iterable[str]) -> tuple[Description, ...]:
    """As `Catalogue.load_all`, from all that there is here."""
    return _default().load_all(names)


def by_port(port: int) -> tuple[str, ...]:
    """As `Catalogue.by_port`, of all that there is here."""
    return _default().by_port(port)
