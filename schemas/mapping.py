"""The mapping: from the names of foreign sources to organization, project, component, track and environment.

Rules are compared in order, and the first one that matches decides. Names are looked up in tables, never guessed. See
docs/reference/mapping.md.
"""

import re
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from pydantic import (
    ValidationError,
)

from schemas.adapters.fields import split_image
from schemas.adapters.foreign import Artifact, ForeignEvent, NoInterest
from schemas.adapters.generic import GenericAdapter
from schemas.derived_ids import RunIds, derived_release_id
from schemas.detail import echo, joined, pointer
from schemas.event import Event, Foreign, Invalid, ReleaseReference
from schemas.incoming import DeploymentChange, DerivedRelease, EventData, ForeignActivity
from schemas.mapping_rules import WILDCARD, Lookup, MappingFile, Rule
from schemas.reasons import Reason
from schemas.text import INT_MAX, NAME_UNITS_MAX, utf16_units
from schemas.times import YEAR_MAX
from schemas.trace_context import TraceContext
from schemas.types import EventType

_RELEASE_NAME: Final = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})-([1-9][0-9]{0,9})")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ARTIFACT_TEXT: Final = "an image's digest or tag, a commit, or the id or name of a release"


class _Unmapped(Exception):
    """The line to add."""


class _WithoutEnvironment(Exception):
    """The record is of no interest: its environment is ignored, or it names none and needs none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """What a record stands for; None: the mapping does not say."""

    organization_id: str
    project_id: UUID
    component_id: UUID
    track: str
    environment_id: str | None


class Mapping:
    """A mapping file that was read, and its functions."""

    def __init__(self, file: MappingFile) -> None:
        self.file = file
        self.generic = {name: GenericAdapter(name, definition) for name, definition in file.formats.items()}

    def event(
        self, foreign: ForeignEvent, *, recorded_at: datetime | None, trace: TraceContext | None = None
    ) -> Event | Invalid | NoInterest:
        """Our event of a foreign one. `recorded_at`: the record's timestamp, for an event without a time."""
        scope = {"format": str(foreign.format), "type": foreign.original.type, **foreign.scope}
        if foreign.original.status is not None:
            scope["status"] = foreign.original.status
        time = foreign.time or recorded_at
        if time is None:
            return _invalid(foreign, None, Reason.INVALID_DATA, "the event has no time, and the record no timestamp")
        rule, captures = self._rule(scope)
        if rule is not None and rule.ignore:
            return NoInterest(format=foreign.format, kind="ignored by a rule")
        try:
            target = self._target(rule, scope | captures, foreign)
            runs = _runs_of(foreign, target)
            data, reference = _data(foreign, rule, target, time, runs.known)
        except _WithoutEnvironment:
            return NoInterest(format=foreign.format, kind="no environment")
        except _Unmapped as missing:
            return _invalid(foreign, time, Reason.UNMAPPED, str(missing))
        except ValidationError as error:
            problems = [f"{pointer(one['loc'])}: {one['msg']}" for one in error.errors(include_url=False)]
            return _invalid(foreign, time, Reason.INVALID_DATA, joined(problems))
        if data is None and foreign.optional:
            return NoInterest(format=foreign.format, kind="no artifact")
        if data is None:
            detail = f"the record names no artifact: {_ARTIFACT_TEXT}"
            return _invalid(foreign, time, Reason.INVALID_DATA, detail)
        return Event(
            source=foreign.source,
            id=foreign.id,
            type=foreign.type,
            time=time,
            data=data,
            trace=trace,
            foreign=Foreign(
                format=foreign.format,
                original=foreign.original,
                run=foreign.run,
                runs=runs.known,
                opens=runs.opens,
                reference=reference,
            ),
        )

    def _rule(self, scope: AnyMapping[str, str]) -> tuple[Rule | None, dict[str, str]]:
        for rule in self.file.rules:
            captures = rule.captures(scope)
            if captures is not None:
                return rule, captures
        return None, {}

    def _target(self, rule: Rule | None, names: AnyMapping[str, str], foreign: ForeignEvent) -> _Target:
        if rule is None:
            if foreign.optional:
                raise _WithoutEnvironment
            raise _Unmapped(f"no rule matches this record; add to rules: {_proposed_rule(foreign)}")
        environment = self._environment(rule, names, foreign)
        component = self._value("component", rule.component, names)
        organization = self._value("organization", rule.organization or self.file.organization, names)
        project = self._value("project", rule.project or self.file.project, names)
        track = self._value("track", rule.track or self.file.track, names)
        return _Target(
            organization_id=organization,
            project_id=_uuid("project", project),
            component_id=_uuid("component", component),
            track=track,
            environment_id=environment,
        )

    def _environment(self, rule: Rule, names: AnyMapping[str, str], foreign: ForeignEvent) -> str | None:
        """The environment's id; None: of an activity that names none."""
        value = rule.environment
        if isinstance(value, str) and not WILDCARD.search(value):
            return value
        if value is None and "environment" not in names:
            if foreign.optional:
                raise _WithoutEnvironment
            if foreign.type is EventType.ACTIVITY_RECORDED:
                return None
            raise _Unmapped(
                "the record names no environment; add to its rule, for example: environment: production, or with a "
                f"text of its {', '.join(sorted(foreign.scope))}: environment: '{{namespace}}'"
            )
        name = self._value("environment", value if value is not None else "{environment}", names)
        for table in (rule.environments, self.file.environments):
            if name.lower() in table:
                id_ = table[name.lower()]
                if id_ is None:
                    raise _WithoutEnvironment
                return id_
        if foreign.optional:  # a stage, for example, that is no environment
            raise _WithoutEnvironment
        raise _Unmapped(f"the environment is unknown; add to environments: {_quoted(name)}: <the environment's id>")

    def _value(self, field: str, value: str | Lookup | None, names: AnyMapping[str, str]) -> str:
        if value is None:
            raise _Unmapped(f"there is no {field}; add to the rule, or to the file: {field}: <the {field}'s id>")
        if isinstance(value, str):
            return _filled(field, value, names)
        key = _filled(field, value.key, names)
        found = self.file.tables[value.table].get(key.lower())
        if found is None:
            raise _Unmapped(f"the {field} is unknown; add to tables: {value.table}: {_quoted(key)}: <the {field}'s id>")
        return found


