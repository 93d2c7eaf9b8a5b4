"""What an outcome writes: in an order that no reference breaks, each UPDATE guarded, within what servers take."""

import re
from collections import defaultdict
from collections.abc import Sequence

import pytest

from schemas.types import EventType as E
from tests.unit.rules.story import REDRIVE, Story, fields, message
from worker.db.mssql import unit_of_work as mssql_unit_of_work
from worker.db.pointers import Pointers
from worker.db.postgresql import unit_of_work as postgresql_unit_of_work
from worker.db.privileges import RIGHTS
from worker.db.unit_of_work import Basis
from worker.db.writing import HOLD_RELEASE, Claim, Write, claim_of, number_claim_of, writes
from worker.rules.state import Duplicate, Outcome

POINTERS = Pointers(component_is_uuid=True)
PARAMETERS_MAX = 2_100
"""Of one statement on SQL Server."""

REVISIONS = [
    {"endpoint_name": f"e{number}", "api_id": "a", "revision_id": "r", "access_mode": "m"} for number in range(1_000)
]


def outcomes() -> dict[str, Outcome]:
    """One of each kind that writes something."""
    story = Story.of_approved_release()
    found = {
        "opened": story.tell(E.DEPLOYMENT_REQUESTED),
        "superseding": story.tell(E.DEPLOYMENT_REQUESTED, comment="again"),
        "succeeded": story.tell(E.DEPLOYMENT_SUCCEEDED, actor="zoë"),
        "rolled back": story.tell(E.DEPLOYMENT_ROLLED_BACK),
        "stale": story.tell(E.DEPLOYMENT_FAILED, at=-60),
        "with a block": story.tell(E.DEPLOYMENT_STARTED, release=2, block=fields(2, apim_base_revisions=REVISIONS)),
        "rejected": story.tell(E.DEPLOYMENT_STARTED, id="early", release=3),
        "rejected again": story.tell(E.DEPLOYMENT_STARTED, id="early", release=3, headers=REDRIVE),
        "created": story.tell(E.RELEASE_CREATED, release=3),
    }
    for kind in (E.RELEASE_SUBMITTED, E.RELEASE_APPROVED):
        story.tell(kind, release=3)
    return found | {"resolving": story.tell(E.DEPLOYMENT_STARTED, id="early", release=3, headers=REDRIVE)}


OUTCOMES = outcomes()


def tables(found: Sequence[Write]) -> list[str]:
    """What is written where, in order."""
    return [" ".join(re.findall(r"^(INSERT|UPDATE)(?: INTO)? (\w+)", write.sql)[0]) for write in found]


@pytest.mark.parametrize("kind", OUTCOMES)
def test_statement_takes_exactly_its_parameters(kind: str) -> None:
    """No more than any server takes."""
    found = writes(OUTCOMES[kind], POINTERS)
    assert found
    for write in found:
        assert write.sql.count("?") == len(write.parameters) <= PARAMETERS_MAX


@pytest.mark.parametrize("kind", OUTCOMES)
def test_every_update_has_an_expected_row_count(kind: str) -> None:
    """An INSERT meets its own key."""
    for write in writes(OUTCOMES[kind], POINTERS):
        assert (write.guarded is not None) == write.sql.startswith("UPDATE "), write.sql


def test_referenced_row_is_written_first() -> None:
    """The release first, its deployments next, then the log; and the superseded attempt before the one that follows."""
    block = tables(writes(OUTCOMES["with a block"], POINTERS))
    assert block[0] == "INSERT releases"
    assert set(block[1:-2]) == {"INSERT release_apim_base_revisions"}
    assert block[-2:] == ["INSERT release_deployments", "INSERT release_activity_logs"]
    superseding = tables(writes(OUTCOMES["superseding"], POINTERS))
    assert superseding == ["UPDATE release_deployments", "INSERT release_deployments", "INSERT release_activity_logs"]


def test_every_base_revision_is_written_once() -> None:
    """However many there are."""
    found = [write for write in writes(OUTCOMES["with a block"], POINTERS) if "apim_base_revisions" in write.sql]
    names = [name for write in found for name in write.parameters[1::5]]
    assert names == [revision["endpoint_name"] for revision in REVISIONS]


def test_pointer_is_moved_only_where_its_table_exists() -> None:
    assert tables(writes(OUTCOMES["succeeded"], POINTERS))[-1] == "UPDATE app_environments"
    assert "UPDATE app_environments" not in tables(writes(OUTCOMES["succeeded"], None))


