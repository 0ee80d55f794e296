"""docs/device/responder.c, a peer made from docs/protocol.md alone: found and attacked."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from bcast.browser import Browser, discover
from bcast.datagram import Interface
from bcast.destinations import DEFAULT_GROUPS
from bcast.device import Added, Cause, Device, DeviceEvent, Removed, Restarted
from bcast.discovery.rejection import Rejection
from bcast.discovery.schedule import ANNOUNCEMENTS, GOODBYES, JITTER
from bcast.errors import DecodeError
from bcast.messages import (
    Announcement,
    Beat,
    Goodbye,
    Header,
    Message,
    Probe,
    Query,
    Reply,
    Service,
)
from bcast.wire import MAX_REPLY_RATIO, Reason, decode, encode
from bcast.wire.filters import contains, entry
from bcast.wire.hashes import id64, slot, type_hash
from tests.command import PATIENCE, any_lab, eventually, free_port
from tests.fuzz.corpus import read_corpus
from tests.fuzz.mutations import mutate
from tests.loopback import loopback, nothing_leaks
from tests.test_protocol_document import VECTORS, Vector, number, vectors

if sys.platform != "linux":
    pytest.skip("the device's sockets are those of Linux", allow_module_level=True)

SOURCE = Path(__file__).resolve().parent.parent / "docs" / "device" / "responder.c"
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")

ID = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
EPOCH = 0x11121314
LAMP = Service("lamp-1", "_lamp", 80, {"fw": "1.4", "room": "Küche", "on": ""})
#: More than fits an answer to a probe: what it offers has to be asked for.
LARGE = Service("large", "_lamp", 65_535, {f"key-{n}": "v" * 250 for n in range(4)})
ASKER = Header(b"prober-prober-id", 7, 7)


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The device, which ends with a report if it touches what isn't its own, or leaks."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler (cc)")
    made = tmp_path_factory.mktemp("device") / "responder"
    command = [compiler, *STRICT, *SANITIZED, str(SOURCE), "-o", str(made)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return made


@pytest.fixture
def port() -> Iterator[int]:
    with nothing_leaks():
        yield free_port()


def offering(service: Service) -> list[str]:
    options = ["-n", service.name, "-t", service.type, "-p", str(service.port)]
    return options + [
        word for key in service.attributes for word in ("-a", f"{key}={service.attributes[key]}")
    ]


# --- a device that runs


def start(
    program: Path, port: int, *options: str, service: Service = LAMP
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(program), *offering(service), "-u", str(port), "-b", "1", *options],
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def running(
    program: Path, port: int, *options: str, service: Service = LAMP
) -> Iterator[subprocess.Popen[str]]:
    """A device on loopback. It must end in good order, when it is told to and not before."""
    with start(program, port, *options, service=service) as device:
        try:
            yield device
            assert device.poll() is None
            device.send_signal(signal.SIGTERM)
            assert device.wait(PATIENCE) == 0
        finally:
            device.kill()
            assert device.stderr is not None
            assert device.stderr.read() == ""


def host() -> tuple[Interface, ...]:
    """The interfaces of a host that is 127.0.0.99: the device is another one."""
    return (loopback("127.0.0.99"),)


def find(port: int, *types: str, realm: str = "", expect: int | None = 1) -> tuple[Device, ...]:
    return discover(
        *types,
        timeout=PATIENCE,
        expect=expect,
        until_quiet=expect is None,
        interfaces="lo",
        port=port,
        realm=realm,
        list_interfaces=host,
    )


def assert_offers(device: Device, service: Service) -> None:
    assert (device.name, device.type, device.port) == (service.name, service.type, service.port)
    assert device.attributes == service.attributes


@pytest.mark.parametrize("service", [LAMP, LARGE], ids=lambda one: one.name)
def test_a_search_finds_it(program: Path, port: int, service: Service) -> None:
    with running(program, port, service=service):
        [device] = find(port, "_lamp")
    assert_offers(device, service)
    [sighting] = device.sightings
    assert (sighting.interface, str(sighting.address)) == ("lo", "127.0.0.1")


def test_only_who_asks_for_its_type_and_realm_finds_it(program: Path, port: int) -> None:
    # Whoever searches for two finds both, so it was there when nobody else found it.
    with running(program, port, "-r", "Küche"), running(program, port, service=LARGE):
        [device] = find(port, realm="Küche")
        assert_offers(device, LAMP)
        [device] = find(port)
        assert_offers(device, LARGE)
        assert find(port, "_oven", expect=None) == ()
        assert find(port, realm="Kueche", expect=None) == ()


def test_a_search_finds_many(program: Path, port: int) -> None:
    lamps = [Service(f"lamp-{n}", "_lamp", n) for n in range(12)]
    with ExitStack() as stack:
        made = [stack.enter_context(start(program, port, service=lamp)) for lamp in lamps]
        try:
            found = find(port, expect=len(made))
        finally:  # all at once: each takes its time to say goodbye
            for device in made:
                device.terminate()
        assert [device.communicate(timeout=PATIENCE)[1] for device in made] == [""] * len(made)
        assert [device.returncode for device in made] == [0] * len(made)
    assert sorted(device.port for device in found) == list(range(12))


def test_a_browser_sees_it_restart_and_leave(program: Path, port: int) -> None:
    options = ("-I", ID.hex())
    events: Iterator[DeviceEvent]
    with Browser(
        "_lamp", interfaces="lo", port=port, timeout=PATIENCE, list_interfaces=host
    ) as browser:
        events = iter(browser)
        with start(program, port, *options) as killed:
            try:
                added = next(events)
            finally:
                killed.kill()
            assert isinstance(added, Added)
            assert_offers(added.device, LAMP)
        with running(program, port, *options):
            restarted = next(events)
            assert isinstance(restarted, Restarted)
            assert restarted.device.id == added.device.id == ID.hex()
            assert_offers(restarted.device, LAMP)
        removed = next(events)
        assert isinstance(removed, Removed)
        assert (removed.device.id, removed.cause) == (ID.hex(), Cause.GOODBYE)


@pytest.mark.kernel("a cable between two hosts")
def test_two_hosts_on_a_cable(program: Path) -> None:
    """Where the interface isn't loopback, the prefix isn't /8, and nobody has privileges."""
    script = "import bcast; print(bcast.discover(timeout=20, expect=1)[0].name)"
    with any_lab() as lab:
        blue = lab.segment("blue", network="10.9.1.0/24")
        a, b = lab.host("a"), lab.host("b")
        a.connect(blue)
        link = b.connect(blue)
        device = b.start([str(program), *offering(LAMP), "-i", str(link.address())], capable=False)
        assert a.python(script, timeout=PATIENCE, capable=False).stdout == "lamp-1\n"
        assert device.terminate(timeout=PATIENCE) == 0
        assert device.errors() == ""


# --- what it says by itself


#: Asks the kernel for the time at which a datagram arrived.
_SO_TIMESTAMPNS = 35


class Listener:
    """Hears the group, and asks from an endpoint of its own."""

    def __init__(self, port: int) -> None:
        self.to = str(DEFAULT_GROUPS[0].address), port
        self.shared = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        local = socket.inet_aton("127.0.0.1")
        self.shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.shared.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self.shared.bind(("", port))
        joined = socket.inet_aton(self.to[0]) + local
        self.shared.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)
        self.own.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, local)
        self.own.bind(("127.0.0.1", 0))
        self.set_ttl(255)
        for one in (self.shared, self.own):
            one.settimeout(PATIENCE)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.shared.close()
        self.own.close()

    def set_ttl(self, ttl: int) -> None:
        self.own.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        self.own.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)

    def hear(self, kind: type[Message]) -> tuple[float, Message, tuple[str, int]]:
        """What is said to the group next, of a kind: when it arrived, and where from."""
        while True:
            payload, [(_, _, arrived), *_], _, source = self.shared.recvmsg(2_000, 64)
            message = decode(payload)
            if isinstance(message, kind):
                seconds, nanoseconds = struct.unpack("@ll", arrived)
                return seconds + nanoseconds / 1e9, message, source

    def ask(self, message: Message | bytes, to: tuple[str, int] | None = None) -> None:
        payload = message if isinstance(message, bytes) else encode(message)
        self.own.sendto(payload, self.to if to is None else to)

    def reply(self) -> Reply:
        message = decode(self.own.recv(2_000))
        assert isinstance(message, Reply)
        return message

    def replies_before(self, last: Query, to: tuple[str, int]) -> list[Reply]:
        """The replies until that to ``last``, which is repeated until there is one."""
        found: list[Reply] = []
        self.own.settimeout(0.1)
        end = time.monotonic() + PATIENCE
        while not found or found[-1].nonce != last.nonce:
            assert time.monotonic() < end
            self.ask(last, to)
            try:
                while not found or found[-1].nonce != last.nonce:
                    found.append(self.reply())
            except TimeoutError:
                continue
        self.own.settimeout(PATIENCE)
        return found[:-1]


def probe(
    nonce: int, *, asker: Header = ASKER, window: int = 0, types: tuple[int, ...] = ()
) -> Probe:
    return Probe(asker, nonce, 0, window, 0, 65_536, 0, types)


def query(nonce: int, *, known: int = 0, part: int = 0, padding: int = 352) -> Query:
    return Query(ASKER, nonce, known, part, 1, padding)


def test_it_announces_itself_beats_and_says_goodbye(program: Path, port: int) -> None:
    with Listener(port) as listener:
        heard: list[tuple[float, Message]] = []

        def hear(kind: type[Message], times: int) -> None:
            heard.extend(listener.hear(kind)[:2] for _ in range(times))

        with running(program, port):
            hear(Announcement, 3)
            hear(Beat, 3)
            # It had nobody to answer to: these are all.
            assert [message.header.sequence for _, message in heard] == list(range(6))
        hear(Goodbye, 3)
    said = [message for _, message in heard]
    assert [m.services for m in said if isinstance(m, Announcement)] == [(LAMP,)] * 3
    assert [m.offered for m in said if isinstance(m, Beat)] == [1] * 3
    stated = [m for m in said if isinstance(m, Announcement | Beat | Goodbye)]
    assert [(m.version, m.interval) for m in stated] == [(1, 1)] * 9
    times = [time for time, _ in heard]
    late = JITTER + 0.5  # the machine's share
    for at, planned in ((0, ANNOUNCEMENTS), (6, GOODBYES)):
        assert [t - times[at] for t in times[at : at + 3]] == pytest.approx(planned, abs=late)
    assert -late < times[3] - times[2] < 1 + late
    assert times[5] - times[4] == pytest.approx(1, abs=late)


#: Nonces that put the device into the second half of a window.
LATE = [nonce for nonce in range(200) if slot(id64(ID), nonce) > 32_768]


def test_an_answer_does_not_get_later(program: Path, port: int) -> None:
    with Listener(port) as listener, running(program, port, "-I", ID.hex()):
        listener.hear(Announcement)
        listener.ask(probe(LATE[0], window=400))
        listener.ask(probe(LATE[1], window=65_535))
        assert listener.reply().nonce == LATE[1]


def test_who_leaves_owes_nothing(program: Path, port: int) -> None:
    with Listener(port) as listener:
        with running(program, port, "-I", ID.hex()):
            listener.hear(Announcement)
            # It would be due between the second goodbye and the third.
            listener.ask(probe(LATE[0], window=300))
            listener.ask(probe(1_000, asker=ASKER._replace(id=b"x" * 16)))
            assert listener.reply().nonce == 1_000
        listener.own.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.reply()


def test_long_windows_do_not_make_it_deaf(program: Path, port: int) -> None:
    with Listener(port) as listener, running(program, port, "-I", ID.hex()):
        listener.hear(Announcement)
        # As many as it remembers at all are promised an answer in half a minute or more.
        for n in range(20):
            other = ASKER._replace(id=bytes((n,)) * 16)
            listener.ask(probe(LATE[n], asker=other, window=65_535))
        # One gives way to who wants to know now; what that one asked before doesn't count.
        listener.ask(probe(LATE[20], window=30_000))
        listener.ask(probe(1_000))
        assert listener.reply().nonce == 1_000
        listener.ask(probe(1_000))
        listener.ask(probe(1_001, asker=ASKER._replace(id=b"x" * 16)))
        assert listener.reply().nonce == 1_001


def test_what_came_from_afar_or_to_many_is_not_answered(program: Path, port: int) -> None:
    with Listener(port) as listener, running(program, port):
        *_, device = listener.hear(Announcement)
        listener.set_ttl(254)
        listener.ask(probe(1))
        listener.ask(query(2), device)
        listener.set_ttl(255)
        listener.ask(query(3))
        # Either socket gives what it got in order.
        for asked, to in ((query(4), device), (probe(5), None), (probe(6), device)):
            listener.ask(asked, to)
            assert listener.reply().nonce == asked.nonce


# --- what it does with datagrams from a file


class Verdict(NamedTuple):
    """What the device said to a datagram; ``wait``: milliseconds until its reply."""

    word: str
    reply: bytes
    wait: int


Judge = Callable[..., list[Verdict]]


@pytest.fixture
def judge(program: Path, tmp_path: Path) -> Judge:
    """Runs the device over datagrams, 0.1 s apart, without a socket."""

    def judge(datagrams: Iterable[bytes], *options: str, service: Service = LAMP) -> list[Verdict]:
        lines = [datagram.hex() for datagram in datagrams]
        file = tmp_path / "datagrams"
        file.write_text("".join(line + "\n" for line in lines), "ascii")
        fixed = ["-I", ID.hex(), "-e", str(EPOCH), *options]
        command = [str(program), *offering(service), *fixed, "-F", str(file)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stderr) == (0, "")
        said = [line.split() for line in done.stdout.splitlines()]
        assert len(said) == len(lines)
        return [
            Verdict(rest[0], b"", 0)
            if word == "ignored"
            else Verdict(word, bytes.fromhex(rest[0]), int(rest[1]) if word == "probe" else 0)
            for word, *rest in said
        ]

    return judge


def one_word(judged: Sequence[Verdict]) -> str:
    [verdict] = judged
    return verdict.word


def the_reply(judged: Sequence[Verdict]) -> Reply:
    [verdict] = judged
    reply = decode(verdict.reply)
    assert isinstance(reply, Reply)
    return reply


#: Messages that a device needn't read; it looks at the frame of their fields only.
UNREAD = (2, 3, 4, 5)


@vectors("rejected")
def test_what_the_document_rejects(judge: Judge, vector: Vector) -> None:
    datagram = bytes.fromhex(vector["datagram"]) + bytes(vector.get("zeros", 0))
    word = one_word(judge([datagram]))
    if len(datagram) > 3 and datagram[3] in UNREAD:
        assert word in (vector["reason"], "other")
    else:
        assert word == vector["reason"]


@vectors("accepted")
def test_what_the_document_accepts(judge: Judge, vector: Vector) -> None:
    datagram, plain = bytes.fromhex(vector["datagram"]), bytes.fromhex(vector["as"])
    [said], [expected] = judge([datagram]), judge([plain])
    assert said.word == expected.word in ("probe", "query", "other")
    assert said.wait == expected.wait


@vectors("message")
def test_what_the_document_says(judge: Judge, vector: Vector) -> None:
    realm = next(v["text"] for v in VECTORS["realm"] if v["hash"] == vector["realm"])
    lamp = Service("lamp", "_lamp", 1)
    untagged, tagged = bytes.fromhex(vector["untagged"]), bytes.fromhex(vector["tagged"])
    # Who has no keys takes a tagged datagram as if there were no tag.
    said, keyed = judge([untagged, tagged], "-r", realm, "-m", "2000", service=lamp)
    kind = vector["name"].partition(",")[0].lower()
    if kind not in ("probe", "query"):
        assert (said.word, keyed.word) == ("other", "other")
        return
    assert (said.word, keyed.word) == (kind, kind)
    reply = decode(said.reply)
    assert isinstance(reply, Reply)
    assert reply.header == Header(ID, EPOCH, 0, vector["realm"], more=reply.header.more)
    assert (reply.nonce, reply.version, reply.interval) == (number(vector["nonce"]), 1, 120)


@vectors("answer")
def test_the_documents_answers(judge: Judge, vector: Vector) -> None:
    [peer] = VECTORS["answering"]
    service = Service(**peer["service"])
    options = ("-I", peer["id"], "-e", str(peer["epoch"]), "-b", str(peer["interval"]))
    [said] = judge([bytes.fromhex(vector["asked"])], *options, service=service)
    assert said.reply.hex() == "".join(vector["reply"].split())
    assert said.wait == pytest.approx(vector["milliseconds"], abs=1)


@vectors("slot")
def test_it_answers_in_its_slot_only(judge: Judge, vector: Vector) -> None:
    own, nonce = vector["slot"], number(vector["nonce"])
    ranges = [(own, own + 1), (0, own), (own + 1, 65_536), (0, own + 1), (own, 65_536)]
    asked = [Probe(ASKER._replace(id=bytes((n,)) * 16), nonce, 0, 0, *ranges[n]) for n in range(5)]
    said = judge([encode(one) for one in asked], "-I", vector["id"])
    assert [one.word for one in said] == ["probe", "slot", "slot", "probe", "probe"]


@pytest.mark.parametrize("own", [0, 65_535])
def test_all_slots_are_all(judge: Judge, own: int) -> None:
    nonce = next(n for n in count() if slot(id64(ID), n) == own)
    assert one_word(judge([encode(probe(nonce))])) == "probe"


@vectors("due")
def test_it_answers_when_it_is_due(judge: Judge, vector: Vector) -> None:
    own = next(v for v in VECTORS["slot"] if v["slot"] == vector["slot"])
    asked = Probe(ASKER, number(own["nonce"]), 0, vector["window"], vector["low"], vector["high"])
    [said] = judge([encode(asked)], "-I", own["id"])
    assert said.wait == pytest.approx(vector["milliseconds"], abs=1)


@vectors("type")
def test_it_knows_its_type(judge: Judge, vector: Vector) -> None:
    asked = [probe(1, types=(1, vector["hash"])), probe(2, types=(1, vector["hash"] ^ 1))]
    service = Service("x", vector["text"], 1)
    said = judge([encode(one) for one in asked], service=service)
    assert [one.word for one in said] == ["probe", "types"]


@vectors("realm")
def test_it_knows_its_realm(judge: Judge, vector: Vector) -> None:
    ours, theirs = (ASKER._replace(realm=vector["hash"] ^ bit) for bit in (0, 1))
    asked = [probe(1, asker=ours), probe(2, asker=theirs)]
    said = judge([encode(one) for one in asked], "-r", vector["text"])
    assert [one.word for one in said] == ["probe", "realm"]


def test_it_knows_itself_in_a_filter(judge: Judge) -> None:
    vector = next(v for v in VECTORS["filter"] if "peers" in v)
    asked = encode(
        probe(number(vector["nonce"]))._replace(
            filter=bytes.fromhex(vector["filter"]), filter_hashes=vector["hashes"]
        )
    )
    # The first has version 1, as every device. A restarted one, and others, aren't known.
    peer = vector["peers"][0]
    assert one_word(judge([asked], "-I", peer["id"], "-e", str(peer["epoch"]))) == "known"
    assert one_word(judge([asked], "-I", peer["id"], "-e", str(peer["epoch"] + 1))) == "probe"
    assert one_word(judge([asked])) == "probe"


def test_a_probe_is_answered_once(judge: Judge) -> None:
    asked = [encode(probe(1)), encode(probe(1, window=9)), encode(probe(2))]
    assert [one.word for one in judge(asked)] == ["probe", "repeated", "probe"]
    # What is remembered is forgotten again: otherwise it would be full for ever.
    askers = [ASKER._replace(id=bytes((n,)) * 16) for n in range(17)]
    asked = [encode(probe(1, asker=asker)) for asker in askers]
    assert [one.word for one in judge(asked, "-m", "1")] == ["probe"] * 16 + ["busy"]
    assert [one.word for one in judge(asked, "-m", "100")] == ["probe"] * 17


def test_no_more_is_said_than_was_asked(judge: Judge) -> None:
    queries = [encode(query(n)) for n in range(70)]
    assert [one.word for one in judge(queries, "-m", "0")] == ["query"] * 64 + ["rate"] * 6
    # 16 a second more than 64, of 32 a second.
    said = [one.word for one in judge(queries * 3, "-m", "31")]
    assert said.count("query") == 64 + int(209 * 0.031 * 16)
    for padding in (0, 2, 40, 352):
        asked = encode(query(1, padding=padding))
        reply = the_reply(judge([asked], service=LARGE))
        assert (reply.header.more, reply.services) == (padding < 352, (LARGE,) * (padding == 352))


def test_answers_to_queries(judge: Judge) -> None:
    known = the_reply(judge([encode(query(1, known=1))]))
    assert (known.header.more, known.services, known.part, known.parts) == (False, (), 0, 1)
    other = the_reply(judge([encode(query(1, known=2))]))
    assert (other.header.more, other.services) == (False, (LAMP,))
    beyond = the_reply(judge([encode(query(1, part=1))]))
    assert (beyond.header.more, beyond.services, beyond.part, beyond.parts) == (True, (), 0, 1)


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("127.255.0.9", "probe"),
        ("169.254.7.7", "probe"),
        ("127.255.255.255", Rejection.OFF_LINK),
        ("127.0.0.0", Rejection.OFF_LINK),
        ("0.0.0.0", Rejection.OFF_LINK),
        ("10.0.0.1", Rejection.OFF_LINK),
        ("224.0.0.1", Rejection.OFF_LINK),
        ("255.255.255.255", Rejection.OFF_LINK),
    ],
)
def test_only_hosts_on_the_link_are_answered(judge: Judge, source: str, word: str) -> None:
    assert one_word(judge([encode(probe(1))], "-S", source)) == word
    assert one_word(judge([encode(probe(1))], "-S", source, "-T", "64")) == Rejection.TTL


@pytest.mark.parametrize(
    "wrong",
    [
        ("-n", "n" * 64),
        ("-t", "Lamp"),
        ("-t", ""),
        ("-p", "65536"),
        ("-p", "x"),
        ("-b", "0"),
        ("-b", "3601"),
        ("-I", "00"),
        ("-a", "no value"),
        ("-a", "fw=again"),
        ("-a", "=empty"),
        ("-a", "k" * 64 + "=1"),
        ("-a", "k=" + "v" * 256),
        ("-i", "10.255.255.1"),
        ("-F", "/nowhere"),
        ("-x",),
    ],
    ids=" ".join,
)
def test_it_says_what_it_does_not_understand(program: Path, wrong: tuple[str, ...]) -> None:
    command = [str(program), *offering(LAMP), *wrong]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2
    assert "Sanitizer" not in done.stderr
    assert done.stderr


# --- what it stands


def nearly_right(more: int) -> list[bytes]:
    """The corpus, then datagrams that are nearly right, the same ones in each run."""
    random = Random(28232)
    corpus = read_corpus("decode")
    seeds = [*corpus, encode(probe(1, types=(type_hash("_lamp"),))), encode(query(1))]
    return corpus + [
        mutate(random.choice(seeds), random.choice(seeds), random) for _ in range(more)
    ]


def expected(payload: bytes) -> set[str]:
    """What a device that has answered nobody yet may say to a datagram, by Python's reading."""
    try:
        message = decode(payload)
    except DecodeError:
        return {*Reason, "other"} if payload[3:4] in (b"\2", b"\3", b"\4", b"\5") else {*Reason}
    if not isinstance(message, Probe | Query):
        return {"other"}
    if message.header.realm:
        return {Rejection.REALM}
    if isinstance(message, Query):
        return {"query"}
    own = id64(ID)
    if message.types and type_hash(LAMP.type) not in message.types:
        return {"types"}
    if not message.low <= slot(own, message.nonce) < message.high:
        return {"slot"}
    if contains(message.filter, message.filter_hashes, entry(own, EPOCH, 1), message.nonce):
        return {"known"}
    return {"probe"}


