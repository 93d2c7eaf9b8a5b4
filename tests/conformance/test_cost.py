"""The cost of a message does not grow with the attempts and log entries of its release or of other releases.

Costs are counted, never timed. On PostgreSQL: the pages of tables and indexes that a message touches, including those
that triggers and foreign keys read. On SQLite: the steps of its virtual machine.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.conformance.release_messages import COMPONENT, ReleaseMessages, minute
from tests.conformance.stores import migrate, opened, process_all
from tests.conformance.table_contents import WORKERS_TABLES, insert_rows
from worker.db.postgresql.session import PostgresqlSession
from worker.db.store import SqlStore
from worker.pipeline.transaction import process
from worker.rules.message import Message
from worker.rules.query import query_of
from worker.rules.state import Applied, Outcome, Stale

FULL = bool(os.environ.get("RUDDER_TEST_FULL"))
"""All that the promise is about; without it as much as a minute allows."""

ATTEMPTS = 10_000
SUPERSEDED = 10_000 if FULL else 1_500
LOG_ENTRIES = 1_000_000 if FULL else 100_000
ATTEMPTS_RATIO_MAX = 1.5
TABLE_RATIO_MAX = 1.2

on_both = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)

LATER = 900
"""A minute after all attempts of a history and before the records' timestamps: future events are rejected."""

TABLES = [*WORKERS_TABLES, "app_environments"]
Costs = dict[str, tuple[Outcome, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A history of attempts, as SQL of the number `i`. `environments`: how many."""

    environment: str = "'production'"
    config_revision: str = "1"
    attempt: str = "i"
    status: str = "SUCCESS"
    environments: int = 1


PATTERNS = {
    "one after the other": Pattern(),
    "each in a revision of its own": Pattern(config_revision="i", attempt="1"),
    "all cancelled": Pattern(status="CANCELLED"),
    "each cancelled in a revision of its own": Pattern(config_revision="i", attempt="1", status="CANCELLED"),
    "all rolled back": Pattern(status="ROLLED_BACK"),
    "in five environments": Pattern(
        environment="CASE i % 5 WHEN 0 THEN 'production' ELSE 'stage ' || (i % 5) END",
        attempt="(i + 4) / 5",
        environments=5,
    ),
}

HISTORY = (
    """WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {attempts})
    INSERT INTO release_deployments (id, created_at, updated_at, release_mgt_id, environment_id, config_revision,
    attempt, status) SELECT {uuid}, {time}, {time}, '{release}', {environment}, {config_revision}, {attempt}, '{status}'
    FROM n""",
    """WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {entries})
    INSERT INTO release_activity_logs (id, created_at, updated_at, release_mgt_id, activity_type, activity_data, status)
    SELECT {uuid}, {time}, {time}, '{release}', 'NOTE', 'as long as an entry has to be at the least', '{status}'
    FROM n""",
)
EXPRESSIONS = {
    "postgresql": {"uuid": "gen_random_uuid()", "time": "timestamp '2026-03-17 10:00' + i * interval '1 second'"},
    "sqlite": {
        "uuid": "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-' || hex(randomblob(2)) || '-' || "
        "hex(randomblob(2)) || '-' || hex(randomblob(6)))",
        "time": "strftime('%Y-%m-%d %H:%M:%f000', '2026-03-17 10:00', '+' || i || ' seconds')",
    },
}
PAGES = """SELECT sum(heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read)::int
FROM pg_statio_user_tables WHERE relname = ANY($1)"""
LEVELS = """SELECT indexrelid::regclass::text AS index, get_byte(metapage, 36) AS level
FROM pg_index, pg_read_binary_file(pg_relation_filepath(indexrelid), 0, 64) metapage
WHERE indrelid = 'release_activity_logs'::regclass"""
"""How many pages a search passes before it is at a leaf, from where a B-tree says so."""


class Meter:
    """Has a store handle messages, and reads off what the database did for each: `counter` only ever rises."""

    def __init__(self, store: SqlStore, counter: Callable[[], Awaitable[int]]) -> None:
        self.store = store
        self.count = counter

    async def cost(self, message: Message) -> tuple[Outcome, int]:
        before = await self.count()
        outcome = await process(message, self.store)
        return outcome, await self.count() - before

    async def costs(self, builder: ReleaseMessages) -> Costs:
        """The lower of two costs for each kind of message about the release: a page split counts for neither."""
        builder.count = max(builder.count, LATER)
        once, again = [
            {name: await self.cost(message) for name, message in messages_about_attempts(builder)} for _ in range(2)
        ]
        return {name: min(once[name], again[name], key=lambda found: found[1]) for name in once}


@asynccontextmanager
async def metered(url: str) -> AsyncIterator[Meter]:
    """A store of its own, whose statements are prepared and whose connection is warm."""
    async with opened(url) as store:
        if url.startswith("sqlite"):
            meter = Meter(store, await steps(store))
            await meter.costs(await approved(store))
            yield meter
            return
        observer = await asyncpg.connect(make_url(url).set(drivername="postgresql").render_as_string(False))
        try:
            for table in TABLES:  # the pages that autovacuum touches would be counted
                await observer.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
            meter = Meter(store, lambda: pages(store, observer))
            await meter.costs(await approved(store))
            yield meter
        finally:
            await observer.close()


async def pages(store: SqlStore, observer: "asyncpg.Connection") -> int:
    """Flushes the statistics of the store's only connection first: PostgreSQL reports them later by itself."""
    async with store._connections.begin() as session:
        assert isinstance(session, PostgresqlSession)
        await session._connection.fetch("SELECT pg_stat_force_next_flush()")
    touched = await observer.fetchval(PAGES, TABLES)
    assert isinstance(touched, int)
    return touched


