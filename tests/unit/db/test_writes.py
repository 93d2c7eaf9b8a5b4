"""What a message writes: in an order that no reference breaks, each UPDATE naming what was read, within the limits."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from schemas.types import EventType as E
from tests.unit.rules.release_scenario import REDRIVE, Scenario, fields
from worker.db.mssql.fragments import POINTERS as MSSQL_POINTERS
from worker.db.pointers import ComponentKey, Pointers
from worker.db.postgresql import session as postgresql
from worker.db.postgresql.fragments import POINTERS as POSTGRESQL_POINTERS
from worker.db.privileges import PRIVILEGES, Role
from worker.db.statement import Write, names_of
from worker.db.writes import WriteSet, write_set_of
from worker.rules.message import Message
from worker.rules.query import query_of
from worker.rules.state import Duplicate, Outcome, State, changes_of

POINTERS = Pointers(ComponentKey.UUID, POSTGRESQL_POINTERS)
VERSION = 7
REVISIONS = [
    {"endpoint_name": f"e{number}", "api_id": "a", "revision_id": "r", "access_mode": "m"} for number in range(1_000)
]


class Loads(Scenario):
    """Keeps what each message loads, as a store would."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: dict[str, tuple[Message, State, Outcome]] = {}

    def turn(self, name: str, kind: E, **more: Any) -> None:
        def handle(sent: Message) -> Outcome:
            state = self.world.load(sent)
            state = replace(state, release_version=VERSION if state.release else None)
            self.turns[name] = (sent, state, Scenario.handle(self, sent))
            return self.turns[name][2]

        self.handle = handle  # type: ignore[method-assign, assignment]
        self.add(kind, **more)
        del self.handle


def turns() -> dict[str, tuple[Message, State, Outcome]]:
    """One of each kind that writes something."""
    scenario = Loads()
    scenario.turn("created", E.RELEASE_CREATED)
    scenario.turn("submitted", E.RELEASE_SUBMITTED)
    scenario.turn("approved", E.RELEASE_APPROVED)
    scenario.turn("opened", E.DEPLOYMENT_REQUESTED)
    scenario.turn("superseding", E.DEPLOYMENT_REQUESTED, comment="again")
    scenario.turn("succeeded", E.DEPLOYMENT_SUCCEEDED, actor="zoë")
    scenario.turn("rolled back", E.DEPLOYMENT_ROLLED_BACK)
    scenario.turn("stale", E.DEPLOYMENT_FAILED, at=-60)
    scenario.turn("activity", E.ACTIVITY_RECORDED)
    scenario.turn("refused", E.DEPLOYMENT_STARTED, attempt=99)
    scenario.turn("with a block", E.DEPLOYMENT_STARTED, release=2, block=fields(2, apim_base_revisions=REVISIONS))
    scenario.turn("rejected", E.DEPLOYMENT_STARTED, id="early", release=3)
    scenario.turn("rejected again", E.DEPLOYMENT_STARTED, id="early", release=3, headers=REDRIVE)
    for kind in (E.RELEASE_CREATED, E.RELEASE_SUBMITTED, E.RELEASE_APPROVED):
        scenario.add(kind, release=3)
    scenario.turn("resolving", E.DEPLOYMENT_STARTED, id="early", release=3, headers=REDRIVE)
    return scenario.turns


TURNS = turns()
CHANGING = {"submitted", "approved", "opened", "superseding", "succeeded", "rolled back", "resolving"}
CREATING = {"created", "with a block"}


def write_set(
    kind: str, pointers: Pointers | None = POINTERS, *, version: int | None = VERSION, tracks_compared: int = 3
) -> WriteSet:
    sent, state, outcome = TURNS[kind]
    if state.release is not None:
        state = replace(state, release_version=version)
    changes = changes_of(outcome)
    assert changes is not None
    state = replace(state, tracks_compared=tracks_compared)
    return write_set_of(changes, query_of(sent), state, pointers)


def tables(writes: Sequence[Write]) -> list[str]:
    """What is written where, in order."""
    return [" ".join(re.findall(r"^(INSERT|UPDATE)(?: INTO)? (\w+)", write.statement.sql)[0]) for write in writes]


@pytest.mark.parametrize("kind", TURNS)
def test_statement_has_a_value_for_each_parameter(kind: str) -> None:
    assert write_set(kind).writes
    for write in write_set(kind).writes:
        assert len(names_of(write.statement.sql)) == len(write.values)


@pytest.mark.parametrize("kind", TURNS)
def test_update_names_the_row_that_it_must_find(kind: str) -> None:
    """An INSERT meets its own key."""
    for write in write_set(kind).writes:
        assert (write.statement.finds is not None) == write.statement.sql.startswith("UPDATE "), write.statement.sql


@pytest.mark.parametrize("kind", TURNS)
def test_version_counts_the_events_that_change_a_release(kind: str) -> None:
    """A transaction that changes the release begins with its version. Any other checks it, or inserts it."""
    found = write_set(kind)
    written = [write for write in found.writes if "release_versions" in write.statement.sql]
    if kind in CHANGING:
        assert found.writes[0].statement.sql.endswith(
            "SET version = version + 1 WHERE release_mgt_id = :release_id AND version = :version"
        )
        assert (found.writes[0].values[1], written, found.version_check) == (VERSION, [found.writes[0]], None)
    elif kind in CREATING:
        [inserted] = written
        assert inserted.statement.sql.startswith("INSERT INTO release_versions ")
        assert (inserted.values[1], found.version_check) == (int(kind == "with a block"), None)
    else:
        assert written == []
        check = found.version_check
        if TURNS[kind][1].release is None:
            assert (check, found.absent_release_id) == (None, TURNS[kind][0].release_id)
        else:
            assert check is not None
            assert "version = :version" in check.condition.holds
            assert check.values[1] == VERSION


