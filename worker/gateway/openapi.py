"""The OpenAPI 3.1 document of the gateway, made from the table of operations."""

from collections import defaultdict
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from worker.gateway.credentials import Signature, Token
from worker.gateway.http_binding import BATCH, BATCH_EVENTS_MAX, STRUCTURED
from worker.gateway.operations import EVENTS, OPERATIONS, WEBHOOK, Operation
from worker.gateway.problems import MEDIA_TYPE, STATUSES, TYPE_PREFIX, Kind
from worker.gateway.webhooks import NAME, SOURCES
from worker.version import __version__

_AUTHORIZATION: Final = ("bearer", "basic")
_RETRY_AFTER: Final = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
_HEADERS_OF: Final = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    HTTPStatus.TOO_MANY_REQUESTS: _RETRY_AFTER,
    HTTPStatus.SERVICE_UNAVAILABLE: _RETRY_AFTER,
}


def document(*, event_bytes_max: int) -> dict[str, Any]:
    """`event_bytes_max`: the largest body in bytes."""
    paths: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for operation in OPERATIONS:
        paths[operation.path][operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "rudder-worker gateway",
            "version": __version__,
            "summary": "Release and deployment events over HTTP, forwarded to Kafka.",
            "description": (
                f"A body has at most {event_bytes_max} bytes, uncompressed. 202 means that all in-sync replicas of "
                "Kafka have the event. After 429 and 503, and after no answer, send the request again: a repeated "
                "event changes nothing."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": dict(paths),
        "components": {"schemas": _schemas(), "securitySchemes": _security_schemes()},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.description,
        "security": [],
        "responses": _responses(operation),
    }
    if operation is EVENTS:
        found["security"] = [{name: []} for name in _AUTHORIZATION]
        found["parameters"] = [_attribute(name) for name in ("specversion", "id", "source", "type", "time")]
        found["requestBody"] = {
            "required": True,
            "content": {
                STRUCTURED: {"schema": _ref("Event")},
                BATCH: {"schema": {"type": "array", "maxItems": BATCH_EVENTS_MAX, "items": _ref("Event")}},
                "application/json": {"schema": {"type": "object", "description": "The data, in binary mode."}},
            },
        }
    if operation is WEBHOOK:
        found["security"] = [{name: []} for name in _security_schemes()]
        found["parameters"] = [
            {
                "name": "source",
                "in": "path",
                "required": True,
                "description": "The system that sends it: " + ", ".join(sorted(SOURCES)) + ", or a name of your own.",
                "schema": {"type": "string", "pattern": f"^{NAME.pattern}$", "examples": sorted(SOURCES)},
            }
        ]
        found["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}}},
        }
    return found


def _responses(operation: Operation) -> dict[str, Any]:
    kinds: defaultdict[HTTPStatus, list[Kind]] = defaultdict(list)
    for kind in operation.kinds:
        kinds[STATUSES[kind]].append(kind)
    refusals = {str(status.value): _problem(status, kinds[status]) for status in sorted(kinds)}
    return {str(operation.success.value): _success(operation), **refusals}


def _success(operation: Operation) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    description = "The document."
    if operation is EVENTS:
        description = "Kafka has acknowledged the event, or all events of the batch."
        schema = {"oneOf": [_ref("Identity"), {"type": "array", "items": _ref("Identity")}]}
    if operation is WEBHOOK:
        description, schema = "Kafka has acknowledged the record.", _ref("Delivery")
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _problem(status: HTTPStatus, kinds: Sequence[Kind]) -> dict[str, Any]:
    return {
        "description": "; ".join(f"`{kind}`: {kind.meaning}" for kind in kinds),
        **({"headers": _HEADERS_OF[status]} if status in _HEADERS_OF else {}),
        "content": {
            MEDIA_TYPE: {
                "schema": {
                    "allOf": [
                        _ref("Problem"),
                        {"properties": {"type": {"enum": [TYPE_PREFIX + kind for kind in kinds]}}},
                    ]
                }
            }
        },
    }


def _attribute(name: str) -> dict[str, Any]:
    return {
        "name": f"ce-{name}",
        "in": "header",
        "required": False,
        "description": "In binary mode, the attribute, percent-encoded. Extensions have a header each, too.",
        "schema": {"type": "string"},
    }


def _schemas() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "Event": {
            "type": "object",
            "required": ["specversion", "id", "source", "type", "data"],
            "description": "A CloudEvent; the JSON Schema of its type is urn:rudder:schema:<type>.",
            "properties": {
                "specversion": {"const": "1.0"},
                "id": text,
                "source": text,
                "type": text,
                "time": {"type": "string", "format": "date-time"},
                "data": {"type": "object"},
            },
        },
        "Identity": {
            "type": "object",
            "required": ["source", "id", "type"],
            "properties": {"source": text, "id": text, "type": text},
        },
        "Delivery": {
            "type": "object",
            "required": ["format", "delivery"],
            "properties": {
                "format": text,
                "delivery": {"type": ["string", "null"], "description": "The sender's id of this delivery."},
                "event": _ref("Identity"),
                "no_interest": {"type": "string", "description": "Instead of `event`: the kind, which has no effect."},
            },
        },
        "Problem": {
            "type": "object",
            "description": "RFC 9457.",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": {"type": "string", "format": "uri"},
                "title": text,
                "status": {"type": "integer"},
                "detail": text,
                "errors": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["pointer", "detail"],
                        "properties": {
                            "pointer": {"type": "string", "format": "json-pointer", "description": "RFC 6901."},
                            "detail": text,
                        },
                    },
                },
            },
        },
    }


def _security_schemes() -> dict[str, Any]:
    schemes: dict[str, Any] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "basic": {"type": "http", "scheme": "basic", "description": "The secret is the password; any user."},
        "standardWebhooks": {
            "type": "apiKey",
            "in": "header",
            "name": "webhook-signature",
            "description": "Standard Webhooks 1.0, with webhook-id and webhook-timestamp.",
        },
    }
    for name, source in SOURCES.items():
        for scheme in source.schemes:
            what = "HMAC SHA-256 of the body." if isinstance(scheme, Signature) else "The secret itself."
            if isinstance(scheme, Signature | Token):
                schemes[str(name)] = {"type": "apiKey", "in": "header", "name": scheme.headers[0], "description": what}
    return schemes


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
