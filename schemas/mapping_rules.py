"""The mapping file: its rules, tables and patterns, as they are read.

The file is YAML; `schemas/json/mapping.schema.json` is for editors. See docs/reference/mapping.md.
"""

import re
from collections.abc import Iterable
from collections.abc import Mapping as AnyMapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    Strict,
    WithJsonSchema,
    model_validator,
)

from schemas.adapters.foreign import Format
from schemas.adapters.generic_format import FormatName, GenericFormat
from schemas.detail import echo
from schemas.text import NAME_UNITS_MAX, Name

RULES_MAX: Final = 10_000
WILDCARDS_MAX: Final = 3
"""Per pattern: each one multiplies the time of a comparison with a long name."""
MATCHED_CHARS_MAX: Final = 255
"""A longer name matches no pattern."""

WILDCARD: Final = re.compile(r"\*\*?|\{([a-z_]+)\}")

MatchField = Literal[
    "format",
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
    "type",
    "status",
]


def _checked_pattern(pattern: str) -> str:
    _compiled(pattern)
    return pattern


def _compiled(pattern: str, *, separator: str = "/") -> re.Pattern[str]:
    """The regular expression of a pattern, whose wildcards match no `separator`. Raises ValueError."""
    any_ = f"[^{separator}]" if separator else "."
    parts, at, names = list[str](), 0, set[str]()
    wildcards = list(WILDCARD.finditer(pattern))
    if len(wildcards) > WILDCARDS_MAX:
        raise ValueError(f"has {len(wildcards)} wildcards, more than {WILDCARDS_MAX}")
    for found in wildcards:
        name = found[1]
        if name in names:
            raise ValueError(f"the capture {{{name}}} is repeated")
        if name:
            names.add(name)
        wildcard = f"(?P<{name}>{any_}+)" if name else ".*" if found[0] == "**" else f"{any_}*"
        parts += re.escape(pattern[at : found.start()]), wildcard
        at = found.end()
    rest = pattern[at:]
    if "{" in "".join(WILDCARD.split(pattern)[::2]):
        raise ValueError("has a { that begins no capture such as {service}")
    return re.compile("".join(parts) + re.escape(rest), re.DOTALL)


Pattern = Annotated[
    str,
    Field(
        min_length=1,
        max_length=NAME_UNITS_MAX,
        description="A name. `*` is any text without a slash, `**` with slashes; `{name}` is any text without a slash, "
        "of at least one character, and captures it for the rule's values.",
    ),
    AfterValidator(_checked_pattern),
]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _lower_keys(table: object) -> object:
    if not isinstance(table, dict):
        return table
    lower = {key.lower() if isinstance(key, str) else key: value for key, value in table.items()}
    if len(lower) < len(table):
        raise ValueError("has two names that differ only in case")
    return lower


