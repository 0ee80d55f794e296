"""What a segment does to datagrams: loss and partitions, as rules for the kernel's own filter.

With nft (nftables) each receiver loses independently, and hosts can be kept apart; where nft
can't be had, tc's netem loses. In both what is lost is lost on the way from the bridge to the
receiver, so that the sender hears its own copy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import permutations

from bcast.errors import ArgumentError

__all__ = ["check_chance", "netem", "ruleset"]

# Chances are counted in millionths, and the smallest one isn't none.
_SCALE = 1_000_000
_TABLE = "bridge faults"


def check_chance(what: str, chance: float) -> None:
    """Raises `ArgumentError` unless ``chance`` is within 0..1."""
    if not 0 <= chance <= 1:
        raise ArgumentError(f"{chance} is no chance ({what})", "use 0 (never) to 1 (always)")


def ruleset(loss: float, losses: Mapping[str, float], sides: Sequence[Collection[str]]) -> str:
    """Input of nft that replaces all faults of a segment by these.

    ``loss``: of every receiver; ``losses``: a port's own, besides; ``sides``: the ports of each
    side of a partition. ARP and neighbour discovery aren't lost, because that would hold what
    comes after back for a second, which is another fault; they don't cross a partition.
    """
    lines = [f"add table {_TABLE}", f"delete table {_TABLE}"]
    rules = [*_apart(sides), *_lossy(loss, losses)]
    if rules:
        lines += [
            f"table {_TABLE} {{",
            "chain forward {",
            "type filter hook forward priority 0; policy accept;",
            *rules,
            "}",
            "}",
        ]
    return "\n".join(lines) + "\n"


def _apart(sides: Sequence[Collection[str]]) -> Iterator[str]:
    for here, there in permutations([side for side in sides if side], 2):
        yield f"iifname {_set(here)} oifname {_set(there)} drop"


def _lossy(loss: float, losses: Mapping[str, float]) -> Iterator[str]:
    ports: dict[float, list[str]] = {}
    for port, chance in losses.items():
        if chance:
            ports.setdefault(chance, []).append(port)
    if not loss and not ports:
        return
    yield "ether type arp accept"
    yield (
        "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit,"
        " nd-neighbor-advert } accept"
    )
    if loss:
        yield f"{_chance(loss)}drop"
    for chance, names in ports.items():
        yield f"oifname {_set(names)} {_chance(chance)}drop"


def _chance(chance: float) -> str:
    lost = max(1, round(chance * _SCALE))
    return "" if lost >= _SCALE else f"numgen random mod {_SCALE} < {lost} "


def _set(ports: Collection[str]) -> str:
    return "{ " + ", ".join(f'"{port}"' for port in sorted(ports)) + " }"


def netem(loss: float, losses: Mapping[str, float]) -> list[list[str]]:
    """Arguments of tc, once for each port, that make the ports lose as `ruleset` does.

    Without its exceptions: ARP and neighbour discovery are lost too.
    """
    calls = []
    for port, own in losses.items():
        both = 1 - (1 - loss) * (1 - own)
        discipline = ["netem", "loss", f"{100 * both:.4f}%"] if both else ["pfifo"]
        calls.append(["qdisc", "replace", "dev", port, "root", *discipline])
    return calls
