"""Every metric and every log event the worker has, by name and meaning. The README's tables are made from here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from schemas.described import Described

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's name, kind, labels and meaning, as documentation prints them."""

    name: str
    kind: type[Counter | Gauge | Histogram]
    meaning: str
    labels: Sequence[str] = ()


MESSAGES = Metric("rudder_messages", Counter, "messages done, by outcome", ("outcome",))
REJECTIONS = Metric("rudder_rejections", Counter, "messages rejected for the first time, by reason", ("reason",))
IDENTITY_REUSED = Metric(
    "rudder_identity_reused",
    Counter,
    "duplicates whose type or release differs from the first event with their source and id: events that are lost",
)
TOMBSTONES = Metric("rudder_tombstones", Counter, "records with a null value, which are skipped")
PROCESSING_SECONDS = Metric(
    "rudder_processing_seconds",
    Histogram,
    "from the start of a message's first try to its last acknowledgement, in seconds",
)
EVENT_LAG_SECONDS = Metric(
    "rudder_event_lag_seconds",
    Histogram,
    "from the record's timestamp to its last acknowledgement, in seconds; records without a plausible one are left out",
)
RETRIES = Metric("rudder_retries", Counter, "tries that failed and were repeated, by cause", ("cause",))
PUBLISHED = Metric("rudder_published", Counter, "records acknowledged, by topic", ("topic",))
UNPUBLISHED = Metric(
    "rudder_unpublished",
    Counter,
    "messages whose status events could not be published; a dead letter was published instead",
)
IN_FLIGHT_RECORDS = Metric("rudder_in_flight_records", Gauge, "records fetched and not done")
IN_FLIGHT_BYTES = Metric("rudder_in_flight_bytes", Gauge, "bytes of the values of records fetched and not done")
COMMIT_TRAIL_RECORDS = Metric(
    "rudder_commit_trail_records",
    Gauge,
    "records started from the first that is not done, in the partition where they are most: how far commits trail",
)
COMMIT_TRAIL_SECONDS = Metric(
    "rudder_commit_trail_seconds",
    Gauge,
    "for how long the same record has held back a partition's commit, in the partition where it is longest, in seconds",
)
PARTITIONS_PAUSED = Metric(
    "rudder_partitions_paused", Gauge, "partitions that are not fetched because too much of them is not done"
)
PARTITIONS_ASSIGNED = Metric("rudder_partitions_assigned", Gauge, "partitions that this worker has")
PARTITION_LAG_RECORDS = Metric(
    "rudder_partition_lag_records",
    Gauge,
    "offsets from the first record that is not completed to the partition's end, also while nothing is fetched",
    ("topic", "partition"),
)
PARTITION_OPEN_TRANSACTION_RECORDS = Metric(
    "rudder_partition_open_transaction_records",
    Gauge,
    "offsets from the last stable offset to the partition's end, which an open transaction at the broker holds back",
    ("topic", "partition"),
)
PARTITION_STALLED_SECONDS = Metric(
    "rudder_partition_stalled_seconds",
    Gauge,
    "for how long the same offset of a partition with lag has been the first that is not completed, in seconds",
    ("topic", "partition"),
)
RECORDS_EXPIRED = Metric(
    "rudder_records_expired",
    Counter,
    "offsets that retention, or somebody, deleted before this worker could consume them",
    ("topic", "partition"),
)
DEPENDENCY_UP = Metric(
    "rudder_dependency_up",
    Gauge,
    "0 from when an outage of the dependency was found until it answers again, else 1",
    ("dependency",),
)
BREAKER_OPEN = Metric(
    "rudder_breaker_open", Gauge, "1 from when too many of the last events were rejected until a restart, else 0"
)
COMMITS = Metric("rudder_commits", Counter, "offset commits, by result", ("result",))
BUILD_INFO = Metric("rudder_build_info", Gauge, "1; the labels are what runs", ("version", "python"))

