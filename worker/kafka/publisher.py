"""The idempotent producer: everything the worker publishes goes through here, until it is acknowledged.

aiokafka's idempotent producer never gives a record up for a broker that is away; it retries until the answer comes.
What it cannot survive is a broker that has lost track of its sequence numbers: then a new producer takes its place.

A record that the broker refuses as too large is sent again in a batch of its own, as aiokafka sends small records
together and does not divide a batch; then in its shorter forms, as long as there are any.

Records of one topic that no limit can refuse are queued together: the broker keeps the order of a producer's batches.
Others wait for the acknowledgement of the one before, so that a refusal between two cannot swap them.
"""

import asyncio
import random
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import ConnectionGroup
from aiokafka.errors import (
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import RecordMetadata

from worker.kafka import aiokafka_workarounds
from worker.kafka.connection import Connection, at_start
from worker.kafka.record_size import COMPRESSION, TOO_LARGE, compressed_size, described, size
from worker.kafka.refusals import RIGHT_ERRORS
from worker.ports import OutgoingRecord
from worker.rules.errors import ConfigurationError, RecordRefused, Unavailable
from worker.telemetry import LogEvent

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.kafka")

_REQUEST_BYTES_MAX = 96 * 1024 * 1024
"""Before compression. The topic's own limit decides; but a request of more than `socket.request.max.bytes`, by default
100 MiB, gets no answer from a broker: it closes the connection."""

_BATCH_BYTES_MAX = 64 * 1024
"""aiokafka's `max_batch_size`, before compression: a larger record has a batch of its own. The status events of a batch
of messages of one release fit in."""

_LIMIT_OF_BATCHES = 2 * _BATCH_BYTES_MAX
"""A topic whose `max.message.bytes` is at least this refuses no batch of small records."""

_ANSWER_TIMEOUT_SECONDS = 1.0
_TOPIC_WAITS_SECONDS = (0.0, 0.3, 0.7, 1.0)

_KEY_BYTES_LOGGED = 255

_REFUSED_BEFORE_SENDING = (TopicAuthorizationFailedError, UnknownTopicOrPartitionError)
"""Errors that cost the producer no sequence number. Any other leaves a gap that the broker will not forgive."""


class KafkaPublisher:
    """`worker.ports.Publisher` on aiokafka."""

    def __init__(self, connection: Connection, *, linger_seconds: float = 0.0) -> None:
        self._connection = connection
        self._linger_seconds = linger_seconds
        self._producer: AIOKafkaProducer | None = None
        self._replacing = asyncio.Lock()
        self.limits: Mapping[str, int] = {}
        """`max.message.bytes` of the topics of which it is known."""

    async def start(self) -> None:
        """Connect.

        Raises:
            Unavailable: no broker answers.
            ConfigurationError: a broker refuses the credentials.
        """
        self._producer = await self._started()

    async def stop(self) -> None:
        """Disconnect. What is not acknowledged is given up: its offset is not committed, so it comes again."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await aiokafka_workarounds.close(producer, name="producer")

    async def publish(self, outgoing: Sequence[OutgoingRecord]) -> None:
        # What fails in one topic holds up no other.
        waiting: dict[str, deque[_Attempt]] = {}
        for outgoing_record in outgoing:
            waiting.setdefault(outgoing_record.topic, deque()).append(self._first_attempt(outgoing_record))
        problems: list[tuple[str, KafkaError]] = []
        while waiting:
            runs = {topic: _next_run(attempts) for topic, attempts in waiting.items()}
            failures = await self._together(runs)
            for topic, run in runs.items():
                error = failures.get(topic)
                following = () if error is None else self._next_attempts(run, error)
                waiting[topic].extendleft(reversed(following))
                if error is not None and not following:
                    problems.append((described(run[0].outgoing_record, error, self.limits), error))
                    waiting[topic].clear()
                if not waiting[topic]:
                    del waiting[topic]
        for problem, error in problems:
            raise Unavailable(problem) from error

    def _first_attempt(self, outgoing_record: OutgoingRecord) -> "_Attempt":
        """The publication in its longest form that the topic's limit, where it is known, lets pass."""
        bytes_, limit = size(outgoing_record), self.limits.get(outgoing_record.topic)
        if bytes_ <= _BATCH_BYTES_MAX and limit is not None and limit >= _LIMIT_OF_BATCHES:
            return _Attempt(outgoing_record, alone=False, certain=True)
        if limit is None or bytes_ <= limit:
            return _Attempt(outgoing_record, alone=bytes_ > _BATCH_BYTES_MAX)
        while outgoing_record.shorter is not None and (compressed := compressed_size(outgoing_record)) > limit:
            shorter = outgoing_record.shorter()
            self._log_shortened(outgoing_record, shorter, compressed)
            outgoing_record = shorter
        return _Attempt(outgoing_record, alone=True)

    def _next_attempts(self, run: Sequence["_Attempt"], error: KafkaError) -> Sequence["_Attempt"]:
        """What is sent in place of records that are refused as too large; empty: nothing."""
        if not isinstance(error, TOO_LARGE):
            return ()
        if not run[0].alone:  # of several records, the topic's limit was lowered since it was looked up
            return [_Attempt(attempt.outgoing_record, alone=True) for attempt in run]
        [attempt] = run
        if attempt.outgoing_record.shorter is None:
            return ()
        shorter = attempt.outgoing_record.shorter()
        self._log_shortened(attempt.outgoing_record, shorter, compressed_size(attempt.outgoing_record))
        return [_Attempt(shorter, alone=True)]

    def _log_shortened(self, outgoing_record: OutgoingRecord, shorter: OutgoingRecord, refused_bytes: int) -> None:
        _log.warning(
            LogEvent.RECORD_SHORTENED,
            topic=outgoing_record.topic,
            key=None
            if outgoing_record.key is None
            else outgoing_record.key[:_KEY_BYTES_LOGGED].decode("utf-8", "replace"),
            size_bytes=refused_bytes,
            uncompressed_bytes=size(outgoing_record),
            limit_bytes=self.limits.get(outgoing_record.topic),
            shorter_bytes=size(shorter),
            advice=f"raise max.message.bytes of topic {outgoing_record.topic} if the whole record is needed there",
        )

    async def _together(self, runs: Mapping[str, Sequence["_Attempt"]]) -> dict[str, KafkaError]:
        """Produce a run of records for each topic; the first failure of each. All are queued before the first is waited
        for, and no task is needed for that. What follows a record of its topic that cannot be queued is not queued.
        """
        producer = self._producer
        if producer is None:
            raise Unavailable("the producer is not started")
        sending: list[tuple[str, asyncio.Future[RecordMetadata]]] = []
        failures: dict[str, KafkaError] = {}
        unsent: set[str] = set()
        try:
            for topic, run in runs.items():
                try:
                    for attempt in run:
                        queued = await _queued(producer, attempt.outgoing_record, alone=attempt.alone)
                        sending.append((topic, queued))
                except KafkaError as error:
                    failures[topic] = error
                    if isinstance(error, TOO_LARGE):
                        unsent.add(topic)  # refused by the client itself, which is as good as new
            for topic, future in sending:
                try:
                    await future
                except KafkaError as error:
                    failures.setdefault(topic, error)
        finally:
            for _, future in sending:
                future.cancel()  # this may have been cancelled, and then nothing reads the future
        for topic, failure in failures.items():
            if topic not in unsent:
                await self._replace_if_failed(producer, failure)
        return failures

    async def produce(self, outgoing_record: OutgoingRecord) -> tuple[int, int]:
        """Produce one record; its partition and offset.

        Raises:
            RecordRefused: the broker refuses the record as too large.
            Unavailable: it is not acknowledged, but may have been written.
        """
        producer, limit = self._producer, self.limits.get(outgoing_record.topic)
        if producer is None:
            raise Unavailable("the producer is not started")
        if limit is not None and size(outgoing_record) > limit and compressed_size(outgoing_record) > limit:
            # Sent and refused, it would cost the producer, and delay the records of others.
            raise RecordRefused(described(outgoing_record, MessageSizeTooLargeError(), self.limits))
        try:
            written = await (await _queued(producer, outgoing_record, alone=False))
        except KafkaError as error:
            await self._replace_if_failed(producer, error)
            failure = RecordRefused if isinstance(error, TOO_LARGE) else Unavailable
            raise failure(described(outgoing_record, error, self.limits)) from error
        return written.partition, written.offset

    async def has_topic(self, topic: str) -> bool:
        """Whether the brokers know the topic. One that was just created may take them a moment.

        Raises:
            Unavailable: no broker answers.
            ConfigurationError: a broker refuses the question.
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
                raise ConfigurationError(f"Kafka refuses topic {topic}: {for_code(code).__name__}")
            if code != UnknownTopicOrPartitionError.errno:
                return True
        return False

    async def ping(self) -> None:
        """As `worker.ports.Publisher` says. The request names no topic: the answer is as short as it can be, whatever
        the size of the cluster.
        """
        await self.request(MetadataRequest([]))

    async def request(self, request: Any) -> Any:
        """The answer of any broker to an aiokafka request.

        It goes over a connection of its own, where it does not wait behind what slow followers have yet to acknowledge.
        A connection without an answer is closed: it may be dead without either end having noticed, which the client
        finds out only after its request timeout.

        Raises:
            Unavailable: none answers, or each refuses the worker.
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
                    answer = await client.send(broker.nodeId, request, group=ConnectionGroup.COORDINATION)
                answered = True
            except (KafkaError, OSError, TimeoutError) as error:
                problem = f"{broker.host}:{broker.port}: {str(error) or type(error).__name__}"
            else:
                return answer
            finally:
                silent = client._conns.get((broker.nodeId, ConnectionGroup.COORDINATION))  # noqa: SLF001
                if not answered:
                    client.force_metadata_update()  # the broker may have another address by now
                    if silent is not None:
                        silent.close()
        raise Unavailable(self._connection.refused_cause() or f"Kafka does not answer: {problem}")

    async def _replace_if_failed(self, producer: AIOKafkaProducer, error: KafkaError) -> None:
        """Replace a producer that this error leaves in a state it cannot get out of."""
        if isinstance(error, RIGHT_ERRORS):
            self._connection.privileges.add(self._connection.refusal(error))
        if not error.retriable and not isinstance(error, _REFUSED_BEFORE_SENDING):
            await self._replace(producer, error)

    async def _started(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **self._connection.arguments(),
            acks="all",
            linger_ms=self._linger_seconds * 1000,
            enable_idempotence=True,
            max_request_size=_REQUEST_BYTES_MAX,
            max_batch_size=_BATCH_BYTES_MAX,
            compression_type=COMPRESSION,
        )
        started = False
        try:
            await producer.start()
            started = True
        except KafkaError as error:
            raise at_start(error, self._connection) from error
        finally:
            if not started:  # it failed, or was cancelled
                await aiokafka_workarounds.close(producer, name="producer")
        return producer

    async def _replace(self, broken: AIOKafkaProducer, error: KafkaError) -> None:
        """The new producer starts before the old one stops, so that other records do not wait."""
        superfluous = broken
        async with self._replacing:
            if self._producer is not broken:
                return  # another send met the same error first
            fresh = await self._started()
            if self._producer is None:  # stopped meanwhile
                superfluous = fresh
            else:
                self._producer = fresh
                # One that is too large is logged as such, and costs a producer at each of its attempts.
                log = _log.debug if isinstance(error, TOO_LARGE) else _log.warning
                log(LogEvent.PRODUCER_REPLACED, cause=str(error))
        await aiokafka_workarounds.close(superfluous, name="producer")


class _Attempt(NamedTuple):
    """`alone`: in a batch of its own, so that a refusal is of this record. `certain`: no limit can refuse it."""

    outgoing_record: OutgoingRecord
    alone: bool
    certain: bool = False


def _next_run(waiting: deque[_Attempt]) -> Sequence[_Attempt]:
    """Take the records that are queued together: those that no limit can refuse, or else one."""
    run = [waiting.popleft()]
    while run[-1].certain and waiting and waiting[0].certain:
        run.append(waiting.popleft())
    return run


async def _queued(
    producer: AIOKafkaProducer, outgoing_record: OutgoingRecord, *, alone: bool
) -> asyncio.Future[RecordMetadata]:
    topic, key, value, headers = (
        outgoing_record.topic,
        outgoing_record.key,
        outgoing_record.value,
        list(outgoing_record.headers),
    )
    if (alone and size(outgoing_record) <= _BATCH_BYTES_MAX) or (key is None and value is None):
        # `send` adds to an open batch, and asserts that a record has a key or a value; the dead letter of a record that
        # cannot be read has neither. A larger record is alone anyway, and only `send` checks `max_request_size`.
        batch = producer.create_batch()
        batch.append(timestamp=None, key=key, value=value, headers=headers)
        batch.close()
        partitions = sorted(await producer.partitions_for(topic))
        partition = outgoing_record.partition
        if partition is None:
            partition = partitions[0] if key is None else DefaultPartitioner()(key, partitions, partitions)
        return aiokafka_workarounds.queued_batch(producer, batch, TopicPartition(topic, partition))
    partition = outgoing_record.partition
    sending = await producer.send(topic, value=value, key=key, headers=headers, partition=partition)
    return cast("asyncio.Future[RecordMetadata]", sending)
