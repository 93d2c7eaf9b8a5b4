"""`rudder-worker verify` beside a real worker: a correct system has no findings, and each fault has its finding."""

import asyncio
import re
import shutil
import signal
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import TopicPartition as AioPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from sqlalchemy import URL, make_url

from tests.conformance.deadlines import until
from tests.conformance.producers import WAIT_SECONDS, ToSend, headers_of, send
from tests.conformance.table_contents import insert_environments, insert_rows
from tests.end_to_end.demo_day import day_of
from tests.end_to_end.release_records import ReleaseRecords
from tests.end_to_end.system import PARTITIONS, System
from tests.end_to_end.verify_reports import LOG, REJECTIONS, run_verify, verify_report, without_texts
from tests.end_to_end.worker_process import ROOT, WorkerProcess
from tests.testkit.postgres import PostgresServer
from tests.testkit.topic_creation import create_topics
from tests.testkit.topics import delete_topics
from worker.rules.identity import activity_id, deployment_id
from worker.verify.verification import COUNTS

SEED = 2026
PRIVILEGES = ROOT / "docs" / "how-to" / "privileges.md"
ON_SQLITE = pytest.mark.parametrize("pair", ["embedded+sqlite"], indirect=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandledRelease:
    """A deployed release, then a rejected event at the last offset; all in one partition."""

    system: System
    builder: ReleaseRecords
    partition: int
    last_offset: int

    @classmethod
    async def on(cls, system: System) -> "HandledRelease":
        builder = ReleaseRecords()
        records = [*builder.approved(), *(builder.deploy(step) for step in ("requested", "started", "succeeded"))]
        with system.worker() as worker:
            await system.send([*records, builder.record("release.rejected")])
            await system.caught_up(worker)
            assert await worker.stop() == 0
        last = (await system.read(system.topics.events))[-1]
        return cls(
            system=system, builder=builder, partition=_number(last.partition()), last_offset=_number(last.offset())
        )

    def activity(self, handled: int, position: int = 0) -> str:
        """The id of the log entry of event number `handled`, counted from 1."""
        event_id = f"{self.builder.release_id}/{handled}"
        return str(activity_id(source="https://ci.example/end-to-end", event_id=event_id, position=position))

    def finding(self, kind: str, *, table: str | None, row: str | None, offset: int | None) -> dict[str, Any]:
        """A finding about an input record, or about a row alone."""
        return {
            "kind": kind,
            "topic": None if offset is None else self.system.topics.events,
            "partition": None if offset is None else self.partition,
            "offset": offset,
            "table": table,
            "row": row,
        }


def _number(of: int | None) -> int:
    assert of is not None
    return of


async def test_day_of_a_correct_system_has_no_findings(system: System) -> None:
    """The day has repeats, rejections, redrives and late events; `verify` checks every record and writes nothing."""
    day = day_of(SEED, releases=60)
    await insert_environments(system.database_url, SEED)
    with system.worker() as worker:
        await system.send(day.daytime)
        await system.caught_up(worker)
        await system.send(day.evening)
        await system.caught_up(worker)
        assert await worker.stop() == 0
    before = await system.rows()
    report = await run_verify(system)
    assert (report["ok"], report["findings"]) == (True, [])
    counts = report["counts"]
    assert list(counts) == list(COUNTS)
    assert counts["records"] == len(day.daytime) + len(day.evening)
    assert [counts[name] for name in ("uncommitted", "pending", "unverifiable", "foreign")] == [0] * 4
    assert min(counts["releases"], counts["rejections"], counts["status_events"], counts["dead_letters"]) > 0
    assert await system.rows() == before
    assert await system.committed()


@pytest.mark.parametrize(
    ("pair", "killed"), [("embedded+sqlite", False), ("apache+postgresql", True)], indirect=["pair"]
)
async def test_running_system_has_no_findings(system: System, killed: bool) -> None:
    """`verify` runs while two workers handle a day in succession, once while SIGSTOP holds one during a step."""
    day = day_of(SEED, releases=30)
    await insert_environments(system.database_url, SEED)
    slow = {"RUDDER_CONCURRENCY": "1"}
    uncommitted = []
    with system.worker(**slow) as worker:
        await worker.ready()
        await system.send(day.daytime)

        async def begun() -> bool:
            return len((await system.rows())["release_activity_logs"]) > 5

        await until(begun, what=lambda: f"it has begun: {worker.output()}")
        for held in (True, False):
            if held:
                worker.send_signal(signal.SIGSTOP)
            try:
                report = await verify_report(system)
            finally:
                worker.send_signal(signal.SIGCONT)
            assert report["findings"] == []
            uncommitted.append(report["counts"]["uncommitted"])
        if killed:
            worker.kill()  # its work in progress is written and not published, or published and not committed
        else:
            assert await worker.stop() == 0
    report = await verify_report(system)
    assert report["findings"] == []
    with system.worker("heir", **slow) as successor:
        await successor.ready()
        while report["counts"]["uncommitted"]:
            assert successor.exit_code is None, successor.output()
            report = await verify_report(system)
            assert report["findings"] == []
        assert await successor.stop() == 0
    assert (await verify_report(system))["findings"] == []
    assert max(uncommitted) > 0


def alter(path: Path, *statements: str) -> None:
    """Changes rows by hand, as an operator could; the database's triggers and constraints stay active."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
            assert connection.total_changes, statement


@ON_SQLITE
async def test_each_fault_of_the_tables_has_its_finding(system: System) -> None:
    """Each fault is made in a copy of the file of its own; `verify` reports this fault and no other."""
    handled = await HandledRelease.on(system)
    release = str(handled.builder.release_id)
    [deployment] = (await system.rows())["release_deployments"]
    rejection = handled.activity(7)
    copied = (
        f"SELECT '00000000-0000-0000-0000-000000000001', {_LOG_COLUMNS} FROM {LOG} WHERE id = '{handled.activity(5)}'"
    )
    faults: dict[str, dict[str, Any]] = {
        f"DELETE FROM {LOG} WHERE id = '{handled.activity(5)}'": handled.finding(
            "lost", table=LOG, row=handled.activity(5), offset=4
        ),
        f"DELETE FROM {REJECTIONS}": handled.finding("lost", table=REJECTIONS, row=rejection, offset=6),
        "UPDATE release_deployments SET status = 'ROLLED_BACK'": handled.finding(
            "contradictory", table="release_deployments", row=str(deployment["id"]), offset=None
        ),
        "UPDATE releases SET created_by = 'nobody'": handled.finding(
            "contradictory", table="releases", row=release, offset=None
        ),
        f"UPDATE {LOG} SET status = 'FAILED' WHERE id = '{handled.activity(5)}'": handled.finding(
            "contradictory", table=LOG, row=handled.activity(5), offset=4
        ),
        f"UPDATE {REJECTIONS} SET resolved_at = created_at": handled.finding(
            "contradictory", table=REJECTIONS, row=rejection, offset=6
        ),
        f"INSERT INTO {LOG} (id, {_LOG_COLUMNS}) {copied}": handled.finding(
            "doubled", table=LOG, row="00000000-0000-0000-0000-000000000001", offset=4
        ),
        f"INSERT INTO release_apim_base_revisions VALUES ('{release}', 'orders', 'a', 'r', 'public')": handled.finding(
            "invented", table="release_apim_base_revisions", row=None, offset=None
        ),
    }
    sound = system.folder / "rudder.sqlite3"
    for number, (statement, expected) in enumerate(faults.items()):
        path = system.folder / f"harmed-{number}.sqlite3"
        shutil.copy(sound, path)
        alter(path, statement)
        copy = replace(system, database_url=f"sqlite+aiosqlite:///{path}")
        report = await verify_report(copy)
        assert without_texts(report) == [expected], statement
        assert report["findings_total"] == 1
        assert report["findings_by_kind"][expected["kind"]] == 1


_LOG_COLUMNS = (
    "created_at, updated_at, release_deployment_id, release_mgt_id, environment_id, "
    "activity_type, activity_data, status"
)


@ON_SQLITE
async def test_each_fault_of_the_environments_has_its_finding(system: System) -> None:
    """Two releases of a component succeeded in one environment, the second later. A pointer to any other deployment
    than the latest is a finding; a row that is younger than both deployments is only counted.
    """
    first, second = ReleaseRecords(), ReleaseRecords()
    second.component_id, second.count = first.component_id, 60
    row = {"id": uuid4(), "component_id": first.component_id, "deployment_track_id": "main"}
    young = {**row, "id": uuid4(), "environment_id": "production", "deployment_track_id": "other"}
    await insert_rows(system.database_url, "app_environments", [{**row, "environment_id": "production"}, young])
    block = {**second.fields, "release_number": 2}
    with system.worker() as worker:
        await system.send([*first.approved(), first.deploy("succeeded"), first.deploy("requested")])
        await system.send([second.deploy("succeeded", release=block)])
        await system.caught_up(worker)
        assert await worker.stop() == 0
    [moved] = [one for one in await system.read(system.topics.events) if one.key() == str(second.release_id).encode()]
    faults = {
        f"release_mgt_release_id = '{first.release_id}', release_mgt_deployment_id = '{deployment_of(first)}', "
        "release_mgt_deployment_name = '20260317-1.1'": ("contradictory", moved),
        "release_mgt_deployment_name = NULL": ("contradictory", moved),
        "release_mgt_deployment_id = '00000000-0000-0000-0000-000000000001'": ("invented", None),
        f"release_mgt_deployment_id = '{deployment_of(first, attempt=2)}'": ("contradictory", None),
    }
    report = await run_verify(system)
    assert (report["findings"], report["counts"]["environments"], report["counts"]["environments_unset"]) == ([], 2, 0)
    for number, (change, (kind, message)) in enumerate(faults.items()):
        path = system.folder / f"harmed-{number}.sqlite3"
        shutil.copy(system.folder / "rudder.sqlite3", path)
        alter(path, f"UPDATE app_environments SET {change} WHERE id = '{row['id']}'")
        report = await verify_report(replace(system, database_url=f"sqlite+aiosqlite:///{path}"))
        place = message and (system.topics.events, message.partition(), message.offset())
        [found] = without_texts(report)
        assert (found.pop("topic"), found.pop("partition"), found.pop("offset")) == (place or (None, None, None))
        assert found == {"kind": kind, "table": "app_environments", "row": str(row["id"])}, change
    alter(system.folder / "rudder.sqlite3", "UPDATE app_environments SET deployment_track_id = 'main'")
    report = await verify_report(system)
    assert (report["findings"], report["counts"]["environments_unset"]) == ([], 1)


def deployment_of(builder: ReleaseRecords, attempt: int = 1) -> str:
    of = deployment_id(release_id=builder.release_id, environment_id="production", config_revision=1, attempt=attempt)
    return str(of)


def as_sent(message: Message, **changes: Any) -> ToSend:
    key, value = message.key(), message.value()
    assert isinstance(key, bytes)
    assert isinstance(value, bytes)
    return replace(ToSend(key=key, value=value, headers=headers_of(message)), **changes)


async def publish(system: System, topic: str, records: Iterable[ToSend]) -> list[tuple[int, int]]:
    """Publishes the records as another application would, and returns their (partition, offset) pairs."""
    known = {_place(message) for message in await system.read(topic)}
    await asyncio.to_thread(send, system.bootstrap_servers, topic, list(records))
    return [place for message in await system.read(topic) if (place := _place(message)) not in known]


def _place(message: Message) -> tuple[int, int]:
    return _number(message.partition()), _number(message.offset())


@ON_SQLITE
@pytest.mark.parametrize("partition", [0, 1])
@pytest.mark.parametrize("approved", [True, False], ids=["and applied", "and rejected again"])
async def test_event_redriven_with_the_right_release_has_no_findings(
    system: System, approved: bool, partition: int
) -> None:
    """The event was rejected for an unknown release; an operator corrects it and sends it again with its old id."""
    wrong, right = ReleaseRecords(), ReleaseRecords()
    refused, right.count = wrong.deploy("requested"), 60
    before = right.approved() if approved else []
    mended = right.deploy("started")
    event_id = dict(refused.headers)["ce_id"]
    headers = tuple((name, event_id if name == "ce_id" else text) for name, text in mended.headers)
    mended = replace(mended, headers=(*headers, ("rudder-redrive", b"")))
    with system.worker() as worker:
        await system.send([replace(refused, partition=0)])
        await system.caught_up(worker)
        await system.send([replace(record, partition=partition) for record in (*before, mended)])
        await worker.ready()
        await system.caught_up(worker)
        assert await worker.stop() == 0
    [rejection] = (await system.rows())[REJECTIONS]
    assert (rejection["resolved_at"] is not None) == approved
    assert (await verify_report(system))["findings"] == []


@ON_SQLITE
async def test_each_wrong_output_record_has_its_finding(system: System) -> None:
    """A repeat with other content, an event with an id of its own, a dead letter of a record that was applied."""
    handled = await HandledRelease.on(system)
    statuses, letters = system.topics.deployment_status, system.topics.dead_letters
    [first, *_] = await system.read(statuses)
    [letter] = await system.read(letters)
    first_value = first.value()
    assert isinstance(first_value, bytes)
    changed = as_sent(first, value=first_value.replace(b'"PENDING"', b'"FAILED"'))
    other_id = tuple((name, b"another" if name == "ce_id" else text) for name, text in headers_of(first))
    of_applied = tuple(
        (name, str(handled.last_offset - 1).encode() if name == "rudder-offset" else text)
        for name, text in headers_of(letter)
    )
    assert await publish(system, statuses, [as_sent(first)])  # an exact repeat
    [contradictory] = await publish(system, statuses, [changed])
    [invented] = await publish(system, statuses, [as_sent(first, headers=other_id)])
    [of_another] = await publish(system, letters, [as_sent(letter, headers=of_applied)])
    report = await verify_report(system)
    found = {(one["kind"], one["topic"], one["partition"], one["offset"]) for one in report["findings"]}
    assert found == {
        ("contradictory", statuses, *contradictory),
        ("invented", statuses, *invented),
        ("invented", letters, *of_another),
    }
    assert report["findings_total"] == 3
    [cut] = (await verify_report(system, findings_max=1))["findings"]
    assert cut in report["findings"]


@ON_SQLITE
async def test_reordered_or_incomplete_status_topic_has_findings(system: System) -> None:
    """A copy of the status topic has two events in exchanged order, or lacks one."""
    handled = await HandledRelease.on(system)
    first, second, third = map(as_sent, await system.read(system.topics.deployment_status))
    for kind, records, finding in (
        ("out_of_order", [second, first, third], None),
        ("lost", [first, third], handled.finding("lost", table=LOG, row=handled.activity(5), offset=4)),
    ):
        topic = f"{system.topics.deployment_status}.{kind}"
        rewritten = replace(system, topics=replace(system.topics, deployment_status=topic))
        await create_topics(system.bootstrap_servers, {topic: 1})
        try:
            places = await publish(system, topic, records)
            [found] = without_texts(await verify_report(rewritten))
        finally:
            await asyncio.to_thread(delete_topics, system.bootstrap_servers, [topic])
        if finding is None:
            assert (found["kind"], found["topic"], found["partition"], found["offset"]) == (kind, topic, *places[1])
        else:
            assert found == finding


@ON_SQLITE
async def test_committed_record_that_was_not_handled_is_lost(system: System) -> None:
    """An operator may set the group's offsets past a record."""
    handled = await HandledRelease.on(system)
    await system.send([handled.builder.record("activity.recorded", {"activity_type": "X", "activity_data": {}})])
    report = await run_verify(system)
    assert (report["counts"]["uncommitted"], report["counts"]["pending"]) == (1, 1)
    await asyncio.to_thread(skip_to_the_end, system)
    report = await run_verify(system, code=1)
    assert without_texts(report) == [handled.finding("lost", table=LOG, row=handled.activity(8), offset=7)]


def skip_to_the_end(system: System) -> None:
    settings = {"bootstrap.servers": system.bootstrap_servers, "group.id": system.group_id, "enable.auto.commit": False}
    consumer = Consumer(settings)
    try:
        partitions = [TopicPartition(system.topics.events, number) for number in range(PARTITIONS)]
        ends = [consumer.get_watermark_offsets(partition, timeout=WAIT_SECONDS) for partition in partitions]
        for partition, end in zip(partitions, ends, strict=True):
            assert end is not None
            partition.offset = end[1]
        consumer.commit(offsets=partitions, asynchronous=False)
    finally:
        consumer.close()


@pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)
async def test_records_deleted_by_retention_are_counted(system: System) -> None:
    """Retention deletes half of a release's input records, and all output records so far."""
    handled = await HandledRelease.on(system)
    topics = system.topics
    await delete_before(system, {topics.events: 4})
    report = await verify_report(system)
    assert (report["findings"], report["counts"]["unverifiable"]) == ([], 5)
    ends = {topic: len(await system.read(topic)) for topic in (topics.release_status, topics.dead_letters)}
    await delete_before(system, ends)
    report = await verify_report(system)
    assert report["findings"] == []
    assert report["counts"]["dead_letters"] == 0
    assert handled.last_offset == 6


