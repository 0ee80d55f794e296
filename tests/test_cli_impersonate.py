"""``bcast impersonate``, and what finds, watches, decodes and asks accessories, on a real LAN."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bcast.accessory.catalogue import load_named, names
from bcast.lab import Host, Lab, Running
from tests.command import (
    PATIENCE,
    Lan,
    any_lab,
    events,
    eventually,
    listen,
    run_bcast,
    start_bcast,
    two_networks,
)

if sys.platform != "linux":
    pytest.skip("needs network namespaces", allow_module_level=True)

pytestmark = pytest.mark.kernel("hosts with interfaces")

#: An instrument that nobody else has: one probe, one reply.
SCALE = """
name = "scale"
title = "Scales"
port = 4711
device = { type = "scale" }

[[probe]]
name = "who"
json = '{"who":"{_token:int~random()}"}'

[[reply]]
name = "me"
json = '''{"scale":"{id~own.id}","name":"{name~Scale}","kg":"{load:int~5}",
"who":"{_token:int=probe._token}"}'''

[[announcement]]
name = "here"
every = 0.5
json = '{"here":"{id~own.id}","name":"{name~Scale}"}'

[[goodbye]]
name = "gone"
json = '{"gone":"{id~own.id}"}'
"""


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    with any_lab() as lab:
        yield two_networks(lab)


@contextmanager
def playing(host: Host, *args: str) -> Iterator[Running]:
    """``bcast impersonate`` on a host, until the end of the block."""
    with start_bcast(host, "impersonate", *args, until="impersonating") as running:
        yield running
        assert running.interrupt() == 0, running.errors()


def discover(host: Host, *args: str, status: int = 0) -> list[dict[str, Any]]:
    done = run_bcast(host, "discover", "--json", *args, status=status)
    return [event for event in events(done.stdout) if event["event"] == "found"]


@pytest.fixture
def scale(tmp_path: Path) -> str:
    path = tmp_path / "scale.toml"
    path.write_text(SCALE, "utf-8")
    return str(path)


def test_an_accessory_is_found_by_its_protocol(lan: Lan) -> None:
    with playing(lan.b, "wiz", "--json") as running:
        event = json.loads(running.wait_for('"impersonated"', timeout=PATIENCE))
        [device] = discover(lan.a, "--protocol", "wiz", "--expect", "1")
        assert device["protocols"] == ["wiz"]
        assert device["id"] == event["values"]["id"]
        [sighting] = device["sightings"]
        assert (sighting["interface"], sighting["address"]) == ("eth0", "10.9.1.2")
        assert (sighting["port"], sighting["protocol"]) == (38899, "wiz")
        assert 0 < sighting["latency"] < 1
        # Neither other protocols nor other interfaces find it.
        assert discover(lan.a, "--protocol", "kasa", "-t", "0.5", status=1) == []
        assert discover(lan.a, "--protocol", "wiz", "-i", "eth1", "-t", "0.5", status=1) == []
    summary = events(running.output())[-1]
    assert (summary["event"], summary["rejected"]) == ("summary", 0)
    assert summary["replies"] == summary["probes"] > 0


def test_values_are_set_and_several_counted(lan: Lan) -> None:
    with playing(lan.b, "lifx", "--set", "name=Hall", "--set", "product=97", "--count", "3"):
        found = discover(lan.a, "--protocol", "lifx", "--expect", "3", "-t", "10")
        assert {d["name"] for d in found} <= {"Hall", ""}
        assert len({d["id"] for d in found}) == 3
        # Follow-ups ask each of them for more.
        told = discover(lan.a, "--protocol", "lifx", "-t", "1.5")
        assert [(d["name"], d["attributes"]["product"]) for d in told] == [("Hall", "97")] * 3


def test_a_file_of_ones_own(lan: Lan, scale: str) -> None:
    with playing(lan.b, scale, "--set", "load=12"):
        [device] = discover(lan.a, "--protocol", scale, "--expect", "1")
        assert (device["type"], device["name"]) == ("scale", "Scale")
        done = run_bcast(lan.a, "send", "--probe", scale, "-i", "eth0", "--json")
        replies = [e for e in events(done.stdout) if e["event"] == "datagram"]
        assert {e["message"]["name"] for e in replies} == {"me"}
        assert replies[0]["message"]["values"]["load"] == 12
        [device] = discover(lan.a, "--protocol", scale, "--match", "load=12", "--expect", "1")
        assert device["attributes"] == {"load": "12"}


def test_presence_is_watched(lan: Lan, scale: str) -> None:
    with start_bcast(lan.a, "watch", "--json", "--protocol", scale, until="watching") as watch:
        with playing(lan.b, scale):
            watch.wait_for('"added"', timeout=PATIENCE)
        watch.wait_for('"goodbye"', timeout=PATIENCE)
        with start_bcast(lan.b, "impersonate", scale) as running:
            watch.wait_for('"added"', timeout=PATIENCE)
            running.kill()
        line = watch.wait_for('"silence"', timeout=PATIENCE)
        assert json.loads(line)["event"] == "removed"


def test_what_arrives_is_decoded_and_what_does_not_fit_is_explained(lan: Lan, scale: str) -> None:
    listening = start_bcast(
        *(lan.a, "listen", "--protocol", scale, "--explain", "--json", "-i", "eth0"),
        until="listening on port 4711",
    )
    with listening, playing(lan.b, scale):
        run_bcast(lan.b, "send", '{"who":"me"}', "-p", "4711")

        def heard() -> list[dict[str, Any]]:
            told = [e for e in events(listening.output()) if e["event"] == "datagram"]
            return [e for e in told if "misfits" in e]

        [strange] = eventually(heard)
        assert strange["misfits"].keys() == {
            *("scale probe who", "scale reply me"),
            *("scale announcement here", "scale goodbye gone"),
        }
        line = listening.wait_for('"announcement"', timeout=PATIENCE)
        told = json.loads(line)
        assert told["protocol"] == "scale"
        assert told["message"]["kind"] == "announcement"
        assert told["message"]["values"]["name"] == "Scale"


def test_listening_says_where_else_a_protocol_is_spoken(lan: Lan) -> None:
    done = run_bcast(lan.a, "listen", "--protocol", "tapo", "-t", "0")
    assert "listening on port 20002 of" in done.stderr
    assert "tapo is also spoken on port 20004: choose with -p" in done.stderr
    done = run_bcast(lan.a, "listen", "--protocol", "tapo", "-p", "20004", "-t", "0")
    assert "tapo is also spoken on port 20002" in done.stderr


def test_the_catalogue_is_decoded_without_being_asked_to(lan: Lan) -> None:
    listening = listen(lan.a, "-i", "eth0", "--json", port=9999)
    with listening:
        run_bcast(lan.b, "send", "--probe", "kasa", "--wait", "0")
        line = listening.wait_for('"protocol":"kasa"', timeout=PATIENCE)
        message = json.loads(line)["message"]
        assert (message["kind"], message["name"]) == ("probe", "get_sysinfo")


def test_a_port_that_is_taken_stops_nobody_else(lan: Lan) -> None:
    taken = """
