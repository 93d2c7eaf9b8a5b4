"""The selection of dead letters, on each database."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.conformance.rejection_rows import dismissal, rejection
from tests.conformance.release_messages import MOMENT, minute
from tests.conformance.stores import migrate
from tests.conformance.table_contents import insert_rows
from tests.conformance.table_contents import rows as rows_of
from worker.db.operators_database import OperatorsDatabase
from worker.dead_letters.dismissal import DismissalPlan, execute
from worker.dead_letters.grouping import GroupBy, grouped
from worker.dead_letters.selection import by_filters, by_ids
from worker.pages import CappedCount, PageKey
from worker.rules.errors import ConfigurationError
from worker.stored_dead_letters import DeadLetter, DeadLetterState, Dismissal, Filters

RELEASE = uuid4()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[OperatorsDatabase]:
    await migrate(database_url)
    database = OperatorsDatabase.open(database_url, timeout_seconds=20)
    yield database
    await database.close()


async def test_filters_select_dead_letters(database_url: str, database: OperatorsDatabase) -> None:
    """Each alone, and in each state; text is compared as it is, whatever a wildcard would mean."""
    rows = [
        rejection(0, reason="invalid_data", detail="/data/X[1]: 100% wrong"),
        rejection(1, event_source="/other", release_mgt_id=RELEASE),
        rejection(2, event_type="dev.rudder.release.created.v1", topic="more-events"),
        rejection(3, resolved_at=MOMENT),
        rejection(4),
        rejection(5, resolved_at=MOMENT),
    ]
    await insert_rows(database_url, "release_event_rejections", rows)
    await insert_rows(database_url, "release_event_dismissals", [dismissal(rows[4]), dismissal(rows[5])])

    async def selected(**filters: Any) -> list[int]:
        found = await database.dead_letters.page(Filters(**filters), None, 100)
        count = await database.dead_letters.count(Filters(**filters), 100)
        assert count == CappedCount(len(found))
        return [one.rejection.offset for one in found]

    assert await selected() == [2, 1, 0]
    assert await selected(state=DeadLetterState.RESOLVED) == [5, 3]
    assert await selected(state=DeadLetterState.DISMISSED) == [4]
    assert await selected(state=DeadLetterState.ALL) == [5, 4, 3, 2, 1, 0]
    assert await selected(reason="invalid_data") == [0]
    assert await selected(source="/other") == [1]
    assert await selected(release=RELEASE) == [1]
    assert await selected(type="dev.rudder.release.created.v1") == [2]
    assert await selected(topic="more-events") == [2]
    assert await selected(since=minute(1)) == [2, 1]
    assert await selected(until=minute(1)) == [0]
    assert await selected(detail_contains="x[1]: 100% WRONG") == [0]
    assert await selected(detail_contains="x_1") == []
    assert await selected(detail_contains="does%exist") == []


async def test_dismissal_is_read_with_its_rejection(database_url: str, database: OperatorsDatabase) -> None:
    row = rejection(0, detail="Zürich")
    await insert_rows(database_url, "release_event_rejections", [row])
    await insert_rows(database_url, "release_event_dismissals", [dismissal(row)])
    [found] = await database.dead_letters.by_ids([row["id"], uuid4()])
    assert (found.id, found.rejection.detail, found.state) == (row["id"], "Zürich", DeadLetterState.DISMISSED)
    assert found.dismissal is not None
    assert (found.dismissal.dismissed_by, found.dismissal.note) == ("maria", "ein Käfer")
    assert found.dismissal.dismissed_at == MOMENT


async def test_pages_are_the_whole_set(database_url: str, database: OperatorsDatabase) -> None:
    """Each once, also where many have one time, and while newer ones are added after each page."""
    rows = [rejection(number // 7) for number in range(40)]
    await insert_rows(database_url, "release_event_rejections", rows)
    found, after = list[DeadLetter](), None
    while page := await database.dead_letters.page(Filters(), after, 6):
        found += page
        after = PageKey.parse(str(page[-1].key))
        await insert_rows(database_url, "release_event_rejections", [rejection(1_000 + len(found))])
    assert sorted(one.id for one in found) == sorted(row["id"] for row in rows)
    times = [one.rejection.created_at for one in found]
    assert times == sorted(times, reverse=True)


async def test_count_ends_at_its_limit(database_url: str, database: OperatorsDatabase) -> None:
    rows = [rejection(number) for number in range(11)]
    await insert_rows(database_url, "release_event_rejections", rows)
    counts = [str(await database.dead_letters.count(Filters(), limit)) for limit in (10, 11, 12)]
    assert counts == ["10+", "11", "11"]


async def test_selection_by_ids_is_complete_or_refused(database_url: str, database: OperatorsDatabase) -> None:
    """Of more ids than one statement names; an id that is no dead letter's is an error."""
    rows = [rejection(number) for number in range(450)]
    await insert_rows(database_url, "release_event_rejections", rows)
    ids = [row["id"] for row in rows]
    found = await by_ids(database.dead_letters, [*ids, ids[3]])
    assert ids_of(found) == ids[::-1]
    unknown = uuid4()
    for asked, problem in (([*ids, unknown], str(unknown)), ([], "no dead letter is selected")):
        with pytest.raises(ConfigurationError, match=problem):
            await by_ids(database.dead_letters, asked)


