"""`verify` and the state topic: what a correct worker leaves has no finding, and each fault has one."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from schemas.types import EventType as E
from tests.unit.rules.release_scenario import release_id
from tests.unit.verify.handled_events import (
    EXTENTS,
    STATES,
    WITH_STATES,
    HandledEvents,
    position,
    with_activities,
)
from worker.rules.rows import Activity
from worker.verify.checking import check
from worker.verify.findings import Finding, Kind
from worker.verify.history import Extents, History, StateRecord

PROD, OTHER = f"{release_id()}/prod", f"{release_id()}/other"


def events() -> HandledEvents:
    found = HandledEvents.of_approved_release(WITH_STATES)
    for kind in (E.DEPLOYMENT_SUCCEEDED, E.DEPLOYMENT_STARTED, E.DEPLOYMENT_CANCELLED):
        found.add(kind)
    found.add(E.DEPLOYMENT_FAILED, environment_id="other")
    return found


def findings(history: History, extents: Extents = EXTENTS) -> list[Finding]:
    return check(history, extents, WITH_STATES.topics).findings


def only(history: History) -> Finding:
    [found] = findings(history)
    assert "rudder-worker state publish" in found.expected
    return found


def with_last(history: History, key: str, change: Callable[[StateRecord], StateRecord | None]) -> History:
    """The history with the last record of the key changed; None removes it."""
    states = [change(one) if one.key == key else one for one in history.states]
    return replace(history, states=[one for one in states if one is not None])


def test_states_of_a_correct_worker_have_no_finding() -> None:
    assert findings(events().history()) == []
    assert {state.key for state in events().history().states} == {PROD, OTHER}


@pytest.mark.parametrize("committed", range(9))
def test_states_in_flight_have_no_finding(committed: int) -> None:
    """The group has committed the first records; of each later one the state may be there or not."""
    whole = events()
    history = whole.history(committed=committed)
    assert findings(history) == []
    for number in range(committed, 8):
        assert findings(replace(history, states=whole.states_after(number))) == []


def test_missing_state_is_lost() -> None:
    found = only(with_last(events().history(), OTHER, lambda _: None))
    assert (found.kind, found.position, found.found) == (Kind.LOST, position(6), "no such record")


def test_tombstone_of_a_deployment_is_lost() -> None:
    found = only(with_last(events().history(), OTHER, lambda state: replace(state, content=None)))
    assert (found.kind, found.found) == (Kind.LOST, "a tombstone")
    assert found.position is not None
    assert found.position.topic == STATES


def test_earlier_state_at_the_end_is_out_of_order() -> None:
    started = next(state for state in events().states_after(5) if state.key == PROD)
    found = only(with_last(events().history(), PROD, lambda _: started))
    assert (found.kind, "IN_PROGRESS" in found.found) == (Kind.OUT_OF_ORDER, True)


def test_earlier_state_that_is_current_again_is_in_order() -> None:
    """A duplicate of the first event, which published it again after the attempt behind it was cancelled."""
    succeeded = next(state for state in events().states_after(4) if state.key == PROD)
    assert findings(with_last(events().history(), PROD, lambda _: succeeded)) == []


def test_changed_state_is_contradictory() -> None:
    def forge(state: StateRecord) -> StateRecord:
        assert state.content is not None
        return replace(state, content={**state.content, "data": {**state.content["data"], "status": "FAILED"}})

    assert only(with_last(events().history(), PROD, forge)).kind is Kind.CONTRADICTORY


def test_state_without_a_deployment_is_invented() -> None:
    history = events().history()
    unknown = replace(history.states[0], key=f"{release_id()}/nowhere")
    assert only(replace(history, states=[*history.states, unknown])).kind is Kind.INVENTED
    deleted = replace(history, rows=None, inputs=(), statuses=())
    assert [found.kind for found in findings(deleted)] == [Kind.INVENTED, Kind.INVENTED]
    tombstones = [replace(state, content=None) for state in history.states]
    assert findings(replace(deleted, states=tombstones)) == []


def test_last_of_several_partitions_is_the_highest_version() -> None:
    """After partitions were added, a key is in two of them."""
    history = events().history()
    [old] = [state for state in events().states_after(5) if state.key == PROD]
    states = [replace(old, position=old.position._replace(partition=1)), *history.states]
    assert findings(replace(history, states=states)) == []


@pytest.mark.parametrize("status", ["IN_PROGRESS", "SUCCESS"])
def test_edited_activity_has_no_finding_of_its_state(status: str) -> None:
    """It is reported with the activities; the last one has the state, an earlier one could have."""

    def edit(activity: Activity) -> Activity:
        data = activity.activity_data
        return replace(activity, activity_data=data.replace('"organization_id"', '"x"')) if status in data else activity

    history = with_activities(events().history(), edit)
    assert STATES not in {found.position and found.position.topic for found in findings(history)}


def test_release_that_changes_all_the_time_is_not_compared() -> None:
    history = events().history()
    assert history.rows is not None
    assert findings(replace(history, rows=replace(history.rows, settled=False), states=())) == []


def test_state_of_an_earlier_log_need_not_be_there() -> None:
    """Of a topic that was created again: the state topic may be younger."""
    history = events().history()
    earlier = frozenset(activity.id for activity in history.activities)
    found = check(replace(history, earlier_activities=earlier, states=()), EXTENTS, WITH_STATES.topics).findings
    assert STATES not in "".join(one.expected for one in found)
