"""Inputs that only another version of Python, a broken batch or a cut text brings: each has its answer."""

import json
import runpy
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from schemas import asyncapi, json_schemas, json_text, likely_cause, released
from schemas.decode import decode
from schemas.event import Invalid
from schemas.json_schemas import main, stale_files, write_files
from schemas.reasons import Reason
from schemas.record import Record, Unreadable
from schemas.types import full_type
from tests.unit.schemas.records import headers, record


def test_unreadable_record_has_its_own_reason() -> None:
    """Nothing of it is looked at: its value is unknown."""
    sound = record(b"{}", headers())
    broken = Record(
        topic=sound.topic,
        partition=0,
        offset=7,
        timestamp_ms=sound.timestamp_ms,
        key=None,
        value=None,
        unreadable=Unreadable(reason=Reason.TOO_LARGE, detail="the batch decompresses to too much"),
    )
    assert decode(broken) == Invalid(reason=Reason.TOO_LARGE, detail="the batch decompresses to too much")


def test_trailing_comma_is_named_by_any_python() -> None:
    """Python 3.13 reports the comma itself, earlier versions what follows it: the detail is the same."""
    text = "[1 , ]"
    newer = json.JSONDecodeError("Illegal trailing comma before end of array", text, 3)
    older = json.JSONDecodeError("Expecting value", text, 5)
    expected = "not JSON at character 3: a comma before a closing bracket"
    assert [json_text._not_json(error) for error in (newer, older)] == [expected, expected]


@pytest.mark.parametrize("value", [5, None, True, "plain words", "A" * 4_093 + "    x"])
def test_value_that_is_no_object_may_have_no_likely_cause(value: object) -> None:
    """The last is cut within its blanks, and what is left is no whole base64."""
    assert likely_cause.of_no_object(value) is None


def test_command_without_options_writes_the_schemas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_schemas, "write_files", partial(write_files, tmp_path))
    assert stale_files(tmp_path) != []
    assert main([]) == 0
    assert stale_files(tmp_path) == []


@pytest.mark.parametrize("module", [json_schemas, asyncapi, released], ids=["json_schemas", "asyncapi", "released"])
def test_schemas_are_a_command(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m schemas.json_schemas --check`, as `make check` calls it."""
    assert module.__file__ is not None
    monkeypatch.setattr(sys, "argv", [module.__name__, "--check"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(module.__file__, run_name="__main__")
    assert ended.value.code == 0


def test_tombstone_is_a_null_value_and_readable() -> None:
    assert record(None, headers()).is_tombstone
    assert not record(b"", headers()).is_tombstone


@pytest.mark.parametrize("text", ["release.submitted", "dev.rudder.release.submitted.v1"])
def test_short_type_is_completed(text: str) -> None:
    assert full_type(text) == "dev.rudder.release.submitted.v1"


def test_unknown_type_is_not_completed() -> None:
    assert full_type("release.archived") == "release.archived"
