"""`dead-letters redrive` as a process, with a real worker: what was planned happens, and nothing is sent twice."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from confluent_kafka import Message

from tests.conformance.deadlines import until
from tests.conformance.producers import ToSend, headers_of
from tests.conformance.table_contents import rows
from tests.end_to_end.killed_redrive import STEPS, command
from tests.end_to_end.release_records import ReleaseRecords
from tests.end_to_end.system import PARTITIONS, System
from tests.end_to_end.verify_reports import run_verify
from tests.end_to_end.worker_process import MODULE, WorkerProcess
from tests.testkit.postgres import PostgresServer

ON_APACHE = pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)
EARLY = ("requested", "started", "succeeded")
INVALID = ToSend(value=b"{", key=b"", headers=(("x", None), ("rudder-redrive", b"1"), ("x", b"")))


async def rejected_early(system: System, *builders: ReleaseRecords, more: Sequence[ToSend] = ()) -> None:
    """Deployments that came before their releases, then the releases."""
    early = [builder.deploy(step) for builder in builders for step in EARLY]
    await system.send([*early, *more])
    with system.worker(name="early") as worker:
        await system.caught_up(worker)
        await system.send([record for builder in builders for record in builder.approved()])
        await system.caught_up(worker)
        assert await worker.stop() == 0


def redrive(system: System, *arguments: str, name: str, command: Sequence[str] = MODULE, **more: str) -> WorkerProcess:
    settings = {**system.settings, **more}
    return WorkerProcess(
        "dead-letters", "redrive", *arguments, settings=settings, folder=system.folder, name=name, command=command
    )


async def ended(system: System, *arguments: str, code: int = 0, name: str, **more: str) -> WorkerProcess:
    with redrive(system, *arguments, name=name, **more) as process:
        assert await process.ended() == code, process.output()
        return process


async def rejections(system: System) -> Mapping[str, Any]:
    """By id: whether each is resolved."""
    found = await rows(system.database_url, "release_event_rejections")
    return {str(row["id"]): row["resolved_at"] is not None for row in found}


def redrives(messages: Sequence[Message]) -> Mapping[bytes, int]:
    """How often each rejected record was sent again."""
    named = [value for message in messages for name, value in headers_of(message) if name == "rudder-redrive"]
    return Counter(value for value in named if value is not None and b"@" in value)


async def test_plan_is_what_is_executed(system: System) -> None:
    """The plan's predictions are the outcomes; bytes, partition and order are kept; a second execution is refused."""
    first, second = ReleaseRecords(), ReleaseRecords()
    await rejected_early(system, first, second, more=[INVALID])
    before = await system.read(system.topics.events)
    path = str(system.folder / "plan.json")
    planned = json.loads((await ended(system, "--all", "--output", path, "--json", name="plan")).stdout)
    assert planned["counts"] == {"applied": 6, "rejected malformed_json": 1}
    assert (planned["sent"], len(planned["records"])) == (6, 7)
    assert (await system.read(system.topics.events))[len(before) :] == []
    with system.worker() as worker:
        await worker.ready()
        arguments = ("--plan", path, "--execute", "--ramp", "--rate", "100/s", "--expect", "6", "--json")
        done = json.loads((await ended(system, *arguments, name="execute")).stdout)
        assert done["counts"] == {"applied": 6}
        refused = await ended(system, "--plan", path, "--execute", code=2, name="again")
        assert "was resolved since the plan was made" in refused.stderr
        failing = await ended(system, "--all", "--execute", "--include-failing", code=1, name="failing")
        assert "rejected: malformed_json" in failing.stdout
        await system.caught_up(worker)
        assert await worker.stop() == 0
    assert sorted((await rejections(system)).values()) == [False] * 2 + [True] * 6
    after = await system.read(system.topics.events)
    assert set(redrives(after).values()) == {1}
    require_repeated(before, after)
    assert (await run_verify(system))["findings"] == []
    actions = await rows(system.database_url, "operator_actions")
    [action] = [one for one in actions if json.loads(one["arguments"]).get("plan") == path]
    assert (action["result"], json.loads(action["counts"])) == ("completed", {"applied": 6})


