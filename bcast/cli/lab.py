"""``bcast lab``."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, NoReturn

import typer

from bcast.cli.options import Json, Quiet, Verbose, is_given
from bcast.cli.output import Output
from bcast.errors import ArgumentError, LabError
from bcast.lab import Host, Lab
from bcast.lab.faults import check_chance
from bcast.lab.system import entrance

__all__ = ["app"]

app = typer.Typer(add_completion=False)

# What commands in a lab find in their environment: the hosts as NAME=PID,NAME=PID and as
# NAME=ADDRESS,NAME=ADDRESS, and the one that they run on.
_HOSTS = "BCAST_LAB"
_ADDRESSES = "BCAST_LAB_ADDRESSES"
_HERE = "BCAST_LAB_HOST"

# Becomes a command at the head of the terminal's foreground.
_LEAD = """
import os, signal, sys
os.setpgid(0, 0)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
os.tcsetpgrp(0, os.getpgrp())
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTTOU})
os.execvp(sys.argv[1], sys.argv[1:])
"""

# What a /24 has addresses for, and as many interfaces as one would want to look at.
_MOST_HOSTS = 200
_MOST_NETWORKS = 16


@app.command(
    context_settings={"allow_interspersed_args": False},
    epilog="Examples:"
    "\n\nbcast lab"
    "\n\nbcast lab --hosts 2 --loss 0.1 -- ./test.sh"
    "\n\nIn it: bcast lab --on h2 bcast announce lamp-1 _lamp -p 80 &",
)
def lab(
    context: typer.Context,
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[-- COMMAND...]", help="What to run; a shell.", show_default=False
        ),
    ] = None,
    hosts: Annotated[int, typer.Option("--hosts", metavar="N", help="So many: h1, h2, ...")] = 3,
    networks: Annotated[
        int,
        typer.Option("--networks", metavar="N", help="h1 is on all, the others on one each."),
    ] = 1,
    loss: Annotated[
        float, typer.Option("--loss", metavar="P", help="Chance that a receiver misses one.")
    ] = 0.0,
    snooping: Annotated[
        bool, typer.Option("--snooping", help="Forward groups to their members alone.")
    ] = False,
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            metavar="HOST",
            help="Inside a lab: run COMMAND on another of its hosts.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run a command, or a shell, on a host of a LAN of its own, without root.

    The command may do anything to that LAN (a Linux kernel's own, of namespaces), and its exit
    status is ours. When it ends, all that runs there is killed, and nothing is left.
    """
    arguments = command or _shell()
    if on is not None:
        for option in ("hosts", "networks", "loss", "snooping"):
            if is_given(context, option):
                raise ArgumentError(
                    f"--on and --{option} exclude each other", "--on is for a lab that is there"
                )
        _enter(on, arguments)
    _check_count("--hosts", hosts, _MOST_HOSTS)
    _check_count("--networks", networks, _MOST_NETWORKS)
    check_chance("--loss", loss)
    output = Output(as_json=as_json, quiet=quiet, verbose=verbose)
    with _opened() as opened:
        _build(opened, hosts, networks, loss, snooping)
        environment = _environment(opened)
        _show(output, opened, environment)
        with _lent_terminal():
            status = opened.hosts[0].attach(arguments, env=environment, capable=True)
    raise typer.Exit(status if status >= 0 else 128 - status)


def _shell() -> list[str]:
    """The user's shell; on a terminal as the leader of a process group, in the foreground.

    It is one in its process namespace, so that it knows what to give the terminal back to when
    it ends: our own process group is none that it could name.
    """
    from shutil import which

    shell = os.environ.get("SHELL") or "/bin/sh"
    if which(shell) is None:
        raise LabError(f"there is no shell {shell}", "name another one in SHELL")
    return [sys.executable, "-ISc", _LEAD, shell] if sys.stdin.isatty() else [shell]


