"""A publisher that keeps to its schedule, and a subscriber that notes arrivals: both ends of a latency, on one clock.

Both are threads of librdkafka with a thin layer of Python, so that what is measured is the contender and not they.
"""

import json
import threading
import time
from collections.abc import Sequence
from typing import Final, Self

from confluent_kafka import Consumer, Producer, TopicPartition

from tests.conformance.producers import ToSend

PATIENCE_SECONDS: Final = 60.0
_POLL_TIMEOUT_SECONDS: Final = 0.05


class Publisher:
    """Produces by the schedule, whatever comes of it."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self._topic = topic
        self._producer = Producer(
            {"bootstrap.servers": bootstrap_servers, "acks": "all", "linger.ms": 0, "log_level": 2}
        )

    def publish(self, records: Sequence[ToSend], *, events_per_second: float = 0.0) -> dict[str, float]:
        """Return when each event was due, by its id; returns when all are acknowledged."""
        began_at_seconds = time.perf_counter()
        due: dict[str, float] = {}
        for index, record in enumerate(records):
            due_at_seconds = began_at_seconds + (index / events_per_second if events_per_second else 0.0)
            while (early_seconds := due_at_seconds - time.perf_counter()) > 0:
                self._producer.poll(0)
                time.sleep(min(early_seconds, _POLL_TIMEOUT_SECONDS))
            self._producer.produce(
                self._topic,
                record.value,
                key=record.key,
                headers=list(record.headers),
                timestamp=record.timestamp_ms,
            )
            due[json.loads(record.value or b"")["id"]] = due_at_seconds
        self._producer.flush()
        return due


class Subscriber:
    """Notes when each status event came; what it says is read later, when nobody waits for it."""

    def __init__(self, bootstrap_servers: str, topic: str, partitions: int) -> None:
        settings = {"bootstrap.servers": bootstrap_servers, "group.id": "benchmarks.latency", "log_level": 2}
        self._consumer = Consumer({**settings, "enable.auto.commit": False, "fetch.wait.max.ms": 100})
        self._consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
        self._heard: list[tuple[float, bytes]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="subscriber")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    @property
    def count(self) -> int:
        return len(self._heard)

    def waited_for(self, count: int) -> bool:
        """Whether so many status events came before a minute passed without one."""
        last, moved_at_seconds = -1, time.monotonic()
        while self.count < count:
            if self.count != last:
                last, moved_at_seconds = self.count, time.monotonic()
            elif time.monotonic() - moved_at_seconds > PATIENCE_SECONDS:
                return False
            time.sleep(_POLL_TIMEOUT_SECONDS)
        return True

    def seen(self) -> dict[str, float]:
        """Return when the first status event of each event came, by the event's id."""
        first: dict[str, float] = {}
        for at_seconds, value in self._heard:
            first.setdefault(json.loads(value)["cause"]["id"], at_seconds)
        return first

    def _listen(self) -> None:
        while not self._stop.is_set():
            message = self._consumer.poll(_POLL_TIMEOUT_SECONDS)
            if message is not None and message.error() is None:
                self._heard.append((time.perf_counter(), bytes(message.value() or b"")))
