"""What an asynchronous test left running when it and its fixtures were done."""

import asyncio

_GRACE_SECONDS = 1.0


async def remaining_tasks(*, grace_seconds: float = _GRACE_SECONDS) -> list[str]:
    """The names and coroutines of tasks of this loop, other than the caller's, that do not end by themselves in time.

    The grace is for a library's task that was cancelled a moment ago and has yet to run to its end.
    """
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        _, others = await asyncio.wait(others, timeout=grace_seconds)
    return sorted(f"{task.get_name()}: {task.get_coro()!r}" for task in others)
