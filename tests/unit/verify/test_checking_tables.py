"""A sound release has no findings; each harm to its rows, its log or its rejections is named, and nothing else."""

import json
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from schemas.reasons import Reason
from schemas.types import EventType as E
from tests.unit.rules.story import REDRIVE, fields, release_id
from tests.unit.verify.scene import (
    Scene,
    at,
    entry_of,
    findings,
    only,
    with_entries,
    without_entry,
)
from worker.rules.identity import activity_id
from worker.rules.rows import Activity
from worker.stored_rows import Row
from worker.verify.findings import Kind
from worker.verify.history import History

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
    """The entry as if another record had caused it."""
    said = json.loads(activity.activity_data)
    said["record"]["offset"] = offset
    return replace(activity, activity_data=json.dumps(said, separators=(",", ":")))


def test_correct_release_has_no_findings() -> None:
    """A deployment, a rejection, a repeat of each, a late event, a custom activity, a second attempt over the first."""
    scene = Scene.with_a_rejection()
    scene.tell(E.DEPLOYMENT_STARTED, id="e4")
    scene.tell(E.RELEASE_REJECTED, id="e6")
    scene.tell(E.DEPLOYMENT_FAILED, at=1)
    scene.tell(E.ACTIVITY_RECORDED, environment_id="prod")
    scene.tell(E.DEPLOYMENT_REQUESTED, comment="again")
    scene.tell(E.DEPLOYMENT_REQUESTED, api_settings={"a": 1})
    assert findings(scene.history()) == []


def test_release_created_by_a_deployment_has_no_findings() -> None:
    """Three entries of one event, and base revisions, the same one twice."""
    scene = Scene()
    scene.tell(E.DEPLOYMENT_SUCCEEDED, block=fields(apim_base_revisions=[REVISION, REVISION]))
    assert findings(scene.history()) == []


def test_redriven_event_has_no_findings() -> None:
    """Rejected, rejected again, then applied, each by its own record."""
    scene = Scene()
    scene.tell(E.RELEASE_SUBMITTED, id="x")
    scene.tell(E.RELEASE_SUBMITTED, id="x", headers=REDRIVE)
    scene.tell(E.RELEASE_CREATED)
    scene.tell(E.RELEASE_SUBMITTED, id="x", headers=REDRIVE)
    assert findings(scene.history()) == []


def test_missing_activity_is_lost() -> None:
    """Its record, and the row that had to be there."""
    history = Scene.of_deployed_release().history()
    gone = entry_of(history, "e4")
    found = only(without_entry(history, "e4"))
    assert (found.kind, found.place, found.table, found.row) == (Kind.LOST, at(4), "release_activity_logs", gone.id)


def test_missing_further_activity_is_lost() -> None:
    """Of an event that made two, the second."""
    history = Scene.of_deployed_release().history()
    gone = entry_of(history, "e5", 1)
    found = only(without_entry(history, "e5", 1))
    assert (found.kind, found.place, found.row) == (Kind.LOST, at(5), gone.id)


def test_unhandled_record_is_one_lost_finding() -> None:
    """One finding, not one for each event after it."""
    scene = Scene.of_approved_release()
    skipped = scene.tell(E.DEPLOYMENT_REQUESTED)
    scene = Scene.of_approved_release()
    scene.told.append(skipped)
    scene.tell(E.DEPLOYMENT_STARTED)
    scene.tell(E.DEPLOYMENT_SUCCEEDED)
    found = only(scene.history())
    assert (found.kind, found.place, found.row) == (Kind.LOST, at(3), skipped.id)


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
    """The columns that differ, as they had to be and as they are."""
    history = Scene.of_deployed_release().history()
    edited = entry_of(history, "e4")
    found = only(
        with_entries(history, lambda activity: replace(activity, **changes) if activity.id == edited.id else activity)
    )
    assert (found.kind, found.place, found.row) == (Kind.CONTRADICTORY, at(4), edited.id)
    assert found.expected == f"{name} {getattr(edited, name)}"
    assert found.found == f"{name} {changes[name]}"


def test_activity_naming_another_events_record_is_contradictory() -> None:
    history = Scene.of_deployed_release().history()
    edited = entry_of(history, "e4")
    found = only(with_entries(history, lambda activity: moved(activity, 3) if activity.id == edited.id else activity))
    assert (found.kind, found.place, found.row) == (Kind.CONTRADICTORY, at(4), edited.id)
    assert str(at(3)) in found.found


def test_activity_without_a_record_is_invented() -> None:
    """With the ids that would follow from its event, if there were one."""
    history = Scene.of_deployed_release().history()
    like = entry_of(history, "e4")
    said = json.loads(like.activity_data)
    said["event"]["id"] = "never"
    invented = replace(
        like, id=activity_id(source=said["event"]["source"], event_id="never"), activity_data=json.dumps(said)
    )
    assert history.rows is not None
    found = only(replace(history, rows=replace(history.rows, activities=(*history.activities, invented))))
    assert (found.kind, found.table, found.row) == (Kind.INVENTED, "release_activity_logs", invented.id)


