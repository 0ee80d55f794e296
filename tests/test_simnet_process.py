"""What a machine sees of a receive buffer: queues, drops, batches, stalls, timers."""

from __future__ import annotations

from ipaddress import ip_address
from itertools import pairwise

import pytest

from bcast.datagram import Endpoint, Family
from bcast.simnet import Lan, Link, Process, datagram_cost
from tests.recorders import Echo, Recorder

PORT = 28232
GROUP = "239.255.110.72"


class Setting:
    """A host with a `Recorder`, and another link that sends to it."""

    def __init__(self, buffer: int = 425_984, drain: float = 20_000.0, seed: int = 1) -> None:
        self.lan = Lan(seed)
        self.segment = self.lan.segment(delay=(0.0002, 0.0002))
        self.sender = self.lan.host("sender").connect(self.segment)
        self.host = self.lan.host("receiver")
        self.link = self.host.connect(self.segment, buffer=buffer, drain=drain)
        self.machine = Recorder()
        self.process: Process[str] = self.host.run(self.machine, port=PORT, groups=[GROUP])

    def burst(self, count: int, size: int = 150) -> None:
        for number in range(count):
            self.sender.send(bytes([number % 256]) * size, Endpoint(self.link.address(), PORT))

    def sizes(self) -> list[int]:
        return [len(arrival.received.datagrams) for arrival in self.machine.arrivals]


@pytest.mark.parametrize(
    ("size", "family", "cost"),
    [
        (0, Family.IPV4, 832),
        (150, Family.IPV4, 832),
        (197, Family.IPV4, 832),
        (198, Family.IPV4, 1280),
        (645, Family.IPV4, 1280),
        (646, Family.IPV4, 2304),
        (1200, Family.IPV4, 2304),
        (1472, Family.IPV4, 2304),
        (185, Family.IPV6, 832),
        (186, Family.IPV6, 1280),
        (633, Family.IPV6, 1280),
        (634, Family.IPV6, 2304),
    ],
)
def test_a_datagram_costs_what_the_kernel_takes_for_it(
    size: int, family: Family, cost: int
) -> None:
    assert datagram_cost(size, family) == cost


def test_an_idle_process_takes_one_datagram_when_it_arrives() -> None:
    setting = Setting()
    setting.burst(1)
    setting.lan.run(1)
    [arrival] = setting.machine.arrivals
    assert arrival.now == pytest.approx(0.0002)
    assert arrival.received.drained
    assert arrival.received.drops == 0
    assert arrival.received.rate == 0
    assert setting.process.received == 1
    [(time, event)] = setting.process.events
    assert time == pytest.approx(0.0002 + 1 / 20_000)
    assert event == "received 1"


def test_what_the_buffer_does_not_hold_is_dropped_counted_and_told() -> None:
    """The first is read at once; the buffer takes the cost of ten more."""
    setting = Setting(buffer=10 * 832)
    setting.burst(30)
    setting.lan.run(1)
    assert setting.sizes() == [1, 10]
    assert [arrival.received.drops for arrival in setting.machine.arrivals] == [0, 19]
    assert setting.process.drops == 19
    assert [datagram.payload[0] for datagram in setting.machine.datagrams] == list(range(11))


