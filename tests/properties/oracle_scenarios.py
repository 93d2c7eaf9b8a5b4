"""Scenarios as raw records, given to the worker's rules and to the oracle; what the two disagree on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from schemas.record import Headers, Record
from tests.oracle import records as oracle_records
from tests.oracle.comparison import expected_tables, found_tables
from tests.oracle.content import Tables
from tests.oracle.oracle import Oracle
from tests.oracle.records import DEAD_LETTER, Published
from tests.oracle.status_machines import (
    DEPLOYMENT_EVENTS,
    DEPLOYMENT_STATE,
    DEPLOYMENT_STATUS_CHANGED,
    RELEASE_EVENTS,
    RELEASE_STATUS_CHANGED,
)
from tests.properties.world import World
from tests.properties.world_rows import rows_of
from worker.pipeline.outgoing import OutgoingRecords, Topics
from worker.pipeline.transaction import read
from worker.ports import OutgoingRecord
from worker.rules.state import Outcome, Rejected

START = datetime(2026, 3, 1, 9, 30, 0, 123456, tzinfo=UTC)
BYTES_MAX = 1024 * 1024
COMPONENT = str(UUID(int=0xC))
ENVIRONMENTS = ("prod", "test", "Prod", "pröd ", "prod🚢", "te🚢st")
TRACKS = ("main", "Main", "hotfix", "main🚢")
POINTED = ("prod", "test")
GONE = object()
ADDED_HEADERS = ("rudder-redrive", "rudder-corrects")
"""Those of operators' tools, which a dead letter repeats."""
OUTGOING = OutgoingRecords(
    topics=Topics(deployment_status="deployments", release_status="releases", dead_letters="dead"),
    content_mode="binary",
    source="urn:test",
    worker="test",
)
WITH_STATES = replace(OUTGOING, topics=replace(OUTGOING.topics, deployment_state="states"))


TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@dataclass(frozen=True, slots=True)
class Step:
    """An event before it has a position. `edit`: a member of its data or envelope, and what to say there instead.
    `repeats`: the event so many steps before comes again, at a place of its own or, `redelivered`, at its old one.
    `redrive`: with the redrive header; `redrive_at`: that names the position of the repeated record. `corrects`: with a
    header that names the rejection of the event so many steps before.
    """

    kind: str = "deployment.requested"
    release: int = 1
    late: float = 0
    environment: str = "prod"
    config_revision: int = 1
    attempt: int | None = None
    track: str = "main"
    number: int | None = None
    block: bool = True
    mode: str = "binary"
    edit: tuple[str, Any] | None = None
    identity: int | None = None
    repeats: int = 0
    redelivered: bool = False
    redrive: bool = False
    redrive_at: bool = False
    corrects: int | None = None


KINDS = [name.removeprefix("dev.rudder.").removesuffix(".v1") for name in (*DEPLOYMENT_EVENTS, *RELEASE_EVENTS)]
KINDS += ["release.created", "activity.recorded"]
DEPLOYMENTS = [kind for kind in KINDS if kind.startswith("deployment")]


def each(name: str, *values: Any) -> list[tuple[str, Any]]:
    return [(name, value) for value in values]


