"""The expected content of a database: plain rows in plain dictionaries, kept by the release that they belong to."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from tests.oracle.formats import confusable_key
from tests.oracle.records import Published

Row = dict[str, Any]
Tables = dict[str, list[Row]]
Attempts = dict[int, Row]
DeploymentKey = tuple[str, int, int]
"""`environment_id`, `config_revision`, `attempt`."""
Pointer = tuple[str, str, str]
"""`environment_id`, `component_id`, `deployment_track_id` of a row of `app_environments`."""
ReleaseNumber = tuple[date, int, str, str]
"""`release_date`, `release_number`, `component_id`, and the track's confusable key."""


@dataclass
class ReleaseRows:
    """One release, its version and its deployments; `release` is None for a release that does not exist."""

    release: Row | None = None
    version: int = 0
    deployments: dict[DeploymentKey, Row] = field(default_factory=dict)

    def copy(self) -> "ReleaseRows":
        return ReleaseRows(
            release=None if self.release is None else dict(self.release),
            version=self.version,
            deployments={key: dict(row) for key, row in self.deployments.items()},
        )

    def attempts(self, environment_id: str, config_revision: int) -> Attempts:
        place = (environment_id, config_revision)
        return {attempt: row for (*key, attempt), row in self.deployments.items() if tuple(key) == place}

    def environment_ids(self) -> set[str]:
        return {environment_id for environment_id, _, _ in self.deployments}

    def counting_attempt(self, environment_id: str) -> Row | None:
        """The attempt that an environment counts with, or None where it does not count.

        Each environment counts with its attempt of the latest event, cancelled attempts left out (an environment with
        none left does not count; at equal times the higher config_revision, then attempt).
        """
        rows = [row for key, row in self.deployments.items() if key[0] == environment_id]
        candidates = [row for row in rows if row["status"] != "CANCELLED"]
        order = ("updated_at", "config_revision", "attempt")
        return max(candidates, key=lambda row: tuple(row[name] for name in order), default=None)


class Content:
    """All rows. UUIDs are lower-case text, JSON is text, times are aware and UTC."""

    def __init__(self, environments: Iterable[Row]) -> None:
        self.releases: dict[str, ReleaseRows] = {}
        self.release_ids_by_number: dict[ReleaseNumber, str] = {}
        self.activity_logs: dict[str, Row] = {}
        self.base_revisions: list[Row] = []
        self.rejections: dict[str, Row] = {}
        self.published: dict[str, list[Published]] = {}
        """By the id of an event's first activity: the status events that it caused."""
        self.environments: dict[Pointer, list[Row]] = {}
        for row in environments:
            key = (row["environment_id"], str(row["component_id"]), row["deployment_track_id"])
            self.environments.setdefault(key, []).append(dict(row))

    def release_rows(self, release_id: str) -> ReleaseRows:
        """A copy: what is decided is put into its place only when the event is not rejected."""
        return self.releases.get(release_id, ReleaseRows()).copy()

    def deployed_at(self, release_id: str, deployment_id: str) -> datetime:
        rows = self.releases[release_id].deployments.values()
        deployed_at: datetime = next(row["deployed_at"] for row in rows if row["id"] == deployment_id)
        return deployed_at

    def deployments(self) -> Iterator[Row]:
        for rows in self.releases.values():
            yield from rows.deployments.values()

    def tables(self) -> Tables:
        """Every row, by the name of its table."""
        return {
            "releases": [rows.release for rows in self.releases.values() if rows.release is not None],
            "release_versions": [
                {"release_mgt_id": release_id, "version": rows.version} for release_id, rows in self.releases.items()
            ],
            "release_deployments": list(self.deployments()),
            "release_activity_logs": list(self.activity_logs.values()),
            "release_apim_base_revisions": self.base_revisions,
            "release_event_rejections": list(self.rejections.values()),
            "app_environments": [row for rows in self.environments.values() for row in rows],
        }


def release_number(fields: Row) -> ReleaseNumber:
    """What no other release may have. A track that is only confusable counts as the same track."""
    track = confusable_key(fields["deployment_track_id"])
    return fields["release_date"], fields["release_number"], fields["component_id"], track
