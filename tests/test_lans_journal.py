"""The journal: who is there by what happened, and a timeline that people can read."""

from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from bcast.datagram import Datagram, Endpoint
from bcast.device import Added, Cause, Changed, Device, DeviceEvent, Removed
from bcast.lans.journal import Asked, Journal, Note
from bcast.messages import Beat, Header
from bcast.wire import encode
from tests.loopback import loopback

SOURCE = Endpoint(IPv4Address("127.0.0.2"), 4000)
HERE = Endpoint(IPv4Address("127.0.0.1"), 28232)
LAMP = Device("00" * 16, "lamp\x1b[1m", "_lamp", 80)
SOME = [Device(f"{number:032x}", "lamp", "_lamp", port) for number in (1, 2) for port in (0, 1)]


def heard(payload: bytes) -> Datagram:
    return Datagram(payload, SOURCE, HERE, loopback())


def test_each_interface_has_its_section() -> None:
    journal = Journal()
    beat = encode(Beat(Header(b"i" * 16, 1, 1), 1, 30, 1))
    journal.add(
        [
            Note(0.0, "eth0", heard(beat)),
            Note(30.0, "eth0", heard(beat)),
            Note(60.0, "eth0", heard(beat)),
            Note(60.5, "eth0", heard(b"what?")),
            Note(61.0, "", Added(LAMP)),
            Note(62.0, "eth0", Asked(beat, SOURCE)),
            Note(63.0, "", Removed(LAMP, Cause.SILENCE)),
        ]
    )
    assert journal.lines(["eth0", "eth1"]) == [
        "what happened",
        "     61.0000  added 'lamp\\x1b[1m' _lamp, nowhere",
        "     63.0000  removed 'lamp\\x1b[1m' _lamp, nowhere: silence",
        "eth0",
        "      0.0000  127.0.0.2:4000: beat  (id 69696969...)  (3 times, until 60.0000)",
        "     60.5000  127.0.0.2:4000: 5 bytes that are no message (too-short)",
        "     62.0000  asked 127.0.0.2:4000: beat  (id 69696969...)",
        "eth1: nothing was heard",
    ]


def test_it_is_bounded_and_says_so() -> None:
    journal = Journal(100)
    journal.add(Note(number, "eth0", f"note {number}") for number in range(150))
    first, *_, heading, earlier, oldest = journal.lines(["eth0"])[:5]
    assert first == "(50 older notes are gone)"
    assert (heading, earlier) == ("eth0", "  (60 earlier lines)")
    assert oldest.endswith("note 110")


@given(st.lists(st.tuples(st.sampled_from(SOME), st.booleans()), max_size=20))
def test_who_is_there_is_who_came_and_did_not_go(steps: list[tuple[Device, bool]]) -> None:
    journal = Journal()
    there: dict[str, Device] = {}
    for device, goes in steps:
        event: DeviceEvent = Added(device)
        if goes:
            event = Removed(device, Cause.GOODBYE)
            there.pop(device.id, None)
        else:
            if device.id in there:
                event = Changed(device, ("port",))
            there[device.id] = device
        journal.add([Note(0.0, "", event)])
    assert set(journal.devices) == set(there.values())
    numbers = [number for number, _ in journal.events_since(lambda device: 0)]
    assert numbers == list(range(1, len(steps) + 1))