def _filled(field: str, template: str, names: AnyMapping[str, str]) -> str:
    missing = next((found[1] for found in WILDCARD.finditer(template) if found[1] and found[1] not in names), None)
    if missing is not None:
        raise _Unmapped(f"the record has no {missing}, which its rule needs for {field}: {_quoted(template)}")
    return WILDCARD.sub(lambda found: names[found[1]] if found[1] else "*", template)


def _uuid(field: str, text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise _Unmapped(f"the {field} {_quoted(text)} is not a UUID; correct it in the rule or its table") from None


def _quoted(text: str) -> str:
    return "'" + echo(text).replace("'", "''") + "'"


def _proposed_rule(foreign: ForeignEvent) -> str:
    """A rule for records like this one, in one line of YAML."""
    names = ("repository", "application", "service", "project", "pipeline")
    field = next((name for name in names if name in foreign.scope), None)
    matched = (
        f"{field}: {_quoted(foreign.scope[field])}"
        if field
        else f"format: {foreign.scope.get('format', foreign.format)}"
    )
    return f"- {{match: {{{matched}}}, component: <the component's id>}}"


class _Runs(NamedTuple):
    """As of `schemas.event.Foreign`."""

    known: tuple[UUID, ...] = ()
    opens: tuple[UUID, ...] = ()


def _runs_of(foreign: ForeignEvent, target: _Target) -> _Runs:
    if foreign.run is None or target.environment_id is None or foreign.type is EventType.ACTIVITY_RECORDED:
        return _Runs()
    ids = RunIds(
        organization_id=target.organization_id,
        component_id=target.component_id,
        deployment_track_id=target.track,
        environment_id=target.environment_id,
        source=foreign.source,
    )
    own = ids.of(foreign.run)
    if foreign.part_of is None:
        return _Runs((own, ids.of_first_part(foreign.run)), (own,))
    return _Runs((own, ids.of(foreign.part_of)), (own, ids.of_first_part(foreign.part_of)))


def _data(
    foreign: ForeignEvent, rule: Rule | None, target: _Target, time: datetime, runs: tuple[UUID, ...]
) -> tuple[EventData | None, ReleaseReference | None]:
    """The event's data, and how its release is found; no data: the record names no artifact. Raises ValidationError."""
    artifact = _selected(foreign.artifact, rule)
    number = _release_number(artifact.name)
    kinds = rule.artifact if rule is not None else ()
    identified = next((text for kind in kinds if (text := getattr(artifact, kind)) is not None), None)
    if identified is None and artifact.release_id is None:
        identified = artifact.name
    if identified is None and artifact.release_id is None:
        return None, None
    for text in (target.organization_id, target.track, target.environment_id, identified):
        if text is not None and _CONTROL.search(text):
            raise _Unmapped(f"{_quoted(text)} has a control character, which no id of the mapping may have")
    release_id, reference, block = artifact.release_id, None, None
    if release_id is None and identified is not None:
        reference = ReleaseReference(
            derived_id=derived_release_id(
                organization_id=target.organization_id,
                component_id=target.component_id,
                deployment_track_id=target.track,
                artifact=identified,
            ),
            organization_id=target.organization_id,
            component_id=target.component_id,
            deployment_track_id=target.track,
            commit_hash=artifact.commit,
            image_tags=tuple(text for text in (artifact.digest, artifact.tag) if text is not None),
            number=number,
            runs=runs,
        )
        release_id = reference.derived_id
        block = DerivedRelease(
            project_id=target.project_id,
            component_id=target.component_id,
            deployment_track_id=target.track,
            release_date=time.date(),
            created_by=_fitting(foreign.actor) or str(foreign.format),
            commit_hash=artifact.commit,
            image_tag=artifact.tag or artifact.digest or (None if artifact.commit else artifact.name),
        )
    given: dict[str, Any] = {
        "release_id": release_id,
        "organization_id": target.organization_id,
        "actor": _fitting(foreign.actor),
        "comment": foreign.comment,
        "release": block,
    }
    if foreign.type is EventType.ACTIVITY_RECORDED:
        activity = ForeignActivity(
            **given, environment_id=target.environment_id, activity_type=foreign.activity_type or "", activity_data={}
        )
        return activity, reference
    return DeploymentChange(**given, environment_id=target.environment_id or ""), reference


def _selected(artifact: Artifact, rule: Rule | None) -> Artifact:
    """The artifact with the image that the rule selects, of several."""
    pattern = rule._image if rule is not None else None  # noqa: SLF001 - of this module
    if pattern is None or not artifact.images:
        return artifact
    for reference in artifact.images:
        repository, tag, digest = split_image(reference)
        if pattern.fullmatch(repository) is not None:
            return replace(artifact, image=repository, tag=tag, digest=digest)
    return artifact


def _release_number(name: str | None) -> tuple[date, int] | None:
    found = None if name is None else _RELEASE_NAME.fullmatch(name)
    if found is None:
        return None
    try:
        day = date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        return None
    number = int(found[4])
    return (day, number) if day.year <= YEAR_MAX and number <= INT_MAX else None


def _fitting(text: str | None) -> str | None:
    """The name of a person or a program; None: it does not fit its column."""
    return text if text and utf16_units(text) <= NAME_UNITS_MAX else None


def _invalid(foreign: ForeignEvent, time: datetime | None, reason: Reason, detail: str) -> Invalid:
    return Invalid(
        reason=reason,
        detail=joined([detail]),
        source=foreign.source,
        id=foreign.id,
        type=str(foreign.type),
        time=time,
    )
