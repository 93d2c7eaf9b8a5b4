"""A message's span is the publisher's child and says what the message came to."""

from dataclasses import replace

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from schemas.event import Event
from schemas.record import Headers, Record
from schemas.trace_context import TraceContext
from tests.unit.pipeline.scripted import created
from worker.pipeline.transaction import read
from worker.rules.decide import decide
from worker.rules.errors import LeaseLost
from worker.rules.message import Message
from worker.rules.state import State
from worker.service.tracing import OtelTracer

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"


def traced(message: Message, *, error: Exception | None = None) -> ReadableSpan:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    try:
        with OtelTracer(provider).span(message) as own:
            if error is not None:
                raise error
            own.set_outcome(decide(State(), message))
    finally:
        provider.shutdown()
    (span,) = exporter.get_finished_spans()
    return span


def a_message(*headers: tuple[str, bytes | None]) -> Message:
    record = created("r", offset=7)
    return read(_with(record, (*record.headers, *headers)), event_bytes_max=1_000_000)


def _with(record: Record, headers: Headers) -> Record:
    return Record(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp_ms,
        key=None,
        value=record.value,
        headers=headers,
    )


def test_span_has_the_record_the_event_and_the_outcome() -> None:
    span = traced(a_message())
    assert span.name == "process in"
    assert span.kind is SpanKind.CONSUMER
    assert span.attributes is not None
    assert span.attributes["messaging.kafka.offset"] == 7
    assert span.attributes["cloudevents.event_id"] == "r in/0@7"
    assert span.attributes["rudder.outcome"] == "applied"
    assert span.parent is None


@pytest.mark.parametrize("header", ["traceparent", "ce_traceparent"])
def test_span_is_the_child_of_the_publishers(header: str) -> None:
    span = traced(a_message((header, PARENT.encode())))
    assert span.parent is not None
    assert f"{span.parent.trace_id:x}" == "af7651916cd43dd8448eb211c80319c"
    assert f"{span.parent.span_id:x}" == "b7ad6b7169203331"


def test_span_is_the_child_of_a_structured_events_trace_context() -> None:
    """It has no header of it."""
    plain = a_message()
    assert isinstance(plain.content, Event)
    span = traced(replace(plain, content=replace(plain.content, trace=TraceContext(PARENT, "ci=1"))))
    assert span.parent is not None
    assert f"{span.parent.span_id:x}" == "b7ad6b7169203331"
    assert span.parent.trace_state.get("ci") == "1"


def test_last_hop_is_preferred_to_the_events_own_trace_context() -> None:
    span = traced(a_message(("traceparent", PARENT.encode()), ("ce_traceparent", OTHER.encode())))
    assert span.parent is not None
    assert f"{span.parent.span_id:x}" == "b7ad6b7169203331"


def test_records_produced_in_a_span_name_it_in_a_header() -> None:
    provider = TracerProvider()
    tracer = OtelTracer(provider)
    with tracer.span(a_message(("traceparent", PARENT.encode()), ("tracestate", b"ci=1"))) as span:
        context = get_current_span().get_span_context()
        parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-01"
        assert span.headers() == (("traceparent", parent.encode()), ("tracestate", b"ci=1"))
    provider.shutdown()


def test_spans_of_one_chain_are_independent() -> None:
    """They are open at the same time, and each names itself in its records."""
    provider = TracerProvider()
    tracer = OtelTracer(provider)
    with tracer.span(a_message()) as first, tracer.span(a_message()) as second:
        [(_, of_first), *_], [(_, of_second), *_] = first.headers(), second.headers()
        trace_ids = [(value or b"").split(b"-")[1] for value in (of_first, of_second)]
    assert len(set(trace_ids)) == 2, "the second is no child of the first"
    provider.shutdown()


@pytest.mark.parametrize("garbage", [b"", b"\xff\xfe", b"00-xyz-1-01"])
def test_invalid_parent_is_ignored(garbage: bytes) -> None:
    assert traced(a_message(("traceparent", garbage))).parent is None


def test_rejection_is_an_error_with_its_reason() -> None:
    message = read(Record(topic="in", partition=0, offset=0, timestamp_ms=0, key=None, value=b"{"), event_bytes_max=100)
    span = traced(message)
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "malformed_json"


def test_error_passes_through_the_span() -> None:
    with pytest.raises(LeaseLost):
        traced(a_message(), error=LeaseLost())
