"""The published schemas and examples, as the tests read them: with the standard JSON parser, as others would."""

import json
from pathlib import Path
from typing import Any

import jsonschema

from schemas.json_schemas import FOLDER

EXAMPLES = Path(FOLDER).parent / "examples"


def schema_of(event_type: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((FOLDER / f"{event_type}.json").read_text(encoding="utf-8"))
    return schema


def fits_schema(event_type: str, event: object) -> bool:
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    return jsonschema.Draft202012Validator(schema_of(event_type), format_checker=checker).is_valid(event)
