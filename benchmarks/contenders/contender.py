"""Who competes: a program that turns the input topic into rows and status events, and how it is started.

Every program, in whatever language, is started with the same variables (the worker's own, and two more for those that
want them) and runs until SIGTERM, which it answers with exit code 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """`concurrency` is for each of the processes. `missing` says why it cannot be run here, where it cannot.

    `slow` ones get fewer events of the same stream. `checkout` is where its Python packages are: of a `baseline`, the
    working tree of another commit.
    """

    name: str
    kind: Literal["worker", "baseline", "plain", "faststream", "parallel-consumer", "broker"]
    does: str
    command: tuple[str, ...]
    processes: int = 1
    concurrency: int | None = None
    slow: bool = False
    missing: str | None = None
    checkout: Path = ROOT
    settings: Mapping[str, str] = field(default_factory=dict)
    """Further variables."""

    @property
    def writes_rows(self) -> bool:
        return self.kind != "broker"

    def variables(self) -> dict[str, str]:
        concurrency = {} if self.concurrency is None else {"RUDDER_CONCURRENCY": str(self.concurrency)}
        return {**concurrency, **self.settings}