_ONE_OR_MORE: Final = WithJsonSchema(
    {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
)
_MODEL = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class Lookup(BaseModel):
    """A value from a table."""

    model_config = _MODEL

    table: Name = Field(description="The name of a table in `tables`.")
    key: str = Field(
        min_length=1,
        max_length=NAME_UNITS_MAX,
        description="What is looked up, in any case: a text with {fields} and {captures}, such as `{repository}`.",
    )


Value = Annotated[
    str,
    Field(
        min_length=1,
        max_length=NAME_UNITS_MAX,
        description="A constant, or a text with {fields} and {captures}, such as `{service}`.",
    ),
]
EnvironmentTable = Annotated[dict[str, Name | None], BeforeValidator(_lower_keys), Field(max_length=RULES_MAX)]
ArtifactKind = Literal["digest", "tag", "commit"]


class Rule(BaseModel):
    """What the records that match stand for. What a rule leaves out is the file's default."""

    model_config = _MODEL

    match: dict[
        MatchField, Annotated[tuple[Pattern, ...], Strict(strict=False), BeforeValidator(_as_list), _ONE_OR_MORE]
    ] = Field(min_length=1, description="All fields must match; of several patterns of a field one.")
    ignore: bool = Field(default=False, description="True: these records are of no interest.")
    organization: Value | Lookup | None = Field(default=None, description="The organization's id.")
    project: Value | Lookup | None = Field(default=None, description="The project's id, a UUID.")
    component: Value | Lookup | None = Field(default=None, description="The component's id, a UUID.")
    track: Value | Lookup | None = Field(default=None, description="The deployment track's id.")
    environment: Value | Lookup | None = Field(
        default=None,
        description="The environment. A constant is its id; a text with {fields} is looked up in `environments`.",
    )
    environments: EnvironmentTable = Field(default={}, description="As the file's, and before it.")
    image: Pattern | None = Field(
        default=None,
        description="Of an application with several images, the repository of the one that counts; `*` may be slashes.",
    )
    artifact: Annotated[tuple[ArtifactKind, ...], Strict(strict=False), BeforeValidator(_as_list)] = Field(
        default=("digest", "tag", "commit"),
        min_length=1,
        description="Which part of what was deployed identifies the release; the first one that the record has.",
    )
    _patterns: tuple[tuple[str, tuple[re.Pattern[str], ...]], ...] = PrivateAttr(default=())
    _image: re.Pattern[str] | None = PrivateAttr(default=None)

    def model_post_init(self, _context: Any, /) -> None:
        self._patterns = tuple((name, tuple(map(_compiled, patterns))) for name, patterns in self.match.items())
        self._image = None if self.image is None else _compiled(self.image, separator="")

    def captures(self, scope: AnyMapping[str, str]) -> dict[str, str] | None:
        """The captures, if all patterns match; None: they do not."""
        found: dict[str, str] = {}
        for name, patterns in self._patterns:
            value = scope.get(name)
            if value is None or len(value) > MATCHED_CHARS_MAX:
                return None
            matched = next((one for pattern in patterns if (one := pattern.fullmatch(value)) is not None), None)
            if matched is None:
                return None
            found |= matched.groupdict()
        return found


class MappingFile(BaseModel):
    """The file in RUDDER_MAPPING_FILE."""

    model_config = _MODEL

    organization: Value | Lookup | None = Field(default=None, description="The default organization's id.")
    project: Value | Lookup | None = Field(default=None, description="The default project's id, a UUID.")
    track: Value | Lookup = Field(default="main", description="The default deployment track's id.")
    environments: EnvironmentTable = Field(
        default={},
        description="The sources' names of environments, in any case, and their ids; null: deployments to it are of no "
        "interest.",
    )
    rules: Annotated[tuple[Rule, ...], Strict(strict=False)] = Field(
        default=(), max_length=RULES_MAX, description="Compared in order; the first that matches decides."
    )
    tables: dict[Name, Annotated[dict[str, Value], BeforeValidator(_lower_keys)]] = Field(
        default={}, description="Tables that values are looked up in, by name."
    )
    topics: dict[Name, Name] = Field(
        default={}, description="The format of all records of a topic that are not events of ours."
    )
    formats: dict[FormatName, GenericFormat] = Field(
        default={}, description="Sources without an adapter: expressions that read their records."
    )

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        for path, lookup in self._lookups():
            if lookup.table not in self.tables:
                raise ValueError(f"{path}: there is no table {echo(lookup.table)}")
        known = {*Format, *self.formats}
        for topic, name in self.topics.items():
            if name not in known:
                raise ValueError(f"topics/{echo(topic)}: there is no format {echo(name)}")
        for name in self.formats:
            if name in set(Format):
                raise ValueError(f"formats/{echo(name)}: is the name of an adapter")
        return self

    def _lookups(self) -> Iterable[tuple[str, Lookup]]:
        for name in ("organization", "project", "track"):
            if isinstance(value := getattr(self, name), Lookup):
                yield name, value
        for number, rule in enumerate(self.rules):
            for name in ("organization", "project", "component", "track", "environment"):
                if isinstance(value := getattr(rule, name), Lookup):
                    yield f"rules/{number}/{name}", value
