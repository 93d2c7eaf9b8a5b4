"""A real Apache Kafka 4.x for the tests: one node in KRaft mode that can be stopped, killed and started again.

It covers what the embedded broker lacks: durability, and the protocol of a real broker.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import NoReturn

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.testkit.availability import unavailable
from tests.testkit.data_folder import data_folder
from tests.testkit.kafka_jars import class_archive, java, kafka_jars, locked
from tests.testkit.ports import ReservedPorts
from tests.testkit.server_process import ServerFailed, ServerProcess

EXTERNAL_VARIABLE = "RUDDER_TEST_KAFKA"
_START_TIMEOUT_SECONDS = 60.0
_LOGGING = Path(__file__).parent / "kafka" / "log4j2.xml"
# JVM options for a quick start rather than a high throughput; Kafka's tools get the same.
_JVM = [
    *("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djava.awt.headless=true"),
    "-Xlog:disable",  # its warnings, as of an archive that does not fit, would be among the output of a tool
]
_ARCHIVE_SECONDS = 60.0
_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "true",  # the default: the worker's metadata requests must create no topic
    "num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "2",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # Tests do not wait for further members, and may use short sessions to see a member time out.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    # Preallocated index files of many small partitions would fill the disk.
    "log.index.size.max.bytes": "1048576",
    "log.cleaner.dedupe.buffer.size": "2097152",
    "num.network.threads": "2",
    "num.io.threads": "4",
    # After a kill the controller considers the broker registered until the session of the killed one has expired.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    "metadata.max.idle.interval.ms": "0",  # nothing is written while nothing happens
}


class ApacheKafka:
    """One broker on a port of 127.0.0.1 that it keeps, like its data, over restarts."""

    def __init__(self, *, archive_to: Path | None = None) -> None:
        """`archive_to`: where its classes are archived when it stops; default: it starts with the archive."""
        self._java = java()
        self._jars = kafka_jars()
        self._classes = (
            f"-XX:SharedArchiveFile={_archived_classes(self._java, self._jars)}"
            if archive_to is None
            else f"-XX:ArchiveClassesAtExit={archive_to}"
        )
        self._folder = Path(tempfile.mkdtemp(prefix="rudder-kafka-"))
        self._data = data_folder(self._folder)
        self._reserved = ReservedPorts()
        self._port = self._reserved.take()
        self._configuration = self._folder / "server.properties"
        self._child = ServerProcess(
            self._jvm("kafka.Kafka", str(self._configuration)),
            log=self._folder / "kafka.log",
            environment=self._environment(),
        )
        try:
            self._format(controller_port=self._reserved.take())
        except BaseException:
            self._remove()
            raise

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def running(self) -> bool:
        return self._child.running

    def start(self) -> None:
        """Returns once the broker is registered and answers clients."""
        self._child.start(ready=self._ready, timeout_seconds=_START_TIMEOUT_SECONDS)

    def stop(self, *, grace_seconds: float = 20.0) -> None:
        """A clean shutdown (SIGTERM)."""
        self._child.end(signal.SIGTERM, grace_seconds=grace_seconds)

    def kill(self) -> None:
        """A crash (SIGKILL): the broker neither flushes its log nor notifies clients or the controller."""
        self._child.end(signal.SIGKILL)

    def restart(self) -> None:
        """A crash and a start on the same port with the same data."""
        self.kill()
        self.start()

    def ensure_running(self) -> None:
        """Brings the broker back for the next test where the last one left it down."""
        if not self.running:
            self.start()

    def close(self) -> None:
        """Ends the broker and removes its data."""
        self._child.end(signal.SIGKILL)
        self._remove()

    def corrupt(self, topic: str, old: bytes, new: bytes) -> None:
        """Changes bytes of partition 0 in the log, as a bad disk does."""
        [log] = (self._data / f"{topic}-0").glob("*.log")
        with log.open("r+b") as file:
            at = file.read().index(old)
            file.seek(at)
            file.write(new)

    def console_tool(self, class_name: str, *arguments: str, timeout_seconds: float = 60.0) -> str:
        """What one of Kafka's own command-line classes prints, say `org.apache.kafka.tools.consumer.ConsoleConsumer`.

        Arguments are the tool's own, `--bootstrap-server` included. ServerFailed with its output if it fails.
        """
        done = subprocess.run(
            self._jvm(class_name, *arguments),
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout_seconds,
            env=self._environment(),
        )
        if done.returncode != 0:
            raise ServerFailed(f"{class_name} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def _remove(self) -> None:
        self._reserved.close()
        for folder in (self._data, self._folder):
            shutil.rmtree(folder, ignore_errors=True)

    def _jvm(self, class_name: str, *arguments: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={_LOGGING}"
        return [str(self._java), *_JVM, self._classes, logging, "-cp", f"{self._jars}{os.sep}*", class_name, *arguments]

    def _environment(self) -> dict[str, str]:
        """The caller's environment without JVM options, whose "Picked up …" lines would appear in the output."""
        return {name: value for name, value in os.environ.items() if name not in {"JAVA_TOOL_OPTIONS", "CLASSPATH"}}

    def _format(self, *, controller_port: int) -> None:
        settings = {
            **_SETTINGS,
            "listeners": f"PLAINTEXT://127.0.0.1:{self._port},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self._port}",
            "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
            "log.dirs": str(self._data),
        }
        more, arguments = self._more()
        settings["listeners"] += more.pop("listeners", "")
        settings["advertised.listeners"] += more.pop("advertised.listeners", "")
        settings |= more
        self._configuration.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), "utf-8")
        cluster_id = uuid.uuid5(uuid.NAMESPACE_URL, "rudder-worker/tests").hex[:22]
        self.console_tool(
            "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._configuration), *arguments
        )

    def _more(self) -> tuple[dict[str, str], list[str]]:
        """Further settings, and arguments of the storage formatting; listeners are added to the present ones."""
        return {}, []

    def _ready(self) -> bool:
        """A broker is in the metadata once it is registered, which is later than its port is open."""
        client = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0, "socket.timeout.ms": 2000})
        try:
            return bool(client.list_topics(timeout=0.5).brokers)
        except KafkaException:
            return False


