"""What all tests share: hypothesis profiles, the `lab` fixture, and no process left behind."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from bcast.lab import Lab, lab_unavailable

pytest_plugins = ["pytester"]

settings.register_profile("default", max_examples=60, deadline=None)
settings.register_profile("long", max_examples=5_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# What a developer has set for the command would change what it does in the tests.
for name in ("BCAST_INTERFACE", "BCAST_REALM", "BCAST_KEY_FILE"):
    os.environ.pop(name, None)
# Programs started in the background ignore Ctrl-C, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: Set (and not 0) where the kernel's tests must run: then none of them may be skipped.
REQUIRE_KERNEL = "BCAST_REQUIRE_KERNEL"
#: What a version of Python changes nothing about: documents, the architecture, the device in C,
#: algorithms under made-up time, LANs of namespaces. tox runs the tests of these files, and others
#: that are marked `once`, on one version only.
ONCE = frozenset(
    f"test_{name}.py"
    for name in (
        *("accessories_document", "architecture", "bench_discovery", "cli_lab", "convergence"),
        *("device", "draft", "example", "interop", "json_document", "lab", "lab_faults"),
        *("lab_segment", "lans_lab", "protocol_document", "readme", "rigs", "sandbox"),
        *("simnet_faults", "simnet_lan", "simnet_segment", "simnet_wifi", "targets"),
    )
)
#: A skipped test that isn't for this user, whatever `REQUIRE_KERNEL` says.
_FOR_ROOT = pytest.StashKey[bool]()


@pytest.fixture(
    params=[
        pytest.param("root", marks=pytest.mark.kernel),
        pytest.param("unprivileged", marks=pytest.mark.kernel),
    ]
)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """An open lab without hosts, once as root with its capabilities, once without either."""
    privileged = request.param == "root"
    if privileged and not _is_root():
        request.node.stash[_FOR_ROOT] = True
        pytest.skip("needs root")
    if reason := lab_unavailable(privileged):
        pytest.skip(reason)
    with Lab(privileged=privileged) as opened:
        yield opened


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name in ONCE:
            item.add_marker("once")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a `kernel` test that makes its labs itself where none can be made."""
    if item.get_closest_marker("kernel") is None or "lab" in getattr(item, "fixturenames", ()):
        return
    if (reason := lab_unavailable(False)) and (not _is_root() or lab_unavailable(True)):
        pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turns the skip of a `kernel` test into a failure where the kernel's tests must run."""
    report = yield
    required = os.environ.get(REQUIRE_KERNEL, "0") not in ("", "0")
    excused = hasattr(report, "wasxfail") or item.stash.get(_FOR_ROOT, False)
    if required and report.skipped and not excused and item.get_closest_marker("kernel"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{REQUIRE_KERNEL} is set, but this test was not run. {reason}"
    return report


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """No test may leave a child process, and thereby a lab and its namespaces."""
    before = _children()
    yield
    left = [command for pid, command in _children().items() if pid not in before]
    assert not left, f"the tests left processes running: {left}"


def _is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def _children() -> dict[int, str]:
    """The command lines of this process's children (zombies too), by process id; on Linux."""
    children: dict[int, str] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid():
                line = (process / "cmdline").read_text().replace("\0", " ").strip()
                if "multiprocessing.resource_tracker" not in line:  # ends with us
                    children[int(process.name)] = line or f"zombie {process.name}"
        except OSError:
            continue  # it ended meanwhile
    return children
