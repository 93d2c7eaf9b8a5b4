"""The statements of one message that the worker sends to PostgreSQL for a deployment event, each parameter by its name.

The worker puts them together itself, of names instead of values. So what other programs are timed with are its
statements, and change when they do. They are those of a message that is processed alone: not the load of a batch, and
without the settings by which the commits of a batch share a flush, which only cost where each commit is flushed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, cast
from uuid import UUID

from schemas.event import Event
from schemas.incoming import DeploymentChange
from schemas.record import Record
from schemas.types import EventType
from worker.db.loads import Loads
from worker.db.pointers import ComponentKey
from worker.db.postgresql.dialect import POINT_LOOKUPS
from worker.db.postgresql.fragments import FRAGMENTS
from worker.db.postgresql.session import written
from worker.db.statement import Statement, numbered
from worker.db.writes import write_set_of
from worker.rules.message import Message
from worker.rules.query import Query, QueryVariant, query_of
from worker.rules.rows import (
    Activity,
    Deployment,
    DeploymentMove,
    NewDeployment,
    NewRelease,
    OptionalFields,
    Release,
    ReleaseMove,
)
from worker.rules.state import Changes, State

SESSION: Final[Mapping[str, str]] = POINT_LOOKUPS
"""The settings of the sessions that the worker's statements run in."""

NOTHING: Final = "nothing"
"""The name of a parameter that is always null."""

_QUERIES: Final = Loads.of(replace(FRAGMENTS, flushed=""), ComponentKey.UUID, to_statement=numbered)
_SETTING: Final = re.compile(
    r"set_config\('\w+', COALESCE\(\$(\d+), current_setting\('\w+'\)\), TRUE\),\s*"
    r"|,\s*set_config\('rudder\.written', \$(\d+), FALSE\)"
)
_NUMBERED: Final = re.compile(r"\$(\d+)")
_NO_ID: Final = UUID(int=0)
_SHAPES: Final = (
    ("created", "opened", 2),
    ("created", "opened", 3),
    ("moved", "opened", 2),
    ("moved", "superseded", 3),
    ("moved", "moved", 2),
    ("held", "opened", 1),
    ("held", "superseded", 2),
    ("held", "moved", 1),
    ("held", "none", 1),
)
_DEPLOYMENT_TYPES: Final = tuple(one for one in EventType if one.value.startswith("dev.rudder.deployment."))


class _Name(str):
    """Stands for a value. What the worker takes for a status has its text as `value`."""

    __slots__ = ()

    @property
    def value(self) -> str:
        return self


@cache
def asks() -> Mapping[str, Statement]:
    """By the last part of the event's type, such as `requested`; the parameters are fields of `Query`."""
    return {
        event_type.value.split(".")[-2]: _QUERIES.by_variant[query_of(_message(event_type)).variant][0]
        for event_type in _DEPLOYMENT_TYPES
    }


def activities() -> Statement:
    """What is loaded of an event that is known."""
    return _QUERIES.activities


@cache
def writes_by_shape() -> Mapping[str, Statement]:
    """By what becomes of the release, what becomes of its attempts, and how many entries the log gets.

    The release is `created`, `moved` to another status, or `held` as it is. An attempt is `opened`, perhaps over one
    that is superseded by it (`superseded`), or `moved`; or there is `none`, and the event is stale.
    """
    return {
        f"{release} {deployment} {number}": _write(release, deployment, number)
        for release, deployment, number in _SHAPES
    }


def _write(release: str, deployment: str, number: int) -> Statement:
    created = release == "created"
    state = State(
        release=None if created else _release(),
        release_version=None if created else _name("version"),
        tracks_compared=_name("compared"),
    )
    query = Query(variant=QueryVariant.DEPLOYMENT, event_id=_name("entry_0_id"), release_id=_name("release"))
    statement, values = written(write_set_of(_changes(release, deployment, number), query, state, None))
    sql, values = alone(statement.sql, values)
    return Statement(sql, tuple([NOTHING if value is None else str(value) for value in values]))


