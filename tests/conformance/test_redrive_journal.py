"""The journal of redrives, on each database: no record is claimed twice, and every step may be repeated."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from tests.conformance.stores import migrate
from worker.db.operators_database import OperatorsDatabase
from worker.db.redrive_journal import SqlRedriveJournal
from worker.dead_letters.plan import KIND
from worker.operator_actions import Operator, recorded
from worker.rules.message import RecordPosition
from worker.stored_redrives import Held, JournalRow, Pinned, Settled, State


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[OperatorsDatabase]:
    await migrate(database_url)
    database = OperatorsDatabase.open(database_url, timeout_seconds=20)
    yield database
    await database.close()


@pytest.fixture
def journal(database: OperatorsDatabase) -> SqlRedriveJournal:
    return database.redrives


async def begun(database: OperatorsDatabase, rows: Sequence[JournalRow]) -> UUID:
    """The id of a redrive whose plan is written."""
    async with recorded(
        database.actions,
        operator=Operator(name="maria", host="bastion"),
        command=KIND,
        arguments={"rate": "10/s"},
        plan_sha256="ab" * 32,
    ) as progress:
        await database.redrives.plan(progress.action.id, rows)
    return progress.action.id


def row_of(number: int, *, rejection_id: UUID | None = None, release_id: UUID | None = None) -> JournalRow:
    pinned = Pinned(rejection_id or uuid4(), RecordPosition("events", 3, 10 + number))
    return JournalRow(number=number, pinned=pinned, release_id=release_id, predicted="applied")


async def test_plan_is_read_as_it_was_written(database: OperatorsDatabase, journal: SqlRedriveJournal) -> None:
    rows = [row_of(number, release_id=uuid4() if number % 2 else None) for number in range(450)]
    action_id = await begun(database, rows)
    assert await journal.rows(action_id) == rows
    action = await journal.action(action_id)
    assert action is not None
    assert (action.command, action.arguments, action.plan_sha256) == (KIND, {"rate": "10/s"}, "ab" * 32)
    assert await journal.action(uuid4()) is None
    assert await journal.rows(uuid4()) == []
    assert await journal.held([row.pinned.rejection_id for row in rows]) == {}


async def test_row_goes_through_its_states(database: OperatorsDatabase, journal: SqlRedriveJournal) -> None:
    """Each step may be repeated, as after a response that was lost."""
    first, second = row_of(0), row_of(1)
    action_id = await begun(database, [first, second])
    for _ in range(2):
        await journal.sending(action_id, first, end_offset=17, claim="mine")
    sending = replace(first, state=State.SENDING, end_offset=17, claim="mine")
    assert await journal.rows(action_id) == [sending, second]
    assert await journal.held([first.pinned.rejection_id, second.pinned.rejection_id]) == {
        first.pinned.rejection_id: action_id
    }
    for _ in range(2):
        await journal.sent(action_id, 0, offset=19)
    assert (await journal.rows(action_id))[0] == replace(sending, state=State.SENT, sent_offset=19, claim=None)
    for _ in range(2):
        await journal.settled(action_id, 0, Settled.REJECTED, "ü" * 2_000)
    [settled, _] = await journal.rows(action_id)
    assert (settled.state, settled.outcome, settled.detail) == (State.SETTLED, Settled.REJECTED, "ü" * 1_000)
    assert await journal.held([first.pinned.rejection_id]) == {}


async def test_claim_is_taken_over_once(database: OperatorsDatabase, journal: SqlRedriveJournal) -> None:
    """Of two processes that resume, one gets the record in SENDING; its end offset stays that of the first."""
    row = row_of(0)
    action_id = await begun(database, [row])
    await journal.sending(action_id, row, end_offset=17, claim="killed")
    [found] = await journal.rows(action_id)
    claims = [journal.sending(action_id, found, end_offset=99, claim=claim) for claim in ("second", "third")]
    results = await asyncio.gather(*claims, return_exceptions=True)
    assert [type(result) for result in results].count(type(None)) == 1
    [held] = [result for result in results if isinstance(result, Held)]
    assert held.action_id == action_id
    [kept] = await journal.rows(action_id)
    assert (kept.end_offset, kept.claim) == (17, "second" if results[0] is None else "third")


async def test_two_redrives_do_not_hold_one_event(database: OperatorsDatabase, journal: SqlRedriveJournal) -> None:
    """The second is refused and learns the first's id, until the first has settled the event."""
    rejection_id = uuid4()
    row = row_of(0, rejection_id=rejection_id)
    first, second = await begun(database, [row]), await begun(database, [row])
    await journal.sending(first, row, end_offset=5, claim="one")
    for _ in range(2):
        with pytest.raises(Held) as refused:
            await journal.sending(second, row, end_offset=5, claim="two")
        assert (refused.value.action_id, refused.value.rejection_id) == (first, rejection_id)
    await journal.sent(first, 0, offset=5)
    with pytest.raises(Held):
        await journal.sending(second, row, end_offset=6, claim="two")
    await journal.settled(first, 0, Settled.APPLIED, None)
    await journal.sending(second, row, end_offset=6, claim="two")
    assert await journal.held([rejection_id]) == {rejection_id: second}
