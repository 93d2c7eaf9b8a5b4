"""How a record's format is recognised, and what becomes of the record: header, topic, type, headers, shape, bridges."""

import base64
import json
from collections.abc import Mapping as AnyMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.adapters.foreign import ForeignEvent, ForeignRecord, NoInterest, Unreadable
from schemas.adapters.recognition import adapt_envelope
from schemas.decode import adapt, decode, decode_mapped
from schemas.envelope import read_envelope
from schemas.event import Event, Invalid
from schemas.mapping import Mapping
from schemas.mapping_rules import MappingFile
from schemas.reasons import Reason
from schemas.record import Headers, Record

PAYLOADS = Path(__file__).parents[3] / "payloads"
STATUS = json.loads((PAYLOADS / "github/octokit/deployment_status.json").read_bytes())
HEADERS = {"X-GitHub-Event": "deployment_status", "X-GitHub-Delivery": "guid-1"}
COMPONENT = "7b1e0f0c-52f3-4a7e-8a34-6f5b8f0f2c11"

MAPPING = Mapping(
    MappingFile.model_validate(
        {
            "organization": "acme",
            "project": COMPONENT,
            "environments": {"production": "prod"},
            "rules": [{"match": {"repository": "*/*"}, "component": COMPONENT}],
            "topics": {"hooks.github": "github"},
        }
    )
)


def record(value: object, headers: AnyMapping[str, str] | None = None, *, topic: str = "hooks") -> Record:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    given_headers: Headers = tuple((name, text.encode()) for name, text in (headers or {}).items())
    return Record(
        topic=topic,
        partition=0,
        offset=0,
        timestamp_ms=1_900_000_000_000,
        key=None,
        value=raw,
        headers=given_headers,
    )


def adapted(one: Record) -> ForeignEvent:
    event = adapt(one, MAPPING)
    assert isinstance(event, ForeignEvent), event
    return event


@pytest.mark.parametrize(
    "one",
    [
        record(STATUS, {"rudder-format": "github"}),
        record(STATUS, topic="hooks.github"),
        record(
            STATUS,
            {
                "ce_specversion": "1.0",
                "ce_type": "dev.knative.source.github.deployment_status",
                "ce_source": "/octo/repo",
                "ce_id": "guid-1",
            },
        ),
        record(STATUS, HEADERS),
        record(STATUS),
    ],
    ids=["header", "topic", "type", "vendor's headers", "shape"],
)
def test_format_is_recognised(one: Record) -> None:
    event = adapted(one)
    assert (event.format, event.scope["environment"]) == ("github", STATUS["deployment"]["environment"])


@pytest.mark.parametrize(
    "wrapped",
    [
        {"body": json.dumps(STATUS), "body_args": STATUS, "headers": HEADERS, "method": "POST"},
        {"body": base64.b64encode(json.dumps(STATUS).encode()).decode(), "body_base64": True, "headers": HEADERS},
        {"context": {"id": "new each time"}, "data": {"body": STATUS, "headers": {k: [v] for k, v in HEADERS.items()}}},
        {"context": {"id": "new each time"}, "data": {"body": json.dumps(STATUS), "header": HEADERS}},
    ],
    ids=["kong", "kong, base64", "argo events", "argo events, text"],
)
def test_bridges_are_unwrapped(wrapped: AnyMapping[str, Any]) -> None:
    assert adapted(record(wrapped)) == adapted(record(STATUS, HEADERS))


def test_headers_of_the_record_come_first() -> None:
    wrapped = {"body": json.dumps(STATUS), "headers": HEADERS}
    assert adapted(record(wrapped, {"x-github-delivery": "guid-2"})).id == "guid-2"


@pytest.mark.parametrize(
    ("value", "headers", "reason", "detail"),
    [
        (STATUS, {"rudder-format": "gihub"}, Reason.UNSUPPORTED_TYPE, "there is no format gihub"),
        ([1], {"rudder-format": "github"}, Reason.INVALID_DATA, "not a JSON object"),
        (b"{", {"rudder-format": "github"}, Reason.INVALID_DATA, "not JSON"),
        (json.dumps(STATUS).encode()[:-9], HEADERS, Reason.INVALID_DATA, "not JSON"),
        ({"body": "{", "headers": HEADERS}, {}, Reason.INVALID_DATA, "not JSON"),
        ({"body": "%", "body_base64": True, "headers": HEADERS}, {}, Reason.INVALID_DATA, "not JSON"),
        ({"some": "thing"}, {}, Reason.NOT_A_CLOUDEVENT, "no ce_ headers"),
        ({"object_kind": "deployment"}, {"rudder-format": "github"}, Reason.INVALID_DATA, ""),
    ],
)
def test_unreadable_record_is_rejected(
    value: object, headers: AnyMapping[str, str], reason: Reason, detail: str
) -> None:
    content = decode_mapped(record(value, headers), MAPPING)
    assert isinstance(content, Invalid)
    assert content.reason is reason
    assert detail in content.detail


def test_own_event_is_read_as_without_a_mapping() -> None:
    own = record(
        {
            "specversion": "1.0",
            "id": "1",
            "source": "/ci",
            "type": "dev.rudder.deployment.started.v1",
            "data": {"release_id": COMPONENT, "organization_id": "acme", "environment_id": "prod"},
        }
    )
    assert isinstance(decode(own), Event)
    assert decode_mapped(own, MAPPING) == decode(own)
    assert adapt(own, MAPPING) is None


def test_declared_record_is_no_event_of_ours() -> None:
    """Who may send webhooks may not send our events, also if the reader has no mapping."""
    own = {
        "specversion": "1.0",
        "id": "1",
        "source": "/ci",
        "type": "dev.rudder.release.approved.v1",
        "data": {"release_id": COMPONENT, "organization_id": "acme"},
    }
    content = decode(record(own, {"rudder-format": "octopus"}))
    assert isinstance(content, Invalid)
    assert content.reason is Reason.UNMAPPED
    assert "RUDDER_MAPPING_FILE is not set" in content.detail


