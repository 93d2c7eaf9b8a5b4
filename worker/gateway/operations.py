"""The operations of the gateway: one table, from which its routes and its OpenAPI document are made."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from worker.gateway.problems import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """`name`: the operationId, and the metric's label `route`. `kinds`: of its refusals."""

    name: str
    method: str
    path: str
    summary: str
    description: str
    success: HTTPStatus
    kinds: Sequence[Kind] = ()


_RECEIVING: Final = (
    Kind.INVALID_REQUEST,
    Kind.MALFORMED_JSON,
    Kind.INVALID_DATA,
    Kind.UNAUTHENTICATED,
    Kind.FORBIDDEN,
    Kind.TIMEOUT,
    Kind.TOO_LARGE,
    Kind.UNSUPPORTED_MEDIA_TYPE,
    Kind.TOO_MANY_REQUESTS,
    Kind.UNAVAILABLE,
)

EVENTS: Final = Operation(
    name="postEvents",
    method="POST",
    path="/events",
    summary="Send one CloudEvent, or a batch",
    description=(
        "CloudEvents HTTP protocol binding 1.0.2, in binary, structured or batched content mode. A batch is accepted "
        "as a whole: if one event is not acceptable, none is sent."
    ),
    success=HTTPStatus.ACCEPTED,
    kinds=(*_RECEIVING, Kind.NOT_A_CLOUDEVENT, Kind.UNSUPPORTED_TYPE, Kind.SOURCE_NOT_ALLOWED),
)
WEBHOOK: Final = Operation(
    name="postWebhook",
    method="POST",
    path="/webhooks/{source}",
    summary="Receive a webhook of a CI/CD system",
    description=(
        "The body and the system's own headers become a Kafka record, unchanged; its header rudder-format has the "
        "source."
    ),
    success=HTTPStatus.ACCEPTED,
    kinds=(*_RECEIVING, Kind.NOT_FOUND),
)
OPENAPI: Final = Operation(
    name="getOpenapi",
    method="GET",
    path="/openapi.json",
    summary="This document",
    description="The OpenAPI 3.1 document of this gateway.",
    success=HTTPStatus.OK,
)

OPERATIONS: Final = (EVENTS, WEBHOOK, OPENAPI)
