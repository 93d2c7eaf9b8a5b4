"""The widest possible events fit their columns: each value of each statement is checked against its column's type.

Servers handle a text that is too long differently, from truncation to an error; no event may cause either.
"""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import DATE, BigInteger, Integer, String

from schemas.decode import decode
from schemas.detail import DETAIL_CHARS_MAX
from schemas.event import Event
from schemas.reasons import Reason
from schemas.record import Headers, Record
from schemas.text import BIGINT_MAX, INT_MAX, NAME_UNITS_MAX, SOURCE_UNITS_MAX, utf16_units
from schemas.types import EventType as E
from tests.conformance.table_contents import OPERATORS_TABLES
from tests.properties.world import World
from worker.db.models import Base
from worker.db.pointers import ComponentKey, Pointers
from worker.db.postgresql.fragments import POINTERS as POINTER_FRAGMENTS
from worker.db.statement import Write
from worker.db.types import Guid, UtcTimestamp
from worker.db.writes import write_set_of
from worker.rules.decide import reject
from worker.rules.message import Message
from worker.rules.query import query_of
from worker.rules.state import Outcome, State, changes_of

POINTERS = Pointers(ComponentKey.UUID, POINTER_FRAGMENTS)
ID = "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"


def wide(text: str, units: int = NAME_UNITS_MAX) -> str:
    """`text`, which keeps the value unique, extended to the maximum width with characters that count twice."""
    return text + "\U0001d11e" * ((units - len(text)) // 2) + "x" * ((units - len(text)) % 2)


RELEASE: dict[str, Any] = {
    "project_id": ID,
    "component_id": ID,
    "deployment_track_id": wide("track"),
    "release_date": "9998-12-31",
    "release_number": INT_MAX,
    "created_by": wide("creator"),
    "description": wide("description", 100_001),
    "commit_hash": wide("commit"),
    "image_tag": wide("image"),
    "metadata": {wide("metadata", 10_000): 1e300},
    "apim_base_revisions": [
        {name: wide(name) for name in ("endpoint_name", "api_id", "revision_id", "access_mode")} for _ in range(101)
    ],
}
DEPLOYMENT: dict[str, Any] = {
    "environment_id": wide("environment"),
    "config_revision": INT_MAX,
    "config_mapping_revision": INT_MAX,
    "schema_based_config_revision": INT_MAX,
    "api_settings": {"a": int("9" * 4300)},
}
ACTIVITY: dict[str, Any] = {
    "environment_id": wide("elsewhere"),
    "config_revision": INT_MAX,
    "attempt": BIGINT_MAX,
    "activity_type": wide("activity"),
    "activity_data": {"a": [1e15] * 10_000},
}
REDRIVE: Headers = (("rudder-redrive", b"1"),)
NEVER: dict[str, Any] = {**DEPLOYMENT, "environment_id": 7, wide("unknown", 9_999): 7, "attempt": wide("no")}
DAY: list[tuple[E, dict[str, Any]]] = [
    (E.DEPLOYMENT_REQUESTED, DEPLOYMENT),
    (E.RELEASE_CREATED, RELEASE),
    (E.RELEASE_SUBMITTED, {}),
    (E.RELEASE_APPROVED, {}),
    (E.RELEASE_APPROVED, {}),
    (E.DEPLOYMENT_REQUESTED, DEPLOYMENT),
    (E.DEPLOYMENT_REQUESTED, DEPLOYMENT),
    (E.DEPLOYMENT_SUCCEEDED, {**DEPLOYMENT, "release": RELEASE}),
    (E.ACTIVITY_RECORDED, ACTIVITY),
    (E.DEPLOYMENT_STARTED, {**DEPLOYMENT, "attempt": BIGINT_MAX}),
    (E.DEPLOYMENT_STARTED, {**DEPLOYMENT, "environment_id": wide("environment").upper()}),
    (E.DEPLOYMENT_STARTED, NEVER),
]


def message(number: int, *, redriven: bool = False) -> Message:
    """The day's event of that number, decoded from its record; invalid events are written as well."""
    kind, data = DAY[number]
    envelope = {
        "specversion": "1.0",
        "id": wide(f"{number}/"),
        "source": wide("/ci/", SOURCE_UNITS_MAX),
        "type": kind.value,
        "time": f"9998-12-31T23:59:{number:02}.999999999Z",
        "data": {"release_id": ID, "organization_id": wide("o"), "actor": wide("a"), "comment": "c" * 100_000, **data},
    }
    record = Record(
        topic="t" * 249,
        partition=INT_MAX,
        offset=BIGINT_MAX if redriven else BIGINT_MAX - 1,
        timestamp_ms=BIGINT_MAX,
        key=None,
        value=json.dumps(envelope, ensure_ascii=False).encode(),
        headers=REDRIVE if redriven else (),
    )
    return Message(record=record, content=decode(record))


def values(write: Write) -> Iterator[tuple[str, str, object]]:
    """Table, column and value of everything that the statement writes."""
    sql = write.statement.sql
    if found := re.match(r"INSERT INTO (\w+) \(([^)]*)\) VALUES", sql):
        columns = found[2].split(", ")
        for index, value in enumerate(write.values):
            yield found[1], columns[index % len(columns)], value
        return
    found = re.match(r"UPDATE (\w+) SET (.*?) WHERE", sql)
    assert found is not None, sql
    assignments = re.findall(r"(\w+) = (COALESCE\()?:\w+", found[2])
    for (column, kept), value in zip(assignments, write.values, strict=False):
        if not (kept and value is None):  # then the column keeps its value
            yield found[1], column, value


def fits(table: str, column: str, value: object) -> bool:
    column_type = Base.metadata.tables[table].columns[column].type
    match value:
        case None:
            return Base.metadata.tables[table].columns[column].nullable is True
        case str() if isinstance(column_type, String):
            return column_type.length is None or utf16_units(value) <= column_type.length
        case int():
            bits = 63 if isinstance(column_type, BigInteger) else 31
            return isinstance(column_type, Integer) and -(2**bits) <= value < 2**bits
        case UUID():
            return isinstance(column_type, Guid)
        case datetime():
            return isinstance(column_type, UtcTimestamp) and 1 <= value.year <= 9998
        case date():
            return isinstance(column_type, DATE) and 1 <= value.year <= 9998
    return False


@pytest.fixture(scope="module")
def written() -> list[tuple[str, str, object]]:
    """All values that a day of the widest events writes."""
    world = World(environments=[wide("environment")])
    messages = [message(number) for number in range(len(DAY))]
    assert [isinstance(one.content, Event) for one in messages] == [True] * (len(DAY) - 1) + [False]
    hopeless = message(len(DAY) - 1, redriven=True)
    turns: list[tuple[Message, State, Outcome]] = []
    for one in (*messages, message(0, redriven=True)):
        state = world.load(one)
        turns.append((one, state, world.take(one)))
    state = world.load(hopeless)
    turns.append((hopeless, state, reject(state, hopeless, Reason.PROCESSING_ERROR, "x" * DETAIL_CHARS_MAX)))
    outcomes = [outcome for _, _, outcome in turns]
    assert {type(outcome).__name__ for outcome in outcomes} == {"Applied", "Stale", "Rejected"}
    return [value for turn in turns for write in writes(*turn) for value in values(write)]


def writes(one: Message, state: State, outcome: Outcome) -> Sequence[Write]:
    changes = changes_of(outcome)
    if changes is None:
        return ()
    return write_set_of(changes, query_of(one), state, POINTERS).writes


def test_widest_values_fit_their_columns(written: list[tuple[str, str, object]]) -> None:
    """Texts in UTF-16 units, numbers in bits, days and times in the calendar of every database."""
    assert {(table, column) for table, column, value in written if not fits(table, column, value)} == set()


def test_widest_day_fills_every_column(
    written: list[tuple[str, str, object]],
) -> None:
    """Otherwise the test above would not check every column. `status`, `reason` and the three texts of a pointer have
    values that the worker writes itself.
    """
    sent = {(table, column) for table, column, _ in written}
    own = {"status", "reason", "release_mgt_release_id", "release_mgt_deployment_id", "release_mgt_deployment_name"}
    for table in Base.metadata.tables.values():
        if table.name in OPERATORS_TABLES:
            continue  # no message writes them
        for column in table.columns:
            if table.name == "app_environments" and not column.name.startswith("release_mgt"):
                continue  # the worker writes none of its key
            assert (table.name, column.name) in sent, column
            length = getattr(column.type, "length", None)
            if length is None or column.name in own:
                continue
            widest = max(
                utf16_units(value)
                for to_table, to_column, value in written
                if (to_table, to_column) == (table.name, column.name) and isinstance(value, str)
            )
            if column.name != "event_type":  # of an invalid event: see test_bounds
                assert widest == length, column


def test_widest_rejection_fits_its_row(written: list[tuple[str, str, object]]) -> None:
    """The worker cuts the detail, which is its own text, to the width of its column."""
    details = [value for table, column, value in written if (table, column) == ("release_event_rejections", "detail")]
    assert len(details) > 3
    assert all(isinstance(detail, str) and 0 < utf16_units(detail) <= DETAIL_CHARS_MAX for detail in details)


def test_comparison_detects_a_value_that_does_not_fit() -> None:
    assert not fits("releases", "created_by", "x" * 256)
    assert not fits("releases", "created_by", "\U0001d11e" * 128)
    assert not fits("releases", "created_by", None)
    assert not fits("releases", "release_number", 2**31)
    assert not fits("release_deployments", "attempt", 2**63)
    assert not fits("releases", "release_date", "2026-03-01")
