"""Hypothesis searches for a scenario on which the worker and the oracle differ: in an outcome, in an outgoing record,
or in a single cell.

`RUDDER_TEST_SEARCH=50 make test ARGS=tests/properties/test_oracle.py` runs 20,000 random scenarios.
"""

import asyncio
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings

from schemas.derived_ids import NAMESPACE as WORKERS_NAMESPACE
from tests.conformance.stores import migrate, opened
from tests.conformance.table_contents import contents, insert_rows
from tests.hypothesis_profile import examples
from tests.oracle.comparison import expected_tables, found_tables
from tests.oracle.formats import NAMESPACE
from tests.oracle.oracle import Oracle
from tests.properties.oracle_scenarios import (
    BYTES_MAX,
    COMPONENT,
    SCENARIOS,
    WITH_STATES,
    Step,
    compare,
    environments,
    expected_outgoing,
    found_outgoing,
    oracle_record,
    outcome_name,
    placed,
    record_of,
    records_of,
)
from tests.properties.world import World
from worker.pipeline.transaction import process, read

EXAMPLES = examples(400)
pytestmark = pytest.mark.timeout(max(300, EXAMPLES))  # seconds: a long search takes long
SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Scenarios that found a difference once.
BROKEN_ENVELOPE = [Step(edit=(".specversion", "0.3")), Step(kind="release.created", edit=(".id", ""))]
EMPTY_VALUES = [Step(mode=mode, edit=(".value", b"")) for mode in ("binary", "structured", "bare")]
SUPERSEDED = [Step(), Step(), Step(kind="deployment.succeeded")]
SETTLED = [Step(block=False), Step(kind="release.created"), Step(repeats=2, redrive=True), Step(repeats=1)]
REDELIVERED = [Step(block=False), Step(repeats=1, redrive=True), Step(), Step(repeats=2, redelivered=True)]
RETYPED = [Step(attempt=2), Step(kind="deployment.rolled_back", identity=0), Step(repeats=1, redrive=True)]
NAMED = [
    Step(block=False),
    Step(repeats=1, redrive=True, redrive_at=True),
    Step(kind="deployment.requested", environment="test"),
    Step(repeats=3, redrive=True, redrive_at=True),
    Step(repeats=3, redrive=True, redrive_at=True),
]
CORRECTED = [Step(block=False), Step(kind="release.created", corrects=1), Step(kind="release.submitted", corrects=2)]
NOTED = [Step(), Step(kind="activity.recorded", attempt=3), Step(kind="activity.recorded", block=False)]
BLANKS = [Step(environment="prod eu"), Step(environment="prodeu"), Step(environment=" Prodeu")]
DEEP: dict[str, Any] = {}
for _ in range(62):
    DEEP = {"deeper": DEEP}
DEEPEST = [Step(mode=mode, edit=("api_settings", DEEP)) for mode in ("binary", "structured", "bare")]
TOO_DEEP = [Step(mode=mode, edit=("api_settings", {"deeper": DEEP})) for mode in ("binary", "structured", "bare")]
NUL_IN_A_NAME = [Step(edit=("api_settings", {"a\0b": 1}))]
ACCENTED = [Step(), Step(kind="activity.recorded", edit=("activity_type", "EV\u00c9NT_STALE"))]


def test_namespace_of_ids_never_changes() -> None:
    """One fixed namespace: another one would make every known event look new."""
    assert WORKERS_NAMESPACE == NAMESPACE


@given(steps=SCENARIOS)
@settings(SETTINGS, max_examples=EXAMPLES)
@example(steps=BROKEN_ENVELOPE)
@example(steps=EMPTY_VALUES)
@example(steps=SUPERSEDED)
@example(steps=SETTLED)
@example(steps=REDELIVERED)
@example(steps=RETYPED)
@example(steps=NAMED)
@example(steps=CORRECTED)
@example(steps=NOTED)
@example(steps=BLANKS)
@example(steps=DEEPEST)
@example(steps=TOO_DEEP)
@example(steps=NUL_IN_A_NAME)
@example(steps=ACCENTED)
def test_rules_agree_with_the_oracle(steps: list[Step]) -> None:
    """Records as bytes, through decoding and `decide`; the rows in memory."""
    compare(steps)


# --- through a database


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with empty tables and the platform's environments, to be copied."""
    path: Path = tmp_path_factory.mktemp("oracle") / "template.db"
    rows = [
        {**row, "id": UUID(int=number), "component_id": UUID(COMPONENT), "created_at": None, "updated_at": None}
        for number, row in enumerate(environments())
    ]

    async def fill() -> None:
        await migrate(_url(path))
        await insert_rows(_url(path), "app_environments", rows)

    asyncio.run(fill())
    return path


def _url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


@given(steps=SCENARIOS)
@settings(SETTINGS, max_examples=examples(25))
@example(steps=SUPERSEDED)
@example(steps=SETTLED)
@example(steps=REDELIVERED)
@example(steps=RETYPED)
@example(steps=NAMED)
@example(steps=CORRECTED)
def test_store_agrees_with_the_oracle(migrated: Path, steps: list[Step]) -> None:
    """The same through the worker's own transaction and a SQLite file, whose every cell is compared."""
    path = migrated.with_name("scenario.db")
    shutil.copy(migrated, path)
    asyncio.run(_compare_stored(path, steps))


async def _compare_stored(path: Path, steps: list[Step]) -> None:
    oracle = Oracle(environments=environments())
    async with opened(_url(path)) as store:
        for record in records_of(steps):
            message = read(record, event_bytes_max=BYTES_MAX)
            before = len(oracle.published)
            expected = oracle.handle(oracle_record(record))
            if record.is_tombstone:
                assert expected == "Skipped"
                continue
            outcome = await process(message, store)
            assert outcome_name(outcome) == expected, record
            outgoing = WITH_STATES.of(outcome, message, attempts=1)
            assert list(map(found_outgoing, outgoing)) == list(map(expected_outgoing, oracle.published[before:]))
    found = await contents(_url(path))
    for row in found["app_environments"]:  # without the platform's columns
        assert (row.pop("created_at"), row.pop("updated_at")) == (None, None)
        del row["id"]
    assert found_tables(found) == expected_tables(oracle)


# --- where the worker differs from the contract


@pytest.mark.parametrize("value", ["a\0b", {"a\0b": 1}, [["\0"]]])
def test_unknown_field_may_hold_any_value(value: Any) -> None:
    """Tolerant reader: unknown fields in input data are ignored."""
    compare([Step(kind="release.created"), Step(kind="release.submitted", edit=("colour", value))])


def test_restart_does_not_decide_a_redrive_again() -> None:
    """No outcome depends on how often the worker was restarted: a redrive that names the rejected record's position is
    decided once, also where a redrive of another partition came between.
    """
    event = record_of(Step(block=False), 0)
    first = placed(event.value, event.headers, 1, redrive=b"in/0@0")
    second = placed(event.value, event.headers, 2, partition=1, redrive=b"in/0@1")
    created = record_of(Step(kind="deployment.requested", environment="test"), 3)
    world, oracle = World(), Oracle(environments=environments())
    outcomes = []
    for record in (event, first, second, created, first):
        outcomes.append(outcome_name(world.take(read(record, event_bytes_max=BYTES_MAX))))
        assert oracle.handle(oracle_record(record)) == outcomes[-1]
    rejected = "Rejected release_not_found"
    assert outcomes == [rejected, rejected, rejected, "Applied", "Duplicate"]
