"""The likely cause of an unreadable value, guessed from its first bytes, and what the publisher should do.

Only rejected records reach this module. A cause contains no text of the publisher, and no semicolon, which separates
the problems of a detail.
"""

import base64
import binascii
import re
from collections.abc import Iterable

_REGISTRY_FRAME_BYTES = 5  # a zero byte, and a schema's id in four: Confluent's wire format
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xef\xbb\xbf", "write UTF-8 without it"),
    (b"\xff\xfe", "it is UTF-16 or UTF-32: write UTF-8"),
    (b"\xfe\xff", "it is UTF-16 or UTF-32: write UTF-8"),
    (b"\x00\x00\xfe\xff", "it is UTF-16 or UTF-32: write UTF-8"),
    (b"\x1f\x8b", "it is compressed with gzip: use the producer's compression.type, which the client undoes"),
    (b"\x28\xb5\x2f\xfd", "it is compressed with zstd: use the producer's compression.type, which the client undoes"),
    (b"\x04\x22\x4d\x18", "it is compressed with lz4: use the producer's compression.type, which the client undoes"),
    (b"\x82SNAPPY\x00", "it is compressed with snappy: use the producer's compression.type, which the client undoes"),
    (b"\xff\x06\x00\x00sNaPpY", "it is compressed with snappy: use the producer's compression.type"),
    (b"BZh", "it is compressed with bzip2: send the JSON itself"),
    (b"PK\x03\x04", "it is a ZIP archive: send the JSON itself"),
    (b"Obj\x01", "it is an Avro file: write JSON"),
    (b"\xac\xed\x00\x05", "it is a serialised Java object: write JSON, for example with a StringSerializer"),
    (b"\xd9\xd9\xf7", "it is CBOR: write JSON"),
)
_UTF_16_OR_32 = re.compile(rb"\x00[{\[\"]\x00|\x00\x00\x00[{\[\"]\x00\x00\x00|[{\[\"]\x00")
_FORM = re.compile(rb"[\w.%+\-]{1,200}=[^{}\[\]\s]*(?:&|\Z)")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_\-]{8,}={0,2}\s*")
_UNQUOTED = re.compile(rb"\s*[{\[]\s*(?:'|[A-Za-z_]\w*\s*:)")
_SEVERAL = re.compile(rb"[}\]]\s*[{\[]")
_LOOKED_AT_BYTES = 4_096
_TIME_CHARS_MAX = 100
"""Longer texts are not times, and the patterns below could backtrack for hours."""

_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME_FORMS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(_DAY), "it is a date without a time"),
    (re.compile(_DAY + r"[Tt][0-9]{2}:[0-9]{2}(?:[Zz]|[+-][0-9]{2}:[0-9]{2})?"), "it has no seconds"),
    (re.compile(_DAY + r"[Tt][0-9]{2}:[0-9]{2}:60(?:\.[0-9]+)?\S*"), "leap seconds are not accepted: write :59"),
    (re.compile(_DAY + r"[Tt]24:\S*"), "the hour is 24: write 00 of the next day"),
    (re.compile(_DAY + r"[Tt][0-9]{2}:[0-9]{2}:[0-9]{2},\S*"), "it has a comma before the fraction: write a point"),
    (
        re.compile(_DAY + r"[Tt][0-9]{2}:[0-9]{2}\S* ?(?:\[[^]]*\]|[A-Za-z]{2,})"),
        "its zone is a name: write Z or an offset such as +02:00",
    ),
)
"""Common other formats. Java omits seconds that are zero, and appends a region in brackets."""


