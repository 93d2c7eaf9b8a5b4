"""The status topics hold every change, in order, and repeats say the same; every rejection has its dead letter."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from schemas.types import EventType as E
from tests.unit.rules.story import REDRIVE
from tests.unit.verify.scene import (
    EXTENTS,
    TOPICS,
    Scene,
    at,
    checked,
    entry_of,
    findings,
    only,
    statuses_of,
    with_entries,
)
from worker.pipeline.dead_letter import VALUE_SHA256, contents_of
from worker.verify.findings import Kind
from worker.verify.history import History, Status

DEPLOYMENTS, RELEASES, LETTERS = TOPICS.deployment_status, TOPICS.release_status, TOPICS.dead_letters


def with_statuses(history: History, topic: str, *statuses: Status) -> History:
    """The history with these in the topic, at offsets from 0."""
    others = [status for status in history.statuses if status.place.topic != topic]
    placed = [replace(status, place=at(offset, topic=topic)) for offset, status in enumerate(statuses)]
    return replace(history, statuses=(*others, *placed))


def saying(status: Status, /, **data: Any) -> Status:
    return replace(status, content={**status.content, "data": {**status.content["data"], **data}})


def test_missing_status_event_is_lost() -> None:
    """The finding names the record that caused the change, and the log's row that it had to follow from."""
    history = Scene.of_deployed_release().history()
    first, second, third = statuses_of(history, DEPLOYMENTS)
    found = only(with_statuses(history, DEPLOYMENTS, first, third))
    assert (found.kind, found.place, found.row) == (Kind.LOST, at(4), entry_of(history, "e4").id)
    assert second.id in found.expected
    assert DEPLOYMENTS in found.expected


def test_equal_repeats_are_no_finding() -> None:
    """Delivery is at least once; also where a worker that was stalled repeats what others went past."""
    history = Scene.of_deployed_release().history()
    first, second, third = statuses_of(history, DEPLOYMENTS)
    assert findings(with_statuses(history, DEPLOYMENTS, first, first, second, first, third, second)) == []


@pytest.mark.parametrize("data", [{"status": "FAILED"}, {"comment": "x"}, {"attempt": 2}, {"more": 1}])
def test_different_repeat_is_contradictory(data: dict[str, Any]) -> None:
    """The finding is about the repeat, and tells both."""
    history = Scene.of_deployed_release().history()
    first, second, third = statuses_of(history, DEPLOYMENTS)
    found = only(with_statuses(history, DEPLOYMENTS, first, second, third, saying(second, **data)))
    assert (found.kind, found.place) == (Kind.CONTRADICTORY, at(3, topic=DEPLOYMENTS))
    [(name, value)] = data.items()
    assert found.found == f"{name} {value}"


@pytest.mark.parametrize("part", ["type", "time", "key"])
def test_status_event_with_another_envelope_is_contradictory(part: str) -> None:
    """A key that is not the release's would put it into a partition without order."""
    history = Scene.of_deployed_release().history()
    first, second, third = statuses_of(history, DEPLOYMENTS)
    odd = replace(second, content={**second.content, part: "x"})
    found = only(with_statuses(history, DEPLOYMENTS, first, odd, third))
    assert (found.kind, found.place, found.found) == (Kind.CONTRADICTORY, at(1, topic=DEPLOYMENTS), f"{part} x")


def test_swapped_status_events_are_out_of_order() -> None:
    history = Scene.of_deployed_release().history()
    first, second, third = statuses_of(history, DEPLOYMENTS)
    found = only(with_statuses(history, DEPLOYMENTS, second, first, third))
    assert (found.kind, found.place) == (Kind.OUT_OF_ORDER, at(1, topic=DEPLOYMENTS))
    assert second.id in found.expected


def test_status_event_without_an_activity_is_invented() -> None:
    history = Scene.of_deployed_release().history()
    known = statuses_of(history, DEPLOYMENTS)
    found = only(with_statuses(history, DEPLOYMENTS, *known, replace(known[0], id=str(uuid4()))))
    assert (found.kind, found.place) == (Kind.INVENTED, at(3, topic=DEPLOYMENTS))


def test_status_event_in_the_wrong_topic_is_invented() -> None:
    history = Scene.of_deployed_release().history()
    known = statuses_of(history, RELEASES)
    found = only(with_statuses(history, RELEASES, *known, statuses_of(history, DEPLOYMENTS)[0]))
    assert (found.kind, found.place) == (Kind.INVENTED, at(len(known), topic=RELEASES))


def test_status_event_of_another_source_is_ignored() -> None:
    """Unless it takes an entry's id."""
    history = Scene.of_deployed_release().history()
    known = statuses_of(history, DEPLOYMENTS)
    foreign = replace(known[0], id="theirs", own=False)
    assert findings(with_statuses(history, DEPLOYMENTS, *known, foreign)) == []
    forged = replace(saying(known[0], status="FAILED"), own=False)
    assert only(with_statuses(history, DEPLOYMENTS, *known, forged)).kind is Kind.CONTRADICTORY


def test_edited_activity_adds_no_finding_for_its_status_event() -> None:
    """The status event says what the entry said when it was written."""
    history = Scene.of_deployed_release().history()
    edited = entry_of(history, "e4")
    harmed = with_entries(history, lambda e: replace(e, activity_data="x") if e.id == edited.id else e)
    assert only(harmed).row == edited.id


def test_two_input_partitions_have_no_order_of_status_events() -> None:
    """Two workers may have had them."""
    scene = Scene.of_approved_release()
    scene.tell(E.DEPLOYMENT_REQUESTED)
    scene.tell(E.DEPLOYMENT_STARTED, partition=1)
    history = scene.history()
    first, second = statuses_of(history, DEPLOYMENTS)
    assert findings(with_statuses(history, DEPLOYMENTS, second, first)) == []


