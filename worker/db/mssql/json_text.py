"""JSON as OPENJSON reads it into columns."""

import json
from datetime import date, datetime
from uuid import UUID


def json_text(value: object) -> str:
    """Compact. A time is in UTC, and has no zone: neither has datetime2."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _plain(value: object) -> str:
    match value:
        case UUID():
            return str(value)
        case datetime():
            return value.replace(tzinfo=None).isoformat()
        case date():
            return value.isoformat()
        case _:
            raise TypeError(f"not a value of a column: {value!r}")
