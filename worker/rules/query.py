"""The rows that the decision of one message can depend on: what the store loads.

A release may have thousands of attempts and log entries. A decision looks at the latest attempt of one environment and
config revision, at the one that the event names, at the attempt before each, and at what each environment counts with.
Loading these costs the same however long the history is.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import Enum
from typing import Any
from uuid import UUID

from schemas.event import Event
from schemas.incoming import (
    ActivityRecorded,
    DeploymentChange,
    DerivedRelease,
    EventData,
    ForeignActivity,
    ReleaseCreated,
    ReleaseFields,
)
from schemas.types import EventType
from worker.rules.message import Message


class QueryVariant(Enum):
    """Which rows are loaded. Each variant is one statement on each database.

    All load whether the event is known. All but EVENT load the release. The attempts are the latest and the named one
    of the event's environment and config revision, and the one before each.
    """

    EVENT = "event"
    """Of a record that is not a valid event."""
    RELEASE = "release"
    RELEASE_CREATED = "release created"
    """Also whether the release's number is taken."""
    ATTEMPTS = "attempts"
    """Also the attempts: for an activity of an environment."""
    DEPLOYMENT = "deployment"
    """Also the attempts, what each environment counts with, and whether the number of a `release` block is taken."""
    DEPLOYMENT_SUCCEEDED = "deployment succeeded"
    """As DEPLOYMENT, and the environment's `app_environments` row."""
    DEPLOYMENT_ROLLED_BACK = "deployment rolled back"
    """As DEPLOYMENT, and the highest attempt that may become ROLLED_BACK."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """The values are named as the statements' parameters. `identity`: the event's source and id. `event_id`: the id of
    its first log entry and of its rejection. `corrects`: the id of the rejection that it corrects. `release_date` and
    what follows: those of the release that the event would create; None where it would create none. `events`: how many
    events of the release are decided on the rows. Each changes at most one attempt that may count for its environment
    or become ROLLED_BACK, so that many more of these attempts are loaded. `runs`: the ids of the activities that can
    say which attempt the event's run has; it is loaded as if the event named it. `next_number`: the release that the
    event would create has the next free number of its date, component and track.
    """

    variant: QueryVariant
    event_id: UUID
    identity: tuple[str, str] | None = None
    corrects: UUID | None = None
    release_id: UUID | None = None
    environment_id: str | None = None
    config_revision: int | None = None
    attempt: int | None = None
    release_date: date | None = None
    release_number: int | None = None
    component_id: UUID | None = None
    deployment_track_id: str | None = None
    events: int = 1
    runs: tuple[UUID, ...] = ()
    next_number: bool = False


_COUNTING = frozenset({QueryVariant.DEPLOYMENT, QueryVariant.DEPLOYMENT_SUCCEEDED, QueryVariant.DEPLOYMENT_ROLLED_BACK})
"""The variants of the events that change deployments."""


def queries_of(messages: Sequence[Message]) -> list[Query]:
    """What the decisions on several messages of one release depend on, if `worker.rules.advance` decides them one after
    the other on the rows of all these queries.

    One query of each environment loads all of its attempts that can become the one to count with. A success without a
    `release` block loads the pointer of the release that the messages create, if there is none yet.
    """
    queries = [query_of(message) for message in messages]
    events = Counter(query.environment_id for query in queries if query.variant in _COUNTING)
    block = next((query for query in queries if query.release_date is not None), None)
    loaded = set[tuple[str | None, int | None]]()
    for position, query in enumerate(queries):
        if query.variant not in _COUNTING:
            continue
        more: dict[str, Any] = {}
        rolled_back = query.variant is QueryVariant.DEPLOYMENT_ROLLED_BACK  # of its config revision alone
        part = (query.environment_id, query.config_revision if rolled_back else None)
        if part not in loaded:
            loaded.add(part)
            more["events"] = events[query.environment_id]
        succeeded = query.variant is QueryVariant.DEPLOYMENT_SUCCEEDED
        if succeeded and block is not None and query.release_date is None:
            more |= {"component_id": block.component_id, "deployment_track_id": block.deployment_track_id}
        queries[position] = replace(query, **more)
    return queries


def query_of(message: Message) -> Query:
    """What `worker.rules.decide` looks at for this message."""
    content = message.content
    identity = None if content.source is None or content.id is None else (content.source, content.id)
    if not isinstance(content, Event):
        return Query(variant=QueryVariant.EVENT, event_id=message.id, identity=identity)
    data = content.data
    block: ReleaseFields | None = None
    environment_id: str | None = None
    config_revision: int | None = None
    attempt: int | None = None
    match data:
        case ReleaseCreated():
            variant, block = QueryVariant.RELEASE_CREATED, data
        case DeploymentChange():
            variant, block = _deployment_variant(content.type, data.attempt), data.release
            environment_id, config_revision, attempt = data.environment_id, data.config_revision, data.attempt
        case ActivityRecorded() if data.environment_id is not None:
            variant, block = QueryVariant.ATTEMPTS, _block_of(data)
            environment_id, config_revision, attempt = data.environment_id, data.config_revision or 1, data.attempt
        case _:
            variant, block = QueryVariant.RELEASE, _block_of(data)
    return Query(
        variant=variant,
        event_id=message.id,
        identity=identity,
        corrects=message.corrects,
        release_id=data.release_id,
        environment_id=environment_id,
        config_revision=config_revision,
        attempt=attempt,
        release_date=block.release_date if block else None,
        release_number=block.release_number if block else None,
        component_id=block.component_id if block else None,
        deployment_track_id=block.deployment_track_id if block else None,
        runs=() if content.foreign is None else (*content.foreign.runs, *content.foreign.opens),
        next_number=content.foreign is not None and isinstance(block, DerivedRelease),
    )


def _block_of(data: EventData) -> ReleaseFields | None:
    return data.release if isinstance(data, ForeignActivity) else None


def _deployment_variant(event_type: EventType, attempt: int | None) -> QueryVariant:
    if event_type is EventType.DEPLOYMENT_SUCCEEDED:
        return QueryVariant.DEPLOYMENT_SUCCEEDED
    if event_type is EventType.DEPLOYMENT_ROLLED_BACK and attempt is None:
        return QueryVariant.DEPLOYMENT_ROLLED_BACK
    return QueryVariant.DEPLOYMENT
