"""Named parameters become what each driver takes."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from worker.db.statement import Statement, numbered, numbered_each, positional


@dataclass(frozen=True)
class Values:
    release: int = 1
    attempt: int = 2
    config_revision: int = 3


def test_repeated_name_has_one_number() -> None:
    """So the server is sent each value once."""
    statement = numbered("SELECT :attempt WHERE r = :release AND a < :attempt")
    assert statement == Statement("SELECT $1 WHERE r = $2 AND a < $1", ("attempt", "release"))
    assert statement.getter()(Values()) == (2, 1)


def test_repeated_name_has_a_number_each_time_in_parts() -> None:
    """Two parts may use one name for different values."""
    statement = numbered_each("SELECT :attempt WHERE r = :release AND a < :attempt")
    assert statement == Statement("SELECT $1 WHERE r = $2 AND a < $3", ("attempt", "release", "attempt"))


def test_question_mark_takes_its_value_each_time() -> None:
    statement = positional("SELECT :attempt WHERE r = :release AND a < :attempt")
    assert statement == Statement("SELECT ? WHERE r = ? AND a < ?", ("attempt", "release", "attempt"))
    assert statement.getter()(Values()) == (2, 1, 2)


@pytest.mark.parametrize("place", [numbered, positional])
def test_single_value_is_a_tuple_too(place: Callable[[str], Statement]) -> None:
    assert place("SELECT :release").getter()(Values()) == (1,)


def test_cast_is_no_parameter() -> None:
    """Nor is part of a name: the longest one is meant."""
    statement = numbered("SELECT :config_revision::int, x::text, :id_0")
    assert statement == Statement("SELECT $1::int, x::text, $2", ("config_revision", "id_0"))


@pytest.mark.parametrize("place", [numbered, numbered_each, positional])
def test_statement_without_parameters_stays_as_it_is(place: Callable[[str], Statement]) -> None:
    assert place("SELECT '09:30'") == Statement("SELECT '09:30'", ())
