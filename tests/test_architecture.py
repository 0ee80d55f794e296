"""What the modules may import, what they say about themselves, and what an import costs."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

import bcast

PACKAGE = Path(bcast.__file__).parent
PROJECT = Path(__file__).parent.parent

#: The layers, lowest first. A module imports from lower layers only; within an entry it imports
#: from what stands before it, except that the modules of a folder ("x/") may import one another.
LAYERS: dict[int, tuple[tuple[str, ...], ...]] = {
    1: (("values", "errors", "datagram", "timestamp", "machine", "messages", "device", "log"),),
    2: (
        ("destinations", "wire/", "domain", "accessory/"),
        *(("payload",), ("networks",), ("matching",)),
    ),
    3: (("discovery/", "foreign/"),),
    4: (("interfaces/",), ("sockets/",), ("capture/",), ("simnet/",), ("lab/",)),
    5: (
        (
            *("waiting", "counts", "queues", "channels", "results"),
            *("receiver", "legs", "outlets", "sender"),
            *("attachments", "stations", "sharing", "driver", "mdns", "sweep", "runners"),
            *("participant", "browser", "announcer", "impersonator"),
            "lans/",
        ),
    ),
    6: (("cli/", "__main__"), ("pytest_plugin",)),
}

#: The folders that only the values of layer 1 may enter.
EDGES = 4

#: Who may import what isn't Python's own: where else it would be paid for, or be missing.
THIRD_PARTY = {
    "cryptography": "accessory/",
    "ifaddr": "interfaces/",
    "psutil": "interfaces/",
    "rich": "cli/",
    "typer": "cli/",
    "zeroconf": "mdns",
}

#: What nobody imports, except for pytest's plugin: tests have no place in the library.
BANNED = {"pytest", "_pytest", "hypothesis", "tests"}
PLUGIN = ("pytest_plugin", "pytest")

#: Who imports asyncio, when it is used: nobody else is to pay for it.
ASYNCHRONOUS = {"waiting", "runners", "participant", "mdns"}

#: All that may be imported from clocks below the drivers: conversions, a default argument, and a
#: rest between looks at processes.
CLOCKS = {
    "timestamp": {"gmtime", "strftime"},
    "accessory.template": {"gmtime"},
    "sockets.transfer": {"time_ns"},
    "lab.running": {"sleep"},
}

_FOR_TYPES = ("TYPE_CHECKING", "typing.TYPE_CHECKING")

#: Lines of a module that a reader still holds in mind.
LONGEST = 450


class Import(NamedTuple):
    """``from module import name`` (``name`` is "" for ``import module``)."""

    module: str
    name: str
    line: int
    for_types: bool


class Module(NamedTuple):
    """A module by its name within bcast ("" is bcast itself, "cli" the folder's own)."""

    name: str
    is_package: bool
    source: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @property
    def place(self) -> str:
        """As in `LAYERS`: the folder, or the module at the top."""
        first, dot, _ = self.name.partition(".")
        return f"{first}/" if dot or self.is_package else first


def read_package(folder: Path = PACKAGE) -> dict[str, Module]:
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = list(path.relative_to(folder).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        found[name] = Module(name, is_package and bool(name), path.read_text("utf-8"))
    return found


MODULES = read_package()


def imports(tree: ast.AST, for_types: bool = False) -> Iterator[Import]:
    """All imports, those inside functions too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in _FOR_TYPES:
            for child in node.body:
                yield from imports(ast.Module([child], []), True)
            for child in node.orelse:
                yield from imports(ast.Module([child], []), for_types)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, "", node.lineno, for_types)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are banned"
            for alias in node.names:
                yield Import(node.module or "", alias.name, node.lineno, for_types)
        else:
            yield from imports(node, for_types)


def own_imports(module: Module, modules: Mapping[str, Module]) -> Iterator[tuple[str, Import]]:
    """The modules of bcast that a module imports when it runs, as names within bcast."""
    for found in imports(module.tree):
        if found.for_types or found.module.partition(".")[0] != "bcast":
            continue
        name = found.module.removeprefix("bcast").lstrip(".")
        inner = f"{name}.{found.name}".lstrip(".")
        yield (inner if inner in modules else name), found


def level(place: str) -> tuple[int, int, int] | None:
    """Layer, entry, and rank in the entry."""
    for number, entries in LAYERS.items():
        for position, entry in enumerate(entries):
            if place in entry:
                return number, position, entry.index(place)
    return None


def layer_violations(modules: Mapping[str, Module]) -> list[str]:
    wrong = []
    for module in modules.values():
        here = level(module.place)
        if not module.name:
            continue  # bcast itself is above all: see the tests of its names
        if here is None:
            wrong.append(f"{module.name} is in no layer")
            continue
        for name, found in own_imports(module, modules):
            where = f"{module.name}:{found.line} imports {name or 'bcast'}"
            if not name:
                # The public names load modules of all layers.
                if found.name != "__version__":
                    wrong.append(f"{where}: name the module that has {found.name or 'it'}")
                continue
            there = level(modules[name].place) if name in modules else None
            if there is None:
                wrong.append(f"{where}, which is in no layer")
            elif modules[name].place == module.place:
                continue
            elif here[0] == EDGES and there[0] != 1:
                wrong.append(f"{where}: only values may enter this folder")
            elif there[0] > here[0]:
                wrong.append(f"{where}, which is in a higher layer")
            elif there[0] == here[0] and (there[1] != here[1] or there[2] > here[2]):
                wrong.append(f"{where}, which is beside it")
    return wrong


def dependencies(module: Module, modules: Mapping[str, Module]) -> set[str]:
    """The siblings that a module needs, and those that it loads on demand for its names."""
    needed = {name for name, _ in own_imports(module, modules)}
    if any(isinstance(n, ast.FunctionDef) and n.name == "__getattr__" for n in module.tree.body):
        needed |= {
            found.module.removeprefix("bcast.")
            for found in imports(module.tree)
            if found.for_types and found.module.startswith("bcast.")
        }
    return {n for n in needed if n in modules and modules[n].place == module.place}


def cycles(modules: Mapping[str, Module]) -> list[str]:
    """Modules that need themselves, by way of their siblings."""
    wrong = []
    for start in modules:
        left: list[tuple[str, tuple[str, ...]]] = [(start, (start,))]
        seen: set[str] = set()
        while left:
            name, path = left.pop()
            for needed in dependencies(modules[name], modules):
                if needed == start:
                    wrong.append(" > ".join((*path, start)))
                elif needed not in seen:
                    seen.add(needed)
                    left.append((needed, (*path, needed)))
    return wrong


def made_up(**sources: str) -> dict[str, Module]:
    """Modules by name ("sockets__plan" is sockets.plan), to find something wrong with."""
    names = {key.replace("__", ".") if key != "__main__" else key: s for key, s in sources.items()}
    folders = {name.partition(".")[0] for name in names if "." in name}
    return {
        name: Module(name, name in folders, source)
        for name, source in {"": "", **dict.fromkeys(folders, ""), **names}.items()
    }


# --- layers


def test_a_module_imports_only_from_the_layers_below() -> None:
    assert layer_violations(MODULES) == []


def test_every_entry_of_the_table_is_there() -> None:
    listed = {place for entries in LAYERS.values() for entry in entries for place in entry}
    assert listed == {module.place for module in MODULES.values() if module.name}


def test_no_module_needs_itself() -> None:
    assert cycles(MODULES) == []


@pytest.mark.parametrize(
    ("modules", "complaint"),
    [
        (made_up(errors="import bcast.payload", payload=""), "higher layer"),
        (made_up(errors="from bcast import payload", payload=""), "higher layer"),
        (made_up(payload="from bcast.receiver import Receiver", receiver=""), "higher layer"),
        (made_up(payload="def f():\n from bcast import cli", cli__listen=""), "higher layer"),
        (made_up(payload="import bcast.networks", networks=""), "beside it"),
        (made_up(errors="import bcast.datagram", datagram=""), "beside it"),
        (made_up(receiver="import bcast.sender", sender=""), "beside it"),
        (made_up(cli__listen="import bcast.__main__", __main__=""), "beside it"),
        (made_up(sockets__plan="import bcast.capture", capture__frames=""), "only values"),
        (made_up(capture__frames="import bcast.networks", networks=""), "only values"),
        (made_up(payload="from bcast import Receiver"), "name the module"),
        (made_up(payload="import bcast"), "name the module"),
        (made_up(elsewhere=""), "in no layer"),
        (made_up(payload="import bcast.elsewhere"), "in no layer"),
        (made_up(payload="try:\n import bcast.cli.send\nexcept E: pass", cli__send=""), "higher"),
        (made_up(payload="if TYPE_CHECKING: pass\nelse: import bcast.sender", sender=""), "high"),
        (made_up(payload="if not TYPE_CHECKING: import bcast.sender", sender=""), "higher"),
    ],
)
def test_what_would_break_the_layers_is_found(modules: dict[str, Module], complaint: str) -> None:
    [found] = [wrong for wrong in layer_violations(modules) if complaint in wrong]
    assert complaint in found


@pytest.mark.parametrize(
    "modules",
    [
        made_up(payload="from bcast.errors import ArgumentError", errors=""),
        made_up(datagram="import bcast.errors", errors=""),
        made_up(sender="import bcast.receiver", receiver=""),
        made_up(sockets__plan="import bcast.sockets.advice", sockets__advice=""),
        made_up(cli__listen="from bcast import __version__"),
        made_up(__main__="from bcast.cli import run", cli__listen=""),
        made_up(errors="if TYPE_CHECKING:\n import bcast.sender", sender=""),
    ],
)
def test_what_the_layers_allow_is_not_complained_about(modules: dict[str, Module]) -> None:
    assert layer_violations(modules) == []
    assert cycles(modules) == []


def test_cycles_are_found() -> None:
    plain = made_up(
        sockets__plan="import bcast.sockets.advice",
        sockets__advice="def f():\n from bcast.sockets import linux",
        sockets__linux="import bcast.sockets.plan",
    )
    assert "sockets.plan > sockets.advice > sockets.linux > sockets.plan" in cycles(plain)
    by_package = made_up(sockets__plan="from bcast.sockets import platform")
    by_package["sockets"] = Module("sockets", True, "from bcast.sockets.plan import Plan")
    assert "sockets > sockets.plan > sockets" in cycles(by_package)
    # A name that loads on demand is needed all the same.
    lazy = "if TYPE_CHECKING:\n from bcast.sockets.plan import Plan\ndef __getattr__(n): ..."
    by_package["sockets"] = Module("sockets", True, lazy)
    assert "sockets > sockets.plan > sockets" in cycles(by_package)


def test_what_is_not_of_python_is_imported_where_it_is_declared_to_be() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [one for extra in project["optional-dependencies"].values() for one in extra]
    declared = {
        re.split(r"[^A-Za-z0-9_.-]", one)[0] for one in (*project["dependencies"], *extras)
    }
    assert declared == set(THIRD_PARTY), "a dependency earns its place by one folder that uses it"
    used = set()
    for module in MODULES.values():
        for found in imports(module.tree):
            top = found.module.partition(".")[0]
            where = f"{module.name}:{found.line} imports {top}"
            if (module.name, top) == PLUGIN:
                continue
            assert top not in BANNED, where
            assert top != "asyncio" or module.name in ASYNCHRONOUS, where
            if top != "bcast" and top not in sys.stdlib_module_names:
                assert THIRD_PARTY.get(top) == module.place, where
                used.add(top)
    assert used == declared


def test_modules_that_are_named_at_run_time_are_their_packages_own() -> None:
    """So that no import goes past these tests."""
    for module in MODULES.values():
        for node in ast.walk(module.tree):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            assert called != "__import__", module.name
            if not isinstance(node, ast.Call) or called.rpartition(".")[2] != "import_module":
                continue
            assert module.is_package or not module.name, f"{module.name}:{node.lineno}"
            own = f"bcast.{module.name}".rstrip(".")
            text = ast.unparse(node.args[0]).replace("{__name__}", own)
            assert text.startswith((f"f'{own}.", f'f"{own}.')), f"{module.name}:{node.lineno}"


def test_below_the_drivers_time_is_an_argument() -> None:
    for module in MODULES.values():
        where = level(module.place)
        if where is None or where[0] >= 5:
            continue
        taken = {
            found.name or found.module
            for found in imports(module.tree)
            if found.module in ("time", "datetime")
        }
        assert taken <= CLOCKS.get(module.name, set()), module.name


def test_the_one_clock_of_an_edge_is_a_default_that_tests_replace() -> None:
    """Where the kernel doesn't stamp, the time of reading stands in."""
    tree = MODULES["sockets.transfer"].tree
    defaults = [
        default
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        for default in (*node.args.defaults, *node.args.kw_defaults)
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "time_ns":
            assert node in defaults, f"line {node.lineno}"


# --- modules


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_it_is_and_what_of_it_is_public(name: str) -> None:
    module = MODULES[name]
    assert ast.get_docstring(module.tree)
    loaded = importlib.import_module(f"bcast.{name}".rstrip("."))
    public: list[str] = loaded.__all__
    assert len(set(public)) == len(public)
    assert public == sorted(public, key=_rank)
    for one in public:
        assert getattr(loaded, one) is not None


def _rank(name: str) -> tuple[int, str]:
    """Constants, classes, the rest; each in the order of the alphabet."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_short_enough_to_hold_in_mind(name: str) -> None:
    assert len(MODULES[name].source.splitlines()) <= LONGEST


# --- the public names


def test_every_public_name_loads() -> None:
    for name in bcast.__all__:
        value = getattr(bcast, name)
        assert value is not None
        assert getattr(bcast, name) is value
    namespace: dict[str, object] = {}
    exec("from bcast import *", namespace)
    assert set(bcast.__all__) <= set(namespace)


def test_the_public_names_are_what_dir_shows() -> None:
    assert dir(bcast) == sorted(bcast.__all__)


@pytest.mark.parametrize("name", ["Reciever", "receive", "_Sender", "__wrapped__"])
def test_an_unknown_name_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=f"'bcast'.*'{name}'"):
        getattr(bcast, name)
    with pytest.raises(ImportError, match=name):
        exec(f"from bcast import {name}", {})


@pytest.mark.parametrize("package", ["", "interfaces"])
def test_type_checkers_see_what_loads_on_demand(package: str) -> None:
    tree = MODULES[package].tree
    own = f"bcast.{package}.".replace("..", ".")
    typed = {f.name: f.module.removeprefix(own) for f in imports(tree) if f.for_types}
    [table] = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
    ]
    lazy: dict[str, str] = ast.literal_eval(table)
    assert typed == lazy
    public = importlib.import_module(own.rstrip(".")).__all__
    assert set(lazy) <= set(public)
    if not package:
        assert {*lazy, "__version__"} == set(public)
        # Each name comes from the module, or the folder, that declares it public.
        for name, module in lazy.items():
            assert name in importlib.import_module(f"bcast.{module}").__all__


def test_bcast_itself_imports_nothing_at_once() -> None:
    at_once = [
        ast.unparse(node)
        for node in MODULES[""].tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert at_once == ["from __future__ import annotations"]


# --- what an import costs


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


def loaded_by(statement: str) -> set[str]:
    """The modules that a bare interpreter doesn't have."""
    code = f"import sys; before = set(sys.modules); {statement}; print(*set(sys.modules) - before)"
    return set(python("-c", code).stdout.split())


def test_importing_bcast_loads_almost_nothing() -> None:
    assert loaded_by("import bcast") <= {"bcast", "__future__"}


@pytest.mark.parametrize(
    ("statement", "not_loaded"),
    [
        ("from bcast import ArgumentError", {"socket", "ipaddress", "enum", "dataclasses"}),
        ("from bcast import Endpoint", {"socket", "asyncio", "dataclasses", "json"}),
        ("from bcast import Template", {"socket", "asyncio", "ifaddr"}),
        ("from bcast import Sender", {"asyncio", "typer", "psutil", "json", "threading"}),
        ("from bcast import Receiver", {"asyncio", "typer", "psutil", "json"}),
        ("from bcast import CaptureReader", {"asyncio", "socket", "typer", "ifaddr"}),
    ],
)
def test_a_name_loads_only_what_it_needs(statement: str, not_loaded: set[str]) -> None:
    loaded = loaded_by(statement)
    assert loaded & {"rich", "pytest", "hypothesis", "click"} == set()
    assert loaded & not_loaded == set()


def test_the_version_is_quick_to_tell() -> None:
    done = python("-X", "importtime", "-m", "bcast", "--version")
    assert done.stdout == f"bcast {bcast.__version__}\n"
    loaded = {
        line.rpartition("|")[2].strip()
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }
    assert "bcast.cli" in loaded, "the output of -X importtime is understood"
    slow = {"rich", "ifaddr", "psutil", "ctypes", "asyncio", "json"}
    ours = {"bcast.datagram", "bcast.interfaces", "bcast.sockets", "bcast.receiver"}
    assert loaded & (slow | ours) == set()
