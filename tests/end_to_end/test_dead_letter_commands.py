"""`dead-letters` and `publish --corrects` on real brokers and databases, as an operator types them."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from tests.conformance.catalog import run
from tests.conformance.producers import ToSend
from tests.conformance.table_contents import row
from tests.conformance.table_contents import rows as rows_of
from tests.end_to_end.release_records import ReleaseRecords
from tests.end_to_end.system import PARTITIONS, System
from tests.end_to_end.verify_reports import verify_report
from tests.testkit.topic_creation import create_topics
from tests.testkit.topics import delete_topics
from tests.unit.cli.command_line import Ended, rudder_worker
from worker.rules.identity import activity_id

HOSTILE = "\x1b[2J\x07\r\nid        00000000-0000-0000-0000-000000000000 \u202e"
ON_APACHE = pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)


class Operator:
    """Types commands beside the system's workers."""

    def __init__(self, system: System) -> None:
        self._system = system

    async def __call__(self, *arguments: str) -> Ended:
        settings = {**self._system.settings, "RUDDER_OPERATOR": "maria"}
        return await asyncio.to_thread(rudder_worker, *arguments, folder=self._system.folder, environment=settings)

    async def json(self, *arguments: str, code: int = 0) -> Any:
        ended = await self(*arguments, "--json")
        assert ended.code == code, ended.err
        return json.loads(ended.out)

    async def ids(self, *filters: str) -> list[str]:
        """Of the dead letters, oldest first."""
        found = await self.json("dead-letters", "list", *filters)
        return [one["id"] for one in found["dead_letters"]][::-1]


async def handled(system: System, records: list[ToSend]) -> None:
    with system.worker() as worker:
        await system.send([replace(record, partition=0) for record in records])
        await system.caught_up(worker)
        assert await worker.stop() == 0


def identity(record: ToSend) -> tuple[str, str]:
    headers = dict(record.headers)
    return (headers["ce_source"] or b"").decode(), (headers["ce_id"] or b"").decode()


async def test_correction_settles_a_dead_letter(system: System) -> None:
    """Found, shown, exported, corrected by hand and sent: the release is as if the event had been right."""
    operator, builder = Operator(system), ReleaseRecords()
    wrong = builder.deploy("requested", attempt="one")
    await handled(system, [*builder.approved(), wrong])
    [letter] = await operator.ids("--reason", "invalid_data", "--since", "2000-01-01T00:00:00Z")
    shown = await operator("dead-letters", "show", letter, "--payload")
    assert shown.code == 0, shown.err
    assert "now       a redrive would be rejected: invalid_data: /data/attempt: " in shown.out
    [marked] = [line for line in shown.out.splitlines() if line.startswith(">")]
    assert '"attempt": "one"' in marked
    assert "<-- /data/attempt: " in marked
    exported = await operator("dead-letters", "export", letter, "--output", "fix.json")
    assert exported.code == 0, exported.err
    file = system.folder / "fix.json"
    event = json.loads(file.read_text())
    source, event_id = identity(wrong)
    assert (event["source"], event["id"]) == (source, f"{event_id}/corrected-1")
    unchanged = await operator("publish", "--corrects", letter, "--file", "fix.json")
    assert (unchanged.code, "/data/attempt" in unchanged.problem) == (2, True)
    event["data"]["attempt"] = 1
    file.write_text(json.dumps(event))
    with system.worker() as worker:
        sent = await operator.json("publish", "--corrects", letter, "--file", "fix.json")
        await system.caught_up(worker)
        assert await worker.stop() == 0
    assert (sent["outcome"], sent["corrects"]) == ("applied", letter)
    assert await operator.ids() == []
    assert await operator.ids("--resolved") == [letter]
    rows = await system.rows()
    assert [(one["attempt"], one["status"]) for one in rows["release_deployments"]] == [(1, "PENDING")]
    action = await row(system.database_url, "operator_actions")
    assert (action["command"], action["operator"], action["result"]) == ("publish --corrects", "maria", "completed")
    again = await operator("publish", "--corrects", letter, "--file", "fix.json")
    assert (again.code, "is resolved already" in again.problem) == (2, True)
    report = await verify_report(system)
    assert report["findings"] == [], report


@ON_APACHE
async def test_correction_of_an_unidentified_event_is_verified(system: System) -> None:
    """A value that is no JSON names no release: its correction is in another release's history."""
    operator, builder = Operator(system), ReleaseRecords()
    broken = ToSend(value=b'{"id": "7", \x1b[2J', key=b"k")
    await handled(system, [broken, *builder.approved()])
    [letter] = await operator.ids()
    shown = await operator("dead-letters", "show", letter, "--payload")
    assert "the value is no JSON object (16 bytes)" in shown.out
    assert "\x1b" not in shown.out
    exported = await operator("dead-letters", "export", letter)
    assert "its bytes were written as they are" in exported.err
    file = system.folder / f"{letter}.json"
    assert file.read_bytes() == broken.value
    refused = await operator("publish", "--corrects", letter, "--file", file.name)
    assert refused.code == 2
    file.write_text(json.dumps(structured(builder.deploy("requested"))))
    with system.worker() as worker:
        sent = await operator("publish", "--corrects", letter, "--file", file.name)
        assert sent.code == 0, sent.err
        assert f"dead letter {letter} is resolved" in sent.out
        await system.caught_up(worker)
        assert await worker.stop() == 0
    assert await operator.ids() == []
    report = await verify_report(system)
    assert report["findings"] == [], report
    for resolved_at in ("NULL", "'2026-03-17 09:30:00'"):
        statement = f"UPDATE release_event_rejections SET resolved_at = {resolved_at}"
        await asyncio.to_thread(run, system.database_url, statement)
        [finding] = (await verify_report(system))["findings"]
        assert (finding["kind"], finding["row"]) == ("contradictory", letter)


