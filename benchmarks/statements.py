"""The ceiling's script: pgbench as a worker without Kafka, JSON and rules, over the worker's own statements.

The same: the SELECT that asks and the statement that writes, of one message, one transaction each; the plan settings;
the mix, drawn as the stream draws it (environments, failures, repeats, rollbacks); what is written and how long it is;
a fresh id for each row, guards that hold because the version was read the moment before.

Not the same: a client takes one release from its first event to its last, where the stream has thousands under way;
values travel as text, and a parameter that occurs twice travels twice; null stands in the statement, since pgbench has
no null to send; the ask stands in brackets, so that its columns get names that pgbench takes for variables; an ask may
return a new attempt's id beside, a write returns the next event's ids and time, and each release begins with one query
more, since pgbench can make none of that up itself.
"""

import json
import re
from collections.abc import Mapping
from typing import Final

from benchmarks.worker_statements import NOTHING, SESSION, asks, writes_by_shape
from worker.db.columns import LOADED
from worker.db.statement import Statement

# ruff: noqa: S608 - what is put together here are constants of this program, never anybody's values

_FIRST_ENVIRONMENT: Final = 1_000_000_001
"""Environments are numbers, as pgbench has no texts to count up; this one is as long as their names are."""

_NUMBERED: Final = re.compile(r"\$(\d+)")
_NULL: Final = "NULL"
_NULL_TYPES: Final[Mapping[str, str]] = {
    "release_date": "date",
    "release_number": "integer",
    "component_id": "uuid",
    "deployment_track_id": "text",
    "attempt": "bigint",
}
"""By the parameters of an ask that are null in most events."""

_ANSWER: Final = ", ".join(LOADED)
_NEXT: Final = (
    "gen_random_uuid() AS entry_0, gen_random_uuid() AS entry_1, gen_random_uuid() AS entry_2, "
    "timezone('utc', now()) AS at"
)
"""What the next event brings along: ids for its log entries, and its time."""

_STATUSES: Final = (
    "APPROVED",
    "DEPLOYING",
    "DEPLOYED",
    "FAILED",
    "ROLLED_BACK",
    "PENDING",
    "IN_PROGRESS",
    "SUCCESS",
)
_TYPES: Final = ("RELEASE_CREATED", "RELEASE_STATUS_CHANGED", "DEPLOYMENT_STATUS_CHANGED")
_TEXTS: Final[Mapping[str, str]] = {
    **{text.lower(): text for text in (*_STATUSES, *_TYPES)},
    "organization": "organization-7",
    "project": "6d0c2c3e-1f0e-4b59-9a35-0d5b1c1f2a77",
    "component": "0f2a9c55-3b7c-4c1e-8a9d-5e6f7a8b9c0d",
    "track": "main",
    "created_by": "release-bot",
    "description": "Roll forward, the alert was a false alarm",
    "commit_hash": "c0ffee" + 34 * "7",
    "image_tag": "registry.example/component-117:c0ffee777777",
    "metadata": '{"pipeline":117,"trigger":"merge"}',
    "comment": "scheduled by the release train",
    "actor": "nimali.perera@example.com",
    "api_settings": '{"replicas":4,"timeout_ms":2500,"region":"production-eu"}',
}
"""What every client fetches once and then sends with its events, by the names of its variables."""

Change = tuple[str, str]
"""An entry in the activity log: its type, and the status after it."""

_CREATED: Final[Change] = ("RELEASE_CREATED", "APPROVED")


def preparation() -> str:
    """SQL that is run once, before: texts to send, numbers for releases, and the settings of later sessions."""
    texts = {**_TEXTS, "about_release": activity_data("RELEASE"), "about_deployment": activity_data("DEPLOYMENT")}
    columns = ", ".join(f"{_quoted(text)}::text AS {name}" for name, text in texts.items())
    settings = " ".join(
        f"EXECUTE format('ALTER DATABASE %I SET {name} = {value}', current_database());"
        for name, value in SESSION.items()
    )
    return f"""
        CREATE TABLE bench_texts AS SELECT {columns};
        CREATE SEQUENCE bench_numbers START 1000000000 CACHE 100;
        DO $$ BEGIN {settings} END $$;
    """


