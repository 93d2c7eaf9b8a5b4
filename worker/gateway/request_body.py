"""Reads a body with a limit and a deadline, whatever its headers declare."""

import asyncio
from typing import Final

from starlette.requests import ClientDisconnect, Request

from worker.gateway.problems import Kind, Refusal
from worker.gateway.request_budget import RequestUsage
from worker.gateway.request_head import RequestHead

BODY_SECONDS: Final = 15.0
"""For the whole body: 1 MiB at 600 kbit/s."""


async def read_body(request: Request, head: RequestHead, usage: RequestUsage, *, bytes_max: int) -> bytes:
    """The whole body; its bytes are added to `usage` as they arrive.

    Raises:
        Refusal: it is compressed, too large or too slow, or the budget is used up.
    """
    head.refuse_encoded()
    if (declared := head.content_length) is not None and declared > bytes_max:
        raise _too_large(bytes_max)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                if len(body) + len(part) > bytes_max:
                    raise _too_large(bytes_max)
                usage.add_bytes(len(part))
                body += part
    except TimeoutError:
        raise Refusal(Kind.TIMEOUT, f"the body did not arrive within {BODY_SECONDS:.0f} s") from None
    except ClientDisconnect:
        raise Refusal(Kind.INVALID_REQUEST, "the client closed the connection before the end of the body") from None
    return bytes(body)


def _too_large(bytes_max: int) -> Refusal:
    return Refusal(Kind.TOO_LARGE, f"the body has more than {bytes_max} bytes (RUDDER_EVENT_BYTES_MAX)")
