"""Options that commands share, so that they are spelt and explained the same everywhere."""

from typing import Annotated

import typer

from bcast.datagram import Family
from bcast.errors import ArgumentError

__all__ = [
    "Exclude",
    "IPv4Only",
    "IPv6Only",
    "Interfaces",
    "Json",
    "Port",
    "Quiet",
    "Verbose",
    "family_of",
]

Interfaces = Annotated[
    list[str] | None,
    typer.Option(
        "-i",
        "--interface",
        metavar="EXPR",
        envvar="BCAST_INTERFACE",
        help="Name, glob, index, address, network, kind or 'all' (default: all usable).",
        show_default=False,
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option("-x", "--exclude", metavar="EXPR", help="Not these.", show_default=False),
]
IPv4Only = Annotated[bool, typer.Option("-4", help="IPv4 only.")]
IPv6Only = Annotated[bool, typer.Option("-6", help="IPv6 only.")]
Port = Annotated[int, typer.Option("-p", "--port", help="UDP port.")]
Json = Annotated[bool, typer.Option("--json", help="JSON Lines on standard output.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Results only.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")]


def family_of(four: bool, six: bool) -> Family | None:
    """The family that ``-4`` and ``-6`` limit to; None for both or neither of them."""
    if four and six:
        raise ArgumentError("-4 and -6 exclude each other", "leave both out for both families")
    return Family.IPV4 if four else Family.IPV6 if six else None
