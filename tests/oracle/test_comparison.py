"""The comparison accepts what a correct worker leaves, and finds each fault: a cell, a row, a published record."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.oracle.comparison import DEAD_LETTER_HEADERS, TABLES, differences, state_differences
from tests.oracle.oracle import Oracle
from tests.oracle.records import DEAD_LETTER, Published, Record
from tests.oracle.scenario import FIELDS, Scenario
from tests.oracle.status_machines import DEPLOYMENT_STATE, DEPLOYMENT_STATUS_CHANGED, RELEASE_STATUS_CHANGED

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
REVISION = {"endpoint_name": "orders", "api_id": "a1", "revision_id": "r12", "access_mode": "EXTERNAL"}


@dataclass
class Found:
    """What a correct worker leaves for the oracle's records."""

    oracle: Oracle
    tables: dict[str, list[dict[str, Any]]]
    deployment_statuses: list[Record]
    release_statuses: list[Record]
    dead_letters: list[Record]

    def differences(self) -> list[str]:
        return differences(
            self.oracle,
            tables=self.tables,
            deployment_statuses=self.deployment_statuses,
            release_statuses=self.release_statuses,
            dead_letters=self.dead_letters,
        )


@pytest.fixture(params=["binary", "structured"])
def found(request: pytest.FixtureRequest) -> Found:
    """Of one release with two attempts, a custom activity, a resolved rejection and an open one that came twice."""
    scenario = Scenario()
    scenario.deploy("requested", id="early")
    scenario.send("release.created", **FIELDS, metadata={"ü": [1, None]}, apim_base_revisions=[REVISION, REVISION])
    scenario.send("release.submitted")
    scenario.send("release.approved")
    scenario.deploy("requested", id="early", redrive=True)
    scenario.deploy("started", actor="ada", comment="größer")
    scenario.deploy("requested")
    scenario.deploy("succeeded", id="end", actor="ada")
    scenario.deploy("succeeded", id="end", actor="ada")
    scenario.send("activity.recorded", activity_type="SCAN", activity_data={"z": 1, "ä": {"b": 2, "a": 3}})
    scenario.deploy("started", attempt=9, id="gap")
    scenario.deploy("started", attempt=9, id="gap")
    return _left_by_a_correct_worker(scenario.oracle, mode=request.param)


def test_correct_worker_has_no_differences(found: Found) -> None:
    assert found.differences() == []


def test_repeats_are_allowed(found: Found) -> None:
    """A crash between commit and offset publishes everything again, with the same ids."""
    found.release_statuses.append(replace(found.release_statuses[-1], offset=10_000))
    found.deployment_statuses.append(replace(found.deployment_statuses[0], offset=10_000))
    found.dead_letters.append(replace(found.dead_letters[0], offset=10_000))
    assert found.differences() == []


@pytest.mark.parametrize("table", TABLES)
def test_each_changed_cell_is_found(found: Found, table: str) -> None:
    """The wording of a rejection is the worker's own; all other columns are promised."""
    for row in found.tables[table]:
        for name in row:
            if name == "detail":
                continue
            value, row[name] = row[name], "changed"
            if name == "activity_data":
                row[name] = '{"changed":1}'
            assert any(line.startswith(table) for line in found.differences()), name
            row[name] = value
    assert found.differences() == []


@pytest.mark.parametrize("table", TABLES)
def test_missing_and_surplus_rows_are_found(found: Found, table: str) -> None:
    row = found.tables[table].pop()
    assert any(line.startswith(table) for line in found.differences())
    found.tables[table] += [row, dict(row)]
    assert any(line.startswith(table) for line in found.differences())


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"z":1,"ä"', '"z":1, "ä"'),
        lambda text: text.replace("ä", "\\u00e4"),
        lambda text: text.replace('"b":2,"a":3', '"a":3,"b":2'),
        lambda text: text.replace('"offset":10', '"offset":11'),
    ],
    ids=["spaced", "escaped", "reordered", "misplaced"],
)
def test_changed_activity_data_is_found(found: Found, change: Callable[[str], str]) -> None:
    """Compact, key order as received, non-ASCII as is."""
    [row] = [row for row in found.tables["release_activity_logs"] if row["activity_type"] == "SCAN"]
    changed = change(row["activity_data"])
    assert changed != row["activity_data"]
    row["activity_data"] = changed
    assert found.differences()


