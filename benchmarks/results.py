"""All that one run found out, as one value: what tables and goals are made from, and what is written as JSON."""

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.growth import Growth
from benchmarks.latency import Latency
from benchmarks.machine import Machine
from benchmarks.memory import Memory
from benchmarks.scaling import Scaling
from benchmarks.sizes import Sizes
from benchmarks.throughput import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What was not measured is empty or None."""

    command: str
    seconds: float
    machine: Machine
    broker: str
    database: str
    sizes: Sizes
    standings: tuple[Standing, ...] = ()
    hot: tuple[Standing, ...] = ()
    """All events are of one release."""
    latencies: tuple[Latency, ...] = ()
    memory: Memory | None = None
    scalings: tuple[Scaling, ...] = ()
    growth: Growth | None = None

    @property
    def differences(self) -> tuple[str, ...]:
        """Everything that any contender did wrongly, in any measurement."""
        found = [f"{standing.name}: {line}" for standing in self.standings for line in standing.differences]
        found += [f"one release, {standing.name}: {line}" for standing in self.hot for line in standing.differences]
        found += [f"latency, {each.contender}: {line}" for each in self.latencies for line in each.differences]
        found += [f"{each.dimension} {each.value}: {line}" for each in self.scalings for line in each.differences]
        found += [f"memory: {line}" for line in (self.memory.differences if self.memory else ())]
        found += [f"growth: {line}" for line in (self.growth.differences if self.growth else ())]
        return tuple(found)


def as_json(results: Results, goals: list[dict[str, Any]]) -> str:
    """A time that never came is null."""
    return json.dumps(_finite({**asdict(results), "goals": goals}), ensure_ascii=False, indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    match value:
        case dict():
            return {name: _finite(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_finite(inner) for inner in value]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value
