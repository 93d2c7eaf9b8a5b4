"""Whether the workers of the consumer group can decide what a redrive sends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.ports import Partition


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersState:
    """Of the consumer group. `lag`: records that it has not committed, over all input topics."""

    members: int
    lag: int
    breaker_open: bool

    def problem(self, *, max_lag: int) -> str | None:
        """Why nothing must be sent now; None: there is no reason."""
        if self.breaker_open:
            return "the group's breaker is open; find the cause, then run `rudder-worker breaker close --note TEXT`"
        if not self.members:
            return "the consumer group has no member, so nothing would be decided; start a worker"
        if self.lag > max_lag:
            return f"the group's lag is {self.lag:,} records, more than {max_lag:,} (--max-lag)"
        return None


class Group(Protocol):
    """The consumer group at the broker. Every method raises Unavailable where no broker answers."""

    async def members(self) -> int: ...

    async def begins(self, topics: Sequence[str]) -> Mapping[Partition, int]: ...

    async def ends(self, topics: Sequence[str]) -> Mapping[Partition, int]: ...

    async def committed(self, topics: Sequence[str]) -> Mapping[Partition, int]: ...


class Breakers(Protocol):
    async def current(self, group_id: str) -> object | None:
        """The open breaker of the group; None: it is closed. Raises Unavailable where the database does not answer."""
        ...


class GroupWorkers:
    """`worker.dead_letters.redrive.Workers` of one group."""

    def __init__(self, group: Group, breakers: Breakers, *, group_id: str, topics: Sequence[str]) -> None:
        self._group = group
        self._breakers = breakers
        self._group_id = group_id
        self._topics = topics

    async def state(self) -> WorkersState:
        committed = await self._group.committed(self._topics)
        begins = await self._group.begins(self._topics)
        ends = await self._group.ends(self._topics)
        lag = sum(max(0, end - committed.get(at, begins.get(at, 0))) for at, end in ends.items())
        return WorkersState(
            members=await self._group.members(),
            lag=lag,
            breaker_open=await self._breakers.current(self._group_id) is not None,
        )
