"""One event is rejected or applied, never both: also where one of two workers stalls just before its COMMIT.

A trigger of the test updates a row that a third session holds, so the first worker has done all of its work and cannot
commit. SQLite has one writer: there the third session keeps both workers waiting, and they follow one another.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from tests.conformance.deadlines import until
from tests.conformance.release_messages import ReleaseMessages, message, redriven
from tests.conformance.stores import migrate, opened, process_all, process_until_settled
from tests.conformance.table_contents import rows
from worker.rules.message import Message
from worker.rules.state import Outcome

STALL = {
    "sqlite": (),
    "postgresql": (
        """CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN UPDATE stalled SET number = number; RETURN NULL; END'""",
        """CREATE CONSTRAINT TRIGGER stall AFTER INSERT OR UPDATE ON {table}
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION stall()""",
    ),
    "mssql": ("CREATE TRIGGER stall ON {table} AFTER INSERT, UPDATE AS UPDATE stalled SET number = number",),
}
"""PostgreSQL's deferred trigger runs in the COMMIT itself."""

WAITING = {
    "postgresql": """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'""",
    "mssql": """SELECT COUNT(DISTINCT spid) FROM sys.sysprocesses
    WHERE dbid = DB_ID() AND blocked <> 0 AND (lastwaittype LIKE 'LCK%' OR RTRIM(lastwaittype) = 'Lock')""",
}
"""How many sessions wait for a lock. Babelfish has PostgreSQL's `Lock` for a wait type."""


class Race(NamedTuple):
    """`first` stalls before its COMMIT, `second` comes meanwhile. `table`: where the first one's write stalls."""

    before: list[Message]
    table: str
    first: Message
    meanwhile: list[Message]
    second: Message
    outcomes: list[str]


def broken_twin(sent: Message) -> Message:
    """A record with the identity of the event and invalid content."""
    twin = message(b"{", sent.record.headers)
    assert twin.id == sent.id
    return twin


def with_identity_of(sent: Message, other: Message) -> Message:
    """The other event with the first one's id, as a publisher sends it that uses an id twice."""
    own = [header for header in sent.record.headers if header[0] == "ce_id"]
    headers = [header for header in other.record.headers if header[0] != "ce_id"]
    same = message(other.record.value, (*own, *headers))
    assert same.id == sent.id
    return same


def _rejection_of_an_absent_release() -> Race:
    builder = ReleaseMessages()
    started = builder.deploy("started")
    meanwhile = [*builder.approved()]
    return Race([], "release_event_rejections", started, meanwhile, started, ["Rejected", "Duplicate"])


def _rejection_before_a_block_creates_the_release() -> Race:
    builder = ReleaseMessages()
    started = builder.deploy("started")
    with_block = ReleaseMessages(release_id=builder.release_id, number=builder.number)
    same_identity = with_block.deploy("started", release=builder.fields)
    assert same_identity.id == started.id
    return Race([], "release_event_rejections", started, [], same_identity, ["Rejected", "Duplicate"])


def _rejection_of_a_twin() -> Race:
    builder = ReleaseMessages()
    before = [*builder.approved()]
    started = builder.deploy("started")
    return Race(before, "release_event_rejections", broken_twin(started), [], started, ["Rejected", "Duplicate"])


def _rejection_of_a_twin_of_another_release() -> Race:
    """Both releases exist, and neither worker changes the other one's."""
    one, other = ReleaseMessages(), ReleaseMessages()
    before = [*one.approved(), *other.approved()]
    rolled_back = one.deploy("rolled_back")
    started = with_identity_of(rolled_back, other.deploy("started"))
    return Race(before, "release_event_rejections", rolled_back, [], started, ["Rejected", "Duplicate"])


def _application_before_a_twin_is_rejected() -> Race:
    builder = ReleaseMessages()
    before = [*builder.approved()]
    started = builder.deploy("started")
    return Race(before, "release_activity_logs", started, [], broken_twin(started), ["Applied", "Duplicate"])


def _application_that_creates_the_release() -> Race:
    builder = ReleaseMessages()
    started = builder.deploy("started", release=builder.fields)
    return Race([], "release_activity_logs", started, [], broken_twin(started), ["Applied", "Duplicate"])


def _redrive_applied_before_its_twin_is_rejected_again() -> Race:
    builder = ReleaseMessages()
    early = builder.deploy("started")
    before = [early, *builder.approved()]
    back, twin = redriven(early), redriven(broken_twin(early))
    return Race(before, "release_activity_logs", back, [], twin, ["Applied", "Duplicate"])


