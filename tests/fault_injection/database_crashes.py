"""Crashes of PostgreSQL in the middle of batches: what the store has reported as written is there after the recovery.

`python -m tests.fault_injection.database_crashes --crashes 1000`. The commits within a batch do not wait for the flush
of the write-ahead log, and the server's own writer of the log hardly runs. So a crash loses every commit that was not
flushed. Writers send batches to `SqlStore.write` until the server crashes at a random moment. A reader loads events
that are visible and perhaps not durable, as a duplicate is: the load makes them durable.
"""

import argparse
import asyncio
import random
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import make_url

from tests.conformance.release_messages import ReleaseMessages
from tests.conformance.stores import migrate
from tests.conformance.transactions import chained
from tests.testkit.availability import started
from tests.testkit.postgres import PostgresServer, PostgresUnavailable
from worker.db.postgresql import session
from worker.db.store import SqlStore
from worker.ports import Transaction
from worker.rules.errors import Unavailable
from worker.rules.message import Message
from worker.rules.query import Query, query_of
from worker.rules.state import State

SETTINGS = {"fsync": "on", "full_page_writes": "on", "wal_writer_delay": "10s"}
WRITERS = 4
_CONNECTIONS = 8
_TIMEOUT_SECONDS = 5.0
_LOAD_SECONDS_MAX = 0.25
_TRANSACTIONS_MAX = 64
_CHAIN_MAX = 8
_LAST_FAILS = (0.0, 0.3, 1.0)
"""In what part of its batches the last transaction, whose commit would flush, fails. One of these for each crash."""
_READ = 0.5
"""In the others, nothing is flushed beside the batches."""


@dataclass(slots=True)
class Round:
    """What happened before one crash. `reported`: events whose write was reported; `flushed`: whose flush was.
    `chains`: the events of each release, in order. `interrupted`: batches whose write did not return.
    """

    reported: set[UUID] = field(default_factory=set)
    flushed: set[UUID] = field(default_factory=set)
    chains: list[Sequence[UUID]] = field(default_factory=list)
    sent: list[Message] = field(default_factory=list)
    batches: int = 0
    interrupted: int = 0
    began: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class Result:
    """Over all crashes. `found`: a line for each difference."""

    crashes: int = 0
    batches: int = 0
    interrupted: int = 0
    reported: int = 0
    flushed: int = 0
    lost_unreported: int = 0
    found: list[str] = field(default_factory=list)


class _NewReleases:
    """Loads what the database has of releases that do not exist yet."""

    async def load(self, queries: Sequence[Query]) -> Sequence[State]:
        return [State() for _ in queries]


def _chain(dice: random.Random) -> list[Message]:
    """Events that all change the release's version."""
    builder = ReleaseMessages()
    messages = list(builder.approved())
    messages += [builder.deploy("requested", environment_id=f"stage {number}") for number in range(_CHAIN_MAX)]
    return messages[: dice.randint(1, _CHAIN_MAX)]


async def _write(store: SqlStore, round_: Round, dice: random.Random, *, last_fails: float) -> None:
    """Batches until the database is unavailable."""
    try:
        while True:
            transactions: list[Transaction] = []
            ids: list[UUID] = []
            size = dice.choice((1, 2, 8, 24, _TRANSACTIONS_MAX))
            while len(transactions) < size:
                messages = _chain(dice)
                transactions += await chained(messages, _NewReleases())
                round_.chains.append([message.id for message in messages])
                round_.sent += messages
                ids += [message.id for message in messages]
            if dice.random() < last_fails:
                transactions.append(transactions[0])  # written already
            round_.batches += 1
            round_.interrupted += 1
            results = await store.write(transactions)
            round_.interrupted -= 1
            round_.began.set()
            for id_, error in zip(ids, results, strict=False):
                if error is None:
                    round_.reported.add(id_)
                elif not isinstance(error, Unavailable):
                    raise AssertionError(f"a batch without a fault failed: {error!r}")
            if any(error is not None for error in results[: len(ids)]):
                return
    except Unavailable:
        return


async def _read(store: SqlStore, round_: Round, dice: random.Random) -> None:
    """Flushes of what is visible, until the database is unavailable."""
    try:
        while True:
            if not (recent := round_.sent[-2 * _TRANSACTIONS_MAX :]):
                await store.ping()
                continue
            some = dice.sample(recent, k=min(8, len(recent)))
            states = await store.load([query_of(message) for message in some])
            known = {message.id for message, state in zip(some, states, strict=True) if state.activities}
            round_.flushed |= known
    except Unavailable:
        return


