"""What operators' commands read and write beside the messages, on each database."""

import json
from collections.abc import AsyncIterator
from datetime import date
from uuid import uuid4

import pytest

from tests.conformance.release_messages import COMPONENT, ReleaseMessages, message
from tests.conformance.stores import migrate, opened, process_all
from tests.conformance.table_contents import contents, row
from worker.db.action_log import SqlActionLog
from worker.db.engine import open_engine
from worker.db.table_reader import SqlTableReader
from worker.operator_actions import Operator, recorded
from worker.prediction import Prediction
from worker.release_simulation import ReleaseSimulation
from worker.rules.decide import decide
from worker.rules.message import Message
from worker.rules.state import Applied, Duplicate, Outcome, Rejected


@pytest.fixture
async def reader(database_url: str) -> AsyncIterator[SqlTableReader]:
    await migrate(database_url)
    reader = SqlTableReader.open(database_url, timeout_seconds=20)
    yield reader
    await reader.close()


async def test_action_is_one_row(database_url: str, reader: SqlTableReader) -> None:
    """Before the command its first half, afterwards all of it."""
    del reader
    engine, dialect = open_engine(database_url, timeout_seconds=20)
    log, maria = SqlActionLog(engine, dialect), Operator(name="maria", host="bastion")
    try:
        async with recorded(log, operator=maria, command="replay", arguments={"to": "zürich"}) as progress:
            begun = await row(database_url, "operator_actions")
            progress.counts["applied"] = 7
    finally:
        await engine.dispose()
    assert (begun["operator"], begun["host"], begun["command"]) == ("maria", "bastion", "replay")
    assert (begun["result"], begun["finished_at"], begun["counts"]) == (None, None, None)
    ended = await row(database_url, "operator_actions")
    assert json.loads(ended["arguments"]) == {"to": "zürich"}
    assert (ended["result"], json.loads(ended["counts"])) == ("completed", {"applied": 7})
    assert ended["started_at"] == progress.action.started_at <= ended["finished_at"]


async def test_database_has_one_identity(reader: SqlTableReader) -> None:
    """A random version 4 or plain UUID, the same each time."""
    assert await reader.identity() == await reader.identity()


async def test_known_events_are_found(database_url: str, reader: SqlTableReader) -> None:
    """Applied ones in the log, rejected ones with their rejections, of as many ids as are asked for."""
    builder = ReleaseMessages()
    early, created, unread = builder.deploy("started"), builder.created(), builder.deploy("started")
    async with opened(database_url) as store:
        await process_all([early, created], store)
    asked = [*(uuid4() for _ in range(450)), early.id, created.id, unread.id]
    assert await reader.logged(asked) == {created.id}
    rejections = await reader.rejections_of(asked)
    assert {id_: rejection.reason for id_, rejection in rejections.items()} == {early.id: "release_not_found"}
    same = await reader.same_number(date(2026, 3, 17), builder.number, COMPONENT)
    assert same == {builder.release_id: "main"}


async def test_simulation_of_stored_rows_predicts_the_store(database_url: str, reader: SqlTableReader) -> None:
    """Outcomes and every cell: decided in memory on stored rows, then by the store itself."""
    builder = ReleaseMessages()
    early = builder.deploy("started")
    before = [early, *builder.approved(), builder.deploy("requested", actor="zoë"), builder.deploy("started")]
    correction = builder.deploy("failed", comment="ü")
    later = [
        again(early, f"events/0@{early.record.offset}"),
        again(early, "events/0@0"),
        before[-1],
        builder.deploy("succeeded"),
        builder.deploy("succeeded", attempt=9),
        builder.deploy("requested", environment_id="test"),
        correction,
    ]
    async with opened(database_url) as store:
        await process_all(before, store)
        [stored] = await reader.rows_of([builder.release_id, uuid4()])
        simulation = ReleaseSimulation.of(stored, await reader.rejections_of([one.id for one in [*before, *later]]))
        predicted = []
        for one in later:
            predicted.append(decide(simulation.state(one, number_taken=False), one))
            simulation.write(predicted[-1], one.id)
        outcomes = await process_all(later, store)
    assert [type(outcome) for outcome in outcomes] == [type(outcome) for outcome in predicted]
    assert {type(outcome) for outcome in outcomes} >= {Applied, Duplicate, Rejected}
    found = await contents(database_url)
    assert found["releases"] == [simulation.release]
    assert {one["id"]: one for one in found["release_deployments"]} == simulation.deployments
    assert [one["version"] for one in found["release_versions"]] == [simulation.version]
    rejections = {id_: one.resolved_at for id_, one in simulation.rejections.items()}
    assert {one["id"]: one["resolved_at"] for one in found["release_event_rejections"]} == rejections


