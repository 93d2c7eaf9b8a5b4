"""Each kind of harm, done and made good again."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping

from confluent_kafka import Consumer

from tests.fault_injection.plans import Harm, Kind
from tests.fault_injection.scene import Berth, Scene
from tests.testkit.faulty_proxy import FaultyProxy

_SLOW_SECONDS = 0.2
_BETWEEN_SECONDS = 0.05
_GUEST_POLLS = 3
_PARTITIONS_MORE_MAX = 2


async def do(harm: Harm, scene: Scene) -> None:
    """When its moment has come. Returns when it is made good."""
    await scene.moment(harm.at_seconds)
    await _WAYS[harm.kind](harm, scene)


async def _worker_killed(harm: Harm, scene: Scene) -> None:
    berth = _berth(harm, scene)
    async with berth.harm:
        berth.process.kill()


async def _worker_stalled(harm: Harm, scene: Scene) -> None:
    """It comes back as if nothing had been: with all that it was about to do."""
    berth = _berth(harm, scene)
    async with berth.harm:
        process = berth.process
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(harm.seconds)
        process.send_signal(signal.SIGCONT)


async def _group_stormed(harm: Harm, scene: Scene) -> None:
    """Members of another make come and go, each with a share of the partitions that it does nothing with."""
    await asyncio.to_thread(_storm, scene, harm.seconds)


def _storm(scene: Scene, seconds: float) -> None:
    ends_at_seconds = time.monotonic() + seconds
    while time.monotonic() < ends_at_seconds:
        guest = Consumer(
            {
                "bootstrap.servers": scene.stage.bootstrap_servers,
                "group.id": scene.stage.group_id,
                "partition.assignment.strategy": "roundrobin",
                "session.timeout.ms": 2000,
                "heartbeat.interval.ms": 200,
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        guest.subscribe([scene.stage.topics.events])
        for _ in range(_GUEST_POLLS):
            guest.poll(0.15)
        guest.close()


async def _broker_killed(harm: Harm, scene: Scene) -> None:
    kafka = scene.servers.kafka
    async with scene.broker_harm:
        await asyncio.to_thread(kafka.kill)
        await asyncio.sleep(harm.seconds)
        await asyncio.to_thread(kafka.start)


async def _database_killed(harm: Harm, scene: Scene) -> None:
    async with scene.database_harm:
        await asyncio.to_thread(scene.servers.postgres.kill)
        await asyncio.sleep(harm.seconds)
        await scene.bring_back_the_database()


async def _disk_full(harm: Harm, scene: Scene) -> None:
    """The database may refuse to write, or fall and not get up before there is room again."""
    disk = scene.servers.disk
    assert disk is not None
    async with scene.database_harm:
        with disk.full():
            await asyncio.sleep(harm.seconds)
        await scene.bring_back_the_database()


async def _topic_grown(harm: Harm, scene: Scene) -> None:
    async with scene.broker_harm:
        await scene.grow(min(harm.times, _PARTITIONS_MORE_MAX))


async def _link_cut(harm: Harm, scene: Scene) -> None:
    for _ in range(harm.times):
        _link(harm, scene).cut()
        await asyncio.sleep(_BETWEEN_SECONDS)


async def _link_refusing(harm: Harm, scene: Scene) -> None:
    with _link(harm, scene).refusing():
        await asyncio.sleep(harm.seconds)


async def _link_slow(harm: Harm, scene: Scene) -> None:
    with _link(harm, scene).slow(_SLOW_SECONDS):
        await asyncio.sleep(harm.seconds)


async def _link_silent(harm: Harm, scene: Scene) -> None:
    with _link(harm, scene).silent():
        await asyncio.sleep(harm.seconds)


async def _link_forgotten(harm: Harm, scene: Scene) -> None:
    """Nobody makes this good: the worker has to find out."""
    _link(harm, scene).forget()


async def _link_half_closed(harm: Harm, scene: Scene) -> None:
    _link(harm, scene).half_close(towards_server=harm.times % 2 == 0)


async def _requests_lost(harm: Harm, scene: Scene) -> None:
    _link(harm, scene).lose_requests(harm.times)


async def _answers_lost(harm: Harm, scene: Scene) -> None:
    """From the database also those to a commit: the worker cannot know whether it was made."""
    _link(harm, scene).lose_answers(harm.times)


_WAYS: Mapping[Kind, Callable[[Harm, Scene], Awaitable[None]]] = {
    Kind.WORKER_KILLED: _worker_killed,
    Kind.WORKER_STALLED: _worker_stalled,
    Kind.GROUP_STORMED: _group_stormed,
    Kind.BROKER_KILLED: _broker_killed,
    Kind.DATABASE_KILLED: _database_killed,
    Kind.DISK_FULL: _disk_full,
    Kind.TOPIC_GROWN: _topic_grown,
    Kind.LINK_CUT: _link_cut,
    Kind.LINK_REFUSING: _link_refusing,
    Kind.LINK_SLOW: _link_slow,
    Kind.LINK_SILENT: _link_silent,
    Kind.LINK_FORGOTTEN: _link_forgotten,
    Kind.LINK_HALF_CLOSED: _link_half_closed,
    Kind.REQUESTS_LOST: _requests_lost,
    Kind.ANSWERS_LOST: _answers_lost,
}


def _berth(harm: Harm, scene: Scene) -> Berth:
    return scene.berths[harm.worker]


def _link(harm: Harm, scene: Scene) -> FaultyProxy:
    links = scene.links[harm.worker]
    return links.database if harm.link == "database" else links.broker
