"""Heads of requests, and the published test vectors of signatures."""

import base64
import hmac
from collections.abc import Mapping
from hashlib import sha256

from worker.gateway.keys import Key
from worker.gateway.request_head import RequestHead

NOW_SECONDS = 1_774_346_400.0


def head(fields: Mapping[str, str] | None = None, /, **headers: str) -> RequestHead:
    """Keyword arguments: `_` stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()} | dict(fields or {})
    return RequestHead((name.encode(), value.encode()) for name, value in named.items())


def key(secret: str, *, name: str = "acme", webhooks: tuple[str, ...] = ("github",)) -> Key:
    return Key(name=name, secret=secret.encode(), webhooks=frozenset(webhooks))


def github_signature(secret: str, body: bytes) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, sha256).hexdigest()


def standard_headers(secret: str, body: bytes, *, id: str, seconds: int) -> dict[str, str]:
    """As a sender of Standard Webhooks makes them; `secret` begins with `whsec_`."""
    signed = f"{id}.{seconds}.".encode() + body
    digest = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, sha256).digest()
    return {
        "webhook-id": id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }
