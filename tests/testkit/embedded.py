"""The embedded broker for a whole test session, kept running on a thread and event loop of its own.

The broker's class is asyncio; the session's servers may not live on a test's loop, which ends with the test.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from worker.demo.broker import EmbeddedBroker

_TIMEOUT_SECONDS = 30.0


@contextmanager
def embedded_broker_running() -> Iterator[EmbeddedBroker]:
    """A started broker, stopped at the end. Raises DemoExtraMissing or EmbeddedBrokerFailed."""
    started: list[asyncio.AbstractEventLoop] = []
    ready = threading.Event()

    async def stay(stopping: asyncio.Event) -> None:
        started.append(asyncio.get_running_loop())
        ready.set()
        await stopping.wait()

    stopping = asyncio.Event()
    thread = threading.Thread(target=lambda: asyncio.run(stay(stopping)), name="embedded-broker", daemon=True)
    thread.start()
    assert ready.wait(_TIMEOUT_SECONDS)
    loop = started[0]
    broker = EmbeddedBroker()
    try:
        asyncio.run_coroutine_threadsafe(broker.start(), loop).result(_TIMEOUT_SECONDS)
        yield broker
    finally:
        asyncio.run_coroutine_threadsafe(broker.stop(), loop).result(_TIMEOUT_SECONDS)
        loop.call_soon_threadsafe(stopping.set)
        thread.join(_TIMEOUT_SECONDS)
