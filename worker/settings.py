"""Every setting of the worker, in one frozen model, complete and checked before anything starts.

Read from the environment (prefix `RUDDER_`) and from a `.env` file; a secret also from the file in `…_FILE`.
"""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from worker.environment_variables import (
    BYTE_ORDER_MARK,
    ENCODING,
    ENV_FILE,
    PREFIX,
    SECRETS,
    SecretFiles,
    is_service_link,
    is_service_link_url,
)
from worker.rules.errors import ConfigurationError
from worker.settings_checks import PORT_MAX, problems

_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_SERVER = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^\s,:\[\]]+):([0-9]{1,5})")
_SECONDS_MAX = 2_147_483
"""24 days: Kafka's requests have times as 32 bits of milliseconds, and so have poll() and SQLite's busy timeout."""
_CONNECTIONS = 3
"""Two for batches, one for probes."""
_EVENT_BYTES_LIMIT = 256 * 1024 * 1024
"""JSON may be four times as long when it is written again (`1e15` is `1000000000000000.0`), and SQL Server's
nvarchar(max) takes 2^30 - 1 characters.
"""


def topic_name(name: str) -> str:
    """The name. Raises ValueError for a name that Kafka refuses."""
    if _TOPIC.fullmatch(name) is None or name in {".", ".."}:
        raise ValueError(
            f"{name[:80]!r} is not a topic name; use 1 to 249 letters, digits, dots, underscores and hyphens"
        )
    return name


def _servers(text: str) -> str:
    for server in text.split(","):
        match = _SERVER.fullmatch(server.strip())
        if match is None or not 1 <= int(match[1]) <= PORT_MAX:
            raise ValueError("not a list of host:port; separate servers by commas, and use ports from 1 to 65535")
    return text


