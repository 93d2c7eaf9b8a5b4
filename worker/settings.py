"""Every setting of the worker, in one frozen model that is whole and free of contradictions before anything starts.

Read from the environment (prefix `RUDDER_`) and from a `.env` file; a secret also from the file that `…_FILE` names.
"""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from dotenv import dotenv_values
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
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from worker.rules.errors import ConfigurationError

PREFIX = "RUDDER_"
ENV_FILE = ".env"
SECRETS = ("database_url", "kafka_sasl_password", "kafka_ssl_keyfile_password")
"""Fields that may also be given as the path of a file that holds them."""

_BYTE_ORDER_MARK = "\ufeff"
_SURROGATE = re.compile("[\ud800-\udfff]")
_ENCODING = "utf-8-sig"
"""UTF-8; a byte order mark, which some editors put before the first character, is dropped."""

_SERVICE_LINK = re.compile(
    rf"{PREFIX}(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_SERVICE_LINK_URL = re.compile(r"(?:tcp|udp|sctp)://\S+")
"""Kubernetes gives every pod such variables for each service of its namespace: one named `rudder-http` sets
RUDDER_HTTP_PORT to `tcp://10.0.0.1:80`."""

_SERVICE_LINK_PROBLEM = (
    "RUDDER_HTTP_PORT is a Kubernetes service link (tcp://…), not a port number: set `enableServiceLinks: false` in "
    "the pod's specification, or set RUDDER_HTTP_PORT there"
)

_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_SERVER = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^\s,:\[\]]+):([0-9]{1,5})")
_PORT_MAX = 65_535
_SECONDS_MAX = 2_147_483
"""24 days: Kafka's requests have times as 32 bits of milliseconds, and so have poll() and SQLite's busy timeout."""
_EVENT_BYTES_LIMIT = 256 * 1024 * 1024
"""JSON may be four times as long when it is written again (`1e15` is `1000000000000000.0`), and SQL Server's
nvarchar(max) takes 2^30 - 1 characters.
"""


def topic_name(name: str) -> str:
    """The name. Raises ValueError for what Kafka takes for no topic's name."""
    if _TOPIC.fullmatch(name) is None or name in {".", ".."}:
        raise ValueError(
            f"{name[:80]!r} is no topic: expected are 1 to 249 letters, digits, dots, underscores, hyphens"
        )
    return name


def _servers(text: str) -> str:
    for server in text.split(","):
        match = _SERVER.fullmatch(server.strip())
        if match is None or not 1 <= int(match[1]) <= _PORT_MAX:
            raise ValueError("expected are host:port pairs, comma-separated, with ports from 1 to 65535")
    return text


