"""What `dead-letters redrive` prints: the plan, each outcome, and the sums."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from schemas.detail import printable
from worker.cli.exits import note
from worker.cli.results import Results
from worker.cli.tables import print_table
from worker.dead_letters.plan import Decision, PlannedRecord, RedrivePlan, duration_seconds
from worker.plan_file import PlanFile
from worker.stored_redrives import JournalRow, State

_NOT_DECIDED, _NOT_SENT_YET = "not decided yet", "not sent yet"


def print_plan(plan: RedrivePlan, file: PlanFile, *, per_second: float, as_json: bool) -> None:
    seconds = duration_seconds(len(plan.sent), per_second=per_second)
    if as_json:
        whole = {
            "sha256": file.sha256,
            "target": file.target.as_json(),
            "sent": len(plan.sent),
            "duration_seconds": round(seconds, 3),
            "counts": plan.counts(),
            "releases": {str(release_id or "none"): counts for release_id, counts in plan.releases().items()},
            **file.content,
        }
        print(json.dumps(whole, ensure_ascii=False, indent=2))
        return
    print_table(
        ("ID", "RELEASE", "RECORD", "DECISION", "SENT", "DETAIL"), [_planned(plan, one) for one in plan.records]
    )
    print()
    for predicted, count in plan.counts().items():
        print(f"{count:>8,} {printable(predicted)}")
    print(f"{len(plan.releases()):>8,} releases")
    print(f"{len(plan.sent):>8,} would be sent, in {_duration(seconds)} or more")
    failing = [one for one in plan.records if not one.decision.passes and one.decision is not Decision.UNREADABLE]
    if failing and not plan.include_failing:
        note(f"{len(failing):,} would not pass now and are not sent; --include-failing sends them too")
    if unreadable := sum(one.decision is Decision.UNREADABLE for one in plan.records):
        note(f"{unreadable:,} records cannot be read any more and cannot be sent")


def _planned(plan: RedrivePlan, one: PlannedRecord) -> Sequence[str]:
    return (
        str(one.pinned.rejection_id),
        str(one.release_id or "-"),
        str(one.pinned.position),
        one.predicted,
        "yes" if plan.sends(one) else "no",
        one.detail or "",
    )


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


class Report:
    """Prints each outcome as soon as it is known. With `as_json`, one object at the end."""

    def __init__(self, action_id: UUID, *, as_json: bool) -> None:
        self._action_id = action_id
        self._as_json = as_json
        self._results = Results()

    @property
    def failed(self) -> bool:
        """Whether standard output could not be written."""
        return self._results.failed

    def settled(self, row: JournalRow) -> None:
        if not self._as_json:
            detail = "" if row.detail is None else f": {row.detail}"
            self._results.line(printable(f"{row.pinned.rejection_id} {_outcome(row)}{detail}"))

    def end(self, rows: Sequence[JournalRow], *, stopped: str | None, unsent: int) -> Mapping[str, int]:
        """Print the rows without an outcome, and the sums; the sums. `unsent`: dead letters of the plan that are not
        sent, because they would not pass.
        """
        counts = dict(Counter(map(_outcome, rows)).most_common())
        if self._as_json:
            whole: dict[str, Any] = {
                "action": str(self._action_id),
                "stopped": stopped,
                "counts": counts,
                "not_in_the_plan_to_send": unsent,
                "dead_letters": [_as_json(row) for row in rows],
            }
            self._results.line(json.dumps(whole, ensure_ascii=False, indent=2))
            return counts
        for row in rows:
            if row.outcome is None and row.state is not State.PLANNED:
                self._results.line(printable(f"{row.pinned.rejection_id} {_outcome(row)}"))
        note(", ".join(f"{count:,} {outcome}" for outcome, count in counts.items()))
        if unsent:
            note(f"{unsent:,} dead letters of the selection were not sent: they would not pass now")
        return counts


def _outcome(row: JournalRow) -> str:
    if row.outcome is not None:
        return row.outcome.value
    return _NOT_SENT_YET if row.state is State.PLANNED else _NOT_DECIDED


def _as_json(row: JournalRow) -> dict[str, Any]:
    topic, partition, offset = row.pinned.position
    return {
        "id": str(row.pinned.rejection_id),
        "release_id": None if row.release_id is None else str(row.release_id),
        "record": {"topic": topic, "partition": partition, "offset": offset},
        "predicted": row.predicted,
        "sent_offset": row.sent_offset,
        "outcome": _outcome(row),
        "detail": row.detail,
    }