def require_repeated(before: Sequence[Message], after: Sequence[Message]) -> None:
    """Each redrive is the record at the position that its header names, byte for byte."""
    originals = {f"{one.topic()}/{one.partition()}@{one.offset()}".encode(): one for one in before}
    added = {"rudder-redrive", "rudder-corrects"}
    for message in after:
        headers = headers_of(message)
        original = originals.get(dict(headers).get("rudder-redrive") or b"")
        if original is not None:
            assert (message.key(), message.value()) == (original.key(), original.value())
            assert message.partition() == original.partition()
            kept = [header for header in headers_of(original) if header[0] not in added]
            assert [header for header in headers if header[0] not in added] == kept


@ON_APACHE
@pytest.mark.timeout(600)
async def test_killed_redrive_sends_nothing_twice(system: System) -> None:
    """SIGKILL at every step, one after the other, each time resumed; then `verify` has no findings."""
    builders = [ReleaseRecords() for _ in range(2)]
    await rejected_early(system, *builders)
    with system.worker() as worker:
        await worker.ready()
        first = redrive(system, "--all", "--execute", name="killed", command=command("after-plan"))
        with first:
            assert await first.ended() == -signal.SIGKILL, first.output()
        [action] = await rows(system.database_url, "operator_actions")
        assert action["result"] is None
        for step in [one for one in STEPS if not one.endswith("-plan")]:
            resumed = redrive(system, "--resume", str(action["id"]), name=step, command=command(step))
            with resumed:
                assert await resumed.ended() == -signal.SIGKILL, f"{step}: {resumed.output()}"
        await ended(system, "--resume", str(action["id"]), name="resumed")
        again = await ended(system, "--resume", str(action["id"]), name="settled")
        assert "6 applied" in again.stderr
        await system.caught_up(worker)
        assert await worker.stop() == 0
    journal = await rows(system.database_url, "redrive_records")
    assert [(row["state"], row["outcome"]) for row in journal] == [("SETTLED", "applied")] * 6
    assert all(row["end_offset"] <= row["sent_offset"] for row in journal)
    assert set(redrives(await system.read(system.topics.events)).values()) == {1}
    assert set((await rejections(system)).values()) == {True}
    assert (await run_verify(system))["findings"] == []


@ON_APACHE
async def test_interrupted_redrive_continues(system: System) -> None:
    """Ctrl-C ends it after the current record; the printed command continues."""
    await rejected_early(system, ReleaseRecords(), ReleaseRecords())
    with system.worker() as worker:
        await worker.ready()
        with redrive(system, "--all", "--execute", "--rate", "2/s", name="interrupted") as process:
            await until(lambda: "applied" in process.stdout, what=lambda: f"one is applied: {process.output()}")
            process.send_signal(signal.SIGINT)
            assert await process.ended() == 130, process.output()
        advice = process.stderr.splitlines()[-1]
        assert "interrupted; to continue: rudder-worker dead-letters redrive --resume " in advice
        sent = redrives(await system.read(system.topics.events))
        assert len(sent) < 6
        await ended(system, "--resume", advice.split()[-1], name="resumed")
        assert await worker.stop() == 0
    sent = redrives(await system.read(system.topics.events))
    assert (len(sent), set(sent.values())) == (6, {1})
    results = [row["result"] for row in await rows(system.database_url, "operator_actions")]
    assert sorted(results) == ["completed", "interrupted"]
    assert (await run_verify(system))["findings"] == []


@ON_APACHE
async def test_redrive_stopped_by_an_outage_continues(system: System, postgres_server: PostgresServer) -> None:
    """The database is down for longer than --wait: exit code 1, and the printed command sends only the others."""
    await rejected_early(system, ReleaseRecords(), ReleaseRecords())
    with system.worker() as worker:
        await worker.ready()
        with redrive(system, "--all", "--execute", "--rate", "1/s", "--wait", "5", name="stopped") as process:
            await until(lambda: "applied" in process.stdout, what=lambda: f"one is applied: {process.output()}")
            await asyncio.to_thread(postgres_server.stop)
            assert await process.ended() == 1, process.output()
        await asyncio.to_thread(postgres_server.start)
        [advice] = [line for line in process.stderr.splitlines() if "to continue: " in line]
        assert "rudder-worker dead-letters redrive --resume " in advice
        assert "Traceback" not in process.stderr
        sent = redrives(await system.read(system.topics.events))
        assert 0 < len(sent) < 6
        resumed = await ended(system, "--resume", advice.split()[-1], name="resumed")
        assert "6 applied" in resumed.stderr
        await system.caught_up(worker)
        assert await worker.stop() == 0
    journal = await rows(system.database_url, "redrive_records")
    assert [(row["state"], row["outcome"]) for row in journal] == [("SETTLED", "applied")] * 6
    sent = redrives(await system.read(system.topics.events))
    assert (len(sent), set(sent.values())) == (6, {1})
    assert set((await rejections(system)).values()) == {True}
    assert (await run_verify(system))["findings"] == []


