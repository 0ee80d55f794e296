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
    #: It answers in the name of a peer that is somewhere else, or of another start.
    CLAIM = "claim"
    #: It is of a start of the peer that is over.
    EPOCH = "epoch"
    #: Another peer has our id.
    FOREIGN_ID = "foreign-id"
    #: There is no room for another peer.
    FULL = "full"
    #: It came by an interface that the machine doesn't know (any more).
    INTERFACE = "interface"
    #: There is a keyring, and no key of it made the tag.
    KEY = "key"
    #: It is no message of the protocols that are spoken there.
    MISFIT = "misfit"
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
    #: It has been heard before, or is much older than what was heard.
    REPLAY = "replay"
    #: It is from before the peer went.
    STALE = "stale"
    #: The prober has asked again meanwhile.
    SUPERSEDED = "superseded"
    #: It didn't arrive with TTL 255, so a router passed it on.
    TTL = "ttl"
    #: It is an answer, and there was no question.
    UNASKED = "unasked"
    #: It named a peer that didn't answer when it was asked, or that there was no room to ask.
    UNPROVEN = "unproven"