def test_activity_with_another_id_is_doubled() -> None:
    """The same event a second time, as a worker without derived ids would write it."""
    history = Scene.of_deployed_release().history()
    again = replace(entry_of(history, "e4"), id=uuid4())
    assert history.rows is not None
    found = only(replace(history, rows=replace(history.rows, activities=(*history.activities, again))))
    assert (found.kind, found.place, found.row) == (Kind.DOUBLED, at(4), again.id)


def test_unexpected_further_activity_is_invented() -> None:
    history = Scene.of_deployed_release().history()
    like = entry_of(history, "e4")
    further = replace(like, id=activity_id(source="https://ci.example.com", event_id="e4", position=1))
    assert history.rows is not None
    found = only(replace(history, rows=replace(history.rows, activities=(*history.activities, further))))
    assert (found.kind, found.place, found.row) == (Kind.INVENTED, at(4), further.id)


def test_activity_without_an_event_is_contradictory() -> None:
    history = Scene.of_deployed_release().history()
    odd = replace(entry_of(history, "e4"), id=uuid4(), activity_data="")
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
    """The cells that differ, as they had to be and as they are."""
    history = changed_row(Scene.of_deployed_release().history(), table, **changes)
    found = only(history)
    [(name, value)] = changes.items()
    assert (found.kind, found.table, found.found) == (Kind.CONTRADICTORY, table, f"{name} {value}")
    assert found.release == release_id()


def test_missing_deployment_is_lost_and_extra_one_invented() -> None:
    history = Scene.of_deployed_release().history()
    assert history.rows is not None
    [row] = history.rows.deployments
    found = only(replace(history, rows=replace(history.rows, deployments=())))
    assert (found.kind, found.table, found.row) == (Kind.LOST, "release_deployments", row["id"])
    other: Row = {**row, "id": uuid4(), "attempt": 2}
    found = only(replace(history, rows=replace(history.rows, deployments=(row, other))))
    assert (found.kind, found.table, found.row) == (Kind.INVENTED, "release_deployments", other["id"])


def test_release_without_an_event_is_invented() -> None:
    history = Scene.of_deployed_release().history()
    assert history.rows is not None
    alone = History(key=history.key, rows=replace(history.rows, deployments=(), activities=()))
    found = only(alone)
    assert (found.kind, found.table, found.row) == (Kind.INVENTED, "releases", release_id())


@pytest.mark.parametrize(
    ("count", "kind"), [(0, Kind.LOST), (2, Kind.DOUBLED)], ids=["a missing one is lost", "one too many is doubled"]
)
def test_base_revisions_are_counted(count: int, kind: Kind) -> None:
    """The table has no key: rows that are alike are told apart by nothing but their number."""
    scene = Scene()
    scene.tell(E.RELEASE_CREATED, apim_base_revisions=[REVISION])
    history = scene.history()
    assert history.rows is not None
    rows = replace(history.rows, base_revisions=history.rows.base_revisions * count)
    found = only(replace(history, rows=rows))
    assert (found.kind, found.table) == (kind, "release_apim_base_revisions")


def test_base_revision_without_an_event_is_invented() -> None:
    history = Scene.of_deployed_release().history()
    assert history.rows is not None
    found = only(replace(history, rows=replace(history.rows, base_revisions=(REVISION,))))
    assert (found.kind, found.table) == (Kind.INVENTED, "release_apim_base_revisions")


def test_missing_rejection_is_lost() -> None:
    """Its dead letter alone is no account of it."""
    history = Scene.with_a_rejection().history()
    found = only(replace(history, rejections={}, letters=()))
    rejected = history.inputs[6].id
    assert (found.kind, found.place, found.table, found.row) == (
        Kind.LOST,
        at(6),
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
        {"resolved_at": Scene.with_a_rejection().told[0].at},
    ],
)
def test_edited_rejection_is_contradictory(changes: dict[str, Any]) -> None:
    """A reason as well as what it says of the event, or that it is resolved."""
    scene = Scene.with_a_rejection()
    history = replace(scene.history(), letters=())
    event = history.inputs[6].id
    edited = {event: replace(history.rejections[event], **changes)}
    found = [one for one in findings(replace(history, rejections=edited)) if one.expected[:6] != "a dead"]
    assert [(one.kind, one.place, one.row) for one in found] == [(Kind.CONTRADICTORY, at(6), event)]


