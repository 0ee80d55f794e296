"""The pytest plugin: LANs, fake accessories and faults as fixtures, and reports that tell.

Layer 6. Only pytest loads this module. What a suite without these fixtures would pay for is
imported by who uses it. There is no assert here for pytest to rewrite: PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from bcast import __version__

if TYPE_CHECKING:
    from bcast.domain import Domain
    from bcast.lans import Lan

__all__ = [
    "accessory",
    "bcast_lab",
    "bcast_loopback",
    "bcast_rig",
    "bcast_sim",
    "lan",
    "pytest_addoption",
    "pytest_configure",
    "pytest_configure_node",
    "pytest_generate_tests",
    "pytest_report_header",
    "pytest_runtest_call",
    "pytest_runtest_makereport",
    "pytest_runtest_setup",
]

_KINDS = ("sim", "loopback", "lab")
_TARGET = "target"
_MARKER = "bcast"
_SEED = "bcast_seed"

#: The LANs of a test, open or closed, and where its captures go.
_LANS = pytest.StashKey["list[Lan]"]()
_FOLDER = pytest.StashKey["Callable[[], str]"]()

_MARKER_HELP = (
    "bcast(needs=KIND, networks=1, realm=None, port=None): the LAN of a test. `needs` is sim, "
    "loopback, lab or target, or several of them; where there is none the test is skipped with "
    "the reason."
)


# --- options -------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bcast", "UDP discovery (bcast)")
    group.addoption(
        "--bcast-lan",
        metavar="KIND",
        default="sim",
        help="what the fixture `lan` is: sim (the default), loopback or lab; with several, "
        "separated by commas, its tests run on each",
    )
    group.addoption(
        "--bcast-seed",
        metavar="N",
        type=int,
        help="what chance does in simulated LANs; a failing test says which it was",
    )
    group.addoption(
        "--bcast-target",
        metavar="DEVICE",
        help="let the fixture `lan` be the real one, with the device at this address, or on this "
        "interface",
    )
    group.addoption(
        "--bcast-interface",
        metavar="EXPR",
        action="append",
        help="the interfaces that a target is looked for on (default: all usable ones)",
    )
    group.addoption(
        "--bcast-require",
        action="store_true",
        help="fail tests that would be skipped because their LAN can't be had here",
    )
    group.addoption(
        "--bcast-capture",
        metavar="DIR",
        help="where failing tests leave their datagrams (default: pytest's temporary directory)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER_HELP)
    option = config.option
    if option.bcast_seed is None:
        given = getattr(config, "workerinput", {})
        option.bcast_seed = given.get(_SEED, int.from_bytes(os.urandom(3), "big"))
    _check_kinds(option.bcast_lan.split(","), "--bcast-lan", _KINDS)
    if option.bcast_target and option.bcast_lan != "sim":
        raise pytest.UsageError("--bcast-target and --bcast-lan exclude each other")
    if option.bcast_interface and not option.bcast_target:
        raise pytest.UsageError(
            "--bcast-interface says where a real device is looked for: give --bcast-target too"
        )


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Gives a worker of pytest-xdist the seed that all have."""
    node.workerinput[_SEED] = node.config.option.bcast_seed


def _check_kinds(kinds: Iterable[str], where: str, known: Sequence[str]) -> None:
    for kind in kinds:
        if kind not in known:
            raise pytest.UsageError(f"{where}: {kind!r} is no LAN: use {', '.join(known)}")


def pytest_report_header(config: pytest.Config) -> str:
    facts = _rig(config)
    return f"bcast: {', '.join(f'{name} {value}' for name, value in facts.items())}"


def _rig(config: pytest.Config) -> dict[str, str]:
    """What a report should say about where and how the tests ran."""
    from platform import release, system
    from socket import if_nameindex

    try:
        names = [name for _, name in if_nameindex()]
    except OSError:
        names = []
    target = config.option.bcast_target
    return {
        "version": __version__,
        "kernel": f"{system()} {release()}",
        "interfaces": " ".join(names) or "unknown",
        **({"target": target} if target else {}),
        "seed": str(config.option.bcast_seed),
    }


# --- which LAN -----------------------------------------------------------------------------------


def _marked(item: pytest.Item) -> dict[str, Any]:
    """What the markers of a test say, the nearest first."""
    found: dict[str, Any] = {}
    for marker in item.iter_markers(_MARKER):
        for name, value in {**marker.kwargs, **_needs_of(marker.args)}.items():
            found.setdefault(name, value)
    if unknown := found.keys() - {"needs", "networks", "realm", "port"}:
        pytest.fail(f"the marker bcast has no {min(unknown)!r}: {_MARKER_HELP}", pytrace=False)
    return found