@ON_APACHE
async def test_two_redrives_at_once_decide_once(system: System) -> None:
    """Two operators start the same redrive: each event is decided once; one of the operators may be refused."""
    await rejected_early(system, ReleaseRecords(), ReleaseRecords())
    with system.worker() as worker:
        await worker.ready()
        arguments = ("--all", "--execute", "--rate", "20/s")
        with redrive(system, *arguments, name="one") as one, redrive(system, *arguments, name="two") as two:
            codes = [await one.ended(), await two.ended()]
        assert set(codes) <= {0, 1, 2}, one.output() + two.output()
        for process, code in zip((one, two), codes, strict=True):
            assert code == 0 or "--resume" in process.stderr or "since the plan" in process.stderr, process.output()
        await system.caught_up(worker)
        assert await worker.stop() == 0
    states = [row["outcome"] for row in await rows(system.database_url, "redrive_records") if row["state"] == "SETTLED"]
    assert Counter(states)["applied"] == 6 or 0 not in codes
    assert (await run_verify(system))["findings"] == []


@ON_APACHE
async def test_unusable_plans_and_selections_send_nothing(system: System) -> None:
    """One clear line and exit code 2: an edited plan, another group, a topic that shrank, an unknown topic."""
    await rejected_early(system, ReleaseRecords())
    path, edited = system.folder / "plan.json", system.folder / "edited.json"
    await ended(system, "--all", "--output", str(path), name="plan")
    edited.write_text(path.read_text().replace('"applied"', '"stale"', 1))
    before = len(await system.read(system.topics.events))
    other = replace(system, group_id="other.group")
    dead_topic = {"RUDDER_INPUT_TOPICS": "rudder.other"}
    with system.worker() as worker:
        await worker.ready()
        cases = [
            (await ended(system, "--plan", str(edited), "--execute", code=2, name="edited"), "was changed after"),
            (await ended(other, "--plan", str(path), "--execute", code=2, name="group"), "belongs to another group"),
            (await ended(system, "--reason", "attempt_gap", code=2, name="empty"), "match no dead letter"),
            (await ended(system, code=2, name="nothing"), "nothing is selected"),
            (await ended(system, "--all", "--limit", "2", code=2, name="limit"), "more than 2 dead letters"),
            (
                await ended(system, "--all", "--execute", "--expect", "2", code=2, name="expect"),
                "3 events would be sent",
            ),
            (await ended(system, "--all", code=2, name="topic", **dead_topic), "none of RUDDER_INPUT_TOPICS"),
        ]
        assert await worker.stop() == 0
    cases.append((await ended(system, "--all", "--execute", code=2, name="stopped"), "has no member"))
    assert len(await system.read(system.topics.events)) == before
    await delete_records(system, system.topics.events, system.topics.dead_letters)
    cases.append((await ended(system, "--plan", str(path), "--execute", code=2, name="shrank"), "since the plan"))
    for process, text in cases:
        [line] = process.stderr.splitlines()[-1:]
        assert text in line, process.output()
        assert "Traceback" not in process.stderr
    assert await rows(system.database_url, "redrive_records") == []


async def delete_records(system: System, *topics: str) -> None:
    """All records of the topics, as retention would."""
    client = AIOKafkaAdminClient(bootstrap_servers=system.bootstrap_servers)
    await client.start()
    try:
        everything = RecordsToDelete(before_offset=-1)
        for topic in topics:
            await client.delete_records({TopicPartition(topic, number): everything for number in range(PARTITIONS)})
    finally:
        await client.close()


async def test_expired_record_is_read_from_its_dead_letter(system: System) -> None:
    """Retention has deleted it from the input topic; the dead letter is a complete copy."""
    builder = ReleaseRecords()
    await rejected_early(system, builder)
    await delete_records(system, system.topics.events)
    with system.worker() as worker:
        await worker.ready()
        done = json.loads((await ended(system, "--all", "--execute", "--json", name="execute")).stdout)
        assert done["counts"] == {"applied": 3}
        assert await worker.stop() == 0
    assert set((await rejections(system)).values()) == {True}
