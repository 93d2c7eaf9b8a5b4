"""What a message writes on SQL Server: a JSON message for the procedure of the migrations, many in one batch."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest

from migrations.versions import v0_0_233_write_procedure as revision
from tests.unit.db.test_writes import TURNS, write_set
from worker.db.columns import ACTIVITIES, BASE_REVISIONS, DEPLOYMENTS, REJECTIONS, RELEASES
from worker.db.models import Base
from worker.db.mssql.fragments import POINTERS
from worker.db.mssql.json_text import json_text
from worker.db.mssql.procedure import PROCEDURE, TABLES, Failure, batches, failures, message_of, message_text, text
from worker.db.pointers import ComponentKey, Pointers
from worker.db.writes import WriteSet, write_set_of
from worker.rules.errors import Unprocessable
from worker.rules.query import query_of
from worker.rules.state import changes_of

PARTS = {
    "new_release": revision.RELEASE,
    "base_revisions": revision.BASE_REVISION,
    "moved_release": revision.MOVED_RELEASE,
    "moved_deployment": revision.MOVED_DEPLOYMENT,
    "new_deployment": revision.DEPLOYMENT,
    "activities": revision.ACTIVITY,
    "pointer": revision.POINTER,
    "resolved_rejection": revision.RESOLVED,
    "new_rejection": revision.REJECTION,
    "rejection": {"id": "uniqueidentifier", **dict.fromkeys(revision.REJECTED_AGAIN, "")},
}
"""The columns in which the procedure reads each part of a message."""

HINT = re.compile(
    r"WITH \((?:HOLD|UPD|NO|ROW|TAB|X|PAG)LOCK|READPAST|SERIALIZABLE|\bMERGE\b|\bOUTPUT (?:INTO|inserted)"
)


def parsed(found: WriteSet) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(message_text(found))
    return message


def leaves(value: object) -> Iterator[str]:
    match value:
        case dict():
            for one in value.values():
                yield from leaves(one)
        case list():
            for one in value:
                yield from leaves(one)
        case _:
            yield str(value)


def rows(part: object) -> list[dict[str, Any]]:
    return part if isinstance(part, list) else [part]  # type: ignore[list-item]


@pytest.mark.parametrize("kind", TURNS)
def test_message_has_every_value_that_is_written(kind: str) -> None:
    found = write_set(kind)
    values = [value for write in found.writes for value in write.values if value is not None]
    written = set(leaves(parsed(found)))
    assert {json_text(value).strip('"') for value in values if not isinstance(value, str)} <= written
    assert {value for value in values if isinstance(value, str)} <= written


@pytest.mark.parametrize("kind", TURNS)
def test_procedure_reads_every_value_of_a_message(kind: str) -> None:
    """OPENJSON ignores what has no column."""
    message = parsed(write_set(kind, Pointers(ComponentKey.UUID, POINTERS)))
    assert message.keys() <= revision.MESSAGE.keys()
    for part in message.keys() & PARTS.keys():
        for row in rows(message[part]):
            assert row.keys() <= PARTS[part].keys(), part


def test_every_part_of_the_procedure_has_a_message() -> None:
    pointers = Pointers(ComponentKey.UUID, POINTERS)
    keys = {key for kind in TURNS for key in parsed(write_set(kind, pointers))}
    assert keys | {"predecessor_id"} == revision.MESSAGE.keys()


def test_rows_of_a_list_have_the_same_keys() -> None:
    """A value that is missing is null: some implementations of OPENJSON fill a gap from the next row."""
    for kind in TURNS:
        for part in parsed(write_set(kind)).values():
            if isinstance(part, list):
                assert len({tuple(row) for row in part}) == 1


@pytest.mark.parametrize(
    ("table", "columns", "shape"),
    [
        ("releases", RELEASES, revision.RELEASE),
        ("release_apim_base_revisions", BASE_REVISIONS, revision.BASE_REVISION),
        ("release_deployments", DEPLOYMENTS, revision.DEPLOYMENT),
        ("release_activity_logs", ACTIVITIES, revision.ACTIVITY),
        ("release_event_rejections", REJECTIONS, revision.REJECTION),
    ],
)
def test_procedure_inserts_every_column(table: str, columns: tuple[str, ...], shape: dict[str, str]) -> None:
    assert table in TABLES
    assert f"INSERT INTO {table} ({', '.join(columns)})" in revision.PROCEDURE
    assert tuple(shape) == columns == tuple(Base.metadata.tables[table].columns.keys())


def test_procedure_cuts_no_text() -> None:
    """OPENJSON cuts a text at the length of its column; the table's own column refuses it."""
    for shape in (revision.RELEASE, revision.DEPLOYMENT, revision.ACTIVITY, revision.REJECTION):
        assert {type_ for type_ in shape.values() if "nvarchar" in type_} == {"nvarchar(max)"}


