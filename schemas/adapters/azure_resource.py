"""What Azure DevOps' events have in common: where they are from, and what a change of a deployment is made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from schemas.adapters.fields import line
from schemas.adapters.foreign import Artifact
from schemas.adapters.repositories import host_of
from schemas.types import EventType

SEND_ALL: Final = "set 'Resource details to send' of the subscription to 'All' (resourceDetailsToSend)"
"""The answer to a resource that is left out, or minimal."""
_CONTAINERS: Final = "resourceContainers"
_ORGANIZATION_HOSTS: Final = ".visualstudio.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one event changes, without identity and time.

    `original_id`: of the attempt or the run. `status`: the source's word.
    """

    type: EventType
    original_id: str
    status: str
    scope: Mapping[str, str | None]
    artifact: Artifact
    run: str | None = None
    url: str | None = None
    actor: str | None = None
    activity_type: str | None = None
    optional: bool = False


def source_of(body: Mapping[str, Any]) -> str:
    """The organization's URL, or else its id, with the project's id: every event of a project has the same one."""
    id_ = line(body, _CONTAINERS, "collection", "id") or line(body, _CONTAINERS, "account", "id")
    account = _base_url(body) or f"azure-devops:{id_ or ''}"
    project = (
        line(body, _CONTAINERS, "project", "id")
        or line(body, "resource", "project", "id")
        or line(body, "resource", "projectId")
    )
    return f"{account.rstrip('/')}/{project}" if project is not None else account.rstrip("/")


def location_of(body: Mapping[str, Any]) -> Mapping[str, str | None]:
    """The server, the organization and the project, from the URLs that the event has."""
    base = _base_url(body)
    links = (
        base,
        line(body, "resource", "run", "_links", "web", "href"),
        line(body, "resource", "stage", "_links", "web", "href"),
        line(body, "resource", "environment", "release", "url"),
        line(body, "resource", "environment", "release", "_links", "web", "href"),
        line(body, "resource", "url"),
    )
    urls = [urlsplit(link) for link in links if link is not None and host_of(link) is not None]
    project = line(body, "resource", "project", "name") or line(body, "resource", "definition", "project", "name")
    return {
        "host": host_of(urls[0].geturl()) if urls else None,
        "organization": _organization(urls[0], is_base=base is not None) if urls else None,
        "project": project or next((name for url in urls if (name := _project(url)) is not None), None),
    }


def _base_url(body: Mapping[str, Any]) -> str | None:
    return line(body, _CONTAINERS, "collection", "baseUrl") or line(body, _CONTAINERS, "account", "baseUrl")


def _organization(url: SplitResult, *, is_base: bool) -> str | None:
    """`acme` of `https://dev.azure.com/acme/` and `https://acme.visualstudio.com/`; of a server, the collection."""
    if url.netloc.lower().endswith(_ORGANIZATION_HOSTS):
        return url.netloc.lower().partition(".")[0]
    parts = url.path.strip("/").split("/")
    return unquote(parts[-1] if is_base else parts[0]) or None


def _project(url: SplitResult) -> str | None:
    """The part before `/_build`, `/_apis` and the like, after that of the organization: the project's name or id."""
    before, found, _ = url.path.partition("/_")
    organization, _, project = before.strip("/").rpartition("/")
    has_organization = organization or url.netloc.lower().endswith(_ORGANIZATION_HOSTS)
    return unquote(project) or None if found and has_organization else None
