"""What an adapter reads, and what it makes of it: a foreign record, an event of ours that has no release yet.

An adapter is a pure function from a `ForeignRecord` to `Adapted`. It knows its source's format and nothing of the
company: which component, track and environment a name stands for is decided by the mapping (`schemas.mapping`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from schemas.types import EventType


class Format(StrEnum):
    """The formats of foreign records: the values of the header `rudder-format`, of the mapping file and of a metric's
    label. The order is that in which the shapes of bodies are compared.
    """

    GITHUB = "github"
    GITLAB = "gitlab"
    ARGOCD = "argocd"
    CDEVENTS = "cdevents"
    TEKTON = "tekton"
    JENKINS = "jenkins"
    AZURE_DEVOPS = "azure-devops"
    FLUX = "flux"
    FLAGGER = "flagger"
    KEPTN = "keptn"
    EIFFEL = "eiffel"
    GENERIC = "generic"


SCOPE_FIELDS: Final = (
    "host",
    "organization",
    "repository",
    "project",
    "application",
    "service",
    "pipeline",
    "branch",
    "cluster",
    "namespace",
    "environment",
)
"""What a mapping can look at. `host`: of a server with its own ids (`github.com`). `organization`: an owner or a
top-level group. `repository`: its full name (`acme/shop`). `project`: GitLab's path, Argo CD's or Azure DevOps'.
`application`: of Argo CD. `service`: a CDEvents service, a Flagger canary. `pipeline`: a workflow, a pipeline or a
job. `environment`: as the source names it; absent where the event names none.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignRecord:
    """A record whose format is known. `headers`: names in lower case, values as text; the first of repeated ones.
    `type`, `id`, `source`, `time`: of its CloudEvents envelope, where it has one; `body` is then the event's data.
    """

    headers: Mapping[str, str]
    body: Mapping[str, Any]
    source: str | None = None
    id: str | None = None
    type: str | None = None
    time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What was deployed, as far as the record says. `commit`: a full hash of the application's own repository, never a
    short one or that of a chart. `image`: without tag and digest. `digest`: `sha256:` and 64 hexadecimal digits.
    `tag`: an image's tag or a version. `images`: the references of an application that has several; the mapping selects
    one by its pattern. `name`: that of a release of ours, `YYYYMMDD-<number>`. `release_id`: of a release of ours.
    """

    commit: str | None = None
    image: str | None = None
    tag: str | None = None
    digest: str | None = None
    images: tuple[str, ...] = ()
    name: str | None = None
    release_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """What the source itself says; it is kept in `activity_data`.

    `type`: the event's name with its action
    (`deployment_status.created`). `id`: of the thing that changed (the deployment, the run). `status`: its word.
    """

    type: str
    id: str | None = None
    status: str | None = None
    url: str | None = None
    actor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignEvent:
    """One event of ours, without release, component and environment id.

    `type`: a `deployment.*` type, or `activity.recorded` with its `activity_type`.
    `source`, `id`: the identity of this delivery's change. A redelivery has the same one.
    `time`: of the change; None: the record's timestamp.
    `run`: what the source calls one deployment, within `source`: all events with one run change the same attempt, in
    whatever order they arrive. None: the source has no such identity. `part_of`: the run of which it is a part, where a
    run can have several deployments to one environment, as a workflow has; an event of that run itself changes the
    attempt of its first part.
    `scope`: the values of SCOPE_FIELDS that the record has; and `format`, the entry's name, of the generic adapter.
    `optional`: the record is of interest only if the mapping gives it an environment: a pipeline's run that names none
    may deploy, and most do not. It is set where `scope` has no environment.
    """

    format: Format
    type: EventType
    source: str
    id: str
    time: datetime | None
    original: Original
    run: str | None = None
    part_of: str | None = None
    scope: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    artifact: Artifact = Artifact()
    actor: str | None = None
    comment: str | None = None
    activity_type: str | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NoInterest:
    """A record that says nothing about a deployment: counted by format and kind, without a row or a dead letter.

    `kind`: from a closed list of the adapter (the vendor's event name), because it is a metric's label.
    """

    format: Format
    kind: str


class Unreadable(Exception):
    """A record that cannot be adapted. `problem`: `/pointer: what is wrong`. `unsupported`: the adapter never accepts
    this kind of record (reason `unsupported_type`), else the data is wrong (`invalid_data`).
    """

    def __init__(self, problem: str, *, unsupported: bool = False) -> None:
        super().__init__(problem)
        self.problem = problem
        self.unsupported = unsupported


Adapted = ForeignEvent | NoInterest
"""What an adapter returns. It raises Unreadable."""