def _topic_names(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("at least one topic has to be named")
    return tuple(topic_name(name) for name in names)


Seconds = Annotated[float, Field(gt=0, le=_SECONDS_MAX, allow_inf_nan=False)]
Topic = Annotated[str, AfterValidator(topic_name)]


class Settings(BaseSettings):
    """The effective settings. Descriptions are what documentation prints; times are in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_file_encoding=_ENCODING,
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
    )

    database_url: SecretStr = Field(
        SecretStr("sqlite+aiosqlite:///rudder.sqlite3"),
        description="the database: `mssql+aioodbc://…`, `postgresql+asyncpg://…` or `sqlite+aiosqlite:///…`",
    )
    database_connections_max: PositiveInt | None = Field(
        None, description="connections at the most; as many as RUDDER_CONCURRENCY and one more where it is not given"
    )
    database_timeout_seconds: Seconds = Field(
        30.0, description="how long a connection, a statement or a free place in the pool is waited for"
    )

    kafka_bootstrap_servers: Annotated[str, AfterValidator(_servers)] = Field(
        "127.0.0.1:9092", description="`host:port` of some of the brokers, comma-separated"
    )
    kafka_client_id: str = Field("rudder-worker", min_length=1, description="this client's name in the brokers' logs")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how to talk to the brokers"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="how to log in, with a SASL protocol"
    )
    kafka_sasl_username: str | None = Field(None, description="who logs in")
    kafka_sasl_password: SecretStr | None = Field(None, description="with which password")
    kafka_ssl_cafile: Path | None = Field(
        None, description="PEM file of the authorities to trust; the system's if not given"
    )
    kafka_ssl_certfile: Path | None = Field(None, description="PEM file of the client's certificate, for mutual TLS")
    kafka_ssl_keyfile: Path | None = Field(None, description="PEM file of its key")
    kafka_ssl_keyfile_password: SecretStr | None = Field(None, description="the key's password")
    kafka_request_timeout_seconds: Seconds = Field(40.0, description="how long one request may take")

    kafka_metadata_max_age_seconds: Seconds = Field(
        60.0, description="how soon partitions that a topic was given are noticed, where nothing else tells"
    )
    kafka_linger_seconds: NonNegativeFloat = Field(
        0.005,
        le=60,
        description="how long what is published may wait for more; the longest while there is much",
    )

    group_id: str = Field("rudder-worker", min_length=1, description="the consumer group")
    group_instance_id: str | None = Field(
        None, description="a name of this member that survives its restarts (static membership)"
    )
    partition_assignment_strategy: Literal["range", "roundrobin", "sticky", "cooperative-sticky"] = Field(
        "roundrobin", description="how the group shares its partitions; `cooperative-sticky` is not to be had so far"
    )
    session_timeout_seconds: Seconds = Field(45.0, description="after how long a silent member is dropped")
    max_poll_interval_seconds: Seconds = Field(300.0, description="after how long without a poll a member is dropped")

    input_topics: Annotated[tuple[str, ...], NoDecode, AfterValidator(_topic_names)] = Field(
        ("rudder.deployment-events",), description="topics to read, comma-separated"
    )
    deployment_status_topic: Topic = Field("rudder.deployment-status", description="where deployments' changes go")
    release_status_topic: Topic = Field("rudder.release-status", description="where releases' changes go")
    dead_letter_topic: Topic = Field("rudder.dead-letters", description="where rejected records go")
    content_mode: Literal["binary", "structured"] = Field("binary", description="CloudEvents mode of what is published")
    event_source: str = Field(
        "/rudder-worker", min_length=1, max_length=1024, description="CloudEvents source of what is published"
    )
    sources_file: Path | None = Field(
        None,
        description="TOML file of the event sources that may speak for each organization; any may, if not given",
    )
    event_bytes_max: PositiveInt = Field(
        1_048_576, le=_EVENT_BYTES_LIMIT, description="bytes of the largest value that is read"
    )
    event_ahead_max_seconds: NonNegativeInt = Field(
        86_400, description="how far an event's time may be after its record's timestamp; 0: unlimited"
    )

    concurrency: PositiveInt = Field(16, description="releases worked on at the same time")
    processes: PositiveInt = Field(
        1, description="worker processes of `run`; the second serves HTTP on the port after RUDDER_HTTP_PORT, and so on"
    )
    in_flight_records_max: PositiveInt = Field(1_000, description="records fetched and not done, at the most")
    in_flight_bytes_max: PositiveInt = Field(67_108_864, description="their bytes; one poll's records may exceed it")
    commit_trail_max: PositiveInt = Field(
        100_000, description="records behind one that is not done, in its partition; then no more of it are fetched"
    )
    attempts_max: PositiveInt = Field(
        5, description="tries of a message that fails for a reason of its own; then `processing_error`"
    )
    retry_initial_seconds: Seconds = Field(0.1, description="the wait after the first failure; it doubles")
    retry_max_seconds: Seconds = Field(30.0, description="the longest wait between two tries")
    breaker_events: int = Field(
        100,
        ge=0,
        le=100_000,
        description="how many of the last events the breaker looks at; 0 switches it off",
    )
    breaker_rejected_share_max: float = Field(
        0.5, ge=0, lt=1, description="the breaker opens when more than this share of them was rejected"
    )
    commit_interval_seconds: Seconds = Field(1.0, description="how often offsets are committed")
    drain_timeout_seconds: Seconds = Field(
        25.0, description="how long a rebalance or a stop waits for what is being worked on"
    )
    startup_timeout_seconds: NonNegativeFloat = Field(
        60.0, description="how long to wait at start for database and broker; 0: not at all, `inf`: for ever"
    )

    http_host: str = Field("127.0.0.1", min_length=1, description="where /livez, /readyz and /metrics are served")
    http_port: int = Field(8080, ge=0, le=65_535, description="on which port; 0: any that is free")
    tracing: Literal["off", "otlp"] = Field(
        "off", description="`otlp`: a span per message to the collector that OpenTelemetry's OTEL_… variables name"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="what is logged")

    @model_validator(mode="before")
    @classmethod
    def _tidy(cls, values: Any) -> Any:
        """Blanks around a value, and a value left empty, mean nothing; in a secret they are part of it."""
        if not isinstance(values, dict):
            return values
        tidy = dict(values)
        for name, value in values.items():
            if isinstance(value, str):
                text = value.removeprefix(_BYTE_ORDER_MARK)
                tidy[name] = text if name in SECRETS else text.strip()
            if tidy[name] == "" and name in cls.model_fields and cls.model_fields[name].default is None:
                tidy[name] = None
        port = tidy.get("http_port")
        if isinstance(port, str) and _SERVICE_LINK_URL.fullmatch(port):
            raise ValueError(_SERVICE_LINK_PROBLEM)
        topics = tidy.get("input_topics")
        if isinstance(topics, str):
            tidy["input_topics"] = tuple(name.strip() for name in topics.split(",") if name.strip())
        return tidy

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Self:
        for problem in _contradictions(self):
            raise ValueError(problem)
        return self

    @property
    def connections_max(self) -> int:
        return self.database_connections_max or self.concurrency + 1

    def of_process(self, number: int) -> Self:
        """The settings of one of `processes`, counted from 0: what two of them cannot share is its own."""
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
        del file_secret_settings  # one folder of secrets; `…_FILE` names each
        return init_settings, env_settings, dotenv_settings, _SecretFiles(settings_cls, dotenv_settings)


def load(**given: Any) -> Settings:
    """The settings from the environment, `given` ones first.

    Raises:
        ConfigurationError: one clear line, of the first problem; it never holds a secret.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        raise ConfigurationError(_line(error)) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{ENV_FILE} is not UTF-8 text") from error
    except OSError as error:
        raise ConfigurationError(f"{ENV_FILE} cannot be read: {error.strerror or error}") from error


def secret_file(name: str) -> str | None:
    """The path that `RUDDER_<NAME>_FILE` gives for the secret, if any."""
    return environment().get(f"{PREFIX}{name.upper()}_FILE") or None


def read_secret(path: str) -> str:
    """The secret that the file holds; the last line's end does not count. Raises OSError, UnicodeDecodeError."""
    return Path(path).read_text(encoding=_ENCODING).rstrip("\r\n")


def environment() -> Mapping[str, str]:
    """The names that settings are read from: the environment's and the `.env` file's. Call `load` first: it reports a
    `.env` file that cannot be read.
    """
    named = {name: value or "" for name, value in dotenv_values(ENV_FILE, encoding=_ENCODING).items()}
    return named | dict(os.environ)


def unknown_names(environment: Mapping[str, str]) -> Iterator[str]:
    """A line for each variable that looks like a setting and is none, with the nearest name: a typing error would else
    stay silent. Kubernetes service links are no typing errors.
    """
    if os.path.isdir(ENV_FILE):  # noqa: PTH112 - Path.is_dir raises where the folder may not be searched
        yield f"{ENV_FILE} is a directory, not a file: no setting is read from it"
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {
        f"{PREFIX}{name.upper()}_FILE" for name in SECRETS
    }
    for name in sorted(environment):
        if (
            name.startswith(PREFIX)
            and name not in known
            and not name.startswith(f"{PREFIX}TEST_")
            and not _is_service_link(name, environment[name])
        ):
            near = difflib.get_close_matches(name, known, n=1)
            yield f"{name} is no setting" + (f"; did you mean {near[0]}?" if near else "")


def _is_service_link(name: str, value: str) -> bool:
    if _SERVICE_LINK.fullmatch(name):
        return True
    return name.endswith("_PORT") and _SERVICE_LINK_URL.fullmatch(value) is not None


def _contradictions(settings: Settings) -> Iterator[str]:
    """Each as a line that names the settings as the environment has them."""
    yield from _form(settings)
    yield from _kafka_contradictions(settings)
    yield from _topic_contradictions(settings)
    yield from _bound_contradictions(settings)
    yield from _process_contradictions(settings)


def _form(settings: Settings) -> Iterator[str]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        if _SURROGATE.search(text):  # how Python keeps a byte of a variable that is no UTF-8
            yield f"{PREFIX}{name.upper()} is no text in UTF-8"
        elif isinstance(value, str | Path) and not text.isprintable():
            yield f"{PREFIX}{name.upper()} has control characters"
    if " " in settings.event_source:
        yield "RUDDER_EVENT_SOURCE is no URI-reference: it has blanks"


def _kafka_contradictions(settings: Settings) -> Iterator[str]:
    if settings.partition_assignment_strategy == "cooperative-sticky":
        yield (
            "RUDDER_PARTITION_ASSIGNMENT_STRATEGY=cooperative-sticky cannot be had: the Kafka client has no such "
            "rebalancing; sticky moves as few partitions, and RUDDER_GROUP_INSTANCE_ID spares restarts a rebalance"
        )
    sasl = settings.kafka_security_protocol.startswith("SASL_")
    if sasl and (settings.kafka_sasl_username is None or settings.kafka_sasl_password is None):
        yield (
            f"RUDDER_KAFKA_SECURITY_PROTOCOL={settings.kafka_security_protocol} needs RUDDER_KAFKA_SASL_USERNAME "
            "and RUDDER_KAFKA_SASL_PASSWORD"
        )
    if not sasl and (settings.kafka_sasl_username or settings.kafka_sasl_password):
        yield "RUDDER_KAFKA_SASL_USERNAME or _PASSWORD is given, but RUDDER_KAFKA_SECURITY_PROTOCOL uses no SASL"
    if settings.kafka_ssl_keyfile_password and settings.kafka_ssl_keyfile is None:
        yield "RUDDER_KAFKA_SSL_KEYFILE_PASSWORD is given, but no RUDDER_KAFKA_SSL_KEYFILE"
    files = (settings.kafka_ssl_cafile, settings.kafka_ssl_certfile, settings.kafka_ssl_keyfile)
    if (any(files) or settings.kafka_ssl_keyfile_password) and not settings.kafka_security_protocol.endswith("SSL"):
        yield (
            "RUDDER_KAFKA_SSL_CAFILE, _CERTFILE, _KEYFILE or _KEYFILE_PASSWORD is given, "
            "but RUDDER_KAFKA_SECURITY_PROTOCOL uses no TLS"
        )
    if (settings.kafka_ssl_certfile is None) != (settings.kafka_ssl_keyfile is None):
        yield "RUDDER_KAFKA_SSL_CERTFILE and RUDDER_KAFKA_SSL_KEYFILE go together"


def _topic_contradictions(settings: Settings) -> Iterator[str]:
    outputs = (settings.deployment_status_topic, settings.release_status_topic, settings.dead_letter_topic)
    for topic in settings.input_topics:
        if topic in outputs:
            yield f"{topic} is in RUDDER_INPUT_TOPICS and published to: the worker would read what it writes"
    if len(set(settings.input_topics)) < len(settings.input_topics):
        yield "RUDDER_INPUT_TOPICS names a topic twice"
    if settings.dead_letter_topic in outputs[:2]:
        yield "RUDDER_DEAD_LETTER_TOPIC is a status topic too: its subscribers would meet foreign records"


def _bound_contradictions(settings: Settings) -> Iterator[str]:
    if settings.retry_initial_seconds > settings.retry_max_seconds:
        yield "RUDDER_RETRY_INITIAL_SECONDS is more than RUDDER_RETRY_MAX_SECONDS"
    if settings.in_flight_records_max < settings.concurrency:
        yield "RUDDER_IN_FLIGHT_RECORDS_MAX is less than RUDDER_CONCURRENCY, which then could never be reached"
    if settings.in_flight_bytes_max < settings.event_bytes_max:
        yield "RUDDER_IN_FLIGHT_BYTES_MAX is less than RUDDER_EVENT_BYTES_MAX"
    if settings.session_timeout_seconds > settings.max_poll_interval_seconds:
        yield "RUDDER_SESSION_TIMEOUT_SECONDS is more than RUDDER_MAX_POLL_INTERVAL_SECONDS"
    if settings.drain_timeout_seconds >= settings.max_poll_interval_seconds:
        yield "RUDDER_DRAIN_TIMEOUT_SECONDS is not less than RUDDER_MAX_POLL_INTERVAL_SECONDS: no rebalance waits"


def _process_contradictions(settings: Settings) -> Iterator[str]:
    several = f"RUDDER_PROCESSES={settings.processes}"
    if settings.processes > 1 and settings.database_url.get_secret_value().startswith("sqlite"):
        yield f"{several} needs a database server in RUDDER_DATABASE_URL: a SQLite file belongs to one process"
    if settings.http_port and settings.http_port + settings.processes - 1 > _PORT_MAX:
        yield f"{several} needs as many ports from RUDDER_HTTP_PORT={settings.http_port}, and there is none above 65535"


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads a secret from the file that `RUDDER_<NAME>_FILE` names; the last line's end does not count."""

    def __init__(self, settings_cls: type[BaseSettings], dotenv: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._dotenv = dict(dotenv.env_vars) if isinstance(dotenv, DotEnvSettingsSource) else {}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        del field
        name = f"{PREFIX}{field_name}_FILE"
        path = os.environ.get(name.upper()) or self._dotenv.get(name.lower())
        return path, field_name, False

    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for secret in SECRETS:
            path, _, _ = self.get_field_value(self.settings_cls.model_fields[secret], secret)
            if not path:
                continue
            name = f"{PREFIX}{secret.upper()}"
            if secret in self.current_state:
                raise ConfigurationError(f"{name} and {name}_FILE are both given")
            try:
                found[secret] = read_secret(path)
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"{name}_FILE cannot be read: {error}") from error
        return found


def _line(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return message
    return f"{PREFIX}{str(first['loc'][0]).upper()}: {message[0].lower()}{message[1:]}"
