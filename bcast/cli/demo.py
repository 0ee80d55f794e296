"""``bcast demo``."""

import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from time import monotonic
from typing import TYPE_CHECKING

import typer

from bcast.cli.options import Json, Quiet, Verbose
from bcast.cli.output import Output
from bcast.cli.show import JsonFormat, TextFormat
from bcast.datagram import Address, Family, Interface
from bcast.errors import InterfaceError

if TYPE_CHECKING:
    from bcast.receiver import Receiver

__all__ = ["app"]

app = typer.Typer(add_completion=False)

_HOSTS = {"lamp": "127.0.0.2", "plug": "127.0.0.3", "camera": "127.0.0.4"}
_WAYS = ("239.255.110.72", "all-hosts", "subnet")
# Loopback delivers at once; this is for a machine that is busy with something else.
_PATIENCE = 5.0


@app.command(epilog="Examples:\n\nbcast demo")
def demo(as_json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Send and receive real datagrams on this machine alone: no network, no privileges."""
    from bcast.interfaces import list_interfaces, select
    from bcast.receiver import Receiver
    from bcast.sender import Sender

    output = Output(as_json=as_json, quiet=quiet, verbose=verbose)
    loopback = select(list_interfaces(), "loopback").chosen[0]
    if not loopback.addresses_of(Family.IPV4):
        raise InterfaceError(f"{loopback.name} has no IPv4 address", "add 127.0.0.1/8 to it")
    port = _free_port()
    expected = {}
    output.remark(f"three hosts on {loopback.name} send to a group and by broadcast, port {port}:")
    with Receiver(loopback.name, port=port, family=Family.IPV4) as receiver:
        for name, address in _HOSTS.items():
            host = _host(loopback, address)
            with Sender(loopback.name, family=4, list_interfaces=_only(host)) as sender:
                for way in _WAYS:
                    payload = f"{name} says hello to {way}".encode()
                    results = sender.send(payload, to=way, port=port)
                    results.raise_if_none()
                    expected[payload] = results.sent[0].source
        missing = _show_arrivals(output, receiver, dict(expected))
    came = len(expected) - len(missing)
    line = f"{came} of {len(expected)} datagrams came back"
    output.event(line, {"event": "summary", "datagrams": came, "missing": len(missing)})
    if missing:
        raise typer.Exit(1)


def _show_arrivals(
    output: Output, receiver: "Receiver", missing: dict[bytes, object]
) -> set[bytes]:
    """Shows what arrives until nothing is missing, or too long; returns what is."""
    shape = JsonFormat() if output.as_json else TextFormat()
    end = monotonic() + _PATIENCE
    while missing and monotonic() < end:
        for batch in receiver.read(end - monotonic()):
            output.write(shape.batch(batch))
            for datagram in batch.datagrams():
                if missing.get(datagram.payload) == datagram.source:
                    del missing[datagram.payload]
    return set(missing)


def _host(loopback: Interface, address: str) -> Interface:
    """The loopback interface as a host of its own; only Linux has all of 127.0.0.0/8 there."""
    if sys.platform != "linux":
        return loopback
    return replace(loopback, addresses=(Address(IPv4Address(address), 8),))


def _only(host: Interface) -> Callable[[], tuple[Interface, ...]]:
    return lambda: (host,)


def _free_port() -> int:
    """A port that nobody has now, so that two demos don't see each other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
