"""Fingerprints, and groups by them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from worker.dead_letters import grouping
from worker.dead_letters.grouping import GroupBy, fingerprint, grouped
from worker.stored_dead_letters import Filters, Group, Summary

MOMENT = datetime(2026, 3, 17, 9, 30, tzinfo=UTC)
TEMPLATE = "release {} has attempt {}, commit {}: /data/list/{}/x"


@given(st.text(), st.text())
def test_fingerprint_of_a_fingerprint_is_the_same(reason: str, detail: str) -> None:
    once = fingerprint(reason, detail)
    assert fingerprint(reason, once.removeprefix(f"{reason}: ")) == once


@given(
    st.tuples(st.uuids(), st.integers(0), st.integers(2**28, 2**64), st.integers(0, 99)),
    st.tuples(st.uuids(), st.integers(0), st.integers(2**28, 2**64), st.integers(0, 99)),
)
def test_ids_and_numbers_make_no_difference(
    first: tuple[UUID, int, int, int], second: tuple[UUID, int, int, int]
) -> None:
    """Of a UUID in either case, a commit's hash, a number, an index."""
    (one, *ones), (other, *others) = first, second
    ones[1], others[1] = (f"{hash_:x}a1"[-9:] for hash_ in (ones[1], others[1]))  # type: ignore[call-overload]
    texts = TEMPLATE.format(one, *ones), TEMPLATE.format(str(other).upper(), *others)
    assert len({fingerprint("attempt_gap", text) for text in texts}) == 1


def test_words_make_a_difference() -> None:
    assert fingerprint("a", "the release 7 exists") != fingerprint("a", "the release 7 is gone")
    assert fingerprint("a", "7") != fingerprint("b", "7")


class Letters:
    def __init__(self, summaries: Sequence[Summary]) -> None:
        self._summaries = summaries

    async def groups(self, filters: Filters, column: str, limit: int) -> Sequence[Group]:
        del filters, limit
        return [Group(value=column, count=1, first=MOMENT, last=MOMENT, releases=1)]

    async def summaries(self, filters: Filters, limit: int) -> Sequence[Summary]:
        del filters
        return self._summaries[:limit]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.integers(0, 3), st.integers(0, 99))))
async def test_groups_count_all_dead_letters(rows: list[tuple[str, int, int, int]]) -> None:
    """Each once; first, last and releases of each group."""
    summaries = [
        Summary(
            reason, f"attempt {number}", MOMENT + timedelta(minutes=minutes), UUID(int=release) if release else None
        )
        for reason, number, release, minutes in rows
    ]
    found = await grouped(Letters(summaries), Filters(), GroupBy.FINGERPRINT)
    assert not found.capped
    assert sum(group.count for group in found.groups) == len(rows)
    for group in found.groups:
        own = [row for row in rows if group.value == f"{row[0]}: attempt #"]
        assert group.count == len(own)
        assert group.releases == len({release for _, _, release, _ in own if release})
        assert group.first == MOMENT + timedelta(minutes=min(row[3] for row in own))
        assert group.last == MOMENT + timedelta(minutes=max(row[3] for row in own))


async def test_groups_are_of_the_newest_if_there_are_more() -> None:
    """As many as can be fingerprinted, and it is reported."""
    summaries = [Summary("a", str(number), MOMENT, None) for number in range(grouping.FINGERPRINTED_MAX + 1)]
    found = await grouped(Letters(summaries), Filters(), GroupBy.FINGERPRINT)
    assert found.capped
    assert [group.count for group in found.groups] == [grouping.FINGERPRINTED_MAX]
    by_reason = await grouped(Letters([]), Filters(), GroupBy.REASON)
    assert [group.value for group in by_reason.groups] == ["reason"]
