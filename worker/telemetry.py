"""Every metric and every log event of the worker, by name and meaning. The reference tables are generated from here."""

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


MESSAGES = Metric("rudder_messages", Counter, "completed messages, by outcome", ("outcome",))
REJECTIONS = Metric("rudder_rejections", Counter, "messages rejected for the first time, by reason", ("reason",))
IDENTITY_REUSED = Metric(
    "rudder_identity_reused",
    Counter,
    "events without effect, because another type or release already used their source and id",
)
TOMBSTONES = Metric("rudder_tombstones", Counter, "skipped records: their value is null")
NO_INTEREST = Metric(
    "rudder_no_interest", Counter, "skipped foreign records: they concern no deployment", ("format", "kind")
)
PROCESSING_SECONDS = Metric(
    "rudder_processing_seconds",
    Histogram,
    "seconds from a message's first attempt to the acknowledgement of what it publishes",
)
EVENT_LAG_SECONDS = Metric(
    "rudder_event_lag_seconds",
    Histogram,
    "seconds from a record's timestamp to the acknowledgement of what it publishes; implausible timestamps excluded",
)
RETRIES = Metric("rudder_retries", Counter, "failed attempts, each followed by another, by cause", ("cause",))
PUBLISHED = Metric("rudder_published", Counter, "published records that the broker acknowledged, by topic", ("topic",))
PUBLISH_FAILURES = Metric(
    "rudder_publish_failures",
    Counter,
    "messages whose status events could not be published; a dead letter was published instead",
)
IN_FLIGHT_RECORDS = Metric("rudder_in_flight_records", Gauge, "records fetched and not completed")
IN_FLIGHT_BYTES = Metric("rudder_in_flight_bytes", Gauge, "bytes of the values of records fetched and not completed")
COMMIT_LAG_RECORDS = Metric(
    "rudder_commit_lag_records",
    Gauge,
    "committed offset behind the last dispatched record, in records; of the partition with the largest lag",
)
COMMIT_BLOCKED_SECONDS = Metric(
    "rudder_commit_blocked_seconds",
    Gauge,
    "seconds for which one record has blocked its partition's commit; of the partition blocked for longest",
)
PARTITIONS_PAUSED = Metric(
    "rudder_partitions_paused", Gauge, "partitions not fetched: their in-flight budget or commit lag is at its limit"
)
PARTITIONS_ASSIGNED = Metric("rudder_partitions_assigned", Gauge, "partitions assigned to this worker")
PARTITION_LAG_RECORDS = Metric(
    "rudder_partition_lag_records",
    Gauge,
    "offsets from the first incomplete record to the log end; measured also while nothing is fetched",
    ("topic", "partition"),
)
PARTITION_OPEN_TRANSACTION_RECORDS = Metric(
    "rudder_partition_open_transaction_records",
    Gauge,
    "offsets from the last stable offset to the log end: an open transaction of a producer hides them",
    ("topic", "partition"),
)
PARTITION_STALLED_SECONDS = Metric(
    "rudder_partition_stalled_seconds",
    Gauge,
    "seconds for which a partition with lag has completed no record",
    ("topic", "partition"),
)
RECORDS_EXPIRED = Metric(
    "rudder_records_expired",
    Counter,
    "offsets deleted, by retention or by an operator, before this worker consumed them",
    ("topic", "partition"),
)
DEPENDENCY_UP = Metric(
    "rudder_dependency_up",
    Gauge,
    "1 while the dependency answers, 0 from a detected outage until it answers again",
    ("dependency",),
)
BREAKER_OPEN = Metric(
    "rudder_breaker_open", Gauge, "1 while the group's breaker is open, else 0; `rudder-worker breaker close` closes it"
)
PARTITIONS_BEHIND = Metric(
    "rudder_partitions_behind", Gauge, "assigned partitions not begun: the database lacks their last committed event"
)
STATES_TO_REPAIR = Metric(
    "rudder_states_to_repair",
    Gauge,
    "releases whose current states will be published again: an earlier one may have been published after a later one",
)
STATES_REPAIRED = Metric("rudder_states_repaired", Counter, "releases whose current states were published again")
COMMITS = Metric("rudder_commits", Counter, "offset commits, by result", ("result",))
GATEWAY_REQUESTS = Metric(
    "rudder_gateway_requests",
    Counter,
    "answered requests of the gateway, by operation and HTTP status",
    ("route", "status"),
)
GATEWAY_REQUEST_SECONDS = Metric(
    "rudder_gateway_request_seconds",
    Histogram,
    "seconds from the head of an accepted request to the acknowledgement by Kafka",
)
GATEWAY_CONNECTIONS_CLOSED = Metric(
    "rudder_gateway_connections_closed",
    Counter,
    "connections that the gateway closed: `slow`, no complete request in time; `too_many`, the one that waited longest",
    ("cause",),
)
BUILD_INFO = Metric("rudder_build_info", Gauge, "1; the labels name the running version", ("version", "python"))

