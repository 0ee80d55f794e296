"""The pytest plugin, as suites that use it see it (and those that don't)."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent
from xml.etree import ElementTree

import pytest

import bcast
import bcast.lans.lab  # Or each suite that is run in this process would load it anew.
from bcast.capture import CaptureReader
from bcast.destinations import DEFAULT_PORT
from bcast.domain import Domain
from bcast.lans import Lan, LoopbackLan, Switches
from tests.plugin import run_suite

Run = Callable[..., pytest.RunResult]

PROJECT = Path(__file__).parent.parent
DOCUMENT = PROJECT / "docs" / "plugin.md"

FOUND = """
def test_found(lan, accessory):
    lamp = accessory("lamp-1", "_lamp", attributes={"fw": "1.4"})
    assert lan.expect_device(lamp, within=2).attributes["fw"] == "1.4"
"""

NOT_FOUND = """
def test_not_found(lan, accessory):
    accessory("plug", "_plug")
    with lan.loss(0.3):
        lan.expect_device(accessory("lamp-1", "_lamp", silent=True), within=2)
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PROJECT), *sys.path]))
    # Where pytest knows that it is in CI, it repeats whole messages in its summary.
    monkeypatch.delenv("CI", raising=False)
    return partial(run_suite, pytester)


def text(result: pytest.RunResult) -> str:
    return str(result.stdout)


def timeline(result: pytest.RunResult) -> list[str]:
    """What a report says was heard, without the E that marks errors."""
    lines = [line.removeprefix("E").strip() for line in result.outlines]
    return [line for line in lines if re.match(r"\d+\.\d{4}  ", line)]


# --- what it finds


def test_a_fake_accessory_is_found(run: Run) -> None:
    run(FOUND).assert_outcomes(passed=1)


def test_one_test_on_several_lans(run: Run) -> None:
    result = run(FOUND, "--bcast-lan", "sim,loopback", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_found?sim?*", "*test_found?loopback?*"])


def test_each_kind_has_a_fixture(run: Run) -> None:
    suite = """
    def test_both(bcast_sim, bcast_loopback):
        for lan in (bcast_sim, bcast_loopback):
            lamp = lan.accessory("lamp")
            assert lan.expect_device(lamp).id == lamp.id
        assert (bcast_sim.kind, bcast_loopback.kind) == ("sim", "loopback")
    """
    run(suite).assert_outcomes(passed=1)


@pytest.mark.kernel
def test_the_lab_is_one_of_them(run: Run) -> None:
    suite = """
    import pytest

    @pytest.mark.bcast(needs="lab", networks=2)
    def test_roams(lan, accessory):
        lamp = accessory("lamp", on="eth1")
        lan.expect_device(lamp, on="eth1")
        assert "eth0" in lan.host("phone").run(["cat", "/proc/net/dev"]).stdout

    def test_fixture(bcast_lab):
        bcast_lab.host("phone").run(["nosuch"])
    """
    result = run(dedent(suite) + FOUND, "--bcast-lan=lab")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["E *on phone there is no command 'nosuch'"])


@pytest.mark.kernel
def test_a_failure_tells_what_programs_of_the_lab_wrote(run: Run) -> None:
    suite = """
    def test_started(bcast_lab):
        bcast_lab.host("phone").start(["sh", "-c", "echo no battery >&2; exit 3"]).wait()
        bcast_lab.host("phone").start(["sleep", "60"])
        bcast_lab.expect_device(within=0.1)

    def test_run(bcast_lab):
        bcast_lab.host("phone").run(["false"])

    def test_waited(bcast_lab):
        bcast_lab.host("phone").start(["echo", "hello"]).wait_for("goodbye")

    def test_missing(bcast_lab):
        bcast_lab.host("phone").start(["./nosuch"])
    """
    result = run(suite)
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(
        [
            "on phone, sh -c 'echo no battery >&2; exit 3': ended with status 3",
            "no battery",
            "on phone, sleep 60: is running",
            "it wrote nothing",
        ]
    )
    for inner in ("namespace.py", "running.py", "hosts.py"):
        assert inner not in text(result), "the test's own line is the last one"


def test_a_lab_that_is_forbidden_is_skipped_with_the_setting(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "kernel.unprivileged_userns_clone is 0; as root, sysctl -w ...=1 allows it"
    monkeypatch.setattr("bcast.lans.lab.lab_unavailable", lambda privileged=False: reason)
    result = run("def test_it(bcast_lab): ...")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        ["SKIPPED * test_*.py:*: no lab: kernel.unprivileged_userns_clone is 0; as *"]
    )
    run("def test_it(bcast_lab): ...", "--bcast-require").assert_outcomes(errors=1)


