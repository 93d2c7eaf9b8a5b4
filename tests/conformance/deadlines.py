"""The one way in which tests wait: for a condition, with a generous bound, and never for a time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

WAIT_SECONDS = 60.0
"""Only a failing test ever waits so long; machines are slow, and shared."""

_PAUSE_SECONDS = 0.05
_PAUSE_RATIO = 0.05
"""Of the time waited so far: who waits for seconds need not ask twenty times in each."""


@overload
async def until(
    condition: Callable[[], Awaitable[T]], *, what: str | Callable[[], str], timeout_seconds: float = ...
) -> T: ...


@overload
async def until(condition: Callable[[], T], *, what: str | Callable[[], str], timeout_seconds: float = ...) -> T: ...


async def until(
    condition: Callable[[], Any], *, what: str | Callable[[], str], timeout_seconds: float = WAIT_SECONDS
) -> Any:
    """Asks again and again until the answer is true, and returns it. AssertionError, saying `what`, if it never is."""
    began_seconds = time.monotonic()
    while True:
        answer = condition()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        waited_seconds = time.monotonic() - began_seconds
        if waited_seconds > timeout_seconds:
            raise AssertionError(f"not within {timeout_seconds:.0f} s: {what if isinstance(what, str) else what()}")
        await asyncio.sleep(max(_PAUSE_SECONDS, waited_seconds * _PAUSE_RATIO))
