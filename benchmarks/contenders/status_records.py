"""Status events as the contenders with an ORM publish them: CloudEvents in binary mode, made from log entries."""

from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.contenders.orm_log import compact, stamp
from benchmarks.contenders.orm_models import ActivityLog


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRecord:
    """A record to produce."""

    about: Literal["deployment", "release"]
    key: bytes
    value: bytes
    headers: tuple[tuple[str, str], ...]

    @property
    def raw_headers(self) -> list[tuple[str, bytes]]:
        return [(name, text.encode()) for name, text in self.headers]


def status_record(activity: ActivityLog, said: dict[str, Any]) -> StatusRecord:
    about: Literal["deployment", "release"]
    about = "deployment" if activity.activity_type == "DEPLOYMENT_STATUS_CHANGED" else "release"
    release_id = str(activity.release_mgt_id)
    data: dict[str, Any] = {"release_id": release_id, "release_version": said["release_version"]}
    if about == "deployment":
        data |= {
            "deployment_id": str(activity.release_deployment_id),
            "organization_id": said["organization_id"],
            "environment_id": activity.environment_id,
            "config_revision": said["config_revision"],
            "attempt": said["attempt"],
            "previous_status": said["change"]["from"],
            "status": said["change"]["to"],
            "deployed_at": said.get("deployed_at"),
            "deployed_by": said.get("deployed_by"),
        }
    else:
        data |= {
            "organization_id": said["organization_id"],
            "previous_status": said["change"]["from"],
            "status": said["change"]["to"],
        }
    data |= {"comment": said.get("comment"), "release": said["release"], "cause": said["event"]}
    return StatusRecord(
        about=about,
        key=release_id.encode(),
        value=compact(data).encode(),
        headers=(
            ("ce_specversion", "1.0"),
            ("ce_id", str(activity.id)),
            ("ce_source", "/rudder-worker"),
            ("ce_type", f"dev.rudder.{about}.status_changed.v1"),
            ("ce_time", stamp(activity.created_at)),
            ("ce_subject", release_id),
            ("content-type", "application/json"),
        ),
    )