def test_record_that_is_too_large_is_not_adapted() -> None:
    content = decode_mapped(record(STATUS, HEADERS), MAPPING, bytes_max=100)
    assert isinstance(content, Invalid)
    assert content.reason is Reason.TOO_LARGE
    assert adapt(record(STATUS, HEADERS), MAPPING, bytes_max=100) is None


def test_time_far_ahead_is_refused() -> None:
    """The year 9999 of a wrong clock: it would make all later events of the release stale."""
    late = replace(record(STATUS, HEADERS), timestamp_ms=1_000_000_000_000)
    content = decode_mapped(late, MAPPING)
    assert isinstance(content, Invalid)
    assert content.reason is Reason.INVALID_DATA
    assert "after the record's timestamp" in content.detail
    assert (content.source, content.id) == (adapted(record(STATUS, HEADERS)).source, "guid-1")
    assert isinstance(decode_mapped(late, MAPPING, ahead_seconds_max=0), Event)


def test_nul_in_a_text_is_refused() -> None:
    status = json.loads(json.dumps(STATUS))
    status["deployment"]["creator"]["login"] = status["sender"]["login"] = "a\0b"
    status["deployment_status"]["creator"]["login"] = "a\0b"
    content = decode_mapped(record(status, HEADERS), MAPPING)
    assert isinstance(content, Invalid)
    assert "U+0000" in content.detail


@pytest.mark.parametrize("delivery", ["", "x" * 256, "a\nb"])
def test_unusable_delivery_ids_are_not_used_or_refused(delivery: str) -> None:
    """Each record has one outcome, whatever the header holds."""
    content = decode_mapped(record(STATUS, HEADERS | {"X-GitHub-Delivery": delivery}), MAPPING)
    assert isinstance(content, Event | Invalid)
    assert not isinstance(content, Event) or 0 < len(content.id) <= 255


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
SAMPLES = sorted(path for path in PAYLOADS.rglob("*.json") if not path.name.endswith(".headers.json"))


@given(path=st.sampled_from(SAMPLES), drawn=st.data())
@settings(max_examples=300, deadline=None)
def test_changed_payloads_never_raise(path: Path, drawn: st.DataObject) -> None:
    """A member of a real payload is removed or replaced; every adapter answers with a content."""
    body = json.loads(path.read_bytes())
    node = body
    for _ in range(drawn.draw(st.integers(0, 4))):
        if isinstance(node, dict) and node:
            name = drawn.draw(st.sampled_from(sorted(node)))
        elif isinstance(node, list) and node:
            name = drawn.draw(st.integers(0, len(node) - 1))
        else:
            break
        if not isinstance(node[name], dict | list) or drawn.draw(st.booleans()):
            node[name] = drawn.draw(json_values)
            break
        node = node[name]
    one = record(body)
    assert isinstance(decode_mapped(one, MAPPING), Event | Invalid | NoInterest)


@given(value=st.binary(max_size=64), headers=st.dictionaries(st.text(max_size=12), st.binary(max_size=12), max_size=3))
@settings(max_examples=200, deadline=None)
def test_any_bytes_have_a_content(value: bytes, headers: dict[str, bytes]) -> None:
    one = replace(record(value), headers=tuple(headers.items()))
    assert isinstance(decode_mapped(one, MAPPING), Event | Invalid | NoInterest)


class Careless:
    """An adapter that passes on whatever identity it is given."""

    def __init__(self, **identity: Any) -> None:
        self.event = replace(adapted(record(STATUS)), **identity)

    def has_type(self, type_: str) -> bool:
        return False

    def has_headers(self, headers: AnyMapping[str, str]) -> bool:
        return True

    def has_shape(self, body: AnyMapping[str, Any]) -> bool:
        return False

    def adapt(self, record: ForeignRecord) -> ForeignEvent:
        return self.event


@pytest.mark.parametrize(
    "identity", [{"id": ""}, {"id": "x" * 256}, {"source": "a\nb"}, {"run": "1\n2"}, {"source": "\ud800"}]
)
def test_identity_that_cannot_be_stored_is_refused(identity: dict[str, str]) -> None:
    one = record(STATUS)
    envelope = read_envelope(one.value, one.headers, bytes_max=1_000_000)
    with pytest.raises(Unreadable, match="identity of its"):
        adapt_envelope(envelope, one.value or b"", one.headers, generic={"careless": Careless(**identity)})


def test_headers_without_text_are_left_out() -> None:
    one = replace(record(STATUS, HEADERS), headers=(("X-GitHub-Delivery", None), ("x-github-delivery", b"guid-3")))
    assert adapted(one).id == "guid-3"
    wrapped = {"body": json.dumps(STATUS), "headers": {**HEADERS, "X-Hook": 5, "X-List": []}}
    assert adapted(record(wrapped)).id == "guid-1"
    assert adapted(record({"body": json.dumps(STATUS), "headers": None})).format == "github"


def test_unreadable_batch_stays_unreadable() -> None:
    from schemas.record import Unreadable as UnreadableRecord

    one = replace(record(b""), unreadable=UnreadableRecord(Reason.PROCESSING_ERROR, "codec"))
    content = decode_mapped(one, MAPPING)
    assert isinstance(content, Invalid)
    assert content.detail == "codec"


def test_unknown_format_raises_for_callers_of_adapt() -> None:
    with pytest.raises(Unreadable, match="there is no format"):
        adapt(record(STATUS, {"rudder-format": "x"}), MAPPING)