def test_it_reads_what_is_nearly_right_as_bcast_does(judge: Judge) -> None:
    datagrams = nearly_right(20_000)
    said = judge(datagrams, "-m", "5000")
    for payload, verdict in zip(datagrams, said, strict=True):
        assert verdict.word in expected(payload), payload.hex()
        assert len(verdict.reply) <= MAX_REPLY_RATIO * len(payload)
        if verdict.reply:
            asked, reply = decode(payload), decode(verdict.reply)
            assert isinstance(asked, Probe | Query)
            assert isinstance(reply, Reply)
            assert reply.nonce == asked.nonce
    words = [verdict.word for verdict in said]
    assert {"probe", "query", "types", "slot", "realm", "other"} <= {*words}
    assert words.count("probe") > 100
    # All at once, what it remembers and what it may say is used up, and nothing else happens.
    hurried = judge(datagrams, "-m", "0")
    for verdict, word in zip(hurried, words, strict=True):
        assert verdict.word in (word, Rejection.REPEATED, Rejection.BUSY, Rejection.RATE)


def test_it_outlives_what_arrives_by_a_socket(program: Path, port: int) -> None:
    sizes = {}
    with Listener(port) as listener, running(program, port) as device:
        *_, its = listener.hear(Announcement)
        before = os.listdir(f"/proc/{device.pid}/fd")
        for nonce, payload in enumerate(nearly_right(3_000)):
            if len(payload) >= 40:  # a nonce of its own
                payload = payload[:32] + struct.pack(">Q", nonce) + payload[40:]
                sizes[nonce] = len(payload)
            for to in (listener.to, its):
                listener.ask(payload, to)
        replies = listener.replies_before(query(1 << 40), its)
        assert 0 < len(replies) < 1_000
        for reply in replies:
            assert len(encode(reply)) <= MAX_REPLY_RATIO * sizes[reply.nonce]
        [found] = eventually(lambda: find(port))
        assert_offers(found, LAMP)
        assert os.listdir(f"/proc/{device.pid}/fd") == before