METRICS = (
    MESSAGES,
    REJECTIONS,
    IDENTITY_REUSED,
    TOMBSTONES,
    NO_INTEREST,
    PROCESSING_SECONDS,
    EVENT_LAG_SECONDS,
    RETRIES,
    PUBLISHED,
    PUBLISH_FAILURES,
    IN_FLIGHT_RECORDS,
    IN_FLIGHT_BYTES,
    COMMIT_LAG_RECORDS,
    COMMIT_BLOCKED_SECONDS,
    PARTITIONS_PAUSED,
    PARTITIONS_ASSIGNED,
    PARTITION_LAG_RECORDS,
    PARTITION_OPEN_TRANSACTION_RECORDS,
    PARTITION_STALLED_SECONDS,
    RECORDS_EXPIRED,
    DEPENDENCY_UP,
    BREAKER_OPEN,
    PARTITIONS_BEHIND,
    STATES_TO_REPAIR,
    STATES_REPAIRED,
    COMMITS,
    GATEWAY_REQUESTS,
    GATEWAY_REQUEST_SECONDS,
    GATEWAY_CONNECTIONS_CLOSED,
    BUILD_INFO,
)


class LogEvent(Described):
    """The `event` of each log line. `meaning`: when it is written, and its main fields."""

    MESSAGE_COMPLETED = (
        "message.completed",
        "a message is completed: outcome, ids, duration. Level `warning` if it is rejected or was before, else `debug`",
    )
    IDENTITY_REUSED = (
        "identity.reused",
        "an event is ignored, because another event already used its source and id: both types and releases",
    )
    MESSAGE_RETRIED = (
        "message.retried",
        "an attempt failed without an outage, and is repeated: cause, failures so far, delay, lines left out",
    )
    MESSAGE_PUBLISH_FAILED = (
        "message.publish_failed",
        "every attempt to publish a message's records failed while the broker was available: cause, position, action",
    )
    CHAIN_FAILED = (
        "chain.failed",
        "messages of one release were not processed together, each is processed by itself: first position, cause",
    )
    RELEASES_NOT_FOUND = (
        "releases.not_found",
        "the releases of foreign events could not be looked up; it is attempted again",
    )
    MAPPING_READ = "mapping.read", "RUDDER_MAPPING_FILE was read again; it holds for records that are read from now on"
    MAPPING_REFUSED = (
        "mapping.refused",
        "RUDDER_MAPPING_FILE is not valid; the earlier mapping stays. Correct the file and send SIGHUP again: cause",
    )
    MESSAGE_LEASE_LOST = (
        "message.lease_lost",
        "a message was not completed before its partition was revoked; the next owner of the partition processes it",
    )
    PARTITIONS_ASSIGNED = "partitions.assigned", "the group assigned partitions to this worker"
    PARTITIONS_REVOKED = "partitions.revoked", "the group revoked partitions; their messages in flight were drained"
    DRAIN_TIMED_OUT = (
        "drain.timed_out",
        "messages in flight did not complete within RUDDER_DRAIN_TIMEOUT_SECONDS, at a rebalance or a stop",
    )
    CLOSE_TIMED_OUT = "close.timed_out", "a Kafka client did not close in time; its connections are left open"
    COMMIT_BLOCKED = (
        "commit.blocked",
        "head-of-line blocking: one incomplete record blocks its partition's commit: topic, partition, offset, seconds",
    )
    COMMIT_UNBLOCKED = "commit.unblocked", "the record that blocked its partition's commit is completed"
    RECORDS_EXPIRED = (
        "records.expired",
        "records were deleted, by retention or an operator, before the worker consumed them: partition, offsets, count",
    )
    LOG_TRUNCATED = (
        "log.truncated",
        "a partition ends before the next offset, as after a topic is created anew; it is read from its start",
    )
    PARTITION_STALLED = (
        "partition.stalled",
        "a partition has lag and completes no record: next offset, last stable offset, log end, seconds, cause",
    )
    PARTITION_RESUMED = "partition.resumed", "a stalled partition completes records again"
    COMMIT_FAILED = (
        "commit.failed",
        "an offset commit failed, and is repeated: cause. Logged once for each kind of failure until one succeeds",
    )
    TOPIC_UNUSABLE = (
        "topic.unusable",
        "a topic does not exist, or the worker may not use it: topic, setting. Logged once; create it, or grant access",
    )
    TOPICS_USABLE = "topics.usable", "all topics exist, and the worker may use them"
    TOPIC_ADVICE = (
        "topic.advice",
        "`max.message.bytes` or `cleanup.policy` of a topic does not suit the worker: what to change",
    )
    CERTIFICATE_EXPIRES = (
        "certificate.expires",
        "a certificate of the Kafka connection has expired or expires soon: its file, when, what to do",
    )
    BROKER_REFUSED = (
        "broker.refused",
        "a broker refuses the worker's login, certificate or privileges: cause. Logged once for each refusal",
    )
    BOOTSTRAPPED_AGAIN = (
        "broker.bootstrapped",
        "no known broker answered; the brokers were read again from a bootstrap server: how many",
    )
    BOOTSTRAP_FAILED = "broker.bootstrap_failed", "no bootstrap server answered either. Level `debug`"
    RECORD_SHORTENED = (
        "record.shortened",
        "a dead letter or status event is too large for its topic; a shorter form is published: topic, size, limit",
    )
    PRODUCER_REPLACED = "producer.replaced", "the Kafka producer reported a fatal error; a new one replaces it"
    DEPENDENCY_UNAVAILABLE = (
        "dependency.unavailable",
        "the database or the broker does not answer; messages wait for it: dependency, cause. Logged once an outage",
    )
    DEPENDENCY_AVAILABLE = (
        "dependency.available",
        "the database or the broker answers; after an outage: its duration, messages that waited, lines left out",
    )
    BREAKER_OPENED = (
        "breaker.opened",
        "too many of the last events were rejected; the group stops until an operator closes it: reasons, sources",
    )
    BREAKER_CLOSED = (
        "breaker.closed",
        "the group's breaker is closed, and the worker continues: who closed it, the note, how long it was open",
    )
    DATABASE_BEHIND = (
        "database.behind",
        "the database lacks the last event that the group committed in a partition: position, event, what to do",
    )
    DATABASE_CURRENT = "database.current", "the database has that event now, and the partition continues"
    DATABASE_REWOUND = (
        "database.rewound",
        "a partition is read again from the oldest event that the database lacks: committed offset, new offset",
    )
    DATABASE_UNCHECKED = (
        "database.unchecked",
        "the last committed record of a partition was deleted by retention, so the database cannot be checked with it",
    )
    DATABASE_CHECK_FAILED = (
        "database.check_failed",
        "the last committed records cannot be read or compared, so assigned partitions are not begun: cause",
    )
    STATES_REPAIRED = (
        "states.repaired",
        "a partition was released before its last commit, so current states were published again: releases, states",
    )
    STATES_NOT_REPAIRED = (
        "states.not_repaired",
        "current states could not be published again, for example during a stop: releases, cause, what to do",
    )
    ENVIRONMENT_POINTERS_DISABLED = (
        "environment_pointers.disabled",
        "app_environments lacks the key columns, or their types differ; the worker does not update it",
    )
    DATABASE_ADVICE = "database.advice", "the driver or the database does not suit the worker: what to change"
    MIGRATION_WAITING = (
        "migration.waiting",
        "another migration of this database is running; this one waits for it: seconds at most",
    )
    CONNECTIONS_LIMITED = (
        "connections.limited",
        "the database grants fewer connections than configured; the worker uses those: configured, cause. Logged once",
    )
    SETTING_UNKNOWN = "setting.unknown", "an environment variable begins with RUDDER_ and is not a setting"
    HTTP_LISTENING = (
        "http.listening",
        "HTTP is served: host, port, and what: /livez, /readyz and /metrics, or the gateway's operations",
    )
    GATEWAY_STARTED = (
        "gateway.started",
        "the gateway forwards requests to Kafka: version, topic, brokers, sources of webhooks that have a key",
    )
    GATEWAY_KEYS_READ = (
        "gateway.keys_read",
        "after SIGHUP: the keys were read again: sources of webhooks that have a key",
    )
    GATEWAY_KEYS_REFUSED = (
        "gateway.keys_refused",
        "after SIGHUP: RUDDER_GATEWAY_KEYS_FILE cannot be used, and the keys stay as they were: cause",
    )
    REQUEST_ACCEPTED = (
        "request.accepted",
        "Kafka has acknowledged a request of the gateway: path, name of the key, identity. Level `debug`",
    )
    REQUEST_REFUSED = (
        "request.refused",
        "the gateway refused a request: status, kind, detail, cause, name of the key, path, lines left out",
    )
    WORKER_STARTED = (
        "worker.started",
        "all services are running: version, group, client id, topics, brokers, database without its password",
    )
    WORKER_STOPPING = "worker.stopping", "the worker stops: the signal, or the service that failed"
    WORKER_STOPPED = "worker.stopped", "all services and connections are closed"
    COMMAND_FAILED = (
        "command.failed",
        "a command failed: the problem, or the traceback of a bug in the worker. Level `critical`",
    )
    COMMAND_WARNING = "command.warning", "a command found something to check: the problem"
    COMMAND_NOTE = "command.note", "information on a command's progress, beside its results: the note"
    PROCESS_STARTED = "process.started", "one of several worker processes was started: its number and pid"
    PROCESS_EXITED = (
        "process.exited",
        "a worker process exited unexpectedly: exit code or signal, delay until the next is started",
    )
    PROCESS_KILLED = "process.killed", "a worker process did not stop in time, and was sent SIGKILL"
    PROCESS_ORPHANED = "process.orphaned", "the parent process has exited, so this one stops"