@ON_APACHE
async def test_unfit_corrections_are_refused(system: System) -> None:
    """The old identity, another source, an unknown rejection, two events: exit code 2, and nothing is sent."""
    operator, builder = Operator(system), ReleaseRecords()
    early = builder.deploy("requested")
    await handled(system, [early])
    [letter] = await operator.ids()
    event = structured(early)
    ends = len(await system.read(system.topics.events))
    unknown = str(UUID(int=5))
    for corrects, content, problem in (
        (letter, json.dumps(event), "has the source and the id of the rejected event"),
        (letter, json.dumps({**event, "id": "new", "source": "/other"}), "only an event of the same source"),
        (letter, json.dumps({**event, "id": None}), "a correction needs its own id"),
        (letter, f"{json.dumps(event)}\n{json.dumps(event)}", "has 2 events"),
        (unknown, json.dumps({**event, "id": "new"}), f"no dead letter has the id {unknown}"),
    ):
        (system.folder / "event.json").write_text(content)
        refused = await operator("publish", "--corrects", corrects, "--file", "event.json")
        assert refused.code == 2, refused.err
        assert problem in refused.problem
    assert len(await system.read(system.topics.events)) == ends
    assert await rows_of(system.database_url, "operator_actions") == []


@ON_APACHE
async def test_undecided_and_rejected_corrections_leave_it_open(system: System) -> None:
    """Without a worker nothing is decided; then it is rejected like the first."""
    operator, builder = Operator(system), ReleaseRecords()
    early = builder.deploy("requested")
    await handled(system, [early])
    [letter] = await operator.ids()
    (system.folder / "event.json").write_text(json.dumps({**structured(early), "id": "new"}))
    waited = await operator.json("publish", "--corrects", letter, "--file", "event.json", "--wait", "0.3", code=1)
    assert waited["outcome"] == "not decided yet"
    (system.folder / "event.json").write_text(json.dumps({**structured(early), "id": "newer"}))
    with system.worker() as worker:
        rejected = await operator.json("publish", "--corrects", letter, "--file", "event.json", code=1)
        await system.caught_up(worker)
        assert await worker.stop() == 0
    assert rejected["outcome"] == "rejected"
    assert rejected["why"].startswith("release_not_found: ")
    assert letter in await operator.ids()
    report = await verify_report(system)
    assert report["findings"] == [], report


@ON_APACHE
async def test_records_that_are_gone_are_read_from_the_dead_letter_topic(system: System) -> None:
    """After retention; after the topic was created again, with another record there; and then from nowhere."""
    operator, builder = Operator(system), ReleaseRecords()
    early = builder.deploy("requested", comment=HOSTILE)
    await handled(system, [early])
    source, event_id = identity(early)
    letter = str(activity_id(source=source, event_id=event_id))
    assert not (await operator.json("dead-letters", "show", letter))["record_copied"]
    await delete_records(system.bootstrap_servers, system.topics.events)
    for _ in range(2):
        shown = await operator.json("dead-letters", "show", letter, "--payload")
        assert (shown["record_found"], shown["record_copied"]) == ("complete", True)
        assert shown["event"]["data"]["comment"] == HOSTILE
        assert shown["decision_now"]["why"].startswith("release_not_found: ")
        delete_topics(system.bootstrap_servers, [system.topics.events])
        await create_topics(system.bootstrap_servers, {system.topics.events: PARTITIONS})
        await system.send([ToSend(value=b"another", partition=0)])
    text = await operator("dead-letters", "show", letter, "--payload")
    assert "(deleted by retention; read from the dead-letter topic)" in text.out
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(text.out)
    await delete_records(system.bootstrap_servers, system.topics.dead_letters)
    for_people = await operator("dead-letters", "show", letter, "--payload")
    assert for_people.code == 0
    assert "the event is not available: expired by retention" in for_people.out
    exported = await operator("dead-letters", "export", letter)
    assert exported.code == 1
    assert not (Path(system.folder) / f"{letter}.json").exists()


@ON_APACHE
async def test_redrive_decision_of_now_is_predicted(system: System) -> None:
    """Once the release exists, with the rows that would change; and the others of the release."""
    operator, builder = Operator(system), ReleaseRecords()
    first, second = builder.deploy("requested"), builder.deploy("started")
    await handled(system, [first, second, *builder.approved()])
    [one, other] = await operator.ids()
    shown = await operator.json("dead-letters", "show", one)
    assert shown["decision_now"]["decision"] == "applied"
    assert any(row.startswith("release_deployments: ") for row in shown["decision_now"]["rows"])
    assert shown["other_open"] == {"count": 1, "count_capped": False, "newest": [other]}
    groups = await operator.json("dead-letters", "list", "--group-by", "fingerprint")
    assert [(group["count"], group["releases"]) for group in groups["groups"]] == [(2, 1)]


def structured(record: ToSend) -> dict[str, Any]:
    """The event of a record in binary mode."""
    attributes = {
        name.removeprefix("ce_"): (value or b"").decode() for name, value in record.headers if name.startswith("ce_")
    }
    return {**attributes, "data": json.loads(record.value or b"")}


async def delete_records(bootstrap_servers: str, topic: str) -> None:
    """As retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        partitions = {TopicPartition(topic, number): RecordsToDelete(before_offset=-1) for number in range(PARTITIONS)}
        await admin.delete_records(partitions)
    finally:
        await admin.close()
