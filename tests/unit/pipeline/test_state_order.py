"""Only releases whose states no offset commit has confirmed are repaired: by themselves, and in a consumer."""

from uuid import UUID, uuid5

import pytest

from tests.unit.pipeline.scripted import NAMESPACE, created
from tests.unit.pipeline.test_consumer import P0, P1, Harness, until
from worker.pipeline.state_order import StateOrder
from worker.ports import PartitionsLost
from worker.rules.errors import Unavailable

A, B, C = (UUID(int=number) for number in range(1, 4))


def to_repair(order: StateOrder) -> set[UUID]:
    """All of them; they stay."""
    taken = order.take(1_000)
    for release_id in taken:
        order.published_late(release_id)
    assert len(taken) == order.to_repair
    return set(taken)


def test_state_before_a_commit_is_in_order() -> None:
    order = StateOrder()
    order.published(A)
    with order.commit():
        pass
    order.release()
    assert to_repair(order) == set()
    assert not order.added.is_set()


def test_state_during_a_commit_is_not_confirmed_by_it() -> None:
    """The group may have assigned the partition to another member after the commit and before the publication."""
    order = StateOrder()
    order.published(A)
    with order.commit():
        order.published(B)
    order.release()
    assert to_repair(order) == {B}
    assert order.added.is_set()


def test_failed_commit_confirms_nothing() -> None:
    order = StateOrder()
    order.published(A)
    with pytest.raises(PartitionsLost):
        _fail(order, meanwhile=B)
    order.published(C)
    order.release()
    assert to_repair(order) == {A, B, C}


def test_commit_after_a_failed_one_confirms_all() -> None:
    order = StateOrder()
    order.published(A)
    with pytest.raises(Unavailable), order.commit():
        raise Unavailable
    with order.commit():
        pass
    order.release()
    assert to_repair(order) == set()


def test_later_commit_does_not_confirm_a_late_state() -> None:
    """It may be of the next assignment."""
    order = StateOrder()
    order.published_late(A)
    with order.commit():
        pass
    assert to_repair(order) == {A}


def test_oldest_releases_are_taken_first() -> None:
    order = StateOrder()
    for release_id in (C, A, B, A):
        order.published_late(release_id)
    assert order.take(2) == [C, A]
    assert (order.take(2), order.take(2)) == ([B], [])


def test_releases_over_the_bound_are_counted() -> None:
    order = StateOrder(releases_max=2)
    for number in range(10):
        order.published(UUID(int=number))
        order.published(UUID(int=0))
    order.release()
    assert (order.to_repair, order.take_left_out(), order.take_left_out()) == (2, 8, 0)
    order.published_late(C)
    assert (order.to_repair, order.take_left_out()) == (2, 1)


def test_confirmed_releases_over_the_bound_are_not_counted() -> None:
    order = StateOrder(releases_max=1)
    order.published(A)
    order.published(B)
    with pytest.raises(Unavailable), order.commit():
        raise Unavailable
    with order.commit():
        pass
    order.release()
    assert order.take_left_out() == 0
    assert not order.added.is_set()


def _fail(order: StateOrder, *, meanwhile: UUID) -> None:
    with order.commit():
        order.published(meanwhile)
        raise PartitionsLost


def release_of(name: str) -> UUID:
    return uuid5(NAMESPACE, name)


async def test_drained_and_committed_partitions_need_no_repair() -> None:
    order = StateOrder()
    harness = Harness(created("a", offset=0), created("b", offset=0, partition=1), state_order=order)
    harness.publisher.acknowledging.clear()
    async with harness.running():
        await until(lambda: len(harness.store.written) == 2)
        harness.publisher.acknowledging.set()
        await harness.revoke(P0, P1)
        assert harness.source.committed == {P0: 1, P1: 1}
    assert to_repair(order) == set()


async def test_refused_last_commit_is_repaired() -> None:
    order = StateOrder()
    harness = Harness(created("a", offset=0), state_order=order)
    harness.source.commit_faults.extend([PartitionsLost("rebalanced")] * 1_000)
    async with harness.running():
        await until(lambda: len(harness.publisher.published) == 1)
        await harness.revoke(P0, P1)
        assert to_repair(order) == {release_of("a")}
        harness.source.commit_faults.clear()
    assert to_repair(order) == {release_of("a")}


async def test_message_behind_an_incomplete_one_is_repaired() -> None:
    """Its offset cannot be committed, so no commit confirms that it was in order."""
    order = StateOrder()
    harness = Harness(created("slow", offset=0), created("fast", offset=1), state_order=order)
    harness.store.faults.extend([Unavailable("down"), None] + [Unavailable("down")] * 100_000)
    async with harness.running():
        await until(lambda: len(harness.publisher.published) == 1)
        await harness.revoke(P0, P1)
        assert to_repair(order) == {release_of("fast")}


async def test_publication_after_the_release_is_repaired() -> None:
    """Also if its partition is this member's again by then."""
    order = StateOrder()
    harness = Harness(created("a", offset=0), drain_timeout_seconds=0.0, state_order=order)
    harness.publisher.acknowledging.clear()
    async with harness.running():
        await until(lambda: bool(harness.store.written))
        await harness.revoke(P0, P1)
        assert to_repair(order) == set()
        assert harness.source.on_assigned is not None
        await harness.source.on_assigned([P0, P1])
        harness.publisher.acknowledging.set()
        await until(lambda: order.to_repair == 1)
    assert to_repair(order) == {release_of("a")}


async def test_publication_given_up_after_an_attempt_is_repaired() -> None:
    """Its records may have been written, although they were not acknowledged."""
    order = StateOrder()
    harness = Harness(created("a", offset=0), created("b", offset=0, partition=1), state_order=order)
    harness.publisher.faults.append(Unavailable("not acknowledged"))
    harness.publisher.down = Unavailable("down")
    async with harness.running():
        await until(lambda: harness.monitors.broker.in_outage)
        await harness.revoke(P0, P1)
        await until(lambda: order.to_repair > 0)
    assert order.to_repair == 1


async def test_message_that_was_not_published_needs_no_repair() -> None:
    order = StateOrder()
    harness = Harness(created("a", offset=0), state_order=order)
    harness.store.faults.extend([Unavailable("down")] * 100_000)
    async with harness.running():
        await until(lambda: harness.store.begun > 1)
        await harness.revoke(P0, P1)
    assert to_repair(order) == set()


async def test_publication_cancelled_by_a_stop_is_repaired() -> None:
    order = StateOrder()
    harness = Harness(created("a", offset=0), drain_timeout_seconds=0.0, state_order=order)
    harness.publisher.acknowledging.clear()
    async with harness.running():
        await until(lambda: bool(harness.store.written))
    assert harness.publisher.published == []
    assert to_repair(order) == {release_of("a")}


async def test_stop_waits_for_publications_of_released_partitions() -> None:
    order = StateOrder()
    harness = Harness(created("a", offset=0), state_order=order)
    harness.publisher.acknowledging.clear()
    object.__setattr__(harness.consumer._bounds, "drain_timeout_seconds", 0.0)
    async with harness.running():
        await until(lambda: bool(harness.store.written))
        await harness.revoke(P0, P1)
        object.__setattr__(harness.consumer._bounds, "drain_timeout_seconds", 60.0)
        harness.stop.set()
        await until(lambda: harness.consumer.beat_seconds is None)
        harness.publisher.acknowledging.set()
    assert len(harness.publisher.published) == 1
    assert to_repair(order) == {release_of("a")}
