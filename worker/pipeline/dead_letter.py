"""Dead letters: the record with headers for the reason of its rejection, and shorter forms of it.

Source: docs/contract.md, section "Dead letters". A broker may refuse a record as too large, and no record may block its
partition for that. The first shorter form omits the value, the next the headers, the last the key too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from schemas.record import Headers, Record
from worker.ports import OutgoingRecord

REASON_HEADERS = tuple(
    f"rudder-{name}"
    for name in ("id", "reason", "detail", "topic", "partition", "offset", "timestamp", "attempts", "worker")
)
"""The headers that a dead letter adds after the record's own, in this order."""

VALUE_OMITTED, VALUE_SHA256 = "rudder-value-omitted", "rudder-value-sha256"
KEY_OMITTED, HEADERS_OMITTED = "rudder-key-omitted", "rudder-headers-omitted"
OMISSION_HEADERS = (VALUE_OMITTED, VALUE_SHA256, KEY_OMITTED, HEADERS_OMITTED)
"""The headers that a shorter form adds after these: the length of the value, its SHA-256 in hexadecimal, the length of
the key, the number of headers. Lengths are in bytes."""

_KEY_BYTES_MAX = 1_024
_DETAIL_CHARS_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The parts of the record in one form of its dead letter, and the headers for the omitted parts."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    omissions: Headers = ()


def contents_of(record: Record) -> tuple[Content, ...]:
    """The forms of the record's dead letter, from complete to shortest."""
    forms = [Content(key=record.key, value=record.value, headers=record.headers)]
    omissions: Headers = ()
    if record.value is not None:
        digest = sha256(record.value).hexdigest().encode()
        omissions = ((VALUE_OMITTED, b"%d" % len(record.value)), (VALUE_SHA256, digest))
        forms.append(Content(key=record.key, value=None, headers=record.headers, omissions=omissions))
    without_headers = ((HEADERS_OMITTED, b"%d" % len(record.headers)),)
    if record.key is None or len(record.key) <= _KEY_BYTES_MAX:
        forms.append(Content(key=record.key, value=None, headers=(), omissions=(*omissions, *without_headers)))
    if record.key is not None:
        without_key = (*omissions, (KEY_OMITTED, b"%d" % len(record.key)), *without_headers)
        forms.append(Content(key=None, value=None, headers=(), omissions=without_key))
    return tuple(forms)


def dead_letter(record: Record, reasons: Mapping[str, str], *, topic: str) -> OutgoingRecord:
    """The complete dead letter of a record. `reasons`: the values of REASON_HEADERS, in order."""
    headers = (*record.headers, *_encoded(reasons))
    shorter = partial(_shorter, record, reasons, topic, 1)
    return OutgoingRecord(topic=topic, key=record.key, value=record.value, headers=headers, shorter=shorter)


def _shorter(record: Record, reasons: Mapping[str, str], topic: str, form: int) -> OutgoingRecord:
    forms = contents_of(record)
    content, last = forms[form], form == len(forms) - 1
    if last:
        reasons = {**reasons, "rudder-detail": reasons["rudder-detail"][:_DETAIL_CHARS_MAX]}
    return OutgoingRecord(
        topic=topic,
        key=content.key,
        value=content.value,
        headers=(*content.headers, *_encoded(reasons), *content.omissions),
        shorter=None if last else partial(_shorter, record, reasons, topic, form + 1),
    )


def _encoded(reasons: Mapping[str, str]) -> Headers:
    return tuple((name, text.encode()) for name, text in reasons.items())
