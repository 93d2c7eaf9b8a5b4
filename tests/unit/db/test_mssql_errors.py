"""The number of a SQL Server error decides the reaction; the text of its message does not change it."""

import pytest

from worker.db.mssql.errors import NUMBERS, kind_of, reaction
from worker.rules.errors import (
    ConfigurationError,
    Conflict,
    LockTimeout,
    LoginRefused,
    StaleRead,
    Unavailable,
    Unprocessable,
)

HEAD = "[Microsoft][ODBC Driver 18 for SQL Server][SQL Server]"


class OdbcError(Exception):
    """An error as pyodbc raises it: a SQLSTATE and a text."""


def error(state: str, *messages: tuple[str, int], call: str = "SQLExecDirectW") -> OdbcError:
    first, *rest = [f"[{state}] {HEAD}{text} ({number})" for text, number in messages]
    return OdbcError(state, "; ".join([f"{first} ({call})", *[f"{text} ({call})" for text in rest]]))


@pytest.mark.parametrize("number", NUMBERS)
def test_known_error_number_has_its_reaction(number: int) -> None:
    found = reaction(error("42000", ("something", number)))
    assert type(found) is NUMBERS[number][0].reaction
    assert str(number) in str(found)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1205, Conflict),
        (3960, Conflict),
        (2627, Conflict),
        (2601, Conflict),
        (547, Conflict),
        (51001, Conflict),
        (51002, Conflict),
        (51003, StaleRead),
        (51004, Conflict),
        (1222, LockTimeout),
        (51005, LockTimeout),
        (4060, Unavailable),
        (40501, Unavailable),
        (40613, Unavailable),
        (49918, Unavailable),
        (515, Unprocessable),
        (8152, Unprocessable),
        (2628, Unprocessable),
        (18456, LoginRefused),
        *((number, ConfigurationError) for number in (18452, 18470, 18486, 18487, 18488)),
        *((number, ConfigurationError) for number in (40532, 40615, 40914, 40915, 47072, 47073)),
        *((number, ConfigurationError) for number in (207, 208, 911, 1934)),
        *((number, ConfigurationError) for number in (229, 230, 262, 916)),
        *((number, Unavailable) for number in (615, 976, 3906, 10928, 10929, 40197, 42108, 49919)),
        *((number, Unavailable) for number in (64, 121, 233, 10053, 10054, 10060)),
    ],
)
def test_most_important_error_numbers_are_pinned(number: int, expected: type[Exception]) -> None:
    """A second copy of the most important numbers detects an accidental change of the table."""
    assert NUMBERS[number][0].reaction is expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("40001", Conflict),
        ("23000", Conflict),
        ("22003", Unprocessable),
        ("28000", LoginRefused),
        ("FA001", ConfigurationError),
        ("IM002", ConfigurationError),
        ("IMC01", Unavailable),
        ("IMC06", Unavailable),
        ("08001", Unavailable),
        ("08S01", Unavailable),
        ("HYT00", Unavailable),
        ("HY000", Unavailable),
        ("42000", Unavailable),
    ],
)
def test_unknown_error_number_is_classified_by_its_state(state: str, expected: type[Exception]) -> None:
    """Babelfish has numbers of its own, such as 33557097. An unknown error rejects no event."""
    assert type(reaction(error(state, ("who knows", 33557097)))) is expected


def test_transient_error_wins_over_a_permanent_one() -> None:
    """A database during a failover also reports a failed login."""
    failing_over = error("42000", ("Cannot open database.", 4060), ("Login failed.", 18456))
    assert type(reaction(failing_over)) is Unavailable
    guarded = error("42000", ("status DEPLOYED may not become DRAFT", 51002), ("ended in the trigger", 3609))
    assert type(reaction(guarded)) is Conflict


def test_number_in_a_quoted_value_is_ignored() -> None:
    """A constraint's message quotes values, and an environment's name may look like an error number."""
    quoting = error("23000", ("The duplicate key value is (x (515) (SQLExecDirectW), prod).", 2627))
    assert type(reaction(quoting)) is Conflict
    poisonous = error("22001", ("Truncated value: 'x (4060) (SQLFetch) y'.", 2628))
    assert type(reaction(poisonous)) is Unprocessable


@pytest.mark.parametrize(
    "text",
    [
        "[01000] [unixODBC][Driver Manager]Can't open lib 'x' : file not found (0) (SQLDriverConnect)",
        f"[08001] {HEAD}SSL Provider: [certificate verify failed:self-signed certificate] (-1) (SQLDriverConnect)",
        "[08001] [Microsoft]Invalid value specified for connection string attribute 'Encrypt' (0) (SQLDriverConnect)",
    ],
)
def test_configuration_error_is_classified_as_such(text: str) -> None:
    assert type(reaction(OdbcError(text[1:6], text))) is ConfigurationError


def test_error_of_unknown_form_is_transient() -> None:
    assert type(reaction(OdbcError("what?"))) is Unavailable
    assert str(reaction(OdbcError())) == "SQL Server: OdbcError()"


@pytest.mark.parametrize(
    ("state", "number", "elsewhere"),
    [
        ("08S01", 10054, True),
        ("HYT00", 0, True),
        ("HYT01", 0, True),
        ("HY000", 3906, True),
        ("42000", 976, True),
        ("HYT00", 1222, False),
        ("40001", 1205, False),
        ("42000", 9002, False),
        ("23000", 2627, False),
    ],
)
def test_lost_server_discards_idle_connections(state: str, number: int, elsewhere: bool) -> None:
    """A timeout too: the lock timeout is shorter, so a server that does not respond by then is lost."""
    assert kind_of(error(state, ("something", number))).elsewhere is elsewhere


def test_configuration_error_is_explained() -> None:
    """The server's own text names neither the kind of firewall nor the next step."""
    assert str(reaction(error("42000", ("Cannot open server.", 40914)))).endswith(
        "no virtual network rule for this subnet"
    )
