"""The contract as a model in memory: what each record must lead to, one after the other.

It is the demo's second opinion and shares nothing with the worker. Records of one release must come in their order;
that of different releases matters only where two claim one number.
"""

from collections import Counter
from dataclasses import replace
from typing import Final

from worker.demo.contract_envelope import CREATED, EVENT_BYTES_MAX, Event, Identity, Refusal, read
from worker.demo.contract_rules import APPLIED, Turn, Verdict, decide_deployment, decide_existing, newborn
from worker.demo.contract_state import Activity, Judged, Outcome, Prediction, Release
from worker.demo.record import TopicRecord

REDRIVE_HEADER: Final = "rudder-redrive"


class ContractModel:
    """Everything a faithful worker must know after the records applied so far."""

    def __init__(self, *, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self.releases: dict[str, Release] = {}
        self.judged: list[Judged] = []
        self.tally: Counter[tuple[Outcome, str | None]] = Counter()
        self._known: dict[Identity, Judged] = {}
        self._numbers: dict[tuple[str, int, str, str], str] = {}
        self._event_bytes_max = event_bytes_max

    def apply(self, record: TopicRecord) -> Prediction:
        """Judge the next record and remember what follows from it."""
        prediction = self._judge(record)
        self.tally[prediction.outcome, prediction.reason] += 1
        return prediction

    def _judge(self, record: TopicRecord) -> Prediction:
        said = read(record, event_bytes_max=self._event_bytes_max)
        known = self._known.get(said.identity) if said.identity else None
        redriven = any(name == REDRIVE_HEADER for name, _ in record.headers)
        # 1: rejections are remembered as well, until one is sent back on purpose.
        if known and not (known.outcome == "rejected" and redriven):
            known.copies += 1
            return Prediction(outcome="duplicate", reason=None, judged=known)
        if isinstance(said, Refusal):
            judged = Judged(
                record=record,
                identity=said.identity,
                time=said.time,
                kind="",
                release_id=None,
                outcome="rejected",
                reason=said.reason,
            )
        else:
            judged = self._decide(record, said)
        if known and judged.outcome == "rejected":
            known.reason, known.copies = judged.reason, known.copies + 1
            return Prediction(outcome="rejected", reason=judged.reason, judged=known)
        if known:
            known.resolved = True
        self.judged.append(judged)
        if judged.identity:
            self._known[judged.identity] = judged
        return Prediction(outcome=judged.outcome, reason=judged.reason, judged=judged)

    def _decide(self, record: TopicRecord, event: Event) -> Judged:
        release = self.releases.get(event.release_id)
        turn: Turn | None = None
        if release:
            turn = Turn(event, replace(release, deployments=dict(release.deployments), pointed=dict(release.pointed)))
            verdict = decide_existing(turn)
        else:
            turn = newborn(event)
            if turn is None:
                verdict = Verdict("rejected", "release_not_found")
            elif turn.release.number in self._numbers:
                verdict = Verdict("rejected", "release_conflict")
            else:
                verdict = APPLIED if event.kind == CREATED else decide_deployment(turn)
        if verdict.outcome == "stale" and turn:
            turn.activities.append(Activity(activity_type="EVENT_STALE", about="neither"))
        if verdict.outcome != "rejected" and turn:
            self.releases[event.release_id] = turn.release
            self._numbers[turn.release.number] = event.release_id
        activities = tuple(turn.activities) if turn and verdict.outcome != "rejected" else ()
        return Judged(
            record=record,
            identity=event.identity,
            time=event.time,
            kind=event.kind,
            release_id=event.release_id,
            outcome=verdict.outcome,
            reason=verdict.reason,
            activities=activities,
        )
