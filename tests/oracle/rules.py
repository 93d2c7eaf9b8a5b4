"""The contract's decision: what one event does. The numbers are those of "What an event does (the decision)".

The checks come in this order; the first that applies decides.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from tests.oracle import formats, status_machines
from tests.oracle.content import Attempts, Content, Row, release_number
from tests.oracle.records import Event, Published, Record, Rejected
from tests.oracle.status_machines import ACTIVE

END_CLOCK_SKEW = timedelta(seconds=10)


class Decision:
    """One event, decided against a copy of its release's rows; `apply` puts the result into the content."""

    def __init__(self, content: Content, event: Event, record: Record, *, namespace: UUID) -> None:
        self.content = content
        self.event = event
        self.record = record
        self.namespace = namespace
        self.data = event.data
        self.release_id: str = event.data["release_id"]
        self.rows = content.release_rows(self.release_id)
        self.created = False
        self.changed = False
        self.base_revisions: list[Row] = []
        self.activities: dict[str, Row] = {}
        self.pointed: list[tuple[Row, Row]] = []
        """Rows of `app_environments`, and what changes in each."""
        self.published: list[Published] = []

    def decide(self) -> str:
        """`Applied` or `Stale`; raises `Rejected`."""
        release = self.rows.release
        # 3. Other organization: rejected `organization_mismatch`.
        if release is not None and release["organization_id"] != self.data["organization_id"]:
            raise Rejected("organization_mismatch")
        if self.event.type == status_machines.RELEASE_CREATED:
            return self._release_created(release)
        # 2. Release unknown: with a `release` block, it is created as APPROVED in the same transaction; without,
        # rejected `release_not_found`.
        if release is None:
            if self.data.get("release") is None:
                raise Rejected("release_not_found")
            release = self._create_release(self.data["release"], "APPROVED")
        if self.event.type in status_machines.RELEASE_EVENTS:
            return self._release_moves(release, status_machines.RELEASE_EVENTS[self.event.type])
        if self.event.type == status_machines.ACTIVITY_RECORDED:
            return self._activity_recorded(release)
        return self._deployment(release, status_machines.DEPLOYMENT_EVENTS[self.event.type])

    def apply(self) -> None:
        """Change the content; for an event that is not rejected."""
        content = self.content
        content.releases[self.release_id] = self.rows
        if self.created and self.rows.release is not None:
            content.release_ids_by_number[release_number(self.rows.release)] = self.release_id
        content.base_revisions += self.base_revisions
        content.activity_logs |= self.activities
        for row, changes in self.pointed:
            row.update(changes)

    # Releases

    def _release_created(self, release: Row | None) -> str:
        # 9. `release.created` for a known id […]: rejected `release_conflict`.
        if release is not None:
            raise Rejected("release_conflict")
        self._create_release(self.data, "DRAFT")
        return "Applied"

    def _create_release(self, fields: dict[str, Any], status: str) -> Row:
        # 9. […] or for a taken date, number, component and track: rejected `release_conflict` (a `release` block
        # meeting a taken number too).
        if release_number(fields) in self.content.release_ids_by_number:
            raise Rejected("release_conflict")
        release = {
            "id": self.release_id,
            "created_at": self.event.time,
            "updated_at": self.event.time,
            "release_date": fields["release_date"],
            "release_number": fields["release_number"],
            "project_id": fields["project_id"],
            "description": fields["description"],
            "status": status,
            "organization_id": self.data["organization_id"],
            "created_by": fields["created_by"],
            "metadata": formats.compact(fields["metadata"]),
            "component_id": fields["component_id"],
            "deployment_track_id": fields["deployment_track_id"],
            "commit_hash": fields["commit_hash"],
            "image_tag": fields["image_tag"],
        }
        self.rows.release = release
        self.created = True
        # Inserts the release and its APIM base revisions.
        for revision in fields["apim_base_revisions"]:
            known = {key: revision[key] for key in ("endpoint_name", "api_id", "revision_id", "access_mode")}
            self.base_revisions.append({"release_mgt_id": self.release_id, **known})
        self._release_activity("RELEASE_CREATED", release, None, comment=self.data["comment"])
        return release

    def _release_moves(self, release: Row, status: str) -> str:
        # 9. Release events move only through the review. To the status it already has, or `approved` for a release that
        # is beyond approval (DEPLOYING, DEPLOYED, FAILED, ROLLED_BACK): Stale. Otherwise rejected `invalid_transition`.
        beyond = {"DEPLOYING", "DEPLOYED", "FAILED", "ROLLED_BACK"}
        if release["status"] == status or (status == "APPROVED" and release["status"] in beyond):
            return self._stale(release, None)
        if release["status"] not in status_machines.REVIEW[status]:
            raise Rejected("invalid_transition")
        self._set_release_status(release, status, comment=self.data["comment"])
        return "Applied"

    def _set_release_status(self, release: Row, status: str, *, comment: str | None = None) -> None:
        before = release["status"]
        release.update(status=status, updated_at=self._latest_time(release))
        self._release_activity("RELEASE_STATUS_CHANGED", release, before, comment=comment)

    def _release_follows(self, release: Row) -> None:
        # 8. The release's status follows its deployments. […] any active → DEPLOYING; else any FAILED → FAILED; else
        # any SUCCESS → DEPLOYED; else any ROLLED_BACK → ROLLED_BACK; else APPROVED.
        counting = [self.rows.counting_attempt(environment) for environment in self.rows.environment_ids()]
        statuses = {row["status"] for row in counting if row is not None}
        if statuses & ACTIVE:
            status = "DEPLOYING"
        elif "FAILED" in statuses:
            status = "FAILED"
        elif "SUCCESS" in statuses:
            status = "DEPLOYED"
        elif "ROLLED_BACK" in statuses:
            status = "ROLLED_BACK"
        else:
            status = "APPROVED"
        if status != release["status"]:
            self._set_release_status(release, status)

    # Deployments

    def _deployment(self, release: Row, status: str) -> str:
        # 3. Release in DRAFT, IN_REVIEW or REJECTED: a deployment event is rejected `release_not_deployable`.
        if release["status"] in {"DRAFT", "IN_REVIEW", "REJECTED"}:
            raise Rejected("release_not_deployable")
        self._reject_confusable_environment()
        attempts = self.rows.attempts(self.data["environment_id"], self.data["config_revision"])
        # Let *latest* be the row with the highest `attempt` for (release, environment, config_revision).
        latest = attempts[max(attempts)] if attempts else None
        if self.data["attempt"] is None:
            return self._without_attempt(release, attempts, latest, status)
        row = attempts.get(self.data["attempt"])
        if row is None:
            return self._with_new_attempt(release, latest, status)
        return self._with_known_attempt(release, attempts, row, status, superseded=row is not latest)

    def _is_late(self, attempts: Attempts, row: Row, status: str) -> bool:
        time = self.event.time
        # Except that `succeeded`, `failed` and `cancelled` are late for an *active* attempt only if their time is more
        # than 10 seconds earlier than the attempt's first event (its `created_at`), or not later than the last event
        # of the attempt before it.
        if row["status"] in ACTIVE and status in {"SUCCESS", "FAILED", "CANCELLED"}:
            if row["created_at"] - time > END_CLOCK_SKEW:
                return True
            return row["attempt"] - 1 in attempts and not time > attempts[row["attempt"] - 1]["updated_at"]
        # An event is *late* for an attempt if its time is earlier than the attempt's last event time, or its time
        # equals it, and the event's status is not further in progress than the attempt's.
        if time < row["updated_at"]:
            return True
        further = status_machines.progress(status) > status_machines.progress(row["status"])
        return bool(time == row["updated_at"]) and not further

    def _latest_time(self, row: Row) -> datetime:
        # A release's and a deployment's `updated_at` is the latest time among the events that changed it.
        last: datetime = row["updated_at"]
        return max(last, self.event.time)

    def _reject_confusable_environment(self) -> None:
        # Tracks and environments that SQL Server's default collation takes for one are one for this purpose.
        environment = self.data["environment_id"]
        key = formats.confusable_key(environment)
        confusable = {name for name in self.rows.environment_ids() if formats.confusable_key(name) == key}
        if confusable and environment not in confusable:
            raise Rejected("invalid_data")

    def _with_known_attempt(self, release: Row, attempts: Attempts, row: Row, status: str, *, superseded: bool) -> str:
        # 4. `attempt` given and the row exists: same status, late, or superseded (CANCELLED, and a later attempt
        # exists): Stale; a transition that is allowed is applied; otherwise rejected `invalid_transition`.
        if row["status"] == status or self._is_late(attempts, row, status):
            return self._stale(release, row)
        if row["status"] == "CANCELLED" and superseded:
            return self._stale(release, row)
        if status not in status_machines.DEPLOYMENT[row["status"]]:
            raise Rejected("invalid_transition")
        return self._move(release, row, status)

    def _with_new_attempt(self, release: Row, latest: Row | None, status: str) -> str:
        # 5. `attempt` given, no such row: it must be latest + 1 (or 1), else rejected `attempt_gap`; a new row opens
        # with the event's status.
        if self.data["attempt"] != (1 if latest is None else latest["attempt"] + 1):
            raise Rejected("attempt_gap")
        return self._open(release, latest, status)

    def _without_attempt(self, release: Row, attempts: Attempts, latest: Row | None, status: str) -> str:
        # 6. No `attempt`: an event that is late for latest is Stale.
        if latest is not None and self._is_late(attempts, latest, status):
            return self._stale(release, latest)
        # `rolled_back` goes to the latest attempt that may become ROLLED_BACK, else rejected `invalid_transition`.
        if status == "ROLLED_BACK":
            able = [n for n, row in attempts.items() if "ROLLED_BACK" in status_machines.DEPLOYMENT[row["status"]]]
            if not able:
                raise Rejected("invalid_transition")
            return self._move(release, attempts[max(able)], status)
        # `requested` opens attempt latest + 1.
        if latest is None or latest["status"] not in ACTIVE or status == "PENDING":
            return self._open(release, latest, status)
        # `started` moves an active PENDING on, is Stale on an IN_PROGRESS, else opens latest + 1. `succeeded`,
        # `failed`, `cancelled` finish the active attempt, else open latest + 1 already finished.
        if latest["status"] == status:
            return self._stale(release, latest)
        return self._move(release, latest, status)

    def _open(self, release: Row, latest: Row | None, status: str) -> str:
        # 7. Opening an attempt over an active one supersedes it: the older becomes CANCELLED in the same transaction,
        # with its own log entry and status event.
        if latest is not None and latest["status"] in ACTIVE:
            before = latest["status"]
            latest.update(status="CANCELLED", updated_at=self._latest_time(latest))
            self._deployment_activity(latest, before, comment=None)
        attempt = 1 if latest is None else latest["attempt"] + 1
        environment, config_revision = self.data["environment_id"], self.data["config_revision"]
        row = {
            "id": formats.deployment_id(self.namespace, self.release_id, environment, config_revision, attempt),
            "created_at": self.event.time,
            "updated_at": self.event.time,
            "release_mgt_id": self.release_id,
            "environment_id": environment,
            "attempt": attempt,
            "config_revision": config_revision,
            "status": status,
            "comment": None,
            "deployed_at": None,
            "deployed_by": None,
            "config_mapping_revision": 0,
            "schema_based_config_revision": 0,
            "api_settings": None,
        }
        self.rows.deployments[environment, config_revision, attempt] = row
        return self._changed(release, row, None)

    def _move(self, release: Row, row: Row, status: str) -> str:
        before = row["status"]
        row.update(status=status, updated_at=self._latest_time(row))
        return self._changed(release, row, before)

    def _changed(self, release: Row, row: Row, before: str | None) -> str:
        # Comments, settings and revisions that an event does not mention stay as they were.
        for column in ("comment", "config_mapping_revision", "schema_based_config_revision"):
            if self.data[column] is not None:
                row[column] = self.data[column]
        if self.data["api_settings"] is not None:
            row["api_settings"] = formats.compact(self.data["api_settings"])
        # 10. SUCCESS sets `deployed_at` (event time) and `deployed_by` (`actor`).
        if row["status"] == "SUCCESS":
            row.update(deployed_at=self.event.time, deployed_by=self.data["actor"])
            self._point(release, row)
        activity = self._deployment_activity(row, before, comment=self.data["comment"])
        self._release_follows(release)
        self._deployment_state(row, activity)
        return "Applied"

    def _point(self, release: Row, row: Row) -> None:
        # 10. […] where it is its environment's attempt of the latest event, points the `app_environments` row of that
        # environment, component and track at this release and deployment. The worker never inserts into
        # `app_environments`.
        if self.rows.counting_attempt(row["environment_id"]) is not row:
            return
        key = (row["environment_id"], release["component_id"], release["deployment_track_id"])
        name = formats.release_name(release["release_date"], release["release_number"])
        for environment in self.content.environments.get(key, []):
            if not self._points_at_later_deployment(environment):
                changes = {
                    "release_mgt_release_id": self.release_id,
                    "release_mgt_deployment_id": row["id"],
                    # `YYYYMMDD-<number>.<attempt>`
                    "release_mgt_deployment_name": f"{name}.{row['attempt']}",
                }
                self.pointed.append((environment, changes))

    def _points_at_later_deployment(self, environment: Row) -> bool:
        # An environment points at the deployment of the later event, not of the later message, if several releases go
        # there: the order in which releases are handled is not fixed, and the row must come out the same.
        release_id = environment["release_mgt_release_id"]
        if release_id in {None, self.release_id}:
            return False
        deployed_at = self.content.deployed_at(release_id, environment["release_mgt_deployment_id"])
        return bool((deployed_at, release_id) > (self.event.time, self.release_id))

    # Activities

    def _activity_recorded(self, release: Row) -> str:
        # An activity log entry, nothing else.
        environment = self.data["environment_id"]
        row = None
        if environment is not None:
            attempts = self.rows.attempts(environment, self.data["config_revision"] or 1)
            wanted = self.data["attempt"] or max(attempts, default=None)
            row = attempts.get(wanted) if wanted is not None else None
        status = release["status"] if row is None else row["status"]
        custom = formats.compact(self.data["activity_data"])
        self._activity(self.data["activity_type"], row, status, None, custom=custom)
        return "Applied"

    def _stale(self, release: Row, row: Row | None) -> str:
        # Stale (logged, no status change).
        status = release["status"] if row is None else row["status"]
        self._activity("EVENT_STALE", row, status, None)
        return "Stale"

    def _release_activity(self, activity_type: str, release: Row, before: str | None, *, comment: str | None) -> None:
        activity = self._activity(activity_type, None, release["status"], (before, release["status"]))
        data = {
            "release_id": self.release_id,
            "release_version": self.rows.version,
            "organization_id": release["organization_id"],
            "previous_status": before,
            "status": release["status"],
            "comment": comment,
            "release": self._release_block(),
            "cause": self._cause(),
        }
        self._publish(status_machines.RELEASE_STATUS_CHANGED, activity, data)

    def _deployment_activity(self, row: Row, before: str | None, *, comment: str | None) -> str:
        activity = self._activity("DEPLOYMENT_STATUS_CHANGED", row, row["status"], (before, row["status"]))
        deployed_at = row["deployed_at"]
        data = {
            "release_id": self.release_id,
            "release_version": self.rows.version,
            "deployment_id": row["id"],
            "organization_id": self.data["organization_id"],
            "environment_id": row["environment_id"],
            "config_revision": row["config_revision"],
            "attempt": row["attempt"],
            "previous_status": before,
            "status": row["status"],
            "deployed_at": None if deployed_at is None else formats.time_text(deployed_at),
            "deployed_by": row["deployed_by"],
            "comment": comment,
            "release": self._release_block(),
            "cause": self._cause(),
        }
        self._publish(status_machines.DEPLOYMENT_STATUS_CHANGED, activity, data)
        return activity

    def _deployment_state(self, changed: Row, activity: str) -> None:
        # The attempt that the environment counts with (8), or the changed one where the environment counts with none.
        environment = changed["environment_id"]
        row = self.rows.counting_attempt(environment) or changed
        deployed_at = row["deployed_at"]
        data = {
            "release_id": self.release_id,
            "release_version": self.rows.version,
            "deployment_id": row["id"],
            "organization_id": self.data["organization_id"],
            "environment_id": environment,
            "config_revision": row["config_revision"],
            "attempt": row["attempt"],
            "status": row["status"],
            "deployed_at": None if deployed_at is None else formats.time_text(deployed_at),
            "deployed_by": row["deployed_by"],
            "release": self._release_block(),
            "cause": self._cause(),
        }
        key = f"{self.release_id}/{environment}"
        state = Published(status_machines.DEPLOYMENT_STATE, f"{activity}/state", key, data, self.event.trace)
        self.published.append(state)

    def _publish(self, kind: str, activity: str, data: dict[str, Any]) -> None:
        # The extension attributes `traceparent` and `tracestate` of the cause are carried on.
        self.published.append(Published(kind, activity, self.release_id, data, self.event.trace))

    def _release_block(self) -> dict[str, Any]:
        # `name`, `project_id`, `component_id`, `deployment_track_id`, `commit_hash`, `image_tag`.
        release = self.rows.release
        assert release is not None
        name = formats.release_name(release["release_date"], release["release_number"])
        columns = ("project_id", "component_id", "deployment_track_id", "commit_hash", "image_tag")
        return {"name": name, **{column: release[column] for column in columns}}

    def _count_change(self, activity_type: str) -> int:
        # `release_versions.version`: 0 when the release is created, +1 with every event that changes the release or a
        # deployment of it.
        if activity_type != "RELEASE_CREATED" and not self.changed:
            self.changed = True
            self.rows.version += 1
        return self.rows.version

    def _activity(
        self,
        activity_type: str,
        row: Row | None,
        status: str,
        change: tuple[str | None, str] | None,
        *,
        custom: str | None = None,
    ) -> str:
        # Applied and Stale append to `release_activity_logs`.
        # An activity may name an attempt that is not there (yet).
        is_recorded = self.event.type == status_machines.ACTIVITY_RECORDED
        attempt = row["attempt"] if row is not None else self.data.get("attempt") if is_recorded else None
        # Where there is no row, the environment is the one that an activity names; a release has none.
        environment = (
            row["environment_id"] if row is not None else self.data.get("environment_id") if is_recorded else None
        )
        activity = formats.activity_id(self.namespace, self.event.source, self.event.id, len(self.activities))
        self.activities[activity] = {
            "id": activity,
            "created_at": self.event.time,
            "updated_at": self.event.time,
            "release_deployment_id": None if row is None else row["id"],
            "release_mgt_id": self.release_id,
            "environment_id": environment,
            "activity_type": activity_type,
            # `event` {source, id, type, time}, `record` {topic, partition, offset}, `change` {from, to}, `attempt`,
            # `release_version`, and the custom data.
            "activity_data": {
                "event": self._cause(),
                "record": {
                    "topic": self.record.topic,
                    "partition": self.record.partition,
                    "offset": self.record.offset,
                },
                "change": None if change is None else {"from": change[0], "to": change[1]},
                "attempt": attempt,
                "release_version": None if change is None else self._count_change(activity_type),
                "custom": custom,
            },
            # `status`: the status after the event.
            "status": status,
        }
        return activity

    def _cause(self) -> dict[str, Any]:
        event = self.event
        return {"source": event.source, "id": event.id, "type": event.type, "time": formats.time_text(event.time)}
