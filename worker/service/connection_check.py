"""Checks whether the configured servers can be reached and used: once, without retries."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from worker.rules.errors import ConfigurationError, Unavailable

_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check. `look` returns recommendations, or raises the problem; `close` is always called afterwards.

    `needs`: the name of a check that must have succeeded before this one.
    """

    name: str
    look: Callable[[], Awaitable[Sequence[str]]]
    close: Callable[[], Awaitable[None]] | None = None
    needs: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The result of a check. `problem`: None on success."""

    name: str
    problem: str | None = None
    advice: tuple[str, ...] = ()

    def line(self) -> str:
        return f"{self.name}: {self.problem or 'ok'}"

    def as_json(self) -> dict[str, object]:
        return {"name": self.name, "ok": self.problem is None, "problem": self.problem, "advice": list(self.advice)}


async def connect(checks: Sequence[Check]) -> Sequence[Checked]:
    """Run the checks in order, and close in reverse order."""
    results: list[Checked] = []
    opened: list[Check] = []
    try:
        for check in checks:
            if any(one.name == check.needs and one.problem is not None for one in results):
                results.append(
                    Checked(name=check.name, problem=f"not checked, because the check of the {check.needs} failed")
                )
                continue
            opened.append(check)
            results.append(await _checked(check))
    finally:
        for check in reversed(opened):
            if check.close is not None:
                await check.close()
    return results


async def _checked(check: Check) -> Checked:
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            return Checked(name=check.name, advice=tuple(await check.look()))
    except TimeoutError:
        return Checked(name=check.name, problem=f"does not answer within {_TIMEOUT_SECONDS:.0f} s")
    except (ConfigurationError, Unavailable) as error:
        return Checked(name=check.name, problem=" ".join(str(error).split()))
