"""What `rudder-worker replay` prints: plans, reports, progress, and the command that continues."""

import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.detail import printable
from worker.cli.exits import EXIT_INTERRUPTED, EXIT_PROBLEM, complain, note
from worker.replay.scope import Filters

if TYPE_CHECKING:
    from worker.ports import Partition
    from worker.replay.execution import Report
    from worker.replay.plan import Publishing, ReplayPlan

_PROGRESS_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The options that are not part of the scope."""

    execute: bool
    publishing: "Publishing"
    rate: float | None
    rows_max: int
    output: Path | None
    plan: Path | None
    as_json: bool


def finish(
    plan: "ReplayPlan",
    report: "Report",
    request: Request,
    continuing: Callable[["Report"], str],
    *,
    seconds: float,
) -> int:
    events = sum(report.outcomes.values())
    if request.as_json:
        print_json(plan, report=_report_json(report, None if not report.remaining else continuing(report)))
    else:
        for difference in report.differences:
            print(printable(difference.line()))
        if (more := report.differences_total - len(report.differences)) > 0:
            print(f"… and {more:,} more differences")
        _print_counts(report.outcomes)
        for topic, count in sorted(report.published.items()):
            print(f"{count:>12,} records published to {topic}")
        print(f"{report.differences_total:>12,} outcomes that differ from the plan")
    note(f"{_counted(events)} replayed in {seconds:.1f} s ({events / max(seconds, 0.001):,.0f}/s)")
    if report.remaining:
        if report.stopped:
            complain(report.stopped)
        note(f"to continue: {continuing(report)}")
        return EXIT_INTERRUPTED if report.interrupted else EXIT_PROBLEM
    return EXIT_PROBLEM if report.differences_total else 0


def _report_json(report: "Report", command: str | None) -> dict[str, Any]:
    return {
        "outcomes": dict(report.outcomes),
        "published": dict(report.published),
        "differences_total": report.differences_total,
        "differences": [
            {"position": str(one.position), "predicted": one.predicted, "outcome": one.outcome}
            for one in report.differences
        ],
        "remaining": [
            f"{topic}/{number}@{left.start}-{left.stop - 1}"
            for (topic, number), left in sorted(report.remaining.items())
        ],
        "stopped": report.stopped,
        "interrupted": report.interrupted,
        "continue": command,
    }


def print_plan(plan: "ReplayPlan", request: Request, *, sha256: str) -> None:
    if request.as_json:
        print_json(plan, sha256=sha256)
        return
    for line in plan.notes:
        note(line)
    for (topic, number), offsets in plan.ranges.items():
        note(f"plan: {topic}/{number}, offsets {offsets.start:,} to {offsets.stop - 1:,}")
    events = plan.counts["events"]
    if plan.changes_nothing:
        published = "" if plan.publishing.enabled or not plan.published else _would_publish(plan)
        print(f"nothing would change: {_counted(events)} in the scope, all known to the database{published}")
        return
    from worker.replay.plan import COUNTS

    for name in ("records", "tombstones", "left_out", "events", "unknown"):
        if plan.counts[name] or name in {"records", "events"}:
            print(f"{plan.counts[name]:>12,} {COUNTS[name]}")
    _print_counts(plan.outcomes)
    for (table, change), count in sorted(plan.changed.items()):
        print(f"{count:>12,} rows of {table} {change}")
    option = f" to {plan.publishing.topic}" if plan.publishing.topic else ""
    suffix = f" published{option}" if plan.publishing.enabled else " not published; --publish and --publish-to do that"
    for name in ("status_events", "dead_letters"):
        print(f"{plan.counts[name]:>12,} {COUNTS[name]}{suffix}")
    for row in plan.rows[: request.rows_max]:
        for line in row.lines():
            print(line)
    if (more := sum(plan.changed.values()) - min(len(plan.rows), request.rows_max)) > 0:
        print(f"… and {more:,} more rows; list them with --rows-max or --json")
    note(f"plan {sha256}")
    if not request.execute:
        note("nothing was done; for exactly this plan: --output FILE, then rudder-worker replay --plan FILE --execute")


def _counted(events: int) -> str:
    return f"{events:,} event" if events == 1 else f"{events:,} events"


def _would_publish(plan: "ReplayPlan") -> str:
    return (
        f"; --publish would publish {plan.counts['status_events']:,} status events and "
        f"{plan.counts['dead_letters']:,} dead letters again"
    )


def print_json(plan: "ReplayPlan", *, sha256: str | None = None, report: dict[str, Any] | None = None) -> None:
    found: dict[str, Any] = {"changes_nothing": plan.changes_nothing, "plan": plan.as_json(), "report": report}
    if sha256 is not None:
        found["sha256"] = sha256
    print(json.dumps(found, ensure_ascii=False, indent=1))


def _print_counts(outcomes: Mapping[str, int]) -> None:
    for code, count in sorted(outcomes.items()):
        print(f"{count:>12,} {code}")


def scope_arguments(plan: "ReplayPlan", remaining: "Mapping[Partition, range]") -> list[str]:
    arguments: list[str] = []
    for (topic, number), left in sorted(remaining.items()):
        arguments += ["--offsets", f"{topic}/{number}@{left.start}-{left.stop - 1}"]
    return [*arguments, *_filter_arguments(plan.filters)]


def _filter_arguments(filters: Filters) -> list[str]:
    options = {
        "--release": filters.releases,
        "--environment": filters.environments,
        "--type": filters.types,
        "--source": filters.sources,
        "--event-id": filters.event_ids,
    }
    return [
        part for option, values in options.items() for value in sorted(map(str, values)) for part in (option, value)
    ]


def command_line(arguments: Sequence[str], request: Request, *, publishing: bool = True) -> str:
    """The command line that goes on with these arguments."""
    parts = ["rudder-worker", "replay", *arguments]
    if publishing and request.publishing.topic is not None:
        parts += ["--publish-to", request.publishing.topic]
    elif publishing and request.publishing.enabled:
        parts.append("--publish")
    if request.rate is not None:
        parts += ["--rate", f"{request.rate:g}/s"]
    return shlex.join([*parts, "--execute"])


class Progress:
    """Prints how far the work is, every few seconds."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._began_seconds = self._printed_seconds = time.monotonic()

    def __call__(self, count: int, total: int) -> None:
        now_seconds = time.monotonic()
        if now_seconds - self._printed_seconds < _PROGRESS_SECONDS:
            return
        self._printed_seconds = now_seconds
        rate = max(count / (now_seconds - self._began_seconds), 0.001)
        left_seconds = round((total - count) / rate)
        left = f"{left_seconds // 60} min {left_seconds % 60} s" if left_seconds >= 60 else f"{left_seconds} s"
        note(f"{count:,} of {total:,} records {self._verb}, {rate:,.0f}/s, about {left} left")