import socket, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    one.bind(("", 47808))
    print("bound", flush=True)
    time.sleep(60)
"""
    with lan.a.start_python(taken) as holder, playing(lan.b, "wiz"):
        holder.wait_for("bound")
        done = run_bcast(lan.a, "discover", "--json", "--expect", "1", "-t", "10")
        told = events(done.stdout)
        assert [e["protocols"] for e in told if e["event"] == "found"] == [["wiz"]]
        failed = [e["advice"] for e in told if e["event"] == "failed"]
        done = run_bcast(lan.a, "impersonate", "bacnet", status=3)
        assert "bacnet: eth0: UDP port 47808 is taken" in done.stderr
        done = run_bcast(lan.a, "discover", "--protocol", "bacnet", status=3)
        assert "bacnet: eth0: UDP port 47808 is taken" in done.stderr
        assert any(s.startswith("bacnet: eth0: UDP port 47808 is taken") for s in failed)


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("impersonate", "kassa"), "there is no protocol 'kassa', did you mean 'kasa'?"),
        (("impersonate", "wiz", "--set", "name"), "'name' sets nothing"),
        (("impersonate", "wiz", "--set", "ip=1", "--set", "ip=2"), "'ip' is there twice"),
        (("impersonate", "wiz", "--count", "0"), "can't stand in for 0 accessories"),
        (("impersonate", "knx", "--set", "aera=1"), "no value called 'aera'"),
        (("impersonate", "wiz", "-6"), "wiz is spoken in IPv4"),
        (("discover", "--protocol", "nosuch"), "there is no protocol 'nosuch'"),
        (("discover", "--protocol", "kasa", "_lamp"), "kasa has no types"),
        (("watch", "--protocol", "kasa", "-6"), "kasa is spoken in IPv4"),
        (("send", "--probe", "zre"), "nobody is asked in zre"),
        (("listen", "--protocol", "./none.toml"), "none.toml"),
    ],
)
def test_what_can_not_be(lan: Lan, args: tuple[str, ...], sentence: str) -> None:
    done = run_bcast(lan.a, *args, status=2)
    assert sentence in done.stderr


# -- all at once ----------------------------------------------------------------------------------


@pytest.fixture
def lab() -> Iterator[Lab]:
    with any_lab() as made:
        yield made


def test_all_protocols_at_once(lab: Lab) -> None:
    """One device of each on a LAN: one search finds them all, and a row is a device."""
    usable = [name for name in names() if not load_named(name).needs]
    network = lab.segment("lan", network="10.77.0.0/24")
    asker = lab.host("asker")
    asker.connect(network)
    with ExitStack() as opened:
        started = []
        for name in usable:
            host = lab.host(name.replace("_", "-"))
            host.connect(network)
            started.append(opened.enter_context(start_bcast(host, "impersonate", name)))
        for running in started:
            running.wait_for("impersonating", timeout=PATIENCE)
        found = discover(asker, "--expect", str(len(usable)), "-t", "15")
        assert sorted(name for d in found for name in d["protocols"]) == sorted(usable)
        # Who is two things at one address is one device, unless rows are to be as heard.
        both = lab.host("both")
        both.connect(network, address="10.77.0.99")
        more = [
            opened.enter_context(start_bcast(both, "impersonate", name, until="impersonating"))
            for name in ("coap", "ssdp")
        ]
        assert all(running.status is None for running in more)
        limits = ("--protocol", "coap", "--protocol", "ssdp", "-t", "2", "--match")
        [one] = discover(asker, *limits, "address=10.77.0.99")
        assert sorted(one["protocols"]) == ["coap", "ssdp"]
        apart = discover(asker, *limits, "address=10.77.0.99", "--no-merge")
        assert sorted(d["protocols"] for d in apart) == [["coap"], ["ssdp"]]
