"""A worker at a secured Apache Kafka: TLS, client certificates and SCRAM, and a clear error for a refused login."""

import asyncio
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from tests.conformance.deadlines import until
from tests.conformance.producers import headers_of
from tests.conformance.stores import migrate
from tests.end_to_end.release_records import ReleaseRecords
from tests.end_to_end.system import System, create_system_topics, new_topics
from tests.end_to_end.worker_process import WorkerProcess
from tests.error_lines import error_lines
from tests.testkit.availability import started
from tests.testkit.kafka_jars import KafkaUnavailable
from tests.testkit.secured_kafka import KEY_PASSWORD, PASSWORD, USER, SecuredKafka

Settings = dict[str, str]


@pytest.fixture(scope="module")
def kafka() -> Iterator[SecuredKafka]:
    with started("apache", SecuredKafka, missing=KafkaUnavailable) as server:
        yield server


@pytest.fixture
async def system(kafka: SecuredKafka, tmp_path: Path) -> System:
    topics = new_topics()
    await create_system_topics(kafka.bootstrap_servers, topics)
    database_url = f"sqlite+aiosqlite:///{tmp_path / 'rudder.sqlite3'}"
    await migrate(database_url)
    return System(bootstrap_servers=kafka.bootstrap_servers, database_url=database_url, folder=tmp_path, topics=topics)


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
async def test_authorized_worker_consumes_and_publishes(system: System, kafka: SecuredKafka, lock: str) -> None:
    """A release, its deployment and a dead letter use all three of the worker's clients."""
    builder = ReleaseRecords()
    await system.send([builder.deploy("succeeded", release={**builder.fields}), ReleaseRecords().deploy("started")])
    with system.worker(**LOCKS[lock](kafka)) as worker:
        await system.caught_up(worker)
        assert await worker.stop() == 0
    assert [row["status"] for row in (await system.rows())["release_deployments"]] == ["SUCCESS"]
    assert len(await system.read(system.topics.deployment_status)) == 1
    assert len(await system.read(system.topics.dead_letters)) == 1


async def test_doctor_reads_every_certificate(system: System, kafka: SecuredKafka) -> None:
    """Of the authority, of the client and of the server, each with its end."""
    settings = {**system.settings, **mutual_tls(kafka)}
    arguments = ("doctor", "--json", "--certificates", "36500")
    with WorkerProcess(*arguments, settings=settings, folder=system.folder, name="doctor") as process:
        assert await process.ended() == 0, process.output()
        findings = [one for one in json.loads(process.stdout)["findings"] if one["check"] == "certificates"]
    holders = (kafka.file("ca.pem"), kafka.file("client.pem"), f"server {kafka.mutual_tls}")
    assert [finding["level"] for finding in findings] == ["warning"] * 3
    for finding, holder in zip(findings, holders, strict=True):
        assert finding["text"].startswith(f"{holder}: valid until ")


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
async def test_refused_login_is_one_line(system: System, kafka: SecuredKafka, name: str) -> None:
    """The exit code is 2; the line has no traceback and no password."""
    lock, changes, words = REFUSED[name]
    settings = LOCKS[lock](kafka)
    for key, value in changes.items():
        full = key if key.startswith("RUDDER_") else f"RUDDER_KAFKA_SSL_{key}"
        settings[full] = kafka.file(value) if value.endswith(".pem") else value
    with system.worker(RUDDER_STARTUP_TIMEOUT_SECONDS="0", **settings) as worker:
        assert await worker.ended() == 2, worker.output()
    own = error_lines(worker.stderr)
    assert len(own) == 1, worker.output()
    assert own[0].startswith("rudder-worker: "), worker.output()
    assert words in own[0], worker.output()
    assert "Traceback" not in worker.output()
    for secret in (PASSWORD, KEY_PASSWORD, "wr0ng"):
        assert secret not in worker.stderr + worker.stdout


async def test_changed_password_is_read_again_from_its_file(system: System, kafka: SecuredKafka) -> None:
    """A rotation: the broker gets the new password first, the file later, and every connection is renewed in between.
    The log and /readyz report a refused login and no outage; the worker goes on without a restart.
    """
    name, builder = f"rotating-{uuid4().hex}", ReleaseRecords()
    kafka.set_password(name, "first-pa55")
    secret = system.folder / "password"
    secret.write_text("first-pa55\n", encoding="ascii")
    settings = scram(kafka) | {"RUDDER_KAFKA_SASL_USERNAME": name, "RUDDER_KAFKA_SASL_PASSWORD_FILE": str(secret)}
    del settings["RUDDER_KAFKA_SASL_PASSWORD"]
    with system.worker(**settings) as worker:
        await system.send(builder.approved())
        await system.caught_up(worker)
        kafka.set_password(name, "second-pa55")
        await asyncio.to_thread(kafka.restart)
        await worker.until(lambda: "broker.refused" in worker.stderr, what="the login is refused")
        assert "refuses the worker" in worker.stderr

        async def is_said() -> bool:
            return "refuses the worker" in (await worker.get("/readyz")).text

        await until(is_said, what=lambda: f"/readyz says so: {worker.output()}")
        secret.write_text("second-pa55\n", encoding="ascii")
        await system.send([builder.deploy("started")])
        await system.caught_up(worker)
        await worker.ready()
        assert await worker.stop() == 0
    for password in ("first-pa55", "second-pa55"):
        assert password not in worker.stderr


