"""The dead letters that a command is about: read by filters, or by ids, and then pinned."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from worker.pages import CappedCount, PageKey
from worker.rules.errors import ConfigurationError
from worker.stored_dead_letters import DeadLetter, Filters

_PAGE = 1_000


class DeadLetters(Protocol):
    """The rejections and their dismissals. Every method raises Unavailable if the database does not answer."""

    async def page(self, filters: Filters, after: PageKey | None, limit: int) -> Sequence[DeadLetter]:
        """At most `limit` dead letters, newest first, from behind the key `after`; None: from the newest. Fewer than
        `limit` are the last page.
        """
        ...

    async def count(self, filters: Filters, limit: int) -> CappedCount: ...

    async def by_ids(self, ids: Sequence[UUID]) -> Sequence[DeadLetter]:
        """Those that exist, newest first, in any state."""
        ...


async def by_ids(dead_letters: DeadLetters, ids: Sequence[UUID]) -> Sequence[DeadLetter]:
    """The dead letters with these ids, each once, newest first.

    Raises:
        ConfigurationError: no id is given, or one is not that of a dead letter.
        Unavailable: the database does not answer.
    """
    if not ids:
        raise ConfigurationError("no dead letter is selected; name ids or filters")
    found = await dead_letters.by_ids(list(dict.fromkeys(ids)))
    if unknown := set(ids) - {one.id for one in found}:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise ConfigurationError(f"no dead letter has the id {min(unknown)}{more}; nothing was done")
    return found


async def by_filters(dead_letters: DeadLetters, filters: Filters, limit: int) -> Sequence[DeadLetter]:
    """The dead letters that pass the filters now, newest first, one more than `limit` at most.

    Raises:
        ConfigurationError: none passes.
        Unavailable: the database does not answer.
    """
    found: list[DeadLetter] = []
    after: PageKey | None = None
    while (wanted := min(_PAGE, limit + 1 - len(found))) > 0:
        page = await dead_letters.page(filters, after, wanted)
        found += page
        if len(page) < wanted:
            break
        after = page[-1].key
    if not found:
        raise ConfigurationError("the filters match no dead letter; nothing was done")
    return found