def script() -> str:
    """One event; every client runs it again and again, and keeps in its variables where it is.

    `next` is 0 for a new release, 1 for a new attempt, 2 for its start, 3 for its end, 4 for taking it back, and 5 when
    it is over. pgbench has no way of asking whether a variable is set; `scale` always is, to 1 until the first event.
    """
    return f"""
\\if :scale = 1
    \\set scale 0
    \\set next 0
    \\set config_revision 1
    \\set config_mapping_revision 7
    \\set schema_based_config_revision 0
    \\set created_version 1
    \\set compared 0
    \\set events 1
    SELECT bench_texts.*, {_NEXT} FROM bench_texts \\gset
\\endif
\\if :next = 0
    \\set dice random(1, 4)
    \\set environments CASE WHEN :dice = 1 THEN 2 WHEN :dice = 4 THEN 4 ELSE 3 END
    \\set environment {_FIRST_ENVIRONMENT}
    \\set attempt 1
    SELECT gen_random_uuid() AS release, nextval('bench_numbers') AS number, current_date AS date \\gset
    {_ask("requested", new_attempt=True, new_release=True)}
    {_write("created opened 3", _CREATED, _deployment("PENDING"), _release("DEPLOYING"))}
    \\set next 2
\\elif :next = 1
    {_ask("requested", new_attempt=True)}
    {_write("moved opened 2", _deployment("PENDING"), _release("DEPLOYING"))}
    \\set next 2
\\elif :next = 2
    {_ask("started")}
    {_write("held moved 1", _deployment("IN_PROGRESS"), previous="PENDING")}
    \\set next 3
\\elif :next = 3
    \\set failing random(1, 100) <= 15
    \\if :failing
        {_ask("failed")}
        {_write("moved moved 2", _deployment("FAILED"), _release("FAILED"), previous="IN_PROGRESS")}
        \\set next CASE WHEN random(1, 100) <= 50 THEN 4 ELSE 5 END
    \\else
        {_ask("succeeded")}
        {_write("moved moved 2", _deployment("SUCCESS"), _release("DEPLOYED"), previous="IN_PROGRESS")}
        \\set next CASE WHEN random(1, 100) <= 5 THEN 4 ELSE 5 END
    \\endif
\\else
    {_ask("rolled_back")}
    \\if :failing
        {_write("moved moved 2", _deployment("ROLLED_BACK"), _release("ROLLED_BACK"), previous="FAILED")}
    \\else
        {_write("held moved 1", _deployment("ROLLED_BACK"), previous="SUCCESS")}
    \\endif
    \\set next 5
\\endif
\\if :next = 5
    \\set repeating random(1, 100) <= CASE WHEN :failing THEN 70 ELSE 5 END
    \\if :repeating and :attempt < 3
        \\set attempt :attempt + 1
        \\set next 1
    \\else
        \\set attempt 1
        \\set environment :environment + 1
        \\set next CASE WHEN :environment < {_FIRST_ENVIRONMENT} + :environments THEN 1 ELSE 0 END
    \\endif
\\endif
"""


def _deployment(status: str) -> Change:
    return "DEPLOYMENT_STATUS_CHANGED", status


def _release(status: str) -> Change:
    return "RELEASE_STATUS_CHANGED", status