async def delete_before(system: System, offsets: Mapping[str, int]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=system.bootstrap_servers)
    await admin.start()
    try:
        consumed = {topic: await system.read(topic) for topic in offsets}
        await admin.delete_records(
            {
                AioPartition(topic, partition): RecordsToDelete(before_offset=before)
                for topic, before in offsets.items()
                for partition in {message.partition() for message in consumed[topic]}
            }
        )
    finally:
        await admin.close()


@ON_SQLITE
@pytest.mark.parametrize("settings", ["topic", "dead letters", "broker", "tables"])
async def test_unreadable_topic_or_database_is_one_line(system: System, settings: str) -> None:
    """Exit code 2, no traceback, and the request for a missing topic does not create it."""
    wrong = {
        "topic": {"RUDDER_INPUT_TOPICS": f"{system.topics.events}.none"},
        "dead letters": {"RUDDER_DEAD_LETTER_TOPIC": f"{system.topics.dead_letters}.none"},
        "broker": {"RUDDER_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"},
        "tables": {"RUDDER_DATABASE_URL": f"sqlite+aiosqlite:///{system.folder / 'none.sqlite3'}"},
    }[settings]
    with WorkerProcess("verify", settings=system.settings | wrong, folder=system.folder, name="verify") as process:
        assert await process.ended() == 2, process.output()
        assert process.stdout == ""
        [line] = [line for line in process.stderr.splitlines() if line.startswith("rudder-worker: ")]
        assert "Traceback" not in process.stderr
    named = {
        "topic": "RUDDER_INPUT_TOPICS",
        "dead letters": "RUDDER_DEAD_LETTER_TOPIC",
        "broker": "127.0.0.1:1",
        "tables": "migrate",
    }
    assert named[settings] in line


