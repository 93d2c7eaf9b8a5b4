"""Tasks that an asynchronous test left running after its fixtures ended."""

import asyncio

_GRACE_SECONDS = 1.0


async def remaining_tasks(*, grace_seconds: float = _GRACE_SECONDS) -> list[str]:
    """The names and coroutines of this loop's other tasks that do not end within the grace period.

    The grace period is for a library's task that was just cancelled.
    """
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        _, others = await asyncio.wait(others, timeout=grace_seconds)
    return sorted(f"{task.get_name()}: {task.get_coro()!r}" for task in others)
