"""Recognise a foreign record's format, and adapt it.

In this order: the header `rudder-format`; the format that the configuration gives the topic; the CloudEvents type; the
vendor's headers, where a bridge carries them; the shape of the body. Two bridges wrap the body: Kong's `kafka-upstream`
and Argo Events' Kafka trigger.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

from schemas.adapters import (
    argocd,
    azure_devops,
    cdevents,
    eiffel,
    flagger,
    flux,
    github,
    gitlab,
    jenkins,
    keptn,
    tekton,
)
from schemas.adapters.foreign import Adapted, ForeignEvent, ForeignRecord, Format, Unreadable
from schemas.attributes import SPECVERSION, Attributes, read_attributes
from schemas.detail import echo
from schemas.envelope import Envelope
from schemas.json_text import MalformedJsonError, parse
from schemas.record import Headers

FORMAT_HEADER: Final = "rudder-format"

_KONG_MEMBERS: Final = {"method", "headers", "uri", "uri_args", "body", "body_args", "body_base64"}
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")


class Adapter(Protocol):
    """A format: a module of this package, or one entry of the mapping's `formats`."""

    def has_type(self, type_: str, /) -> bool: ...

    def has_headers(self, headers: Mapping[str, str], /) -> bool: ...

    def has_shape(self, body: Mapping[str, Any], /) -> bool: ...

    def adapt(self, record: ForeignRecord, /) -> Adapted: ...


ADAPTERS: Final[Mapping[str, Adapter]] = {
    Format.GITHUB: github,
    Format.GITLAB: gitlab,
    Format.ARGOCD: argocd,
    Format.CDEVENTS: cdevents,
    Format.TEKTON: tekton,
    Format.JENKINS: jenkins,
    Format.AZURE_DEVOPS: azure_devops,
    Format.FLAGGER: flagger,
    Format.FLUX: flux,
    Format.KEPTN: keptn,
    Format.EIFFEL: eiffel,
}
"""In the order in which types, headers and shapes are compared."""


def adapt_envelope(
    envelope: Envelope,
    value: bytes,
    headers: Headers,
    *,
    fixed: str | None = None,
    generic: Mapping[str, Adapter] = MappingProxyType({}),
) -> Adapted | None:
    """What the adapter of the record's format makes of it; None: the format is unknown.

    `envelope`: that of the record, read before. `fixed`: the format of its topic. `generic`: further formats, by name;
    they are compared first.

    Raises:
        Unreadable: the header `rudder-format` names no format, or the record is not what its format says.
    """
    names = _text_headers(headers)
    body = _body(envelope, value)
    names, body = _unwrapped(names, body)
    adapters = {**generic, **ADAPTERS}
    attributes = envelope.attributes if envelope.fault is None else Attributes()
    record = ForeignRecord(
        headers=names,
        body=body if isinstance(body, Mapping) else {},
        source=attributes.source,
        id=attributes.id,
        type=attributes.type,
        time=attributes.time,
    )
    adapter = _recognised(record, adapters, fixed=fixed)
    if adapter is None:
        return None
    if not isinstance(body, Mapping):
        raise Unreadable(": the value is not a JSON object" if body is not None else ": the value is not JSON")
    adapted = adapter.adapt(record)
    if isinstance(adapted, ForeignEvent):
        _check_identity(adapted)
    return adapted


def _recognised(record: ForeignRecord, adapters: Mapping[str, Adapter], *, fixed: str | None) -> Adapter | None:
    named = record.headers.get(FORMAT_HEADER, fixed)
    if named is not None:
        adapter = adapters.get(named)
        if adapter is None:
            raise Unreadable(f"{FORMAT_HEADER}: there is no format {echo(named)}", unsupported=True)
        return adapter
    type_ = record.type
    if type_ is not None and (adapter := _first(adapters, lambda one: one.has_type(type_))) is not None:
        return adapter
    return _first(adapters, lambda one: one.has_headers(record.headers)) or _first(
        adapters, lambda one: one.has_shape(record.body)
    )


def _first(adapters: Mapping[str, Adapter], fits: Callable[[Adapter], bool]) -> Adapter | None:
    return next((adapter for adapter in adapters.values() if fits(adapter)), None)


def _text_headers(headers: Headers) -> dict[str, str]:
    """By name in lower case, as text; the first of repeated ones."""
    names: dict[str, str] = {}
    for name, raw in headers:
        if raw is not None:
            names.setdefault(name.lower(), raw.decode("utf-8", "replace"))
    return names


def _body(envelope: Envelope, value: bytes) -> object:
    """The event's data, or else the whole value; None: it is not JSON."""
    if envelope.fault is None and envelope.data_fault is None:
        return envelope.data
    try:
        return parse(value)
    except MalformedJsonError:
        return None


def _unwrapped(headers: dict[str, str], body: object) -> tuple[dict[str, str], object]:
    """The headers and the body of the request that a bridge wrapped; the record's own headers come first."""
    if not isinstance(body, Mapping):
        return headers, body
    data = body.get("data")
    if isinstance(data, Mapping) and isinstance(body.get("context"), Mapping) and "body" in data:
        return _request_headers(data.get("header", data.get("headers"))) | headers, _parsed(data["body"])
    if isinstance(body.get("body"), str) and body.keys() <= _KONG_MEMBERS:
        encoded = body.get("body_base64") is True
        return _request_headers(body.get("headers")) | headers, _parsed(body["body"], encoded=encoded)
    return headers, body


def is_wrapped(body: Mapping[str, Any]) -> bool:
    """Whether a bridge has wrapped the request's body in this one."""
    return _unwrapped({}, body)[1] is not body


def _parsed(body: object, *, encoded: bool = False) -> object:
    """A request's body: JSON, or the text or the base64 text of it; None: it is not JSON."""
    if not isinstance(body, str):
        return body
    try:
        return parse(base64.b64decode(body, validate=True) if encoded else body.encode("utf-8", "surrogatepass"))
    except (MalformedJsonError, binascii.Error, ValueError):
        return None


def _request_headers(headers: object) -> dict[str, str]:
    """The headers of a wrapped request: a text, or a list of texts, for each name."""
    if not isinstance(headers, Mapping):
        return {}
    found = {}
    for name, value in headers.items():
        first = value[0] if isinstance(value, list) and value else value
        if isinstance(first, str):
            found[name.lower()] = first
    return found


def _check_identity(event: ForeignEvent) -> None:
    """An identity that fits its columns and has no control character, as that of our events. Raises Unreadable."""
    given = {"specversion": SPECVERSION, "source": event.source, "id": event.id, "type": str(event.type)}
    if problems := read_attributes(given, faults={}).problems:
        raise Unreadable(f"/: the identity of its event cannot be used: {problems[0]}")
    if event.run is not None and _CONTROL.search(event.run):
        raise Unreadable("/: the identity of its deployment has a control character")
