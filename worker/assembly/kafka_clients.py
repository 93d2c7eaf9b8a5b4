"""Constructs the clients of the broker. Connects to nothing."""

from pydantic import SecretStr

from worker.environment_variables import read_secret, secret_file
from worker.kafka.connection import Connection, Secret
from worker.kafka.publisher import KafkaPublisher
from worker.kafka.record_batches import BATCH_BYTES_MAX
from worker.kafka.topic_check import KafkaTopicCheck
from worker.kafka.topic_reader import KafkaTopicReader
from worker.pipeline.outgoing import Topics
from worker.ports import Publisher
from worker.settings import Settings


def kafka_connection(settings: Settings) -> Connection:
    return Connection(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        client_id=settings.kafka_client_id,
        security_protocol=settings.kafka_security_protocol,
        sasl_mechanism=settings.kafka_sasl_mechanism,
        sasl_username=settings.kafka_sasl_username,
        sasl_password=_secret("kafka_sasl_password", settings.kafka_sasl_password),
        ssl_cafile=_text(settings.kafka_ssl_cafile),
        ssl_certfile=_text(settings.kafka_ssl_certfile),
        ssl_keyfile=_text(settings.kafka_ssl_keyfile),
        ssl_keyfile_password=_secret("kafka_ssl_keyfile_password", settings.kafka_ssl_keyfile_password),
        request_timeout_seconds=settings.kafka_request_timeout_seconds,
    )


def publisher(settings: Settings, connection: Connection | None = None) -> KafkaPublisher:
    return KafkaPublisher(connection or kafka_connection(settings), linger_seconds=settings.kafka_linger_seconds)


def topic_check(settings: Settings, producer: Publisher) -> KafkaTopicCheck:
    """Call `check` after the producer has started."""
    return KafkaTopicCheck(
        producer,
        inputs=settings.input_topics,
        outputs=output_topics(settings).by_setting,
        dead_letters=settings.dead_letter_topic,
        states=settings.deployment_state_topic or None,
    )


def topic_reader(settings: Settings) -> KafkaTopicReader:
    return KafkaTopicReader(
        kafka_connection(settings), group_id=settings.group_id, batch_bytes_max=batch_bytes_max(settings)
    )


def output_topics(settings: Settings) -> Topics:
    return Topics(
        deployment_status=settings.deployment_status_topic,
        release_status=settings.release_status_topic,
        dead_letters=settings.dead_letter_topic,
        deployment_state=settings.deployment_state_topic or None,
    )


def batch_bytes_max(settings: Settings) -> int:
    """The largest decompressed batch: `run` and `verify` must treat the same records as unreadable."""
    return max(BATCH_BYTES_MAX, 2 * settings.event_bytes_max)


def _secret(name: str, value: SecretStr | None) -> Secret:
    """The secret; for a secret file a function that reads it, since the file may change while the worker runs."""
    path = secret_file(name)
    if value is None or path is None:
        return value.get_secret_value() if value is not None else None

    def read() -> str:
        try:
            return read_secret(path)
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"RUDDER_{name.upper()}_FILE cannot be read: {error}") from error

    return read


def _text(path: object | None) -> str | None:
    return None if path is None else str(path)
