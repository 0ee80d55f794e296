"""DNS-SD services of the LAN, found by the package zeroconf, as a machine of a driver.

Layer 5. zeroconf has sockets of its own, in an event loop in a thread of its own, where it is
imported too; what it sees is put down here, and the driver is woken to take it.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

from bcast.channels import InterfaceFailed, InterfaceReady
from bcast.datagram import Family, Interface, InterfaceFlag
from bcast.destinations import MDNS
from bcast.device import Cause, Device, DeviceEvent
from bcast.errors import SocketError
from bcast.foreign.finder import FinderStatistics
from bcast.foreign.services import PORT, Seen, Services, is_service_type
from bcast.machine import Attached, Outgoing, Received
from bcast.sockets.advice import socket_error

if TYPE_CHECKING:
    import asyncio

    from bcast.driver import Driver

__all__ = ["Mdns"]

# What all types of services are asked for by (RFC 6763, section 9).
_TYPES = "_services._dns-sd._udp.local."
_DOMAIN = ".local."

# Types that are searched for, and services that are asked for more at one time: what a flood of
# made-up ones can make us ask.
_MOST_TYPES = 256
_MOST_ASKED = 256

# Things to tell, and goodbyes that nothing followed: what a flood can make us keep.
_MOST_TOLD = 4_096
_MOST_GOODBYES = 256

# Milliseconds in which a service says where it is.
_PATIENCE = 3_000

# Seconds until what failed is tried again.
_RETRY = 1.0

_PTR = 12
_CONTROL = re.compile(rb"[^\x20-\x7e]")


class _Lost(NamedTuple):
    """A service that is gone."""

    cause: Cause


# What is to be given to zeroconf: addresses, and indexes of interfaces for IPv6.
_Places = tuple["str | int", ...]


class Mdns:
    """Finds services of ``types`` (``_ipp._tcp``), or of all types that there are.

    ``since``: what Unix time it was when the driver's clock was 0. ``alone``: nothing else is
    searched for, so that it is an error if this can't be done.
    """

    def __init__(self, types: Iterable[str] = (), *, since: float, alone: bool = False) -> None:
        self._types = tuple(types)
        self._alone = alone
        self._services = Services(since=since)
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        self._lock = threading.Lock()
        self._told: dict[str, Seen | _Lost] = {}
        self._questions = self._refused = 0
        self._failure: OSError | None = None
        self._has_failed = self._is_open = self._ending = False
        self._places: _Places = ()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: asyncio.Event | None = None
        self._note: Callable[[InterfaceFailed | InterfaceReady], object] = lambda notice: None

    def start(self, driver: Driver[Any]) -> None:
        """Begins; ends with the driver."""
        driver.at_close(self.close)
        self._note = driver.note
        driver.watch(self._wake, self._take)
        driver.add(self, (), families=(Family.IPV4, Family.IPV6), name=MDNS)

    # -- in the driver's thread ---------------------------------------------------------------

    @property
    def devices(self) -> tuple[Device, ...]:
        """All services that are there, as they are known now."""
        return self._services.devices

    @property
    def statistics(self) -> FinderStatistics:
        return self._services.statistics

    @property
    def quiet(self) -> bool:
        """Whether all was asked, and had time to be answered."""
        return self._services.quiet

    def next_event(self) -> DeviceEvent | None:
        return self._services.next_event()

    def interfaces_changed(self, interfaces: Sequence[Attached], now: float) -> None:
        self._services.interfaces_changed(interfaces, now)
        places = tuple(
            place
            for end, families in self._services.attached
            for place in _places_of(end.interface, families)
        )
        if places != self._places:
            self._places = places
            self._services.renew(now)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="bcast mdns", daemon=True)
                self._thread.start()
            else:
                self._tell_thread()

    def receive_datagrams(self, received: Received, now: float) -> None:
        """There are none: zeroconf has the sockets."""

    def datagrams_to_send(self, now: float) -> list[Outgoing]:
        return []

    def get_timer(self) -> float | None:
        return self._services.get_timer()

    def handle_timer(self, now: float) -> None:
        self._services.handle_timer(now)

    def _take(self, now: float) -> None:
        """Takes what was put down."""
        try:
            self._wake.recv(4096)
        except BlockingIOError:
            pass
        with self._lock:
            told, self._told = self._told, {}
            questions, self._questions = self._questions, 0
            refused, self._refused = self._refused, 0
            failure, is_open = self._failure, self._is_open
        for _ in range(questions):
            self._services.note_question(now)
        if refused:
            self._services.refuse(refused)
        for instance, news in told.items():
            if isinstance(news, Seen):
                self._services.see(news, now)
            else:
                self._services.lose(instance, news.cause)
        if (failure is not None) != self._has_failed:
            self._has_failed = failure is not None
            self._tell_state(failure)
        elif is_open and not self._has_failed:
            self._alone = False

    def _tell_state(self, failure: OSError | None) -> None:
        """It failed, or works now."""
        interfaces = [end.interface for end, _ in self._services.attached]
        if failure is None:
            for interface in interfaces[:1]:
                self._note(InterfaceReady(interface, PORT))
            return
        self._services.note_failure()
        error = _error_of(failure)
        if self._alone:
            raise error
        for interface in interfaces[:1]:
            self._note(InterfaceFailed(interface, error))

    def _tell_thread(self) -> None:
        """Has the thread look what is wanted of it."""
        loop, changed = self._loop, self._changed
        if loop is not None and changed is not None:
            try:
                loop.call_soon_threadsafe(changed.set)
            except RuntimeError:
                pass  # it is closed: the thread has ended

    def close(self) -> None:
        """Ends it, and waits for that. More than once is fine."""
        self._ending = True
        self._tell_thread()
        if self._thread is not None:
            self._thread.join()
        self._wake.close()
        self._waker.close()

    # -- in zeroconf's thread -----------------------------------------------------------------

    def _run(self) -> None:
        import asyncio

        try:
            asyncio.run(self._search())
        except Exception as error:
            # Whatever is wrong with it, the other protocols go on.
            self._set_state(OSError(f"zeroconf failed: {type(error).__name__}: {error}"))

    async def _search(self) -> None:
        import asyncio

        changed = asyncio.Event()
        # Before it is looked at what is wanted, so that whoever wants something else says so.
        self._changed, self._loop = changed, asyncio.get_running_loop()
        while not self._ending:
            changed.clear()
            places = self._places
            retry = None
            if places:
                # The import takes longer than all the rest.
                session = _Session(self, self._types)
                try:
                    await session.open(places)
                except (OSError, RuntimeError) as error:
                    # RuntimeError: an interface that went just now.
                    self._set_state(error if isinstance(error, OSError) else OSError(str(error)))
                    retry = _RETRY
                else:
                    self._set_state(None)
            try:
                await asyncio.wait_for(changed.wait(), retry)
            except TimeoutError:
                pass
            if places:
                await session.close()

    def _set_state(self, failure: OSError | None) -> None:
        with self._lock:
            self._failure = failure
            self._is_open = failure is None
        self._nudge()

    def _nudge(self) -> None:
        """Wakes the driver."""
        try:
            self._waker.send(b"\0")
        except OSError:
            pass  # full: it is being woken already

    def tell(self, instance: str, news: Seen | _Lost) -> None:
        """Puts down the latest about a service."""
        with self._lock:
            if instance in self._told or len(self._told) < _MOST_TOLD:
                self._told[instance] = news
            else:
                self._refused += 1
        self._nudge()

    def count(self, *, questions: int = 0, refused: int = 0) -> None:
        """Puts down that so much was asked, or more was seen than can be looked after."""
        with self._lock:
            self._questions += questions
            self._refused += refused
        self._nudge()


class _Session:
    """zeroconf, on some addresses."""

    def __init__(self, owner: Mdns, types: Iterable[str]) -> None:
        self._owner = owner
        self._wanted = [type + _DOMAIN for type in types]
        self._zeroconf: Any = None
        self._browsers: dict[str, Any] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        #: Those of which something changed while they were asked.
        self._again: set[str] = set()
        #: Names that said goodbye, oldest first, until it is told what follows.
        self._goodbyes: dict[str, None] = {}

    async def open(self, places: _Places) -> None:
        """Raises OSError if a socket can't be had."""
        from zeroconf import RecordUpdateListener
        from zeroconf.asyncio import AsyncZeroconf

        goodbyes = self._goodbyes

        class Goodbyes(RecordUpdateListener):  # type: ignore[misc, unused-ignore]
            """What a browser doesn't tell: whether who is gone said so."""

            def async_update_records(self, zc: Any, now: float, records: list[Any]) -> None:
                for record in (update.new for update in records):
                    if record.type == _PTR and record.ttl == 0:
                        while len(goodbyes) >= _MOST_GOODBYES:
                            del goodbyes[next(iter(goodbyes))]
                        goodbyes[record.alias] = None

            def async_update_records_complete(self) -> None:
                """There is nothing to complete."""

        self._zeroconf = AsyncZeroconf(interfaces=list(places))
        await self._zeroconf.zeroconf.async_wait_for_start()
        self._zeroconf.zeroconf.async_add_listener(Goodbyes(), None)
        for type in self._wanted or [_TYPES]:
            self._browse(type)

    def _browse(self, type: str) -> None:
        from zeroconf.asyncio import AsyncServiceBrowser

        if type in self._browsers:
            return
        if len(self._browsers) > _MOST_TYPES:
            self._owner.count(refused=1)
            return
        self._owner.count(questions=1)
        self._browsers[type] = AsyncServiceBrowser(
            self._zeroconf.zeroconf, type, handlers=[self._note]
        )

    def _note(self, zeroconf: Any, service_type: str, name: str, state_change: Any) -> None:
        """Something happened to a service, or to a type of services."""
        change = state_change.name
        if service_type == _TYPES:
            if change == "Added" and is_service_type(_without_domain(name.lower())):
                self._browse(name)
            return
        if change != "Removed":
            self._ask(service_type, name)
            return
        if (task := self._asking.pop(name, None)) is not None:
            task.cancel()
        cause = Cause.GOODBYE if name in self._goodbyes else Cause.SILENCE
        self._goodbyes.pop(name, None)
        self._owner.tell(_without_dot(name), _Lost(cause))

    def _ask(self, type: str, name: str) -> None:
        from asyncio import create_task

        if name in self._asking:
            self._again.add(name)
        elif len(self._asking) >= _MOST_ASKED:
            self._owner.count(refused=1)
        else:
            task = create_task(self._resolve(type, name))
            self._asking[name] = task
            task.add_done_callback(lambda done: self._forget(name, done))

    def _forget(self, name: str, task: asyncio.Task[None]) -> None:
        if self._asking.get(name) is task:
            del self._asking[name]
        self._again.discard(name)

    async def _resolve(self, type: str, name: str) -> None:
        """Finds out where a service is, and what it says of itself."""
        from zeroconf import Error
        from zeroconf.asyncio import AsyncServiceInfo

        while True:
            self._again.discard(name)
            try:
                info = AsyncServiceInfo(type, name)
                if not await info.async_request(self._zeroconf.zeroconf, _PATIENCE):
                    return
            except Error:
                return  # a name that isn't one
            if (seen := _seen(type, name, info)) is not None:
                self._owner.tell(seen.instance, seen)
            if name not in self._again:
                return

    async def close(self) -> None:
        """Leaves nothing behind."""
        from asyncio import gather

        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await gather(*tasks, return_exceptions=True)
        for browser in self._browsers.values():
            await browser.async_cancel()
        if self._zeroconf is not None:
            await self._zeroconf.async_close()


