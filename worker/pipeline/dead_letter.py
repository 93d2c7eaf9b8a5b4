"""A dead letter: the record as it came, with headers that say why it was rejected, and its shorter forms.

Source of the rule: the contract, section "Dead letters". The broker may refuse a record as too large, and no record may
block its partition for that. The first shorter form leaves out the value, the next the headers, the last the key too.
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
"""What a dead letter adds, in this order, behind the record's own headers."""

VALUE_OMITTED, VALUE_SHA256 = "rudder-value-omitted", "rudder-value-sha256"
KEY_OMITTED, HEADERS_OMITTED = "rudder-key-omitted", "rudder-headers-omitted"
OMISSION_HEADERS = (VALUE_OMITTED, VALUE_SHA256, KEY_OMITTED, HEADERS_OMITTED)
"""What a shorter form adds behind these, in this order: the length of the value and of the key in bytes, the SHA-256 of
the value in hexadecimal, the number of headers."""

_KEY_BYTES_MAX = 1_024
_DETAIL_CHARS_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a form of a dead letter repeats of its record, and the headers that say what it leaves out."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    omissions: Headers = ()


def contents_of(record: Record) -> tuple[Content, ...]:
    """The forms that the record's dead letter may have: whole, then ever shorter."""
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
    """The record's dead letter, whole. `reasons`: the texts of REASON_HEADERS, in their order."""
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
