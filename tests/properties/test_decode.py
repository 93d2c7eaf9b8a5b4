"""Whatever bytes arrive, `decode` answers; whatever event is sound, it reads the same in both modes."""

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from cloudevents.core.bindings import kafka
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.decode import decode
from schemas.envelope import write_binary, write_structured
from schemas.event import Event, Invalid
from schemas.incoming import DATA_MODELS, WORKER_ACTIVITY_TYPES
from schemas.json_text import DEPTH_MAX, MalformedJsonError, compact, parse
from schemas.record import Headers, Record
from schemas.text import BIGINT_MAX, INT_MAX, utf16_units
from schemas.times import format_time, parse_time
from schemas.types import EventType
from tests.hypothesis_profile import examples

# --- arbitrary records

HEADER_NAMES = st.sampled_from(
    ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "CE_ID", "ce_", "content-type", "rudder-redrive"]
)
HEADER_VALUES = st.one_of(
    st.none(),
    st.binary(max_size=20),
    st.sampled_from([b"1.0", b"x", b"2026-03-01T09:30:00Z", b"application/json", b"application/cloudevents+json"]),
    st.sampled_from([event_type.encode() for event_type in EventType]),
)
HEADERS = st.lists(st.tuples(st.one_of(HEADER_NAMES, st.text(max_size=8)), HEADER_VALUES), max_size=8).map(tuple)
ANY_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.text(), st.sampled_from(["data", "id", "time", "release_id"])), inner, max_size=4),
    ),
    max_leaves=12,
)
ANY_EVENT = st.fixed_dictionaries(
    {},
    optional={
        "specversion": st.one_of(st.just("1.0"), ANY_JSON),
        "id": st.one_of(st.just("1"), ANY_JSON),
        "source": st.one_of(st.just("s"), ANY_JSON),
        "type": st.one_of(st.sampled_from(list(EventType)), ANY_JSON),
        "time": st.one_of(st.just("2026-03-01T09:30:00Z"), ANY_JSON),
        "datacontenttype": ANY_JSON,
        "data": ANY_JSON,
        "data_base64": ANY_JSON,
    },
)
ANY_VALUE = st.one_of(
    st.none(),
    st.binary(),
    st.text(alphabet='[]{}":,\\u0dD8nae1 ').map(str.encode),
    ANY_JSON.map(lambda value: json.dumps(value).encode()),
    ANY_EVENT.map(lambda value: json.dumps(value).encode()),
)


LAST_DAY_MS = 253_370_678_400_000
"""The last day of 9998: no time that is drawn is ahead of it."""


def record(value: bytes | None, headers: Headers, *, timestamp_ms: int = LAST_DAY_MS) -> Record:
    return Record(topic="t", partition=0, offset=0, timestamp_ms=timestamp_ms, key=None, value=value, headers=headers)


@given(value=ANY_VALUE, headers=HEADERS, timestamp_ms=st.integers(-(2**63), 2**63 - 1))
@settings(max_examples=examples(600), deadline=None)
def test_decode_raises_for_no_record(value: bytes | None, headers: Headers, timestamp_ms: int) -> None:
    """The same record always gives the same answer, and a rejection keeps what its row and headers can hold."""
    given_record = record(value, headers, timestamp_ms=timestamp_ms)
    answer = decode(given_record)
    assert answer == decode(given_record)
    if isinstance(answer, Invalid):
        assert 0 < len(answer.detail) <= 1000
        assert answer.detail.isprintable()
        assert (answer.source is None) == (answer.id is None)
        for text, units_max in ((answer.source, 1024), (answer.id, 255), (answer.type, 255)):
            assert text is None or 0 < utf16_units(text) <= units_max


# --- sound events

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
NAME = TEXT.filter(lambda text: 1 <= utf16_units(text) <= 255)
ATTRIBUTE = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=127)
UUIDS = st.uuids().map(str).flatmap(lambda text: st.sampled_from([text, text.upper()]))
NUMBERS = st.integers(1, INT_MAX)
FREE = st.dictionaries(
    TEXT,
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXT),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
        max_leaves=6,
    ),
    max_size=3,
)
TIMES = st.datetimes(
    min_value=datetime(1, 1, 3),  # noqa: DTZ001 - Hypothesis adds the zone
    max_value=datetime(9998, 12, 29),  # noqa: DTZ001
    timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), strategy)