def alone(sql: str, values: Sequence[object]) -> tuple[str, Sequence[object]]:
    """The statement that writes, with its values, without the settings of a batch."""
    dropped = {int(number) for found in _SETTING.findall(sql) for number in found if number}
    kept = [number for number in range(1, len(values) + 1) if number not in dropped]
    renumbered = _NUMBERED.sub(lambda match: f"${kept.index(int(match[1])) + 1}", _SETTING.sub("", sql))
    return renumbered, [values[number - 1] for number in kept]


def _name(name: str) -> Any:
    return _Name(name)


def _message(event_type: EventType) -> Message:
    """An event of which only the shape matters."""
    data = DeploymentChange(
        release_id=_NO_ID,
        organization_id="organization",
        environment_id="environment",
    )
    record = Record(topic="input", partition=0, offset=0, timestamp_ms=0, key=None, value=None)
    event = Event(source="source", id="id", type=event_type, time=datetime(2026, 3, 2, tzinfo=UTC), data=data)
    return Message(record=record, content=event)


def _changes(release: str, deployment: str, number: int) -> Changes:
    optional_fields = OptionalFields(
        comment=_name("comment"),
        config_mapping_revision=_name("config_mapping_revision"),
        schema_based_config_revision=_name("schema_based_config_revision"),
        api_settings=_name("api_settings"),
    )
    opened = NewDeployment(release_id=_name("release"), deployment=_deployment(""), optional_fields=optional_fields)
    superseded = DeploymentMove(
        deployment=_deployment("superseded_", deployed=False),
        previous=_name("superseded_previous"),
        optional_fields=OptionalFields(),
    )
    moved = DeploymentMove(deployment=_deployment(""), previous=_name("previous"), optional_fields=optional_fields)
    moves = {"superseded": (superseded,), "moved": (moved,)}
    return Changes(
        release_version=_name("release_version") if release == "created" or deployment != "none" else None,
        new_release=_new_release() if release == "created" else None,
        release_move=_release_move() if release == "moved" else None,
        new_deployment=opened if deployment in {"opened", "superseded"} else None,
        deployment_moves=moves.get(deployment, ()),
        activities=tuple(_entry(position) for position in range(number)),
    )


def _release() -> Release:
    return Release(
        id=_name("release"),
        organization_id=_name("organization"),
        status=_name("release_status"),
        project_id=_name("project"),
        component_id=_name("component"),
        deployment_track_id=_name("track"),
        release_date=_name("date"),
        release_number=_name("number"),
        commit_hash=_name("commit_hash"),
        image_tag=_name("image_tag"),
        updated_at=_name("at"),
    )


def _new_release() -> NewRelease:
    return NewRelease(
        release=_release(),
        created_at=_name("at"),
        created_by=_name("created_by"),
        description=_name("description"),
        metadata=_name("metadata"),
        base_revisions=(),
    )


def _release_move() -> ReleaseMove:
    return ReleaseMove(
        id=_name("release"), previous=_name("release_previous"), status=_name("release_status"), updated_at=_name("at")
    )


def _deployment(prefix: str, *, deployed: bool = True) -> Deployment:
    return Deployment(
        id=_name(f"{prefix}deployment"),
        environment_id=_name("environment"),
        config_revision=_name("config_revision"),
        attempt=_name("deployment_attempt"),
        status=_name(f"{prefix}status"),
        created_at=_name("at"),
        updated_at=_name("at"),
        deployed_at=_name("deployed_at") if deployed else None,
        deployed_by=_name("deployed_by") if deployed else None,
    )


def _entry(position: int) -> Activity:
    def own(name: str) -> Any:
        return _name(f"entry_{position}_{name}")

    return Activity(
        id=own("id"),
        created_at=_name("at"),
        release_id=_name("release"),
        deployment_id=own("deployment"),
        environment_id=own("environment"),
        activity_type=own("type"),
        activity_data=own("data"),
        status=cast("str", own("status")),
    )
