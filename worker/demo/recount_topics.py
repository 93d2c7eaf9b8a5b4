"""Compare the topics the worker wrote to with what the contract's model says it must have published.

Delivery is at least once: repeats are allowed, dropped by id before the order is compared, and counted where the
contract promises one (a duplicate's status events and dead letters are published again).
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from worker.demo.contract_envelope import DEPLOYMENT_TARGETS, Event, Identity, read
from worker.demo.contract_model import ContractModel
from worker.demo.contract_state import Activity, Judged, Prediction
from worker.demo.record import TopicRecord

STATUS_TYPES: Final = {
    "release": "dev.rudder.release.status_changed.v1",
    "deployment": "dev.rudder.deployment.status_changed.v1",
}
DEAD_LETTER_HEADERS: Final = tuple(
    f"rudder-{name}"
    for name in ("id", "reason", "detail", "topic", "partition", "offset", "timestamp", "attempts", "worker")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusEvent:
    """What matters of a published status event."""

    environment_id: str | None
    config_revision: int | None
    attempt: int | None
    previous: str | None
    status: str
    cause: Identity

    def __str__(self) -> str:
        where = f"{self.environment_id}/{self.config_revision}/{self.attempt} " if self.environment_id else ""
        return f"{where}{self.previous} → {self.status} for {self.cause[1]}"


def compare_statuses(
    model: ContractModel, records: Iterable[TopicRecord], *, about: Literal["release", "deployment"]
) -> Iterator[str]:
    """Compare one status topic: for each release the exact sequence of changes, and each change's data."""
    expected: dict[str, list[tuple[StatusEvent, Judged]]] = defaultdict(list)
    for judged in model.judged:
        for activity in judged.activities:
            if activity.about == about and judged.release_id and judged.identity:
                expected[judged.release_id].append((_wanted(activity, judged.identity), judged))
    found: dict[str, list[tuple[StatusEvent, TopicRecord, dict[str, Any]]]] = defaultdict(list)
    ids: Counter[str] = Counter()
    causes: dict[StatusEvent, str] = {}
    for record in records:
        attributes, data = unpack(record)
        if attributes.get("type") != STATUS_TYPES[about] or record.key != str(data.get("release_id")).encode():
            yield f"{record.place}: type {attributes.get('type')!r}, key {record.key!r}"
            continue
        ids[attributes["id"]] += 1
        if ids[attributes["id"]] == 1:
            seen = _seen(data)
            causes[seen] = attributes["id"]
            found[data["release_id"]].append((seen, record, data))
    for release_id in sorted(expected.keys() | found.keys()):
        yield from _compare_sequence(release_id, found[release_id], expected[release_id], model)
        for status, judged in expected[release_id]:
            if status in causes and ids[causes[status]] < judged.copies:
                copies = f"came {judged.copies} times, went out {ids[causes[status]]} times"
                yield f"{judged.record.place}: release {release_id}: {status} {copies}"


def compare_dead_letters(
    model: ContractModel,
    records: Iterable[TopicRecord],
    *,
    inputs: Mapping[str, TopicRecord],
    predictions: Mapping[str, Prediction],
    rejection_ids: Mapping[str, str],
) -> Iterator[str]:
    """Compare the dead letters: each is a rejected record, untouched, for the right reason, and none is missing.

    `inputs` and `predictions` are keyed by the input record's place, `rejection_ids` by the rejected one's.
    """
    letters: Counter[str] = Counter()
    for letter in records:
        origin = "/".join(str(letter.header(f"rudder-{part}")) for part in ("topic", "partition", "offset"))
        original, prediction = inputs.get(origin), predictions.get(origin)
        if original is None or prediction is None or prediction.judged.outcome != "rejected":
            yield f"{letter.place}: a dead letter of {origin}, which is not a rejected record"
            continue
        judged = prediction.judged
        letters[judged.record.place] += 1
        kept = tuple(header for header in letter.headers if header[0] not in DEAD_LETTER_HEADERS)
        if (letter.key, letter.value, kept) != (original.key, original.value, original.headers):
            yield f"{letter.place}: key, value or headers differ from those of {origin}"
        missing = [name for name in DEAD_LETTER_HEADERS if letter.header(name) is None]
        if missing:
            yield f"{letter.place}: the headers {', '.join(missing)} are missing"
        if letter.header("rudder-reason") != judged.reason:
            yield f"{letter.place}: reason is {letter.header('rudder-reason')}, expected {judged.reason}"
        if letter.header("rudder-id") != rejection_ids.get(judged.record.place):
            yield f"{letter.place}: rudder-id is not the id of the rejection of {judged.record.place}"
    for judged in model.judged:
        place = judged.record.place
        if judged.outcome == "rejected" and letters[place] < judged.copies:
            yield f"{place}: {letters[place]} dead letters ({judged.reason}), expected {judged.copies}"


