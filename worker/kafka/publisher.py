"""The idempotent producer: everything the worker tells the world goes through here, and is acknowledged or told again.

aiokafka's idempotent producer never gives a record up for a broker that is away; it retries until the answer comes.
What it cannot survive is a broker that has lost track of its sequence numbers: then a new producer takes its place.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import cast

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.client import ConnectionGroup
from aiokafka.errors import (
    InvalidTopicError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import RecordMetadata

from worker.domain.errors import Misconfigured, Unavailable
from worker.kafka import closed_transports
from worker.kafka.connection import Connection, at_start
from worker.kafka.pace import Pace
from worker.ports import Publication
from worker.telemetry import LogEvent

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.kafka")

_REQUEST_BYTES_MAX = 128 * 1024 * 1024
"""A dead letter is as large as what came in; the topic's own limit decides, not the client's."""

_STOP_TIMEOUT_SECONDS = 5.0
_ANSWER_TIMEOUT_SECONDS = 1.0
_TOPIC_WAITS_SECONDS = (0.0, 0.3, 0.7, 1.0)

_REFUSED_BEFORE_SENDING = (TopicAuthorizationFailedError, UnknownTopicOrPartitionError)
"""Errors that cost the producer no sequence number. Any other leaves a gap that the broker will not forgive."""


class KafkaPublisher:
    """`worker.ports.Publisher` on aiokafka."""

    def __init__(self, connection: Connection, *, linger_seconds: float = 0.0) -> None:
        self._connection = connection
        self._pace = Pace(longest_seconds=linger_seconds)
        self._producer: AIOKafkaProducer | None = None
        self._replacing = asyncio.Lock()
        closed_transports.install()

    async def start(self) -> None:
        """Connect.

        Raises:
            Unavailable: no broker answers.
            Misconfigured: a broker refuses the credentials.
        """
        self._producer = await self._started()

    async def stop(self) -> None:
        """Disconnect. What is not acknowledged is given up: its offset is not committed, so it comes again."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _close(producer)

    async def publish(self, publications: Sequence[Publication]) -> None:
        await self._pace.turn(len(publications))
        # Records of one topic go one behind the other's acknowledgement: a failure between two cannot swap them. What
        # fails in one topic holds up no other.
        failures: dict[str, KafkaError] = {}
        rest = list(publications)
        while rest:
            first_of_each = {publication.topic: publication for publication in reversed(rest)}
            failures |= await self._together(tuple(first_of_each.values()))
            rest = [
                publication
                for publication in rest
                if first_of_each[publication.topic] is not publication and publication.topic not in failures
            ]
        for topic, error in failures.items():
            raise Unavailable(f"topic {topic}: {error}") from error

    async def _together(self, publications: Sequence[Publication]) -> dict[str, KafkaError]:
        """Produce one record a topic; what failed. All are on their way before the first is waited for, and no task is
        needed for that.
        """
        producer = self._producer
        if producer is None:
            raise Unavailable("the producer is not started")
        sending: list[tuple[str, asyncio.Future[RecordMetadata]]] = []
        failures: dict[str, KafkaError] = {}
        try:
            for publication in publications:
                try:
                    sending.append((publication.topic, await _queued(producer, publication)))
                except KafkaError as error:
                    failures[publication.topic] = error
            for topic, future in sending:
                try:
                    await future
                except KafkaError as error:
                    failures[topic] = error
        finally:
            for _, future in sending:
                future.cancel()  # where this was cancelled itself: nobody will look at it
        for failure in failures.values():
            await self._judge(producer, failure)
        return failures

    async def produce(self, publication: Publication) -> tuple[int, int]:
        """Produce one record; its partition and offset.

        Raises:
            Unavailable: it is not acknowledged, but may have been written.
        """
        producer = self._producer
        if producer is None:
            raise Unavailable("the producer is not started")
        try:
            written = await (await _queued(producer, publication))
        except KafkaError as error:
            await self._judge(producer, error)
            raise Unavailable(f"topic {publication.topic}: {error}") from error
        return written.partition, written.offset

    async def has_topic(self, topic: str) -> bool:
        """Whether the brokers know the topic. One that was just created may take them a moment.

        Raises:
            Unavailable: no broker answers.
            Misconfigured: a broker refuses the question.
        """
        if self._producer is None:
            raise Unavailable("the producer is not started")
        client = self._producer.client
        for wait_seconds in _TOPIC_WAITS_SECONDS:
            await asyncio.sleep(wait_seconds)
            try:
                node = client.get_random_node()
                answer = await client.send(node, MetadataRequest([topic], allow_auto_topic_creation=False))
            except (KafkaError, OSError, TimeoutError) as error:
                raise Unavailable(f"Kafka does not answer: {error}") from error
            code = next(code for code, name, *_ in answer.topics if name == topic)
            if code in {TopicAuthorizationFailedError.errno, InvalidTopicError.errno}:
                raise Misconfigured(f"Kafka refuses topic {topic}: {for_code(code).__name__}")
            if code != UnknownTopicOrPartitionError.errno:
                return True
        return False

    async def ping(self) -> None:
        """As `worker.ports.Publisher` says. Any broker will do, and it is asked for no topic: that is the least there
        is to ask, whatever the size of the cluster.

        It is asked on a connection of its own, where no question waits behind what slow followers have yet to
        acknowledge. One that does not answer is closed: a connection may be dead without either end having heard of it,
        and the client finds that out only by a question that it is left to wait for.
        """
        if self._producer is None:
            raise Unavailable("not connected yet")
        client = self._producer.client
        brokers = list(client.cluster.brokers())
        random.shuffle(brokers)
        problem = "no broker is known"
        for broker in brokers:
            answered = False
            try:
                # One that says nothing must not pass for all of them; where it is the only one, who asks has patience.
                async with asyncio.timeout(None if len(brokers) == 1 else _ANSWER_TIMEOUT_SECONDS):
                    await client.send(broker.nodeId, MetadataRequest([]), group=ConnectionGroup.COORDINATION)
                answered = True
            except (KafkaError, OSError, TimeoutError) as error:
                problem = f"{broker.host}:{broker.port}: {str(error) or type(error).__name__}"
            else:
                return
            finally:
                silent = client._conns.get((broker.nodeId, ConnectionGroup.COORDINATION))  # noqa: SLF001
                if silent is not None and not answered:
                    silent.close()
        raise Unavailable(f"Kafka does not answer: {problem}")

    async def _judge(self, producer: AIOKafkaProducer, error: KafkaError) -> None:
        """Replace a producer that this error leaves in a state it cannot get out of."""
        if not error.retriable and not isinstance(error, _REFUSED_BEFORE_SENDING):
            await self._replace(producer, error)

    async def _started(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **self._connection.arguments(),
            acks="all",
            enable_idempotence=True,
            max_request_size=_REQUEST_BYTES_MAX,
        )
        started = False
        try:
            await producer.start()
            started = True
        except KafkaError as error:
            raise await at_start(error, self._connection) from error
        finally:
            if not started:  # it failed, or was cancelled
                await _close(producer)
        return producer

    async def _replace(self, broken: AIOKafkaProducer, error: KafkaError) -> None:
        """The new one is there before the old one goes: nobody else's records are held up."""
        superfluous = broken
        async with self._replacing:
            if self._producer is not broken:
                return  # another send met the same error first
            fresh = await self._started()
            if self._producer is None:  # stopped meanwhile
                superfluous = fresh
            else:
                self._producer = fresh
                _log.warning(LogEvent.PRODUCER_REPLACED, cause=str(error))
        await _close(superfluous)


async def _close(producer: AIOKafkaProducer) -> None:
    try:
        # aiokafka first sends all that is queued, and without a broker that never ends.
        async with asyncio.timeout(_STOP_TIMEOUT_SECONDS):
            await producer.stop()
    except TimeoutError:
        _log.warning(LogEvent.CLOSE_TIMED_OUT, client="producer", timeout_seconds=_STOP_TIMEOUT_SECONDS)
        await producer.client.close()


async def _queued(producer: AIOKafkaProducer, publication: Publication) -> asyncio.Future[RecordMetadata]:
    topic, key, value, headers = publication.topic, publication.key, publication.value, list(publication.headers)
    if key is None and value is None:
        # `send` asserts that a record has a key or a value; the letter of a tombstone without a key has neither.
        batch = producer.create_batch()
        batch.append(timestamp=None, key=None, value=None, headers=headers)
        batch.close()
        partition = min(await producer.partitions_for(topic))
        sending = producer.send_batch(batch, topic, partition=partition)
    else:
        sending = producer.send(topic, value=value, key=key, headers=headers)
    return cast("asyncio.Future[RecordMetadata]", await sending)