def _check_count(option: str, count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise ArgumentError(f"{option} {count} can't be", f"use 1 to {most}")


@contextmanager
def _opened() -> Iterator[Lab]:
    """A lab of the kind that can be had: only root can do without user namespaces."""
    made = Lab()
    try:
        made.open()
    except LabError:
        if sys.platform == "win32" or os.geteuid() != 0:
            raise
        made = Lab(privileged=True)
        made.open()
    try:
        yield made
    finally:
        made.close()


def _build(made: Lab, hosts: int, networks: int, loss: float, snooping: bool) -> None:
    segments = [
        made.segment(f"n{number + 1}", loss=loss, snooping=snooping) for number in range(networks)
    ]
    for number in range(hosts):
        host = made.host(f"h{number + 1}")
        for segment in segments if number == 0 else [segments[(number - 1) % networks]]:
            host.connect(segment)


def _environment(made: Lab) -> dict[str, str]:
    return {
        _HOSTS: ",".join(f"{host.name}={host.pid}" for host in made.hosts),
        _ADDRESSES: ",".join(f"{host.name}={host.links[0].address()}" for host in made.hosts),
        _HERE: made.hosts[0].name,
    }


def _show(output: Output, made: Lab, environment: dict[str, str]) -> None:
    """Says which hosts there are and how they are reached."""
    for host in made.hosts:
        links = ", ".join(f"{link.name} {link.address()}" for link in host.links)
        reached = "here" if host is made.hosts[0] else f"bcast lab --on {host.name} COMMAND"
        if output.as_json:
            output.result("", _host_object(host))
        else:
            output.remark(f"{host.name:<4}  {reached:<27}  {links}")
    if made.privileged:
        output.remark("user namespaces are refused here: commands have root's capabilities")
    if not output.as_json:
        output.remark(f"from another terminal: export {_HOSTS}={environment[_HOSTS]}")


def _host_object(host: Host) -> dict[str, object]:
    links = [
        {
            "interface": link.name,
            "index": link.index,
            "segment": link.segment.name if link.segment else None,
            "addresses": [str(address.address) for address in link.interface.addresses],
        }
        for link in host.links
    ]
    return {"event": "host", "name": host.name, "pid": host.pid, "links": links}


@contextmanager
def _lent_terminal() -> Iterator[None]:
    """Leaves the terminal, and Ctrl-C with it, to the command for a block.

    Where there is no terminal, whoever sends SIGINT means us; the command is ended then.
    """
    if sys.platform == "win32" or not sys.stdin.isatty():
        yield
        return
    terminal, ours = sys.stdin.fileno(), os.getpgrp()
    in_front = _foreground(terminal) == ours
    # A function, because the command would inherit that a signal is ignored.
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        # A shell took the terminal for its jobs, and from within its process namespace there
        # is no way to give it back: it can't see our process group.
        if in_front and _foreground(terminal) != ours:
            # Whoever isn't in the foreground is stopped for this, unless the signal is blocked.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
            try:
                os.tcsetpgrp(terminal, ours)
            except OSError:
                pass  # the terminal is gone
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTTOU})


def _foreground(terminal: int) -> int | None:
    """The process group that a terminal belongs to now; None if it isn't ours to ask."""
    if sys.platform == "win32":
        return None
    try:
        return os.tcgetpgrp(terminal)
    except OSError:
        return None


def _enter(name: str, arguments: list[str]) -> NoReturn:
    """Becomes a command on another host of the lab that we are in."""
    listed = os.environ.get(_HOSTS, "")
    pids = {host: pid for host, _, pid in (one.partition("=") for one in listed.split(","))}
    if not listed:
        raise ArgumentError(
            "--on is for use inside a lab", "start one with bcast lab, and use it there"
        )
    if name not in pids or not pids[name].isdecimal():
        raise ArgumentError(f"the lab has no host {name}", f"there are {', '.join(pids)}")
    enter = entrance(int(pids[name]))
    from shutil import which

    if which(arguments[0]) is None:
        raise LabError(f"on {name} there is no command '{arguments[0]}'")
    sys.stdout.flush()
    os.execve(enter[0], [*enter, *arguments], {**os.environ, _HERE: name})