def unpack(record: TopicRecord) -> tuple[dict[str, str], dict[str, Any]]:
    """Return a published CloudEvent's attributes and data, in either content mode; empty ones where it is none."""
    attributes = {name[3:]: value.decode("utf-8", "replace") for name, value in record.headers if name[:3] == "ce_"}
    try:
        body = json.loads(record.value)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return {}, {}
    if attributes:
        return attributes, body
    return {name: text for name, text in body.items() if name != "data"}, body.get("data") or {}


def _wanted(activity: Activity, cause: Identity) -> StatusEvent:
    environment_id, config_revision, attempt = activity.deployment or (None, None, None)
    return StatusEvent(
        environment_id=environment_id,
        config_revision=config_revision,
        attempt=attempt,
        previous=activity.previous,
        status=str(activity.status),
        cause=cause,
    )


def _seen(data: dict[str, Any]) -> StatusEvent:
    cause = data.get("cause") or {}
    return StatusEvent(
        environment_id=data.get("environment_id"),
        config_revision=data.get("config_revision"),
        attempt=data.get("attempt"),
        previous=data.get("previous_status"),
        status=str(data.get("status")),
        cause=(str(cause.get("source")), str(cause.get("id"))),
    )


def _compare_sequence(
    release_id: str,
    found: list[tuple[StatusEvent, TopicRecord, dict[str, Any]]],
    expected: list[tuple[StatusEvent, Judged]],
    model: ContractModel,
) -> Iterator[str]:
    for (seen, record, data), (wanted, judged) in zip(found, expected, strict=False):
        if seen != wanted:
            yield f"{record.place}: release {release_id}: {seen}, expected {wanted}"
            return  # what follows is shifted, and would only repeat the news
        yield from (f"{record.place}: {line}" for line in _compare_data(wanted, judged, data, model))
    for seen, record, _ in found[len(expected) :]:
        yield f"{record.place}: release {release_id}: {seen}, not expected"
    for wanted, judged in expected[len(found) :]:
        yield f"{judged.record.place}: release {release_id}: no status event {wanted}"


def _compare_data(wanted: StatusEvent, judged: Judged, data: dict[str, Any], model: ContractModel) -> Iterator[str]:
    organization = model.releases[data["release_id"]].organization_id
    if data.get("organization_id") != organization:
        yield f"organization_id is {data.get('organization_id')!r}, expected {organization!r}"
    event = read(judged.record)
    if not wanted.environment_id or not isinstance(event, Event):
        return
    if DEPLOYMENT_TARGETS[judged.kind] == wanted.status and data.get("comment") != event.data.get("comment"):
        yield f"comment is {data.get('comment')!r}, expected {event.data.get('comment')!r}"
    if wanted.status == "SUCCESS":
        deployed_at = data.get("deployed_at")
        if not deployed_at or datetime.fromisoformat(deployed_at) != judged.time:
            yield f"deployed_at is {deployed_at!r}, expected {judged.time.isoformat()}"
        if data.get("deployed_by") != event.data.get("actor"):
            yield f"deployed_by is {data.get('deployed_by')!r}, expected {event.data.get('actor')!r}"
