"""Each kind of fault: how it is injected, and how it ends."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from confluent_kafka import Consumer

from tests.fault_injection.fixture import Fixture, WorkerSupervisor
from tests.fault_injection.plans import Fault, FaultKind
from tests.testkit.faulty_proxy import FaultyProxy
from tests.unit.pipeline.test_breaker import an_opening
from worker.db.store import SqlStore
from worker.rules.errors import Unavailable

_SLOW_SECONDS = 0.2
_BETWEEN_SECONDS = 0.05
_GUEST_POLLS = 3
_PARTITIONS_MORE_MAX = 2
_OPENING_READ_SECONDS = 3.0
"""By then each worker has read the row."""


async def inject(fault: Fault, fixture: Fixture) -> None:
    """At its time; returns when the fault has ended."""
    await fixture.moment(fault.at_seconds)
    await _INJECTORS[fault.kind](fault, fixture)


async def _worker_killed(fault: Fault, fixture: Fixture) -> None:
    worker = _worker(fault, fixture)
    async with worker.fault:
        worker.process.kill()


async def _worker_stalled(fault: Fault, fixture: Fixture) -> None:
    """It resumes with all that was in flight."""
    worker = _worker(fault, fixture)
    async with worker.fault:
        process = worker.process
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(fault.seconds)
        process.send_signal(signal.SIGCONT)


async def _group_stormed(fault: Fault, fixture: Fixture) -> None:
    """Members of another client library join and leave, each with partitions that it never reads."""
    await asyncio.to_thread(_storm, fixture, fault.seconds)


def _storm(fixture: Fixture, seconds: float) -> None:
    ends_at_seconds = time.monotonic() + seconds
    while time.monotonic() < ends_at_seconds:
        guest = Consumer(
            {
                "bootstrap.servers": fixture.system.bootstrap_servers,
                "group.id": fixture.system.group_id,
                "partition.assignment.strategy": "roundrobin",
                "session.timeout.ms": 2000,
                "heartbeat.interval.ms": 200,
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        guest.subscribe([fixture.system.topics.events])
        for _ in range(_GUEST_POLLS):
            guest.poll(0.15)
        guest.close()


async def _broker_killed(fault: Fault, fixture: Fixture) -> None:
    kafka = fixture.servers.kafka
    async with fixture.broker_fault:
        await asyncio.to_thread(kafka.kill)
        await asyncio.sleep(fault.seconds)
        await asyncio.to_thread(kafka.start)


async def _database_killed(fault: Fault, fixture: Fixture) -> None:
    async with fixture.database_fault:
        await asyncio.to_thread(fixture.servers.postgres.kill)
        await asyncio.sleep(fault.seconds)
        await fixture.restart_database()


async def _disk_full(fault: Fault, fixture: Fixture) -> None:
    """The database may refuse writes, or crash and not restart before there is space again."""
    disk = fixture.servers.disk
    assert disk is not None
    async with fixture.database_fault:
        with disk.full():
            await asyncio.sleep(fault.seconds)
        await fixture.restart_database()


async def _topic_grown(fault: Fault, fixture: Fixture) -> None:
    async with fixture.broker_fault:
        await fixture.grow(min(fault.times, _PARTITIONS_MORE_MAX))


async def _breaker_opened(fault: Fault, fixture: Fixture) -> None:
    """Another process of the group has written an open row; an operator closes it. Both repeat it in an outage."""
    opening = replace(an_opening(), group_id=fixture.system.group_id)
    store = SqlStore.open(fixture.system.database_url, connections_max=1, timeout_seconds=2.0)
    try:
        await _repeated(lambda: store.openings().record(opening))
        await asyncio.sleep(fault.seconds + _OPENING_READ_SECONDS)
        now = datetime.now(UTC)
        await _repeated(lambda: store.openings().close(opening.id, closed_at=now, closed_by="test", note="fault over"))
    finally:
        await store.close()


async def _repeated(call: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await call()
        except Unavailable:
            await asyncio.sleep(_BETWEEN_SECONDS)
        else:
            return


async def _link_cut(fault: Fault, fixture: Fixture) -> None:
    for _ in range(fault.times):
        _link(fault, fixture).cut()
        await asyncio.sleep(_BETWEEN_SECONDS)


async def _link_refusing(fault: Fault, fixture: Fixture) -> None:
    with _link(fault, fixture).refusing():
        await asyncio.sleep(fault.seconds)


async def _link_slow(fault: Fault, fixture: Fixture) -> None:
    with _link(fault, fixture).slow(_SLOW_SECONDS):
        await asyncio.sleep(fault.seconds)


async def _link_silent(fault: Fault, fixture: Fixture) -> None:
    with _link(fault, fixture).silent():
        await asyncio.sleep(fault.seconds)


async def _link_forgotten(fault: Fault, fixture: Fixture) -> None:
    """It never ends by itself: the worker must detect it."""
    _link(fault, fixture).forget()


async def _link_half_closed(fault: Fault, fixture: Fixture) -> None:
    _link(fault, fixture).half_close(towards_server=fault.times % 2 == 0)


async def _requests_lost(fault: Fault, fixture: Fixture) -> None:
    _link(fault, fixture).lose_requests(fault.times)


async def _answers_lost(fault: Fault, fixture: Fixture) -> None:
    """Also the response to a commit: the worker cannot know whether it was made."""
    _link(fault, fixture).lose_answers(fault.times)


_INJECTORS: Mapping[FaultKind, Callable[[Fault, Fixture], Awaitable[None]]] = {
    FaultKind.WORKER_KILLED: _worker_killed,
    FaultKind.WORKER_STALLED: _worker_stalled,
    FaultKind.GROUP_STORMED: _group_stormed,
    FaultKind.BROKER_KILLED: _broker_killed,
    FaultKind.DATABASE_KILLED: _database_killed,
    FaultKind.DISK_FULL: _disk_full,
    FaultKind.TOPIC_GROWN: _topic_grown,
    FaultKind.BREAKER_OPENED: _breaker_opened,
    FaultKind.LINK_CUT: _link_cut,
    FaultKind.LINK_REFUSING: _link_refusing,
    FaultKind.LINK_SLOW: _link_slow,
    FaultKind.LINK_SILENT: _link_silent,
    FaultKind.LINK_FORGOTTEN: _link_forgotten,
    FaultKind.LINK_HALF_CLOSED: _link_half_closed,
    FaultKind.REQUESTS_LOST: _requests_lost,
    FaultKind.ANSWERS_LOST: _answers_lost,
}


def _worker(fault: Fault, fixture: Fixture) -> WorkerSupervisor:
    return fixture.workers[fault.worker]


def _link(fault: Fault, fixture: Fixture) -> FaultyProxy:
    links = fixture.links[fault.worker]
    return links.database if fault.link == "database" else links.broker
