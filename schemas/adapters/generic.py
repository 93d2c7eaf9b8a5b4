"""The generic adapter, for sources without an adapter of their own.

An entry of the mapping file's section `formats` picks the values by JMESPath expressions, and its table gives the
meaning of the source's statuses. The entry's name is the value of the header `rudder-format` and the beginning of
`Original.type`. `docs/reference/sources/generic.md` describes it; `docs/examples/formats/` has ready ones.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Any, Final
from uuid import UUID

from schemas.adapters import fields
from schemas.adapters.expressions import Evaluation, Expression, ExpressionError, is_true
from schemas.adapters.foreign import (
    Adapted,
    Artifact,
    ForeignEvent,
    ForeignRecord,
    Format,
    NoInterest,
    Original,
    Unreadable,
)
from schemas.adapters.generic_format import (
    ACTIVITY,
    EVENT_TYPES,
    IGNORE,
    IMAGES_MAX,
    OTHERWISE,
    ArtifactExpressions,
    GenericFormat,
    ScopeExpressions,
    TimeFormat,
)
from schemas.detail import echo, pointer
from schemas.json_text import compact
from schemas.text import NAME_UNITS_MAX, SOURCE_UNITS_MAX, UUID_TEXT, utf16_units
from schemas.types import EventType

FORMAT: Final = Format.GENERIC
_PREFIX_CHARS: Final = 60
_PER_SECOND: Final = {TimeFormat.UNIX_SECONDS: 1, TimeFormat.UNIX_MILLISECONDS: 1_000}


@dataclass(frozen=True, slots=True)
class GenericAdapter:
    """One entry with its name: the same functions as the modules of the other formats."""

    name: str
    definition: GenericFormat

    def has_type(self, type_: str) -> bool:
        return any(_is_of(type_, pattern) for pattern in self.definition.types)

    def has_headers(self, headers: Mapping[str, str]) -> bool:
        names = self.definition.headers
        return bool(names) and all(name in headers for name in names)

    def has_shape(self, body: Mapping[str, Any]) -> bool:
        """Whether `when` is true for the body; False where it has no value."""
        when = self.definition.when
        try:
            return when is not None and is_true(Evaluation(ForeignRecord(headers={}, body=body)).value(when))
        except ExpressionError:
            return False

    def adapt(self, record: ForeignRecord) -> Adapted:
        """What the record says. Raises Unreadable, with pointers into the mapping file."""
        name, definition, values = self.name, self.definition, _Values(record, self.name)
        if definition.only is not None and not is_true(values.value(definition.only, "only")):
            return NoInterest(format=FORMAT, kind=name)
        status = values.status(definition.status)
        word = status if status in definition.statuses else OTHERWISE
        meaning = definition.statuses.get(word)
        if meaning is None:
            line = f"{compact(echo(status))}: {IGNORE}"
            raise Unreadable(f"{values.at('statuses')}: has no {echo(status)}; add {line} or what else it means")
        nothing = NoInterest(format=FORMAT, kind=f"{name}/{word}")
        if meaning == IGNORE:
            return nothing
        artifact = self._artifact(values)
        activity_type = meaning.removeprefix(ACTIVITY) if meaning.startswith(ACTIVITY) else None
        if activity_type is not None and artifact == Artifact():
            return nothing  # an activity needs a release
        run = values.joined(definition.run, "run")
        type_ = values.text(definition.type, "type")
        texts = values.texts(definition.scope, "scope")
        scope = {"format": name} | {field: text for field, text in texts if text is not None}
        return ForeignEvent(
            format=FORMAT,
            type=EventType.ACTIVITY_RECORDED if activity_type is not None else EVENT_TYPES[meaning],
            activity_type=activity_type,
            source=values.source(definition.source),
            id=values.identity(definition.id, status),
            run=run,
            time=self._time(values) or record.time,
            scope=scope,
            optional=definition.optional and "environment" not in scope,
            artifact=artifact,
            actor=(actor := values.line(definition.actor, "actor")),
            comment=values.line(definition.comment, "comment"),
            original=Original(
                type=name if type_ is None else f"{name}.{type_}",
                id=run,
                status=status,
                url=values.line(definition.url, "url"),
                actor=actor,
            ),
        )

    def _time(self, values: "_Values") -> datetime | None:
        path, body = values.read(self.definition.time, "time")
        if self.definition.time_format is TimeFormat.RFC3339:
            return fields.time_at(body, *path)
        return fields.unix_time_at(body, *path, per_second=_PER_SECOND[self.definition.time_format])

    def _artifact(self, values: "_Values") -> Artifact:
        given = dict(values.texts(self.definition.artifact, "artifact", without="images"))
        images = values.images(self.definition.artifact.images)
        reference = given["image"] or (images[0] if len(images) == 1 else None)
        image, tag, digest = (None, None, None) if reference is None else fields.split_image(reference)
        release_id = given["release_id"]
        if release_id is not None and UUID_TEXT.fullmatch(release_id) is None:
            raise Unreadable(f"{values.at('artifact', 'release_id')}: is not a UUID")
        return Artifact(
            commit=fields.commit_of(given["commit"]),
            image=image,
            tag=given["tag"] or tag,
            digest=fields.split_image(f"@{given['digest']}")[2] or digest,
            images=images,
            name=given["name"],
            release_id=None if release_id is None else UUID(release_id),
        )


class _Values:
    """The values of one record. An error has the pointer of the member in the mapping file."""

    def __init__(self, record: ForeignRecord, name: str) -> None:
        self._evaluation = Evaluation(record)
        self._name = name

    def at(self, *member: str) -> str:
        return pointer(("formats", self._name, *member))

    def value(self, expression: Expression | None, *member: str) -> object:
        try:
            return None if expression is None else self._evaluation.value(expression)
        except ExpressionError as error:
            raise Unreadable(f"{self.at(*member)}: {error.problem}") from None

    def read(self, expression: Expression | None, *member: str) -> tuple[tuple[str, ...], object]:
        """The member's path, and a body that has the value there: what the functions of `fields` read."""
        path = ("formats", self._name, *member)
        value = self.value(expression, *member)
        return path, reduce(lambda inner, step: {step: inner}, reversed(path), value)

    def text(self, expression: Expression | None, *member: str) -> str | None:
        if expression is None:
            return None
        path, body = self.read(expression, *member)
        return fields.text(body, *path)

    def texts(
        self, expressions: ScopeExpressions | ArtifactExpressions, member: str, *, without: str = ""
    ) -> list[tuple[str, str | None]]:
        names = [name for name in type(expressions).model_fields if name != without]
        return [(name, self.text(getattr(expressions, name), member, name)) for name in names]

    def line(self, expression: Expression | None, member: str) -> str | None:
        path, body = self.read(expression, member)
        return fields.line(body, *path)

    def images(self, expression: Expression | None) -> tuple[str, ...]:
        value = self.value(expression, "artifact", "images")
        if value is None:
            return ()
        if not isinstance(value, list):
            raise Unreadable(f"{self.at('artifact', 'images')}: is not an array")
        body = {"images": value[:IMAGES_MAX]}
        texts = (fields.line(body, "images", index) for index in range(len(body["images"])))
        return tuple(text for text in texts if text is not None)

    def status(self, expression: Expression) -> str:
        path, body = self.read(expression, "status")
        value = fields.member(body, *path)
        return str(value).lower() if isinstance(value, bool) else fields.required(body, *path)

    def source(self, expression: Expression) -> str:
        path, body = self.read(expression, "source")
        source = fields.required(body, *path)
        if utf16_units(source) > SOURCE_UNITS_MAX:
            raise Unreadable(f"{pointer(path)}: is longer than {SOURCE_UNITS_MAX} UTF-16 code units")
        return source

    def identity(self, parts: tuple[Expression, ...], status: str) -> str:
        return _shortened([*self._parts(parts, "id"), status])

    def joined(self, parts: tuple[Expression, ...] | None, member: str) -> str | None:
        return None if parts is None else _shortened(self._parts(parts, member))

    def _parts(self, parts: tuple[Expression, ...], member: str) -> list[str]:
        read = (self.read(part, member, str(index)) for index, part in enumerate(parts))
        return [fields.required(body, *path) for path, body in read]


def _is_of(type_: str, pattern: str) -> bool:
    return type_.startswith(pattern[:-1]) if pattern.endswith("*") else type_ == pattern


def _shortened(parts: list[str]) -> str:
    """The parts joined with slashes: readable where it fits an event's id, else its first characters and its hash."""
    text = "/".join(parts)
    if utf16_units(text) <= NAME_UNITS_MAX:
        return text
    return f"{text[:_PREFIX_CHARS]}~{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
