"""What a database and the output topics hold, compared with the oracle: one line a difference.

Rows are plain dictionaries, in Python's types; records are the oracle's. Nothing here comes from the worker.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

from tests.oracle import formats
from tests.oracle.content import Row, Tables
from tests.oracle.oracle import Oracle
from tests.oracle.records import DEAD_LETTER, Headers, Published, Record
from tests.oracle.status_machines import DEPLOYMENT_STATE, DEPLOYMENT_STATUS_CHANGED, RELEASE_STATUS_CHANGED

TABLES = (
    "releases",
    "release_versions",
    "release_deployments",
    "release_activity_logs",
    "release_apim_base_revisions",
    "release_event_rejections",
    "app_environments",
)
DEAD_LETTER_HEADERS = tuple(
    f"rudder-{name}"
    for name in ("id", "reason", "detail", "topic", "partition", "offset", "timestamp", "attempts", "worker")
)
_ACTIVITY_MEMBERS = ("event", "record", "change", "attempt", "release_version")
_TRACE_ATTRIBUTES = ("traceparent", "tracestate")


def differences(
    oracle: Oracle,
    *,
    tables: Mapping[str, Iterable[Row]],
    deployment_statuses: Iterable[Record],
    release_statuses: Iterable[Record],
    dead_letters: Iterable[Record],
    deployment_states: Iterable[Record] | None = None,
    late_states: bool = False,
) -> list[str]:
    """Empty where every row, status event, state and dead letter is as the contract wants it. `deployment_states`: None
    where the topic is off. `late_states`: as `state_differences`.
    """
    return [
        *row_differences(oracle, tables),
        *status_differences(oracle, deployment_statuses, kind=DEPLOYMENT_STATUS_CHANGED),
        *status_differences(oracle, release_statuses, kind=RELEASE_STATUS_CHANGED),
        *(() if deployment_states is None else state_differences(oracle, deployment_states, late_states=late_states)),
        *dead_letter_differences(oracle, dead_letters),
    ]


# --- rows


def row_differences(oracle: Oracle, tables: Mapping[str, Iterable[Row]]) -> Iterator[str]:
    """Every cell that the contract names, of every row."""
    expected, found = expected_tables(oracle), found_tables(tables)
    for table in TABLES:
        wanted, rows = _by_text(expected[table]), _by_text(found[table])
        for text, row in rows.items():
            if text not in wanted:
                yield f"{table}: found {row}"
        for text, row in wanted.items():
            if text not in rows:
                yield f"{table}: missing {row}"
        if len(found[table]) != len(expected[table]):
            yield f"{table}: {len(found[table])} rows, expected {len(expected[table])}"


def expected_tables(oracle: Oracle) -> Tables:
    """Rows in an order of their own, with the columns that the contract names."""
    return {table: in_order(rows) for table, rows in oracle.content.tables().items()}


def found_tables(tables: Mapping[str, Iterable[Row]]) -> Tables:
    """Found rows in the same order and form, without what the contract leaves open: the wording of a rejection."""
    found = {table: [dict(row) for row in tables[table]] for table in TABLES}
    for row in found["release_activity_logs"]:
        row["activity_data"] = _named_members(row["activity_data"])
    for row in found["release_event_rejections"]:
        if not row.pop("detail"):
            row["detail"] = "missing"
    return {table: in_order(rows) for table, rows in found.items()}


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Ids as text, members and rows in a fixed order."""
    plain = [
        {name: str(row[name]) if isinstance(row[name], UUID) else row[name] for name in sorted(row)} for row in rows
    ]
    return sorted(plain, key=_canonical)


def _by_text(rows: Iterable[Row]) -> dict[str, Row]:
    return {_canonical(row): row for row in rows}


def _canonical(row: Row) -> str:
    return json.dumps(row, sort_keys=True, default=str)


def _named_members(activity_data: str) -> Any:
    """The members that the contract names; an activity has further ones, to publish its status events from."""
    members = json.loads(activity_data)
    # JSON columns: compact, key order as received, non-ASCII as is.
    if formats.compact(members) != activity_data:
        return f"not compact: {activity_data}"
    named = {name: members.get(name) for name in _ACTIVITY_MEMBERS}
    return {**named, "custom": formats.compact(members.get("data"))}


# --- status events


def status_differences(oracle: Oracle, records: Iterable[Record], *, kind: str) -> Iterator[str]:
    """One status topic: each release's changes in order, what each says, and that none is published too rarely.

    Delivery is at least once: a repeat has the same id and the same bytes.
    """
    expected: dict[str, Published] = {}
    expected_ids: dict[str | None, list[str]] = defaultdict(list)
    copies: Counter[str] = Counter()
    for published in oracle.published:
        if published.kind == kind:
            copies[published.id] += 1
            if published.id not in expected:
                expected[published.id] = published
                expected_ids[published.key].append(published.id)
    first: dict[str, Record] = {}
    found_ids: dict[str | None, list[str]] = defaultdict(list)
    for record in records:
        attributes, data = _status_event(record)
        key = None if record.key is None else record.key.decode("utf-8", "replace")
        id_ = str(attributes.get("id"))
        copies[id_] -= 1
        if attributes.get("type") != kind or key != data.get("release_id"):
            yield f"{record}: type {attributes.get('type')!r}, key {key!r}, expected a {kind} with its release as key"
        elif id_ not in first:
            first[id_] = record
            found_ids[key].append(id_)
            if id_ in expected and data != expected[id_].data:
                yield f"{record}: status event {id_} is {data}, expected {expected[id_].data}"
            trace = {name: attributes[name] for name in _TRACE_ATTRIBUTES if name in attributes}
            if id_ in expected and trace != expected[id_].trace:
                yield f"{record}: status event {id_} has {trace}, expected {expected[id_].trace}"
        elif (first[id_].key, first[id_].value, first[id_].headers) != (record.key, record.value, record.headers):
            yield f"{record}: status event {id_} differs from its first publication at {first[id_]}"
    for key in sorted(expected_ids.keys() | found_ids.keys(), key=str):
        if found_ids[key] != expected_ids[key]:
            yield f"{kind} of release {key}: found {found_ids[key]}, expected {expected_ids[key]}"
    for id_, missing in copies.items():
        if missing > 0:
            yield f"status event {id_}: published {missing} times too few"