def _needs_of(arguments: tuple[Any, ...]) -> dict[str, Any]:
    return {"needs": arguments} if arguments else {}


def _kinds(config: pytest.Config, needs: str | Iterable[str] | None) -> list[str]:
    """The LANs that a test is to run on: those of the option that will do, else the first."""
    offered = [_TARGET] if config.option.bcast_target else config.option.bcast_lan.split(",")
    if needs is None:
        return offered
    wanted = [needs] if isinstance(needs, str) else list(needs)
    _check_kinds(wanted, "the marker bcast", (*_KINDS, _TARGET))
    # A target that wasn't given is the last that a test could do with.
    first = sorted(wanted, key=lambda kind: kind == _TARGET)[:1]
    return [kind for kind in offered if kind in wanted] or first


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "lan" not in metafunc.fixturenames:
        return
    markers = metafunc.definition.iter_markers(_MARKER)
    needs = [{**m.kwargs, **_needs_of(m.args)}.get("needs") for m in markers]
    kinds = _kinds(metafunc.config, next(filter(None, needs), None))
    if len(kinds) > 1:
        metafunc.parametrize("lan", kinds, indirect=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test that is marked to need what can't be had, and makes its LANs itself."""
    if item.get_closest_marker(_MARKER) is None:
        return
    marked = _marked(item)
    fixtures = getattr(item, "fixturenames", ())
    if "needs" not in marked or "lan" in fixtures:
        return
    kinds = _kinds(item.config, marked["needs"])
    reasons = [_unavailable(item.config, kind) for kind in kinds]
    if all(reasons):
        _do_without(item, kinds[0], reasons[0])


def _unavailable(config: pytest.Config, kind: str) -> str:
    """Why there can't be such a LAN here; empty if there can."""
    if kind == "loopback":
        from bcast.lans import loopback_unavailable

        return loopback_unavailable()
    if kind == "lab":
        from bcast.lans import lab_lan_unavailable

        return lab_lan_unavailable()
    if kind == _TARGET and not config.option.bcast_target:
        return "--bcast-target says which device that is"
    return ""


def _do_without(item: pytest.Item, kind: str, reason: str) -> NoReturn:
    """Skips a test, or fails it where it is required to run."""
    if item.config.option.bcast_require:
        pytest.fail(f"--bcast-require is given, and there is no {kind}: {reason}", pytrace=False)
    pytest.skip(f"no {kind}: {reason}")


# --- fixtures ------------------------------------------------------------------------------------


@pytest.fixture
def lan(request: pytest.FixtureRequest) -> Iterator[Lan]:
    """The LAN that the options and the test's marker choose; a simulated one unless they do."""
    item: pytest.Item = request.node
    kind = getattr(request, "param", None) or _kinds(item.config, _marked(item).get("needs"))[0]
    yield from _opened(request, kind)


@pytest.fixture
def bcast_sim(request: pytest.FixtureRequest) -> Iterator[Lan]:
    """A simulated LAN, under made-up time."""
    yield from _opened(request, "sim")


@pytest.fixture
def bcast_loopback(request: pytest.FixtureRequest) -> Iterator[Lan]:
    """A LAN of real sockets on the loopback interface."""
    yield from _opened(request, "loopback")


@pytest.fixture
def bcast_lab(request: pytest.FixtureRequest) -> Iterator[Lan]:
    """A LAN of hosts of the real kernel, which run commands."""
    yield from _opened(request, "lab")


@pytest.fixture
def accessory(lan: Lan) -> Callable[..., Any]:
    """Starts fake accessories on the `lan`: native ones, ``accessory("lamp-1", "_lamp",
    slow=0.5)``, and those of other protocols, ``accessory("kasa", name="Plug")``."""
    return lan.accessory


@pytest.fixture(scope="session")
def bcast_rig(
    request: pytest.FixtureRequest, record_testsuite_property: Callable[[str, object], None]
) -> dict[str, str]:
    """Where and how the tests run: bcast's version, the kernel, the interfaces, the seed."""
    facts = _rig(request.config)
    for name, value in facts.items():
        record_testsuite_property(f"bcast_{name}", value)
    return facts


def _opened(request: pytest.FixtureRequest, kind: str) -> Iterator[Lan]:
    from bcast.errors import BcastError
    from bcast.lans import UnsupportedError

    item: pytest.Item = request.node
    if reason := _unavailable(item.config, kind):
        _do_without(item, kind, reason)
    rig = request.getfixturevalue("bcast_rig")
    folder = request.getfixturevalue("tmp_path_factory").getbasetemp
    item.stash.setdefault(_FOLDER, lambda: str(folder()))
    made: Lan | BcastError
    try:
        made = _make(item, kind)
    except BcastError as error:
        made = error
    if isinstance(made, UnsupportedError):
        _do_without(item, kind, str(made))
    if isinstance(made, BcastError):
        pytest.fail(f"no {kind}: {made}", pytrace=False)
    with made:
        item.stash.setdefault(_LANS, []).append(made)
        item.user_properties.append(("bcast_lan", made.label))
        # The properties of the suite are lost in workers of pytest-xdist, these aren't.
        item.user_properties += [(f"bcast_{name}", value) for name, value in rig.items()]
        yield made


def _make(item: pytest.Item, kind: str) -> Lan:
    from bcast import lans

    option, marked = item.config.option, _marked(item)
    domain = _domain(marked, kind, item.nodeid)
    seed: int = option.bcast_seed
    networks: int = marked.get("networks", 1)
    if kind == _TARGET:
        return lans.TargetLan(
            option.bcast_target, interfaces=option.bcast_interface, seed=seed, domain=domain
        )
    if kind == "lab":
        return lans.LabLan(seed=seed, networks=networks, domain=domain)
    make = lans.SimulatedLan if kind == "sim" else lans.LoopbackLan
    return make(seed=seed, networks=networks, domain=domain)


def _domain(marked: dict[str, Any], kind: str, test: str) -> Domain | None:
    """Where peers meet, if the marker says so; None leaves it to the LAN."""
    realm, port = marked.get("realm"), marked.get("port")
    if realm is None and port is None and kind != "sim":
        return None
    from zlib import crc32

    from bcast.destinations import DEFAULT_PORT
    from bcast.domain import Domain

    if realm is None:
        # A real device is in no realm, unless the marker knows better.
        realm = "" if kind == _TARGET else f"test-{crc32(test.encode()):08x}"
    return Domain(realm, DEFAULT_PORT if port is None else port)


# --- reports -------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Skips a test when it turns out to want what its kind of LAN can't do."""
    try:
        yield
    except Exception as error:
        if item.stash.get(_LANS, None):
            from bcast.lans import UnsupportedError

            if isinstance(error, UnsupportedError):
                _do_without(item, item.stash[_LANS][0].kind, str(error))
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and (lans := item.stash.get(_LANS, None)):
        for number, made in enumerate(lans):
            _tell(item, call, report, made, number)
    if isinstance(report.longrepr, tuple) and report.longrepr[0] == __file__:
        # Skipped from here: what the person looks for is the test.
        path, line, _ = item.location
        report.longrepr = path, (line or 0) + 1, report.longrepr[2]
    return report


def _tell(
    item: pytest.Item,
    call: pytest.CallInfo[None],
    report: pytest.TestReport,
    made: Lan,
    number: int,
) -> None:
    """Adds to a report what was heard, where it is captured, and how it comes back."""
    from bcast.errors import CaptureError
    from bcast.lans import ExpectationError

    if call.excinfo is None or not isinstance(call.excinfo.value, ExpectationError):
        report.sections.append(("bcast timeline", made.timeline))
    for program in made.programs:
        report.sections.append(("bcast program", program.account()))
    lines = []
    try:
        path = _capture_path(item, number)
        count = made.capture(path)
        lines.append(f"{count} datagrams are in {path}")
        report.user_properties.append(("bcast_capture", path))
    except (CaptureError, OSError) as error:
        lines.append(f"the datagrams could not be captured: {error}")
    if made.kind == "sim":
        lines.append(f"the same happens again with --bcast-seed {made.seed}")
    report.sections.append(("bcast", "\n".join(lines)))


def _capture_path(item: pytest.Item, number: int) -> str:
    folder = item.config.option.bcast_capture
    if folder:
        os.makedirs(folder, exist_ok=True)
    else:
        folder = item.stash[_FOLDER]()
    name = "".join(c if c.isalnum() or c in "-." else "_" for c in item.nodeid)[-120:]
    return os.path.join(folder, f"{name}{f'-{number}' if number else ''}.pcapng")
