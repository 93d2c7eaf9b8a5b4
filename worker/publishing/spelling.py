"""Names in an event that are probably misspelt. The worker ignores unknown fields, so it reports none of them."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches

from pydantic import BaseModel

from schemas.context_attributes import KNOWN_ATTRIBUTES
from schemas.detail import echo, pointer
from schemas.incoming import DATA_MODELS, ApimBaseRevision, ReleaseFields
from schemas.types import EventType, short_type

_SIMILARITY_MIN = 0.75
_WARNINGS_MAX = 10
_ENVELOPE = (*KNOWN_ATTRIBUTES, "data", "data_base64")
_COMMON_EXTENSIONS = frozenset(
    {"traceparent", "tracestate", "partitionkey", "sequence", "sequencetype", "sampledrate", "dataref", "correlationid"}
)
_SEPARATORS = re.compile("[^a-z0-9]")


def closest_type(text: str) -> str | None:
    """The accepted type with the most similar name; None if none is similar."""
    short = {short_type(event_type): event_type for event_type in EventType}
    found = closest(short_type(text), short)
    return None if found is None else str(short[found])


def accepted_types(text: str) -> str:
    """All accepted types, the most similar one first."""
    first = closest_type(text)
    return ", ".join(sorted(EventType, key=lambda event_type: event_type != first))


def closest(name: str, names: Collection[str]) -> str | None:
    """The most similar of `names`, regardless of case, `_` and `-`; None if none is similar."""
    plain = {_plain(candidate): candidate for candidate in names}
    found = get_close_matches(_plain(name), plain, n=1, cutoff=_SIMILARITY_MIN)
    return plain[found[0]] if found else None


def misspelt_names(event: Mapping[str, object], event_type: EventType) -> tuple[str, ...]:
    """Up to ten warnings, as `name: problem`, about names in a valid event, given as a JSON object."""
    model = DATA_MODELS[event_type]
    data = event.get("data")
    members = data if isinstance(data, dict) else {}
    found = [*_of_envelope(event), *_of_object(members, model, ("data",))]
    misplaced = sorted((event.keys() & model.model_fields) - members.keys())
    found += [f"{name}: is ignored here; move it to {pointer(('data',))}" for name in misplaced]
    return tuple(found[:_WARNINGS_MAX])


def misspelt_attributes(event: Mapping[str, object]) -> tuple[str, ...]:
    """Up to ten warnings about the names of an event's attributes alone."""
    return tuple(_of_envelope(event))[:_WARNINGS_MAX]


def _of_envelope(event: Mapping[str, object]) -> Iterator[str]:
    for name in sorted(event.keys() - set(_ENVELOPE) - _COMMON_EXTENSIONS):
        if found := closest(name, [each for each in _ENVELOPE if each not in event]):
            yield f"{echo(name)}: is not a CloudEvents attribute; did you mean {found}?"


def _of_object(members: Mapping[str, object], model: type[BaseModel], path: Sequence[str | int]) -> Iterator[str]:
    fields = set(model.model_fields)
    for name in sorted(members.keys() - fields):
        if found := closest(name, sorted(fields - members.keys())):
            yield f"{pointer((*path, name))}: is not a field, and is ignored; did you mean {found}?"
        elif "release" in fields and name in ReleaseFields.model_fields:
            yield f"{pointer((*path, name))}: is ignored here; move it to {pointer((*path, 'release'))}"
    release = members.get("release")
    if "release" in fields and isinstance(release, dict):
        yield from _of_object(release, ReleaseFields, (*path, "release"))
    revisions = members.get("apim_base_revisions")
    if "apim_base_revisions" in fields and isinstance(revisions, list):
        for index, revision in enumerate(revisions):
            if isinstance(revision, dict):
                yield from _of_object(revision, ApimBaseRevision, (*path, "apim_base_revisions", index))


def _plain(name: str) -> str:
    return _SEPARATORS.sub("", name.lower())
