"""Rows of whole tables, as a reader of the database gives them to the verification."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from worker.rules.rows import Activity

Row = Mapping[str, Any]
"""A database row: column names and Python's values, times aware."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRows:
    """A release's rows, read so that they belong together; not `settled`: it changed each time they were read."""

    release: Row
    deployments: tuple[Row, ...] = ()
    base_revisions: tuple[Row, ...] = ()
    activities: tuple[Activity, ...] = ()
    settled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointing:
    """A row of `app_environments`. `row`: its id, None where the table has none. `component`: its id as text, as UUIDs
    are written. `attempt`: the id of a deployment; it, `release` and `name` are texts that anybody may have written.
    """

    row: UUID | None
    environment: str
    component: str
    track: str
    release: str | None
    attempt: str | None
    name: str | None


def uuid_of(value: object) -> UUID | None:
    """However a driver gives it, or another system's table has it; None: that is none."""
    try:
        return UUID(str(value))
    except ValueError:
        return None
