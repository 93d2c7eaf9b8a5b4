"""The number of examples that Hypothesis generates.

`make test` generates the same examples each time, so that its result is repeatable. `RUDDER_TEST_SEARCH=N` generates N
times as many at random, and `--hypothesis-seed` as many as usual. A failure found there becomes an explicit example.
"""

import os
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

T = TypeVar("T")

VARIABLE = "RUDDER_TEST_SEARCH"


def factor() -> int:
    """The value of RUDDER_TEST_SEARCH, 0 where it is not set."""
    return int(os.environ.get(VARIABLE) or 0)


def examples(number: int) -> int:
    """`max_examples` for a property that gets `number` examples in `make test`."""
    return number * max(1, factor())


def seeds(first: int, *further: int) -> tuple[int, ...]:
    """The seeds of a test that is the same for each: the first in `make test`, all where the search is longer."""
    return (first, *further) if factor() else (first,)


def repeated(*cases: T) -> tuple[T, ...]:
    """Cases that repeat others, as on a second broker: none in `make test`, all where the search is longer."""
    return cases if factor() else ()


def load_profile(config: pytest.Config) -> None:
    """Select the profile. Call it before test modules are imported: their `settings` start from it.

    No example and no generation has a time limit: on a busy machine they would fail without a fault.
    """
    untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
    settings.register_profile("repeatable", untimed, derandomize=True, database=None)
    settings.register_profile("search", untimed, derandomize=False)
    seeded = config.getoption("--hypothesis-seed") is not None
    settings.load_profile("search" if seeded or factor() else "repeatable")