async def test_lasting_refused_login_ends_the_worker_with_one_line(system: System, kafka: SecuredKafka) -> None:
    """Exit code 2, as at the start."""
    name = f"refused-{uuid4().hex}"
    kafka.set_password(name, "first-pa55")
    settings = scram(kafka) | {"RUDDER_KAFKA_SASL_USERNAME": name, "RUDDER_KAFKA_SASL_PASSWORD": "first-pa55"}
    command = (sys.executable, "-m", "tests.end_to_end.short_timeout_worker")
    with system.worker(command=command, **settings) as worker:
        await worker.ready()
        kafka.set_password(name, "second-pa55")
        await asyncio.to_thread(kafka.restart)
        assert await worker.ended() == 2, worker.output()
    [line] = error_lines(worker.stderr)
    assert f"login {name} by SCRAM-SHA-512" in line
    assert "RUDDER_KAFKA_SASL_USERNAME" in line


async def test_changed_client_certificate_is_read_again(system: System, kafka: SecuredKafka) -> None:
    """The start goes on once a trusted client certificate replaces one that the broker does not trust."""
    certificate, key = system.folder / "client.pem", system.folder / "client.key"
    for path, other in ((certificate, "other.pem"), (key, "other.key")):
        shutil.copy(kafka.file(other), path)
    settings = mutual_tls(kafka) | {
        "RUDDER_KAFKA_SSL_CERTFILE": str(certificate),
        "RUDDER_KAFKA_SSL_KEYFILE": str(key),
    }
    with system.worker(**settings) as worker:
        await worker.until(lambda: "the TLS connection to Kafka" in worker.stderr, what="it is refused")
        for path, good in ((key, "client.key"), (certificate, "client.pem")):
            shutil.copy(kafka.file(good), path)
        await system.send(ReleaseRecords().approved())
        await system.caught_up(worker)
        assert await worker.stop() == 0


@pytest.mark.parametrize("what", ["input topic", "group", "output topic"])
async def test_revoked_privilege_is_named_until_it_is_granted(system: System, kafka: SecuredKafka, what: str) -> None:
    """The log and /readyz name the privilege; after the grant the worker goes on and loses no event."""
    kind, name, operation = {
        "input topic": (ResourceType.TOPIC, system.topics.events, AclOperation.READ),
        "group": (ResourceType.GROUP, system.group_id, AclOperation.READ),
        "output topic": (ResourceType.TOPIC, system.topics.deployment_status, AclOperation.WRITE),
    }[what]
    builder = ReleaseRecords()
    with system.worker(**scram(kafka)) as worker:
        await system.send(builder.approved())
        await system.caught_up(worker)
        with kafka.denied(USER, operation, kind, name):
            await system.send([builder.deploy("started")])
            await worker.until(lambda: "broker.refused" in worker.stderr, what="it is logged")
            assert f"grant login {USER} the privilege" in worker.stderr

            async def is_said() -> bool:
                return "grant login" in (await worker.get("/readyz")).text

            await until(is_said, what=lambda: f"/readyz says so: {worker.output()}")
        await system.caught_up(worker)
        assert await worker.stop() == 0
    # Without the group's privilege no offset is committed, so the event may be published again.
    published = await system.read(system.topics.deployment_status)
    assert len({dict(headers_of(message))["ce_id"] for message in published}) == 1


@pytest.mark.parametrize("what", ["input topic", "group", "output topic"])
async def test_check_config_names_a_missing_privilege(system: System, kafka: SecuredKafka, what: str) -> None:
    """The check runs before the start; it writes to no topic and does not join the group."""
    kind, name, operation, check = {
        "input topic": (ResourceType.TOPIC, system.topics.events, AclOperation.READ, "topics"),
        "group": (ResourceType.GROUP, system.group_id, AclOperation.READ, "group"),
        "output topic": (ResourceType.TOPIC, system.topics.dead_letters, AclOperation.WRITE, "topics"),
    }[what]
    settings = system.settings | scram(kafka)
    command = ("check-config", "--connect", "--json")
    with (
        kafka.denied(USER, operation, kind, name),
        WorkerProcess(*command, settings=settings, folder=system.folder, name="denied") as denied,
    ):
        assert await denied.ended() == 1, denied.output()
    problems = {one["name"]: one["problem"] for one in json.loads(denied.stdout)["connections"]}
    assert f"the worker lacks the privilege {operation.name.title()} on" in str(problems[check])
    assert name in denied.stdout
    assert problems["broker"] is None
    with WorkerProcess(*command, settings=settings, folder=system.folder, name="granted") as granted:
        assert await granted.ended() == 0, granted.output()
    assert "was not checked" not in granted.stdout
