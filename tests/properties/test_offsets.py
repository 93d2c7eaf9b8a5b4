"""Offsets against a model that forgets nothing: in whatever order work finishes, no more and no less is committed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.hypothesis_profile import examples
from worker.pipeline.offsets import OffsetTracker


class Tracking(RuleBasedStateMachine):
    """One assignment of one partition: records start in ascending order, with holes, and finish in any."""

    def __init__(self) -> None:
        super().__init__()
        self.tracker = OffsetTracker()
        self.finished: dict[int, bool] = {}
        self.committed: int | None = None

    @initialize(first=st.integers(0, 2**63 - 10_000))
    def the_first_record(self, first: int) -> None:
        """Rarely is it the topic's first."""
        self.start(first)

    def start(self, offset: int) -> None:
        self.tracker.start(offset)
        self.finished[offset] = False

    @rule(hole=st.sampled_from([0, 0, 0, 1, 7]))
    def a_record_starts(self, hole: int) -> None:
        self.start(max(self.finished) + 1 + hole)

    @precondition(lambda self: not all(self.finished.values()))
    @rule(data=st.data())
    def a_record_is_done(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from([offset for offset, done in self.finished.items() if not done]))
        self.tracker.complete(offset)
        self.finished[offset] = True

    @rule()
    def what_can_be_committed_is(self) -> None:
        offset = self.tracker.to_commit()
        if offset is not None:
            self.tracker.committed(offset)
            self.committed = offset

    @rule(behind=st.integers(0, 20))
    def an_offset_that_does_not_ascend_is_refused(self, behind: int) -> None:
        with pytest.raises(ValueError, match="does not ascend"):
            self.tracker.start(max(self.finished) - behind)

    @rule(data=st.data())
    def what_is_not_under_way_cannot_be_done(self, data: st.DataObject) -> None:
        """Done twice, never started, in a hole, ahead of all."""
        first, last = min(self.finished), max(self.finished)
        offset = data.draw(st.integers(first - 1, last + 2).filter(lambda one: self.finished.get(one, True)))
        with pytest.raises(ValueError, match="is not in flight"):
            self.tracker.complete(offset)

    @invariant()
    def the_offset_to_commit_is_the_models(self) -> None:
        """The record after the last one below which, itself included, all is done."""
        if not self.finished:
            assert self.tracker.to_commit() is None
            return
        possible = [
            offset + 1 for offset in self.finished if all(done for one, done in self.finished.items() if one <= offset)
        ]
        expected = max(possible, default=None)
        assert self.tracker.to_commit() == (None if expected == self.committed else expected)

    @invariant()
    def what_is_under_way_is_the_models(self) -> None:
        under_way = [offset for offset, done in self.finished.items() if not done]
        assert self.tracker.in_flight == len(under_way)
        assert self.tracker.first_incomplete == min(under_way, default=None)


Tracking.TestCase.settings = settings(max_examples=examples(60), stateful_step_count=40, deadline=None)
TestTracking = Tracking.TestCase


@given(offsets=st.sets(st.integers(0, 50), min_size=1), data=st.data())
@settings(max_examples=examples(150), deadline=None)
def test_any_order_of_completion_commits_everything(offsets: set[int], data: st.DataObject) -> None:
    """On the way the offset to commit only grows, and never passes a record that is not done."""
    tracker = OffsetTracker()
    for offset in sorted(offsets):
        tracker.start(offset)
    left = set(offsets)
    before = 0
    for offset in data.draw(st.permutations(sorted(offsets))):
        tracker.complete(offset)
        left.remove(offset)
        commit = tracker.to_commit() or 0
        assert before <= commit <= min(left, default=commit)
        before = commit
    assert tracker.to_commit() == max(offsets) + 1


def test_unread_partition_has_nothing_to_commit() -> None:
    """An assignment may end before its first record."""
    tracker = OffsetTracker()
    assert (tracker.to_commit(), tracker.in_flight, tracker.first_incomplete) == (None, 0, None)


@pytest.mark.parametrize("offset", [-1, -7])
def test_negative_offset_is_refused(offset: int) -> None:
    """Kafka's special offsets are negative; none of them is a record's."""
    with pytest.raises(ValueError, match="does not ascend"):
        OffsetTracker().start(offset)


def test_late_commit_keeps_later_completions() -> None:
    """Committing takes time, and records finish meanwhile."""
    tracker = OffsetTracker()
    for offset in (5, 6):
        tracker.start(offset)
    tracker.complete(5)
    offset_to_commit = tracker.to_commit()
    assert offset_to_commit == 6
    tracker.complete(6)
    tracker.committed(offset_to_commit)
    assert tracker.to_commit() == 7