def test_rejection_is_one_row_that_a_redrive_changes_or_resolves() -> None:
    assert tables(writes(OUTCOMES["rejected"], POINTERS)) == ["INSERT release_event_rejections"]
    assert tables(writes(OUTCOMES["rejected again"], POINTERS)) == ["UPDATE release_event_rejections"]
    assert tables(writes(OUTCOMES["resolving"], POINTERS))[-1] == "UPDATE release_event_rejections"


def test_duplicate_writes_nothing() -> None:
    assert writes(Duplicate(), POINTERS) == []


@pytest.mark.parametrize("found", [True, False])
@pytest.mark.parametrize("kind", OUTCOMES)
def test_postgresql_writes_one_statement(kind: str, found: bool) -> None:
    """Its numbers count the parameters, those of the guards too; its release has to be at the version that was read."""
    judged = message(E.DEPLOYMENT_STARTED)
    release_id = judged.release_id
    basis = Basis(
        event_id=judged.id,
        claim=claim_of(OUTCOMES[kind]),
        release_id=release_id,
        found=found,
        version=7 if found else None,
        number=number_claim_of(OUTCOMES[kind], releases=3),
    )
    guarded = postgresql_unit_of_work._guarded(writes(OUTCOMES[kind], POINTERS), basis)
    claims, claimed = postgresql_unit_of_work._claims(basis)
    sql = postgresql_unit_of_work._folded(tuple((write.sql, write.guarded) for write in guarded), claims)
    numbers = [int(number) for number in re.findall(r"\$(\d+)", sql)]
    assert numbers == list(range(1, sum(len(write.parameters) for write in guarded) + len(claimed) + 1))
    assert sql.count("rudder_guard(") == sum(write.guarded is not None for write in guarded)
    assert sql.count("rudder_claim_") == 1 + (basis.number is not None)
    if found:
        assert "xmin = $" in guarded[0].sql.replace("?", "$")
        assert 7 in guarded[0].parameters


@pytest.mark.parametrize(
    ("claim", "found", "looks"),
    [
        (Claim.APPLY, True, ["release_event_rejections"]),
        (Claim.APPLY, False, ["release_event_rejections"]),
        (Claim.APPLY_REDRIVEN, True, []),
        (Claim.REJECT, True, ["release_activity_logs"]),
        (Claim.REJECT, False, ["release_activity_logs", "releases"]),
    ],
)
def test_mssql_write_locks_its_event_first(claim: Claim, found: bool, looks: list[str]) -> None:
    """And looks for what excludes it under that lock. A lock that was not granted is an error, not a result."""
    judged = message(E.DEPLOYMENT_STARTED)
    basis = Basis(event_id=judged.id, claim=claim, release_id=judged.release_id, found=found, version=None)
    lock, *claimed = mssql_unit_of_work._claimed(basis)
    assert "sp_getapplock" in lock.sql
    assert lock.parameters == (f"rudder event {judged.id}",)
    assert lock.sql.count("THROW") == 3
    assert [re.findall(r"FROM (\w+)", write.sql) for write in claimed] == [[table] for table in looks]
    assert all("THROW" in write.sql for write in claimed)


def test_mssql_batch_contains_null_literally() -> None:
    """There its driver would ask the server what type it has."""
    for outcome in OUTCOMES.values():
        for write in writes(outcome, POINTERS):
            sql = mssql_unit_of_work._without_nulls(write)
            assert sql.count("?") == sum(value is not None for value in write.parameters)
            assert sql.count("?") + sql.count("NULL") >= len(write.parameters)


def test_mssql_splits_a_batch_that_is_too_large() -> None:
    """None is left out, and none is empty."""
    due = writes(OUTCOMES["with a block"], POINTERS)
    batches = list(mssql_unit_of_work._batches(due))
    assert len(batches) > 1
    assert all(batches)
    assert [write for batch in batches for write in batch] == due
    for batch in batches:
        assert sum(len(write.parameters) for write in batch) <= PARAMETERS_MAX


def test_grants_match_the_statements() -> None:
    """Tables and columns, as the statements name them; alembic_version is only read."""
    inserted, updated = set(), defaultdict(set)
    for sql in [HOLD_RELEASE, *(write.sql for outcome in OUTCOMES.values() for write in writes(outcome, POINTERS))]:
        if into := re.match(r"INSERT INTO (\w+)", sql):
            inserted.add(into[1])
        else:
            table, assignments = re.findall(r"^UPDATE (\w+) SET (.*?) WHERE ", sql)[0]
            updated[table] |= set(re.findall(r"(\w+) = ", assignments))
    assert {rights.table for rights in RIGHTS if rights.inserted} == inserted
    assert {rights.table: set(rights.updated) for rights in RIGHTS if rights.updated} == updated
    assert {rights.table for rights in RIGHTS} == inserted | updated.keys() | {"rudder_alembic_version"}