@pytest.fixture
def reader(pair: tuple[str, str], postgres_server: PostgresServer) -> Iterator[URL]:
    """The database's URL for a login with read-only transactions that may connect and has no privilege yet."""
    url = make_url(pair[1])
    database, name = str(url.database), f"reader_{uuid4().hex}"
    postgres_server.execute(f'CREATE ROLE "{name}" LOGIN')
    postgres_server.execute(f'ALTER ROLE "{name}" SET default_transaction_read_only = on')
    yield url.set(username=name)
    postgres_server.execute(f'DROP OWNED BY "{name}"', database=database)
    postgres_server.execute(f'DROP ROLE "{name}"')


@pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)
async def test_verify_needs_no_privilege_but_select(
    system: System, reader: URL, postgres_server: PostgresServer
) -> None:
    """`verify` needs SELECT on the tables that the page names; without it, one line names the missing privilege."""
    handled = await HandledRelease.on(system)
    asking = replace(system, database_url=reader.render_as_string(hide_password=False))
    with WorkerProcess("verify", settings=asking.settings, folder=system.folder, name="refused") as refused:
        assert await refused.ended() == 2, refused.output()
        [line] = [line for line in refused.stderr.splitlines() if line.startswith("rudder-worker: ")]
        assert "permission denied" in line
    [sentence] = re.findall(r"\| `verify` \| SELECT on (.*) \|", PRIVILEGES.read_text("utf-8"))
    tables = re.findall(r"`(\w+)`", sentence)
    assert "app_environments" in tables
    for table in tables:
        postgres_server.execute(f'GRANT SELECT ON {table} TO "{reader.username}"', database=str(reader.database))
    report = await run_verify(asking)
    assert (report["findings"], report["counts"]["records"]) == ([], handled.last_offset + 1)
    assert report["counts"]["activities"] > 0


@ON_SQLITE
async def test_empty_topic_is_a_warning(system: System) -> None:
    """Without the warning, a wrong topic or a short retention would look like a correct system."""
    with WorkerProcess("verify", settings=system.settings, folder=system.folder, name="verify") as process:
        assert await process.ended() == 0, process.output()
        assert "rudder-worker: warning: the input topics hold no records" in process.stderr


@pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)
async def test_aborted_records_are_ignored(system: System) -> None:
    """`verify` neither reads nor waits for the records of an aborted transaction at the end of the input."""
    handled = await HandledRelease.on(system)
    await asyncio.to_thread(publish_and_take_back, system, handled.partition)
    report = await verify_report(system)
    assert (report["findings"], report["counts"]["records"]) == ([], handled.last_offset + 1)


def publish_and_take_back(system: System, partition: int) -> None:
    producer = Producer({"bootstrap.servers": system.bootstrap_servers, "transactional.id": system.group_id})
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce(system.topics.events, value=b"{}", partition=partition)
    assert producer.flush(WAIT_SECONDS) == 0
    producer.abort_transaction()
