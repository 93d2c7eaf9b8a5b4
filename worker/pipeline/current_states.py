"""Publish environments' current states from the stored rows, in an order that no worker can break.

Workers may publish meanwhile. Whatever is published here is compared with the database afterwards: a state that is
still that of the database precedes every later one in the topic.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol
from uuid import UUID

from worker.ports import OutgoingRecord, Publisher
from worker.stored_rows import ReleaseRows

_ROUNDS_MAX = 20
"""How often a state is published that changes each time."""


class StoredReleases(Protocol):
    async def rows_of(self, release_ids: Sequence[UUID]) -> Sequence[ReleaseRows]:
        """The rows of these releases; none for a release that does not exist.

        Raises:
            Unavailable, ConfigurationError: the database does not answer, or refuses the login.
        """
        ...


async def publish_until_current(
    read: Callable[[], Awaitable[Mapping[str, Sequence[OutgoingRecord]]]], publisher: Publisher
) -> int | None:
    """Publish what `read` returns by key, and again what has changed meanwhile; the number of keys. None: a state
    changed during every attempt.

    Raises:
        Unavailable: the broker does not answer, or what `read` raises.
    """
    sent: dict[str, Sequence[OutgoingRecord]] = {}
    for _ in range(_ROUNDS_MAX):
        records = await read()
        changed = [record for key, some in records.items() if sent.get(key) != some for record in some]
        if not changed:
            return len(sent)
        await publisher.publish(changed)
        sent |= records
    return None
