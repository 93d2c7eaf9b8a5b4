"""The one broker and the one database server of a benchmark: those of the tests, set up as for production.

What the tests do to be quick (no fsync, a JVM that starts fast and runs slowly) would flatter whoever waits for disks
least and compute least; here both servers run as their makers ship them, but for what `SETTINGS` names.
"""

import signal
from typing import Final

from tests.testkit.apache_kafka import ApacheKafka
from tests.testkit.kafka_jars import kafka_version
from tests.testkit.postgres import PostgresServer
from tests.testkit.server_process import ServerProcess

POSTGRES_SETTINGS: Final = {
    "max_connections": "300",
    "shared_buffers": "512MB",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
    "timezone": "UTC",
}
"""All that is not PostgreSQL's default: fsync, synchronous_commit, full_page_writes and the rest stay as they are."""

_TESTS_JVM: Final = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_JVM: Final = ("-Xms1g", "-Xmx1g", "-XX:+UseG1GC")
# The brokers' default: members that start together get their partitions together.
_KAFKA_SETTINGS: Final = {"group.initial.rebalance.delay.ms": "3000"}


class BenchmarkKafka(ApacheKafka):
    """Apache Kafka with the optimising compiler on and a gigabyte of heap, as its own start script has it."""

    def __init__(self) -> None:
        super().__init__()
        with self._configuration.open("a", encoding="utf-8") as configuration:  # of two values the later one counts
            configuration.writelines(f"{name}={value}\n" for name, value in _KAFKA_SETTINGS.items())

    @property
    def mark(self) -> str:
        """An argument of the broker's command line that no other process has."""
        return str(self._configuration)

    def _jvm(self, class_name: str, *arguments: str) -> list[str]:
        command = [part for part in super()._jvm(class_name, *arguments) if part not in _TESTS_JVM]
        return [command[0], *_JVM, *command[1:]]


class BenchmarkPostgres(PostgresServer):
    """PostgreSQL as it is shipped: every commit is on the disk before it is answered."""

    command_timeout_seconds = 3_600.0
    """A database with 10,000,000 log entries takes minutes to fill and to copy."""

    def __init__(self) -> None:
        super().__init__()
        settings = [f"--{name}={value}" for name, value in {**POSTGRES_SETTINGS, "port": str(self.port)}.items()]
        self._child = ServerProcess(
            [str(self._binaries / "postgres"), "-D", str(self._data), *settings],
            log=self._folder / "postgres.log",
            user=self._user,
            group=self._group,
        )

    @property
    def mark(self) -> str:
        """An argument of the server's command line that no other process has."""
        return str(self._data)

    def setting(self, name: str) -> str:
        """What is in effect."""
        return self.execute(f"show {name}")

    @property
    def log(self) -> str:
        """What the server has logged."""
        return (self._folder / "postgres.log").read_text("utf-8", "replace")

    def pgbench(self, *arguments: str, database: str) -> str:
        """What pgbench prints."""
        return self._run("pgbench", *self._where(database), *arguments)

    def close(self) -> None:
        """Stop at once: nobody wants the data."""
        self._child.end(signal.SIGQUIT)
        super().close()


def kafka_description() -> str:
    return f"Apache Kafka {kafka_version()}, one broker, {' '.join(_JVM)}, acks=all, defaults else"


def postgres_description(server: BenchmarkPostgres) -> str:
    names = ("fsync", "synchronous_commit", "full_page_writes", "wal_level", "shared_buffers", "max_connections")
    version = server.setting("server_version")
    return f"PostgreSQL {version}: " + ", ".join(f"{name} {server.setting(name)}" for name in names)
