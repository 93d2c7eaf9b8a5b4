"""A correct release has no findings; each change of its rows, activities or rejections has one."""

import json
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from schemas.json_text import compact
from schemas.reasons import Reason
from schemas.types import EventType as E
from tests.unit.rules.release_scenario import REDRIVE, TOPIC, fields, release_id
from tests.unit.verify.handled_events import (
    HandledEvents,
    activity_of,
    findings,
    only,
    position,
    with_activities,
    without_activity,
)
from worker.rules.identity import activity_id
from worker.rules.rows import Activity
from worker.stored_rows import Row
from worker.verify.findings import Kind
from worker.verify.history import Extents, History, StatusRecord

REVISION = {"endpoint_name": "orders", "api_id": "a", "revision_id": "r", "access_mode": "public"}


def changed_row(history: History, table: str, **changes: Any) -> History:
    """The history with its release's row, or that of its only deployment, changed."""
    assert history.rows is not None
    rows = history.rows
    if table == "releases":
        return replace(history, rows=replace(rows, release={**rows.release, **changes}))
    [row] = rows.deployments
    return replace(history, rows=replace(rows, deployments=({**row, **changes},)))


def moved(activity: Activity, offset: int) -> Activity:
    """The activity as if another record had caused it."""
    content = json.loads(activity.activity_data)
    content["record"]["offset"] = offset
    return replace(activity, activity_data=json.dumps(content, separators=(",", ":")))


def with_fields(activity: Activity, **changes: Any) -> Activity:
    return replace(activity, activity_data=compact({**json.loads(activity.activity_data), **changes}))


def before_versions(history: History, *, events: int) -> History:
    """The history as if an earlier program version had handled its first so many events."""
    added = {"release_version", "release"}
    earlier = {f"e{number}" for number in range(events)}

    def activity(one: Activity) -> Activity | None:
        fields = json.loads(one.activity_data)
        if fields["event"]["id"] not in earlier:
            return one
        return replace(one, activity_data=compact({name: fields[name] for name in fields if name not in added}))

    def status(one: StatusRecord) -> StatusRecord:
        data = one.content["data"]
        if data["cause"]["id"] not in earlier:
            return one
        return replace(one, content={**one.content, "data": {name: data[name] for name in data if name not in added}})

    return replace(with_activities(history, activity), statuses=tuple(map(status, history.statuses)))


@pytest.mark.parametrize("version", [None, 0, 4, 6])
def test_different_release_version_is_a_finding(version: int | None) -> None:
    """Five events change the release after its creation."""
    history = HandledEvents.of_deployed_release().history()
    assert history.rows is not None
    assert history.rows.version == 5
    found = only(replace(history, rows=replace(history.rows, version=version)))
    kind = Kind.LOST if version is None else Kind.CONTRADICTORY
    assert (found.kind, found.table, found.row) == (kind, "release_versions", release_id())


@pytest.mark.parametrize("events", [1, 3, 6])
def test_activities_of_an_earlier_program_version_are_no_finding(events: int) -> None:
    """Neither they nor their status events have the release's version and block."""
    assert findings(before_versions(HandledEvents.of_deployed_release().history(), events=events)) == []


def test_activity_without_a_version_after_one_with_it_is_a_finding() -> None:
    whole = HandledEvents.of_deployed_release().history()
    first = activity_of(whole, "e0")
    history = with_activities(before_versions(whole, events=4), lambda one: first if one.id == first.id else one)
    found = {(one.kind, one.row) for one in findings(history) if one.table == "release_activity_logs"}
    assert (Kind.CONTRADICTORY, activity_of(whole, "e1").id) in found


@pytest.mark.parametrize("changes", [{"release_version": 9}, {"release": None}, {"traceparent": "x"}])
def test_activity_with_another_version_or_block_is_a_finding(changes: dict[str, Any]) -> None:
    history = HandledEvents.of_deployed_release().history()
    changed = activity_of(history, "e4")
    edited = with_activities(history, lambda one: with_fields(one, **changes) if one.id == changed.id else one)
    assert (Kind.CONTRADICTORY, changed.id) in {(one.kind, one.row) for one in findings(edited)}