EVENT_FIELDS: dict[str, Any] = {"release_id": UUIDS, "organization_id": NAME}
EVENT_OPTIONS: dict[str, Any] = {"actor": optional(NAME), "comment": optional(TEXT), "unknown": FREE}
RELEASE_FIELDS: dict[str, Any] = {
    "project_id": UUIDS,
    "component_id": UUIDS,
    "deployment_track_id": NAME,
    "release_date": st.dates(max_value=datetime(9998, 12, 31).date()).map(str),  # noqa: DTZ001
    "release_number": NUMBERS,
    "created_by": NAME,
}
RELEASE_OPTIONS: dict[str, Any] = {
    "description": optional(TEXT),
    "commit_hash": optional(NAME),
    "image_tag": optional(NAME),
    "metadata": optional(FREE),
    "apim_base_revisions": st.lists(
        st.fixed_dictionaries(dict.fromkeys(["endpoint_name", "api_id", "revision_id", "access_mode"], NAME)),
        max_size=2,
    ),
}
CREATED = st.fixed_dictionaries(EVENT_FIELDS | RELEASE_FIELDS, optional=EVENT_OPTIONS | RELEASE_OPTIONS)
TRANSITION = st.fixed_dictionaries(EVENT_FIELDS, optional=EVENT_OPTIONS)
DEPLOYMENT = st.fixed_dictionaries(
    EVENT_FIELDS | {"environment_id": NAME},
    optional=EVENT_OPTIONS
    | {
        "config_revision": NUMBERS,
        "attempt": optional(st.integers(1, BIGINT_MAX)),
        "config_mapping_revision": optional(st.integers(0, INT_MAX)),
        "schema_based_config_revision": optional(st.integers(0, INT_MAX)),
        "api_settings": optional(FREE),
        "release": optional(st.fixed_dictionaries(RELEASE_FIELDS, optional=RELEASE_OPTIONS)),
    },
)
ACTIVITY = st.fixed_dictionaries(
    EVENT_FIELDS
    | {"environment_id": NAME, "activity_type": NAME.map(lambda name: name[:200] + " test"), "activity_data": FREE},
    optional=EVENT_OPTIONS | {"config_revision": optional(NUMBERS), "attempt": optional(st.integers(1, BIGINT_MAX))},
)


def data_of(event_type: EventType) -> st.SearchStrategy[dict[str, Any]]:
    if event_type is EventType.RELEASE_CREATED:
        return CREATED
    if event_type is EventType.ACTIVITY_RECORDED:
        return ACTIVITY
    return DEPLOYMENT if ".deployment." in event_type else TRANSITION


TYPED_DATA = st.sampled_from(EventType).flatmap(lambda event_type: st.tuples(st.just(event_type), data_of(event_type)))


@given(typed=TYPED_DATA, source=ATTRIBUTE, id_=ATTRIBUTE, time=TIMES)
@settings(max_examples=examples(200), deadline=None)
def test_valid_event_reads_the_same_in_every_form(
    typed: tuple[EventType, dict[str, Any]], source: str, id_: str, time: datetime
) -> None:
    """As plain data or as its model, in either mode, by the worker or by the CloudEvents SDK: one Event."""
    event_type, data = typed
    expected = Event(
        source=source, id=id_, type=event_type, time=time, data=DATA_MODELS[event_type].model_validate(data)
    )
    for content in (data, expected.data):
        for write in (write_binary, write_structured):
            value, headers = write(source=source, id=id_, type=event_type, time=time, subject="x", data=content)
            assert decode(record(value, headers)) == expected
    attributes = {"source": source, "id": id_, "type": str(event_type), "time": time, "specversion": "1.0"}
    for sdk_data in (data, compact(data).encode()):
        event = CloudEvent(attributes=dict(attributes), data=sdk_data)
        for message in (kafka.to_binary_event(event), kafka.to_structured_event(event)):
            assert decode(record(message.value, tuple(message.headers.items()))) == expected


