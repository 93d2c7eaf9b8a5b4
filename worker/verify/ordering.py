"""In which order a release's records had their effect, where they came by several partitions.

Within a partition offsets tell. Between two nothing does but the log: the order is one in which the rules give, event
for event, what the log holds. It is searched for depth first, with a bound; where none is found, the records' times
have to do, and what then does not fit is reported.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from worker.rules.state import Applied, Stale
from worker.verify.deciding import Fit, Recorded, Verdict, decider
from worker.verify.history import Input
from worker.verify.ledger import Ledger

_BRANCHES_MAX = 64
"""How many choices are remembered, the latest; older ones stand."""

_TRIES_A_RECORD = 20

Queue = Sequence[Input]


@dataclass(frozen=True, slots=True)
class _Branch:
    """Where the search may go on differently."""

    heads: tuple[int, ...]
    ledger: Ledger
    taken: int
    rest: list[tuple[int, Verdict]]


def in_order(recorded: Recorded) -> Sequence[Input]:
    """The history's records, in an order that explains the log, if there is one."""
    inputs = recorded.history.inputs
    queues: dict[tuple[str, int], list[Input]] = defaultdict(list)
    for one in inputs:
        queues[one.place[:2]].append(one)
    if len(queues) <= 1:
        return inputs
    return _search(list(queues.values()), recorded) or _by_time(list(queues.values()))


def _search(queues: list[Queue], recorded: Recorded) -> list[Input] | None:
    heads, ledger, path = [0] * len(queues), Ledger(recorded.remembered), list[Input]()
    branches: deque[_Branch] = deque(maxlen=_BRANCHES_MAX)
    length = sum(map(len, queues))
    for _ in range(length * _TRIES_A_RECORD):
        choices = _choices(queues, heads, ledger, recorded)
        if not choices:
            if not branches:
                return None
            branch = branches.pop()
            heads, ledger, choices = list(branch.heads), branch.ledger, branch.rest
            del path[branch.taken :]
        (number, verdict), *rest = choices
        if rest:
            branches.append(_Branch(tuple(heads), ledger.copy(), len(path), rest))
        one = queues[number][heads[number]]
        if verdict.outcome is not None:
            ledger.write(verdict.outcome, one.id)
        path.append(one)
        heads[number] += 1
        if len(path) == length:
            return path
    return None


def _choices(queues: list[Queue], heads: list[int], ledger: Ledger, recorded: Recorded) -> list[tuple[int, Verdict]]:
    """The queues whose next record fits, best first; only one where it changes nothing, so that it cannot matter."""
    found = []
    for number in sorted(range(len(queues)), key=lambda number: _time(queues[number], heads[number])):
        if heads[number] < len(queues[number]):
            verdict = decider(queues[number][heads[number]], ledger, recorded)
            if verdict.fit is Fit.MATCH and not isinstance(verdict.outcome, Applied | Stale):
                return [(number, verdict)]
            if verdict.fit is not Fit.MISFIT:
                found.append((number, verdict))
    return sorted(found, key=lambda choice: choice[1].fit)


def _time(queue: Queue, head: int) -> int:
    return queue[head].message.record.timestamp_ms if head < len(queue) else 0


def _by_time(queues: list[Queue]) -> list[Input]:
    heads, path = [0] * len(queues), list[Input]()
    while open_queues := [number for number, queue in enumerate(queues) if heads[number] < len(queue)]:
        number = min(open_queues, key=lambda number: _time(queues[number], heads[number]))
        path.append(queues[number][heads[number]])
        heads[number] += 1
    return path
