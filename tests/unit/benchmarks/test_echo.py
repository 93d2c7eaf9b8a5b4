"""The broker's ceiling moves as many records as the contenders do."""

from collections import Counter

import pytest

from benchmarks.contenders.echo import Echo
from benchmarks.contenders.environment import Environment, read_environment

VARIABLES = {
    "RUDDER_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "RUDDER_GROUP_ID": "lap-1",
    "RUDDER_INPUT_TOPICS": "input",
    "RUDDER_DEPLOYMENT_STATUS_TOPIC": "deployments",
    "RUDDER_RELEASE_STATUS_TOPIC": "releases",
    "RUDDER_DATABASE_URL": "postgresql+asyncpg://127.0.0.1/lap",
    "BENCH_INPUT_RECORDS": "1000",
    "BENCH_STATUS_RECORDS": "1743",
}


def _environment(**more: str) -> Environment:
    return read_environment({**VARIABLES, **more})


def test_after_the_last_record_all_status_records_are_there() -> None:
    echo = Echo(_environment())
    topics = Counter(topic for _ in range(1000) for topic in echo.topics())
    assert topics.total() == 1743
    assert topics["deployments"] == 1000


def test_they_are_spread_evenly() -> None:
    """Each record is answered with one or two, never with a burst."""
    echo = Echo(_environment())
    assert {len(list(echo.topics())) for _ in range(1000)} == {1, 2}


def test_a_contender_without_its_variables_does_not_start() -> None:
    with pytest.raises(KeyError):
        read_environment({})


def test_where_nothing_is_said_one_message_is_handled_at_a_time() -> None:
    assert _environment().concurrency == 1
    assert _environment(RUDDER_CONCURRENCY="16").concurrency == 16