EDITS: list[tuple[str, Any]] = [
    *each("environment_id", "e" * 255, "e" * 256, "🚢" * 127, "🚢" * 128, "", None, GONE, "a\0b", 7),
    *each("organization_id", "other", "Acme", "o" * 256, None, GONE),
    *each("release_id", GONE, None, "release-7", str(UUID(int=0xABCD)), str(UUID(int=0xE1)).upper()),
    *each("comment", None, "", "gerne — 🚢", "x\0", 5, "c" * 5000),
    *each("actor", None, "maria", "m" * 255, "m" * 256, "", []),
    *each("attempt", 0, -1, 1.0, True, "1", None, 2**63 - 1, 2**63, 3, 4),
    *each("config_revision", 0, None, 2**31 - 1, 2**31, 2),
    *each("config_mapping_revision", None, 0, 5, -1, 2**31),
    *each("schema_based_config_revision", None, 0, 6, -1),
    *each("api_settings", None, {}, {"b": 1, "a": [None, "ü"]}, {"x": "\0"}, [], {"n": {"~/": "\0"}}),
    *each("metadata", None, {}, {"b": {"a": 0.25}}, "text"),
    ("apim_base_revisions", [{"endpoint_name": "o", "api_id": "a", "revision_id": "r", "access_mode": "X", "more": 1}]),
    ("apim_base_revisions", [{"endpoint_name": "o", "api_id": "a"}, 5]),
    ("apim_base_revisions", None),
    *each("release_number", 0, 2**31 - 1, 2**31),
    *each("release_date", "2026-02-30", "9999-01-01", "0001-01-01", GONE),
    ("activity_type", "event_stale "),
    ("activity_type", "EVENT_STALE2"),
    ("activity_data", None),
    ("activity_data", {"custom": ["ü", 1, {"z": 1, "a": 2}]}),
    ("colour", {"green": True}),
    ("release", None),
    ("release", {}),
    *((".id", text) for text in ("i" * 255, "i" * 256, "", "a\nb", None)),
    *((".source", text) for text in ("s" * 1024, "s" * 1025, "other")),
    *((".type", text) for text in ("dev.rudder.release.forgotten.v1", "t" * 300, "")),
    *((".specversion", text) for text in ("0.3", GONE)),
    *((".time", text) for text in (GONE, "2026-03-01", "2026-03-01T09:30:00", "2026-03-01t11:30:07.1234567+02:00")),
    (".time", "9999-01-01T00:00:00Z"),
    (".time", "2026-03-03T23:00:00Z"),
    (".time", "2099-01-01T00:00:00Z"),
    *((".traceparent", text) for text in (TRACEPARENT, TRACEPARENT.upper(), f"cc{TRACEPARENT[2:]}-x", "00", 7, "")),
    *((".tracestate", text) for text in ("ci=1,other=a b", "ci=1,ci=2", "ci", "ci=" + "x" * 512, 7)),
    (".again", b"same"),
    (".again", b"other"),
    (".datacontenttype", "text/plain"),
    (".data", GONE),
    (".data", []),
    *((".value", value) for value in (None, b"", b"{", b"[]", b"\xff", b'{"a":1,"a":2}', b"x" * (BYTES_MAX + 1))),
]


