"""The committed JSON Schemas are the generated ones."""

from pathlib import Path

import jsonschema
import pytest

from schemas.json_schemas import json_schemas, main, stale_files, write_files
from schemas.types import EventType, StateEventType, StatusEventType
from tests.unit.schemas.schema_files import schema_of


def test_committed_files_match_the_generated_ones() -> None:
    """After a failure run `python -m schemas.json_schemas`."""
    assert stale_files() == []


def test_check_finds_missing_changed_and_extra_files(tmp_path: Path) -> None:
    """Writing the files corrects all three."""
    write_files(tmp_path)
    assert stale_files(tmp_path) == []
    first, second, *_ = sorted(json_schemas())
    (tmp_path / first).unlink()
    (tmp_path / second).write_text("{}")
    (tmp_path / "zz.left.over.json").write_text("{}")
    assert stale_files(tmp_path) == [first, second, "zz.left.over.json"]
    write_files(tmp_path)
    assert stale_files(tmp_path) == []


def test_command_has_check_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """The exit codes are those of all commands: 0 done, 2 wrong usage."""
    assert main(["--check"]) == 0
    assert main(["--chek"]) == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize("event_type", [*EventType, *StatusEventType, *StateEventType])
def test_every_file_is_a_draft_2020_12_schema(event_type: str) -> None:
    """Publishers' tools can load it."""
    schema = schema_of(event_type)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["properties"]["type"] == {"const": event_type}


@pytest.mark.parametrize("event_type", list(EventType))
def test_incoming_schemas_are_open(event_type: EventType) -> None:
    """A tolerant reader: publishers may send further fields."""
    assert 'additionalProperties": false' not in json_schemas()[f"{event_type}.json"]


@pytest.mark.parametrize("event_type", [*StatusEventType, *StateEventType])
def test_outgoing_data_is_closed_and_complete(event_type: str) -> None:
    """A strict writer: subscribers see every field and no other."""
    for name, definition in schema_of(event_type)["$defs"].items():
        if definition["type"] == "object":
            assert definition["additionalProperties"] is False, name
            assert definition["required"] == list(definition["properties"]), name


def test_defaults_of_the_contract_are_published() -> None:
    """Holds also for fields whose model distinguishes an omitted value from the default."""
    fields = schema_of(EventType.DEPLOYMENT_STARTED)["$defs"]["DeploymentChange"]["properties"]
    assert fields["config_revision"]["default"] == 1
    assert fields["config_mapping_revision"]["default"] == 0
    assert fields["schema_based_config_revision"]["default"] == 0
