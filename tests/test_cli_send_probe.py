"""``bcast send --probe`` as a person runs it: what leaves by the cables, and what comes back."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bcast.datagram import Family
from bcast.lab import Host, Running
from bcast.messages import Probe
from bcast.wire import decode
from bcast.wire.hashes import realm_hash
from bcast.wire.keys import Keyring, is_authentic
from tests.command import (
    PATIENCE,
    Lan,
    Sighting,
    Wire,
    any_lab,
    environment,
    events,
    run_bcast,
    two_networks,
)

if sys.platform != "linux":
    pytest.skip("needs network namespaces", allow_module_level=True)

pytestmark = pytest.mark.kernel("hosts with two interfaces")

KEYRING = Keyring({1: bytes(range(16))}, 1)
GROUPS = {"239.255.110.72", "ff12::fd99:4222"}


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    with any_lab() as lab:
        yield two_networks(lab)


#: A peer that answers every probe on eth0, with what its arguments say: a key, what to do to the
#: nonce, the instance name.
_PEER = """
import socket, struct, sys
from bcast.messages import Header, Probe, Reply, Service
from bcast.wire import decode, encode
from bcast.wire.keys import Keyring
key, change, name = sys.argv[1:]
keyring = Keyring({1: bytes.fromhex(key)}, 1) if key else None
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
    peer.bind(("", 28232))
    request = struct.pack("4s4s4s", socket.inet_aton("239.255.110.72"), b"", b"")
    request = request[:8] + struct.pack("i", socket.if_nametoindex("eth0"))
    peer.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    peer.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
    print("answering", flush=True)
    while True:
        payload, source = peer.recvfrom(2048)
        probe = decode(payload)
        assert isinstance(probe, Probe)
        header = Header(b"\\x07" * 16, 1, 2, probe.header.realm)
        nonce = probe.nonce ^ int(change)
        services = (Service(name, "_lamp", 80, {"fw": "1.4"}),)
        peer.sendto(encode(Reply(header, nonce, 5, 30, services=services), keyring), source)
