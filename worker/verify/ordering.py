"""The order in which a release's records took effect, where they came through several partitions.

Within a partition the offsets give it. Between two partitions only the activity log does: the order is one in which the
rules result in the same activities, event by event. A depth-first search looks for it within a bound. Where it finds
none, the records' timestamps decide, and what then differs is reported.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from worker.release_simulation import ReleaseSimulation
from worker.rules.state import Applied, Stale
from worker.verify.comparison import Comparison, Recorded, Result, compare_record
from worker.verify.history import InputRecord

_BRANCHES_MAX = 64
"""Choices that can be reverted: the latest; earlier ones are final."""

_STEPS_PER_RECORD = 20

Queue = Sequence[InputRecord]


@dataclass(frozen=True, slots=True)
class _Branch:
    """A choice that the search may revert."""

    heads: tuple[int, ...]
    expected_rows: ReleaseSimulation
    taken: int
    rest: list[tuple[int, Comparison]]


def in_order(recorded: Recorded) -> Sequence[InputRecord]:
    """The history's records, in an order that explains the activity log, if there is one."""
    inputs = recorded.history.inputs
    queues: dict[tuple[str, int], list[InputRecord]] = defaultdict(list)
    for one in inputs:
        queues[one.position[:2]].append(one)
    if len(queues) <= 1:
        return inputs
    return _search(list(queues.values()), recorded) or _by_time(list(queues.values()))


def _search(queues: list[Queue], recorded: Recorded) -> list[InputRecord] | None:
    heads, expected_rows, path = [0] * len(queues), ReleaseSimulation(recorded.initial_rejections), list[InputRecord]()
    branches: deque[_Branch] = deque(maxlen=_BRANCHES_MAX)
    length = sum(map(len, queues))
    for _ in range(length * _STEPS_PER_RECORD):
        choices = _choices(queues, heads, expected_rows, recorded)
        if not choices:
            if not branches:
                return None
            branch = branches.pop()
            heads, expected_rows, choices = list(branch.heads), branch.expected_rows, branch.rest
            del path[branch.taken :]
        (number, comparison), *rest = choices
        if rest:
            branches.append(_Branch(tuple(heads), expected_rows.copy(), len(path), rest))
        one = queues[number][heads[number]]
        if comparison.outcome is not None:
            expected_rows.write(comparison.outcome, one.id)
        path.append(one)
        heads[number] += 1
        if len(path) == length:
            return path
    return None


def _choices(
    queues: list[Queue], heads: list[int], expected_rows: ReleaseSimulation, recorded: Recorded
) -> list[tuple[int, Comparison]]:
    """The queues whose next record fits, best first. One queue alone where its record changes nothing, so that its
    place in the order does not matter.
    """
    found = []
    for number in sorted(range(len(queues)), key=lambda number: _time(queues[number], heads[number])):
        if heads[number] < len(queues[number]):
            comparison = compare_record(queues[number][heads[number]], expected_rows, recorded)
            if comparison.result is Result.MATCHES and not isinstance(comparison.outcome, Applied | Stale):
                return [(number, comparison)]
            if comparison.result is not Result.DIFFERS:
                found.append((number, comparison))
    return sorted(found, key=lambda choice: choice[1].result)


def _time(queue: Queue, head: int) -> int:
    return queue[head].message.record.timestamp_ms if head < len(queue) else 0


def _by_time(queues: list[Queue]) -> list[InputRecord]:
    heads, path = [0] * len(queues), list[InputRecord]()
    while open_queues := [number for number, queue in enumerate(queues) if heads[number] < len(queue)]:
        number = min(open_queues, key=lambda number: _time(queues[number], heads[number]))
        path.append(queues[number][heads[number]])
        heads[number] += 1
    return path
