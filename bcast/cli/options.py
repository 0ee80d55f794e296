"""Options that commands share, so that they are spelt and explained the same everywhere."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from bcast.datagram import Family
from bcast.errors import ArgumentError

if TYPE_CHECKING:
    from bcast.wire.keys import Keyring

__all__ = [
    "Exclude",
    "IPv4Only",
    "IPv6Only",
    "Interfaces",
    "Json",
    "KeyFile",
    "NoMerge",
    "Port",
    "Protocols",
    "Quiet",
    "Realm",
    "Verbose",
    "check_seconds",
    "family_of",
    "is_given",
    "keyring_of",
]

# Seconds that are waited for at most: a day.
_LONGEST = 86_400.0

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
Realm = Annotated[
    str,
    typer.Option(
        "--realm",
        metavar="NAME",
        envvar="BCAST_REALM",
        help="Only peers of this realm.",
        show_default=False,
    ),
]
KeyFile = Annotated[
    str | None,
    typer.Option(
        "--key-file",
        metavar="FILE",
        envvar="BCAST_KEY_FILE",
        help="The keys that peers share.",
        show_default=False,
    ),
]
Protocols = Annotated[
    list[str] | None,
    typer.Option(
        "--protocol",
        metavar="NAME",
        help="Only by this protocol, or that of ./FILE.toml; repeatable. See bcast protocols.",
        show_default=False,
    ),
]
NoMerge = Annotated[
    bool,
    typer.Option("--no-merge", help="A row for each protocol, even of one device."),
]
Json = Annotated[bool, typer.Option("--json", help="JSON Lines on standard output.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Results only.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")]


def check_seconds(seconds: float | None, option: str) -> None:
    """Raises `ArgumentError` unless so many seconds can be waited for: 0 to those of a day."""
    if seconds is not None and not 0 <= seconds <= _LONGEST:
        raise ArgumentError(f"{option} {seconds:g} can't be", "use 0 to 86400 seconds (a day)")


def family_of(four: bool, six: bool) -> Family | None:
    """The family that ``-4`` and ``-6`` limit to; None for both or neither of them."""
    if four and six:
        raise ArgumentError("-4 and -6 exclude each other", "leave both out for both families")
    return Family.IPV4 if four else Family.IPV6 if six else None


def is_given(context: typer.Context, name: str) -> bool:
    """Whether an option was written on the command line, not in the environment."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def keyring_of(key_file: str | None, warn: Callable[[str], None]) -> "Keyring | None":
    """The keys of ``--key-file``, if there is one; ``warn`` hears what is wrong with the file."""
    if key_file is None:
        return None
    from bcast.wire.keys import read_key_file

    keyring, warning = read_key_file(key_file)
    if warning:
        warn(warning)
    return keyring
