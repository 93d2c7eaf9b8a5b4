"""The worker with a clock at its edges: `python -m benchmarks.traced_worker FILE run` writes spans to FILE.

Traced are the ports (poll, commit, load, write, publish), every request to the broker, refreshes of the metadata,
garbage collections, and stalls of the event loop. Times are of CLOCK_MONOTONIC, which all processes of a machine share.
What is wrapped are classes of the edges, so that the pipeline between them may change.
"""

import asyncio
import functools
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from worker.db.store import SqlStore
from worker.kafka import aiokafka_workarounds
from worker.kafka.consumer_client import KafkaConsumerClient
from worker.kafka.publisher import KafkaPublisher
from worker.rules.identity import activity_id

STALL_SECONDS: Final = 0.004
_TICK_SECONDS: Final = 0.005

Span = tuple[str, float, float, Any]
"""Name, begin and end in seconds, and what it is about."""

_spans: list[Span] = []


def _record(name: str, began: float, about: Any) -> None:
    _spans.append((name, began, time.perf_counter(), about))


def _traced(owner: Any, name: str, *, span: str, about: Callable[[tuple[Any, ...], Any], Any]) -> None:
    """Replace an asynchronous function. `about`: of its arguments and its result, None where it raised."""
    original: Callable[..., Awaitable[Any]] | None = getattr(owner, name, None)
    if original is None:
        return

    @functools.wraps(original)
    async def wrapped(*arguments: Any, **options: Any) -> Any:
        began, result = time.perf_counter(), None
        try:
            result = await original(*arguments, **options)
            return result
        finally:
            _record(span, began, about(arguments, result))

    setattr(owner, name, wrapped)


def _collections() -> None:
    began = 0.0

    def note(phase: str, about: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = time.perf_counter()
        else:
            _record("gc", began, about["generation"])

    gc.callbacks.append(note)


def _stalls() -> None:
    """A callback that is due each few milliseconds: if it comes late, nothing else ran meanwhile either. It was the
    worker's own work if it used the processor for half of the time; else the worker waited for one.
    """
    start = KafkaConsumerClient.start

    async def wrapped(self: KafkaConsumerClient, **options: Any) -> None:
        loop = asyncio.get_running_loop()

        def tick(due: float, used: float) -> None:
            now, used_now = time.perf_counter(), time.thread_time()
            if now - due > STALL_SECONDS:
                busy = used_now - used > (now - due) / 2
                _spans.append(("stall" if busy else "no processor", due, now, None))
            loop.call_later(_TICK_SECONDS, tick, now + _TICK_SECONDS, used_now)

        tick(time.perf_counter(), time.thread_time())
        await start(self, **options)

    setattr(KafkaConsumerClient, "start", wrapped)  # noqa: B010 - a method is replaced


def _nothing(*_: Any) -> None:
    return None


def _request(arguments: tuple[Any, ...], _result: Any) -> str:
    return type(arguments[2]).__name__.partition("Request")[0]


def _values(outgoing: Iterable[Any]) -> list[bytes | None]:
    return [record.value for record in outgoing]


def install() -> None:
    _traced(KafkaConsumerClient, "poll", span="poll", about=lambda _, result: _values(result or ()))
    _traced(KafkaConsumerClient, "commit", span="commit", about=_nothing)
    _traced(KafkaPublisher, "publish", span="publish", about=lambda given, _: _values(given[1]))
    _traced(SqlStore, "load", span="load", about=lambda given, _: [query.event_id for query in given[1]])
    _traced(SqlStore, "write", span="write", about=lambda given, _: [one.query.event_id for one in given[1]])
    _traced(aiokafka_workarounds, "_send_refreshing_metadata", span="request", about=_request)
    _traced(aiokafka_workarounds, "_metadata_update", span="metadata", about=_nothing)
    _collections()
    _stalls()


def _lines() -> Iterable[str]:
    for name, began, ended, about in _spans:
        named = _named(name, about)
        if name != "poll" or named:
            yield json.dumps([name, began, ended, named])


def _named(name: str, about: Any) -> Any:
    """Events by the id of their first activity."""
    match name:
        case "poll":
            return [_activity(json.loads(value)) for value in about if value]
        case "publish":
            return [_activity(json.loads(value)["cause"]) for value in about if value]
        case "load" | "write":
            return [str(event_id) for event_id in about]
        case _:
            return about


def _activity(event: dict[str, Any]) -> str:
    return str(activity_id(source=event["source"], event_id=event["id"], position=0))


def main(arguments: Sequence[str]) -> None:
    from worker.__main__ import main as command

    file, *rest = arguments
    install()
    sys.argv = ["rudder-worker", *rest]
    try:
        command()
    finally:
        Path(file).write_text("".join(f"{line}\n" for line in _lines()), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