def test_versions_that_do_not_grow_are_a_finding_without_the_records() -> None:
    """Where retention has deleted the first records, the activities are compared with each other."""
    history, extents = HandledEvents.of_deployed_release().history(), Extents(begins={(TOPIC, 0): 1})
    assert findings(history, extents) == []
    changed = activity_of(history, "e4")
    edited = with_activities(history, lambda one: with_fields(one, release_version=2) if one.id == changed.id else one)
    assert (Kind.OUT_OF_ORDER, changed.id) in {(one.kind, one.row) for one in findings(edited, extents)}
    assert history.rows is not None
    lower = replace(history, rows=replace(history.rows, version=4))
    assert [(one.kind, one.table) for one in findings(lower, extents)] == [(Kind.CONTRADICTORY, "release_versions")]


def test_correct_release_has_no_findings() -> None:
    """A deployment, a rejection, a repeat of each, a late event, a custom activity, a second attempt over the first."""
    events = HandledEvents.with_a_rejection()
    events.add(E.DEPLOYMENT_STARTED, id="e4")
    events.add(E.RELEASE_REJECTED, id="e6")
    events.add(E.DEPLOYMENT_FAILED, at=1)
    events.add(E.ACTIVITY_RECORDED, environment_id="prod")
    events.add(E.DEPLOYMENT_REQUESTED, comment="again")
    events.add(E.DEPLOYMENT_REQUESTED, api_settings={"a": 1})
    assert findings(events.history()) == []


def test_release_created_by_a_deployment_has_no_findings() -> None:
    """Three activities of one event, and the same base revision twice."""
    events = HandledEvents()
    events.add(E.DEPLOYMENT_SUCCEEDED, block=fields(apim_base_revisions=[REVISION, REVISION]))
    assert findings(events.history()) == []


def test_redriven_event_has_no_findings() -> None:
    """Rejected, rejected again, then applied, each by its own record."""
    events = HandledEvents()
    events.add(E.RELEASE_SUBMITTED, id="x")
    events.add(E.RELEASE_SUBMITTED, id="x", headers=REDRIVE)
    events.add(E.RELEASE_CREATED)
    events.add(E.RELEASE_SUBMITTED, id="x", headers=REDRIVE)
    assert findings(events.history()) == []


def test_missing_activity_is_lost() -> None:
    """The finding names the record and the missing row."""
    history = HandledEvents.of_deployed_release().history()
    gone = activity_of(history, "e4")
    found = only(without_activity(history, "e4"))
    assert (found.kind, found.position, found.table, found.row) == (
        Kind.LOST,
        position(4),
        "release_activity_logs",
        gone.id,
    )


def test_missing_further_activity_is_lost() -> None:
    """The second activity of one event."""
    history = HandledEvents.of_deployed_release().history()
    gone = activity_of(history, "e5", 1)
    found = only(without_activity(history, "e5", 1))
    assert (found.kind, found.position, found.row) == (Kind.LOST, position(5), gone.id)


def test_unhandled_record_is_one_lost_finding() -> None:
    """One finding, not one for each event after it."""
    events = HandledEvents.of_approved_release()
    skipped = events.add(E.DEPLOYMENT_REQUESTED)
    events = HandledEvents.of_approved_release()
    events.messages.append(skipped)
    events.add(E.DEPLOYMENT_STARTED)
    events.add(E.DEPLOYMENT_SUCCEEDED)
    found = only(events.history())
    assert (found.kind, found.position, found.row) == (Kind.LOST, position(3), skipped.id)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"status": "FAILED"}, "status"),
        ({"environment_id": "dev"}, "environment_id"),
        ({"deployment_id": UUID(int=1)}, "deployment_id"),
        ({"activity_type": "RELEASE_CREATED"}, "activity_type"),
        ({"activity_data": "{}"}, "activity_data"),
        ({"activity_data": "no JSON"}, "activity_data"),
    ],
)
def test_edited_activity_is_contradictory(changes: dict[str, Any], name: str) -> None:
    """The finding has the columns that differ, as expected and as found."""
    history = HandledEvents.of_deployed_release().history()
    edited = activity_of(history, "e4")
    found = only(
        with_activities(
            history, lambda activity: replace(activity, **changes) if activity.id == edited.id else activity
        )
    )
    assert (found.kind, found.position, found.row) == (Kind.CONTRADICTORY, position(4), edited.id)
    assert found.expected == f"{name} {getattr(edited, name)}"
    assert found.found == f"{name} {changes[name]}"


