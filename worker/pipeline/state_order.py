"""Which releases' states may have been published after later ones (docs/contract.md#state-topic).

A worker that loses a partition between a transaction and its publication publishes the state after its successor has
published later ones. It cannot notice that by itself: the broker acknowledges both. But a successful offset commit
shows that the group had assigned the partition to no other member yet, so all that was acknowledged before the commit
began precedes whatever a successor publishes. What no commit has confirmed when a partition is released has to be
repaired: the current states are published again.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

_RELEASES_MAX = 10_000
"""About 2 MB."""


class StateOrder:
    """Of one worker. `releases_max`: of those that are not confirmed, and of those to repair; others are only counted.

    It keeps releases rather than partitions: the group assigns and revokes all partitions of a member together.
    """

    def __init__(self, *, releases_max: int = _RELEASES_MAX) -> None:
        self._releases_max = releases_max
        self._unconfirmed: set[UUID] = set()
        self._to_repair: dict[UUID, None] = {}
        self._uncounted = 0  # releases beyond the bound, of those that are not confirmed
        self._left_out = 0
        self.added = asyncio.Event()
        """Set when releases are to be repaired, or were left out."""

    @property
    def to_repair(self) -> int:
        """The number of releases whose current states must be published again."""
        return len(self._to_repair)

    def published(self, release_id: UUID) -> None:
        """A message of the release is completed, in a partition that is assigned to this worker."""
        if len(self._unconfirmed) < self._releases_max:
            self._unconfirmed.add(release_id)
        elif release_id not in self._unconfirmed:
            self._uncounted += 1

    def published_late(self, release_id: UUID) -> None:
        """A message of the release was published, or may have been, after its partition was released."""
        if release_id not in self._to_repair and len(self._to_repair) >= self._releases_max:
            self._left_out += 1
        else:
            self._to_repair[release_id] = None
        self.added.set()

    @contextmanager
    def commit(self) -> Iterator[None]:
        """Around an offset commit. What was published before is confirmed, unless the commit raises."""
        confirmed, self._unconfirmed = self._unconfirmed, set()
        uncounted, self._uncounted = self._uncounted, 0
        try:
            yield
        except BaseException:
            self._unconfirmed |= confirmed
            self._uncounted += uncounted
            raise

    def release(self) -> None:
        """Partitions are released: what no commit has confirmed by now never will be."""
        unconfirmed, self._unconfirmed = self._unconfirmed, set()
        for release_id in unconfirmed:
            self.published_late(release_id)
        self._left_out += self._uncounted
        self._uncounted = 0
        if self._left_out:
            self.added.set()

    def take(self, releases_max: int) -> Sequence[UUID]:
        """Releases to repair, the oldest first; no longer among `to_repair`."""
        taken = [release_id for release_id, _ in zip(self._to_repair, range(releases_max), strict=False)]
        for release_id in taken:
            del self._to_repair[release_id]
        return taken

    def take_left_out(self) -> int:
        """The number of releases that were left out since the last call."""
        left_out, self._left_out = self._left_out, 0
        return left_out