def test_the_marker_says_what_lan_it_is(run: Run) -> None:
    suite = """
    import pytest

    @pytest.mark.bcast(networks=2, realm="mine", port=4000)
    def test_networks(lan, accessory):
        lamp = accessory("lamp")
        lan.expect_device(lamp, on="eth0")
        lamp.roam("eth1")
        lan.expect_device(lamp, on="eth1")
        assert (lan.realm, lan.port) == ("mine", 4000)

    @pytest.mark.bcast(needs="loopback")
    def test_needs(lan):
        assert lan.kind == "loopback"

    @pytest.mark.bcast(needs=["loopback", "sim"])
    def test_either(lan):
        assert lan.kind == "sim"

    @pytest.mark.bcast("loopback", "lab")
    def test_real(lan):
        assert lan.kind == "loopback"
    """
    run(suite).assert_outcomes(passed=4)


# --- what it reports


def test_a_failure_shows_what_was_heard_and_how_it_comes_back(run: Run) -> None:
    first = run(NOT_FOUND)
    first.assert_outcomes(failed=1)
    said = text(first)
    assert "no device with name=lamp-1 and type=_lamp was there within 2 s" in said
    assert "'plug' _plug came nearest: name is plug, not lamp-1, type is _plug" in said
    assert said.count("timeline of the simulated LAN") == 1
    assert "expectations.py" not in said, "the test's own line is the last one"
    [seed] = re.findall(r"comes? back with|--bcast-seed (\d+)", said)
    assert timeline(first)
    assert timeline(run(NOT_FOUND, "--bcast-seed", seed)) == timeline(first)
    other = str(int(seed) + 1)
    assert timeline(run(NOT_FOUND, "--bcast-seed", other)) != timeline(first)


def test_a_bare_assert_shows_it_too(run: Run) -> None:
    result = run(FOUND + "    assert lamp.service.port == 81\n")
    result.stdout.fnmatch_lines(["*bcast timeline*", "*added 'lamp-1' _lamp, eth0 10.0.0.2"])


def test_a_test_that_passes_says_nothing(run: Run) -> None:
    assert "timeline" not in text(run(FOUND))


def test_a_failing_test_leaves_its_datagrams(run: Run, tmp_path: Path) -> None:
    said = text(run(NOT_FOUND))
    [(count, path)] = re.findall(r"(\d+) datagrams are in (\S+\.pcapng)", said)
    with CaptureReader(path) as reader:
        assert len(list(reader)) == int(count) > 0
    folder = tmp_path / "kept" / "here"
    run(NOT_FOUND + FOUND, "--bcast-capture", str(folder))
    [kept] = folder.iterdir()
    assert kept.name == "test_suite.py__test_not_found.pcapng"


def test_where_nothing_can_be_captured_that_is_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run(NOT_FOUND, "--bcast-capture", str(tmp_path / "file"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the datagrams could not be captured: *"])


def test_the_rig_is_in_the_header_and_in_the_properties(run: Run, tmp_path: Path) -> None:
    result = run(FOUND, "--bcast-seed", "7", f"--junitxml={tmp_path / 'x.xml'}")
    [header] = [line for line in result.outlines if line.startswith("bcast: ")]
    assert re.match(rf"bcast: version {bcast.__version__}, kernel .*, seed 7$", header)
    tree = ElementTree.parse(tmp_path / "x.xml")
    for where in ("./testsuite/properties", ".//testcase/properties"):
        found = {p.get("name"): p.get("value") for p in tree.findall(f"{where}/property")}
        assert found["bcast_version"] == bcast.__version__
        assert found["bcast_seed"] == "7"
        assert "lo" in str(found["bcast_interfaces"]).split()
        assert found["bcast_kernel"]
    assert found["bcast_lan"] == "simulated LAN, seed 7"


# --- what it skips


UNAVAILABLE = """
import pytest

@pytest.mark.bcast(needs="loopback")
def test_lan(lan): ...

@pytest.mark.bcast(needs="loopback")
def test_own(): ...

def test_fixture(bcast_loopback): ...
"""


@pytest.fixture
def without_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bcast.lans.loopback_unavailable", lambda: "lo is down: bring it up")


@pytest.mark.usefixtures("without_loopback")
def test_what_cannot_be_had_is_skipped_with_the_reason(run: Run) -> None:
    result = run(UNAVAILABLE)
    result.assert_outcomes(skipped=3)
    result.stdout.fnmatch_lines(["SKIPPED * no loopback: lo is down: bring it up"])


@pytest.mark.usefixtures("without_loopback")
def test_what_is_required_fails_instead(run: Run) -> None:
    result = run(UNAVAILABLE, "--bcast-require")
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines(["--bcast-require is given, and *: lo is down: bring it up"])


def test_what_a_kind_cannot_do_is_skipped(run: Run) -> None:
    suite = """
    import pytest

    def test_roams(lan, accessory):
        accessory("lamp").roam("lo")

    @pytest.mark.bcast(networks=2)
    def test_two(lan): ...
    """
    result = run(suite, "--bcast-lan=loopback")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(
        ["SKIPPED * test_suite.py:3: *lamp can't roam: lo is the only network*"]
    )
    run(suite, "--bcast-lan=loopback", "--bcast-require").assert_outcomes(failed=1, errors=1)


# --- a real device


REAL = """
import pytest

pytestmark = pytest.mark.bcast(realm={realm!r}, port={port})

def test_found(lan, accessory):
    assert lan.expect_device(accessory("lamp-1", "_lamp")).name == "real-lamp"

def test_slow(lan, accessory):
    lan.expect_device(accessory("lamp-1", "_lamp", slow=0.1))

def test_leaves(lan, accessory):
    lamp = accessory("lamp-1", "_lamp")
    lan.expect_device(lamp)
    lamp.leave()
    lan.expect_goodbye(lamp)

def test_missing(lan, accessory):
    lan.expect_device(accessory("oven", "_oven"), within=0.05)
"""


def test_the_same_tests_on_a_real_device(run: Run) -> None:
    with LoopbackLan() as lan:
        lan.accessory("real-lamp", "_lamp")
        suite = REAL.format(realm=lan.realm, port=lan.port)
        result = run(suite, "--bcast-target", "127.0.0.2", "--bcast-interface", "lo")
    result.assert_outcomes(passed=1, skipped=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "bcast: *, target 127.0.0.2, *",
            "E * no device with type=_oven and address=127.0.0.2 was there within 0.05 s",
            "*a real device can't be told to be slow*",
        ]
    )
    assert "--bcast-seed" not in text(result), "nothing that is real comes back"


NEEDS = """
import pytest

@pytest.mark.bcast(needs=["target", "loopback"])
def test_either(lan, accessory):
    name = {{"target": "real-lamp", "loopback": "lamp-1"}}[lan.kind]
    assert lan.expect_device(accessory("lamp-1", "_lamp")).name == name

@pytest.mark.bcast(needs="loopback")
def test_never(lan, accessory):
    accessory("lamp-1").leave()

@pytest.mark.bcast(needs="target", realm={realm!r}, port={port})
def test_only(lan, accessory):
    assert lan.expect_device(accessory("lamp-1", "_lamp")).name == "real-lamp"
"""


def test_a_test_may_need_the_real_device(run: Run) -> None:
    with LoopbackLan() as lan:
        lan.accessory("real-lamp", "_lamp")
        suite = NEEDS.format(realm=lan.realm, port=lan.port)
        result = run(suite)
        result.assert_outcomes(passed=2, skipped=1)
        result.stdout.fnmatch_lines(["SKIPPED * no target: --bcast-target says which device *"])
        met = f"realm={lan.realm!r}, port={lan.port}"
        suite = suite.replace('"loopback"])', f'"loopback"], {met})')
        result = run(suite, "--bcast-target", "127.0.0.2", "--bcast-interface", "lo")
        result.assert_outcomes(passed=3)


def test_a_target_that_is_not_there_is_a_sentence(run: Run) -> None:
    result = run(FOUND, "--bcast-target", "eth77")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["no target: no interface matches 'eth77'; there are *"])


