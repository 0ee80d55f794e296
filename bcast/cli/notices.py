"""What happens to interfaces while a command works on them, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bcast.cli.output import Output, interface_object

if TYPE_CHECKING:
    from bcast.channels import Notice

__all__ = ["tell"]


def tell(output: Output, notice: Notice) -> None:
    """Says it: an interface came, changed, went, failed, or works again."""
    from bcast.channels import InterfaceFailed, InterfaceReady
    from bcast.interfaces import InterfaceAdded, InterfaceRemoved

    if isinstance(notice, InterfaceFailed):
        event = {
            "event": "failed",
            "interface": notice.interface.name,
            "error": notice.error.error,
            "advice": str(notice.error),
        }
        output.event(notice.sentence, event)
        return
    if isinstance(notice, InterfaceReady):
        name = notice.interface.name
        output.event(notice.sentence, {"event": "ready", "interface": name, "port": notice.port})
        return
    kinds = {InterfaceAdded: "added", InterfaceRemoved: "removed"}
    change = kinds.get(type(notice), "changed")
    output.event(notice.sentence, interface_object(notice.interface, change))
