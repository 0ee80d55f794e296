"""``bcast demo``."""

import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import IPv4Address
from time import monotonic, time_ns

import typer

from bcast.cli.devices import event_line, event_name, event_object
from bcast.cli.options import Json, Quiet, Verbose
from bcast.cli.output import Output
from bcast.datagram import Address, Family, Interface
from bcast.device import Changed, DeviceEvent, Removed
from bcast.errors import InterfaceError
from bcast.messages import Service

__all__ = ["app"]

app = typer.Typer(add_completion=False)

# Each accessory: where it is, and what it offers.
_ACCESSORIES = {
    "127.0.0.2": Service("lamp", "_lamp", 80, {"fw": "1.4"}),
    "127.0.0.3": Service("plug", "_plug", 80, {"state": "off"}),
    "127.0.0.4": Service("camera", "_camera", 554, {"fw": "2.0"}),
}
_SWITCHED = Service("plug", "_plug", 80, {"state": "on"})

#: What happened (or what of a device changed, or why it is gone), and its name.
_Sight = tuple[str, str]

# Seconds between the beats of an accessory: after three silent ones it is asked for.
_INTERVAL = 1.0

# Seconds for all of it. It takes five; this is for a machine that is busy with something else.
_PATIENCE = 8.0


@app.command(epilog="Examples:\n\nbcast demo")
def demo(as_json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Find three accessories on this machine alone: no network, no privileges, five seconds."""
    from bcast.interfaces import list_interfaces, select

    output = Output(as_json=as_json, quiet=quiet, verbose=verbose)
    loopback = select(list_interfaces(), "loopback").chosen[0]
    if not loopback.addresses_of(Family.IPV4):
        raise InterfaceError(f"{loopback.name} has no IPv4 address", "add 127.0.0.1/8 to it")
    found = 0
    with ExitStack() as opened:
        play = _Play(output, loopback, opened)
        for remark, act, wanted in play.scenes:
            output.remark(remark)
            act()
            seen = play.await_events(wanted)
            found += seen
            if seen < len(wanted):
                break
    missing = 6 - found
    line = f"{missing} of 6 events were not seen" if missing else "all of it was seen"
    output.event(line, {"event": "summary", "seen": found, "missing": missing})
    if missing:
        raise typer.Exit(1)


class _Play:
    """Three hosts with an accessory each, and one that looks for them."""

    def __init__(self, output: Output, loopback: Interface, opened: ExitStack) -> None:
        from bcast.announcer import Announcer
        from bcast.browser import Browser

        self._output = output
        self._end = monotonic() + _PATIENCE
        port = _free_port()
        self.announcers: dict[str, Announcer] = {
            service.name: opened.enter_context(
                Announcer(
                    service,
                    interfaces=loopback.name,
                    family=Family.IPV4,
                    port=port,
                    interval=_INTERVAL,
                    list_interfaces=_host(loopback, address),
                )
            )
            for address, service in _ACCESSORIES.items()
        }
        #: What is said, what happens then, and what must be seen of it.
        self.scenes: list[tuple[str, Callable[[], None], set[_Sight]]] = [
            (
                f"three accessories announce themselves on {loopback.name}:",
                lambda: None,
                {("added", "lamp"), ("added", "plug"), ("added", "camera")},
            ),
            (
                "the plug is switched on:",
                lambda: self.announcers["plug"].update(_SWITCHED),
                {("attributes", "plug")},
            ),
            (
                "the camera loses its power, and can't say goodbye:",
                self.announcers["camera"].close,
                {("suspect", "camera"), ("silence", "camera")},
            ),
        ]
        self._browser = opened.enter_context(
            Browser(interfaces=loopback.name, family=Family.IPV4, port=port)
        )

    def await_events(self, wanted: set[_Sight]) -> int:
        """Shows what happens until all wanted has, or for too long; returns how much of it has."""
        missing = set(wanted)
        while missing and (left := self._end - monotonic()) > 0:
            event = self._browser.next_event(left)
            if event is None:
                break
            now = time_ns()
            self._output.result(event_line(event, now), event_object(event, now))
            missing.discard(_kind(event))
        return len(wanted) - len(missing)


def _kind(event: DeviceEvent) -> _Sight:
    if isinstance(event, Removed):
        return str(event.cause), event.device.name
    if isinstance(event, Changed):
        return " ".join(event.changed), event.device.name
    return event_name(event), event.device.name


def _host(loopback: Interface, address: str) -> Callable[[], tuple[Interface, ...]]:
    """The loopback interface as a host of its own; only Linux has all of 127.0.0.0/8 there."""
    host = loopback
    if sys.platform == "linux":
        host = replace(loopback, addresses=(Address(IPv4Address(address), 8),))
    return lambda: (host,)


def _free_port() -> int:
    """A port that nobody has now, so that two demos don't see each other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
