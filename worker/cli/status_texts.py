"""The results of `rudder-worker status` as lines for people."""

import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime

from schemas.detail import printable
from worker.cli.tables import cut, table_lines
from worker.status.delivery import DeliveryReport, Metrics, Quantiles
from worker.status.environments import EnvironmentStatus
from worker.status.releases import ReleaseReport, payload_of
from worker.stored_status import ReleaseSummary

_NO_DATA = "no data"
_NOT_MEASURABLE = "not measurable"

_COMMENT_MAX = 60


def environment_lines(statuses: Iterable[EnvironmentStatus]) -> Sequence[str]:
    heads = ("ENVIRONMENT", "COMPONENT", "TRACK", "RUNNING", "SINCE", "BY", "LATEST")
    return _table(heads, [_environment(status) for status in statuses])


def _environment(status: EnvironmentStatus) -> Sequence[str]:
    running, latest = status.running, status.latest
    other = running is None or latest.deployment_id != running.deployment_id
    return (
        status.cell.environment_id,
        str(status.cell.component_id),
        status.cell.deployment_track_id,
        "-" if running is None else running.name,
        _time(status.since),
        (running and running.deployed_by) or "-",
        f"{latest.name} {latest.status} {_time(latest.updated_at)}" if other else "",
    )


def release_lines(releases: Iterable[ReleaseSummary]) -> Sequence[str]:
    heads = ("RELEASE", "STATUS", "CHANGED", "COMPONENT", "TRACK", "CREATED BY", "ID")
    rows = [
        (
            release.name,
            release.status,
            _time(release.updated_at),
            str(release.component_id),
            release.deployment_track_id,
            release.created_by,
            str(release.release_id),
        )
        for release in releases
    ]
    return _table(heads, rows)


def report_lines(report: ReleaseReport) -> Sequence[str]:
    detail, release = report.detail, report.detail.release
    facts = {
        "release": release.name,
        "id": str(release.release_id),
        "status": release.status,
        "version": "none" if detail.version is None else str(detail.version),
        "organization": release.organization_id,
        "component": str(release.component_id),
        "track": release.deployment_track_id,
        "created": f"{_time(release.created_at)} by {release.created_by}",
        "changed": _time(release.updated_at),
        "commit": release.commit_hash or "-",
        "image": release.image_tag or "-",
    }
    return [
        *(_line(f"{name:<13} {text}") for name, text in facts.items()),
        *_section("Attempts", ("ENVIRONMENT", "CONFIG", "ATTEMPT", "STATUS", "OPENED", "CHANGED", "BY", "COMMENT"), [
            (
                found.environment_id,
                str(found.attempt.config_revision),
                str(found.attempt.attempt),
                found.attempt.status,
                _time(found.attempt.created_at),
                _time(found.attempt.updated_at),
                found.attempt.deployed_by or "-",
                cut(found.comment or "", _COMMENT_MAX),
            )
            for found in detail.attempts
        ]),
        *_section("Log", ("TIME", "ACTIVITY", "STATUS", "ENVIRONMENT", "EVENT", "RECORD"), [
            (
                _time(activity.created_at),
                activity.activity_type,
                activity.status,
                activity.environment_id or "-",
                *_cause(payload_of(activity)),
            )
            for activity in report.activities
        ]),
        *_section("Status events", ("TIME", "TYPE", "FROM", "TO", "VERSION", "ID"), [
            (
                _time(event.time),
                event.type.removeprefix("dev.rudder."),
                event.data["previous_status"] or "-",
                event.data["status"],
                "-" if event.data["release_version"] is None else str(event.data["release_version"]),
                str(event.id),
            )
            for event in report.status_events
        ]),
        *([_line(f"activities that were edited: {', '.join(map(str, report.edited))}")] if report.edited else []),
        *_section("Open dead letters", ("ID", "TIME", "REASON", "RECORD", "DETAIL"), [
            (
                str(rejection.id),
                _time(rejection.created_at),
                rejection.reason,
                f"{rejection.topic}/{rejection.partition}@{rejection.offset}",
                rejection.detail,
            )
            for rejection in detail.dead_letters
        ]),
    ]  # fmt: skip