METRICS = (
    MESSAGES,
    REJECTIONS,
    IDENTITY_REUSED,
    TOMBSTONES,
    PROCESSING_SECONDS,
    EVENT_LAG_SECONDS,
    RETRIES,
    PUBLISHED,
    UNPUBLISHED,
    IN_FLIGHT_RECORDS,
    IN_FLIGHT_BYTES,
    COMMIT_TRAIL_RECORDS,
    COMMIT_TRAIL_SECONDS,
    PARTITIONS_PAUSED,
    PARTITIONS_ASSIGNED,
    PARTITION_LAG_RECORDS,
    PARTITION_OPEN_TRANSACTION_RECORDS,
    PARTITION_STALLED_SECONDS,
    RECORDS_EXPIRED,
    DEPENDENCY_UP,
    BREAKER_OPEN,
    COMMITS,
    BUILD_INFO,
)


class LogEvent(Described):
    """The `event` of each log line; `meaning` says when it is written."""

    MESSAGE_DONE = (
        "message.done",
        "a message is done: outcome, ids, duration; at `warning` if rejected, now or before, else at `debug`",
    )
    IDENTITY_REUSED = (
        "identity.reused",
        "an event has the source and id of another event and is lost: both types and releases, lines left out",
    )
    MESSAGE_RETRIED = (
        "message.retried",
        "a try failed and will be repeated, and no outage explains it: cause, failures so far, delay, lines left out",
    )
    MESSAGE_UNPUBLISHABLE = (
        "message.unpublishable",
        "what a message publishes failed for a reason of its own every time: cause, position, what is done about it",
    )
    MESSAGE_ABANDONED = "message.abandoned", "a message was left to whoever has its partition next"
    PARTITIONS_ASSIGNED = "partitions.assigned", "the group gave this worker partitions"
    PARTITIONS_REVOKED = "partitions.revoked", "the group took partitions back; what they had under way was drained"
    DRAIN_TIMED_OUT = "drain.timed_out", "work of revoked partitions, or of a stopping worker, did not end in time"
    CLOSE_TIMED_OUT = "close.timed_out", "a Kafka client did not close in time and was abandoned"
    OFFSETS_HELD_BACK = (
        "offsets.held_back",
        "one record that is not done holds back its partition's commit: topic, partition, offset, for how long",
    )
    OFFSETS_RELEASED = "offsets.released", "the record that held back its partition's commit is done"
    RECORDS_EXPIRED = (
        "records.expired",
        "records were deleted, by retention for one, before this worker consumed them: partition, from, to, count",
    )
    LOG_TRUNCATED = (
        "log.truncated",
        "a partition ends before the next offset, as after its topic was created anew: it is read from its start",
    )
    PARTITION_STALLED = (
        "partition.stalled",
        "a partition has records and does not advance: next offset, last stable offset, log end, for how long, cause",
    )
    PARTITION_ADVANCES = "partition.advances", "a partition that was stalled advances again"
    OFFSETS_COMMIT_FAILED = (
        "offsets.commit_failed",
        "offsets could not be committed; they will be tried again. Once, until they are or it fails in another way",
    )
    TOPIC_UNUSABLE = (
        "topic.unusable",
        "a topic that the worker reads or writes does not exist, or may not be used: which, its setting. Once",
    )
    TOPICS_USABLE = "topics.usable", "all topics exist and may be used again"
    TOPIC_ADVICE = "topic.advice", "what an operator should know of a topic's `max.message.bytes`"
    BROKER_REFUSED = (
        "broker.refused",
        "a broker answers, but refuses the worker's login, certificate or rights: cause. Once, until it does not",
    )
    BOOTSTRAPPED_AGAIN = (
        "broker.bootstrapped",
        "no known broker answered; a bootstrap server did, and named the brokers: how many",
    )
    BOOTSTRAP_FAILED = "broker.bootstrap_failed", "a bootstrap server did not answer either; at `debug`"
    RECORD_SHORTENED = (
        "record.shortened",
        "a dead letter or status event is too large for its topic, and is sent in a shorter form: topic, size, limit",
    )
    PRODUCER_REPLACED = "producer.replaced", "the producer was in a state it cannot leave; a new one took its place"
    DEPENDENCY_AWAITED = (
        "dependency.awaited",
        "the database or the broker does not answer; waiting for it: which, cause. Once for each outage",
    )
    DEPENDENCY_READY = (
        "dependency.ready",
        "the database or the broker answers; after an outage: its length, messages that waited, lines left out",
    )
    BREAKER_OPENED = (
        "breaker.opened",
        "too many of the last events were rejected, nothing more is begun: counts by reason and source, last position",
    )
    POINTERS_OFF = (
        "pointers.off",
        "app_environments lacks the key columns, or has others by their names; it is left alone",
    )
    DATABASE_ADVICE = "database.advice", "what an operator or a DBA should know of the driver or the database"
    MIGRATION_WAITING = (
        "migration.waiting",
        "another migration of this database is under way; waiting until it ends: for how many seconds at most",
    )
    CONNECTIONS_LIMITED = (
        "connections.limited",
        "the database grants fewer connections than were wanted; the worker uses those it has. Once: wanted, cause",
    )
    SETTING_UNKNOWN = "setting.unknown", "the environment has a RUDDER_ name that is no setting"
    HTTP_LISTENING = "http.listening", "/livez, /readyz and /metrics are served: host, port"
    WORKER_STARTED = (
        "worker.started",
        "all services run: version, group, client id, topics, brokers, database without its password",
    )
    WORKER_STOPPING = "worker.stopping", "the worker stops: the cause, a signal or the service that failed"
    WORKER_STOPPED = "worker.stopped", "everything is closed"
    COMMAND_FAILED = (
        "command.failed",
        "the command ends with an error, at `critical`: the problem, or the traceback of a fault of the worker's own",
    )
    COMMAND_WARNING = "command.warning", "the command found what an operator should know: the problem"
    COMMAND_NOTE = "command.note", "what a command has to say of its work beside its results: the note"
    PROCESS_STARTED = "process.started", "one of several worker processes was started: which, its pid"
    PROCESS_DIED = (
        "process.died",
        "a worker process ended as it should not: exit code or signal, delay until another takes its place",
    )
    PROCESS_KILLED = "process.killed", "a worker process did not stop in time and was sent SIGKILL"
    PROCESS_ORPHANED = "process.orphaned", "the process that started this one is gone; this one stops"