async def test_prediction_follows_the_store(database_url: str, reader: SqlTableReader) -> None:
    """Over releases: a resolved rejection resolves its followers; a taken number is taken for another release."""
    first, second = ReleaseMessages(), ReleaseMessages()
    second.number = first.number
    early = [first.event("release.submitted"), first.event("release.approved"), first.deploy("started")]
    broken = message(b"{")
    reused = message(second.deploy("failed").record.value, early[0].record.headers)
    later = [
        first.created(),
        *(again(one, f"events/0@{one.record.offset}") for one in early),
        second.created(),
        broken,
        again(early[2], f"events/0@{early[2].record.offset}"),
        first.deploy("succeeded"),
        reused,
        second.deploy("started", release=second.fields),
    ]
    async with opened(database_url) as store:
        await process_all([*early, broken], store)
        prediction = Prediction(reader, decide)
        await prediction.load(later)
        predicted = [prediction.decide(one) for one in later]
        outcomes = await process_all(later, store)
    names = [summary(outcome) for outcome in outcomes]
    assert [summary(outcome) for outcome in predicted] == names
    assert names == ["Applied"] * 4 + ["release_conflict", "Duplicate", "Duplicate", "Applied", "Duplicate", names[-1]]
    assert names[-1] == "release_conflict"
    found = await contents(database_url)
    assert found["releases"] == [prediction.releases[first.release_id].release]
    resolved = {id_: one.resolved_at for id_, one in prediction.rejections.items()}
    assert {one["id"]: one["resolved_at"] for one in found["release_event_rejections"]} == resolved


def summary(outcome: Outcome) -> str:
    return outcome.rejection.reason if isinstance(outcome, Rejected) else type(outcome).__name__


def again(original: Message, position: str) -> Message:
    """A redrive that names the position of the rejected record."""
    return message(original.record.value, (*original.record.headers, ("rudder-redrive", position.encode())))


async def test_correction_resolves_the_rejection(database_url: str, reader: SqlTableReader) -> None:
    """In the transaction of the correction, at the time of its record; a rejected correction resolves nothing."""
    builder = ReleaseMessages()
    early = builder.deploy("started")
    corrects = (("rudder-corrects", str(early.id).encode()),)
    refused, correction = builder.deploy("succeeded"), builder.deploy("started")
    sent = [message(one.record.value, (*one.record.headers, *corrects)) for one in (refused, correction)]
    async with opened(database_url) as store:
        await process_all([early, sent[0]], store)
        assert (await reader.rejections_of([early.id]))[early.id].resolved_at is None
        await process_all([*builder.approved(), sent[1]], store)
    assert (await reader.rejections_of([early.id]))[early.id].resolved_at == sent[1].recorded_at


async def test_redrive_of_a_corrected_event_changes_nothing(database_url: str, reader: SqlTableReader) -> None:
    """As it is predicted."""
    builder = ReleaseMessages()
    early = builder.deploy("started")
    created = builder.created()
    correction = message(created.record.value, (*created.record.headers, ("rudder-corrects", str(early.id).encode())))
    redrive = again(early, f"events/0@{early.record.offset}")
    async with opened(database_url) as store:
        await process_all(
            [early, correction, builder.event("release.submitted"), builder.event("release.approved")], store
        )
        prediction = Prediction(reader, decide)
        await prediction.load([redrive])
        predicted = prediction.decide(redrive)
        before = await contents(database_url)
        [outcome] = await process_all([redrive], store)
    assert (summary(predicted), summary(outcome)) == ("Duplicate", "Duplicate")
    assert await contents(database_url) == before
