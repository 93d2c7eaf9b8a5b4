"""The SQL of the pages docs/reference/sql: what a message sends to each database, from events that are decided here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from migrations.versions import v0_0_233_write_procedure
from schemas.event import Event, Invalid
from schemas.incoming import ActivityRecorded, DeploymentChange, ReleaseCreated, ReleaseFields, ReleaseTransition
from schemas.reasons import Reason
from schemas.record import Record
from schemas.statuses import DeploymentStatus, ReleaseStatus
from schemas.types import EventType
from worker.db.dialect import Dialect, dialect_of
from worker.db.loads import Loads
from worker.db.mssql import procedure as mssql
from worker.db.mssql.json_text import json_text
from worker.db.pointers import ComponentKey, Pointers
from worker.db.postgresql import session as postgresql
from worker.db.sqlite import session as sqlite
from worker.db.writes import WriteSet, write_set_of
from worker.rules.decide import decide
from worker.rules.message import REDRIVE_HEADER, Message
from worker.rules.query import QueryVariant, query_of
from worker.rules.rows import Deployment, EnvironmentPointer, Rejection, Release
from worker.rules.state import State, changes_of

URLS: Mapping[str, str] = {
    "postgresql": "postgresql+asyncpg://rudder@db.example/rudder",
    "mssql": "mssql+aioodbc://rudder@db.example/rudder",
    "sqlite": "sqlite+aiosqlite:///rudder.db",
}

_AT = datetime(2026, 3, 2, 8, tzinfo=UTC)
_LATER = datetime(2026, 3, 2, 9, tzinfo=UTC)
_ID = UUID("6f1d5f6e-2f0a-5c0b-9d43-7b0d3f2f5a11")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A message, what is loaded for it, and what is said of what it writes."""

    title: str
    message: Message
    state: State


def load(database: str) -> str:
    """Each query variant, with the events that use it."""
    return "\n\n".join(_load(dialect_of(URLS[database])))


def write(database: str) -> str:
    """The write of each case, with its title."""
    return "\n\n".join(_write(database, dialect_of(URLS[database])))


def _load(dialect: Dialect) -> Iterator[str]:
    queries = Loads.of(dialect.fragments, ComponentKey.UUID, to_statement=dialect.to_statement)
    events: dict[QueryVariant, list[str]] = {variant: [] for variant in QueryVariant}
    for name, message in _messages():
        events[query_of(message).variant].append(name)
    if (batched := dialect.batched_load(ComponentKey.UUID)) is not None:
        yield "### Load: several messages"
        yield "For all events, where more than one message is loaded. Each parameter has the values of all messages."
        yield _block(batched.statement.sql, batched.statement.names)
    for variant, (statement, _) in queries.by_variant.items():
        yield f"### Load: {variant.value}"
        yield f"For {', '.join(events[variant])}."
        yield _block(statement.sql, statement.names)
    yield "### Load: the entries of a known event\n\nOnly if `logged` is 1."
    yield _block(queries.activities.sql, queries.activities.names)
    yield "### Load: the rejection of a known event\n\nOnly if `rejected` is 1 and `logged` is 0."
    yield _block(queries.rejection.sql, queries.rejection.names)
    yield "### Load: the release of a foreign event\n\nBefore the event is dispatched; the lowest `found_by` counts."
    yield _block(queries.release.sql, queries.release.names)
    yield "### Load: the attempt of a run\n\nOnly for foreign events with a run, before all else."
    yield _block(queries.run.sql, queries.run.names)
    yield "### Load: the numbers of a day\n\nOnly for a foreign event that creates its release."
    yield _block(queries.numbers.sql, queries.numbers.names)


def _write(database: str, dialect: Dialect) -> Iterator[str]:
    pointers = Pointers(ComponentKey.UUID, dialect.pointers)
    for case in _cases():
        changes = changes_of(decide(case.state, case.message))
        if changes is None:
            raise ValueError(f"nothing is written: {case.title}")
        yield f"### Write: {case.title}"
        yield from _write_set(database, write_set_of(changes, query_of(case.message), case.state, pointers))


def calls(count: int) -> str:
    """The batch of calls of SQL Server's procedure."""
    return _block(mssql.text(count, patient=False))


def procedure() -> str:
    """SQL Server's procedure, as the migration makes it."""
    return _block(v0_0_233_write_procedure.PROCEDURE)


def _write_set(database: str, write_set: WriteSet) -> Iterator[str]:
    match database:
        case "postgresql":
            statement, _ = postgresql.written(write_set)
            yield _block(statement.sql, statement.names)
        case "mssql":
            yield f"```json\n{json_text(mssql.message_of(write_set))}\n```"
        case _:
            checks = sqlite.checks_of(write_set)
            statements = [sqlite.BEGIN]
            if checks:
                statements.append(sqlite.checking(tuple([check.condition for check in checks])))
            statements += [sqlite.writing(one.statement) for one in write_set.writes]
            yield _block(";\n".join([*statements, "COMMIT;"]))


def _block(sql: str, names: tuple[str, ...] = ()) -> str:
    """The statement. With numbered parameters, their names too."""
    lines = [f"```sql\n{sql}\n```"]
    if "$1" in sql:
        lines.append("Parameters: " + ", ".join(f"`${number}` {name}" for number, name in enumerate(names, 1)) + ".")
    return "\n\n".join(lines)


def _message(event_type: EventType, data: Any, *, headers: tuple[tuple[str, bytes], ...] = ()) -> Message:
    record = Record(topic="in", partition=0, offset=9, timestamp_ms=0, key=None, value=b"{}", headers=headers)
    return Message(record=record, content=Event(source="/ci", id="1", type=event_type, time=_LATER, data=data))


