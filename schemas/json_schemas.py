"""The published JSON Schemas, generated from the models: `python -m schemas.json_schemas [--check]`.

One file per event type, in `schemas/json/`, for the whole CloudEvent in structured form. Publishers can validate their
events against them. The worker validates by the models, which check a little more
(tests/unit/schemas/test_examples.py lists the differences). Incoming data is open, outgoing data is closed.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from schemas.incoming import DATA_MODELS
from schemas.mapping_rules import MappingFile
from schemas.outgoing import SHORTER_STATUS_MODELS, STATE_MODELS, STATUS_MODELS
from schemas.text import NAME_UNITS_MAX, SOURCE_UNITS_MAX
from schemas.trace_context import TRACEPARENT_LENGTH, TRACEPARENT_PATTERN, TRACESTATE_LENGTH_MAX
from schemas.types import EventType, StateEventType, StatusEventType

FOLDER = Path(__file__).with_name("json")
DIALECT = "https://json-schema.org/draft/2020-12/schema"

MAPPING_FILE_NAME = "mapping.json"
"""The schema of the mapping file, for editors."""

_UUID_LENGTH = 36
_NO_CONTROLS = r"^[^\u0000-\u001f\u007f-\u009f]*$"
# `format` allows leap seconds and the years 0 and 9999, which the worker rejects.
_TIME_PATTERN = (
    r"^(?!0000|9999)[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
_JSON_TYPE_PATTERN = r"^[^/;\s]+/([^/;\s]+\+)?[Jj][Ss][Oo][Nn]\s*(;.*)?$"


class _Untitled(GenerateJsonSchema):
    """Omits the titles that pydantic derives from field names, because they only repeat the names."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's signature
        return False


def json_schemas() -> Mapping[str, str]:
    """The text of each file, by its name."""
    events: list[tuple[EventType | StatusEventType | StateEventType, Sequence[type[BaseModel]], JsonSchemaMode]] = [
        *((event_type, [model], "validation") for event_type, model in DATA_MODELS.items()),
        *((type_, [model, SHORTER_STATUS_MODELS[type_]], "serialization") for type_, model in STATUS_MODELS.items()),
        *((type_, [model], "serialization") for type_, model in STATE_MODELS.items()),
    ]
    return {
        f"{event_type}.json": json.dumps(_event_schema(event_type, models, mode), indent=2) + "\n"
        for event_type, models, mode in events
    } | {MAPPING_FILE_NAME: json.dumps(_mapping_schema(), indent=2) + "\n"}


def _mapping_schema() -> dict[str, Any]:
    return {"$schema": DIALECT, "$id": "mapping"} | MappingFile.model_json_schema(schema_generator=_Untitled)


def stale_files(folder: Path = FOLDER) -> Sequence[str]:
    """The names of the files that are missing, differ from the generated ones, or belong to no event type."""
    wanted = json_schemas()
    present = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    return sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))


def write_files(folder: Path = FOLDER) -> None:
    wanted = json_schemas()
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """Write the files; with `--check` only report stale ones. Exit code: 0 success, 1 stale, 2 wrong usage."""
    match list(arguments):
        case []:
            write_files()
            return 0
        case ["--check"]:
            stale = stale_files()
            sys.stdout.writelines(f"stale: schemas/json/{name}\n" for name in stale)
            return 1 if stale else 0
        case _:
            sys.stderr.write("usage: python -m schemas.json_schemas [--check]\n")
            return 2


def _event_schema(event_type: str, models: Sequence[type[BaseModel]], mode: JsonSchemaMode) -> dict[str, Any]:
    """`models`: the possible shapes of `data`."""
    definitions: dict[str, Any] = {}
    for model in models:
        data = model.model_json_schema(mode=mode, schema_generator=_Untitled)
        definitions |= {**data.pop("$defs", {}), model.__name__: data}
    for definition in definitions.values():
        if "description" in definition:  # a docstring, whose lines are as long as the code's
            definition["description"] = " ".join(definition["description"].split())
    references = [{"$ref": f"#/$defs/{model.__name__}"} for model in models]
    incoming = mode == "validation"
    return {
        "$schema": DIALECT,
        "$id": f"urn:rudder:schema:{event_type}",
        "title": event_type,
        "description": "The event as a CloudEvent 1.0 in structured form; in binary mode `data` is the record's value.",
        "type": "object",
        "required": ["specversion", "id", "source", "type", *([] if incoming else ["time", "subject"]), "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": _attribute(NAME_UNITS_MAX),
            "source": _attribute(SOURCE_UNITS_MAX),
            "type": {"const": event_type},
            **(_optional_attributes() if incoming else _written_attributes(event_type)),
            "data": references[0] if len(references) == 1 else {"anyOf": references},
        },
        "$defs": definitions,
    }


def _attribute(units_max: int) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": units_max, "pattern": _NO_CONTROLS}


def _optional_attributes() -> dict[str, Any]:
    """Null is unset, as in CloudEvents' JSON format."""
    return {
        "time": {"type": ["string", "null"], "format": "date-time", "pattern": _TIME_PATTERN},
        "datacontenttype": {"type": ["string", "null"], "pattern": _JSON_TYPE_PATTERN},
        "data_base64": {"const": None, "description": "The worker reads it in place of `data`; this schema does not."},
    }


def _written_attributes(event_type: str) -> dict[str, Any]:
    subject: dict[str, Any] = {"type": "string", "format": "uuid", "description": "The release's id."}
    if event_type in set(StateEventType):
        subject = {
            **_attribute(_UUID_LENGTH + 1 + NAME_UNITS_MAX),
            "description": "The record's key: the release's id, `/`, the environment's id.",
        }
    return {
        "time": {"type": "string", "format": "date-time"},
        "subject": subject,
        "traceparent": {
            "type": "string",
            "maxLength": TRACEPARENT_LENGTH,
            "pattern": TRACEPARENT_PATTERN,
            "description": "The cause's, if it is valid.",
        },
        "tracestate": {"type": "string", "maxLength": TRACESTATE_LENGTH_MAX, "description": "Likewise."},
        "datacontenttype": {"const": "application/json"},
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
