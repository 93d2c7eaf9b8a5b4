"""Rows of whole tables, as the table reader yields them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from worker.rules.rows import Activity

Row = Mapping[str, Any]
"""A database row: Python values by column name, times aware."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRows:
    """A release's rows at one moment. Not `settled`: the release changed during every attempt to read it. `version`: of
    its row in `release_versions`; None: it has none.
    """

    release: Row
    version: int | None = None
    deployments: tuple[Row, ...] = ()
    base_revisions: tuple[Row, ...] = ()
    activities: tuple[Activity, ...] = ()
    settled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentRow:
    """A row of `app_environments`. `row`: its id, None where the table has no ids. `component`: a UUID as canonical
    text. `attempt`: a deployment's id; it, `release` and `name` may be any text, since others write the table too.
    """

    row: UUID | None
    environment: str
    component: str
    track: str
    release: str | None
    attempt: str | None
    name: str | None


def uuid_of(value: object) -> UUID | None:
    """The UUID in a value of any driver or table; None where there is none."""
    try:
        return UUID(str(value))
    except ValueError:
        return None


def version_of(activity: Activity) -> int | None:
    """The release's version that an activity names. None: none, as in the activities of an earlier program version."""
    try:
        version = json.loads(activity.activity_data)["release_version"]
    except (ValueError, KeyError, TypeError):
        return None
    return version if type(version) is int else None
