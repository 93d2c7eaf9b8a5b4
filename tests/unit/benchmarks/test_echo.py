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


def test_echo_publishes_every_status_record() -> None:
    echo = Echo(_environment())
    topics = Counter(topic for _ in range(1000) for topic in echo.topics())
    assert topics.total() == 1743
    assert topics["deployments"] == 1000


def test_echo_spreads_status_records_evenly() -> None:
    """Each record is answered with one or two, never with a burst."""
    echo = Echo(_environment())
    assert {len(list(echo.topics())) for _ in range(1000)} == {1, 2}


def test_contender_without_its_variables_does_not_start() -> None:
    with pytest.raises(KeyError):
        read_environment({})


def test_concurrency_defaults_to_one() -> None:
    assert _environment().concurrency == 1
    assert _environment(RUDDER_CONCURRENCY="16").concurrency == 16