def _seen(type: str, name: str, info: Any) -> Seen | None:
    """What zeroconf knows of a service, as it is told here."""
    kind = _without_domain(type.lower())
    # A kind of a type is asked for, but isn't in the name.
    plain = kind.rpartition("._sub.")[2]
    instance = _without_dot(name)
    at = len(instance) - len(plain) - len(_DOMAIN)
    if at < 1 or not instance.lower().endswith(f".{plain}.local"):
        return None
    return Seen(
        instance,
        instance[:at],
        plain,
        info.port or 0,
        [ip_address(address) for address in info.parsed_scoped_addresses()],
        _attributes(info.properties),
    )


def _attributes(properties: dict[bytes, bytes | None]) -> dict[str, str]:
    """What a TXT record says (RFC 6763, section 6): keys are ASCII, values may be anything."""
    found = {}
    for key, value in properties.items():
        if key and not _CONTROL.search(key):
            found[key.decode("ascii")] = (value or b"").decode(errors="replace")
    return found


def _without_dot(name: str) -> str:
    return name.removesuffix(".")


def _without_domain(type: str) -> str:
    return type.removesuffix(_DOMAIN)


def _places_of(interface: Interface, families: Sequence[Family]) -> Iterable[str | int]:
    """What zeroconf is to be given to work on an interface."""
    if Family.IPV4 in families:
        # One is enough: the group is joined once on an interface.
        yield str(interface.addresses_of(Family.IPV4)[0].address)
    # It can't use ::1, nor an address that is still being tried out (RFC 4862), and says so in the
    # log only.
    ready = [one for one in interface.addresses_of(Family.IPV6) if not one.tentative]
    if Family.IPV6 in families and ready and InterfaceFlag.LOOPBACK not in interface.flags:
        yield interface.index


def _error_of(failure: OSError) -> SocketError:
    if failure.errno is None:
        return SocketError(f"{MDNS}: {failure}", "see bcast interfaces")
    return socket_error(failure, f"bind to port {PORT}", MDNS, port=PORT)
