"""The budget is never exceeded, one key never has all of it, and everything is given back once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.gateway.problems import Kind, Refusal
from worker.gateway.request_budget import RequestBudget
from worker.telemetry import Metrics


def budget(*, records: int = 10, size: int = 1_000) -> RequestBudget:
    return RequestBudget(records_max=records, bytes_max=size, metrics=Metrics())


def test_bytes_beyond_the_budget_are_refused() -> None:
    full = budget(size=10)
    first, second = full.usage(), full.usage()
    first.add_bytes(6)
    second.add_bytes(4)
    with pytest.raises(Refusal) as refused:
        second.add_bytes(1)
    assert refused.value.kind is Kind.TOO_MANY_REQUESTS
    first.release()
    second.add_bytes(6)


def test_one_key_has_at_most_half() -> None:
    half = budget(records=10)
    usages = [half.usage() for _ in range(11)]
    for usage in usages[:5]:
        usage.add_records(1, key="flood")
    with pytest.raises(Refusal, match="this key"):
        usages[5].add_records(1, key="flood")
    with pytest.raises(Refusal, match="this key"):
        half.require_free("flood")
    half.require_free("other")
    for usage in usages[5:10]:
        usage.add_records(1, key=f"other {usages.index(usage) % 2}")
    with pytest.raises(Refusal, match="the gateway"):
        usages[10].add_records(1, key="third")
    with pytest.raises(Refusal, match="the gateway"):
        half.require_free("third")
    usages[0].release()
    usages[10].add_records(1, key="third")


def test_half_of_the_bytes_is_for_one_key() -> None:
    half = budget(size=100)
    first, second = half.usage(), half.usage()
    first.add_bytes(50)
    first.add_records(1, key="flood")
    second.add_bytes(1)
    with pytest.raises(Refusal, match="this key"):
        second.add_records(1, key="flood")
    second.add_records(1, key="other")


def test_first_request_of_a_key_may_be_larger_than_half() -> None:
    """A batch or a body as large as the limits allow is accepted when nothing else is in progress."""
    large = budget(records=10, size=100).usage()
    large.add_bytes(100)
    large.add_records(11, key="batch")


def test_usage_lasts_until_its_last_holder_releases_it() -> None:
    whole = budget(size=10)
    usage = whole.usage()
    usage.add_bytes(10)
    usage.hold()
    usage.release()
    with pytest.raises(Refusal):
        whole.usage().add_bytes(1)
    usage.release()
    whole.usage().add_bytes(10)


@given(
    requests=st.lists(
        st.tuples(st.integers(0, 60), st.integers(0, 6), st.sampled_from("abc"), st.booleans()), max_size=60
    )
)
def test_budget_is_never_exceeded(requests: list[tuple[int, int, str, bool]]) -> None:
    whole = budget(records=10, size=100)
    held = []
    for size, records, key, release in requests:
        usage = whole.usage()
        try:
            usage.add_bytes(size)
            usage.add_records(records, key=key)
        except Refusal:
            usage.release()
        else:
            held.append(usage)
        assert 0 <= whole._records <= 10
        assert 0 <= whole._bytes <= 100
        if release and held:
            held.pop(0).release()
    for usage in held:
        usage.release()
    assert (whole._records, whole._bytes) == (0, 0)
    assert not whole._records_of_key
    assert not whole._bytes_of_key
