"""The field types of the contract: strings that fit their columns, numbers in range, UUIDs and dates.

Lengths are UTF-16 units, as of nvarchar, on every database: the validity of an event must not depend on the database.
Each type has its JSON Schema; tests/unit/schemas/test_examples.py lists what a schema cannot express. Models also
accept Python's UUID and date.
"""

import re
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from schemas.times import YEAR_MAX

NAME_UNITS_MAX = 255
SOURCE_UNITS_MAX = 1024
PROSE_UNITS_MAX = 2**30 - 1
INT_MAX = 2**31 - 1
BIGINT_MAX = 2**63 - 1

# Anchored on both ends for ECMA-262 and Rust. `\d` would match the digits of every script.
UUID_PATTERN = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
DATE_PATTERN = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
UUID_TEXT = re.compile(UUID_PATTERN)
_NO_NUL_PATTERN = r"^[^\u0000]*$"


def utf16_units(text: str) -> int:
    """The text's length in UTF-16 code units: two for each character beyond the basic plane."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def _fits(units_max: int) -> AfterValidator:
    def check(text: str) -> str:
        # Pydantic has checked the number of characters; those beyond the basic plane are two units.
        if not text.isascii() and utf16_units(text) > units_max:
            raise PydanticCustomError(
                "string_too_long",
                "String should have at most {units_max} UTF-16 code units",
                {"units_max": units_max},
            )
        return text

    return AfterValidator(check)


class _UuidText:
    """Canonical 8-4-4-4-12 text in any case. Composed of pydantic's core schemas, so no Python code runs."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(strict=True, pattern=UUID_PATTERN)
        return core_schema.union_schema(
            [
                core_schema.chain_schema([text, core_schema.uuid_schema(strict=False)]),
                core_schema.is_instance_schema(UUID),
            ],
            mode="left_to_right",
            custom_error_type="uuid_text",
            custom_error_message="Input should be a UUID in canonical text form",
            serialization=core_schema.to_string_ser_schema(when_used="json"),
        )


class _DateText:
    """`YYYY-MM-DD`, in the years of `schemas.times`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(strict=True, pattern=DATE_PATTERN)
        first, last = date(1, 1, 1), date(YEAR_MAX, 12, 31)
        return core_schema.union_schema(
            [
                core_schema.chain_schema([text, core_schema.date_schema(strict=False, ge=first, le=last)]),
                core_schema.date_schema(strict=True, ge=first, le=last),
            ],
            mode="left_to_right",
            custom_error_type="date_text",
            custom_error_message=f"Input should be a date as YYYY-MM-DD, in the years 1 to {YEAR_MAX}",
            serialization=core_schema.to_string_ser_schema(when_used="json"),
        )


Name = Annotated[
    str,
    Field(min_length=1, max_length=NAME_UNITS_MAX),
    _fits(NAME_UNITS_MAX),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": NAME_UNITS_MAX, "pattern": _NO_NUL_PATTERN}),
]
"""An id or a name, nvarchar(255): 1 to 255 UTF-16 units."""

EventSource = Annotated[
    str,
    Field(min_length=1, max_length=SOURCE_UNITS_MAX),
    _fits(SOURCE_UNITS_MAX),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": SOURCE_UNITS_MAX, "pattern": _NO_NUL_PATTERN}),
]
"""A CloudEvents source: 1 to 1,024 UTF-16 units."""

StoredName = Annotated[str, Field(max_length=NAME_UNITS_MAX)]
"""What such a column may hold where another application wrote it."""

Prose = Annotated[
    str,
    Field(max_length=PROSE_UNITS_MAX),
    WithJsonSchema({"type": "string", "maxLength": PROSE_UNITS_MAX, "pattern": _NO_NUL_PATTERN}),
]
"""Free text, nvarchar(max). RUDDER_EVENT_BYTES_MAX is the effective limit: a string has at most as many UTF-16 units as
its event has bytes.
"""

Uuid = Annotated[UUID, _UuidText(), WithJsonSchema({"type": "string", "format": "uuid", "pattern": UUID_PATTERN})]
Date = Annotated[
    date,
    _DateText(),
    WithJsonSchema({"type": "string", "format": "date", "pattern": DATE_PATTERN, "not": {"pattern": "^(0000|9999)"}}),
]
Ordinal = Annotated[int, Field(ge=1, le=INT_MAX)]
"""An int from 1. Booleans and 1.0 are invalid."""

Attempt = Annotated[int, Field(ge=1, le=BIGINT_MAX)]
Revision = Annotated[int, Field(ge=0, le=INT_MAX)]
JsonObject = dict[str, object]
"""A free-form object, stored as received, key order included. Its limits are those of all JSON: the event's size, and
the depth and numbers of `schemas.json_text`.
"""
