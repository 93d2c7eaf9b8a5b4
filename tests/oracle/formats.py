"""How the contract writes things: ids, times, JSON, release names; and when two names are confusable."""

import json
import re
import unicodedata
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

NAMESPACE = uuid.UUID("6f1d5f6e-2f0a-5c0b-9d43-7b0d3f2f5a11")
"""One fixed namespace: with another one, every known event would look new."""


def deployment_id(namespace: uuid.UUID, release: str, environment: str, config_revision: int, attempt: int) -> str:
    """Ids are UUIDv5 under one fixed namespace: deployment `{release}/{environment}/{config_revision}/{attempt}`."""
    return str(uuid.uuid5(namespace, f"{release}/{environment}/{config_revision}/{attempt}"))


def activity_id(namespace: uuid.UUID, source: str, id: str, n: int = 0) -> str:
    r"""Activity log `{source}\n{id}` for an event's first entry, with `\n{n}` added for its further ones."""
    return str(uuid.uuid5(namespace, f"{source}\n{id}" if n == 0 else f"{source}\n{id}\n{n}"))


def position_id(namespace: uuid.UUID, topic: str, partition: int, offset: int, timestamp_ms: int) -> str:
    """A record without identity: `{topic}/{partition}/{offset}/{timestamp in ms}`."""
    return str(uuid.uuid5(namespace, f"{topic}/{partition}/{offset}/{timestamp_ms}"))


def instant(timestamp_ms: int) -> datetime:
    """The record's timestamp, UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=timestamp_ms)


def time_text(time: datetime) -> str:
    """Event time, UTC, to the microsecond."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ").zfill(27)


def compact(value: Any) -> str | None:
    """JSON columns: compact, key order as received, non-ASCII as is; null where there is nothing."""
    return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def release_name(release_date: date, release_number: int) -> str:
    """`YYYYMMDD-<release_number>`."""
    return f"{release_date.year:04}{release_date.month:02}{release_date.day:02}-{release_number}"


def confusable_key(name: str) -> str:
    """Two names are confusable where this is equal: the name without case, width, accents and surrounding blanks.

    Characters that Unicode 3.2 does not have are dropped: SQL Server's default collation gives them no weight.
    """
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    weighty = [c for c in decomposed if not unicodedata.combining(c) and unicodedata.ucd_3_2_0.category(c) != "Cn"]
    return "".join(weighty).strip()


def utf16_units(text: str) -> int:
    """Lengths are counted in UTF-16 units, as SQL Server's `nvarchar` does."""
    return sum(2 if ord(c) > 0xFFFF else 1 for c in text)


def redriven(headers: tuple[tuple[str, bytes | None], ...]) -> tuple[str, int, int] | None:
    """The topic, partition and offset in the last header `rudder-redrive`: `topic/partition@offset`."""
    value = {name: value or b"" for name, value in headers}.get("rudder-redrive", b"")
    parts = re.fullmatch(rb"([A-Za-z0-9._-]{1,249})/([0-9]{1,10})@([0-9]{1,19})", value)
    return (parts[1].decode(), int(parts[2]), int(parts[3])) if parts else None


def corrected(headers: tuple[tuple[str, bytes | None], ...]) -> str | None:
    """The id in the last header `rudder-corrects`."""
    value = {name: value or b"" for name, value in headers}.get("rudder-corrects", b"")
    text = value.decode("ascii", "replace").lower()
    return text if re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) else None