@pytest.mark.parametrize("trace", [{}, {"traceparent": TRACEPARENT}, {"traceparent": TRACEPARENT, "tracestate": "a=2"}])
def test_status_event_with_another_trace_context_is_found(trace: dict[str, str]) -> None:
    scenario = Scenario().approved()
    scenario.deploy("started", attributes={"traceparent": TRACEPARENT, "tracestate": "a=1"})
    found = _left_by_a_correct_worker(scenario.oracle, mode="binary")
    assert found.differences() == []
    [published] = [one for one in scenario.oracle.published if one.kind == DEPLOYMENT_STATUS_CHANGED]
    found.deployment_statuses = [_binary(replace(published, trace=trace), 0)]
    assert len(found.differences()) == 1


def test_rejection_without_detail_is_found(found: Found) -> None:
    found.tables["release_event_rejections"][0]["detail"] = None
    assert found.differences()


def without_first(records: list[Record]) -> list[Record]:
    return records[1:]


def swapped(records: list[Record]) -> list[Record]:
    return [records[1], records[0], *records[2:]]


def of_another_release(records: list[Record]) -> list[Record]:
    return [replace(records[0], key=b"other"), *records[1:]]


def unreadable(records: list[Record]) -> list[Record]:
    return [*records, replace(records[0], value=b"\xff", headers=(), offset=10_000)]


def contradicted(records: list[Record]) -> list[Record]:
    """The same id with another status."""
    return [*records, replace(records[0], value=(records[0].value or b"").replace(b"actor", b"author") + b" ")]


def changed_data(records: list[Record]) -> list[Record]:
    value = (records[-1].value or b"").replace(b'"comment":', b'"remark":')
    assert value != records[-1].value
    return [*records[:-1], replace(records[-1], value=value)]


@pytest.mark.parametrize("topic", ["deployment_statuses", "release_statuses"])
@pytest.mark.parametrize("change", [without_first, swapped, of_another_release, unreadable, contradicted, changed_data])
def test_wrong_status_event_is_found(found: Found, topic: str, change: Callable[[list[Record]], list[Record]]) -> None:
    setattr(found, topic, change(getattr(found, topic)))
    assert found.differences()


def test_duplicate_published_once_only_is_found(found: Found) -> None:
    """A record that comes twice has its status events published twice."""
    ids = [_id_of(record) for record in found.deployment_statuses]
    repeated = next(n for n, id_ in enumerate(ids) if id_ in ids[:n])
    del found.deployment_statuses[repeated]
    assert any("too few" in line for line in found.differences())


@pytest.fixture
def states() -> tuple[Oracle, list[Record]]:
    """The states of one environment: PENDING, IN_PROGRESS, SUCCESS."""
    scenario = Scenario().approved()
    for status in ("requested", "started", "succeeded"):
        scenario.deploy(status)
    return scenario.oracle, _published(scenario.oracle, DEPLOYMENT_STATE, "binary")


def test_states_in_order_have_no_differences(states: tuple[Oracle, list[Record]]) -> None:
    oracle, [pending, in_progress, success] = states
    assert list(state_differences(oracle, [pending, in_progress, success, success])) == []


def test_late_state_is_found_where_none_is_allowed(states: tuple[Oracle, list[Record]]) -> None:
    oracle, [pending, in_progress, success] = states
    [line] = state_differences(oracle, [in_progress, pending, success])
    assert "expected the order" in line


def test_late_state_is_accepted_where_allowed(states: tuple[Oracle, list[Record]]) -> None:
    """A worker that lost its session publishes it after its successor; the current state follows again."""
    oracle, [pending, in_progress, success] = states
    assert list(state_differences(oracle, [in_progress, pending, success], late_states=True)) == []
    assert list(state_differences(oracle, [pending, success, in_progress, success], late_states=True)) == []


def test_late_state_as_the_last_record_is_found(states: tuple[Oracle, list[Record]]) -> None:
    oracle, [pending, in_progress, success] = states
    [line] = state_differences(oracle, [pending, success, in_progress], late_states=True)
    assert line.startswith("state of ")


def test_late_state_with_other_content_is_found(states: tuple[Oracle, list[Record]]) -> None:
    oracle, [pending, in_progress, success] = states
    changed = _with_value(pending, b'"attempt":1', b'"attempt":2')
    [line] = state_differences(oracle, [in_progress, changed, success], late_states=True)
    assert "expected {" in line


