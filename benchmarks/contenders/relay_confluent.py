"""The broker alone, through librdkafka: batches in, the same number of status records out."""

import signal
import threading
from typing import Final

from confluent_kafka import Consumer, Producer

from benchmarks.contenders.echo import HEADERS, VALUE, Echo
from benchmarks.contenders.environment import Environment, read_environment

_POLL_TIMEOUT_SECONDS: Final = 0.05
_POLL_RECORDS_MAX: Final = 500


def main(environment: Environment) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    consumer = Consumer(
        {
            "bootstrap.servers": environment.bootstrap_servers,
            "group.id": environment.group_id,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    producer = Producer(
        {"bootstrap.servers": environment.bootstrap_servers, "enable.idempotence": True, "linger.ms": 0}
    )
    echo = Echo(environment)
    consumer.subscribe([environment.input_topic])
    while not stop.is_set():
        messages = consumer.consume(_POLL_RECORDS_MAX, timeout=_POLL_TIMEOUT_SECONDS)
        for message in messages:
            if message.error() is not None:
                raise RuntimeError(str(message.error()))
            for topic in echo.topics():
                producer.produce(topic, VALUE, key=message.key(), headers=list(HEADERS))
        if messages:
            producer.flush()
            consumer.commit(asynchronous=False)
    consumer.close()


if __name__ == "__main__":
    main(read_environment())