def test_larger_datagrams_fill_the_buffer_sooner() -> None:
    setting = Setting(buffer=10 * 832)
    setting.burst(30, size=1_200)
    setting.lan.run(1)
    assert setting.sizes() == [1, 10 * 832 // 2304]


def test_drops_are_told_once() -> None:
    setting = Setting(buffer=10 * 832)
    for time in (0.0, 0.1, 0.2):
        setting.lan.at(time, lambda: setting.burst(30))
    setting.lan.run(1)
    assert [arrival.received.drops for arrival in setting.machine.arrivals] == [0, 19] * 3
    assert setting.process.drops == 57


def test_room_comes_back_when_datagrams_are_read() -> None:
    setting = Setting(buffer=10 * 832)
    for time in (0.0, 0.1, 0.2):
        setting.lan.at(time, lambda: setting.burst(11))
    setting.lan.run(1)
    assert setting.process.received == 33
    assert setting.process.drops == 0


def test_memory_comes_back_in_quarters_of_the_buffer_while_more_waits() -> None:
    """Seen with SO_MEMINFO: 256 datagrams of 832 bytes are given back 64 at a time."""
    setting = Setting(buffer=256 * 832, drain=1_000)
    setting.burst(1 + 256)  # full from 1.2 ms on; the first batch of 64 is read then
    setting.lan.at(0.030, lambda: setting.burst(70))
    setting.lan.run(1)
    assert setting.process.drops == 70 - 64
    small = Setting(buffer=260 * 832, drain=1_000)
    small.burst(1 + 260)  # 64 of them are less than a quarter
    small.lan.at(0.030, lambda: small.burst(70))
    small.lan.at(0.090, lambda: small.burst(70))
    small.lan.run(1)
    assert small.process.drops == 70 + (70 - 65)


def test_the_capacity_told_is_how_many_common_replies_fit() -> None:
    setting = Setting(buffer=425_984)
    [(now, [attached])] = setting.machine.attached
    assert (now, attached.interface, attached.families) == (
        0.0,
        setting.link.interface,
        (Family.IPV4,),
    )
    assert attached.capacity == 512
    setting.burst(600)
    setting.lan.run(1)
    assert setting.process.received == 1 + 512


def test_a_backlog_is_read_in_batches_at_the_drain_rate() -> None:
    setting = Setting(drain=1_000)
    setting.burst(1 + 150)
    setting.lan.run(1)
    assert setting.sizes() == [1, 64, 64, 22]
    # Woken at the first; each batch is handed over with the time at which its reading began.
    expected = [0.0002, 0.0012, 0.0652, 0.1292]
    assert [arrival.now for arrival in setting.machine.arrivals] == pytest.approx(expected)
    received = [arrival.received for arrival in setting.machine.arrivals]
    assert [one.drained for one in received] == [True, False, False, True]
    assert [one.rate for one in received] == [0, 1_000, 1_000, 1_000]
    assert setting.process.events[-1][0] == pytest.approx(0.1512)


def test_no_rate_is_told_after_short_batches() -> None:
    setting = Setting()
    setting.burst(8)
    setting.lan.run(0.5)
    setting.burst(9)
    setting.lan.run(1)
    assert setting.sizes() == [1, 7, 1, 8]
    assert [arrival.received.rate for arrival in setting.machine.arrivals] == [0, 0, 0, 20_000]


def test_a_timer_is_handled_on_time_but_not_before_the_buffer_is_empty() -> None:
    setting = Setting(drain=1_000)
    setting.machine.timer = 0.5
    setting.burst(1)
    setting.lan.run(1)
    assert setting.machine.timers == [0.5]
    setting.burst(101)
    setting.machine.timer = 1.05
    setting.lan.run(2)
    assert setting.machine.timers[1:] == pytest.approx([1.0002 + 0.101])
    assert len(setting.machine.datagrams) == 102


def test_a_timer_that_is_asked_for_earlier_or_later_is_kept() -> None:
    setting = Setting()
    setting.machine.timer = 0.9
    setting.burst(1)
    setting.lan.run(0.1)
    setting.machine.timer = 0.5
    setting.burst(1)
    setting.lan.run(0.4)
    setting.machine.timer = 0.7
    setting.lan.run(1)
    assert setting.machine.timers == [0.7]


def test_a_timer_that_is_always_due_is_the_machines_fault() -> None:
    class Restless(Recorder):
        def get_timer(self) -> float | None:
            return 0.0

    lan = Lan()
    lan.host("restless").run(Restless(), port=PORT)
    with pytest.raises(RuntimeError, match=r"Restless on restless .* set a later one"):
        lan.run(1)


def test_a_frozen_host_fills_its_buffer_and_then_reads_it() -> None:
    setting = Setting(buffer=20 * 832)
    setting.machine.timer = 0.3
    setting.host.freeze(0.5)
    for time in range(1, 31):
        setting.lan.at(time / 100, lambda: setting.burst(1))
    setting.lan.run(1)
    assert setting.sizes() == [20]
    [arrival] = setting.machine.arrivals
    assert arrival.now == 0.5
    assert arrival.received.drops == 10
    assert setting.machine.timers == pytest.approx([0.501])
    # The kernel stamped them when they came, not when they were read.
    gaps = [b.time - a.time for a, b in pairwise(arrival.received.datagrams)]
    assert gaps == pytest.approx([0.01] * 19, abs=1e-6)


def test_a_freeze_in_the_middle_of_a_batch_delays_what_it_hands_over() -> None:
    setting = Setting(drain=1_000)
    setting.burst(11)
    setting.lan.at(0.005, lambda: setting.host.freeze(0.2))
    setting.lan.run(1)
    assert [time for time, _ in setting.process.events] == pytest.approx([0.0012, 0.205])


def test_an_answer_leaves_when_its_question_has_been_read() -> None:
    setting = Setting(drain=1_000)
    echo = Echo()
    setting.host.run(echo, port=PORT)
    answers: list[float] = []
    setting.sender.listen(9, lambda _: answers.append(setting.lan.now))
    setting.sender.send(
        b"?", Endpoint(setting.link.address(), PORT), source=Endpoint(setting.sender.address(), 9)
    )
    setting.lan.run(1)
    assert answers == pytest.approx([0.0002 + 0.001 + 0.0002])


def test_processes_read_each_for_itself() -> None:
    """A slow one doesn't keep another one of the same host from its copy."""
    setting = Setting(drain=1_000)
    other = Recorder()
    setting.host.run(other, port=PORT, groups=[GROUP])
    for _ in range(10):
        setting.sender.send(b"x", Endpoint(setting.link.address(), PORT))  # to `other` alone
    setting.lan.at(0.002, lambda: setting.sender.send(b"all", Endpoint(ip_address(GROUP), PORT)))
    setting.lan.run(1)
    assert [arrival.now for arrival in setting.machine.arrivals] == pytest.approx([0.0022])
    assert [len(arrival.received.datagrams) for arrival in other.arrivals] == [1, 9, 1]


def test_two_interfaces_are_read_in_turns() -> None:
    setting = Setting(drain=1_000)
    other = setting.lan.segment("other", delay=(0.0002, 0.0002))
    link = setting.host.connect(other)
    sender = setting.lan.hosts[0].connect(other)
    setting.burst(1 + 130)
    for _ in range(100):
        sender.send(b"x", Endpoint(link.address(), PORT))
    setting.lan.run(1)
    read = [
        (len(a.received.datagrams), a.received.interface.name) for a in setting.machine.arrivals
    ]
    assert read == [
        (1, "eth0"),
        (64, "eth0"),
        (64, "eth1"),
        (64, "eth0"),
        (36, "eth1"),
        (2, "eth0"),
    ]
    assert [a.received.drained for a in setting.machine.arrivals] == [
        True,
        False,
        False,
        False,
        True,
        True,
    ]
    setting.host.connect(setting.lan.segment("third"))
    _, attached = setting.machine.attached[-1]
    assert [one.interface.name for one in attached] == ["eth0", "eth1", "eth2"]


def test_a_machine_hears_of_links_in_the_order_of_time() -> None:
    """`Recorder` complains if a change of interfaces comes before what was read before it."""
    setting = Setting(drain=1_000)
    links: list[Link] = []
    setting.burst(50)
    other = setting.lan.segment("other")
    setting.lan.at(0.01, lambda: links.append(setting.host.connect(other)))
    setting.lan.at(0.02, setting.link.down)
    setting.lan.run(1)
    assert [len(attached) for _, attached in setting.machine.attached] == [1, 1, 1]
    assert [a.interface for a in setting.machine.attached[-1][1]] == [links[0].interface]


def test_what_is_due_when_a_batch_has_been_read_comes_after_it() -> None:
    setting = Setting(drain=1_000)
    setting.burst(3)
    handed_over = 0.0002 + 0.001 + 2 * 0.001
    setting.machine.timer = handed_over
    setting.lan.at(handed_over, lambda: setting.host.connect(setting.lan.segment("other")))
    setting.process.call(lambda now: None)  # so that the timer is planned before the reading
    setting.lan.run(1)
    assert setting.sizes() == [1, 2]
    assert setting.machine.timers == [handed_over]
    assert [time for time, _ in setting.machine.attached] == [0, handed_over]


def test_a_timer_waits_until_a_datagram_has_been_handled() -> None:
    setting = Setting(drain=1_000)
    setting.machine.timer = 0.0007
    setting.process.call(lambda now: None)  # so that the timer is planned before
    setting.burst(1)
    setting.lan.run(1)
    assert setting.machine.timers == pytest.approx([0.0012])


def test_a_call_waits_for_what_is_being_read_and_is_followed_by_sending() -> None:
    setting = Setting(drain=1_000)
    heard: list[float] = []
    setting.sender.listen(9, lambda _: heard.append(setting.lan.now))
    called: list[float] = []

    def leave(now: float) -> None:
        called.append(now)
        setting.machine.send(b"bye", Endpoint(setting.sender.address(), 9))

    setting.burst(11)
    setting.lan.at(0.005, lambda: setting.process.call(leave))
    setting.lan.run(1)
    assert called == pytest.approx([0.0112])
    assert heard == pytest.approx([0.0114])
    setting.process.stop()
    setting.process.call(leave)
    assert len(called) == 1


def test_what_a_link_had_received_is_lost_with_it() -> None:
    setting = Setting(drain=1_000)
    setting.burst(100)
    setting.lan.at(0.01, setting.link.down)
    setting.lan.at(0.02, setting.link.up)
    setting.lan.at(0.3, lambda: setting.burst(1))
    setting.lan.run(1)
    assert setting.sizes() == [1, 1]


def test_a_stopped_process_does_nothing_more() -> None:
    setting = Setting(drain=1_000)
    setting.machine.timer = 0.5
    setting.burst(20)
    setting.lan.at(0.005, setting.process.stop)
    setting.lan.run(1)
    assert setting.sizes() == [1]
    assert setting.machine.timers == []
    assert not setting.process.is_running
    assert setting.host.processes == []