class Metrics:
    """The metrics of one worker process, in a registry of their own, beside those of the process (`process_…`)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._collectors: dict[str, Any] = {metric.name: _make(metric, self.registry) for metric in METRICS}
        self._labelled: dict[tuple[str, ...], Any] = {}  # a cache: prometheus-client takes a lock for each

    def count(self, metric: Metric, *labels: str, by: float = 1) -> None:
        self._of(metric, labels).inc(by)

    def observe(self, metric: Metric, value: float) -> None:
        self._collectors[metric.name].observe(value)

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        self._of(metric, labels).set(value)

    def remove(self, metric: Metric, *labels: str) -> None:
        """Remove the series with these labels: this process no longer measures it."""
        if self._labelled.pop((metric.name, *labels), None) is not None:
            self._collectors[metric.name].remove(*labels)

    def read_at_scrape(self, metric: Metric, value: Callable[[], float]) -> None:
        """Have the gauge call `value` at each scrape, so that a value that changes per message costs nothing."""
        self._collectors[metric.name].set_function(value)

    def _of(self, metric: Metric, labels: tuple[str, ...]) -> Any:
        key = (metric.name, *labels)
        found = self._labelled.get(key)
        if found is None:
            collector = self._collectors[metric.name]
            found = self._labelled[key] = collector.labels(*labels) if labels else collector
        return found


def _make(metric: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    if metric.kind is Histogram:
        return Histogram(metric.name, metric.meaning, metric.labels, registry=registry, buckets=_SECONDS)
    return metric.kind(metric.name, metric.meaning, metric.labels, registry=registry)
