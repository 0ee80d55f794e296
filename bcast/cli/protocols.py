"""``bcast protocols``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bcast.cli.options import Json, Quiet, Verbose
from bcast.cli.output import Output
from bcast.cli.show import sanitize
from bcast.destinations import DEFAULT_GROUPS, DEFAULT_PORT, MDNS, NATIVE
from bcast.errors import ArgumentError, BcastError

if TYPE_CHECKING:
    from bcast.accessory.description import Description
    from bcast.accessory.forms import Form
    from bcast.accessory.mistakes import DescriptionError

__all__ = ["app"]

#: What isn't described but spoken: name, port, group, title. Of mDNS see RFC 6762, section 3.
_SPOKEN = (
    (NATIVE, DEFAULT_PORT, str(DEFAULT_GROUPS[0].address), "bcast's own protocol"),
    (MDNS, 5353, "224.0.0.251", "services of mDNS and DNS-SD"),
)

app = typer.Typer(add_completion=False)

_DESTINATIONS = {
    "all-hosts": "to 255.255.255.255",
    "subnet": "to each subnet's broadcast address",
    "both": "to all hosts and each subnet's broadcast address",
    "group": "to the group",
    "device": "to each device that was found",
    "source": "to whoever asked",
    "broadcast": "to the broadcast address",
    "payload": "to the address in the probe",
}


@app.command(
    epilog="Examples:"
    "\n\nbcast protocols"
    "\n\nbcast protocols kasa"
    "\n\nbcast protocols ./mine.toml --check"
    "\n\nbcast protocols --draft search.pcapng > mine.toml"
)
def protocols(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME_OR_FILE]...", help="Only these, in detail."),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Report all mistakes, and replay the samples."),
    ] = False,
    draft: Annotated[
        str | None,
        typer.Option(
            "--draft",
            metavar="CAPTURE_OR_HEX",
            help="Make a first description from a capture, or from datagrams in hex.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List the protocols of foreign accessories: how they are found and impersonated."""
    if draft is not None:
        _draft(draft, names or check or as_json)
        return
    from bcast.accessory.catalogue import load_named
    from bcast.accessory.catalogue import names as known

    output = Output(as_json=as_json, quiet=quiet, verbose=verbose)
    if check:
        checked = [_check(output, name) for name in names or known()]
        raise typer.Exit(0 if all(checked) else 1)
    if names:
        for position, name in enumerate(names):
            if name in (NATIVE, MDNS):
                raise ArgumentError(
                    f"{name} is spoken by bcast and has no description",
                    "see bcast discover --help, and docs/protocol.md or docs/accessories.md",
                )
            description = load_named(name)
            if as_json:
                output.result("", _object(description))
            else:
                lines = _details(description, name)
                output.write("\n" * bool(position) + "".join(f"{sanitize(n)}\n" for n in lines))
        return
    found = []
    for name in known():
        try:
            found.append(load_named(name))
        except BcastError as error:
            # One that is broken hides no other.
            output.remark(str(error))
    if as_json:
        for name, port, group, title in _SPOKEN:
            output.result("", _spoken_object(name, port, group, title))
        for description in found:
            output.result("", _object(description))
    else:
        output.write("".join(f"{sanitize(line)}\n" for line in _table(found)))


def _draft(source: str, more: object) -> None:
    from bcast.cli.drafting import draft_of

    if more:
        raise ArgumentError("--draft stands alone", "check what it makes once you have edited it")
    sys.stdout.write(draft_of(source))


# --- check


def _check(output: Output, name: str) -> bool:
    """Reports what is wrong with one, and returns whether nothing is."""
    from bcast.accessory.catalogue import check_named
    from bcast.accessory.mistakes import DescriptionError

    try:
        description = check_named(name)
    except DescriptionError as error:
        _report(output, name, error)
        return False
    count = len(description.samples)
    needs = f"; but not tried out: {description.needs}" if description.needs else ""
    samples = f"{count} sample{'s' * (count != 1)} replayed" if count else "it has no samples"
    if needs:
        samples = f"{count} sample{'s' * (count != 1)}"
    output.result(
        f"{description.path}: right; {samples}{needs}",
        {
            "event": "checked",
            "name": description.name,
            "file": description.path,
            "samples": count,
            "needs": description.needs,
            "mistakes": [],
        },
    )
    return True


def _report(output: Output, name: str, error: "DescriptionError") -> None:
    if output.as_json:
        mistakes = [
            {"line": m.line, "table": m.table, "message": m.message} for m in error.mistakes
        ]
        file = error.mistakes[0].file
        output.result("", {"event": "checked", "name": name, "file": file, "mistakes": mistakes})
        return
    for mistake in error.mistakes:
        output.result(str(mistake), {})


# --- the list