def test_activity_naming_another_events_record_is_contradictory() -> None:
    history = HandledEvents.of_deployed_release().history()
    edited = activity_of(history, "e4")
    found = only(
        with_activities(history, lambda activity: moved(activity, 3) if activity.id == edited.id else activity)
    )
    assert (found.kind, found.position, found.row) == (Kind.CONTRADICTORY, position(4), edited.id)
    assert str(position(3)) in found.found


def test_activity_without_a_record_is_invented() -> None:
    """With ids derived from an event that no record has."""
    history = HandledEvents.of_deployed_release().history()
    like = activity_of(history, "e4")
    content = json.loads(like.activity_data)
    content["event"]["id"] = "never"
    invented = replace(
        like, id=activity_id(source=content["event"]["source"], event_id="never"), activity_data=json.dumps(content)
    )
    assert history.rows is not None
    found = only(replace(history, rows=replace(history.rows, activities=(*history.activities, invented))))
    assert (found.kind, found.table, found.row) == (Kind.INVENTED, "release_activity_logs", invented.id)


def test_activity_with_another_id_is_doubled() -> None:
    """The same event a second time, as a worker without derived ids would write it."""
    history = HandledEvents.of_deployed_release().history()
    again = replace(activity_of(history, "e4"), id=uuid4())
    assert history.rows is not None
    found = only(replace(history, rows=replace(history.rows, activities=(*history.activities, again))))
    assert (found.kind, found.position, found.row) == (Kind.DOUBLED, position(4), again.id)


def test_unexpected_further_activity_is_invented() -> None:
    history = HandledEvents.of_deployed_release().history()
    like = activity_of(history, "e4")
    further = replace(like, id=activity_id(source="https://ci.example.com", event_id="e4", position=1))
    assert history.rows is not None
    found = only(replace(history, rows=replace(history.rows, activities=(*history.activities, further))))
    assert (found.kind, found.position, found.row) == (Kind.INVENTED, position(4), further.id)


def test_activity_without_an_event_is_contradictory() -> None:
    history = HandledEvents.of_deployed_release().history()
    odd = replace(activity_of(history, "e4"), id=uuid4(), activity_data="")
    assert history.rows is not None
    found = only(replace(history, rows=replace(history.rows, activities=(*history.activities, odd))))
    assert (found.kind, found.row) == (Kind.CONTRADICTORY, odd.id)


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        ("releases", {"status": "FAILED"}),
        ("releases", {"description": "x"}),
        ("releases", {"created_by": "x"}),
        ("release_deployments", {"status": "FAILED"}),
        ("release_deployments", {"deployed_by": "x"}),
        ("release_deployments", {"comment": "x"}),
        ("release_deployments", {"config_mapping_revision": 7}),
    ],
)
def test_changed_row_is_contradictory(table: str, changes: dict[str, Any]) -> None:
    """The finding has the columns that differ, as expected and as found."""
    history = changed_row(HandledEvents.of_deployed_release().history(), table, **changes)
    found = only(history)
    [(name, value)] = changes.items()
    assert (found.kind, found.table, found.found) == (Kind.CONTRADICTORY, table, f"{name} {value}")
    assert found.release == release_id()


