"""Each kind of message asks for what its decision can depend on, in the columns that are read, and for nothing else."""

from collections.abc import Iterator
from contextlib import closing
from sqlite3 import Connection

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from schemas.record import Record
from schemas.types import EventType as E
from tests.unit.rules.story import fields, message
from worker.db.asking import asking
from worker.db.models import Base
from worker.db.mssql import unit_of_work as mssql_unit_of_work
from worker.db.postgresql import unit_of_work as postgresql_unit_of_work
from worker.db.question import Parts, question
from worker.db.row_decoder import COLUMNS
from worker.db.sqlite import unit_of_work as sqlite_unit_of_work
from worker.pipeline.transaction import read
from worker.rules.message import Message

DIALECTS = (mssql_unit_of_work, postgresql_unit_of_work, sqlite_unit_of_work)

ANY = Parts(release=True, attempts=True, counting=True)
"""What every deployment event asks for."""

NO_EVENT = read(
    Record(topic="in", partition=0, offset=0, timestamp_ms=0, key=None, value=b"?", headers=()), event_bytes_max=9
)
ASKED: dict[str, tuple[Message, Parts]] = {
    "no event": (NO_EVENT, Parts()),
    "created": (message(E.RELEASE_CREATED), Parts(release=True, number=True)),
    "approved": (message(E.RELEASE_APPROVED), Parts(release=True)),
    "activity": (message(E.ACTIVITY_RECORDED), Parts(release=True)),
    "activity of an attempt": (
        message(E.ACTIVITY_RECORDED, environment_id="prod", attempt=2),
        Parts(release=True, attempts=True),
    ),
    "requested": (message(E.DEPLOYMENT_REQUESTED), ANY),
    "started with a block": (message(E.DEPLOYMENT_STARTED, block=fields()), ANY._replace(number=True)),
    "succeeded": (message(E.DEPLOYMENT_SUCCEEDED), ANY._replace(pointer=True)),
    "succeeded with a block": (
        message(E.DEPLOYMENT_SUCCEEDED, block=fields()),
        ANY._replace(pointer=True, number=True),
    ),
    "rolled back": (message(E.DEPLOYMENT_ROLLED_BACK), ANY._replace(fallback=True)),
    "rolled back, named": (message(E.DEPLOYMENT_ROLLED_BACK, attempt=1), ANY),
}


@pytest.fixture(scope="module")
def tables() -> Iterator[Connection]:
    """Empty ones."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    with closing(engine.raw_connection()) as pooled:
        assert isinstance(pooled.driver_connection, Connection)
        yield pooled.driver_connection
    engine.dispose()


@pytest.mark.parametrize("kind", ASKED)
def test_message_loads_what_its_decision_depends_on(kind: str) -> None:
    asked, parts = ASKED[kind]
    assert question(asked, pointers=True).parts == parts
    assert question(asked, pointers=False).parts == parts._replace(pointer=False)


@pytest.mark.parametrize("component_is_uuid", [True, False])
@pytest.mark.parametrize("kind", ASKED)
def test_load_has_a_value_for_every_parameter(kind: str, component_is_uuid: bool) -> None:
    asked = question(ASKED[kind][0], pointers=True)
    for dialect in DIALECTS:
        statement = asking(asked.parts, dialect._WORDS, component_is_uuid=component_is_uuid)
        assert set(statement.names) <= asked.values.keys(), dialect.__name__
        assert len(statement.parameters(asked.values)) == len(statement.names)


@pytest.mark.parametrize("component_is_uuid", [True, False])
@pytest.mark.parametrize("kind", ASKED)
def test_load_returns_at_least_one_row_with_every_column(
    tables: Connection, kind: str, component_is_uuid: bool
) -> None:
    """Also where nothing is known: the row says so."""
    asked = question(ASKED[kind][0], pointers=True)
    statement = asking(asked.parts, sqlite_unit_of_work._WORDS, component_is_uuid=component_is_uuid)
    values = [sqlite_unit_of_work._stored(value) for value in statement.parameters(asked.values)]
    cursor = tables.execute(statement.sql, values)
    assert len(cursor.description) == COLUMNS
    [row] = cursor.fetchall()
    assert not any(row)


def test_equal_parts_share_one_statement() -> None:
    """Composed once, prepared once."""
    one, other = (question(message(E.DEPLOYMENT_STARTED, release=number), pointers=True) for number in (1, 2))
    for dialect in DIALECTS:
        statements = [asking(asked.parts, dialect._WORDS, component_is_uuid=True) for asked in (one, other)]
        assert statements[0] is statements[1]


def test_statement_contains_no_value_of_the_event() -> None:
    """Its values go beside it."""
    hostile = "'; DROP TABLE releases; --"
    asked = question(message(E.DEPLOYMENT_SUCCEEDED, environment_id=hostile, block=fields(7)), pointers=True)
    for dialect in DIALECTS:
        statement = asking(asked.parts, dialect._WORDS, component_is_uuid=True)
        assert "DROP" not in statement.sql
        assert hostile in statement.parameters(asked.values)
