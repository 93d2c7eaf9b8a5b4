"""Why a request is refused, and the answer: problem details as in RFC 9457."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from starlette.responses import Response

from schemas.described import Described
from schemas.detail import printable
from schemas.json_text import compact
from schemas.reasons import Reason

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:rudder:problem:"


class Kind(Described):
    """The kinds of refusals: the ends of `type`, and the values of `kind` in the log."""

    INVALID_REQUEST = (
        "invalid_request",
        "a header is missing, repeated or wrong, or the request is not HTTP as expected",
    )
    MALFORMED_JSON = "malformed_json", "the body is not JSON as defined by RFC 7493 (I-JSON)"
    NOT_A_CLOUDEVENT = "not_a_cloudevent", "the event has no CloudEvents 1.0 envelope, or an invalid attribute"
    UNSUPPORTED_TYPE = "unsupported_type", "the event's type is not accepted"
    INVALID_DATA = "invalid_data", "the data does not conform to its schema; `errors` lists the JSON pointers"
    UNAUTHENTICATED = "unauthenticated", "no key has this token or signature, or the signature is too old"
    FORBIDDEN = "forbidden", "the key does not cover the organization or the project"
    SOURCE_NOT_ALLOWED = "source_not_allowed", "RUDDER_SOURCES_FILE does not allow the event's source"
    NOT_FOUND = "not_found", "the path does not exist, or no key is for this webhook"
    METHOD_NOT_ALLOWED = "method_not_allowed", "the path does not have this method"
    TIMEOUT = "timeout", "the body did not arrive in time"
    TOO_LARGE = "too_large", "the body or the batch is too large, or the topic refuses the record"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", "the content type or the content encoding is not accepted"
    TOO_MANY_REQUESTS = "too_many_requests", "too many requests are in progress; send it again after Retry-After"
    INTERNAL = "internal", "an error of the gateway; its log has the traceback"
    UNAVAILABLE = "unavailable", "Kafka has not acknowledged the event; send it again after Retry-After"


STATUSES: Final[Mapping[Kind, HTTPStatus]] = MappingProxyType(
    {
        Kind.INVALID_REQUEST: HTTPStatus.BAD_REQUEST,
        Kind.MALFORMED_JSON: HTTPStatus.BAD_REQUEST,
        Kind.NOT_A_CLOUDEVENT: HTTPStatus.BAD_REQUEST,
        Kind.UNSUPPORTED_TYPE: HTTPStatus.BAD_REQUEST,
        Kind.INVALID_DATA: HTTPStatus.BAD_REQUEST,
        Kind.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
        Kind.FORBIDDEN: HTTPStatus.FORBIDDEN,
        Kind.SOURCE_NOT_ALLOWED: HTTPStatus.FORBIDDEN,
        Kind.NOT_FOUND: HTTPStatus.NOT_FOUND,
        Kind.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
        Kind.TIMEOUT: HTTPStatus.REQUEST_TIMEOUT,
        Kind.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        Kind.UNSUPPORTED_MEDIA_TYPE: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        Kind.TOO_MANY_REQUESTS: HTTPStatus.TOO_MANY_REQUESTS,
        Kind.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
        Kind.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    }
)

_KINDS: Final = {str(kind): kind for kind in Kind}
_OVERLOADED_SECONDS = 1
_OUTAGE_SECONDS = 5
_CLOSE = ("connection", "close")
_OWN_HEADERS: Final[Mapping[Kind, tuple[tuple[str, str], ...]]] = MappingProxyType(
    {
        Kind.UNAUTHENTICATED: (
            ("www-authenticate", 'Bearer realm="rudder-worker"'),
            ("www-authenticate", 'Basic realm="rudder-worker", charset="UTF-8"'),
        ),
        Kind.TIMEOUT: (_CLOSE,),
        Kind.TOO_MANY_REQUESTS: (("retry-after", str(_OVERLOADED_SECONDS)),),
        Kind.UNAVAILABLE: (("retry-after", str(_OUTAGE_SECONDS)),),
        Kind.UNSUPPORTED_MEDIA_TYPE: (("accept-encoding", "identity"),),
    }
)
_NEXT = re.compile("; (?=/|[a-z0-9]+: )")
_ATTRIBUTE = re.compile("[a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`pointer`: RFC 6901, into the event in structured form or into the webhook's body; empty: the whole."""

    pointer: str
    detail: str


class Refusal(Exception):
    """The request is not accepted. Reaction: answer with the problem. No text of it holds a secret. `key`, `cause`: for
    the log only.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        errors: Sequence[Fault] = (),
        key: str | None = None,
        cause: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = printable(detail)
        self.errors = tuple(errors)
        self.key = key
        self.cause = cause

    @property
    def status(self) -> HTTPStatus:
        return STATUSES[self.kind]


def kind_of(reason: Reason) -> Kind:
    """The kind of a rejection by `schemas.decode`: of the same name, where there is one."""
    return _KINDS.get(reason.value, Kind.INVALID_DATA)


def faults_of(detail: str, *, within: str = "") -> tuple[Fault, ...]:
    """The problems of a detail (`schemas.detail.joined`): `/pointer: problem` or `attribute: problem`, separated by
    `; `. `within`: the pointer to the event in its batch. Other text concerns the whole event.
    """
    faults = []
    for problem in _NEXT.split(detail):
        path, colon, text = problem.partition(": ")
        if colon and _ATTRIBUTE.fullmatch(path):
            path = f"/{path}"
        pointed = bool(colon) and path.startswith("/")
        faults.append(Fault(pointer=within + (path if pointed else ""), detail=text if pointed else problem))
    return tuple(faults)


def answer(refusal: Refusal, *, allow: str | None = None) -> Response:
    """`allow`: the methods of the path, for a method that it does not have."""
    status = refusal.status
    document: dict[str, object] = {
        "type": TYPE_PREFIX + refusal.kind,
        "title": status.phrase,
        "status": status.value,
        "detail": refusal.detail,
    }
    if refusal.errors:
        document["errors"] = [
            {"pointer": printable(fault.pointer), "detail": printable(fault.detail)} for fault in refusal.errors
        ]
    response = Response(compact(document), status_code=status, media_type=MEDIA_TYPE)
    for name, value in _OWN_HEADERS.get(refusal.kind, ()):
        response.headers.append(name, value)
    if allow is not None:
        response.headers["allow"] = allow
    return response