@pytest.mark.parametrize("kind", [kind for kind, (_, state, _) in TURNS.items() if state.release])
def test_missing_version_is_inserted_or_checked(kind: str) -> None:
    """Of a release that another application made: its first change by the worker is its version 1."""
    found = write_set(kind, version=None)
    written = [write for write in found.writes if "release_versions" in write.statement.sql]
    if kind in CHANGING:
        assert found.writes[0] == written[0]
        assert written[0].statement.sql.startswith("INSERT INTO release_versions ")
        assert found.version_check is None
    else:
        assert written == []
        assert found.version_check is not None
        assert found.version_check.condition.holds.startswith("NOT EXISTS (SELECT 1 FROM release_versions ")


def test_row_is_written_after_what_it_refers_to() -> None:
    """The release, its version, its deployments, then the log; the superseded attempt before the one that follows."""
    block = tables(write_set("with a block").writes)
    assert block[0] == "INSERT releases"
    assert set(block[1:-3]) == {"INSERT release_apim_base_revisions"}
    assert block[-3:] == ["INSERT release_versions", "INSERT release_deployments", "INSERT release_activity_logs"]
    assert tables(write_set("superseding").writes) == [
        "UPDATE release_versions",
        "UPDATE release_deployments",
        "INSERT release_deployments",
        "INSERT release_activity_logs",
    ]


def test_every_base_revision_is_written_once() -> None:
    found = [write for write in write_set("with a block").writes if "apim_base_revisions" in write.statement.sql]
    names = [name for write in found for name in write.values[1::5]]
    assert names == [revision["endpoint_name"] for revision in REVISIONS]


def test_pointer_is_moved_only_where_there_is_a_table_for_it() -> None:
    assert tables(write_set("succeeded").writes)[-1] == "UPDATE app_environments"
    assert "UPDATE app_environments" not in tables(write_set("succeeded", None).writes)


def test_rejection_is_one_row_that_a_redrive_changes_or_resolves() -> None:
    assert tables(write_set("rejected").writes) == ["INSERT release_event_rejections"]
    assert tables(write_set("rejected again").writes) == ["UPDATE release_event_rejections"]
    assert tables(write_set("resolving").writes)[-1] == "UPDATE release_event_rejections"


def test_duplicate_changes_nothing() -> None:
    assert changes_of(Duplicate()) is None


@pytest.mark.parametrize("version", [VERSION, None])
@pytest.mark.parametrize("kind", TURNS)
def test_batch_is_one_statement_on_postgresql(kind: str, version: int | None) -> None:
    """Its numbers count the values. The identity's lock is the first thing that is selected."""
    found = write_set(kind, version=version)
    statement, values = postgresql.written(found)
    numbers = [int(number) for number in re.findall(r"\$(\d+)", statement.sql)]
    assert numbers == list(range(1, len(values) + 1))
    guards = sum(write.statement.finds is not None for write in found.writes) + (found.version_check is not None)
    assert statement.sql.count("rudder_guard(") == guards
    assert statement.sql.count("rudder_claim_") == 1 + (found.number is not None)
    assert re.search(r"\n    rudder_claim_(application|rejection)\(", statement.sql)


@pytest.mark.parametrize("kind", TURNS)
def test_parts_of_a_statement_have_names_of_their_own(kind: str) -> None:
    statement, _ = postgresql.written(write_set(kind))
    names = re.findall(r"(?:WITH|\),) (\w+) AS \(", statement.sql)
    assert len(names) == len(set(names)) == len(write_set(kind).writes)


@pytest.mark.parametrize("component", ComponentKey)
def test_pointer_key_has_a_value_each_time_on_sql_server(component: ComponentKey) -> None:
    """There a text is compared twice."""
    pointers = Pointers(component, MSSQL_POINTERS)
    write = write_set("succeeded", pointers).writes[-1]
    assert len(names_of(write.statement.sql)) == len(write.values) > len(set(names_of(write.statement.sql)))


def test_login_is_granted_what_is_written_and_no_more() -> None:
    """Tables and columns, as the statements name them; the table of revisions is only read."""
    inserted: set[str] = set()
    updated: defaultdict[str, set[str]] = defaultdict(set)
    for sql in [write.statement.sql for kind in TURNS for write in write_set(kind).writes]:
        if into := re.match(r"INSERT INTO (\w+)", sql):
            inserted.add(into[1])
        else:
            table, assignments = re.findall(r"^UPDATE (\w+) SET (.*?) WHERE ", sql)[0]
            updated[table] |= set(re.findall(r"(\w+) = ", assignments))
    inserted.add("worker_breakers")  # beside the messages
    granted = PRIVILEGES[Role.WORKER]
    assert {privileges.table for privileges in granted if privileges.inserted} == inserted
    assert {privileges.table: set(privileges.updated) for privileges in granted if privileges.updated} == updated
    tables_granted = {privileges.table for privileges in granted}
    assert tables_granted == inserted | updated.keys() | {"rudder_alembic_version"}
