"""What is sent to the gateway in tests: keys, events, and signed webhooks."""

import base64
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from tests.end_to_end.worker_process import WorkerProcess

TOKEN = "token-of-the-pipelines-of-acme"
PLATFORM_TOKEN = "token-of-the-platform-team"
GITHUB_SECRET = "It's a Secret to Everybody".replace(" ", "-")
GITLAB_SECRET = "token-of-the-gitlab-group"
SIGNING_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AZURE_SECRET = "password-of-azure-devops"
SECRETS = (TOKEN, PLATFORM_TOKEN, GITHUB_SECRET, GITLAB_SECRET, SIGNING_SECRET, AZURE_SECRET)

KEYS = f"""
[[keys]]
name = "acme-pipelines"
secret = "{TOKEN}"
organizations = ["acme"]

[[keys]]
name = "platform"
secret = "{PLATFORM_TOKEN}"
organizations = ["*"]
webhooks = ["argocd", "tekton", "home-made"]

[[keys]]
name = "github"
secret = "{GITHUB_SECRET}"
webhooks = ["github"]
projects = ["Codertocat/*"]

[[keys]]
name = "gitlab"
secret = "{GITLAB_SECRET}"
webhooks = ["gitlab"]

[[keys]]
name = "gitlab-signing"
secret = "{SIGNING_SECRET}"
webhooks = ["gitlab"]

[[keys]]
name = "azure"
secret = "{AZURE_SECRET}"
webhooks = ["azure-devops"]
"""

PAYLOADS = Path(__file__).parents[1] / "payloads"
GITHUB_BODY = (PAYLOADS / "github/octokit/deployment_status.json").read_bytes()
GITLAB_BODY = (PAYLOADS / "gitlab/recorded/deployment.success.json").read_bytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A running gateway; `client` sends to its public port."""

    process: WorkerProcess
    client: httpx.AsyncClient
    port: int

    async def event(self, event: Mapping[str, Any], *, token: str = TOKEN, **headers: str) -> httpx.Response:
        """One event in structured mode."""
        return await self.client.post(
            "/events",
            content=json.dumps(event),
            headers={"content-type": "application/cloudevents+json", "authorization": f"Bearer {token}", **headers},
        )

    async def github(self, body: bytes = GITHUB_BODY, **headers: str) -> httpx.Response:
        return await self.client.post("/webhooks/github", content=body, headers=github_headers(body) | headers)


@asynccontextmanager
async def client_of(port: int) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", trust_env=False, verify=False, timeout=30
    ) as client:
        yield client


def event(*, id: str | None = None, organization_id: str = "acme", release_id: str | None = None) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": str(uuid4()) if id is None else id,
        "source": "/ci/acme",
        "type": "dev.rudder.deployment.succeeded.v1",
        "time": "2026-03-01T12:00:00Z",
        "data": {
            "release_id": str(uuid4()) if release_id is None else release_id,
            "organization_id": organization_id,
            "environment_id": "production",
        },
    }


def github_headers(body: bytes, *, secret: str = GITHUB_SECRET) -> dict[str, str]:
    return {
        "content-type": "application/json",
        "x-github-event": "deployment_status",
        "x-github-delivery": str(uuid4()),
        "x-hub-signature-256": "sha256=" + hmac.new(secret.encode(), body, sha256).hexdigest(),
    }


def signed_headers(body: bytes, *, id: str, seconds: int) -> dict[str, str]:
    """As GitLab signs with a signing token."""
    digest = hmac.new(
        base64.b64decode(SIGNING_SECRET.removeprefix("whsec_")), f"{id}.{seconds}.".encode() + body, sha256
    ).digest()
    return {
        "content-type": "application/json",
        "x-gitlab-event": "Deployment Hook",
        "idempotency-key": id,
        "webhook-id": id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"azure:{password}".encode()).decode()