# --- misuse


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--bcast-lan=moon"], "--bcast-lan: 'moon' is no LAN: use sim, loopback, lab"),
        (["--bcast-target=lo", "--bcast-lan=lab"], "--bcast-target and --bcast-lan exclude *"),
        (["--bcast-interface=lo"], "--bcast-interface says where *: give --bcast-target too"),
        (["--bcast-seed=x"], "*--bcast-seed: invalid int value: 'x'"),
    ],
)
def test_options_that_cannot_be(run: Run, arguments: list[str], sentence: str) -> None:
    result = run(FOUND, *arguments, process=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{sentence}"])


@pytest.mark.parametrize(
    ("marker", "sentence"),
    [
        ("need='lab'", "the marker bcast has no 'need': bcast(needs=KIND, networks=1*"),
        ("needs='moon'", "*the marker bcast: 'moon' is no LAN: use sim, loopback, lab*"),
        ("networks=0", "no sim: a LAN of 0 networks: use 1 to 100"),
        ("port=0", "no sim: port 0 doesn't exist: use a number*"),
    ],
)
def test_markers_that_cannot_be(run: Run, marker: str, sentence: str) -> None:
    suite = f"import pytest\n@pytest.mark.bcast({marker})\ndef test_it(lan): ..."
    result = run(suite, "--strict-markers")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*{sentence}"])


def test_an_unknown_switch_fails_the_test_with_a_sentence(run: Run) -> None:
    result = run("def test_it(accessory): accessory('lamp', slient=True)")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E * 'slient' is no switch of an accessory: use silent, *"])


# --- what it costs, and whom it meets


def test_a_suite_that_does_not_use_it_loads_nothing_for_it(run: Run) -> None:
    suite = """
    import sys

    def test_it():
        assert "bcast.pytest_plugin" in sys.modules
        ours = {n for n in sys.modules if n.startswith("bcast.")} - {"bcast.pytest_plugin"}
        assert not ours
        assert "asyncio" not in sys.modules
    """
    # hypothesis, which is installed here too, loads asyncio.
    run(suite, "-p", "no:hypothesispytest", process=True).assert_outcomes(passed=1)


def test_pytest_finds_it_by_itself() -> None:
    text = (PROJECT / "pyproject.toml").read_text("utf-8")
    assert '[project.entry-points.pytest11]\nbcast = "bcast.pytest_plugin"\n' in text


@pytest.mark.skipif(find_spec("xdist") is None, reason="needs pytest-xdist")
def test_tests_in_parallel_do_not_hear_one_another(run: Run) -> None:
    suite = """
    import pytest

    @pytest.mark.parametrize("number", range(24))
    @pytest.mark.bcast("loopback")
    def test_alone(lan, accessory, number, pytestconfig):
        lamp = accessory(f"lamp-{number}", "_lamp")
        assert lan.expect_device().id == lamp.id
        lan.wait(0.05)
        assert [device.name for device in lan.devices] == [f"lamp-{number}"]
        assert pytestconfig.option.bcast_seed == 7 or number % 6
    """
    run(suite, "-n", "4", "--bcast-seed=7", process=True).assert_outcomes(passed=24)


@pytest.mark.skipif(find_spec("xdist") is None, reason="needs pytest-xdist")
def test_all_workers_have_one_seed(run: Run) -> None:
    suite = """
    import pytest

    @pytest.mark.parametrize("number", range(8))
    def test_it(lan, number):
        assert False
    """
    said = text(run(suite, "-n", "2", process=True))
    assert len(set(re.findall(r"--bcast-seed (\d+)", said))) == 1


def test_every_test_has_a_realm_of_its_own(run: Run) -> None:
    suite = """
    import pytest
    seen = set()

    @pytest.mark.parametrize("number", range(3))
    @pytest.mark.parametrize("kind", ["sim", "loopback"])
    def test_realm(request, kind, number):
        lan = request.getfixturevalue(f"bcast_{kind}")
        assert lan.realm and lan.realm not in seen
        seen.add(lan.realm)
    """
    run(suite).assert_outcomes(passed=6)


def test_a_domain_is_what_the_marker_says() -> None:
    from bcast.pytest_plugin import _domain

    assert _domain({}, "loopback", "test") is None
    assert _domain({}, "sim", "test") == _domain({"port": DEFAULT_PORT}, "loopback", "test")
    assert _domain({"port": 1}, "target", "test") == Domain("", 1)
    assert _domain({"realm": "x"}, "loopback", "test") == Domain("x")


# --- its documentation


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)


def test_the_documentation_is_tests_that_pass(run: Run) -> None:
    first, marked, _, described, program = blocks()
    for suite in (first, marked, described):
        run(suite).assert_outcomes(passed=2)
    namespace: dict[str, object] = {}
    exec(program, namespace)


@pytest.mark.kernel
def test_described_accessories_are_the_same_on_all_lans(run: Run) -> None:
    run(blocks()[3], "--bcast-lan", "sim,loopback,lab").assert_outcomes(passed=6)


@pytest.mark.kernel
def test_the_documentation_of_the_lab_too(run: Run) -> None:
    run(blocks()[2]).assert_outcomes(passed=1)


def test_the_documentation_has_all_there_is(run: Run) -> None:
    written = DOCUMENT.read_text("utf-8")
    for switch in Switches._names:
        assert f"`{switch}=" in written
    for name in dir(Lan):
        if name.startswith("expect_"):
            assert f"`{name}(match" in written
    for option in re.findall(r"--bcast-\w+", text(run("", "--help"))):
        assert option in written
