"""The web application of the gateway: routes, answers, metrics and log."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from schemas.json_text import compact
from worker.gateway.client_connections import REFUSED
from worker.gateway.openapi import document
from worker.gateway.operations import EVENTS, OPENAPI, WEBHOOK, Operation
from worker.gateway.problems import Kind, Refusal, answer
from worker.gateway.receiving import Accepted, Receiver
from worker.pipeline.log_throttle import LogThrottle
from worker.ports import Clock
from worker.telemetry import GATEWAY_REQUEST_SECONDS, GATEWAY_REQUESTS, LogEvent, Metrics

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.gateway")

_OTHER: Final = "other"
_KIND_OF_STATUS: Final = {404: Kind.NOT_FOUND, 405: Kind.METHOD_NOT_ALLOWED}
_ROUTER_DETAILS: Final = {
    Kind.NOT_FOUND: "the path does not exist; /openapi.json lists those that do",
    Kind.METHOD_NOT_ALLOWED: "the path does not have this method",
    Kind.INVALID_REQUEST: "the request is not valid",
}

_PAUSING: Final = (Kind.UNAUTHENTICATED, Kind.TOO_MANY_REQUESTS)
_PATH_CHARS_MAX: Final = 200

Receive = Callable[[Request], Awaitable[Accepted]]


def application(receiver: Receiver, *, event_bytes_max: int, clock: Clock, metrics: Metrics) -> Starlette:
    answers = _Answers(clock=clock, metrics=metrics)
    openapi = compact(document(event_bytes_max=event_bytes_max))

    async def get_openapi(_request: Request) -> Response:
        return Response(openapi, media_type="application/json")

    def route(operation: Operation, endpoint: Callable[[Request], Awaitable[Response]]) -> Route:
        return Route(operation.path, endpoint, methods=[operation.method], name=operation.name)

    app = Starlette(
        routes=[
            route(EVENTS, answers.endpoint(EVENTS, receiver.events)),
            route(WEBHOOK, answers.endpoint(WEBHOOK, receiver.webhook)),
            route(OPENAPI, get_openapi),
        ],
        exception_handlers={HTTPException: answers.of_router, Exception: answers.of_fault},
    )
    app.router.redirect_slashes = False
    return app


class _Answers:
    """Turns outcomes into answers, and counts and logs them. Refusals are throttled: any client can cause them."""

    def __init__(self, *, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._throttle = LogThrottle()

    def endpoint(self, operation: Operation, receive: Receive) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            began_seconds = self._clock.monotonic_seconds()
            try:
                accepted = await receive(request)
            except Refusal as refusal:
                return self._refused(refusal, request, route=operation.name)
            self._metrics.count(GATEWAY_REQUESTS, operation.name, str(HTTPStatus.ACCEPTED.value))
            self._metrics.observe(GATEWAY_REQUEST_SECONDS, self._clock.monotonic_seconds() - began_seconds)
            _log.debug(LogEvent.REQUEST_ACCEPTED, path=request.url.path, key=accepted.key, accepted=accepted.document)
            return Response(compact(accepted.document), status_code=HTTPStatus.ACCEPTED, media_type="application/json")

        return endpoint

    async def of_router(self, request: Request, error: Exception) -> Response:
        """For a path or a method that does not exist."""
        status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.BAD_REQUEST
        kind = _KIND_OF_STATUS.get(status, Kind.INVALID_REQUEST)
        headers = (error.headers or {}) if isinstance(error, HTTPException) else {}
        allow = next((value for name, value in headers.items() if name.lower() == "allow"), None)
        return self._refused(Refusal(kind, _ROUTER_DETAILS[kind]), request, route=_OTHER, allow=allow)

    async def of_fault(self, request: Request, error: Exception) -> Response:
        """For a bug, whose traceback the web server logs."""
        del error
        fault = Refusal(Kind.INTERNAL, "an error of the gateway; its log has the traceback")
        return self._refused(fault, request, route=_OTHER)

    def _refused(self, refusal: Refusal, request: Request, *, route: str, allow: str | None = None) -> Response:
        if refusal.kind in _PAUSING:
            request.scope["state"][REFUSED] = True
        self._metrics.count(GATEWAY_REQUESTS, route, str(refusal.status.value))
        left_out = self._throttle.left_out_before(
            f"{route} {refusal.kind} {refusal.key}", now_seconds=self._clock.monotonic_seconds()
        )
        if left_out is not None:
            _log.warning(
                LogEvent.REQUEST_REFUSED,
                status=refusal.status.value,
                kind=refusal.kind.value,
                detail=refusal.detail,
                cause=refusal.cause,
                key=refusal.key,
                path=request.url.path[:_PATH_CHARS_MAX],
                lines_left_out=left_out or None,
            )
        return answer(refusal, allow=allow)