def _archived_classes(java: Path, jars: Path) -> Path:
    """The archive with which the JVM starts in half the time. The first broker on this machine makes it."""
    archive = class_archive(java, jars)
    archive.parent.mkdir(parents=True, exist_ok=True)
    with locked(archive.with_suffix(".lock")):
        if not archive.exists():
            unfinished = archive.with_suffix(".unfinished")
            server = ApacheKafka(archive_to=unfinished)
            try:
                server.start()
                server.stop(grace_seconds=_ARCHIVE_SECONDS)
            finally:
                server.close()
            unfinished.replace(archive)
    return archive


class ExternalKafka:
    """The running broker that RUDDER_TEST_KAFKA names. Tests that would have to stop it skip."""

    running = True

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers

    def start(self) -> NoReturn:
        self._not_ours()

    def stop(self) -> NoReturn:
        self._not_ours()

    def kill(self) -> NoReturn:
        self._not_ours()

    def restart(self) -> NoReturn:
        self._not_ours()

    def console_tool(self, class_name: str, *arguments: str, timeout_seconds: float = 60.0) -> NoReturn:
        self._not_ours()

    def corrupt(self, topic: str, old: bytes, new: bytes) -> NoReturn:
        self._not_ours()

    def ensure_running(self) -> None:
        """Does nothing: the broker runs outside the tests."""

    def close(self) -> None:
        """Does nothing: the broker keeps running."""

    @staticmethod
    def _not_ours() -> NoReturn:
        unavailable("apache", f"the broker of {EXTERNAL_VARIABLE} cannot be stopped, started or looked into by tests")
