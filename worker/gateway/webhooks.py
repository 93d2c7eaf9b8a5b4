"""The webhooks of each source: how it proves its origin, what of it goes into the record, and the record's key. Pure.

The body is not changed. Headers are chosen by prefixes, and none that holds a credential is passed on.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final

from schemas.adapters.foreign import Format
from schemas.adapters.recognition import FORMAT_HEADER
from schemas.record import Headers
from worker.gateway.credentials import Authorization, Scheme, Signature, StandardWebhooks, Token
from worker.gateway.http_binding import attribute_headers, content_type
from worker.gateway.request_head import RequestHead

NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""A source, as in the path."""

KEY_BYTES_MAX: Final = 255
"""Longer record keys are replaced by their SHA-256."""

_SECRET = ("authorization", "cookie", "password", "secret", "signature", "token", "api-key", "apikey")
"""A header whose name contains one of these is not passed on."""

_ANY_SOURCE = ("idempotency-key", "webhook-id", "webhook-timestamp", "x-request-id")
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """`schemes`: beside Authorization and Standard Webhooks, which every source may use. `headers`: prefixes of those
    passed on, beside `x-<source>-` and `<source>-`. `delivery`: the header that identifies a delivery. `projects`:
    where the body names the repository or project, the first that is there. `owners`: where it names an owner, for
    events without a project.
    """

    schemes: tuple[Scheme, ...] = ()
    headers: tuple[str, ...] = ()
    delivery: str | None = None
    projects: tuple[Path, ...] = ()
    owners: tuple[Path, ...] = ()


_COMMON: Final = (Authorization(), StandardWebhooks())

SOURCES: Final[Mapping[str, Source]] = MappingProxyType(
    {
        Format.GITHUB: Source(
            schemes=(Signature(("x-hub-signature-256",), prefix="sha256="),),
            delivery="x-github-delivery",
            projects=(("repository", "full_name"),),
            owners=(("organization", "login"), ("enterprise", "slug")),
        ),
        Format.GITLAB: Source(
            schemes=(Token(("x-gitlab-token",)),),
            delivery="idempotency-key",
            projects=(("project", "path_with_namespace"), ("project_name",)),
            owners=(("group_path",), ("full_path",)),
        ),
        Format.ARGOCD: Source(projects=(("app", "metadata", "name"), ("metadata", "name"), ("application",))),
        Format.CDEVENTS: Source(projects=(("context", "source"), ("source",))),
        Format.TEKTON: Source(
            projects=(
                ("pipelineRun", "metadata", "namespace"),
                ("taskRun", "metadata", "namespace"),
                ("customRun", "metadata", "namespace"),
            )
        ),
        Format.JENKINS: Source(projects=(("name",), ("source",))),
        Format.AZURE_DEVOPS: Source(
            headers=("x-vss-",),
            projects=(("resourceContainers", "project", "id"), ("resource", "project", "id")),
        ),
        Format.FLUX: Source(
            schemes=(Signature(("x-signature",), prefix="sha256="),),
            headers=("gotk-",),
            projects=(("involvedObject", "namespace"),),
        ),
        Format.FLAGGER: Source(projects=(("namespace",),)),
        "bitbucket": Source(
            schemes=(Signature(("x-hub-signature",), prefix="sha256="),),
            headers=("x-event-key", "x-hook-uuid", "x-request-uuid", "x-attempt-number"),
            delivery="x-request-uuid",
            projects=(("repository", "full_name"),),
        ),
        "circleci": Source(
            schemes=(Signature(("circleci-signature",), prefix="v1="),),
            projects=(("project", "slug"), ("project", "id")),
        ),
        "octopus": Source(projects=(("Payload", "Event", "SpaceId"),)),
    }
)
"""By format. Any other source that a key names has what all have."""

_GENERIC: Final = Source()


def source_of(name: str) -> Source:
    return SOURCES.get(name, _GENERIC)


def schemes_of(name: str) -> tuple[Scheme, ...]:
    return (*source_of(name).schemes, *_COMMON)


def record_headers(name: str, head: RequestHead) -> Headers:
    """The headers of the record: the format, CloudEvents attributes, and the source's own headers.

    Raises:
        Refusal: one of them is repeated.
    """
    prefixes = (*source_of(name).headers, *_ANY_SOURCE, f"x-{name}-", f"{name}-")
    given = tuple(
        (header, value)
        for header in head
        if header.startswith(prefixes)
        and not any(part in header for part in _SECRET)
        and (value := head.raw(header)) is not None
    )
    return ((FORMAT_HEADER, name.encode()), *attribute_headers(head), *content_type(head), *given)


def delivery_id(name: str, head: RequestHead) -> str | None:
    """The vendor's identity of this delivery, for the answer and the log."""
    for header in (source_of(name).delivery, "ce-id", "webhook-id", "x-request-id"):
        if header is not None and (text := head.text(header)):
            return text
    return None


def project_of(name: str, body: Mapping[str, Any]) -> str | None:
    """The repository or project as the body names it; an owner with `/`, so that `acme/*` covers it too."""
    source = source_of(name)
    objects = (body, body.get("data")) if "specversion" in body else (body,)  # a structured CloudEvent
    for path in source.projects:
        for found in (_text(candidate, path) for candidate in objects):
            if found is not None:
                return found
    for path in source.owners:
        if (owner := _text(body, path)) is not None:
            return f"{owner}/"
    return None


def record_key(name: str, project: str | None, *, key_name: str) -> bytes:
    """One key for all records of a project, so that they keep their order in one partition.

    Without a project, all records that one key of the gateway authenticates have one record key. It begins with the
    source: one name may be used by two sources.
    """
    key = f"{name}:{key_name if project is None else project}".encode()
    return key if len(key) <= KEY_BYTES_MAX else sha256(key).hexdigest().encode()


def _text(body: object, path: Path) -> str | None:
    for step in path:
        body = body.get(step) if isinstance(body, Mapping) else None
    if isinstance(body, int) and not isinstance(body, bool):
        return str(body)
    return body if isinstance(body, str) and body else None
