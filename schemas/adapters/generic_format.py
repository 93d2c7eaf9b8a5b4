"""An entry of the mapping file's section `formats`: how to read the records of a source without an adapter of its own.

Only the shape and what can be checked when the file is read; `schemas.adapters.generic` reads records with it.
"""

import re
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, WithJsonSchema

from schemas.adapters.expressions import EXPRESSION_CHARS_MAX, Expression
from schemas.incoming import WORKER_ACTIVITY_TYPES
from schemas.text import NAME_UNITS_MAX
from schemas.types import EventType

OTHERWISE: Final = "*"
IGNORE: Final = "ignore"
ACTIVITY: Final = "activity "
IMAGES_MAX: Final = 100
EVENT_TYPES: Final = {
    "requested": EventType.DEPLOYMENT_REQUESTED,
    "started": EventType.DEPLOYMENT_STARTED,
    "succeeded": EventType.DEPLOYMENT_SUCCEEDED,
    "failed": EventType.DEPLOYMENT_FAILED,
    "cancelled": EventType.DEPLOYMENT_CANCELLED,
    "rolled_back": EventType.DEPLOYMENT_ROLLED_BACK,
}
_MEANING_PATTERN: Final = f"^({'|'.join([*EVENT_TYPES, IGNORE])}|{ACTIVITY}[A-Z][A-Z0-9_]{{0,99}})$"
_EXPRESSION_SCHEMA: Final = {"type": "string", "minLength": 1, "maxLength": EXPRESSION_CHARS_MAX}

_CLOSED: Final = ConfigDict(strict=True, extra="forbid", frozen=True)


class TimeFormat(StrEnum):
    """How a source writes times."""

    RFC3339 = "rfc3339"
    UNIX_SECONDS = "unix_seconds"
    UNIX_MILLISECONDS = "unix_milliseconds"


def _checked_meaning(meaning: str) -> str:
    if re.fullmatch(_MEANING_PATTERN, meaning) is None:
        raise ValueError(f"is not {', '.join(EVENT_TYPES)}, {IGNORE} or {ACTIVITY}NAME, as {ACTIVITY}TESTS_PASSED")
    if meaning.removeprefix(ACTIVITY) in WORKER_ACTIVITY_TYPES:
        raise ValueError(f"{meaning} is an activity of the worker's own")
    return meaning


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


RESERVED_NAMES: Final = frozenset({"rudder", "ce", "content"})
"""Their headers have a meaning of their own."""


def _checked_name(name: str) -> str:
    if name.partition("-")[0] in RESERVED_NAMES:
        raise ValueError(f"begins with {name.partition('-')[0]}, which is reserved")
    return name


FormatName = Annotated[str, Field(pattern="^[a-z][a-z0-9-]{0,62}$"), AfterValidator(_checked_name)]
"""The name of an entry: a value of the header `rudder-format` and a part of a metric's label."""

HeaderName = Annotated[str, Field(pattern="^[a-z0-9!#$%&'*+.^_`|~-]+$", max_length=NAME_UNITS_MAX)]
TypePattern = Annotated[str, Field(pattern=r"^[^*\s]+\*?$", max_length=NAME_UNITS_MAX)]
Meaning = Annotated[
    str, AfterValidator(_checked_meaning), WithJsonSchema({"type": "string", "pattern": _MEANING_PATTERN})
]
# Strict mode requires a Python tuple, which YAML does not have.
Parts = Annotated[
    tuple[Expression, ...],
    BeforeValidator(_listed),
    Strict(strict=False),
    Field(min_length=1, max_length=10),
    WithJsonSchema(
        {"anyOf": [_EXPRESSION_SCHEMA, {"type": "array", "items": _EXPRESSION_SCHEMA, "minItems": 1, "maxItems": 10}]}
    ),
]


