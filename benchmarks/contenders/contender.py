"""Who competes: a program that turns the input topic into rows and status events, and how it is started.

Every program, in whatever language, is started with the same variables (the worker's own, and two more for those that
want them) and runs until SIGTERM, which it answers with exit code 0.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """`concurrency` is for each of the processes. `missing` says why it cannot be run here, where it cannot.

    `slow` ones get fewer events of the same stream.
    """

    name: str
    kind: Literal["worker", "plain", "faststream", "parallel-consumer", "broker"]
    does: str
    command: tuple[str, ...]
    processes: int = 1
    concurrency: int | None = None
    slow: bool = False
    missing: str | None = None

    @property
    def writes_rows(self) -> bool:
        return self.kind != "broker"

    def variables(self) -> dict[str, str]:
        return {} if self.concurrency is None else {"RUDDER_CONCURRENCY": str(self.concurrency)}