class Metrics:
    """The metrics of one worker process, in a registry of their own, beside those of the process (`process_…`)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._made: dict[str, Any] = {metric.name: _make(metric, self.registry) for metric in METRICS}
        self._labelled: dict[tuple[str, ...], Any] = {}  # prometheus-client looks each up under a lock

    def count(self, metric: Metric, *labels: str, by: float = 1) -> None:
        self._of(metric, labels).inc(by)

    def observe(self, metric: Metric, value: float) -> None:
        self._made[metric.name].observe(value)

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        self._of(metric, labels).set(value)

    def remove(self, metric: Metric, *labels: str) -> None:
        """Forget the value of what these labels name: it is no longer this process's to say."""
        if self._labelled.pop((metric.name, *labels), None) is not None:
            self._made[metric.name].remove(*labels)

    def watch(self, metric: Metric, value: Callable[[], float]) -> None:
        """Have the gauge ask for its value when it is scraped: what changes with every message costs nothing then."""
        self._made[metric.name].set_function(value)

    def _of(self, metric: Metric, labels: tuple[str, ...]) -> Any:
        key = (metric.name, *labels)
        found = self._labelled.get(key)
        if found is None:
            made = self._made[metric.name]
            found = self._labelled[key] = made.labels(*labels) if labels else made
        return found


def _make(metric: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    if metric.kind is Histogram:
        return Histogram(metric.name, metric.meaning, metric.labels, registry=registry, buckets=_SECONDS)
    return metric.kind(metric.name, metric.meaning, metric.labels, registry=registry)