def test_missing_deployment_is_lost_and_extra_one_invented() -> None:
    history = HandledEvents.of_deployed_release().history()
    assert history.rows is not None
    [row] = history.rows.deployments
    found = only(replace(history, rows=replace(history.rows, deployments=())))
    assert (found.kind, found.table, found.row) == (Kind.LOST, "release_deployments", row["id"])
    other: Row = {**row, "id": uuid4(), "attempt": 2}
    found = only(replace(history, rows=replace(history.rows, deployments=(row, other))))
    assert (found.kind, found.table, found.row) == (Kind.INVENTED, "release_deployments", other["id"])


def test_release_without_an_event_is_invented() -> None:
    history = HandledEvents.of_deployed_release().history()
    assert history.rows is not None
    alone = History(key=history.key, rows=replace(history.rows, deployments=(), activities=()))
    found = only(alone)
    assert (found.kind, found.table, found.row) == (Kind.INVENTED, "releases", release_id())


@pytest.mark.parametrize(
    ("count", "kind"), [(0, Kind.LOST), (2, Kind.DOUBLED)], ids=["a missing one is lost", "one too many is doubled"]
)
def test_base_revisions_are_counted(count: int, kind: Kind) -> None:
    """The table has no key: equal rows differ only by their number."""
    events = HandledEvents()
    events.add(E.RELEASE_CREATED, apim_base_revisions=[REVISION])
    history = events.history()
    assert history.rows is not None
    rows = replace(history.rows, base_revisions=history.rows.base_revisions * count)
    found = only(replace(history, rows=rows))
    assert (found.kind, found.table) == (kind, "release_apim_base_revisions")


def test_base_revision_without_an_event_is_invented() -> None:
    history = HandledEvents.of_deployed_release().history()
    assert history.rows is not None
    found = only(replace(history, rows=replace(history.rows, base_revisions=(REVISION,))))
    assert (found.kind, found.table) == (Kind.INVENTED, "release_apim_base_revisions")


def test_missing_rejection_is_lost() -> None:
    """A dead letter does not replace it."""
    history = HandledEvents.with_a_rejection().history()
    found = only(replace(history, rejections={}, dead_letters=()))
    rejected = history.inputs[6].id
    assert (found.kind, found.position, found.table, found.row) == (
        Kind.LOST,
        position(6),
        "release_event_rejections",
        rejected,
    )
    assert Reason.INVALID_TRANSITION in found.expected


@pytest.mark.parametrize(
    "changes",
    [
        {"reason": "attempt_gap"},
        {"event_type": "x"},
        {"event_id": "x"},
        {"created_at": None},
        {"resolved_at": HandledEvents.with_a_rejection().messages[0].at},
    ],
)
def test_edited_rejection_is_contradictory(changes: dict[str, Any]) -> None:
    """The reason, the event's columns, and the time of its resolution."""
    events = HandledEvents.with_a_rejection()
    history = replace(events.history(), dead_letters=())
    event = history.inputs[6].id
    edited = {event: replace(history.rejections[event], **changes)}
    found = [one for one in findings(replace(history, rejections=edited)) if one.expected[:6] != "a dead"]
    assert [(one.kind, one.position, one.row) for one in found] == [(Kind.CONTRADICTORY, position(6), event)]


def test_rejection_of_an_applied_event_is_doubled() -> None:
    history = HandledEvents.with_a_rejection().history()
    event = history.inputs[4].id
    twice = replace(history.rejections[history.inputs[6].id], id=event, event_id="e4", offset=99)
    found = only(replace(history, rejections={**history.rejections, event: twice}))
    assert (found.kind, found.table, found.row) == (Kind.DOUBLED, "release_event_rejections", event)


def test_rejection_instead_of_an_effect_is_contradictory() -> None:
    """Later records are not decided: the state after it is unknown."""
    events = HandledEvents.of_deployed_release()
    history = without_activity(events.history(), "e4")
    event = history.inputs[4].id
    like = HandledEvents.with_a_rejection()
    row = replace(next(iter(like.world.rejections.values())), id=event, event_id="e4", offset=4)
    found = findings(replace(history, rejections={event: row}))
    assert (found[0].kind, found[0].position, found[0].row) == (Kind.CONTRADICTORY, position(4), event)
    assert found[0].found == "rejected as invalid_transition"
    # Its status event has no activity now, and the rejection no dead letter.
    assert [(one.kind, one.position) for one in found[1:]] == [
        (Kind.INVENTED, position(1, topic="deployment-status")),
        (Kind.LOST, position(4)),
    ]