def of_no_json(raw: bytes) -> str | None:
    """The likely cause if bytes are not JSON; None: unknown."""
    for magic, cause in _MAGIC:
        if raw.startswith(magic):
            return cause
    head = raw[:_LOOKED_AT_BYTES]
    if _UTF_16_OR_32.match(head):
        return "it is UTF-16 or UTF-32: write UTF-8"
    if framing := _registry_frame(raw):
        return framing
    text = head.strip()
    if not text:
        return "it is blank"
    if text.startswith(b"<"):
        return "it looks like XML or HTML: write JSON"
    if text.startswith(b"---"):
        return "it looks like YAML: write JSON"
    if _FORM.match(text):
        return "it looks like a form (application/x-www-form-urlencoded): write JSON"
    if _is_base64_of_json(text):
        return "it is JSON in base64: send the JSON itself, or use data_base64 in structured mode"
    if _UNQUOTED.match(text):
        return "JSON requires double quotes around names and strings: write it with a JSON library"
    if _SEVERAL.search(text):
        return "it may be several JSON texts: send one record an event"
    return None


def of_no_object(value: object) -> str | None:
    """The likely cause if a JSON value is not an object; None: unknown."""
    if isinstance(value, list):
        return "it is an array, and batches are not accepted: send one record an event"
    if isinstance(value, str):
        text = value.strip()
        if text.startswith(("{", "[")):
            return "it is JSON within a JSON text, so it was encoded twice: send the inner one"
        if _is_base64_of_json(text[:_LOOKED_AT_BYTES].encode("utf-8", "replace")):
            return "it is JSON in base64: send the JSON itself, or use data_base64 in structured mode"
    return None


def of_quotes(text: str) -> str | None:
    """The likely cause if an attribute has quotes, as when a JSON serializer wrote the header's value."""
    for quote in ('"', "'"):
        if len(text) > 1 and text.startswith(quote) and text.endswith(quote):
            return "the value contains quotes: write it without them, since a header is text and not JSON"
    return None


def of_http_headers(names: Iterable[str]) -> str | None:
    """The likely cause if headers are named as in another protocol's binding, as some bridges leave them."""
    if any(name.lower().startswith(("ce-", "cloudevents")) for name in names):
        return "the headers are named as in HTTP or AMQP: in Kafka they begin with ce_"
    return None


def of_no_time(value: object) -> str | None:
    """The likely cause if an attribute is not an RFC 3339 time; None: unknown."""
    if isinstance(value, int | float):
        return "it is a number: write a text such as 2026-03-01T09:30:00Z"
    if not isinstance(value, str) or len(value) > _TIME_CHARS_MAX:
        return None
    if quotes := of_quotes(value):
        return quotes
    text = value.strip()
    if not text:
        return "it is empty"
    if text != value:
        return "it has blanks around it"
    if re.fullmatch(r"-?[0-9]+(?:\.[0-9]+)?", text):
        return "it is a number: write a text such as 2026-03-01T09:30:00Z"
    if re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]", text):
        return "it has a blank in place of T"
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?", text):
        return "it has no zone: append Z or an offset such as +02:00"
    if re.search(r"[+-][0-9]{2}(?:[0-9]{2})?$", text) and "T" in text.upper():
        return "its offset is not written as +02:00"
    for form, cause in _TIME_FORMS:
        if form.fullmatch(text):
            return cause
    return None


def with_cause(problem: str, cause: str | None) -> str:
    return problem if cause is None else f"{problem} ({cause})"


def _registry_frame(raw: bytes) -> str | None:
    if len(raw) <= _REGISTRY_FRAME_BYTES or raw[0] != 0:
        return None
    schema_id = int.from_bytes(raw[1:_REGISTRY_FRAME_BYTES], "big")
    if raw[_REGISTRY_FRAME_BYTES:].lstrip()[:1] in {b"{", b"["}:
        return (
            f"five bytes of schema registry framing (schema {schema_id}) before the JSON: use a plain JSON serializer"
        )
    return (
        f"it begins with a zero byte, as schema registry framing does (schema {schema_id}): probably Avro or Protobuf, "
        "write JSON with a plain JSON serializer"
    )


def _is_base64_of_json(text: bytes) -> bool:
    if not _BASE64.fullmatch(text):
        return False
    begin = text[: len(text) // 4 * 4].translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return base64.b64decode(begin).lstrip()[:1] in {b"{", b"["}
    except (binascii.Error, ValueError):
        return False