def state_differences(oracle: Oracle, records: Iterable[Record], *, late_states: bool = False) -> Iterator[str]:
    """The state topic: what each record says, the order of each key, and that its last record is the state.

    Only the last has to be there: one that another has replaced is not published again. `late_states`: a worker may
    have lost its session between a commit and its publication, so a state may first be published after a later one.
    """
    expected: dict[str, Published] = {}
    order: dict[str | None, list[str]] = defaultdict(list)
    for published in oracle.published:
        if published.kind == DEPLOYMENT_STATE and published.id not in expected:
            expected[published.id] = published
            order[published.key].append(published.id)
    first: dict[str, Record] = {}
    found: dict[str | None, list[str]] = defaultdict(list)
    last: dict[str | None, dict[str, Any]] = {}
    for record in records:
        attributes, data = _status_event(record)
        id_, key = str(attributes.get("id")), (record.key or b"").decode("utf-8", "replace")
        last[key] = data
        wanted = expected.get(id_)
        if wanted is None or attributes.get("type") != DEPLOYMENT_STATE or key != wanted.key:
            yield f"{record}: type {attributes.get('type')!r}, key {key!r}, id {id_}: not expected"
        elif id_ not in first:
            first[id_] = record
            found[key].append(id_)
            trace = {name: attributes[name] for name in _TRACE_ATTRIBUTES if name in attributes}
            if (data, trace) != (wanted.data, wanted.trace):
                yield f"{record}: state {id_} is {data} {trace}, expected {wanted.data} {wanted.trace}"
        elif (first[id_].key, first[id_].value, first[id_].headers) != (record.key, record.value, record.headers):
            yield f"{record}: state {id_} differs from its first publication at {first[id_]}"
    for found_key, ids in found.items():
        if not late_states and ids != [id_ for id_ in order[found_key] if id_ in first]:
            yield f"states of {found_key}: found {ids}, expected the order {order[found_key]}"
    for its_key, ids in order.items():
        latest, there = expected[ids[-1]].data, last.get(its_key, {})
        if any(there.get(name) != latest[name] for name in ("deployment_id", "status")):
            yield f"state of {its_key}: found {there}, expected {latest}"


def _status_event(record: Record) -> tuple[dict[str, Any], dict[str, Any]]:
    """Attributes and data, in either content mode; empty where the record is no CloudEvent."""
    attributes = {
        name[3:]: (text or b"").decode("utf-8", "replace") for name, text in record.headers if name[:3] == "ce_"
    }
    try:
        body = json.loads(record.value or b"")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return {}, {}
    if attributes:
        return attributes, body
    return body, body.get("data") or {}


# --- dead letters


def dead_letter_differences(oracle: Oracle, records: Iterable[Record]) -> Iterator[str]:
    """Each rejected record's dead letter is there, untouched; a repeated rejected record has one of its own."""
    expected: dict[tuple[str, ...], list[Published]] = defaultdict(list)
    for published in oracle.published:
        if published.kind == DEAD_LETTER:
            expected[_origin(published)].append(published)
    reasons = {(one.id, one.data["rudder-reason"]) for every in expected.values() for one in every}
    found: set[tuple[str, ...]] = set()
    for record in records:
        headers = {name: (text or b"").decode("utf-8", "replace") for name, text in record.headers}
        missing = [name for name in DEAD_LETTER_HEADERS if name not in headers]
        if missing:
            yield f"{record}: a dead letter without {', '.join(missing)}"
            continue
        origin = tuple(headers[f"rudder-{name}"] for name in ("id", "topic", "partition", "offset", "timestamp"))
        found.add(origin)
        if origin not in expected:
            yield f"{record}: a dead letter of {origin}, {headers['rudder-reason']}: not expected"
            continue
        wanted = expected[origin][0].data
        if (record.key, record.value or b"") != (wanted["key"], wanted["value"] or b""):
            yield f"{record}: key or value differs from that of {origin}"
        if _publishers_headers(record.headers) != _publishers_headers(wanted["headers"]):
            yield f"{record}: headers differ from those of {origin}"
        if (headers["rudder-id"], headers["rudder-reason"]) not in reasons:
            yield f"{record}: reason {headers['rudder-reason']}, expected {wanted['rudder-reason']}"
    for origin in sorted(expected.keys() - found):
        yield f"dead letter of {origin}: missing"


def _publishers_headers(headers: Headers) -> list[tuple[str, bytes | None]]:
    return [(name, value) for name, value in headers if name not in DEAD_LETTER_HEADERS]


def _origin(published: Published) -> tuple[str, ...]:
    data = published.data
    return (published.id, *(str(data[f"rudder-{name}"]) for name in ("topic", "partition", "offset", "timestamp")))