def _cause(payload: dict[str, object]) -> tuple[str, str]:
    """The id of the event, and the position of its record."""
    event, record = payload.get("event"), payload.get("record")
    event_id = event.get("id") if isinstance(event, dict) else None
    position = "-"
    if isinstance(record, dict):
        position = f"{record.get('topic')}/{record.get('partition')}@{record.get('offset')}"
    return str(event_id or "-"), position


def delivery_lines(report: DeliveryReport, environments: Sequence[str]) -> Sequence[str]:
    total = report.total
    shown = [*report.groups, total]
    where = ", ".join(environments) if environments else "every environment"
    return [
        _line(f"Deployments to {where} from {_time(report.begin)} to before {_time(report.end)}"),
        *_section("Deployment frequency", (report.by.upper(), "DEPLOYMENTS", "PER DAY", "INTERVALS", "P50", "P90"), [
            (_key(group), *_frequency(group), *_quantiles(group.interval)) for group in shown
        ]),
        *_section("Change fail rate", (report.by.upper(), "DEPLOYMENTS", "FAILED", "ROLLED BACK", "RATE"), [
            (_key(group), str(group.ended), str(group.failed), str(group.rolled_back), _rate(group.change_fail_rate))
            for group in shown
        ]),
        *_section(
            "Failed deployment recovery time",
            (report.by.upper(), "RECOVERIES", "P50", "P90", "UNMEASURED", "WITHOUT RECOVERY"),
            [
                (
                    _key(group),
                    *_quantiles(group.recovery),
                    str(group.recoveries_unmeasured),
                    str(len(group.unrecovered)),
                )
                for group in shown
            ],
        ),
        *_section("Without recovery", ("ENVIRONMENT", "COMPONENT", "TRACK", "RELEASE", "FAILED"), [
            (
                deployment.change.cell.environment_id,
                str(deployment.change.cell.component_id),
                deployment.change.cell.deployment_track_id,
                deployment.change.release_name,
                _time(deployment.failed_at),
            )
            for deployment in total.unrecovered
        ]),
        "",
        _line(f"Change lead time: {_lead_time(total)}"),
        _line(f"Deployment rework rate: {_rework(total)}"),
    ]  # fmt: skip


def _frequency(metrics: Metrics) -> tuple[str, str]:
    per_day = metrics.deployments_per_day
    return str(metrics.deployments), _NO_DATA if per_day is None else f"{per_day:.3g}"


def _lead_time(metrics: Metrics) -> str:
    if not metrics.lead_time.n:
        return f"{_NOT_MEASURABLE}: no deployed release has `committed_at` in its metadata"
    n, p50, p90 = _quantiles(metrics.lead_time)
    return f"n {n}, p50 {p50}, p90 {p90}; {metrics.uncommitted} releases without `committed_at`"


def _rework(metrics: Metrics) -> str:
    if not metrics.classified:
        return f"{_NOT_MEASURABLE}: no deployed release has `unplanned` in its metadata"
    return f"n {metrics.classified}, unplanned {metrics.unplanned}, rate {_rate(metrics.rework_rate)}"


def _quantiles(of: Quantiles) -> tuple[str, str, str]:
    return str(of.n), _duration(of.p50), _duration(of.p90)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return _NO_DATA
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _rate(rate: float | None) -> str:
    return _NO_DATA if rate is None else f"{rate:.1%}"


def _key(metrics: Metrics) -> str:
    return "all" if metrics.key is None else metrics.key


def _section(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Sequence[str]:
    return ["", f"{title}: {'' if rows else 'none'}".rstrip().removesuffix(":"), *(_table(heads, rows) if rows else [])]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Sequence[str]:
    return table_lines(heads, rows, width=_width()) if rows else []


def _line(text: str) -> str:
    width = _width()
    return printable(text) if width is None else cut(printable(text), width)


def _width() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _time(time: datetime | None) -> str:
    return "-" if time is None else f"{time:%Y-%m-%d %H:%M:%S}Z"
