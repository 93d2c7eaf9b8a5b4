"""A scope names records, or is refused; pinned, it never reaches behind what the group has committed."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.record import Record
from schemas.types import EventType
from tests.unit.rules.release_scenario import message, release_id
from worker.ports import Partition
from worker.replay.reading import bounds as read_bounds
from worker.replay.scope import (
    Bounds,
    Filters,
    OffsetRange,
    Scope,
    filters_from,
    offsets_from,
    pinned,
    time_from,
)
from worker.rules.errors import ConfigurationError

NOW = datetime(2026, 11, 27, 23, 0, tzinfo=UTC)
P0, P1 = Partition("events", 0), Partition("events", 1)


def bounds(**given: Any) -> Bounds:
    values: dict[str, Any] = {"begins": {P0: 0, P1: 0}, "ends": {P0: 100, P1: 50}, "committed": {P0: 100, P1: 50}}
    return Bounds(**{**values, "begin_at": {}, "end_at": {}, **given})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("events/0@3-9", OffsetRange(partition=P0, first=3, last=9)),
        ("events/0@3-", OffsetRange(partition=P0, first=3, last=None)),
        ("events/1@3", OffsetRange(partition=P1, first=3, last=3)),
    ],
)
def test_offsets_are_read_inclusively(text: str, expected: OffsetRange) -> None:
    assert offsets_from(text) == expected


@pytest.mark.parametrize(
    "text", ["", "events", "events/0", "events/x@1-2", "events/0@9-3", "events/0@-3", "ev nts/0@1"]
)
def test_other_offsets_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--offsets"):
        offsets_from(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-27T22:00:00Z", 3600),
        ("2026-11-27T23:00:00+01:00", 3600),
        ("1h", 3600),
        ("90s", 90),
        ("15m", 900),
        ("3d", 259_200),
    ],
)
def test_time_is_absolute_with_a_zone_or_relative(text: str, seconds: int) -> None:
    assert time_from(text, option="--from", now=NOW) == NOW.timestamp() * 1000 - seconds * 1000


@pytest.mark.parametrize(
    ("text", "problem"),
    [("2026-11-27T22:00:00", "has no time zone"), ("yesterday", "write a time"), ("2w", "write a time"), ("", "write")],
)
def test_ambiguous_time_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=f"--from.*{problem}"):
        time_from(text, option="--from", now=NOW)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "name what to replay"),
        ({"everything": True, "topics": ("events",)}, "--all replays everything"),
        ({"offsets": (offsets_from("events/0@1-2"),), "topics": ("events",)}, "--offsets cannot be combined"),
        ({"offsets": (offsets_from("events/0@1-2"), offsets_from("events/0@7"))}, "events/0 twice"),
        ({"begin_ms": 5, "end_ms": 5}, "--from is not before --to"),
    ],
)
def test_empty_or_contradictory_scope_is_refused(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        Scope(**given)


def test_uncommitted_records_are_left_out() -> None:
    found = pinned(Scope(everything=True), bounds(committed={P0: 40}), input_topics=["events"])
    assert found.ranges == {P0: range(40)}
    assert found.uncommitted == 60 + 50


def test_topic_that_is_no_input_topic_is_read_to_its_end() -> None:
    found = pinned(Scope(topics=("events",)), bounds(committed={}), input_topics=["others"])
    assert found.ranges == {P0: range(100), P1: range(50)}


def test_times_are_pinned_as_offsets() -> None:
    scope = Scope(begin_ms=1, end_ms=2)
    limits = bounds(begin_at={P0: 10, P1: 50}, end_at={P0: 30, P1: 50})
    assert pinned(scope, limits, input_topics=["events"]).ranges == {P0: range(10, 30)}


class GrowingTopic:
    """Its second partition is added when the ends have been read."""

    def __init__(self) -> None:
        self.partitions = [P0]

    async def ends(self, topics: Sequence[str]) -> dict[Partition, int]:
        self.partitions, listed = [P0, P1], self.partitions
        return dict.fromkeys(listed, 9)

    async def begins(self, topics: Sequence[str]) -> dict[Partition, int]:
        return dict.fromkeys(self.partitions, 0)

    async def committed(self, topics: Sequence[str]) -> dict[Partition, int]:
        return dict.fromkeys(self.partitions, 9)

    async def offsets_at(self, topics: Sequence[str], timestamp_ms: int) -> dict[Partition, int]:
        return dict.fromkeys(self.partitions, timestamp_ms)

    async def cluster_id(self) -> str:
        return "cluster"

    def records_by_time(self, ranges: Mapping[Partition, range]) -> AsyncIterator[Record]:
        raise AssertionError(f"{ranges} are read for the bounds")


@pytest.mark.parametrize("scope", [Scope(everything=True), Scope(begin_ms=3, end_ms=7)])
async def test_partition_that_is_added_meanwhile_is_left_out(scope: Scope) -> None:
    found = pinned(scope, await read_bounds(scope, GrowingTopic(), input_topics=["events"]), input_topics=["events"])
    assert set(found.ranges) == {P0}


def test_deleted_offsets_are_counted() -> None:
    scope = Scope(offsets=(offsets_from("events/0@5-25"),))
    found = pinned(scope, bounds(begins={P0: 20, P1: 0}), input_topics=["events"])
    assert (found.ranges, found.expired) == ({P0: range(20, 26)}, 15)


@pytest.mark.parametrize(
    ("scope", "given", "problem"),
    [
        (Scope(topics=("other",)), {}, "topic other does not exist"),
        (Scope(offsets=(offsets_from("events/7@1"),)), {}, "has no partition 7"),
        (Scope(everything=True), {"committed": {}}, "has not committed the 150 records"),
        (Scope(offsets=(offsets_from("events/0@1-5"),)), {"begins": {P0: 50, P1: 0}}, "deleted by retention"),
        (Scope(offsets=(offsets_from("events/0@200-"),)), {}, "no records in the scope"),
    ],
)
def test_scope_without_records_is_refused(scope: Scope, given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        pinned(scope, bounds(**given), input_topics=["events"])


@given(
    begin=st.integers(0, 30),
    end=st.integers(0, 60),
    committed=st.integers(0, 90),
    first=st.integers(0, 90),
    last=st.none() | st.integers(0, 90),
)
def test_pinned_ranges_are_existing_and_committed(
    begin: int, end: int, committed: int, first: int, last: int | None
) -> None:
    scope = Scope(offsets=(OffsetRange(partition=P0, first=first, last=last),))
    limits = bounds(begins={P0: begin}, ends={P0: begin + end}, committed={P0: committed})
    wanted = {
        offset
        for offset in range(first, begin + end if last is None else last + 1)
        if begin <= offset < min(begin + end, committed)
    }
    try:
        found = pinned(scope, limits, input_topics=["events"]).ranges
    except ConfigurationError:
        found = {}
    assert set(found.get(P0, ())) == wanted


@pytest.mark.parametrize(
    ("filters", "matches"),
    [
        (Filters(), True),
        (Filters(releases=frozenset({release_id(1)})), True),
        (Filters(releases=frozenset({release_id(2)})), False),
        (Filters(types=frozenset({str(EventType.DEPLOYMENT_STARTED)}), environments=frozenset({"prod"})), True),
        (Filters(environments=frozenset({"test"})), False),
        (Filters(sources=frozenset({"/other"})), False),
        (Filters(event_ids=frozenset({"none", "other"})), False),
    ],
)
def test_filters_match_all_of_their_parts(filters: Filters, matches: bool) -> None:
    one = message(EventType.DEPLOYMENT_STARTED, environment_id="prod")
    assert filters.match(one) == matches
    assert Filters.from_json(filters.as_json()) == filters


def test_filters_of_unknown_values_are_refused() -> None:
    values: dict[str, Any] = {"releases": (), "environments": (), "types": (), "sources": (), "event_ids": ()}
    assert filters_from(**{**values, "types": ("deployment.started",)}).types == {str(EventType.DEPLOYMENT_STARTED)}
    with pytest.raises(ConfigurationError, match="--release x is no release id"):
        filters_from(**{**values, "releases": ("x",)})
    with pytest.raises(ConfigurationError, match="is no event type; write one of"):
        filters_from(**{**values, "types": ("deployment.startet",)})
