"""What is read of many releases at once is asked in few forms: a database keeps a plan for each."""

from uuid import UUID

from worker.db.table_reader import _IDS_MAX, _padded


def test_releases_are_selected_with_few_parameter_counts() -> None:
    ids = [UUID(int=number) for number in range(_IDS_MAX)]
    padded = [_padded(ids[:count]) for count in range(1, _IDS_MAX + 1)]
    assert {len(some) for some in padded} == {1, 20, 200}
    assert all(set(some) == set(ids[:count]) for count, some in enumerate(padded, 1))
