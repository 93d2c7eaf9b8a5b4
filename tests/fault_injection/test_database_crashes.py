"""A few crashes in the middle of batches; `make test-nightly` has a thousand."""

from collections.abc import Iterator

import pytest

from tests.fault_injection.database_crashes import FAULTS, crash_often, server_running
from tests.testkit.postgres import PostgresServer

CRASHES = 5
FOUND_WITHIN = 40


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with server_running() as running:
        yield running


def test_crash_loses_nothing_that_was_reported(server: PostgresServer) -> None:
    result = crash_often(server, crashes=CRASHES, seed=1)
    assert result.found == []
    assert result.reported > 0
    assert result.lost_unreported > 0, "the server flushed by itself: nothing was tested"


@pytest.mark.parametrize("fault", FAULTS)
def test_store_that_does_not_flush_is_found(
    server: PostgresServer, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    FAULTS[fault](monkeypatch)
    assert crash_often(server, crashes=FOUND_WITHIN, seed=2, until_found=True).found