def test_missing_status_event_of_a_trimmed_topic_is_counted() -> None:
    """Retention and compaction take what was there; what is there is checked all the same."""
    history = Scene.of_deployed_release().history()
    first, _, third = statuses_of(history, DEPLOYMENTS)
    trimmed = replace(EXTENTS, trimmed=frozenset({DEPLOYMENTS}))
    came_to = checked(with_statuses(history, DEPLOYMENTS, third), trimmed)
    assert (came_to.findings, came_to.unverifiable) == ([], 2)
    found = only(with_statuses(history, DEPLOYMENTS, saying(third, status="FAILED")), trimmed)
    assert found.kind is Kind.CONTRADICTORY
    assert only(with_statuses(history, RELEASES, *statuses_of(history, RELEASES)[1:]), trimmed).kind is Kind.LOST
    assert first.id != third.id


def test_repeat_in_a_trimmed_topic_is_not_out_of_order() -> None:
    """What was published first is gone, and what is left of it is its repeat."""
    history = Scene.of_deployed_release().history()
    first, second, third = statuses_of(history, DEPLOYMENTS)
    trimmed = replace(EXTENTS, trimmed=frozenset({DEPLOYMENTS}))
    came_to = checked(with_statuses(history, DEPLOYMENTS, third, first, second), trimmed)
    assert (came_to.findings, came_to.unverifiable) == ([], 2)


def test_missing_dead_letter_is_lost() -> None:
    history = Scene.with_a_rejection().history()
    found = only(replace(history, letters=()))
    assert (found.kind, found.place, found.row) == (Kind.LOST, at(6), history.inputs[6].id)
    assert found.expected == "a dead letter, invalid_transition"
    trimmed = checked(replace(history, letters=()), replace(EXTENTS, trimmed=frozenset({LETTERS})))
    assert (trimmed.findings, trimmed.unverifiable) == ([], 1)


def test_each_rejection_of_a_redriven_event_needs_a_dead_letter() -> None:
    """The row remembers the last one only; the letters are those of two records."""
    scene = Scene()
    scene.tell(E.RELEASE_SUBMITTED, id="x")
    scene.tell(E.RELEASE_SUBMITTED, id="x", headers=REDRIVE)
    history = scene.history()
    first, second = history.letters
    for kept, missed in ((first, second), (second, first)):
        found = only(replace(history, letters=(kept,)))
        assert (found.kind, found.place) == (Kind.LOST, missed.of)


def test_dead_letter_of_a_repeat_is_optional() -> None:
    scene = Scene.with_a_rejection()
    scene.tell(E.RELEASE_REJECTED, id="e6")
    history = scene.history()
    assert len(history.letters) == 2
    assert findings(replace(history, letters=history.letters[:1])) == []


def test_dead_letter_with_another_reason_is_contradictory() -> None:
    history = Scene.with_a_rejection().history()
    [letter] = history.letters
    odd = replace(letter, place=at(9, topic=LETTERS), reason="attempt_gap")
    found = only(replace(history, letters=(letter, odd)))
    assert (found.kind, found.place, found.found) == (Kind.CONTRADICTORY, odd.place, "attempt_gap")


def test_dead_letter_unlike_its_record_is_contradictory() -> None:
    history = Scene.with_a_rejection().history()
    [letter] = history.letters
    found = only(replace(history, letters=(replace(letter, same=False),)))
    assert (found.kind, found.place) == (Kind.CONTRADICTORY, letter.place)


def test_dead_letter_of_an_applied_record_is_invented() -> None:
    history = Scene.with_a_rejection().history()
    [letter] = history.letters
    odd = replace(letter, rejection_id=history.inputs[4].id, of=at(4), place=at(1, topic=LETTERS))
    found = only(replace(history, letters=(letter, odd)))
    assert (found.kind, found.place) == (Kind.INVENTED, odd.place)


def test_status_event_without_its_comment_is_no_finding() -> None:
    """The broker refused it as too large; only an event that has a comment can leave it out."""
    scene = Scene.of_approved_release()
    scene.tell(E.DEPLOYMENT_STARTED, comment="long")
    history = scene.history()
    first, *others = statuses_of(history, DEPLOYMENTS)
    without = saying(first, comment=None, comment_omitted=True)
    assert findings(with_statuses(history, DEPLOYMENTS, without, *others)) == []
    no_comment = Scene.of_deployed_release().history()
    first, *others = statuses_of(no_comment, DEPLOYMENTS)
    assert only(with_statuses(no_comment, DEPLOYMENTS, saying(first, comment_omitted=True), *others)).kind == (
        Kind.CONTRADICTORY
    )


@pytest.mark.parametrize("times", [1, 2])
def test_shorter_dead_letter_of_the_same_record_is_no_finding(times: int) -> None:
    """The broker refused the whole one as too large. The digest of another value is found."""
    scene = Scene.with_a_rejection()
    [whole] = [one for one in scene.published if one.topic == LETTERS]
    record = scene.told[-1].record
    form = contents_of(record)[times]
    added = whole.headers[len(record.headers) :]
    short = replace(whole, key=form.key, value=None, headers=(*form.headers, *added, *form.omissions))
    scene.published[scene.published.index(whole)] = short
    assert findings(scene.history()) == []
    other = tuple((name, b"0" * 64 if name == VALUE_SHA256 else raw) for name, raw in short.headers)
    scene.published[scene.published.index(short)] = replace(short, headers=other)
    assert only(scene.history()).kind == Kind.CONTRADICTORY
