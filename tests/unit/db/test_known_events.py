"""The statements for known events and openings fit every database."""

from worker.db import breakers, known_events
from worker.db.statement import names_of, numbered, positional

SQL_SERVER_PARAMETERS_MAX = 2_100


def test_known_events_name_each_id_for_both_tables() -> None:
    statement = known_events.statement(200)
    assert len(names_of(statement)) == 400 < SQL_SERVER_PARAMETERS_MAX
    assert len(numbered(statement).names) == 200
    assert positional(statement).sql.count("?") == 400


def test_statements_have_no_words_of_one_database() -> None:
    """SQL Server has neither LIMIT nor RETURNING nor booleans as values."""
    statements = (
        breakers.CURRENT,
        breakers.FIND,
        breakers.PAST,
        breakers.RECORD,
        breakers.CLOSE,
        known_events.statement(1),
    )
    for statement in statements:
        words = set(statement.upper().replace("(", " ").replace(")", " ").split())
        assert not words & {"LIMIT", "RETURNING", "TOP", "TRUE", "FALSE", "NULLS"}, statement
