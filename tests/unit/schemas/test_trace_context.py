"""A trace context is carried on where it is valid, and else ignored; the event is accepted either way."""

import json
from typing import Any

import pytest

from schemas.envelope import write_binary, write_structured
from schemas.event import Event
from schemas.trace_context import TRACESTATE_LENGTH_MAX, TraceContext, trace_context
from tests.unit.schemas.records import RELEASE_DATA, RELEASE_ID, binary, decoded, headers, record, structured

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"


@pytest.mark.parametrize("traceparent", [PARENT, f"00-{TRACE_ID}-{SPAN_ID}-00", f"00-{TRACE_ID}-{SPAN_ID}-ff"])
def test_valid_traceparent_stays_as_it_is(traceparent: str) -> None:
    assert trace_context(traceparent, None) == TraceContext(traceparent)


@pytest.mark.parametrize(
    "traceparent",
    [
        None,
        7,
        "",
        PARENT.upper(),
        f"{PARENT} ",
        f"{PARENT}\n",
        f"{PARENT}-more",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID[1:]}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{SPAN_ID}",
        f"00-{TRACE_ID}-{SPAN_ID}-0x",
    ],
)
def test_invalid_traceparent_is_ignored_with_its_tracestate(traceparent: object) -> None:
    assert trace_context(traceparent, "ci=1") is None


@pytest.mark.parametrize(("flags", "more", "known"), [("01", "", "01"), ("07", "-more", "01"), ("02", "-", "00")])
def test_later_version_is_written_as_version_00(flags: str, more: str, known: str) -> None:
    later = trace_context(f"cc-{TRACE_ID}-{SPAN_ID}-{flags}{more}", "ci=1")
    assert later == TraceContext(f"00-{TRACE_ID}-{SPAN_ID}-{known}", "ci=1")


@pytest.mark.parametrize(
    "tracestate",
    [
        "ci=1",
        "ci=1,other@vendor=a b;c/d:e",
        " ci=1 ,\tother=2,,",
        ",".join(f"k{i}=v" for i in range(32)),
        f"{'k' * 255}={'v' * 256}",
    ],
)
def test_valid_tracestate_stays_as_it_is(tracestate: str) -> None:
    assert trace_context(PARENT, tracestate) == TraceContext(PARENT, tracestate)


@pytest.mark.parametrize(
    "tracestate",
    [
        None,
        {},
        "",
        " , ",
        "ci",
        "ci=",
        "=1",
        "CI=1",
        "ci=1=2",
        "ci=ü",
        "ci=1\n",
        "ci=1,ci=2",
        "ci=1,broken",
        ",".join(f"k{i}=v" for i in range(33)),
        f"ci={'v' * TRACESTATE_LENGTH_MAX}",
    ],
)
def test_invalid_tracestate_leaves_the_traceparent(tracestate: object) -> None:
    assert trace_context(PARENT, tracestate) == TraceContext(PARENT)


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_event_has_the_trace_context_of_its_attributes(mode: str) -> None:
    given = {"traceparent": PARENT, "tracestate": "ci=1"}
    assert _decoded(mode, given).trace == TraceContext(PARENT, "ci=1")
    assert _decoded(mode, {"tracestate": "ci=1"}).trace is None
    assert _decoded(mode, {"traceparent": "broken", "tracestate": "ci=1"}).trace is None


@pytest.mark.parametrize("value", [7, None, {}, ["x"]])
def test_structured_event_with_an_odd_trace_context_is_accepted(value: object) -> None:
    assert _decoded("structured", {"traceparent": value, "tracestate": value}).trace is None


def test_unreadable_trace_headers_are_ignored() -> None:
    value = json.dumps(RELEASE_DATA).encode()
    parent, other = PARENT.encode(), PARENT[:-1].encode() + b"0"
    repeated = record(value, (*headers(traceparent=parent), ("CE_TraceParent", other)))
    assert decoded(repeated).trace is None
    assert decoded(binary(traceparent=parent, tracestate=b"\xff=1")).trace == TraceContext(PARENT)


@pytest.mark.parametrize("write", [write_binary, write_structured])
@pytest.mark.parametrize("trace", [None, TraceContext(PARENT), TraceContext(PARENT, "ci=1")])
def test_written_trace_context_is_read_again(write: Any, trace: TraceContext | None) -> None:
    original = decoded(binary())
    value, written = write(
        source="s", id="1", type=original.type, time=original.time, subject=RELEASE_ID, data=original.data, trace=trace
    )
    names = [name for name, _ in written] if write is write_binary else list(json.loads(value))
    assert sum("trace" in name for name in names) == (0 if trace is None else 1 + (trace.tracestate is not None))
    assert decoded(record(value, written)).trace == trace


def _decoded(mode: str, given: dict[str, Any]) -> Event:
    if mode == "structured":
        return decoded(structured(**given))
    return decoded(binary(**{name: text.encode() for name, text in given.items()}))
