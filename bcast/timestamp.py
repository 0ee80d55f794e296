"""Times as text: RFC 3339 in UTC with nanoseconds."""

from __future__ import annotations

from time import gmtime, strftime

__all__ = ["rfc3339"]

_SECOND = 1_000_000_000


def rfc3339(time_ns: int) -> str:
    """``"2026-11-23T04:48:14.000000001Z"`` for nanoseconds since 1970 UTC (RFC 3339, 5.6)."""
    seconds, rest = divmod(time_ns, _SECOND)
    return f"{strftime('%Y-%m-%dT%H:%M:%S', gmtime(seconds))}.{rest:09d}Z"
