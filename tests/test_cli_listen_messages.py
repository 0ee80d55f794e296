"""``bcast listen`` and messages of bcast's own protocol, whoever sends them and whatever for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bcast.lab import Running
from bcast.messages import Announcement, Beat, Header, Probe, Service
from bcast.wire import encode
from bcast.wire.keys import Keyring
from tests.command import (
    ALL_HOSTS,
    Lan,
    any_lab,
    datagrams,
    end_listeners,
    events,
    eventually,
    listen,
    run_bcast,
    say,
    start_bcast,
    two_networks,
)

if sys.platform != "linux":
    pytest.skip("needs network namespaces", allow_module_level=True)

pytestmark = pytest.mark.kernel("hosts with two interfaces")

HEADER = Header(bytes.fromhex("3fa9c2d4" * 4), 0x0A1B2C3D, 7)
LAMP = Service("lamp-1", "_lamp", 80, {"fw": "1.4", "room": "living room"})
ANNOUNCEMENT = Announcement(HEADER, 5, 30, services=(LAMP,))
KEYRING = Keyring({1: bytes(range(16))}, 1)
#: What nobody should have to see: of each as much as fits.
HOSTILE = Service(
    "\x1b]0;owned\x07\x1b[2J\u202e\u2066\r\nlamp",
    "_lamp",
    80,
    {"\x1b[31m": "\x9b31m" * 51, "bidi\u202e": "\u2067" * 85, "lines": "\n\u2028\x85" * 42},
)


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    with any_lab() as lab:
        yield two_networks(lab)


@pytest.fixture(autouse=True)
def nobody_goes_on_listening() -> Iterator[None]:
    yield
    end_listeners()


def ended(listening: Running, count: int) -> str:
    """What a listener has shown once it has shown so many datagrams, and ended."""
    eventually(lambda: listening.output().count("  ttl ") == count)
    assert listening.interrupt() == 0
    return listening.output()


def test_messages_among_others_are_decoded(lan: Lan) -> None:
    listening = start_bcast(lan.a, "listen", until="listening on port 28232")
    say(
        lan.b,
        ("239.255.110.72", 28232, encode(ANNOUNCEMENT)),
        ("ff12::fd99:4222", 28232, encode(Probe(HEADER, 1))),
        (ALL_HOSTS, 28232, b"hello"),
        source_port=28232,
        ttl=255,
    )
    text = ended(listening, 3)
    head = "id 3fa9c2d4  epoch 0a1b2c3d  sequence 7"
    assert f"  ttl 255  83 bytes  announcement  {head}  version 5  interval 30 s\n" in text
    assert '\n    lamp-1  _lamp  port 80  fw=1.4  room="living room"\n' in text
    assert f"  ttl 255  96 bytes  probe  {head}  nonce 0000000000000001  round 0" in text
    assert "5 bytes  hello\n" in text
    assert listening.errors().endswith("; rejected 0\n")


def test_json(lan: Lan) -> None:
    listening = listen(lan.a, "--json")
    message = encode(ANNOUNCEMENT)
    say(
        lan.b,
        (ALL_HOSTS, 2222, message),
        (ALL_HOSTS, 2222, message[:-1]),
        (ALL_HOSTS, 2222, message[:-1]),
        (ALL_HOSTS, 2222, message.replace(b"lamp-1", b"lamp\xff\xfe")),
        (ALL_HOSTS, 2222, b"\xbd"),
    )
    eventually(lambda: len(datagrams(listening)) == 5)
    assert listening.interrupt() == 0
    first, second, _, fourth, last = datagrams(listening)
    assert (first["protocol"], first["payload"]) == ("bcast", message.hex())
    told = first["message"]
    assert (told["kind"], told["id"], told["version"]) == ("announcement", HEADER.id.hex(), 5)
    assert told["services"] == [
        {
            "name": "lamp-1",
            "type": "_lamp",
            "port": 80,
            "attributes": {"fw": "1.4", "room": "living room"},
        }
    ]
    assert (second["rejected"], fourth["rejected"]) == ("truncated", "text")
    assert not {"message", "protocol", "text"} & {*second, *fourth, *last}
    assert "rejected" not in last
    summary = events(listening.output())[-1]
    assert (summary["datagrams"], summary["rejected"]) == (5, 3)
    assert summary["rejected_reasons"] == {"truncated": 2, "text": 1}


@pytest.mark.parametrize("show", ["auto", "text", "hex"])
def test_what_peers_call_themselves_does_not_reach_the_terminal_as_it_is(
    lan: Lan, show: str
) -> None:
    listening = listen(lan.a, "--show", show)
    message = encode(Announcement(HEADER, 5, 30, services=(HOSTILE, LAMP)))
    spoilt = [message.replace(b"lamp", b"\xff\xfe\x1b["), message[:-3], message[:1] + b"\x50\x1b"]
    say(lan.b, *((ALL_HOSTS, 2222, each) for each in (message, *spoilt)))
    text = ended(listening, 4)
    assert all(c == "\n" or c.isprintable() for c in text)
    assert text.count("  ttl 1  ") == 4
    assert len([line for line in text.splitlines() if not line.startswith("    ")]) == 4
    assert text.count("rejected (") == 3
    assert "rejected 3 (" in listening.errors()
    if show == "auto":
        assert r'"\x1b]0;owned\x07\x1b[2J\u202e\u2066\r\nlamp"  _lamp  port 80' in text


def test_json_of_what_peers_call_themselves(lan: Lan) -> None:
    listening = listen(lan.a, "--json")
    say(lan.b, (ALL_HOSTS, 2222, encode(Announcement(HEADER, 5, 30, services=(HOSTILE,)))))
    (found,) = eventually(lambda: datagrams(listening))
    assert found["message"]["services"] == [
        {
            "name": HOSTILE.name,
            "type": "_lamp",
            "port": 80,
            "attributes": dict(HOSTILE.attributes),
        }
    ]
    assert all(c == "\n" or (c.isascii() and c.isprintable()) for c in listening.output())


def key_file(folder: Path, mode: int = 0o644) -> str:
    # Who listens in a lab may be another user than the one who writes this.
    folder.chmod(0o755)
    path = folder / "keys"
    path.write_text(f"1 {bytes(range(16)).hex()}\n")
    path.chmod(mode)
    return str(path)


def test_tags_are_checked_with_the_keys(lan: Lan, tmp_path: Path) -> None:
    beat = Beat(HEADER, 5, 30, 1)
    right, wrong = encode(beat, KEYRING), encode(beat, Keyring({1: bytes(16)}, 1))
    path = key_file(tmp_path)
    listening = listen(lan.a, "--key-file", path)
    from_environment = start_bcast(
        lan.a,
        *("listen", "-p", "2222", "--json"),
        env={"BCAST_KEY_FILE": path},
        until="listening on",
    )
    say(lan.b, *((ALL_HOSTS, 2222, each) for each in (right, wrong, encode(beat))))
    text = ended(listening, 3)
    endings = [line.rpartition("services 1  ")[2] for line in text.splitlines()]
    assert endings == ["authentic (key 1)", "not authentic (key 1)", "not tagged"]
    eventually(lambda: len(datagrams(from_environment)) == 3)
    found = [e["message"]["authentic"] for e in datagrams(from_environment)]
    assert found == [True, False, False]
    assert from_environment.interrupt() == 0
    for said in (listening.errors(), from_environment.errors()):
        assert f"everybody on this machine can read {path}: chmod 600 {path}\n" in said
        assert bytes(range(16)).hex() not in said


def test_a_key_file_that_is_none(lan: Lan, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    empty = tmp_path / "empty"
    empty.write_text("")
    for path, said in ((empty, "there is no key in"), (tmp_path / "none", "there is no key file")):
        done = run_bcast(lan.a, "listen", "-t", "0", "--key-file", str(path), status=3)
        assert said in done.stderr
        assert str(path) in done.stderr


def test_a_capture_is_shown_the_same_way(lan: Lan, tmp_path: Path) -> None:
    path = tmp_path / "all.pcapng"
    listening = listen(lan.a, "-w", str(path))
    shown = listen(lan.a, "--json")
    message = encode(ANNOUNCEMENT, KEYRING)
    say(lan.b, *((ALL_HOSTS, 2222, each) for each in (message, message[:40], b"hello")))
    eventually(lambda: len(datagrams(shown)) == 3)
    assert shown.interrupt() == listening.interrupt() == 0
    assert listening.errors().endswith("; kernel drops 0; rejected 1 (1 too-short)\n")

    read = ("listen", "--read", str(path))
    found = events(run_bcast(lan.a, *read, "--json").stdout)
    names = ("message", "protocol", "rejected", "text")
    assert [{n: e.get(n) for n in names} for e in found[:-1]] == [
        {n: e.get(n) for n in names} for e in datagrams(shown)
    ]
    assert (found[-1]["rejected"], found[-1]["rejected_reasons"]) == (
        events(shown.output())[-1]["rejected"],
        events(shown.output())[-1]["rejected_reasons"],
    )
    done = run_bcast(lan.a, *read, "--key-file", key_file(tmp_path))
    assert "announcement  id 3fa9c2d4" in done.stdout
    assert "  authentic (key 1)\n" in done.stdout
    assert "; rejected 1 (" in done.stderr