def test_effect_instead_of_a_rejection_is_contradictory() -> None:
    """A deployment of a release that was not approved."""
    events = HandledEvents.of_deployed_release()
    forbidden = {1, 2}
    history = events.history()
    inputs = tuple(one for one in history.inputs if one.position.offset not in forbidden)
    changed = without_activity(without_activity(replace(history, inputs=inputs, statuses=()), "e1"), "e2")
    found = [one for one in findings(changed) if one.kind is Kind.CONTRADICTORY]
    assert [(one.position, one.expected) for one in found] == [
        (position(3), f"rejected as {Reason.RELEASE_NOT_DEPLOYABLE}")
    ]


def test_effects_unlike_the_order_of_offsets_are_out_of_order() -> None:
    """The later record took effect first; the finding names both."""
    events = HandledEvents.of_approved_release()
    early, late = (
        HandledEvents.of_deployed_release().messages[3],
        HandledEvents.of_deployed_release().messages[4],
    )
    events.handle(late)
    events.handle(early)
    history = events.history()
    inputs = tuple(sorted(history.inputs, key=lambda one: one.position.offset))
    found = [one for one in findings(replace(history, inputs=inputs)) if one.table]
    assert [(one.kind, one.position) for one in found] == [(Kind.OUT_OF_ORDER, position(4))]
    assert str(position(3)) in found[0].expected


def test_effect_by_a_repeat_before_the_first_is_out_of_order() -> None:
    events = HandledEvents.of_deployed_release()
    events.add(E.DEPLOYMENT_SUCCEEDED, at=5, id="e5")
    history = events.history()
    ids = {activity_of(history, "e5", position).id for position in (0, 1)}
    found = only(with_activities(history, lambda activity: moved(activity, 6) if activity.id in ids else activity))
    assert (found.kind, found.position) == (Kind.OUT_OF_ORDER, position(6))


def test_repeat_of_another_releases_event_has_no_findings() -> None:
    """Unless it came first: identities are decided in offset order, whichever releases they name."""
    events = HandledEvents.of_deployed_release()
    history = events.history()
    borrowed = events.add(E.DEPLOYMENT_STARTED, id="of another release")
    history = replace(events.history(), rows=history.rows, statuses=history.statuses)
    assert only(history).kind is Kind.LOST
    assert findings(replace(history, elsewhere={borrowed.id: position(2, partition=1)})) == []
    assert findings(replace(history, elsewhere={borrowed.id: position(2)})) == []
    found = only(replace(history, elsewhere={borrowed.id: position(9)}))
    assert (found.kind, found.position) == (Kind.OUT_OF_ORDER, position(6))


def test_release_conflict_needs_another_release() -> None:
    events = HandledEvents.of_approved_release()
    events.add(E.RELEASE_CREATED, release=2, release_number=1)
    history = events.history(2)
    event = history.inputs[0].id
    assert findings(replace(history, numbers_taken=frozenset({event}))) == []
    found = only(history)
    assert (found.kind, found.position, found.found) == (
        Kind.CONTRADICTORY,
        position(3),
        "rejected as release_conflict",
    )


@pytest.mark.parametrize("reason", [Reason.PROCESSING_ERROR, Reason.SOURCE_NOT_ALLOWED])
def test_unforeseeable_rejections_are_accepted(reason: Reason) -> None:
    """Such a rejection changes nothing; the list of sources may have changed since."""
    events = HandledEvents.with_a_rejection()
    history = events.history()
    event = history.inputs[6].id
    rejection = replace(history.rejections[event], reason=reason.value)
    letters = tuple(replace(dead_letter, reason=reason.value) for dead_letter in history.dead_letters)
    assert findings(replace(history, rejections={event: rejection}, dead_letters=letters)) == []
