"""A body is read up to its limit and its deadline, whatever its headers declare."""

import asyncio
from collections.abc import Sequence

import pytest
from starlette.requests import Request
from starlette.types import Message

from worker.gateway import request_body
from worker.gateway.problems import Kind, Refusal
from worker.gateway.request_body import read_body
from worker.gateway.request_budget import RequestBudget
from worker.gateway.request_head import RequestHead
from worker.telemetry import Metrics

BYTES_MAX = 10


async def read(parts: Sequence[bytes | None], *, budget: int = 100, **headers: str) -> bytes:
    """A body in parts; None: the client closes the connection. After the last part nothing comes."""
    waiting = [*parts]
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]

    async def receive() -> Message:
        if not waiting:
            await asyncio.Event().wait()
        part = waiting.pop(0)
        if part is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": part, "more_body": part != b""}

    usage = RequestBudget(records_max=1, bytes_max=budget, metrics=Metrics()).usage()
    request = Request({"type": "http", "method": "POST", "headers": named}, receive)
    return await read_body(request, RequestHead(named), usage, bytes_max=BYTES_MAX)


async def refused(parts: Sequence[bytes | None], *, budget: int = 100, **headers: str) -> Kind:
    with pytest.raises(Refusal) as caught:
        await read(parts, budget=budget, **headers)
    return caught.value.kind


async def test_whole_body_is_read() -> None:
    assert await read([b"01234", b"56789", b""]) == b"0123456789"
    assert await read([b""], content_length="0") == b""


async def test_body_beyond_the_limit_is_refused() -> None:
    """By its declaration before it is read, and without one as soon as there is too much."""
    assert await refused([], content_length=str(BYTES_MAX + 1)) is Kind.TOO_LARGE
    assert await refused([b"0123456789", b"0"], transfer_encoding="chunked") is Kind.TOO_LARGE


async def test_body_beyond_the_budget_is_refused() -> None:
    assert await refused([b"01234", b"5"], budget=5) is Kind.TOO_MANY_REQUESTS


async def test_compressed_body_is_not_read() -> None:
    assert await refused([], content_encoding="gzip") is Kind.UNSUPPORTED_MEDIA_TYPE


async def test_slow_body_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "BODY_SECONDS", 0.01)
    assert await refused([b"0"]) is Kind.TIMEOUT


async def test_connection_that_ends_within_the_body_is_refused() -> None:
    assert await refused([b"0", None]) is Kind.INVALID_REQUEST
