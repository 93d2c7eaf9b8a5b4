"""Errors that an operator can mend become one line and an exit code; faults of the worker stay what they are."""

import pytest
import typer

from worker.cli.exits import clear_errors
from worker.rules.errors import ConfigurationError, Unavailable


@pytest.mark.parametrize("error", [ConfigurationError("first\nsecond\t third"), Unavailable("first\r\nsecond third")])
def test_configuration_error_is_one_line_and_exit_code_2(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    """However many lines a library's own message has."""
    with pytest.raises(typer.Exit) as raised, clear_errors():
        raise error
    assert raised.value.exit_code == 2
    assert capsys.readouterr() == ("", "rudder-worker: first second third\n")


def test_interruption_is_silent_and_exit_code_130(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as raised, clear_errors():
        raise KeyboardInterrupt
    assert raised.value.exit_code == 130
    assert capsys.readouterr() == ("", "")


def test_unexpected_error_keeps_its_traceback() -> None:
    """A traceback is what a developer needs then."""
    with pytest.raises(LookupError), clear_errors():
        raise LookupError