def _topic_names(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("no topic is named; name at least one")
    return tuple(topic_name(name) for name in names)


Seconds = Annotated[float, Field(gt=0, le=_SECONDS_MAX, allow_inf_nan=False)]
Topic = Annotated[str, AfterValidator(topic_name)]
TopicOrNone = Annotated[str, AfterValidator(lambda name: name and topic_name(name))]


class Settings(BaseSettings):
    """The effective settings. Descriptions are what documentation prints; times are in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_file_encoding=ENCODING,
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
    )

    database_url: SecretStr = Field(
        SecretStr("sqlite+aiosqlite:///rudder.sqlite3"),
        description="database: `mssql+aioodbc://…`, `postgresql+asyncpg://…` or `sqlite+aiosqlite:///…`",
    )
    database_connections_max: PositiveInt | None = Field(
        None, description="maximum number of connections; default: 3, as messages share round trips"
    )
    database_timeout_seconds: Seconds = Field(
        30.0, description="timeout of a connection attempt, of a statement, and of the wait for a pooled connection"
    )

    kafka_bootstrap_servers: Annotated[str, AfterValidator(_servers)] = Field(
        "127.0.0.1:9092", description="`host:port` of one or more brokers, comma-separated"
    )
    kafka_client_id: str = Field(
        "rudder-worker", min_length=1, description="client id, as brokers log it and apply quotas to it"
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="security protocol of the brokers' listener"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="SASL mechanism; used with a SASL security protocol"
    )
    kafka_sasl_username: str | None = Field(None, description="SASL user name")
    kafka_sasl_password: SecretStr | None = Field(None, description="SASL password")
    kafka_ssl_cafile: Path | None = Field(
        None, description="PEM file of the trusted certificate authorities; default: the system's"
    )
    kafka_ssl_certfile: Path | None = Field(None, description="PEM file of the client certificate, for mutual TLS")
    kafka_ssl_keyfile: Path | None = Field(None, description="PEM file of the client certificate's private key")
    kafka_ssl_keyfile_password: SecretStr | None = Field(None, description="password of the private key")
    kafka_request_timeout_seconds: Seconds = Field(40.0, description="timeout of one Kafka request")

    kafka_metadata_max_age_seconds: Seconds = Field(
        60.0, description="interval of metadata refreshes, which find added partitions"
    )
    kafka_linger_seconds: NonNegativeFloat = Field(
        0.0,
        le=60,
        description="time for which a published record waits for others in its batch",
    )

    group_id: str = Field("rudder-worker", min_length=1, max_length=255, description="consumer group")
    group_instance_id: str | None = Field(
        None, description="static membership: a name, unique in the group, that this member keeps over restarts"
    )
    partition_assignment_strategy: Literal["range", "roundrobin", "sticky", "cooperative-sticky"] = Field(
        "roundrobin", description="the group's partition assignor; `cooperative-sticky` is not supported by aiokafka"
    )
    session_timeout_seconds: Seconds = Field(
        45.0, description="time without a heartbeat after which the group removes this member"
    )
    max_poll_interval_seconds: Seconds = Field(
        300.0, description="time without a poll after which this member leaves the group"
    )

    input_topics: Annotated[tuple[str, ...], NoDecode, AfterValidator(_topic_names)] = Field(
        ("rudder.deployment-events",), description="input topics, comma-separated"
    )
    deployment_status_topic: Topic = Field(
        "rudder.deployment-status", description="output topic of deployment status events"
    )
    release_status_topic: Topic = Field("rudder.release-status", description="output topic of release status events")
    deployment_state_topic: TopicOrNone = Field(
        "rudder.deployment-state",
        description="output topic of the current deployment of each environment, with `cleanup.policy=compact`; "
        "empty: off",
    )
    dead_letter_topic: Topic = Field("rudder.dead-letters", description="output topic of dead letters")
    content_mode: Literal["binary", "structured"] = Field(
        "binary", description="CloudEvents content mode of status events"
    )
    event_source: str = Field(
        "/rudder-worker", min_length=1, max_length=1024, description="CloudEvents source of status events"
    )
    operator: str | None = Field(
        None, max_length=255, description="name of who runs a command, for `operator_actions`; default: the login name"
    )
    sources_file: Path | None = Field(
        None, description="TOML file with the allowed event sources of each organization; default: all are allowed"
    )
    mapping_file: Path | None = Field(
        None,
        description="YAML file that maps foreign sources (GitHub, GitLab, Argo CD, …) to organizations, components and "
        "environments; SIGHUP reads it again; default: only events of this contract are accepted",
    )
    event_bytes_max: PositiveInt = Field(
        1_048_576, le=_EVENT_BYTES_LIMIT, description="largest record value; larger ones are rejected as `too_large`"
    )
    event_ahead_max_seconds: NonNegativeInt = Field(
        86_400,
        description="how far an event's time may be after its record's timestamp; later ones are rejected as "
        "`invalid_data`; 0: unlimited",
    )

    concurrency: PositiveInt = Field(
        64,
        description="maximum number of messages that are processed at the same time; a chain counts as one message",
    )
    processes: PositiveInt = Field(
        1, description="worker processes of `run`; process n serves HTTP on port RUDDER_HTTP_PORT + n, from n = 0"
    )
    in_flight_records_max: PositiveInt = Field(
        1_000, description="in-flight budget: maximum number of records fetched and not completed"
    )
    in_flight_bytes_max: PositiveInt = Field(
        67_108_864, description="in-flight budget: maximum bytes of these records; one poll may exceed it"
    )
    commit_lag_records_max: PositiveInt = Field(
        100_000, description="commit lag at which a partition is paused until its oldest record is completed"
    )
    attempts_max: PositiveInt = Field(
        5, description="attempts of a message while its dependencies are available; then `processing_error`"
    )
    retry_initial_seconds: Seconds = Field(0.1, description="delay after the first failed attempt; it doubles")
    retry_max_seconds: Seconds = Field(30.0, description="maximum delay between two attempts")
    breaker_events: int = Field(
        100,
        ge=0,
        le=100_000,
        description="window of the breaker: number of the last events; 0: this process counts and opens none",
    )
    breaker_rejected_share_max: float = Field(
        0.5, ge=0, lt=1, description="share of rejected events in the window above which the breaker opens"
    )
    database_behind: Literal["stop", "rewind"] = Field(
        "stop",
        description="if the database lacks the last event that the group committed in a partition: `stop`: do not "
        "begin the partition; `rewind`: read it again from the oldest unknown event",
    )
    commit_interval_seconds: Seconds = Field(1.0, description="interval of offset commits")
    drain_timeout_seconds: Seconds = Field(
        25.0, description="how long a rebalance or a stop waits for messages in flight"
    )
    startup_timeout_seconds: NonNegativeFloat = Field(
        60.0, description="how long a start waits for the database and the broker; 0: no wait, `inf`: no limit"
    )

    http_host: str = Field("127.0.0.1", min_length=1, description="address of /livez, /readyz and /metrics")
    http_port: int = Field(8080, ge=0, le=PORT_MAX, description="port of /livez, /readyz and /metrics; 0: any free one")
    gateway_host: str = Field("127.0.0.1", min_length=1, description="`gateway`: address of /events and /webhooks")
    gateway_port: int = Field(
        8088, ge=0, le=PORT_MAX, description="`gateway`: port of /events and /webhooks; 0: any free one"
    )
    gateway_topic: Topic | None = Field(
        None, description="`gateway`: topic of accepted requests; default: the first of RUDDER_INPUT_TOPICS"
    )
    gateway_keys_file: Path | None = Field(
        None, description="`gateway`: TOML file with the tokens and webhook secrets that it accepts; required"
    )
    tracing: Literal["off", "otlp"] = Field(
        "off", description="`otlp`: export a span per message; configure the exporter by OpenTelemetry's `OTEL_…`"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level that is logged")

    @model_validator(mode="before")
    @classmethod
    def _normalize(cls, values: Any) -> Any:
        """Strip blanks, except in secrets; an empty optional value is none."""
        if not isinstance(values, dict):
            return values
        normalized = dict(values)
        for name, value in values.items():
            if isinstance(value, str):
                text = value.removeprefix(BYTE_ORDER_MARK)
                normalized[name] = text if name in SECRETS else text.strip()
            if normalized[name] == "" and name in cls.model_fields and cls.model_fields[name].default is None:
                normalized[name] = None
        port = normalized.get("http_port")
        if isinstance(port, str) and is_service_link_url(port):
            raise ValueError(
                "RUDDER_HTTP_PORT is a Kubernetes service link (tcp://…), not a port number; "
                "set `enableServiceLinks: false` in the pod's specification, or set RUDDER_HTTP_PORT there"
            )
        port = normalized.get("gateway_port")
        if isinstance(port, str) and is_service_link_url(port):
            # Of a Kubernetes service named rudder-gateway; the pods of `run` see it too.
            del normalized["gateway_port"]
        topics = normalized.get("input_topics")
        if isinstance(topics, str):
            normalized["input_topics"] = tuple(name.strip() for name in topics.split(",") if name.strip())
        return normalized

    @model_validator(mode="after")
    def _check(self) -> Self:
        for problem in problems(self):
            raise ValueError(problem)
        return self

    @property
    def connections_max(self) -> int:
        return self.database_connections_max or _CONNECTIONS

    def of_process(self, number: int) -> Self:
        """The settings of process `number` of `processes`, from 0: client id, instance id and port are its own."""
        instance_id, port = self.group_instance_id, self.http_port
        return self.model_copy(
            update={
                "kafka_client_id": f"{self.kafka_client_id}-{number}",
                "group_instance_id": instance_id and f"{instance_id}-{number}",
                "http_port": port and port + number,
            }
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del file_secret_settings  # reads one folder of secrets; `…_FILE` names each file
        return init_settings, env_settings, dotenv_settings, SecretFiles(settings_cls, dotenv_settings)


def load(**given: Any) -> Settings:
    """The settings from the environment; `given` ones take precedence.

    Raises:
        ConfigurationError: the first problem, in one line without secrets.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        raise ConfigurationError(_line(error)) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{ENV_FILE} is not UTF-8 text") from error
    except OSError as error:
        raise ConfigurationError(f"{ENV_FILE} cannot be read: {error.strerror or error}") from error


def unknown_names(environment: Mapping[str, str]) -> Iterator[str]:
    """One line for each variable that looks like a setting and is not, with the nearest name. Kubernetes service links
    are left out.
    """
    if os.path.isdir(ENV_FILE):  # noqa: PTH112 - Path.is_dir raises where the folder may not be searched
        yield f"{ENV_FILE} is a directory, not a file; no setting is read from it"
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {
        f"{PREFIX}{name.upper()}_FILE" for name in SECRETS
    }
    for name in sorted(environment):
        if (
            name.startswith(PREFIX)
            and name not in known
            and not name.startswith(f"{PREFIX}TEST_")
            and not is_service_link(name, environment[name])
        ):
            near = difflib.get_close_matches(name, known, n=1)
            yield f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else "")


def _line(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return message
    return f"{PREFIX}{str(first['loc'][0]).upper()}: {message[0].lower()}{message[1:]}"
