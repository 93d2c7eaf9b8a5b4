"""A worker with one fault, as a process of its own: `python -m tests.end_to_end.mutant_worker FAULT run`.

The faults are those that the deterministic tests know, and one that only a real database shows.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from tests.deterministic.mutants import (
    Mutant,
    commits_the_offset_before_it_publishes,
    commits_the_offset_before_the_rows,
    publishes_before_the_rows_are_there,
    says_nothing_of_what_it_finds_done,
    takes_a_failed_try_for_done,
)
from worker.assembly import run_services
from worker.cli.app import main
from worker.db.postgresql import session
from worker.db.statement import Statement, WriteStatement
from worker.db.writes import WriteSet
from worker.pipeline.consumer import Consumer

UNPUBLISHABLE = b"unpublishable"


def writes_whatever_was_written_meanwhile(patch: pytest.MonkeyPatch) -> None:
    """On PostgreSQL: neither the version of the release nor what an UPDATE finds is looked at."""
    written = session.written

    @cache
    def unguarded(statement: WriteStatement) -> WriteStatement:
        return replace(statement, finds=None)

    def written_unguarded(write_set: WriteSet, **settings: str) -> tuple[Statement, Sequence[object]]:
        writes = [replace(write, statement=unguarded(write.statement)) for write in write_set.writes]
        return written(replace(write_set, writes=writes, version_check=None), **settings)

    patch.setattr(session, "written", written_unguarded)


def fails_to_publish_what_is_marked(patch: pytest.MonkeyPatch) -> None:
    """The Kafka client raises an error that it does not document, for any record whose value holds the mark."""
    send = AIOKafkaProducer.send

    async def failing(self: AIOKafkaProducer, topic: str, value: bytes | None = None, **options: Any) -> Any:
        if UNPUBLISHABLE in (value or b"") and b"previous_status" in (value or b""):
            raise LookupError("a fault in the client")
        return await send(self, topic, value=value, **options)

    patch.setattr(AIOKafkaProducer, "send", failing)


FAULTS: dict[str, Mutant] = {
    fault.__name__: fault
    for fault in (
        commits_the_offset_before_the_rows,
        commits_the_offset_before_it_publishes,
        says_nothing_of_what_it_finds_done,
        publishes_before_the_rows_are_there,
        takes_a_failed_try_for_done,
        writes_whatever_was_written_meanwhile,
        fails_to_publish_what_is_marked,
    )
}


def command(fault: Mutant) -> tuple[str, ...]:
    """For `WorkerProcess`."""
    return (sys.executable, "-m", "tests.end_to_end.mutant_worker", fault.__name__)


def _without_check_of_assigned_partitions(patch: pytest.MonkeyPatch) -> None:
    """A successor would otherwise find the missing event itself, and wait: `verify` is to find it."""
    patch.setattr(run_services, "Consumer", lambda **given: Consumer(**given | {"holds_assigned": False}))


if __name__ == "__main__":
    FAULTS[sys.argv.pop(1)](patch := pytest.MonkeyPatch())
    _without_check_of_assigned_partitions(patch)
    sys.exit(main())
