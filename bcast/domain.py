"""Where and with whom native peers meet. Layer 2."""

from __future__ import annotations

from bcast.datagram import Group
from bcast.destinations import DEFAULT_GROUPS, DEFAULT_PORT, check_port
from bcast.errors import ArgumentError
from bcast.values import Value
from bcast.wire.hashes import realm_hash
from bcast.wire.keys import Keyring

__all__ = ["MAX_REALM", "Domain"]

#: Bytes of UTF-8 in the name of a realm.
MAX_REALM = 255


class Domain(Value):
    """Where and with whom native peers meet: peers of different domains don't see each other.

    ``realm``: a name of at most 255 bytes of UTF-8, "" = none. It keeps parallel runs and fleets
    apart, and is no security; a ``keyring`` is. ``port``: 1..65535. ``groups``: where probes and
    announcements go, at most one of each family. ``broadcast``: to the broadcast addresses too,
    from the first round on. Raises `ArgumentError`.
    """

    realm: str = ""
    port: int = DEFAULT_PORT
    groups: tuple[Group, ...] = DEFAULT_GROUPS
    keyring: Keyring | None = None
    broadcast: bool = False

    def __init__(
        self,
        realm: str = "",
        port: int = DEFAULT_PORT,
        groups: tuple[Group, ...] = DEFAULT_GROUPS,
        keyring: Keyring | None = None,
        broadcast: bool = False,
    ) -> None:
        try:
            size = len(realm.encode())
        except UnicodeEncodeError as error:
            raise ArgumentError(f"the realm {realm!r} is not text", "use valid UTF-8") from error
        if size > MAX_REALM:
            raise ArgumentError(
                f"the realm has {size} bytes of UTF-8", f"it must have 1 to {MAX_REALM}"
            )
        check_port(port)
        for group in groups:
            if not group.address.is_multicast:
                raise ArgumentError(
                    f"{group.address} is not a group", "use one like 239.1.2.3 or ff12::1234"
                )
            if group.source is not None:
                raise ArgumentError(
                    f"{group} takes datagrams from one host only",
                    "use a group that all peers can send to",
                )
        if len({group.family for group in groups}) < len(groups):
            raise ArgumentError("two groups are of one family", "use at most one of each family")
        if not groups and not broadcast:
            raise ArgumentError("peers need a place to meet", "use a group, or broadcast")
        super().__init__(realm, port, tuple(groups), keyring, broadcast)

    @property
    def realm_hash(self) -> int:
        """What stands for the realm in headers: 1..65535, 0 = none."""
        return realm_hash(self.realm)