def test_late_state_repeated_with_other_bytes_is_found(states: tuple[Oracle, list[Record]]) -> None:
    oracle, [pending, in_progress, success] = states
    changed = _with_value(pending, b"{", b"{ ")
    [line] = state_differences(oracle, [in_progress, pending, changed, success], late_states=True)
    assert "differs from its first publication" in line


def test_states_without_the_last_are_found(states: tuple[Oracle, list[Record]]) -> None:
    oracle, [pending, in_progress, _] = states
    assert len(list(state_differences(oracle, [pending, in_progress], late_states=True))) == 1


def touched_value(records: list[Record]) -> list[Record]:
    return [replace(records[0], value=(records[0].value or b"") + b" "), *records[1:]]


def touched_headers(records: list[Record]) -> list[Record]:
    return [replace(records[0], headers=(*records[0].headers, ("added", b"1"))), *records[1:]]


def other_reason(records: list[Record]) -> list[Record]:
    return [_with_header(records[0], "rudder-reason", b"processing_error"), *records[1:]]


def of_another_rejection(records: list[Record]) -> list[Record]:
    return [_with_header(records[0], "rudder-id", b"other"), *records[1:]]


def without_detail(records: list[Record]) -> list[Record]:
    headers = tuple(pair for pair in records[0].headers if pair[0] != "rudder-detail")
    return [replace(records[0], headers=headers), *records[1:]]


@pytest.mark.parametrize(
    "change", [without_first, touched_value, touched_headers, other_reason, of_another_rejection, without_detail]
)
def test_wrong_dead_letter_is_found(found: Found, change: Callable[[list[Record]], list[Record]]) -> None:
    found.dead_letters = change(found.dead_letters)
    assert found.differences()


def _left_by_a_correct_worker(oracle: Oracle, *, mode: str) -> Found:
    tables = deepcopy(oracle.content.tables())
    for row in tables["release_activity_logs"]:
        members = dict(row["activity_data"])
        custom = members.pop("custom")
        text = json.dumps(members, separators=(",", ":"))
        row["activity_data"] = text if custom is None else f'{text[:-1]},"data":{custom}}}'
    for row in tables["release_event_rejections"]:
        row["detail"] = "why"
    return Found(
        oracle=oracle,
        tables=tables,
        deployment_statuses=_published(oracle, DEPLOYMENT_STATUS_CHANGED, mode),
        release_statuses=_published(oracle, RELEASE_STATUS_CHANGED, mode),
        dead_letters=_published(oracle, DEAD_LETTER, mode),
    )


def _published(oracle: Oracle, kind: str, mode: str) -> list[Record]:
    encode = _dead_letter if kind == DEAD_LETTER else _binary if mode == "binary" else _structured
    published = [one for one in oracle.published if one.kind == kind]
    return [encode(one, offset) for offset, one in enumerate(published)]


def _binary(one: Published, offset: int) -> Record:
    trace = tuple((f"ce_{name}", text.encode()) for name, text in one.trace.items())
    headers = (("ce_id", one.id.encode()), ("ce_type", one.kind.encode()), *trace)
    return Record("out", 0, offset, 0, _json(one.data), headers, (one.key or "").encode())


def _structured(one: Published, offset: int) -> Record:
    event = {"id": one.id, "type": one.kind, **one.trace, "data": one.data}
    return Record("out", 0, offset, 0, _json(event), (), (one.key or "").encode())


def _dead_letter(one: Published, offset: int) -> Record:
    data = {"rudder-id": one.id, **one.data}
    added = tuple((name, str(data.get(name, "some")).encode()) for name in DEAD_LETTER_HEADERS)
    return Record("out", 0, offset, 0, data["value"], (*data["headers"], *added), data["key"])


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _with_value(record: Record, old: bytes, new: bytes) -> Record:
    assert record.value is not None
    assert old in record.value
    return replace(record, value=record.value.replace(old, new, 1))


def _id_of(record: Record) -> str:
    headers = dict(record.headers)
    id_ = (headers["ce_id"] or b"").decode() if "ce_id" in headers else json.loads(record.value or b"")["id"]
    return str(id_)


def _with_header(record: Record, name: str, value: bytes) -> Record:
    headers = tuple((one, value if one == name else kept) for one, kept in record.headers)
    return replace(record, headers=headers)
