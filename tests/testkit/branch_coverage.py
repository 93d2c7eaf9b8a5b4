"""A pytest plugin that measures coverage by the tests of some folders, in a run of more tests and by several processes:
`-p tests.testkit.branch_coverage`. Each process saves its data on its own, for `coverage combine`.

Not `coverage run`: it sees only the process that distributes the tests, and counts what every test executes.
"""

from collections.abc import Iterator
from typing import Final

import coverage
import pytest

COUNTED: Final = ("tests/unit/", "tests/properties/")
"""Tests that need no server; the others must not hide what these leave out."""


class Measurement:
    def __init__(self) -> None:
        self._coverage = coverage.Coverage(data_suffix=True)
        self._coverage.start()
        self._runs = True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._run(item.nodeid.startswith(COUNTED))
        return (yield)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        self._run(False)
        self._coverage.save()

    def _run(self, counted: bool) -> None:
        if counted != self._runs:
            (self._coverage.start if counted else self._coverage.stop)()
            self._runs = counted


# Started when the plugin is imported, before the modules that it measures.
measurement = Measurement()


def pytest_configure(config: pytest.Config) -> None:
    """The process that distributes tests runs none of them; its data are empty and do no harm."""
    config.pluginmanager.register(measurement)
