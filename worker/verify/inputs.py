"""What verifying asks of the edges: topics and tables to read. Neither is ever written to, and no group is joined."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from schemas.record import Record
from worker.ports import Partition
from worker.rules.rows import Rejection
from worker.stored_rows import Pointing, ReleaseRows


class TopicReader(Protocol):
    """Raises, everywhere: Unavailable: no broker answers. ConfigurationError: a topic or the group may not be read."""

    async def committed(self, topics: Sequence[str]) -> Mapping[Partition, int]:
        """What the group has committed: the next offset of each partition of which it has any."""
        ...

    async def begins(self, topics: Sequence[str]) -> Mapping[Partition, int]:
        """The first offset of each partition; a topic that is not there has none."""
        ...

    async def ends(self, topics: Sequence[str]) -> Mapping[Partition, int]:
        """The offset after the last record of each partition that no open transaction holds back."""
        ...

    def records(self, ends: Mapping[Partition, int]) -> AsyncIterator[Record]:
        """What the partitions hold from their beginning to these offsets, each in order."""
        ...


class TableReader(Protocol):
    """Raises, everywhere: Unavailable: the database does not answer."""

    def releases(self) -> AsyncIterator[ReleaseRows]:
        """Every release, one by one, each as it was at one moment."""
        ...

    def rejections(self) -> AsyncIterator[Rejection]: ...

    def pointings(self) -> AsyncIterator[Pointing]:
        """The rows of `app_environments`; none where the worker leaves the table alone."""
        ...
