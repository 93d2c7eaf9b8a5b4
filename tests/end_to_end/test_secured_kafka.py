"""A worker at an Apache Kafka that is locked: let in by TLS, client certificate or SCRAM, and clear when it is not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.complaints import complaints
from tests.conformance.stores import migrate
from tests.end_to_end.events import Story
from tests.end_to_end.stage import Stage, partitions_of, topics_of_a_stage
from tests.servers.availability import started
from tests.servers.kafka_jars import KafkaUnavailable
from tests.servers.secured_kafka import KEY_PASSWORD, PASSWORD, USER, SecuredKafka
from worker.demo.topics import create_topics

Settings = dict[str, str]


@pytest.fixture(scope="module")
def kafka() -> Iterator[SecuredKafka]:
    with started("apache", SecuredKafka, missing=KafkaUnavailable) as server:
        yield server


@pytest.fixture
async def stage(kafka: SecuredKafka, tmp_path: Path) -> Stage:
    topics = topics_of_a_stage()
    await create_topics(kafka.bootstrap_servers, partitions_of(topics))
    database_url = f"sqlite+aiosqlite:///{tmp_path / 'rudder.sqlite3'}"
    await migrate(database_url)
    return Stage(bootstrap_servers=kafka.bootstrap_servers, database_url=database_url, folder=tmp_path, topics=topics)


def tls(kafka: SecuredKafka) -> Settings:
    return {
        "RUDDER_KAFKA_BOOTSTRAP_SERVERS": kafka.tls,
        "RUDDER_KAFKA_SECURITY_PROTOCOL": "SSL",
        "RUDDER_KAFKA_SSL_CAFILE": kafka.file("ca.pem"),
    }


def mutual_tls(kafka: SecuredKafka) -> Settings:
    return tls(kafka) | {
        "RUDDER_KAFKA_BOOTSTRAP_SERVERS": kafka.mutual_tls,
        "RUDDER_KAFKA_SSL_CERTFILE": kafka.file("client.pem"),
        "RUDDER_KAFKA_SSL_KEYFILE": kafka.file("client.key"),
        "RUDDER_KAFKA_SSL_KEYFILE_PASSWORD": KEY_PASSWORD,
    }


def scram(kafka: SecuredKafka) -> Settings:
    return tls(kafka) | {
        "RUDDER_KAFKA_BOOTSTRAP_SERVERS": kafka.scram,
        "RUDDER_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "RUDDER_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "RUDDER_KAFKA_SASL_USERNAME": USER,
        "RUDDER_KAFKA_SASL_PASSWORD": PASSWORD,
    }


LOCKS = {"tls": tls, "mutual tls": mutual_tls, "scram": scram}


@pytest.mark.parametrize("lock", LOCKS)
async def test_a_worker_that_is_let_in_consumes_and_publishes(stage: Stage, kafka: SecuredKafka, lock: str) -> None:
    """A release, its deployment, and a dead letter: all three of its clients' ways."""
    story = Story()
    await stage.send([story.deploy("succeeded", release={**story.fields}), Story().deploy("started")])
    with stage.worker(**LOCKS[lock](kafka)) as worker:
        await stage.caught_up(worker)
        assert await worker.stop() == 0
    assert [row["status"] for row in (await stage.rows())["release_deployments"]] == ["SUCCESS"]
    assert len(await stage.read(stage.topics.deployment_status)) == 1
    assert len(await stage.read(stage.topics.dead_letters)) == 1


REFUSED: dict[str, tuple[str, Settings, str]] = {
    "wrong password": ("scram", {"RUDDER_KAFKA_SASL_PASSWORD": "wr0ng-" + PASSWORD}, "refuses the worker"),
    "unknown user": ("scram", {"RUDDER_KAFKA_SASL_USERNAME": "nobody"}, "refuses the worker"),
    "mechanism that is off": ("scram", {"RUDDER_KAFKA_SASL_MECHANISM": "PLAIN"}, "refuses the worker"),
    "unknown authority": ("tls", {"RUDDER_KAFKA_SSL_CAFILE": "other-ca.pem"}, "certificate verify failed"),
    "no client certificate": (
        "mutual tls",
        dict.fromkeys(("CERTFILE", "KEYFILE", "KEYFILE_PASSWORD"), ""),
        "Kafka at 127.0.0.1",
    ),
    "wrong password of the key": ("mutual tls", {"RUDDER_KAFKA_SSL_KEYFILE_PASSWORD": "wr0ng"}, "RUDDER_KAFKA_SSL_"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_worker_that_is_not_let_in_says_so_in_one_line(stage: Stage, kafka: SecuredKafka, name: str) -> None:
    """With exit code 2, without a traceback, and without any password."""
    lock, changes, words = REFUSED[name]
    settings = LOCKS[lock](kafka)
    for key, value in changes.items():
        full = key if key.startswith("RUDDER_") else f"RUDDER_KAFKA_SSL_{key}"
        settings[full] = kafka.file(value) if value.endswith(".pem") else value
    with stage.worker(RUDDER_STARTUP_TIMEOUT_SECONDS="0", **settings) as worker:
        assert await worker.ended() == 2, worker.told()
    own = complaints(worker.stderr)
    assert len(own) == 1, worker.told()
    assert own[0].startswith("rudder-worker: "), worker.told()
    assert words in own[0], worker.told()
    assert "Traceback" not in worker.told()
    for secret in (PASSWORD, KEY_PASSWORD, "wr0ng"):
        assert secret not in worker.stderr + worker.stdout
