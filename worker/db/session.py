"""A connection as the store uses it, for the messages of one call. Each database's folder has its own."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from worker.db.pointers import ColumnKind, Pointers
from worker.db.row_decoder import Reader, Row
from worker.db.statement import Statement
from worker.db.writes import WriteSet

LOCK_WAIT_MS: Final = 250
"""Of a transaction behind which others wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What a store looks at when it is opened. `revision`: of the migrations; None: the database was never migrated.
    `pointer_columns`: those of `app_environments`; None: there is no such table. `advice`: what an operator or a DBA
    should know of the database, a line each.
    """

    revision: str | None
    pointer_columns: Mapping[str, ColumnKind] | None
    advice: Sequence[str] = ()


class Session(Protocol):
    """A connection in autocommit. Nothing is held between its calls."""

    reader: Reader

    async def fetch(self, statement: Statement, values: Sequence[object]) -> Sequence[Row]: ...

    async def fetch_each(self, statements: Sequence[tuple[Statement, Sequence[object]]]) -> Sequence[Sequence[Row]]:
        """The rows of each statement, with as few waits as the driver allows."""
        ...

    async def execute(self, statement: Statement, values: Sequence[object]) -> None:
        """One statement without rows, which commits by itself."""
        ...

    async def write(self, write_sets: Sequence[WriteSet], *, patient: bool) -> Sequence[Exception | None]:
        """Write each set in a transaction of its own, one after the other; the error of each that failed. `patient`:
        wait for a lock as long as a statement may take, else for LOCK_WAIT_MS.

        Returns when all that succeeded is durable. It raises where it cannot know of each: any may have been written.
        """
        ...

    async def ping(self, pointers: Pointers | None) -> None:
        """Find an outage, and what else an operator has to restore before the worker can write: a table, a privilege.

        `pointers`: None where `app_environments` is not written to.
        """
        ...


class Connections(Protocol):
    """The connections of a store."""

    def begin(self) -> AbstractAsyncContextManager[Session]:
        """A connection for one call. What is not committed when it is left is rolled back."""
        ...

    async def close(self) -> None: ...