async def steps(store: SqlStore) -> Callable[[], Awaitable[int]]:
    made = 0

    def step() -> None:
        nonlocal made
        made += 1

    async def counter() -> int:
        return made

    async with store._engine().connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.set_progress_handler(step, 1)
    return counter


def messages_about_attempts(builder: ReleaseMessages) -> Iterable[tuple[str, Message]]:
    """Every kind of load and write, for the attempts in production."""
    yield "requested", builder.deploy("requested")
    yield "requested again", builder.deploy("requested")
    yield "started", builder.deploy("started")
    yield "succeeded", builder.deploy("succeeded")
    yield "named", builder.deploy("started", attempt=1)
    yield "rolled back", builder.deploy("rolled_back")
    yield "opened by its failure", builder.deploy("failed")
    yield "rolled back again", builder.deploy("rolled_back")
    yield "opened to be cancelled", builder.deploy("started")
    yield "cancelled", builder.deploy("cancelled")
    scan = {"activity_type": "SCAN", "activity_data": {}, "environment_id": "production"}
    yield "activity", builder.event("activity.recorded", scan)
    yield "approved", builder.event("release.approved")
    yield "too late", builder.deploy("failed", at=minute(0))
    yield "a gap", builder.deploy("failed", attempt=10**9)


async def approved(store: SqlStore) -> ReleaseMessages:
    builder = ReleaseMessages()
    await process_all(builder.approved(), store)
    return builder


async def execute(url: str, *statements: str) -> None:
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            for statement in statements:
                await connection.exec_driver_sql(statement)
    finally:
        await engine.dispose()


async def add_history(url: str, builder: ReleaseMessages, pattern: Pattern, *, attempts: int, activities: int) -> None:
    content = EXPRESSIONS[make_url(url).get_backend_name()] | asdict(pattern)
    content |= {"release": str(builder.release_id), "attempts": attempts, "entries": activities}
    await execute(url, *(statement.format(**content) for statement in HISTORY))


@pytest.fixture
async def url(database_url: str) -> str:
    """A migrated database with an `app_environments` row for production."""
    await migrate(database_url)
    production = {"environment_id": "production", "component_id": COMPONENT, "deployment_track_id": "main"}
    await insert_rows(database_url, "app_environments", [{"id": uuid4(), **production}])
    return database_url


