"""The whole expected content of a database, and what was published on the way: plain rows, in plain dictionaries."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.oracle.records import Published

Row = dict[str, Any]
Attempts = dict[int, Row]


@dataclass
class Content:
    """Rows by what makes them one; ids and UUIDs are lower-case text, JSON is text, times are aware and UTC."""

    releases: dict[str, Row] = field(default_factory=dict)
    deployments: dict[tuple[str, str, int, int], Row] = field(default_factory=dict)
    activity_logs: dict[str, Row] = field(default_factory=dict)
    base_revisions: list[Row] = field(default_factory=list)
    environments: list[Row] = field(default_factory=list)
    rejections: dict[str, Row] = field(default_factory=dict)
    caused: dict[str, list[Published]] = field(default_factory=dict)
    """By the id of an event's first entry, or of a rejection: what was published for it."""

    def copy(self) -> "Content":
        """One that can be changed and thrown away."""
        return Content(
            releases={key: dict(row) for key, row in self.releases.items()},
            deployments={key: dict(row) for key, row in self.deployments.items()},
            activity_logs=dict(self.activity_logs),
            base_revisions=list(self.base_revisions),
            environments=[dict(row) for row in self.environments],
            rejections={key: dict(row) for key, row in self.rejections.items()},
            caused={key: list(events) for key, events in self.caused.items()},
        )

    def of_release(self, release_id: str) -> list[Row]:
        return [row for (release, *_), row in self.deployments.items() if release == release_id]

    def attempts(self, release_id: str, environment_id: str, config_revision: int) -> Attempts:
        place = (release_id, environment_id, config_revision)
        return {key[3]: row for key, row in self.deployments.items() if key[:3] == place}


def last_event(row: Row) -> datetime:
    """A release's and a deployment's `updated_at` is the latest time among the events that changed it."""
    time: datetime = row["updated_at"]
    return time


def counting_attempt(rows: list[Row], environment_id: str) -> Row | None:
    """The one that an environment counts with, or None where it does not count.

    Each environment counts with its attempt of the latest event, cancelled attempts left out (an environment with none
    left does not count; at equal times the higher config_revision, then attempt).
    """
    there = [row for row in rows if row["environment_id"] == environment_id and row["status"] != "CANCELLED"]
    return max(there, key=lambda row: (last_event(row), row["config_revision"], row["attempt"]), default=None)