def _ask(key: str, *, new_attempt: bool = False, new_release: bool = False) -> str:
    """Leaves the release's version and status in variables; of several rows, which all have both, the last counts."""
    block = {"release_date": "date", "release_number": "number", "component_id": "component"}
    block["deployment_track_id"] = "track"
    values = {name: _null_asked(name) for name in _NULL_TYPES}
    if new_release:
        values |= {name: f":{variable}" for name, variable in block.items()}
    values |= {"release_id": ":release", "environment_id": ":environment", "config_revision": ":config_revision"}
    values |= {"event_id": ":entry_0", "events": ":events"}
    beside = ", gen_random_uuid() AS deployment" if new_attempt else ""
    return f"SELECT answer.*{beside} FROM ({_with(asks()[key], values)}) AS answer ({_ANSWER}) \\aset"


def _null_asked(name: str) -> str:
    """A null in a subquery, where the planner cannot fold it: it would omit the lookups that the worker's plan has."""
    return f"(SELECT NULL::{_NULL_TYPES[name]})"


def _write(shape: str, *changes: Change, previous: str = "") -> str:
    """`previous`: the status that the attempt had, where it is not new."""
    release_status, status = (
        next((text.lower() for type_, text in reversed(changes) if type_.startswith(about)), "")
        for about in ("RELEASE", "DEPLOYMENT")
    )
    said = ("config_mapping_revision", "schema_based_config_revision", "api_settings")
    values = {name: f":{name}" for name in (*_TEXTS, "release", "at", "date", "number", "deployment")}
    values |= {name: _NULL if previous else f":{name}" for name in said}
    values |= {
        "environment": ":environment",
        "config_revision": ":config_revision",
        "deployment_attempt": ":attempt",
        "status": f":{status}",
        "previous": f":{previous.lower()}",
        "release_status": f":{release_status}",
        "release_previous": ":release_status",
        "deployed_at": ":at" if "SUCCESS" in {previous, status.upper()} else _NULL,
        "deployed_by": ":actor" if "SUCCESS" in {previous, status.upper()} else _NULL,
        "version": ":release_version",
        "release_version": ":created_version",
        "compared": ":compared",
        NOTHING: _NULL,
    }
    for position, (type_, text) in enumerate(changes):
        about = type_.partition("_")[0].lower()
        values |= {
            f"entry_{position}_id": f":entry_{position}",
            f"entry_{position}_deployment": ":deployment" if about == "deployment" else _NULL,
            f"entry_{position}_environment": ":environment" if about == "deployment" else _NULL,
            f"entry_{position}_type": f":{type_.lower()}",
            f"entry_{position}_data": f":about_{about}",
            f"entry_{position}_status": f":{text.lower()}",
        }
    return f"{_with(writes_by_shape()[shape], values)} AS written, {_NEXT} \\gset"


def _with(statement: Statement, values: Mapping[str, str]) -> str:
    return _NUMBERED.sub(lambda match: values[statement.names[int(match[1]) - 1]], statement.sql)


def activity_data(about: str) -> str:
    """As long as what the worker writes."""
    said = {
        "event": {
            "source": "https://ci.organization-7.example/pipelines/117",
            "id": "run-123456",
            "type": "dev.rudder.deployment.succeeded.v1",
            "time": "2026-03-02T08:15:00.123456Z",
        },
        "record": {"topic": "input-1", "partition": 7, "offset": 1234},
        "organization_id": _TEXTS["organization"],
        "change": {"from": "IN_PROGRESS", "to": "SUCCESS"},
        "release_version": 7,
        "release": {
            "name": "20260302-1000",
            "project_id": _TEXTS["project"],
            "component_id": _TEXTS["component"],
            "deployment_track_id": _TEXTS["track"],
            "commit_hash": _TEXTS["commit_hash"],
            "image_tag": _TEXTS["image_tag"],
        },
    }
    if about == "DEPLOYMENT":
        said |= {"config_revision": 1, "attempt": 1}
    said |= {"actor": _TEXTS["actor"]}
    if about == "DEPLOYMENT":
        said |= {"comment": _TEXTS["comment"]}
    return json.dumps(said, separators=(",", ":"))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