@on_both
async def test_last_of_many_attempts_costs_little_more(url: str) -> None:
    """Holds for every history of other attempts, and for statements prepared on empty tables, on full tables or with
    statistics. All releases share the same indexes, so the height of a B-tree is the same for each.
    """
    async with metered(url) as early:
        releases = {name: (await approved(early.store), await approved(early.store)) for name in PATTERNS}
        for name, (short, long) in releases.items():
            pattern = PATTERNS[name]
            await add_history(url, short, pattern, attempts=pattern.environments, activities=2)
            await add_history(url, long, pattern, attempts=ATTEMPTS, activities=2 * ATTEMPTS)
        grown = await growth(early, releases, "when empty")
        async with metered(url) as late:
            grown |= await growth(late, releases, "when full")
        await execute(url, "ANALYZE")
        async with metered(url) as latest:
            grown |= await growth(latest, releases, "with statistics")
    assert grown == {}


async def growth(
    meter: Meter, releases: Mapping[str, tuple[ReleaseMessages, ReleaseMessages]], prepared: str
) -> dict[str, str]:
    """The messages that cost too much after a long history, each with its costs after a short and a long one."""
    found = {}
    for name, (short, long) in releases.items():
        few, many = await meter.costs(short), await meter.costs(long)
        for kind, (outcome, cost) in many.items():
            assert type(few[kind][0]) is type(outcome), f"{name}, {kind}"
            if cost > ATTEMPTS_RATIO_MAX * few[kind][1]:
                found[f"{name}, {kind}, prepared {prepared}"] = f"{few[kind][1]}, then {cost}"
    return found


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_superseded_attempts_do_not_raise_the_cost(url: str) -> None:
    """PostgreSQL keeps dead tuples in its indexes until a vacuum, and this test runs without autovacuum."""
    async with metered(url) as meter:
        builder = await approved(meter.store)
        for _ in range(SUPERSEDED // 20):
            await process(builder.deploy("requested"), meter.store)
        _, first = await meter.cost(builder.deploy("requested"))
        for _ in range(SUPERSEDED):
            await process(builder.deploy("requested"), meter.store)
        _, last = await meter.cost(builder.deploy("requested"))
    assert last <= ATTEMPTS_RATIO_MAX * first


@on_both
async def test_activities_of_other_releases_do_not_raise_the_cost(url: str) -> None:
    """Only the height of the log's B-trees adds cost: one page for each level of each index that a message searches."""
    async with metered(url) as meter:
        others = [await approved(meter.store) for _ in range(10)]
        builder = await approved(meter.store)
        await meter.costs(builder)  # the first of a release are the cheapest: they find nothing
        empty, before = await meter.costs(builder), await levels(url)
        for other in others:
            await add_history(url, other, Pattern(), attempts=1, activities=LOG_ENTRIES // len(others))
        full, after = await meter.costs(builder), await levels(url)
    grown = {}
    for kind, (outcome, cost) in full.items():
        allowed = TABLE_RATIO_MAX * empty[kind][1] + sum(
            (after[index] - before[index]) * searches(index, outcome) for index in after
        )
        if cost > allowed:
            grown[kind] = f"{empty[kind][1]}, then {cost}, allowed {allowed:.0f}"
    assert grown == {}


@on_both
async def test_other_rows_of_the_environment_do_not_raise_the_cost(url: str) -> None:
    """Neither other releases' attempts nor other components' rows raise the cost, even without an ANALYZE."""
    async with metered(url) as meter:
        builder, other = await approved(meter.store), await approved(meter.store)
        await meter.costs(builder)  # the first of a release are the cheapest: they find nothing
        alone = await meter.costs(builder)
        await add_history(url, other, Pattern(), attempts=ATTEMPTS, activities=1)
        row = {"environment_id": "production", "deployment_track_id": "main"}
        await insert_rows(
            url, "app_environments", [{"id": uuid4(), "component_id": uuid4(), **row} for _ in range(ATTEMPTS)]
        )
        crowded = await meter.costs(builder)
    grown = {kind: f"{alone[kind][1]}, then {cost}" for kind, (_, cost) in crowded.items()}
    grown = {kind: content for kind, content in grown.items() if crowded[kind][1] > ATTEMPTS_RATIO_MAX * alone[kind][1]}
    assert grown == {}


def searches(index: str, outcome: Outcome) -> int:
    """One search for each entry that is written, and one of the primary key for the event's identity. A rejection
    searches for the event again under its lock.
    """
    if not isinstance(outcome, Applied | Stale):
        return 2 if index.endswith("_pkey") else 0
    activities = len(outcome.changes.activities)
    return activities + 1 if index.endswith("_pkey") else activities


async def levels(url: str) -> dict[str, int]:
    if url.startswith("sqlite"):
        return {}  # a search is one step there, however deep
    connection = await asyncpg.connect(make_url(url).set(drivername="postgresql").render_as_string(False))
    try:
        await connection.execute("CHECKPOINT")
        return dict(await connection.fetch(LEVELS))
    finally:
        await connection.close()


BATCH = 16


async def batch_costs(meter: Meter, url: str, builders: Sequence[ReleaseMessages]) -> dict[str, int]:
    """The pages that a batched load of one message of each release touches, by kind."""
    kinds: dict[str, Callable[[ReleaseMessages], Message]] = {
        "requested": lambda one: one.deploy("requested"),
        "with a block": lambda one: one.deploy("requested", release=one.fields),
        "succeeded": lambda one: one.deploy("succeeded"),
        "created": lambda one: ReleaseMessages().created(),
        "of an unknown release": lambda one: ReleaseMessages().deploy("succeeded", release=ReleaseMessages().fields),
        "approved": lambda one: one.event("release.approved"),
    }
    costs = {}
    for name, make in kinds.items():
        found = []
        for _ in range(2):
            queries = [query_of(make(builder)) for builder in builders]
            before = await meter.count()
            await meter.store.load(queries)
            found.append(await meter.count() - before)
        costs[name] = min(found)
    return costs


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("analyzed", [False, True])
async def test_batched_load_reads_in_proportion_to_its_messages(url: str, analyzed: bool) -> None:
    """Of every table only what the messages need, however large it is, with statistics or without."""
    async with metered(url) as meter:
        builders = [await approved(meter.store) for _ in range(BATCH)]
        others = [await approved(meter.store) for _ in range(4)]
        for number, builder in enumerate(builders):
            builder.count = LATER + number
        one, empty = await batch_costs(meter, url, builders[:2]), await batch_costs(meter, url, builders)
        for other in others:
            await add_history(url, other, Pattern(), attempts=ATTEMPTS // 4, activities=ATTEMPTS)
        await execute(url, *REJECTED)
        row = {"environment_id": "production", "deployment_track_id": "main"}
        await insert_rows(
            url, "app_environments", [{"id": uuid4(), "component_id": uuid4(), **row} for _ in range(ATTEMPTS)]
        )
        if analyzed:
            await execute(url, "ANALYZE")
        full = [await batch_costs(meter, url, builders)]
        async with metered(url) as late:  # its statements are prepared on full tables
            full.append(await batch_costs(late, url, builders))
    for kind, cost in empty.items():
        assert cost <= BATCH / 2 * one[kind] * TABLE_RATIO_MAX, kind
        # Two more levels of each index that is searched. A table that is read whole has thousands of pages.
        for filled in full:
            assert filled[kind] <= cost + BATCH * 2 * INDEXES_SEARCHED, kind


INDEXES_SEARCHED = 5
REJECTED = (
    f"""WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ATTEMPTS})
    INSERT INTO release_event_rejections (id, created_at, reason, detail, topic, topic_partition, topic_offset)
    SELECT gen_random_uuid(), timestamp '2026-03-17 10:00', 'malformed_json', '', 'events', 0, i FROM n""",
)