async def _crash(server: PostgresServer, url: str, dice: random.Random, result: Result) -> None:
    round_ = Round()
    store = SqlStore.open(url, connections_max=_CONNECTIONS, timeout_seconds=_TIMEOUT_SECONDS)
    try:
        await store.check()
        last_fails = dice.choice(_LAST_FAILS)
        async with asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(_write(store, round_, random.Random(dice.random()), last_fails=last_fails))
            if dice.random() < _READ:
                group.create_task(_read(store, round_, random.Random(dice.random())))
            await round_.began.wait()
            await asyncio.sleep(dice.uniform(0.0, _LOAD_SECONDS_MAX))
            await asyncio.to_thread(server.kill)
    finally:
        await store.close()
    await asyncio.to_thread(server.start)
    await _compare(url, round_, result)
    result.crashes += 1
    result.batches += round_.batches
    result.interrupted += round_.interrupted
    result.reported += len(round_.reported)
    result.flushed += len(round_.flushed)


async def _compare(url: str, round_: Round, result: Result) -> None:
    connection = await asyncpg.connect(make_url(url).set(drivername="postgresql").render_as_string(False))
    try:
        ids = [id_ for chain in round_.chains for id_ in chain]
        rows = await connection.fetch("SELECT id FROM release_activity_logs WHERE id = ANY($1)", ids)
        stored = {row["id"] for row in rows}
    finally:
        await connection.close()
    number = result.crashes
    for name, promised in (("written", round_.reported), ("flushed", round_.flushed)):
        if lost := promised - stored:
            result.found.append(f"crash {number}: {len(lost)} of {len(promised)} events lost that were {name}")
    for chain in round_.chains:
        flags = [id_ in stored for id_ in chain]
        if flags != sorted(flags, reverse=True):
            result.found.append(f"crash {number}: a chain is stored with a gap: {flags}")
    result.lost_unreported += len(ids) - len(stored)


def _asynchronous_last(patch: pytest.MonkeyPatch) -> None:
    """The last commit of a batch does not wait for the flush either."""
    written = session.written

    def asynchronous(*arguments: Any, **settings: Any) -> Any:
        return written(*arguments, **{**settings, "synchronous_commit": "off"})

    patch.setattr(session, "written", asynchronous)


def _flush_without_data(patch: pytest.MonkeyPatch) -> None:
    """A commit without a change of data waits for nothing."""
    patch.setattr(session, "_FLUSH", "SELECT 1")


FAULTS: Mapping[str, Callable[[pytest.MonkeyPatch], None]] = {
    "asynchronous last commit": _asynchronous_last,
    "flush without data": _flush_without_data,
}


@contextmanager
def server_running() -> Iterator[PostgresServer]:
    with started("postgresql", lambda: PostgresServer(settings=SETTINGS), missing=PostgresUnavailable) as server:
        yield server


def crash_often(
    server: PostgresServer, *, crashes: int, seed: int, until_found: bool = False, report_every: int = 0
) -> Result:
    """Crash the server under load, in a database of its own. `until_found`: end at the first difference."""
    name = f"crashes_{seed}_{random.Random().getrandbits(32):x}"
    url = server.create_database(name)
    asyncio.run(migrate(url))
    dice = random.Random(f"crashes {seed}")
    result = Result()
    while result.crashes < crashes and not (until_found and result.found):
        asyncio.run(_crash(server, url, dice, result))
        if report_every and result.crashes % report_every == 0:
            print(summary(result), flush=True)
    return result


def summary(result: Result) -> str:
    return (
        f"crashes: {result.crashes}, batches: {result.batches}, in the middle of a batch: {result.interrupted}, "
        f"events reported as written: {result.reported}, as flushed: {result.flushed}, "
        f"sent and lost without a report: {result.lost_unreported}, differences: {len(result.found)}"
    )


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 nothing was found, 1 something was, 2 there is no server."""
    parser = argparse.ArgumentParser(prog="python -m tests.fault_injection.database_crashes", description=__doc__)
    parser.add_argument("--crashes", type=int, default=100, help="how many (100)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", choices=FAULTS, help="run a store with this fault, which should be found")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the server is removed
    try:
        with pytest.MonkeyPatch.context() as patch, server_running() as server:
            if given.fault is not None:
                FAULTS[given.fault](patch)
            result = crash_often(server, crashes=given.crashes, seed=given.seed, report_every=50)
    except (pytest.skip.Exception, pytest.fail.Exception) as error:
        print(error, file=sys.stderr)
        return 2
    print(summary(result))
    for line in result.found[:50]:
        print(f"    {line}")
    return 1 if result.found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
