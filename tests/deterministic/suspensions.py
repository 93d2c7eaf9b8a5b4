"""Tasks that report each suspension to a callback. An await that does not suspend is no point of death."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any


def watch(loop: asyncio.AbstractEventLoop, suspended: Callable[[str], None]) -> None:
    """`suspended` is called with the task's coroutine's name, after the task has given up control."""
    loop.set_task_factory(
        lambda loop, coroutine, **options: asyncio.Task(_Watched(coroutine, suspended), loop=loop, **options)
    )


class _Watched(Coroutine[Any, Any, Any]):
    def __init__(self, inner: Coroutine[Any, Any, Any], suspended: Callable[[str], None]) -> None:
        self._inner = inner
        self._name = getattr(inner, "__qualname__", type(inner).__name__)
        self._suspended = suspended

    def send(self, value: Any) -> Any:
        awaited = self._inner.send(value)
        self._suspended(self._name)
        return awaited

    def throw(self, *error: Any) -> Any:
        awaited = self._inner.throw(*error)
        self._suspended(self._name)
        return awaited

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()
