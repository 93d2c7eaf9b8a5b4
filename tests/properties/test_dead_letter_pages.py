"""Pages of dead letters, for any times of events and any filters, while dead letters are added and settled."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, insert

from tests.hypothesis_profile import examples
from worker.db.dead_letters import count_query, page_query
from worker.db.models import Base
from worker.pages import PageKey
from worker.stored_dead_letters import DeadLetterState, Filters

MOMENT = datetime(2026, 3, 17, 9, 30, tzinfo=UTC)
REASONS = ("attempt_gap", "invalid_data")


@dataclass(frozen=True, slots=True)
class Row:
    """`minutes`: the time of its event; several have the same."""

    id: UUID
    minutes: int
    reason: str
    resolved: bool
    dismissed: bool

    def passes(self, filters: Filters) -> bool:
        states = {
            DeadLetterState.ALL: True,
            DeadLetterState.OPEN: not self.resolved and not self.dismissed,
            DeadLetterState.RESOLVED: self.resolved,
            DeadLetterState.DISMISSED: self.dismissed and not self.resolved,
        }
        time = MOMENT + timedelta(minutes=self.minutes)
        return (
            states[filters.state]
            and filters.reason in {None, self.reason}
            and (filters.since is None or time >= filters.since)
            and (filters.until is None or time < filters.until)
        )


def rows(max_size: int) -> st.SearchStrategy[list[Row]]:
    row = st.builds(
        Row,
        id=st.uuids(),
        minutes=st.integers(0, 5),
        reason=st.sampled_from(REASONS),
        resolved=st.booleans(),
        dismissed=st.booleans(),
    )
    return st.lists(row, max_size=max_size, unique_by=lambda one: one.id)


minutes = st.none() | st.integers(-1, 7).map(lambda number: MOMENT + timedelta(minutes=number))
filters_ = st.builds(
    Filters,
    reason=st.none() | st.sampled_from(REASONS),
    since=minutes,
    until=minutes,
    state=st.sampled_from(list(DeadLetterState)),
)


@settings(max_examples=examples(60), deadline=None)
@given(rows(25), filters_, st.integers(1, 8), st.lists(rows(3), max_size=5))
def test_pages_have_each_dead_letter_once(
    stored: list[Row], filters: Filters, limit: int, added: list[list[Row]]
) -> None:
    """Each that is there from the first page on, in order, exactly once; one that is added meanwhile at most once."""
    known = {row.id for row in stored}
    later = [[row for row in some if row.id not in known] for some in added]
    with database() as connection:
        insert_rows(connection, stored)
        found: list[UUID] = []
        keys: list[PageKey] = []
        after: PageKey | None = None
        while page := connection.execute(page_query(filters, after, limit)).all():
            assert len(page) <= limit
            found += [row.id for row in page]
            keys += [PageKey(row.created_at, row.id) for row in page]
            after = PageKey.parse(str(keys[-1]))
            if later:
                new = {row.id: row for row in later.pop() if row.id not in known}
                known |= new.keys()
                insert_rows(connection, list(new.values()))
    assert len(found) == len(set(found))
    wanted = [row.id for row in stored if row.passes(filters)]
    assert set(wanted) <= set(found)
    assert set(found) <= known
    assert [key.at for key in keys] == sorted((key.at for key in keys), reverse=True)


@settings(max_examples=examples(40), deadline=None)
@given(rows(20), filters_, st.integers(1, 25))
def test_count_is_that_of_the_pages_up_to_its_limit(stored: list[Row], filters: Filters, limit: int) -> None:
    with database() as connection:
        insert_rows(connection, stored)
        counted = connection.execute(count_query(filters, limit)).scalar_one()
    assert counted == min(limit + 1, sum(row.passes(filters) for row in stored))


@contextmanager
def database() -> Iterator[Connection]:
    """The two tables in memory, without guards."""
    engine = create_engine("sqlite://")
    tables = [Base.metadata.tables[name] for name in ("release_event_rejections", "release_event_dismissals")]
    try:
        with engine.begin() as connection:
            Base.metadata.create_all(connection, tables=tables)
            yield connection
    finally:
        engine.dispose()


def insert_rows(connection: Connection, some: Sequence[Row]) -> None:
    rejections: list[dict[str, Any]] = [
        {
            "id": row.id,
            "created_at": MOMENT + timedelta(minutes=row.minutes),
            "reason": row.reason,
            "detail": "",
            "topic": "events",
            "topic_partition": 0,
            "topic_offset": 0,
            "resolved_at": MOMENT if row.resolved else None,
        }
        for row in some
    ]
    dismissals = [
        {"rejection_id": row.id, "dismissed_at": MOMENT, "dismissed_by": "jo", "note": "n"}
        for row in some
        if row.dismissed
    ]
    for name, values in (("release_event_rejections", rejections), ("release_event_dismissals", dismissals)):
        if values:
            connection.execute(insert(Base.metadata.tables[name]), values)