class ScopeExpressions(BaseModel):
    """Expressions for what the mapping looks at: `schemas.adapters.foreign.SCOPE_FIELDS`."""

    model_config = _CLOSED

    host: Expression | None = Field(default=None, description="The server, where it has ids of its own.")
    organization: Expression | None = Field(default=None, description="The owner, workspace, space or account.")
    repository: Expression | None = Field(default=None, description="The repository's full name: acme/shop.")
    project: Expression | None = Field(default=None, description="The source's project.")
    application: Expression | None = Field(default=None, description="The source's application.")
    service: Expression | None = Field(default=None, description="The service that is deployed.")
    pipeline: Expression | None = Field(default=None, description="The workflow, the pipeline or the job.")
    branch: Expression | None = Field(default=None, description="The branch.")
    cluster: Expression | None = Field(default=None, description="The cluster.")
    namespace: Expression | None = Field(default=None, description="The namespace.")
    environment: Expression | None = Field(default=None, description="The environment, as the source names it.")


class ArtifactExpressions(BaseModel):
    """Expressions for what was deployed."""

    model_config = _CLOSED

    commit: Expression | None = Field(
        default=None, description="The commit's full hash. A short one is ignored: two commits can share it."
    )
    image: Expression | None = Field(
        default=None,
        description="An image reference. Its tag and digest are used, unless `tag` and `digest` have them.",
    )
    tag: Expression | None = Field(default=None, description="The image's tag, or the version.")
    digest: Expression | None = Field(
        default=None, description="sha256: and 64 hexadecimal digits. Another text is ignored."
    )
    images: Expression | None = Field(
        default=None, description="An array of image references; the mapping selects one. Of more than 100 the first."
    )
    name: Expression | None = Field(default=None, description="The release's name: 20260301-2.")
    release_id: Expression | None = Field(default=None, description="The release's id, a UUID.")


class GenericFormat(BaseModel):
    """How to read the records of one source. All expressions are JMESPath, over the record's body."""

    model_config = _CLOSED

    headers: Annotated[tuple[HeaderName, ...], Strict(strict=False), Field(max_length=10)] = Field(
        default=(), description="A record with all these headers has this format. In lower case."
    )
    types: Annotated[tuple[TypePattern, ...], Strict(strict=False), Field(max_length=100)] = Field(
        default=(), description="A CloudEvent of one of these types has this format. A `*` at the end: any text."
    )
    when: Expression | None = Field(
        default=None,
        description="A record for which it is true has this format. Write what no other source's body has.",
    )
    only: Expression | None = Field(
        default=None, description="A record for which it is not true is of no interest: counted, and nothing else."
    )
    type: Expression | None = Field(default=None, description="The source's name of the event, for the timeline.")
    source: Expression = Field(
        description="The URI of the repository, project or server: with `id` the event's identity, with `run` the"
        " deployment's."
    )
    id: Parts = Field(
        description="What makes the change unique within `source`; several expressions are joined with `/`. The status"
        " is added: some sources use one id for start and end."
    )
    run: Parts | None = Field(
        default=None,
        description="What all events of one deployment share, and a repeated deployment does not.",
    )
    time: Expression | None = Field(
        default=None, description="The time of the change. Without a value: the CloudEvent's time, or the record's."
    )
    time_format: Annotated[TimeFormat, Strict(strict=False)] = Field(
        default=TimeFormat.RFC3339, description="How the source writes it."
    )
    scope: ScopeExpressions = Field(default_factory=ScopeExpressions, description="What the mapping looks at.")
    optional: bool = Field(
        default=True,
        description="A record without environment, to which the mapping gives none, is of no interest. false: it is"
        " rejected, because every record of this source is a deployment.",
    )
    artifact: ArtifactExpressions = Field(default_factory=ArtifactExpressions, description="What was deployed.")
    status: Expression = Field(description="The source's word for the status. true, false and numbers are words too.")
    statuses: dict[str, Meaning] = Field(
        min_length=1,
        max_length=200,
        description="What each word means. A word that is not here is rejected, unless `*` has a meaning.",
    )
    actor: Expression | None = Field(default=None, description="Who deployed.")
    comment: Expression | None = Field(default=None, description="A text for people.")
    url: Expression | None = Field(default=None, description="The deployment's page.")