RACES = (
    _rejection_of_an_absent_release,
    _rejection_before_a_block_creates_the_release,
    _rejection_of_a_twin,
    _rejection_of_a_twin_of_another_release,
    _application_before_a_twin_is_rejected,
    _application_that_creates_the_release,
    _redrive_applied_before_its_twin_is_rejected_again,
)


@pytest.mark.parametrize(
    "database_url",
    ["sqlite", "postgresql", "mssql"],
    indirect=True,
)
@pytest.mark.parametrize("race", RACES, ids=lambda race: race.__name__.strip("_"))
async def test_event_is_not_both_rejected_and_applied(database_url: str, race: Callable[[], Race]) -> None:
    """The second worker waits for the first one's COMMIT, and then finds what the first one wrote."""
    await migrate(database_url)
    before, table, first, meanwhile, second, expected = race()
    kind = make_url(database_url).get_backend_name()
    async with opened(database_url) as one, opened(database_url) as other:
        await process_all(before, one)
        async with stalled(database_url, kind, table) as session:
            first_done = asyncio.create_task(process_until_settled(first, one))
            await waiting(session, kind, 1, first_done)
            if kind != "sqlite":  # there is one writer there, and it is the session
                await process_all(meanwhile, other)
            second_done = asyncio.create_task(process_until_settled(second, other))
            await waiting(session, kind, 2, second_done)
        outcomes = [type(outcome).__name__ for outcome in await asyncio.gather(first_done, second_done)]
    activities = [
        activity for activity in await rows(database_url, "release_activity_logs") if activity["id"] == first.id
    ]
    rejections = await rows(database_url, "release_event_rejections")
    unresolved = [rejection for rejection in rejections if rejection["resolved_at"] is None]
    assert len(activities) + len(unresolved) == 1
    if kind != "sqlite":  # there either worker may come first
        assert outcomes == expected


@asynccontextmanager
async def stalled(url: str, kind: str, table: str) -> AsyncIterator[AsyncConnection]:
    """A session that blocks the COMMIT of every transaction that writes to the table, until the context ends."""
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.begin() as setup:
            await setup.execute(text("CREATE TABLE stalled (number INTEGER)"))
            await setup.execute(text("INSERT INTO stalled (number) VALUES (0)"))
            for statement in STALL[kind]:
                await setup.execute(text(statement.format(table=table)))
        async with engine.begin() as session:
            await session.execute(text("UPDATE stalled SET number = number"))
            yield session
    finally:
        await engine.dispose()


async def waiting(session: AsyncConnection, kind: str, sessions: int, task: asyncio.Task[Outcome]) -> None:
    """Return when `sessions` sessions wait for a lock, or when the task is done."""

    async def waits() -> bool:
        return task.done() or await session.scalar(text(WAITING[kind])) == sessions

    if kind in WAITING:
        await until(waits, what=f"{sessions} sessions wait for a lock")


@pytest.mark.parametrize("track", ["MAIN", "main ", "m\u00e4in", "main"])
async def test_confusable_tracks_do_not_share_a_number(database_url: str, track: str) -> None:
    """Holds also where two workers create their releases at the same moment."""
    await migrate(database_url)
    kind = make_url(database_url).get_backend_name()
    one_release = ReleaseMessages()
    other_release = ReleaseMessages(number=one_release.number)
    async with opened(database_url) as one, opened(database_url) as other:
        async with stalled(database_url, kind, "releases") as session:
            first = asyncio.create_task(process_until_settled(one_release.created(), one))
            await waiting(session, kind, 1, first)
            second = asyncio.create_task(process_until_settled(other_release.created(deployment_track_id=track), other))
            await waiting(session, kind, 2, second)
        outcomes = sorted(type(outcome).__name__ for outcome in await asyncio.gather(first, second))
    assert outcomes == ["Applied", "Rejected"]
    assert len(await rows(database_url, "releases")) == 1
    [rejection] = await rows(database_url, "release_event_rejections")
    assert rejection["reason"] == "release_conflict"


async def test_other_tracks_share_a_number_at_the_same_moment(database_url: str) -> None:
    """What is not confusable is no conflict, in whichever order they come."""
    await migrate(database_url)
    releases = [ReleaseMessages()]
    releases += [ReleaseMessages(number=releases[0].number) for _ in range(4)]
    created = [one.created(deployment_track_id=f"track {at}") for at, one in enumerate(releases)]
    async with opened(database_url) as one, opened(database_url) as other:
        stores = (one, other, one, other, one)
        outcomes = await asyncio.gather(*map(process_until_settled, created, stores))
    assert {type(outcome).__name__ for outcome in outcomes} == {"Applied"}