def test_rejection_of_an_applied_event_is_doubled() -> None:
    history = Scene.with_a_rejection().history()
    event = history.inputs[4].id
    twice = replace(history.rejections[history.inputs[6].id], id=event, event_id="e4", offset=99)
    found = only(replace(history, rejections={**history.rejections, event: twice}))
    assert (found.kind, found.table, found.row) == (Kind.DOUBLED, "release_event_rejections", event)


def test_rejection_instead_of_an_effect_is_contradictory() -> None:
    """And nothing after it is judged, since nobody can tell what had to follow."""
    scene = Scene.of_deployed_release()
    history = without_entry(scene.history(), "e4")
    event = history.inputs[4].id
    like = Scene.with_a_rejection()
    row = replace(next(iter(like.world.rejections.values())), id=event, event_id="e4", offset=4)
    found = findings(replace(history, rejections={event: row}))
    assert (found[0].kind, found[0].place, found[0].row) == (Kind.CONTRADICTORY, at(4), event)
    assert found[0].found == "rejected as invalid_transition"
    # What was published for it has no entry now, and the rejection no letter.
    assert [(one.kind, one.place) for one in found[1:]] == [
        (Kind.INVENTED, at(1, topic="deployment-status")),
        (Kind.LOST, at(4)),
    ]


def test_effect_instead_of_a_rejection_is_contradictory() -> None:
    """A deployment of a release that nobody approved."""
    scene = Scene.of_deployed_release()
    forbidden = {1, 2}
    history = scene.history()
    inputs = tuple(one for one in history.inputs if one.place.offset not in forbidden)
    harmed = without_entry(without_entry(replace(history, inputs=inputs, statuses=()), "e1"), "e2")
    found = [one for one in findings(harmed) if one.kind is Kind.CONTRADICTORY]
    assert [(one.place, one.expected) for one in found] == [(at(3), f"rejected as {Reason.RELEASE_NOT_DEPLOYABLE}")]


def test_effects_unlike_the_order_of_offsets_are_out_of_order() -> None:
    """The later record took effect first; the finding names both."""
    scene = Scene.of_approved_release()
    early, late = (
        Scene.of_deployed_release().told[3],
        Scene.of_deployed_release().told[4],
    )
    scene.take(late)
    scene.take(early)
    history = scene.history()
    inputs = tuple(sorted(history.inputs, key=lambda one: one.place.offset))
    found = [one for one in findings(replace(history, inputs=inputs)) if one.table]
    assert [(one.kind, one.place) for one in found] == [(Kind.OUT_OF_ORDER, at(4))]
    assert str(at(3)) in found[0].expected


def test_effect_by_a_repeat_before_the_first_is_out_of_order() -> None:
    scene = Scene.of_deployed_release()
    scene.tell(E.DEPLOYMENT_SUCCEEDED, at=5, id="e5")
    history = scene.history()
    ids = {entry_of(history, "e5", position).id for position in (0, 1)}
    found = only(with_entries(history, lambda activity: moved(activity, 6) if activity.id in ids else activity))
    assert (found.kind, found.place) == (Kind.OUT_OF_ORDER, at(6))


def test_repeat_of_another_releases_event_has_no_findings() -> None:
    """Unless it came first: identities are judged in the order of the offsets, whichever releases they name."""
    scene = Scene.of_deployed_release()
    history = scene.history()
    borrowed = scene.tell(E.DEPLOYMENT_STARTED, id="of another release")
    history = replace(scene.history(), rows=history.rows, statuses=history.statuses)
    assert only(history).kind is Kind.LOST
    assert findings(replace(history, elsewhere={borrowed.id: at(2, partition=1)})) == []
    assert findings(replace(history, elsewhere={borrowed.id: at(2)})) == []
    found = only(replace(history, elsewhere={borrowed.id: at(9)}))
    assert (found.kind, found.place) == (Kind.OUT_OF_ORDER, at(6))


def test_release_conflict_needs_another_release() -> None:
    scene = Scene.of_approved_release()
    scene.tell(E.RELEASE_CREATED, release=2, release_number=1)
    history = scene.history(2)
    event = history.inputs[0].id
    assert findings(replace(history, numbers_taken=frozenset({event}))) == []
    found = only(history)
    assert (found.kind, found.place, found.found) == (Kind.CONTRADICTORY, at(3), "rejected as release_conflict")


@pytest.mark.parametrize("reason", [Reason.PROCESSING_ERROR, Reason.SOURCE_NOT_ALLOWED])
def test_unforeseeable_rejections_are_accepted(reason: Reason) -> None:
    """It does nothing; and the list of sources may have been another one."""
    scene = Scene.with_a_rejection()
    history = scene.history()
    event = history.inputs[6].id
    rejection = replace(history.rejections[event], reason=reason.value)
    letters = tuple(replace(letter, reason=reason.value) for letter in history.letters)
    assert findings(replace(history, rejections={event: rejection}, letters=letters)) == []
