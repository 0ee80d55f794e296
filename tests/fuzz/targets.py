"""What must hold for any bytes that arrive, as functions that fail if it doesn't."""

from __future__ import annotations

from collections.abc import Callable

from bcast.errors import DecodeError
from bcast.messages import Message
from bcast.wire import MAX_DATAGRAM, Decoder, Reason, decode, encode
from tests.fuzz.machines import run_script

__all__ = ["TARGETS", "check_decode"]


def check_decode(payload: bytes) -> Message | None:
    """Bytes are a message that can be sent on, or are rejected with one of the reasons.

    Returns the message, None if there is none.
    """
    try:
        message = decode(payload)
    except DecodeError as error:
        reason, sentence = error.reason, str(error)
        message = None
    if message is None:
        assert reason in tuple(Reason)
        assert sentence.isascii(), "nothing of the peer's is repeated"
        assert sentence.isprintable()
        return None
    # The encoder names the key that it is given, and was given none.
    untagged = message._replace(header=message.header._replace(key_id=0))
    again = encode(message)
    assert len(again) <= MAX_DATAGRAM
    assert decode(again) == untagged
    assert encode(untagged) == again
    # What the services hold wasn't checked again when they were made.
    for service in getattr(message, "services", ()):
        assert type(service)(*service.__dict__.values()) == service
    assert Decoder().decode(payload) == message
    return message


#: By the name on the command line.
TARGETS: dict[str, Callable[[bytes], object]] = {
    "decode": check_decode,
    "machines": run_script,
}
