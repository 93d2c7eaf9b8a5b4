"""Named parameters become what each driver takes."""

from worker.db.placeholders import Statement, numbered, positional

VALUES = {"release": 1, "attempt": 2, "config_revision": 3}


def test_a_number_stands_for_a_name_wherever_it_is_repeated() -> None:
    """So the server is sent each value once."""
    statement = numbered("SELECT :attempt WHERE r = :release AND a < :attempt")
    assert statement == Statement("SELECT $1 WHERE r = $2 AND a < $1", ("attempt", "release"))
    assert statement.parameters(VALUES) == (2, 1)


def test_a_question_mark_takes_its_value_each_time() -> None:
    statement = positional("SELECT :attempt WHERE r = :release AND a < :attempt")
    assert statement == Statement("SELECT ? WHERE r = ? AND a < ?", ("attempt", "release", "attempt"))
    assert statement.parameters(VALUES) == (2, 1, 2)


def test_a_cast_is_no_parameter() -> None:
    """Nor is part of a name: the longest one is meant."""
    statement = numbered("SELECT :config_revision::int, x::text")
    assert statement == Statement("SELECT $1::int, x::text", ("config_revision",))


def test_a_statement_without_parameters_stays_as_it_is() -> None:
    for placed in (numbered, positional):
        assert placed("SELECT '09:30'") == Statement("SELECT '09:30'", ())