@given(typed=TYPED_DATA, field=st.data(), broken=ANY_JSON)
@settings(max_examples=examples(200), deadline=None)
def test_modes_agree_about_any_data(typed: tuple[EventType, dict[str, Any]], field: st.DataObject, broken: Any) -> None:
    """What is refused in one mode is refused in the other, with the same detail."""
    event_type, data = typed
    name = field.draw(st.sampled_from(sorted(data)))
    assert_the_modes_agree(event_type, {**data, name: broken})


@pytest.mark.parametrize("broken", [float("inf"), float("nan"), "\ud800"])
def test_modes_agree_about_values_that_are_not_json(broken: object) -> None:
    """Found by the search: an envelope that is broken as well would be reported first in one of them."""
    data = {"release_id": "e3e70682-c209-4cac-629f-6fbed82c07cd", "organization_id": "0", "environment_id": broken}
    assert_the_modes_agree(EventType.DEPLOYMENT_REQUESTED, data)


def assert_the_modes_agree(event_type: EventType, data: dict[str, Any]) -> None:
    text = json.dumps(data)
    envelope = {"specversion": "1.0", "id": "1", "source": "s", "type": str(event_type), "time": "2026-03-01T09:30:00Z"}
    binary = decode(record(text.encode(), tuple((f"ce_{key}", value.encode()) for key, value in envelope.items())))
    structured = decode(record((json.dumps(envelope)[:-1] + f', "data": {text}}}').encode(), ()))
    if isinstance(binary, Invalid) and binary.reason == "malformed_json":
        assert isinstance(structured, Invalid)
        assert structured.reason == binary.reason
    else:
        assert structured == binary


# --- the leaves


@given(time=TIMES)
def test_times_are_read_back_as_written(time: datetime) -> None:
    """Any zone, any microsecond."""
    assert parse_time(format_time(time)) == time


@given(value=ANY_JSON)
def test_decoded_event_can_be_written_and_read_again(value: Any) -> None:
    """Free objects are stored compactly and published again: nothing may be lost on the way."""
    try:
        read = parse(json.dumps(value).encode())
    except MalformedJsonError:
        return
    assert parse(compact(read).encode()) == read


@given(raw=st.text(alphabet='[]{}"\\,:1a ').map(str.encode))
@settings(max_examples=examples(300))
def test_depth_scan_accepts_what_the_parser_can_read(raw: bytes) -> None:
    """Within the bound, strict reading differs from the standard parser's only where names repeat."""
    try:
        expected = json.loads(raw, object_pairs_hook=lambda pairs: ("object", pairs))
    except ValueError:
        with pytest.raises(MalformedJsonError):
            parse(raw)
        return
    padded = b"[" + b"[]," * DEPTH_MAX + raw + b"]"
    try:
        read = parse(padded)
    except MalformedJsonError as error:
        assert "twice" in str(error)  # noqa: PT017 - one of two outcomes
        assert "object" in repr(expected)
    else:
        assert isinstance(read, list)
        assert json.dumps(read[-1]) == json.dumps(json.loads(raw))


@pytest.mark.parametrize("name", sorted(WORKER_ACTIVITY_TYPES))
@given(
    flips=st.lists(st.booleans(), min_size=30, max_size=30),
    blanks=st.tuples(*[st.text(" \t\n\u00a0\u2003", max_size=3)] * 2),
)
def test_spellings_of_worker_activity_types_are_refused(name: str, flips: list[bool], blanks: tuple[str, str]) -> None:
    """Case and blanks make no new type."""
    spelled = blanks[0] + "".join(c.lower() if flip else c for c, flip in zip(name, flips, strict=False)) + blanks[1]
    data = {
        "release_id": "0b6f1a52-5a4e-4c7f-9a34-0a6b3a0f5c11",
        "organization_id": "acme",
        "activity_type": spelled,
        "activity_data": {},
    }
    value, headers = write_binary(
        source="s",
        id="1",
        type=EventType.ACTIVITY_RECORDED,
        time=parse_time("2026-03-01T09:30:00Z"),
        subject="x",
        data=data,
    )
    answer = decode(record(value, headers))
    assert isinstance(answer, Invalid)
    assert answer.detail == "/data/activity_type: This activity type is reserved for the worker"
