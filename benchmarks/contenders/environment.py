"""What a contender is told, read from its environment: the worker's own variables, so that all are told the same."""

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    bootstrap_servers: str
    group_id: str
    input_topic: str
    deployment_status_topic: str
    release_status_topic: str
    database_url: str
    concurrency: int
    input_records: int
    """How many records the input topic will hold: only who does without the rules needs to know."""
    status_records: int
    """How many status events the rules make of them."""


def read_environment(variables: Mapping[str, str] = os.environ) -> Environment:
    """KeyError for what is missing: contenders are started by the benchmark, never by hand."""
    return Environment(
        bootstrap_servers=variables["RUDDER_KAFKA_BOOTSTRAP_SERVERS"],
        group_id=variables["RUDDER_GROUP_ID"],
        input_topic=variables["RUDDER_INPUT_TOPICS"],
        deployment_status_topic=variables["RUDDER_DEPLOYMENT_STATUS_TOPIC"],
        release_status_topic=variables["RUDDER_RELEASE_STATUS_TOPIC"],
        database_url=variables["RUDDER_DATABASE_URL"],
        concurrency=int(variables.get("RUDDER_CONCURRENCY", "1")),
        input_records=int(variables["BENCH_INPUT_RECORDS"]),
        status_records=int(variables["BENCH_STATUS_RECORDS"]),
    )