"""


@contextmanager
def a_peer(
    host: Host, key: bytes = b"", change: int = 0, name: str = "lamp-1"
) -> Iterator[Running]:
    args = [sys.executable, "-c", _PEER, key.hex(), str(change), name]
    with host.start(args, env=environment(), capable=False) as peer:
        peer.wait_for("answering", timeout=PATIENCE)
        yield peer


def probes(found: list[Sighting]) -> list[Probe]:
    messages = [decode(one.payload) for one in found]
    assert all(isinstance(message, Probe) for message in messages)
    return [message for message in messages if isinstance(message, Probe)]


def test_one_probe_leaves_by_each_interface_in_both_families(lan: Lan) -> None:
    blue, green = Wire(lan.b), Wire(lan.c)
    done = run_bcast(lan.a, "send", "--probe", "--wait", "0")
    for found, address in ((blue.seen(), "10.9.1.1"), (green.seen(), "10.9.2.1")):
        assert {one.destination for one in found} == GROUPS
        assert len(found) == 2
        assert {(one.port, one.ttl, len(one.payload)) for one in found} == {(28232, 255, 96)}
        assert address in {one.source for one in found}
        four, six = probes(found)
        assert four == six, "so that who hears both answers once"
        assert (four.low, four.high, four.header.realm) == (0, 65_536, 0)
    lines = done.stdout.splitlines()
    assert sorted(line.split()[0] for line in lines) == ["eth0", "eth0", "eth1", "eth1"]
    assert all(line.endswith(":28232  96 bytes") for line in lines)
    assert done.stderr == "skipped lo: loopback\n"


@pytest.mark.parametrize(
    ("args", "destinations"),
    [
        (["-4"], {"239.255.110.72"}),
        (["-6"], {"ff12::fd99:4222"}),
        (["--to", "all-hosts"], {"255.255.255.255"}),
        (["--to", "10.9.1.2"], {"10.9.1.2"}),
        (["bcast", "--to", "239.1.2.3", "-p", "9999", "--ttl", "4"], {"239.1.2.3"}),
    ],
)
def test_where_it_goes(lan: Lan, args: list[str], destinations: set[str]) -> None:
    blue = Wire(lan.b)
    run_bcast(lan.a, "send", "-i", "eth0", "--wait", "0", "--probe", *args)
    found = blue.seen()
    assert {one.destination for one in found} == destinations
    assert {one.ttl for one in found} == {4 if "--ttl" in args else 255}
    assert {one.port for one in found} == {9999 if "-p" in args else 28232}
    probes(found)


def test_an_interface_without_one_of_the_families_is_no_skip(lan: Lan) -> None:
    with any_lab() as lab:
        alone = lab.host("alone")
        alone.connect(lab.segment("blue"), families=[Family.IPV4])
        done = run_bcast(alone, "send", "--probe", "--wait", "0")
        assert done.stdout.startswith("eth0  ")
        assert len(done.stdout.splitlines()) == 1
        assert done.stderr == "skipped lo: loopback\n"
        done = run_bcast(alone, "send", "--probe", "-6", status=3)
        assert "skipped eth0: no IPv6 address\n" in done.stderr


def test_replies_are_waited_for_and_decoded(lan: Lan) -> None:
    with a_peer(lan.b, name="lamp\x1b[2J\u202e\n1"):
        done = run_bcast(lan.a, "send", "--probe")
        *sent, reply, service = done.stdout.splitlines()
        assert len(sent) == 4
        assert "  eth0  10.9.1.2:28232 > 10.9.1.1:" in reply
        assert "  ttl 255  81 bytes  reply  id 07070707  epoch 00000001  sequence 2  " in reply
        assert reply.endswith("  version 5  interval 30 s")
        assert service == r'    "lamp\x1b[2J\u202e\n1"  _lamp  port 80  fw=1.4'

        found = events(run_bcast(lan.a, "send", "--probe", "--json", "--wait", "0.5").stdout)
        (event,) = [e for e in found if e["event"] == "datagram"]
        assert (event["interface"], event["protocol"]) == ("eth0", "bcast")
        assert event["message"]["services"][0]["name"] == "lamp\x1b[2J\u202e\n1"


def test_several_rounds(lan: Lan) -> None:
    blue = Wire(lan.b)
    with a_peer(lan.b):
        args = ["-c", "2", "--interval", "0.2", "-4", "-i", "eth0", "--json"]
        found = events(run_bcast(lan.a, "send", "--probe", *args).stdout)
    first, second = probes(blue.seen())
    assert second.header == first.header._replace(sequence=1)
    assert first.nonce != second.nonce
    assert (first.elapsed, second.round) == (0, 1)
    assert 100 <= second.elapsed < 10_000
    assert sum(e["event"] == "datagram" for e in found) == 2
    (sent,) = [e for e in found if e["event"] == "sent"]
    assert sent["count"] == 2


def test_nobody_answers(lan: Lan) -> None:
    start = time.monotonic()
    done = run_bcast(lan.a, "send", "--probe", status=1)
    assert 1.0 <= time.monotonic() - start < 10
    assert "reply" not in done.stdout


def test_what_answers_something_else_is_shown_and_does_not_count(lan: Lan) -> None:
    with a_peer(lan.b, change=1):
        done = run_bcast(lan.a, "send", "--probe", "--wait", "0.5", status=1)
        assert "  reply  id 07070707" in done.stdout


def key_file(folder: Path, key: bytes) -> str:
    # Who probes in a lab may be another user than the one who writes this.
    folder.chmod(0o755)
    path = folder / f"keys-{key.hex()[:4]}"
    path.write_text(f"1 {key.hex()}\n")
    path.chmod(0o644)
    return str(path)


def test_a_realm_and_keys(lan: Lan, tmp_path: Path) -> None:
    key = KEYRING.keys[1]
    path = key_file(tmp_path, key)
    blue = Wire(lan.b)
    keyed = ("send", "--probe", "-4", "-i", "eth0", "--wait", "0.5", "--realm", "lab")
    with a_peer(lan.b, key=key):
        done = run_bcast(lan.a, *keyed, "--key-file", path)
        assert f"  realm {realm_hash('lab'):04x}  " in done.stdout
        assert "  authentic (key 1)\n" in done.stdout
        assert "chmod 600" in done.stderr
        env = {"BCAST_KEY_FILE": key_file(tmp_path, bytes(16)), "BCAST_REALM": "other"}
        done = run_bcast(lan.a, *keyed, env=env, status=1)
        assert "  not authentic (key 1)\n" in done.stdout
    first, second = blue.seen()
    assert (len(first.payload), len(second.payload)) == (114, 114)
    assert is_authentic(first.payload, KEYRING)
    assert not is_authentic(second.payload, KEYRING)
    assert {probe.header.realm for probe in probes([first, second])} == {realm_hash("lab")}


def test_a_probe_after_two_dashes_is_a_payload(lan: Lan) -> None:
    blue = Wire(lan.b)
    run_bcast(lan.a, "send", "-i", "eth0", "--", "--probe")
    run_bcast(lan.a, "send", "hi", "-i", "eth0", env={"BCAST_REALM": "lab", "BCAST_KEY_FILE": "x"})
    assert [one.payload for one in blue.seen()] == [b"--probe", b"hi"]