def _block_of_release() -> ReleaseFields:
    return ReleaseFields(
        project_id=_ID,
        component_id=_ID,
        deployment_track_id="main",
        release_date=date(2026, 3, 2),
        release_number=1,
        created_by="ci",
    )


def _data(event_type: EventType, **more: Any) -> Any:
    ids: dict[str, Any] = {"release_id": _ID, "organization_id": "acme", "actor": "zoë", "comment": "why"}
    if event_type is EventType.RELEASE_CREATED:
        return ReleaseCreated(**ids, **_block_of_release().model_dump(exclude={"apim_base_revisions"}), **more)
    if event_type is EventType.ACTIVITY_RECORDED:
        return ActivityRecorded(**ids, activity_type="SCAN", activity_data={}, **more)
    if event_type.startswith("dev.rudder.release."):
        return ReleaseTransition(**ids)
    return DeploymentChange(**ids, environment_id="production", **more)


def _messages() -> Iterator[tuple[str, Message]]:
    """Every kind of message, with its name."""
    yield "records that are no valid event", _invalid()
    for event_type in EventType:
        yield f"`{event_type}`", _message(event_type, _data(event_type))
    environment = _data(EventType.ACTIVITY_RECORDED, environment_id="production", attempt=1)
    named = _data(EventType.DEPLOYMENT_ROLLED_BACK, attempt=1)
    yield "an activity of an environment", _message(EventType.ACTIVITY_RECORDED, environment)
    yield "`rolled_back` with an `attempt`", _message(EventType.DEPLOYMENT_ROLLED_BACK, named)


def _invalid() -> Message:
    record = Record(topic="in", partition=0, offset=9, timestamp_ms=0, key=None, value=b"?", headers=())
    return Message(record=record, content=Invalid(reason=Reason.MALFORMED_JSON, detail="line 1"))


def _state(status: ReleaseStatus, *deployments: DeploymentStatus, version: int | None = 7, **more: Any) -> State:
    release = Release(
        id=_ID,
        organization_id="acme",
        status=status,
        project_id=_ID,
        component_id=_ID,
        deployment_track_id="main",
        release_date=date(2026, 3, 2),
        release_number=1,
        commit_hash=None,
        image_tag=None,
        updated_at=_AT,
    )
    attempts = tuple(
        Deployment(
            id=UUID(int=number),
            environment_id="production",
            config_revision=1,
            attempt=number,
            status=deployment,
            created_at=_AT,
            updated_at=_AT,
        )
        for number, deployment in enumerate(deployments, 1)
    )
    return State(release=release, release_version=version, deployments=attempts, **more)


def _rejection() -> Rejection:
    return Rejection(
        id=_ID,
        created_at=_AT,
        reason=Reason.RELEASE_NOT_FOUND,
        detail="",
        event_source="/ci",
        event_id="1",
        event_type=None,
        release_id=_ID,
        topic="in",
        partition=0,
        offset=1,
    )


def _cases() -> Iterator[Case]:
    e, r, d = EventType, ReleaseStatus, DeploymentStatus
    redriven = ((REDRIVE_HEADER, b"1"),)

    def case(title: str, event_type: EventType, state: State, *, headers: Any = (), **more: Any) -> Case:
        return Case(title=title, message=_message(event_type, _data(event_type, **more), headers=headers), state=state)

    yield case("`release.created`", e.RELEASE_CREATED, State())
    yield case("a release event moves the release", e.RELEASE_SUBMITTED, _state(r.DRAFT))
    yield case("a `release` block creates the release", e.DEPLOYMENT_REQUESTED, State(), release=_block_of_release())
    yield case("an attempt opens, the release moves", e.DEPLOYMENT_REQUESTED, _state(r.APPROVED))
    yield case("an attempt opens and supersedes another", e.DEPLOYMENT_REQUESTED, _state(r.DEPLOYING, d.PENDING))
    yield case("an attempt moves", e.DEPLOYMENT_STARTED, _state(r.DEPLOYING, d.PENDING))
    yield case("an attempt and the release move", e.DEPLOYMENT_FAILED, _state(r.DEPLOYING, d.IN_PROGRESS))
    pointed = EnvironmentPointer(environment_id="production", deployment_id=None)
    elsewhere = EnvironmentPointer(environment_id="production", deployment_id="another deployment")
    yield case(
        "a success sets an empty environment pointer",
        e.DEPLOYMENT_SUCCEEDED,
        _state(r.DEPLOYING, d.IN_PROGRESS, pointer=pointed),
    )
    yield case(
        "a success moves an environment pointer",
        e.DEPLOYMENT_SUCCEEDED,
        _state(r.DEPLOYING, d.IN_PROGRESS, pointer=elsewhere),
    )
    yield case(
        "a release of another application changes", e.DEPLOYMENT_STARTED, _state(r.DEPLOYING, d.PENDING, version=None)
    )
    yield case("a stale event", e.DEPLOYMENT_STARTED, _state(r.DEPLOYING, d.IN_PROGRESS))
    yield case("`activity.recorded`", e.ACTIVITY_RECORDED, _state(r.APPROVED))
    yield case("a rejection", e.DEPLOYMENT_STARTED, _state(r.DRAFT))
    yield case("a rejection because the release is unknown", e.DEPLOYMENT_STARTED, State())
    yield Case(title="a rejection of a record that is no valid event", message=_invalid(), state=State())
    again = State(rejection=_rejection())
    yield case("a redriven event is rejected again", e.DEPLOYMENT_STARTED, again, headers=redriven)
    resolved = _state(r.DEPLOYING, d.PENDING, rejection=_rejection())
    yield case("a redriven event is applied", e.DEPLOYMENT_STARTED, resolved, headers=redriven)