def _table(found: "list[Description]") -> list[str]:
    rows = [("NAME", "PORT", "GROUP", "FOUND BY", "TITLE")]
    needs = {name: _needs(name) for name, *_ in _SPOKEN}
    rows += [
        (name, str(port), group, "probe, presence", title + (" (!)" if needs[name] else ""))
        for name, port, group, title in _SPOKEN
    ]
    rows += [
        (d.name, str(d.port), d.group or "-", _ways(d), d.title + (" (!)" if d.needs else ""))
        for d in found
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(4)] + [0]
    lines = [
        "  ".join(v.ljust(w) for v, w in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    needs |= {d.name: d.needs for d in found}
    return lines + [f"(!) {name}: {needed}" for name, needed in needs.items() if needed]


def _needs(name: str) -> str:
    """What this installation lacks for a protocol that isn't described."""
    from bcast.sweep import check_mdns

    try:
        if name == MDNS:
            check_mdns()
    except ArgumentError as error:
        return str(error)
    return ""


def _ways(description: "Description") -> str:
    ways = []
    if any(form.role == "probe" for form in description.messages):
        ways.append("probe")
    if any(form.role == "announcement" for form in description.messages):
        ways.append("presence")
    return ", ".join(ways)


# --- one in detail


def _details(description: "Description", name: str) -> list[str]:
    group = f", group {description.group}" if description.group else ""
    lines = [
        f"{description.name}: {description.title}",
        f"  port {description.port}{group}; {Path(description.path)}",
    ]
    if description.needs:
        lines.append(f"  {description.needs}")
    headings = {
        "probe": "asks:",
        "reply": "is answered:",
        "announcement": "hears unasked:",
        "goodbye": "hears goodbye:",
    }
    for role, heading in headings.items():
        forms = [form for form in description.messages if form.role == role]
        if forms:
            lines.append(f"  {heading}")
            lines += [f"    {form.name}: {_sentence(description, form)}" for form in forms]
    told = _told(description)
    lines.append(f"  a device tells: {', '.join(told) or 'nothing but that it is there'}")
    if description.identified:
        lines.append("  it is known by its id")
    else:
        lines.append("  it is known by its address")
    sent = [form.name for form in description.messages if form.role != "probe" and form.sent]
    lines.append(
        f"  impersonated by: {', '.join(sent)} (bcast impersonate {name})"
        if sent
        else "  can't be impersonated: none of its messages is sent"
    )
    return lines


def _sentence(description: "Description", form: "Form") -> str:
    parts = [_DESTINATIONS[form.to.kind]]
    ports = form.ports if form.role != "reply" else (form.to.port,) if form.to.port else ()
    if ports:
        parts.append(f"port {' and '.join(map(str, ports))}")
    if form.source_port:
        parts.append(f"only from port {form.source_port}")
    if form.prefer:
        parts.append(f"from port {form.prefer} if it is free")
    if form.repeat[0] > 1:
        parts.append(f"{form.repeat[0]} times, {form.repeat[1]:g} s apart")
    if form.after:
        parts.append(f"after {form.after}")
    if form.answers:
        parts.append(f"after {' or '.join(form.answers)}")
    if any(limit != 0.0 for limit in form.delay):
        low, high = (f"{x:g}" if isinstance(x, float) else f"its {x}" for x in form.delay)
        parts.append(f"within {low} to {high} s")
    if isinstance(form.every, float):
        parts.append(f"every {form.every:g} s")
    if form.means:
        parts.append(f"means {form.means}")
    if not form.sent:
        parts.append("never sent by bcast")
    return ", ".join(parts)


def _told(description: "Description") -> list[str]:
    """The names of what a device tells about itself."""
    told: dict[str, None] = {}
    for form in description.messages:
        if form.role in ("reply", "announcement"):
            told.update(dict.fromkeys(hole.name for hole in form.template.holes))
    return [name for name in told if name and name != "*" and not name.startswith("_")]


def _spoken_object(name: str, port: int, group: str, title: str) -> dict[str, Any]:
    return {
        "event": "protocol",
        "name": name,
        "title": title,
        "port": port,
        "ports": [port],
        "group": group,
        "file": None,
        "needs": _needs(name),
        "identified": True,
        "tells": [],
        "messages": [],
    }


def _object(description: "Description") -> dict[str, Any]:
    return {
        "event": "protocol",
        "name": description.name,
        "title": description.title,
        "port": description.port,
        "ports": sorted(description.hears),
        "group": description.group or None,
        "file": description.path,
        "needs": description.needs,
        "identified": description.identified,
        "tells": _told(description),
        "messages": [
            {
                "role": form.role,
                "name": form.name,
                "to": form.to.kind,
                "ports": list(form.ports) or ([form.to.port] if form.to.port else []),
                "from": form.source_port or None,
                "prefer": form.prefer or None,
                "times": form.repeat[0],
                "gap": form.repeat[1],
                "after": form.after or None,
                "answers": list(form.answers),
                "sent": form.sent,
            }
            for form in description.messages
        ],
    }
