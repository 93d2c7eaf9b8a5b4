"""Named parameters become what each driver takes."""

from worker.db.placeholders import Statement, numbered, positional

VALUES = {"release": 1, "attempt": 2, "config_revision": 3}


def test_repeated_name_shares_one_numbered_placeholder() -> None:
    """So the server is sent each value once."""
    statement = numbered("SELECT :attempt WHERE r = :release AND a < :attempt")
    assert statement == Statement("SELECT $1 WHERE r = $2 AND a < $1", ("attempt", "release"))
    assert statement.parameters(VALUES) == (2, 1)


def test_question_mark_repeats_its_value() -> None:
    statement = positional("SELECT :attempt WHERE r = :release AND a < :attempt")
    assert statement == Statement("SELECT ? WHERE r = ? AND a < ?", ("attempt", "release", "attempt"))
    assert statement.parameters(VALUES) == (2, 1, 2)


def test_cast_is_not_a_parameter() -> None:
    """Nor is part of a name: the longest one is meant."""
    statement = numbered("SELECT :config_revision::int, x::text")
    assert statement == Statement("SELECT $1::int, x::text", ("config_revision",))


def test_statement_without_parameters_is_unchanged() -> None:
    for placed in (numbered, positional):
        assert placed("SELECT '09:30'") == Statement("SELECT '09:30'", ())