async def test_selection_by_filters_ends_at_its_limit(database_url: str, database: OperatorsDatabase) -> None:
    """One more than the limit shows that there are more."""
    rows = [rejection(number) for number in range(1_203)]
    await insert_rows(database_url, "release_event_rejections", rows)
    ids = [row["id"] for row in rows][::-1]
    assert ids_of(await by_filters(database.dead_letters, Filters(), 2_000)) == ids
    assert ids_of(await by_filters(database.dead_letters, Filters(), 1_000)) == ids[:1_001]
    later = Filters(since=MOMENT + timedelta(days=9))
    with pytest.raises(ConfigurationError, match="match no dead letter"):
        await by_filters(database.dead_letters, later, 10)


async def test_groups_are_counted(database_url: str, database: OperatorsDatabase) -> None:
    """The largest first; events without the value are a group, too; the fingerprint has no ids and numbers."""
    rows = [rejection(number, detail=f"attempt {number}", release_mgt_id=RELEASE) for number in range(3)]
    rows += [rejection(7, reason="invalid_data", event_source=None, detail=f"{uuid4()} is wrong")]
    await insert_rows(database_url, "release_event_rejections", rows)

    async def counted(by: GroupBy, **filters: Any) -> list[tuple[str | None, int, int]]:
        found = await grouped(database.dead_letters, Filters(**filters), by)
        assert (found.groups[0].first, found.groups[0].last) == (minute(0), minute(2))
        return [(group.value, group.count, group.releases) for group in found.groups]

    assert await counted(GroupBy.REASON) == [("release_not_found", 3, 1), ("invalid_data", 1, 0)]
    assert await counted(GroupBy.SOURCE) == [("/ci", 3, 1), (None, 1, 0)]
    assert await counted(GroupBy.TYPE, release=RELEASE) == [("dev.rudder.deployment.started.v1", 3, 1)]
    assert await counted(GroupBy.FINGERPRINT) == [
        ("release_not_found: attempt #", 3, 1),
        ("invalid_data: <id> is wrong", 1, 0),
    ]


async def test_earlier_redrives_are_read(database_url: str, database: OperatorsDatabase) -> None:
    """Of this dead letter alone, the latest first."""
    row = rejection(0)
    await insert_rows(database_url, "release_event_rejections", [row])
    for number, outcome in enumerate(["rejected", None]):
        action = uuid4()
        operator = {"operator": f"jo{number}", "host": "h", "command": "dead-letters redrive", "arguments": "{}"}
        await insert_rows(database_url, "operator_actions", [{"id": action, "started_at": minute(number), **operator}])
        sent = {"topic": "events", "topic_partition": 0, "topic_offset": 0, "predicted": "applied", "state": "SENT"}
        other = {"action_id": action, "position": 1, "rejection_id": uuid4(), **sent}
        own = {"action_id": action, "position": 0, "rejection_id": row["id"], **sent, "outcome": outcome}
        if outcome is not None:
            own["state"] = "SETTLED"
        await insert_rows(database_url, "redrive_records", [own])
        await insert_rows(database_url, "redrive_records", [other])
    found = await database.dead_letters.redrives_of(row["id"])
    assert [(one.operator, one.state, one.outcome) for one in found] == [
        ("jo1", "SENT", None),
        ("jo0", "SETTLED", "rejected"),
    ]
    assert [one.started_at for one in found] == [minute(1), minute(0)]


async def test_dismissals_are_written_once(database_url: str, database: OperatorsDatabase) -> None:
    """Of open ones alone, in more than one transaction; a repetition keeps the first note."""
    dead_letters = [rejection(number) for number in range(450)]
    dead_letters[3]["resolved_at"] = MOMENT
    await insert_rows(database_url, "release_event_rejections", dead_letters)
    await insert_rows(database_url, "release_event_dismissals", [dismissal(dead_letters[7])])
    before = await rows_of(database_url, "release_event_rejections")
    everything = await by_filters(database.dead_letters, Filters(state=DeadLetterState.ALL), 1_000)
    for note, count in (("one bad build", 448), ("again", 0)):
        dismissed = set[UUID]()
        row = Dismissal(dismissed_at=minute(9), dismissed_by="jo", note=note)
        await execute(DismissalPlan(selected=everything, note=note), database.dead_letters, row, dismissed)
        assert len(dismissed) == count
    written = {row["rejection_id"]: row for row in await rows_of(database_url, "release_event_dismissals")}
    assert len(written) == 449
    assert dead_letters[3]["id"] not in written
    assert written[dead_letters[7]["id"]]["note"] == "ein Käfer"
    assert written[dead_letters[8]["id"]]["note"] == "one bad build"
    assert await rows_of(database_url, "release_event_rejections") == before


async def test_dismissal_of_a_letter_resolved_meanwhile_is_left(database_url: str, database: OperatorsDatabase) -> None:
    """What was open in the plan, and is resolved when the plan is executed."""
    dead_letters = [rejection(0, resolved_at=MOMENT), rejection(1)]
    await insert_rows(database_url, "release_event_rejections", dead_letters)
    row = Dismissal(dismissed_at=minute(9), dismissed_by="jo", note="n")
    assert await database.dead_letters.dismiss([one["id"] for one in dead_letters], row) == [dead_letters[1]["id"]]


def ids_of(found: Sequence[DeadLetter]) -> list[UUID]:
    return [one.id for one in found]
