"""The CloudEvents extension attributes `traceparent` and `tracestate`, which the worker carries on into what an event
causes.

Sources: W3C Trace Context, sections 3.2 and 3.3; CloudEvents' Distributed Tracing extension. An invalid value is
ignored, as W3C demands, and the event is accepted without it.
"""

import re
from typing import NamedTuple

TRACE_ATTRIBUTES = frozenset({"traceparent", "tracestate"})

TRACEPARENT_PATTERN = "^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$"
TRACEPARENT_LENGTH = 55
"""Of a value that is written: version 00."""

TRACESTATE_LENGTH_MAX = 512
"""What W3C has every system propagate. A longer value is left out, since receivers may drop it anyway."""

_MEMBERS_MAX = 32
_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_KEY = r"[a-z0-9][_0-9a-z\-*/@]{0,255}"
_VALUE = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_MEMBER = re.compile(rf"({_KEY})={_VALUE}")


class TraceContext(NamedTuple):
    """Both values as they are written; `tracestate` is None where there is none that is valid."""

    traceparent: str
    tracestate: str | None = None


def trace_context(traceparent: object, tracestate: object) -> TraceContext | None:
    """The trace context of an event's attributes; None: there is none that is valid. Never raises.

    A traceparent of a later version than 00 is written as version 00, as far as that version knows its fields.
    """
    if not isinstance(traceparent, str) or (found := _TRACEPARENT.fullmatch(traceparent)) is None:
        return None
    version, trace_id, parent_id, flags, more = found.groups()
    if version == "00":
        return None if more is not None else TraceContext(traceparent, _valid_tracestate(tracestate))
    known_flags = int(flags, 16) & 1
    return TraceContext(f"00-{trace_id}-{parent_id}-{known_flags:02x}", _valid_tracestate(tracestate))


def _valid_tracestate(value: object) -> str | None:
    """The value itself, or None. A list of `key=value`; blank members are allowed, a key may stand in it once."""
    if not isinstance(value, str) or not 0 < len(value) <= TRACESTATE_LENGTH_MAX:
        return None
    members = [member for part in value.split(",") if (member := part.strip(" \t"))]
    found = [_MEMBER.fullmatch(member) for member in members]
    keys = [match[1] for match in found if match is not None]
    return value if len(keys) == len(set(keys)) == len(found) and 0 < len(keys) <= _MEMBERS_MAX else None
