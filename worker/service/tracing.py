"""OpenTelemetry: one span per message, a child of the publisher's where the event says which that was.

Names follow OpenTelemetry's semantic conventions for messaging and for CloudEvents. The parent is read from the header
`traceparent`, as Kafka clients write it, or from the CloudEvents extension attribute of that name. A status event gets
both: its extension attribute is the cause's, unchanged; its header names the span that the event was published in.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from schemas.event import Event
from schemas.record import Headers
from schemas.trace_context import TRACE_ATTRIBUTES
from worker.rules.message import Message
from worker.rules.state import Outcome, Rejected
from worker.version import __version__

_PROPAGATOR = TraceContextTextMapPropagator()


class OtelTracer:
    """`worker.ports.Tracer`. The exporter batches in a thread of its own and drops spans it cannot deliver."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("rudder-worker", __version__)

    @classmethod
    def to_collector(cls) -> "OtelTracer":
        """Export by OTLP over HTTP; where to, OpenTelemetry's own environment variables say."""
        provider = TracerProvider(resource=Resource.create({SERVICE_NAME: "rudder-worker"}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider)

    @contextmanager
    def span(self, message: Message) -> Iterator["OtelSpan"]:
        parent = _PROPAGATOR.extract(_carrier(message), context=Context())
        with self._tracer.start_as_current_span(
            f"process {message.record.topic}", context=parent, kind=SpanKind.CONSUMER, attributes=_attributes(message)
        ) as span:
            yield OtelSpan(span)


class OtelSpan:
    """`worker.ports.MessageSpan`."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def set_outcome(self, outcome: Outcome) -> None:
        self._span.set_attribute("rudder.outcome", type(outcome).__name__.lower())
        if isinstance(outcome, Rejected):
            self._span.set_status(Status(StatusCode.ERROR, outcome.rejection.reason))

    def headers(self) -> Headers:
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, context=set_span_in_context(self._span, Context()))
        return tuple((name, text.encode()) for name, text in carrier.items())


def _carrier(message: Message) -> Mapping[str, str]:
    """The publisher's context: of its last hop, else of the event."""
    if carried := _headers(message, "") or _headers(message, "ce_"):
        return carried
    trace = message.content.trace if isinstance(message.content, Event) else None
    return {} if trace is None else {name: text for name, text in trace._asdict().items() if text is not None}


def _headers(message: Message, prefix: str) -> Mapping[str, str]:
    names = {prefix + name: name for name in TRACE_ATTRIBUTES}
    return {
        names[name]: value.decode("ascii", errors="replace")
        for name, value in message.record.headers
        if value is not None and name in names
    }


def _attributes(message: Message) -> dict[str, str | int]:
    record, content = message.record, message.content
    attributes: dict[str, str | int | None] = {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": record.topic,
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
        "cloudevents.event_id": content.id,
        "cloudevents.event_source": content.source,
        "cloudevents.event_type": content.type,
        "rudder.release_id": str(message.release_id) if message.release_id else None,
    }
    return {name: value for name, value in attributes.items() if value is not None}
