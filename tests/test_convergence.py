"""The story of a browser and its peers on a simulated LAN: whatever happens, it ends well."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from bcast.datagram import Datagram, Endpoint, Family
from bcast.destinations import DEFAULT_GROUPS, DEFAULT_PORT
from bcast.device import Added, Device, Removed
from bcast.discovery.prober import Prober
from bcast.discovery.responder import Responder
from bcast.domain import Domain
from bcast.messages import Service
from bcast.simnet import Host, Lan, Process
from bcast.wire.keys import Keyring

#: Seconds between beats, so that made-up minutes are enough.
_INTERVAL = 5

_MOST = 6

_KEYS = Keyring({1: b"0123456789abcdef"}, 1)


def looks(device: Device) -> tuple[object, ...]:
    return device.id, device.name, device.type, device.port, tuple(device.attributes.items())


class Convergence(RuleBasedStateMachine):
    """One host watches; others come, go, crash, change, and the network does what networks do."""

    @initialize(
        seed=st.integers(0, 2**32),
        loss=st.sampled_from([0.0, 0.1]),
        duplicate=st.sampled_from([0.0, 0.1]),
        reorder=st.sampled_from([0.0, 0.2]),
        keyed=st.booleans(),
        both=st.booleans(),
    )
    def begin(
        self,
        seed: int,
        loss: float,
        duplicate: float,
        reorder: float,
        keyed: bool,
        both: bool,
    ) -> None:
        self.random = Random(seed)
        self.lan = Lan(seed)
        families = tuple(Family) if both else (Family.IPV4,)
        self.segments = [
            self.lan.segment(
                name, loss=loss, duplicate=duplicate, reorder=reorder, families=families
            )
            for name in ("home", "lab")
        ]
        self.domain = Domain(keyring=_KEYS if keyed else None)
        self.watcher = self.lan.host("watcher")
        for segment in self.segments:
            self.watcher.connect(segment)
        self.prober = Prober(random=Random(seed + 1), domain=self.domain)
        self.watching = self.run(self.watcher, self.prober)
        self.hosts: dict[str, tuple[Host, Process[Any], Responder]] = {}
        self.stopped: dict[str, tuple[Host, bytes]] = {}
        self.existed: set[tuple[object, ...]] = set()
        self.shown: dict[str, Device] = {}
        self.heard: list[bytes] = []
        self.seen = 0
        self.count = 0
        self.cut = False
        attacker = self.lan.host("attacker")
        self.attacker = attacker.connect(self.segments[0])
        self.attacker.listen(
            DEFAULT_PORT, self._overhear, [str(g.address) for g in DEFAULT_GROUPS]
        )

    def run(self, host: Host, machine: Prober | Responder) -> Process[Any]:
        return host.run(machine, port=DEFAULT_PORT, groups=DEFAULT_GROUPS)

    def _overhear(self, datagram: Datagram) -> None:
        self.heard = [*self.heard[-50:], datagram.payload]

    def _announce(self, name: str, host: Host, id: bytes | None) -> None:
        responder = Responder(
            [self._service(name)],
            random=Random(self.random.getrandbits(64)),
            domain=self.domain,
            interval=_INTERVAL,
            id=id,
        )
        self.hosts[name] = (host, self.run(host, responder), responder)
        self._remember(responder, self.last)

    def _service(self, name: str) -> Service:
        self.count += 1
        self.last = Service(name, "_lamp", 80, {"fw": str(self.count)})
        return self.last

    def _remember(self, responder: Responder, service: Service) -> None:
        self.existed.add(
            (
                responder.id.hex(),
                service.name,
                service.type,
                service.port,
                tuple(service.attributes.items()),
            )
        )

    def _wait(self, seconds: float) -> None:
        self.lan.run(self.lan.now + seconds)

    def _pick(self, number: int) -> str:
        return list(self.hosts)[number % len(self.hosts)]

    # -- what may happen ----------------------------------------------------------------------

    @precondition(lambda self: len(self.hosts) + len(self.stopped) < _MOST)
    @rule(where=st.integers(1, 3))
    def join(self, where: int) -> None:
        name = f"lamp-{self.count}"
        host = self.lan.host(name)
        for bit, segment in enumerate(self.segments):
            if where >> bit & 1:
                host.connect(segment)
        self._announce(name, host, None)

    @precondition(lambda self: self.hosts)
    @rule(number=st.integers(0, _MOST))
    def leave(self, number: int) -> None:
        name = self._pick(number)
        host, process, responder = self.hosts.pop(name)
        process.call(responder.leave)
        self.stopped[name] = (host, responder.id)

    @precondition(lambda self: self.hosts)
    @rule(number=st.integers(0, _MOST))
    def crash(self, number: int) -> None:
        name = self._pick(number)
        host, _, responder = self.hosts.pop(name)
        host.stop()
        self.stopped[name] = (host, responder.id)

    @precondition(lambda self: self.stopped)
    @rule(number=st.integers(0, _MOST), same=st.booleans())
    def restart(self, number: int, same: bool) -> None:
        name = list(self.stopped)[number % len(self.stopped)]
        host, id = self.stopped.pop(name)
        host.stop()
        self._announce(name, host, id if same else None)

    @precondition(lambda self: self.hosts)
    @rule(number=st.integers(0, _MOST))
    def change(self, number: int) -> None:
        name = self._pick(number)
        _, process, responder = self.hosts[name]
        service = self._service(name)
        self._remember(responder, service)
        process.call(lambda now: responder.offer([service], now))

    @rule(number=st.integers(0, _MOST))
    def partition(self, number: int) -> None:
        hosts = [host for host, _, _ in self.hosts.values()]
        if hosts:
            apart = hosts[number % len(hosts)]
            for segment in self.segments:
                there = [h for h in self.lan.hosts if any(k.segment is segment for k in h.links)]
                if apart in there:
                    segment.partition([apart], [h for h in there if h is not apart])
            self.cut = True

    @precondition(lambda self: self.cut)
    @rule()
    def heal(self) -> None:
        for segment in self.segments:
            segment.heal()
        self.cut = False

    @precondition(lambda self: self.hosts)
    @rule(number=st.integers(0, _MOST), seconds=st.sampled_from([0.0, 0.5, 20.0]))
    def unplug(self, number: int, seconds: float) -> None:
        for link in self.hosts[self._pick(number)][0].links:
            link.down()
        self._wait(seconds)
        for host, _, _ in self.hosts.values():
            for link in host.links:
                link.up()

    @rule(side=st.integers(0, 1), seconds=st.sampled_from([0.0, 3.0]))
    def lose_an_interface(self, side: int, seconds: float) -> None:
        self.watcher.links[side].down()
        self._wait(seconds)
        self.watcher.links[side].up()

    @rule(number=st.integers(0, 50), times=st.integers(1, 5))
    def replay(self, number: int, times: int) -> None:
        if self.heard:
            payload = self.heard[number % len(self.heard)]
            group = DEFAULT_GROUPS[0].address
            target = self.watcher.links[0].address()
            for _ in range(times):
                self.attacker.send(payload, Endpoint(group, DEFAULT_PORT))
                self.attacker.send(payload, Endpoint(target, DEFAULT_PORT))

    @rule(seconds=st.sampled_from([-3_600.0, 3_600.0, 1e8]))
    def jump_the_clock(self, seconds: float) -> None:
        self.watcher.jump_clock(seconds)

    @rule(seconds=st.sampled_from([0.05, 1.0]))
    def freeze(self, seconds: float) -> None:
        self.watcher.freeze(seconds)

    @rule(seconds=st.sampled_from([0.001, 0.1, 1.0, 7.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self._wait(seconds)

    # -- what must hold -----------------------------------------------------------------------

    @invariant()
    def nothing_is_shown_that_never_existed(self) -> None:
        if not hasattr(self, "prober"):
            return
        for _, event in self.watching.events[self.seen :]:
            assert looks(event.device) in self.existed
            if isinstance(event, Removed):
                del self.shown[event.device.id]
            else:
                assert (event.device.id in self.shown) is not isinstance(event, Added)
                self.shown[event.device.id] = event.device
        self.seen = len(self.watching.events)
        assert {looks(d) for d in self.prober.devices} == {looks(d) for d in self.shown.values()}

    def teardown(self) -> None:
        if not hasattr(self, "prober"):
            return
        for segment in self.segments:
            segment.heal()
        # More than three silent intervals, the queries after them, and a round of the search.
        self._wait(120.0)
        self.nothing_is_shown_that_never_existed()
        truth = {(responder.id.hex(), name) for name, (_, _, responder) in self.hosts.items()}
        assert {(device.id, device.name) for device in self.prober.devices} == truth
        for device in self.prober.devices:
            links = self.hosts[device.name][0].links
            addresses = {a.address.packed for link in links for a in link.interface.addresses}
            assert {s.address.packed for s in device.sightings} <= addresses


TestConvergence = Convergence.TestCase
TestConvergence.settings = settings(
    max_examples=settings().max_examples // 2, stateful_step_count=25, deadline=None
)
