"""Reading what pgbench prints."""

import pytest

from benchmarks.pgbench import PgbenchFailed, rate_of

PRINTED = """transaction type: /tmp/script.sql
number of transactions actually processed: 4487
number of failed transactions: {failed} (0.000%)
latency average = 10.6 ms
initial connection time = 36.1 ms
tps = 1499.387211 (without initial connection time)
"""


def test_rate_excludes_the_connection_time() -> None:
    assert rate_of(PRINTED.format(failed=0)) == 1499.387211


@pytest.mark.parametrize("printed", [PRINTED.format(failed=3), "", "pgbench: error: client 0 aborted"])
def test_run_with_failures_has_no_rate(printed: str) -> None:
    """Failed transactions are quick."""
    with pytest.raises(PgbenchFailed):
        rate_of(printed)
