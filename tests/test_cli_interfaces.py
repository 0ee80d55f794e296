"""``bcast interfaces`` as a person runs it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bcast.datagram import Family
from bcast.lab import Host, Lab
from tests.command import COMMAND, PATIENCE, any_lab, environment, events, run_bcast, start_bcast

pytestmark = pytest.mark.kernel("hosts with several interfaces")


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """A host with eth0 and eth1 (by which the default route goes) on two networks."""
    with any_lab() as lab:
        yield build(lab)


def build(lab: Lab) -> Host:
    host = lab.host("a")
    host.connect(lab.segment("blue"), families=[Family.IPV4])
    host.connect(lab.segment("green"), unique_local="fd00:2::1/64")
    host.default_route("10.9.2.2")
    return host


def test_the_table(host: Host) -> None:
    blue, green = host.links
    done = run_bcast(host, "interfaces")
    assert done.stderr == ""
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert [line.split() for line in lines if not line.startswith("  ")] == [
        ["INDEX", "NAME", "KIND", "MTU", "HARDWARE", "ADDRESS", "FLAGS", "USED"],
        ["1", "lo", "loopback", "65536", "-", "up,running,loopback", "no:", "loopback"],
        [str(blue.index), "eth0", "veth", "1500", str(blue.hardware_address), FLAGS, "yes"],
        [str(green.index), "eth1", "veth", "1500", str(green.hardware_address), FLAGS, "yes"],
    ]
    below = {line.strip() for line in lines if line.startswith("  ")}
    assert below >= {
        "10.9.1.1/24  broadcast 10.9.1.255",
        "10.9.2.1/24  broadcast 10.9.2.255",
        "fd00:2::1/64",
        f"{green.link_local}%eth1/64",
    }


FLAGS = "up,running,broadcast,multicast"


def test_json(host: Host) -> None:
    found = events(run_bcast(host, "interfaces", "--json").stdout)
    assert {(e["event"], e["change"]) for e in found} == {("interface", "present")}
    assert [(e["name"], e["usable"], e["reason"]) for e in found] == [
        ("lo", False, "loopback"),
        ("eth0", True, ""),
        ("eth1", True, ""),
    ]
    assert found[1] == {
        "event": "interface",
        "change": "present",
        "name": "eth0",
        "index": host.links[0].index,
        "kind": "veth",
        "flags": ["up", "running", "broadcast", "multicast"],
        "mtu": 1500,
        "hardware_address": host.links[0].hardware_address,
        "addresses": [
            {"address": "10.9.1.1", "prefix_length": 24, "broadcast": "10.9.1.255"},
        ],
        "usable": True,
        "reason": "",
    }


def test_what_the_kernel_alone_would_choose(host: Host) -> None:
    done = run_bcast(host, "interfaces", "--explain")
    chosen = [line for line in done.stdout.splitlines() if "kernel alone" in line]
    assert chosen == [
        "255.255.255.255 (a broadcast): the kernel alone would choose eth1",
        "239.255.110.72 (a group): the kernel alone would choose eth1",
    ]
    assert done.stdout.endswith("bcast sends out of each usable interface: eth0, eth1\n")
    found = events(run_bcast(host, "interfaces", "--explain", "--json").stdout)
    assert {"event": "route", "destination": "255.255.255.255", "interface": "eth1"} in found


def test_a_host_without_a_route() -> None:
    with any_lab() as lab:
        alone = lab.host("alone")
        alone.connect(lab.segment("blue"), families=[Family.IPV4])
        text = run_bcast(alone, "interfaces", "--explain").stdout
        choice = "the kernel alone would choose none: it has no route"
        assert f"255.255.255.255 (a broadcast): {choice}\n" in text


@pytest.mark.parametrize(
    ("args", "names"),
    [
        (["-i", "eth*"], ["eth0", "eth1"]),
        (["-i", "10.9.2.0/24"], ["eth1"]),
        (["-i", "10.9.1.1"], ["eth0"]),
        (["-i", "loopback"], ["lo"]),
        (["-i", "1"], ["lo"]),
        (["-i", "all", "-x", "lo"], ["eth0", "eth1"]),
        (["-x", "eth0"], ["lo", "eth1"]),
        (["-i", "eth0", "-i", "lo"], ["lo", "eth0"]),
    ],
    ids=" ".join,
)
def test_some_of_them(host: Host, args: list[str], names: list[str]) -> None:
    found = events(run_bcast(host, "interfaces", "--json", *args).stdout)
    assert [e["name"] for e in found] == names


def test_one_that_can_not_be_used_is_shown_when_it_is_asked_for() -> None:
    with any_lab() as lab:
        host = build(lab)
        host.setup("ip link set eth0 down")
        for args in (["-i", "eth0"], ["-i", "veth", "-x", "eth1"], []):
            found = events(run_bcast(host, "interfaces", "--json", *args).stdout)
            (down,) = [e for e in found if e["name"] == "eth0"]
            assert (down["usable"], down["reason"]) == (False, "down")


def test_watching() -> None:
    with any_lab() as lab:
        host = build(lab)
        args = ("interfaces", "--watch", "-i", "eth0")
        until = "watching for changes"
        plain = start_bcast(host, *args, until=until)
        objects = start_bcast(host, *args, "--json", until=until)

        def is_told(sentence: str, name: str) -> None:
            # By both, before anything else happens: what happens at once may be told as one.
            plain.wait_for(sentence, timeout=PATIENCE)
            objects.wait_for(f'"name":"{name}"', timeout=PATIENCE)

        objects.wait_for('"present"', timeout=PATIENCE)
        host.setup("ip link set eth0 down")
        is_told("eth0 went down", "eth0")
        host.setup("ip link set eth0 up", "ip addr add 10.9.1.9/24 brd + dev eth0")
        is_told("eth0 came up and got 10.9.1.9/24", "eth0")
        host.setup("ip link add v8 type veth peer name v9")
        is_told("v8 appeared", "v8")
        host.setup("ip link del v8")
        is_told("v8 was deleted", "v8")
        assert plain.interrupt() == 0
        assert objects.terminate() == 0
        found = [(e["change"], e["name"]) for e in events(objects.output())]
        assert found[0] == ("present", "eth0")
        assert [e for e in found if e[1] != "v9"][1:] == [
            ("changed", "eth0"),
            ("changed", "eth0"),
            ("added", "v8"),
            ("removed", "v8"),
        ]


def test_whoever_reads_it_has_had_enough(host: Host) -> None:
    # Nothing changes, so nothing is written that could show that nobody listens any more.
    running = host.start(
        ["sh", "-c", '"$@" | head -n 1', "sh", *COMMAND, "interfaces", "--watch"],
        env=environment(),
        capable=False,
    )
    running.wait_for("INDEX")
    assert running.wait(timeout=4.0) == 0
    assert running.errors() == "watching for changes; Ctrl-C ends\n"


def test_names_can_not_harm_the_terminal() -> None:
    with any_lab() as lab:
        host = build(lab)
        name = "\x1b[31mé"
        host.setup("ip link set eth0 down")
        host.run(["ip", "link", "set", "eth0", "name", name], capable=True)
        done = run_bcast(host, "interfaces")
        assert "\x1b" not in done.stdout
        assert any(
            e["name"] == name for e in events(run_bcast(host, "interfaces", "--json").stdout)
        )
        run_bcast(host, "interfaces", "-i", str(host.links[0].index), "--json")
