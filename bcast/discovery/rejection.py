"""Why a machine doesn't act upon a message that it could decode."""

from __future__ import annotations

import enum

__all__ = ["Rejection"]


class Rejection(enum.StrEnum):
    """What is counted, and shown in statistics, by these names, beside `bcast.wire.Reason`."""

    #: An access point held it back, and released it together with an older probe.
    BUNCHED = "bunched"
    #: Too many answers wait for their time.
    BUSY = "busy"
    #: Another peer has our id.
    FOREIGN_ID = "foreign-id"
    #: It came by an interface that the machine doesn't know (any more).
    INTERFACE = "interface"
    #: There is a keyring, and no key of it made the tag.
    KEY = "key"
    #: What is meant for one peer went to a group, or to a broadcast address.
    NOT_UNICAST = "not-unicast"
    #: It came from no host on the link.
    OFF_LINK = "off-link"
    #: It is our own, looped back.
    OWN = "own"
    #: Its source, or all of them together, ask too much.
    RATE = "rate"
    #: It is of another realm.
    REALM = "realm"
    #: It was answered before.
    REPEATED = "repeated"
    #: The prober has asked again meanwhile.
    SUPERSEDED = "superseded"
    #: It didn't arrive with TTL 255, so a router passed it on.
    TTL = "ttl"
    #: It is an answer, and there was no question.
    UNASKED = "unasked"