def rarely(value: Any, *, otherwise: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([otherwise] * 7 + [value])


ABOUT_RELEASES = [kind for kind in KINDS if kind.startswith("release")]
LATE = [0, 0, 0, 0, 0, 0, 1, 2, 5, -1, 0.1, 10 / 60, 11 / 60]
"""Minutes; ends have ten seconds of leeway."""
ANY = st.builds(
    Step,
    kind=st.sampled_from([*DEPLOYMENTS * 4, *KINDS, *ABOUT_RELEASES * 2]),
    release=st.sampled_from([1, 1, 2, 3]),
    late=st.sampled_from(LATE),
    environment=st.sampled_from([*["prod"] * 8, "test", "test", *ENVIRONMENTS]),
    config_revision=st.sampled_from([1, 1, 1, 2]),
    attempt=st.sampled_from([None, None, None, None, 1, 2, 3]),
    track=st.sampled_from(["main"] * 14 + ["Main", "main🚢"]),
    number=rarely(1, otherwise=None),
    block=st.sampled_from([True, True, True, True, False]),
    mode=st.sampled_from(["binary", "binary", "structured", "bare"]),
    edit=st.one_of(st.none(), st.none(), st.none(), st.none(), st.sampled_from(EDITS)),
    identity=st.sampled_from([None] * 11 + [0]),
    repeats=st.sampled_from([0] * 12 + [1, 2, 3, 5]),
    redelivered=rarely(True, otherwise=False),
    redrive=st.booleans(),
    redrive_at=st.booleans(),
    corrects=st.sampled_from([None] * 6 + [1, 2, 3]),
)
BUSY = st.builds(
    Step,
    kind=st.sampled_from([*DEPLOYMENTS, "deployment.requested", "deployment.succeeded", "release.approved"]),
    release=st.sampled_from([1, 1, 2]),
    late=st.sampled_from(LATE),
    environment=st.sampled_from(["prod", "prod", "prod", "test"]),
    config_revision=st.sampled_from([1, 1, 1, 2]),
    attempt=st.sampled_from([None, None, None, None, 1, 2]),
    edit=st.one_of(*[st.none()] * 12, st.sampled_from(EDITS)),
)
"""Little is refused of it: attempts become many, and statuses move."""
CLOCKS = st.builds(
    Step,
    kind=st.sampled_from(DEPLOYMENTS),
    late=st.sampled_from([0, 0, 0.1, 10 / 60, 11 / 60, 1]),
    attempt=st.sampled_from([None, None, 1, 2]),
)
"""Of one deployment: equal times, and clocks that are seconds behind."""
SCENARIOS = st.one_of(
    st.lists(ANY, max_size=6),
    st.lists(BUSY, min_size=3, max_size=24),
    st.lists(ANY, min_size=8, max_size=24),
    st.lists(CLOCKS, min_size=2, max_size=6),
)


def records_of(steps: Sequence[Step]) -> list[Record]:
    """The steps as records of one partition."""
    records: list[Record] = []
    for offset, step in enumerate(steps):
        if step.repeats and records:
            old = records[-1 - (step.repeats - 1) % len(records)]
            named = f"{old.topic}/{old.partition}@{old.offset}".encode() if step.redrive_at else b"1"
            again = placed(old.value, old.headers, offset, redrive=named if step.redrive else None)
            records.append(old if step.redelivered else again)
        else:
            record = record_of(step, offset)
            if step.corrects is not None and step.corrects <= offset:
                corrected = read(records[-step.corrects], event_bytes_max=BYTES_MAX).id
                record = replace(record, headers=(*record.headers, ("rudder-corrects", str(corrected).encode())))
            records.append(record)
    return records


def placed(
    value: bytes | None, headers: Headers, offset: int, *, partition: int = 0, redrive: bytes | None = None
) -> Record:
    if redrive is not None:
        headers = (*headers, ("rudder-redrive", redrive))
    ms = int((START + timedelta(minutes=offset)).timestamp()) * 1000 + 5
    return Record(
        topic="in", partition=partition, offset=offset, timestamp_ms=ms, key=b"k", value=value, headers=tuple(headers)
    )


_REVISION = {"endpoint_name": "orders", "api_id": "a1", "revision_id": "r12", "access_mode": "EXTERNAL"}
MORE: dict[int, dict[str, Any]] = {
    1: {},
    2: {"description": "Größer", "commit_hash": "9fceb02", "apim_base_revisions": [_REVISION, _REVISION]},
    3: {"image_tag": "shop:1", "metadata": {"b": 1, "a": [0.25, None]}, "apim_base_revisions": [_REVISION]},
}
"""What a release may say beside what it must."""


def fields(step: Step) -> dict[str, Any]:
    return {
        "project_id": str(UUID(int=0xD)),
        "component_id": COMPONENT,
        "deployment_track_id": step.track,
        "release_date": "2026-03-01",
        "release_number": step.number or step.release,
        "created_by": "maria",
        **MORE[step.release],
    }


def record_of(step: Step, offset: int) -> Record:
    data: dict[str, Any] = {"release_id": str(UUID(int=0xE0 + step.release)), "organization_id": "acme"}
    data |= {"comment": f"step {offset}", "actor": "ada"} if offset % 2 else {}
    if step.kind in DEPLOYMENTS:
        data |= {"environment_id": step.environment, "config_revision": step.config_revision}
        data |= {"attempt": step.attempt} if step.attempt else {}
        data |= {"release": fields(step)} if step.block else {}
    elif step.kind == "release.created":
        data |= fields(step)
    elif step.kind == "activity.recorded":
        data |= {"activity_type": "SCAN", "activity_data": {}}
        data |= {"environment_id": step.environment, "attempt": step.attempt} if step.block else {}
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"e{offset if step.identity is None else step.identity}",
        "source": "urn:ci",
        "type": f"dev.rudder.{step.kind}.v1",
        "time": (START + timedelta(minutes=offset // 3 - step.late)).isoformat(),
        "data": data,
    }
    where, instead = step.edit or ("", None)
    if where == ".tracestate":
        event["traceparent"] = TRACEPARENT
    if where == ".value":
        return placed(instead, _headers(event, step.mode), offset)
    if where == ".again":
        twice = ("ce_id", instead if instead == b"other" else event["id"].encode())
        raw = json.dumps(event["data"] if step.mode == "binary" else event).encode()
        return placed(raw, (*_headers(event, step.mode), *((twice,) if step.mode == "binary" else ())), offset)
    target, member = (event, where[1:]) if where.startswith(".") else (data, where)
    if where and instead is GONE:
        target.pop(member, None)
    elif where:
        target[member] = instead
    value = event.get("data") if step.mode == "binary" else event
    raw = json.dumps(value, ensure_ascii=len(step.kind) % 2 == 0).encode()
    missing = step.mode == "binary" and "data" not in event
    return placed(None if missing else raw, _headers(event, step.mode), offset)


def _headers(event: Mapping[str, Any], mode: str) -> Any:
    if mode == "structured":
        return (("content-type", b"Application/CloudEvents+json; charset=utf-8"),)
    if mode == "bare":
        return ()
    names = [name for name, value in event.items() if name not in {"data", "datacontenttype"} and value is not None]
    headers = [(f"ce_{name}", str(event[name]).encode()) for name in names]
    if "datacontenttype" in event:
        headers.append(("content-type", event["datacontenttype"].encode()))
    return tuple(headers)


# --- the comparison


def environments() -> list[dict[str, Any]]:
    keys = [(environment, track) for environment in POINTED for track in TRACKS]
    empty = dict.fromkeys(("release_mgt_release_id", "release_mgt_deployment_id", "release_mgt_deployment_name"))
    return [
        {"environment_id": one, "component_id": COMPONENT, "deployment_track_id": two, **empty} for one, two in keys
    ]


def oracle_record(record: Record) -> oracle_records.Record:
    position = (record.topic, record.partition, record.offset, record.timestamp_ms)
    return oracle_records.Record(*position, record.value, record.headers, record.key)


def outcome_name(outcome: Outcome) -> str:
    reason = f" {outcome.rejection.reason}" if isinstance(outcome, Rejected) else ""
    return type(outcome).__name__ + reason


def compare(steps: Sequence[Step]) -> None:
    """Outcome and outgoing records after each record, every cell after the last one."""
    world, oracle = World(environments=POINTED), Oracle(environments=environments())
    for record in records_of(steps):
        message = read(record, event_bytes_max=BYTES_MAX)
        before = len(oracle.published)
        expected = oracle.handle(oracle_record(record))
        if record.is_tombstone:
            assert expected == "Skipped"
            continue
        outcome = world.take(message)
        assert outcome_name(outcome) == expected, record
        outgoing = WITH_STATES.of(outcome, message, attempts=1)
        assert [found_outgoing(one) for one in outgoing] == [
            expected_outgoing(one) for one in oracle.published[before:]
        ]
    assert found_tables(tables_of(world)) == expected_tables(oracle)


def found_outgoing(outgoing: OutgoingRecord) -> tuple[Any, ...]:
    """What the contract says of an outgoing record."""
    headers = dict(outgoing.headers)
    if outgoing.topic == "dead":
        text = {name: (headers[name] or b"").decode() for name in DEAD_LETTER_HEADERS}
        original = tuple(pair for pair in outgoing.headers if pair[0] in ADDED_HEADERS or "rudder-" not in pair[0])
        return DEAD_LETTER, text["rudder-id"], outgoing.key, outgoing.value, original, text
    kind, id_ = (headers["ce_type"] or b"").decode(), (headers["ce_id"] or b"").decode()
    topic_of = {
        DEPLOYMENT_STATUS_CHANGED: "deployments",
        RELEASE_STATUS_CHANGED: "releases",
        DEPLOYMENT_STATE: "states",
    }
    assert outgoing.topic == topic_of[kind]
    trace = {name[3:]: (text or b"").decode() for name, text in outgoing.headers if name.startswith("ce_trace")}
    return kind, id_, (outgoing.key or b"").decode(), json.loads(outgoing.value or b""), trace


DEAD_LETTER_HEADERS = (
    "rudder-id",
    "rudder-reason",
    "rudder-topic",
    "rudder-partition",
    "rudder-offset",
    "rudder-timestamp",
)


def expected_outgoing(one: Published) -> tuple[Any, ...]:
    if one.kind != DEAD_LETTER:
        return one.kind, one.id, one.key, one.data, one.trace
    text = {name: str(one.data.get(name, one.id)) for name in DEAD_LETTER_HEADERS}
    return DEAD_LETTER, one.id, one.data["key"], one.data["value"], one.data["headers"], text


def tables_of(world: World) -> Tables:
    revisions = [
        {"release_mgt_id": row.release.id, **asdict(revision)}
        for row in world.releases.values()
        for revision in row.inserted.base_revisions
    ]
    return {**rows_of(world), "release_apim_base_revisions": revisions, "app_environments": _environments_of(world)}


def _environments_of(world: World) -> list[dict[str, Any]]:
    rows = environments()
    for row in rows:
        move = world.pointers.get((row["environment_id"], UUID(COMPONENT), row["deployment_track_id"]))
        if move is not None:
            row["release_mgt_release_id"] = str(move.release_id)
            row["release_mgt_deployment_id"] = str(move.deployment_id)
            row["release_mgt_deployment_name"] = move.deployment_name
    return rows
