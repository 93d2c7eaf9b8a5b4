"""A redrive that is killed at one step: `python -m tests.end_to_end.killed_redrive STEP dead-letters redrive ...`.

STEP is `before` or `after` and a method of the journal or the producer, for example `after-produce`.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from worker.cli.app import main
from worker.db.redrive_journal import SqlRedriveJournal
from worker.kafka.publisher import KafkaPublisher

_OWNERS: dict[str, type] = {
    "plan": SqlRedriveJournal,
    "sending": SqlRedriveJournal,
    "produce": KafkaPublisher,
    "sent": SqlRedriveJournal,
    "settled": SqlRedriveJournal,
}

STEPS = tuple(f"{when}-{name}" for name in _OWNERS for when in ("before", "after"))
"""In the order in which a record goes through them."""


def command(step: str) -> tuple[str, ...]:
    """For `WorkerProcess`."""
    return (sys.executable, "-m", "tests.end_to_end.killed_redrive", step)


def kill_at(step: str) -> None:
    """Make the first call of the method kill this process."""
    when, _, name = step.partition("-")
    owner = _OWNERS[name]
    method: Callable[..., Awaitable[Any]] = getattr(owner, name)

    async def killing(*arguments: Any, **named: Any) -> None:
        if when == "after":
            await method(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, killing)


if __name__ == "__main__":
    kill_at(sys.argv.pop(1))
    sys.exit(main())
