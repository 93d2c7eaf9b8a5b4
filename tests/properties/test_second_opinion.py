"""Hypothesis looks for a story on which the worker and the model of the contract differ: in an outcome, in what is
published, or in a single cell.

`RUDDER_TEST_SEARCH=50 make test ARGS=tests/properties/test_second_opinion.py` tries 20,000 random stories.
"""

import asyncio
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings

from tests.conformance.contents import contents, insert_rows
from tests.conformance.stores import migrate, opened
from tests.properties.two_opinions import (
    BYTES_MAX,
    COMPONENT,
    NAMESPACE,
    PUBLICATIONS,
    STORIES,
    Step,
    Tables,
    as_the_model_has_it,
    compare,
    environments,
    expected_of,
    model,
    outcome_name,
    placed,
    promised,
    record_of,
    rows_of_model,
    spoken,
    told,
)
from tests.properties.world import World
from tests.search import examples
from worker.pipeline.transaction import process, read
from worker.rules.identity import NAMESPACE as WORKERS_NAMESPACE

EXAMPLES = examples(400)
pytestmark = pytest.mark.timeout(max(300, EXAMPLES))  # seconds: a long search takes long
SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# What the model once had wrong, or had to be told.
BROKEN_ENVELOPE = [Step(edit=(".specversion", "0.3")), Step(kind="release.created", edit=(".id", ""))]
EMPTY_VALUES = [Step(mode=mode, edit=(".value", b"")) for mode in ("binary", "structured", "bare")]
SUPERSEDED = [Step(), Step(), Step(kind="deployment.succeeded")]
SETTLED = [Step(block=False), Step(kind="release.created"), Step(repeats=2, redrive=True), Step(repeats=1)]
REDELIVERED = [Step(block=False), Step(repeats=1, redrive=True), Step(), Step(repeats=2, redelivered=True)]
RETYPED = [Step(attempt=2), Step(kind="deployment.rolled_back", identity=0), Step(repeats=1, redrive=True)]
NOTED = [Step(), Step(kind="activity.recorded", attempt=3), Step(kind="activity.recorded", block=False)]
BLANKS = [Step(environment="prod eu"), Step(environment="prodeu"), Step(environment=" Prodeu")]
DEEP: dict[str, Any] = {}
for _ in range(62):
    DEEP = {"deeper": DEEP}
DEEPEST = [Step(mode=mode, edit=("api_settings", DEEP)) for mode in ("binary", "structured", "bare")]
TOO_DEEP = [Step(mode=mode, edit=("api_settings", {"deeper": DEEP})) for mode in ("binary", "structured", "bare")]
NUL_IN_A_NAME = [Step(edit=("api_settings", {"a\0b": 1}))]
ACCENTED = [Step(), Step(kind="activity.recorded", edit=("activity_type", "EV\u00c9NT_STALE"))]


def test_the_namespace_of_ids_is_as_it_always_was() -> None:
    """One fixed namespace: another one would make every known event look new."""
    assert WORKERS_NAMESPACE == NAMESPACE


@given(steps=STORIES)
@settings(SETTINGS, max_examples=EXAMPLES)
@example(steps=BROKEN_ENVELOPE)
@example(steps=EMPTY_VALUES)
@example(steps=SUPERSEDED)
@example(steps=SETTLED)
@example(steps=REDELIVERED)
@example(steps=RETYPED)
@example(steps=NOTED)
@example(steps=BLANKS)
@example(steps=DEEPEST)
@example(steps=TOO_DEEP)
@example(steps=NUL_IN_A_NAME)
@example(steps=ACCENTED)
def test_no_story_tells_the_rules_and_the_model_apart(steps: list[Step]) -> None:
    """Records as bytes, through decoding and `decide`; the rows in memory."""
    compare(steps)


# --- through a database


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with empty tables and the platform's environments, to be copied."""
    path: Path = tmp_path_factory.mktemp("second_opinion") / "template.db"
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


@given(steps=STORIES)
@settings(SETTINGS, max_examples=examples(25))
@example(steps=SUPERSEDED)
@example(steps=SETTLED)
@example(steps=REDELIVERED)
@example(steps=RETYPED)
def test_no_story_tells_the_store_and_the_model_apart(migrated: Path, steps: list[Step]) -> None:
    """The same through the worker's own transaction and a SQLite file, whose every cell is compared."""
    path = migrated.with_name("story.db")
    shutil.copy(migrated, path)
    asyncio.run(_compare_stored(path, steps))


async def _compare_stored(path: Path, steps: list[Step]) -> None:
    opinion = model()
    async with opened(_url(path)) as store:
        for record in told(steps):
            message = read(record, event_bytes_max=BYTES_MAX)
            said = len(opinion.published)
            expected = opinion.handle(as_the_model_has_it(record))
            if record.is_tombstone:
                assert expected == "Skipped"
                continue
            outcome = await process(message, store)
            assert outcome_name(outcome) == expected, record
            published = PUBLICATIONS.of(outcome, message, attempts=1)
            assert [spoken(one) for one in published] == [expected_of(one) for one in opinion.published[said:]]
    assert _comparable(await contents(_url(path))) == rows_of_model(opinion)


def _comparable(found: dict[str, list[dict[str, Any]]]) -> Tables:
    """And without what is the platform's: its own columns."""
    for row in found["app_environments"]:
        assert (row.pop("created_at"), row.pop("updated_at")) == (None, None)
        del row["id"]
    return promised({table: found[table] for table in rows_of_model(model())})


# --- where the worker does otherwise than the contract says


@pytest.mark.parametrize("value", ["a\0b", {"a\0b": 1}, [["\0"]]])
def test_a_field_that_nobody_knows_may_hold_anything(value: Any) -> None:
    """Tolerant reader: unknown fields in input data are ignored."""
    compare([Step(kind="release.created"), Step(kind="release.submitted", edit=("colour", value))])


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="a redrive of another partition hides that this one was judged already"
)
def test_a_restart_does_not_judge_a_redrive_of_another_partition_again() -> None:
    """No outcome depends on how often the worker was restarted."""
    event = record_of(Step(block=False), 0)
    first = placed(event.value, event.headers, 1, redrive=True)
    second = placed(event.value, event.headers, 2, partition=1, redrive=True)
    created = record_of(Step(kind="deployment.requested", environment="test"), 3)
    world, opinion = World(), model()
    for record in (event, first, second, created, first):
        expected = opinion.handle(as_the_model_has_it(record))
        assert outcome_name(world.take(read(record, event_bytes_max=BYTES_MAX))) == expected
