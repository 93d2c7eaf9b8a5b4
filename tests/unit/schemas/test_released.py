"""The schemas of released versions: the check against the present ones, and examples that still decode."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from schemas.compatibility import Direction, Rule
from schemas.decode import decode
from schemas.event import Event
from schemas.released import HISTORY, direction_of, main, record, refusals, schemas_in, stated_version, versions
from schemas.types import EventType, StatusEventType
from tests.unit.schemas.json_edits import edited
from tests.unit.schemas.records import STRUCTURED
from tests.unit.schemas.records import record as kafka_record
from tests.unit.schemas.schema_files import EXAMPLES
from worker.version import __version__

SCHEMAS = HISTORY.parent
PUBLISHED = sorted(HISTORY.glob("*/examples/*/*.json"))


def name_of(path: Path) -> str:
    return str(path.relative_to(HISTORY))


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A history with one version: the present schemas."""
    record("1.0.0", tmp_path / "history")
    return tmp_path / "history"


@pytest.fixture
def present(tmp_path: Path) -> Path:
    """A copy of the present schemas, to be changed."""
    folder = tmp_path / "present"
    folder.mkdir()
    for path in (SCHEMAS / "json").glob("*.json"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def change(folder: Path, event_type: str, pointer: str, value: Any) -> None:
    path = folder / f"{event_type}.json"
    path.write_text(json.dumps(edited(json.loads(path.read_bytes()), [(pointer, value)])))


def test_present_schemas_are_compatible_with_every_released_version() -> None:
    """`make check` runs the same."""
    assert versions()
    assert [str(refusal) for refusal in refusals()] == []


def test_check_names_schema_pointer_version_and_rule(history: Path, present: Path) -> None:
    pointer = "/$defs/DeploymentChange/properties/environment_id/maxLength"
    change(present, EventType.DEPLOYMENT_FAILED, pointer, 100)
    (refusal,) = refusals(history, present)
    assert str(refusal) == (
        f"schemas/json/{EventType.DEPLOYMENT_FAILED}.json#{pointer}: not compatible with version 1.0.0: "
        f"maxLength: 255 before, 100 now (rule bound: {Rule.BOUND.meaning})"
    )


def test_check_compares_with_every_version(history: Path, present: Path) -> None:
    """A change that is compatible with the last version alone is refused all the same."""
    pointer = "/$defs/DeploymentStatus/enum/5"
    change(present, StatusEventType.DEPLOYMENT_STATUS_CHANGED, pointer, "UNDONE")
    record("2.0.0", history)
    change(history / "2.0.0" / "json", StatusEventType.DEPLOYMENT_STATUS_CHANGED, pointer, "UNDONE")
    refused = list(refusals(history, present))
    assert {refusal.version for refusal in refused} == {"1.0.0"}
    assert {refusal.incompatibility.rule for refusal in refused} == {Rule.VALUES}


def test_check_refuses_a_missing_event_type(history: Path, present: Path) -> None:
    (present / f"{EventType.RELEASE_REOPENED}.json").unlink()
    (refusal,) = refusals(history, present)
    assert refusal.schema == EventType.RELEASE_REOPENED
    assert refusal.incompatibility.rule is Rule.EVENT_TYPE
    assert str(refusal).startswith(f"schemas/json/{EventType.RELEASE_REOPENED}.json: not compatible")


def test_check_accepts_a_new_event_type(history: Path, present: Path) -> None:
    (present / "dev.rudder.release.archived.v1.json").write_text('{"type": "object"}')
    assert list(refusals(history, present)) == []


def test_incoming_types_have_the_direction_of_publishers() -> None:
    assert {direction_of(event_type) for event_type in EventType} == {Direction.INPUT}
    assert {direction_of(event_type) for event_type in StatusEventType} == {Direction.OUTPUT}


def test_record_copies_schemas_and_valid_examples(history: Path) -> None:
    assert schemas_in(history / "1.0.0" / "json") == schemas_in(SCHEMAS / "json")
    copied = {path.relative_to(history / "1.0.0" / "examples") for path in history.glob("1.0.0/examples/*/*.json")}
    assert copied == {path.relative_to(EXAMPLES) for path in EXAMPLES.glob("*/valid-*.json")}


def test_recorded_version_is_not_replaced(history: Path) -> None:
    """Recording it again without a change is accepted, so that a step of a release can be repeated."""
    record("1.0.0", history)
    (history / "1.0.0" / "json" / f"{EventType.RELEASE_REOPENED}.json").unlink()
    with pytest.raises(FileExistsError, match="differs from the present"):
        record("1.0.0", history)


@pytest.mark.parametrize("path", PUBLISHED, ids=name_of)
def test_every_example_ever_published_fits_its_schema(path: Path) -> None:
    schema = json.loads((path.parents[2] / "json" / f"{path.parent.name}.json").read_bytes())
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator(schema, format_checker=checker).validate(json.loads(path.read_bytes()))


@pytest.mark.parametrize("path", [path for path in PUBLISHED if path.parent.name in set(EventType)], ids=name_of)
def test_every_example_ever_published_still_decodes(path: Path) -> None:
    decoded = decode(kafka_record(path.read_bytes(), STRUCTURED))
    assert isinstance(decoded, Event)
    assert decoded.type == path.parent.name


def test_page_lists_every_rule() -> None:
    page = (SCHEMAS.parent / "docs" / "explanation" / "schema-evolution.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE) == [str(rule) for rule in Rule]


def test_command_checks_and_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 where the version is not recorded, or recorded with other contents, or a change is incompatible."""
    present, history = tmp_path / "schemas", tmp_path / "history"
    for folder in ("json", "examples"):
        shutil.copytree(SCHEMAS / folder, present / folder)
    history.mkdir()

    def run(option: str) -> int:
        return main([option], history=history, present=present)

    assert [run(option) for option in ("--recorded", "--record", "--record", "--recorded", "--check")] == [
        1,
        0,
        0,
        0,
        0,
    ]
    (present / "json" / f"{EventType.RELEASE_REOPENED}.json").unlink()
    assert [run(option) for option in ("--recorded", "--record", "--check")] == [1, 1, 1]
    errors = capsys.readouterr().err
    assert "run make record" in errors
    assert "are frozen" in errors
    assert f"schemas/json/{EventType.RELEASE_REOPENED}.json: not compatible" in errors


def test_command_has_usage_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """The exit codes are those of all commands: 0 done, 2 wrong usage."""
    assert main(["--check"]) == 0
    assert main(["--chek"]) == 2
    assert "usage" in capsys.readouterr().err


def test_version_must_be_stated(tmp_path: Path) -> None:
    assert stated_version() == __version__
    (tmp_path / "version.py").write_text("version = 1")
    with pytest.raises(ValueError, match="states no version"):
        stated_version(tmp_path / "version.py")