def test_procedure_is_one_transaction_without_hints() -> None:
    sql = revision.PROCEDURE
    assert sql.startswith(f"CREATE PROCEDURE {PROCEDURE} ")
    assert (sql.count("BEGIN TRANSACTION"), sql.count("COMMIT;"), sql.count("ROLLBACK;")) == (1, 1, 1)
    assert sql.index("SET XACT_ABORT ON") < sql.index("BEGIN TRY") < sql.index("BEGIN TRANSACTION")
    assert sql.index("sp_getapplock") < sql.index("EXISTS (SELECT 1")
    assert HINT.search(sql) is None


@pytest.mark.parametrize("count", range(1, 65))
def test_batch_has_one_of_four_texts(count: int) -> None:
    """The server keeps a plan for each text."""
    [batch] = batches(["{}"] * count)
    assert batch.sql in {text(number, patient=True) for number in (1, 4, 16, 64)}
    assert batch.sql.count("?") == len(batch.parameters) >= batch.messages == count
    assert all(batch.parameters[:count])
    assert not any(batch.parameters[count:])


def test_more_messages_than_a_batch_takes_are_several_batches() -> None:
    found = list(batches(["{}"] * 130))
    assert [batch.messages for batch in found] == [64, 64, 2]


@pytest.mark.parametrize("patient", [True, False])
def test_only_patient_calls_wait_for_locks(*, patient: bool) -> None:
    for count in (1, 4, 16, 64):
        assert text(count, patient=patient).count(f"@alone = {int(patient)}") == count
        assert f"@alone = {int(not patient)}" not in text(count, patient=patient)


def test_failures_are_those_of_their_positions() -> None:
    rows = [(2, 1205, "deadlock"), (-1, 0, "")]
    assert failures(rows, messages=3) == [None, None, Failure(1205, "deadlock")]
    assert failures([(-1, 0, "")], messages=2) == [None, None]


@pytest.mark.parametrize("rows", [[], [(0, 1205, "deadlock")]])
def test_answer_without_its_last_row_is_incomplete(rows: list[tuple[int, int, str]]) -> None:
    assert failures(rows, messages=2) is None


@pytest.mark.parametrize(
    ("component", "named"),
    [
        (ComponentKey.UUID, "uuid"),
        (ComponentKey.TEXT, "text"),
        (ComponentKey.CASE_SENSITIVE_TEXT, "exact text"),
    ],
)
def test_pointer_names_how_components_are_compared(component: ComponentKey, named: str) -> None:
    message = message_of(write_set("succeeded", Pointers(component, POINTERS)))
    assert message["pointer"]["component"] == named
    assert named in revision.COMPONENTS


@pytest.mark.parametrize("text", ["a\0", "\ud800"], ids=["NUL", "surrogate"])
def test_text_that_cannot_be_sent_is_unprocessable(text: str) -> None:
    found = write_set("opened")
    *others, last = found.writes
    values = tuple(text if value == last.values[-1] else value for value in last.values)
    with pytest.raises(Unprocessable):
        message_text(replace(found, writes=(*others, replace(last, values=values))))


def test_message_of_a_chain_names_its_predecessor() -> None:
    sent, state, outcome = TURNS["opened"]
    changes = changes_of(outcome)
    assert changes is not None
    found = write_set_of(changes, query_of(sent), state, None, follows=UUID(int=5))
    assert parsed(found)["predecessor_id"] == str(UUID(int=5))


def test_json_has_values_as_the_server_converts_them() -> None:
    at = datetime(2026, 3, 17, 9, 30, 0, 123456, tzinfo=UTC)
    value = {"id": UUID(int=1), "at": at, "on": date(2026, 3, 17), "text": 'é "\\\n', "none": None}
    assert json.loads(json_text(value)) == {
        "id": "00000000-0000-0000-0000-000000000001",
        "at": "2026-03-17T09:30:00.123456",
        "on": "2026-03-17",
        "text": 'é "\\\n',
        "none": None,
    }


def test_value_of_another_type_is_an_error() -> None:
    with pytest.raises(TypeError):
        json_text({"value": object()})
