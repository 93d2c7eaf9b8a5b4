"""The faults of aiokafka 0.14.0 that concern this worker, and what is done about each. Nothing else works around one.

aiokafka has no settings or hooks for this. `install` therefore replaces names in its modules, once for the process;
`worker.kafka.connection.Connection.arguments` calls it, so it applies to every client of the worker.

Each entry has the fault, its report among the issues of aio-libs/aiokafka, and what is done. Each has a test in
`tests/unit/kafka/test_aiokafka_workarounds.py` that shows the fault in plain aiokafka. When the test fails after an
upgrade, aiokafka is mended and the entry can be deleted.
"""

import asyncio
import copy
from collections.abc import Collection, Mapping
from typing import Any, Protocol

import aiokafka.client
import aiokafka.consumer.fetcher
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection, CloseReason, create_conn
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import (
    BrokerResponseError,
    IllegalGenerationError,
    KafkaConnectionError,
    KafkaError,
    ProducerClosed,
    UnknownMemberIdError,
    kafka_errors,
)
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.protocol.admin import DescribeGroupsRequest_v3, DescribeGroupsResponse_v3
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import JoinGroupRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import RecordMetadata

from worker.kafka.record_batches import LenientRecords
from worker.kafka.refusals import is_login_refused
from worker.telemetry import LogEvent

VERSION = "0.14.0"
"""The version of aiokafka that was read for this. After an upgrade: run the tests, read the changes, set it."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.kafka")


def install() -> None:
    """Replace the names for every client of this process. A second call changes nothing."""
    MetadataRequest.__init__ = _metadata_request_without_creation
    aiokafka.client.create_conn = _connect
    AIOKafkaClient.send = _send_refreshing_metadata
    AIOKafkaClient._metadata_update = _metadata_update  # noqa: SLF001
    AIOKafkaConnection.send = _send_or_close
    aiokafka.consumer.fetcher.MemoryRecords = LenientRecords
    FetchResult.check_assignment = _check_assignment
    kafka_errors[FencedInstanceIdError.errno] = FencedInstanceIdError
    GroupCoordinator.reset_generation = _reset_generation
    GroupCoordinator._send_req = _send_coordinator_request  # noqa: SLF001


# Metadata requests create topics.
#
# Fault: each metadata request allows the broker to create the topics that it names, without a setting against it
# (Kafka's consumer has `allow.auto.create.topics`). A broker does so by default (`auto.create.topics.enable`).
# Report: none. Done: no metadata request allows it. A misspelt topic name is an error that the operator gets to see.

_init_metadata_request = MetadataRequest.__init__


def _metadata_request_without_creation(
    self: MetadataRequest, topics: list[str] | None = None, *_: Any, **__: Any
) -> None:
    _init_metadata_request(self, topics, allow_auto_topic_creation=False)


# Connections use the first credentials for ever, have no time limit of their own, and raise assertions.
#
# Fault: a client keeps the password and the SSL context that it was made with, so rotated ones are never used; a
# connection that is being made (TLS and login included) may take a request timeout, and all others wait; a SASL
# dialogue checks a server's answer by `assert` and by codecs, whose errors end the client's task.
# Report: none. Done: each connection asks a `Credentials` for its arguments, and ends in time or in a KafkaError.

_CONNECT_SECONDS = 10.0
"""As long as Kafka's own client has (`socket.connection.setup.timeout.ms`)."""


class Credentials(Protocol):
    """What a connection needs, read anew for each. It travels as the `ssl_context` of a client, which aiokafka hands on
    without a look.
    """

    def current(self) -> dict[str, Any]:
        """The arguments `ssl_context` and `sasl_plain_password`. Raises OSError, ValueError: they cannot be read."""
        ...

    def refused(self, error: BaseException) -> None:
        """A broker refused them, or they could not be read."""
        ...

    def accepted(self) -> None: ...

    def failed(self, server: str, error: Exception) -> None:
        """No connection to `host:port`, for whatever reason."""
        ...


async def _connect(host: str, port: int, *, ssl_context: Any = None, **arguments: Any) -> Any:
    if not hasattr(ssl_context, "current"):
        return await create_conn(host, port, ssl_context=ssl_context, **arguments)
    credentials: Credentials = ssl_context
    try:
        arguments |= credentials.current()
    except (OSError, ValueError) as error:
        credentials.refused(error)
        raise KafkaConnectionError(f"no connection to {host}:{port} was tried: {error}") from error
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            connection = await create_conn(host, port, **arguments)
    except Exception as error:
        credentials.failed(f"{host}:{port}", error)
        if is_login_refused(error):
            credentials.refused(error)
        if isinstance(error, AssertionError | ValueError) and not isinstance(error, OSError):
            raise KafkaConnectionError(f"connection to {host}:{port} failed: {error!r}") from error
        raise
    credentials.accepted()
    return connection


# A client never bootstraps again.
#
# Fault: it asks the brokers of its last metadata only. When all of them have other addresses it never connects again.
# Report: #459 "Failsafe if all nodes in cluster are failing" (open); #456 "can't reconnect if brokers go down and
# bootstrap servers change IP" (closed). Kafka's own client bootstraps again (KIP-899, KIP-1102).
# Done: the metadata is requested from the bootstrap servers when the known brokers do not answer in time.

_KNOWN_BROKERS_SECONDS = 10.0
"""How long the known brokers have for an answer before the request goes to the bootstrap servers as well."""

_BOOTSTRAP_SECONDS = 5.0
"""How long one bootstrap server has."""

_metadata_of_known_brokers = AIOKafkaClient._metadata_update  # noqa: SLF001


async def _metadata_update(self: AIOKafkaClient, cluster_metadata: Any, topics: Any) -> bool:
    updated = await _metadata(self, cluster_metadata, topics)
    if updated and cluster_metadata is self.cluster:
        _close_old_addresses(self)
    return updated


async def _metadata(client: AIOKafkaClient, cluster_metadata: Any, topics: Any) -> bool:
    known = asyncio.ensure_future(_metadata_of_known_brokers(client, cluster_metadata, topics))
    try:
        while True:
            await asyncio.wait((known,), timeout=_KNOWN_BROKERS_SECONDS)
            if known.done() and (known.result() or not client.cluster.brokers()):
                return bool(known.result())
            if await _metadata_of_bootstrap_servers(client, cluster_metadata, topics):
                return True
            if known.done():
                return bool(known.result())
    finally:
        known.cancel()
        await asyncio.gather(known, return_exceptions=True)


async def _metadata_of_bootstrap_servers(client: AIOKafkaClient, cluster_metadata: Any, topics: Any) -> bool:
    request = MetadataRequest(list(topics) if topics else None)
    for host, port, _ in client.hosts:
        connection = None
        try:
            async with asyncio.timeout(_BOOTSTRAP_SECONDS):
                connection = await _connect(
                    host,
                    port,
                    client_id=client._client_id,  # noqa: SLF001
                    request_timeout_ms=client._request_timeout_ms,  # noqa: SLF001
                    ssl_context=client._ssl_context,  # noqa: SLF001
                    security_protocol=client._security_protocol,  # noqa: SLF001
                    sasl_mechanism=client._sasl_mechanism,  # noqa: SLF001
                    sasl_plain_username=client._sasl_plain_username,  # noqa: SLF001
                    sasl_plain_password=client._sasl_plain_password,  # noqa: SLF001
                )
                metadata = await connection.send(request)
        except (OSError, KafkaError, TimeoutError) as error:
            _log.debug(LogEvent.BOOTSTRAP_FAILED, server=f"{host}:{port}", cause=str(error) or type(error).__name__)
            continue
        finally:
            if connection is not None:
                connection.close()
        if metadata.brokers:
            cluster_metadata.update_metadata(metadata)
            _log.warning(LogEvent.BOOTSTRAPPED_AGAIN, server=f"{host}:{port}", brokers=len(metadata.brokers))
            return True
    return False


# A connection to a broker's earlier address is kept.
#
# Fault: after a broker has moved, its connection stays open until a request on it times out (40 s), and metadata is
# fetched only every `metadata_max_age_ms`. An address that swallows packets is found out after two such timeouts.
# Report: none; #456 (closed) is about addresses too. Kafka's own client has the fault as well (KAFKA-20394).
# Done: a request without an answer has the metadata fetched; new metadata closes connections to other addresses.

_UNANSWERED_SECONDS = 10.0
"""Without an answer for so long the metadata is fetched, again and again. Only the answer to a join takes longer."""

_client_send = AIOKafkaClient.send


async def _send_refreshing_metadata(self: AIOKafkaClient, node_id: Any, request: Any, **arguments: Any) -> Any:
    refreshing = _Refreshing(self)
    try:
        return await _client_send(self, node_id, request, **arguments)
    finally:
        refreshing.cancel()


class _Refreshing:
    """Fetches the metadata again and again, until it is cancelled. A function that schedules itself would be a cycle:
    with each request something would be left for the garbage collector.
    """

    __slots__ = ("_client", "_timer")

    def __init__(self, client: AIOKafkaClient) -> None:
        self._client = client
        self._schedule()

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_UNANSWERED_SECONDS, self._fetch)

    def _fetch(self) -> None:
        self._client.force_metadata_update()
        self._schedule()

    def cancel(self) -> None:
        self._timer.cancel()


def _close_old_addresses(client: AIOKafkaClient) -> None:
    """Requests on these connections fail at once, and are sent again to the new address."""
    for (node_id, _), connection in list(client._conns.items()):  # noqa: SLF001
        broker = client.cluster.broker_metadata(node_id)
        if broker is not None and (broker.host, broker.port) != (connection.host, connection.port):
            connection.close(reason=CloseReason.OUT_OF_SYNC)


# Writing to a connection that was just reset raises RuntimeError under uvloop.
#
# Fault: only OSError is taken for a broken connection, so that the error ends the task that sends.
# Report: #1038 "Closing of connection from server don't caught for uvloop" (open).
# Done: the connection is closed, and KafkaConnectionError raised.

_connection_send = AIOKafkaConnection.send


def _send_or_close(self: AIOKafkaConnection, request: Any, expect_response: bool = True) -> Any:  # noqa: FBT001, FBT002 - as it is called
    writer = self._writer
    try:
        return _connection_send(self, request, expect_response)
    except RuntimeError as error:
        if writer is None or not writer.transport.is_closing():
            raise
        self.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"connection to {self.host}:{self.port} broken: {error}") from error


# One record stops its partition for ever.
#
# Fault: a header name that is not UTF-8, a batch that cannot be decompressed or parsed, or one with a wrong checksum
# raises from `getmany`, again with every fetch. A batch is decompressed whole: some kilobytes can take gigabytes.
# Report: #321 "Skip and proceed in the case of CorruptRecordException" (open); none for header names and size.
# Done: the fetcher reads batches with `worker.kafka.record_batches`.


# Fetched records that are thrown away stay in memory.
#
# Fault: what was fetched of a partition that is paused is thrown away, but its records and the generator that reads
# them refer to each other. Of large batches, tens of megabytes wait for the garbage collector.
# Report: none. Done: the generator is closed.

_is_current = FetchResult.check_assignment


def _check_assignment(self: Any, partition: TopicPartition) -> bool:
    records = self._partition_records
    current = bool(_is_current(self, partition))
    if not current and records is not None and records._records_iterator is not None:  # noqa: SLF001
        records._records_iterator.close()  # noqa: SLF001
    return current


# A static member that was replaced takes its place back.
#
# Fault: heartbeats and commits name no `group.instance.id`, so the broker answers UNKNOWN_MEMBER_ID to a replaced
# member; aiokafka then joins as a new one, and two workers with one id replace each other for ever.
# Report: #1186 "FENCED_INSTANCE_ID (error 82) is unmapped and raised as an untyped KafkaError" (open, with PR #1188).
# Done: it joins under its earlier member id first. The broker answers FENCED_INSTANCE_ID if it was replaced, and
# UNKNOWN_MEMBER_ID if it was silent for too long; then it joins as a new member.

_clear_generation = GroupCoordinator.reset_generation
_send_request = GroupCoordinator._send_req  # noqa: SLF001


class FencedInstanceIdError(BrokerResponseError):  # type: ignore[misc]  # aiokafka is untyped
    errno = 82
    message = "FENCED_INSTANCE_ID"
    description = "Another member of the group has the same group.instance.id."


def is_fenced(consumer: AIOKafkaConsumer) -> bool:
    """Whether another member has taken this one's place under its `group.instance.id`."""
    return getattr(getattr(consumer, "_coordinator", None), "_is_fenced", False)


def _reset_generation(self: Any) -> None:
    if self._group_instance_id is not None and self.member_id:
        self._earlier_member_id = self.member_id
    _clear_generation(self)


async def _send_coordinator_request(self: Any, request: Any) -> Any:
    earlier = getattr(self, "_earlier_member_id", None)
    if isinstance(request, JoinGroupRequest) and not request._member_id and earlier is not None:  # noqa: SLF001
        request._member_id = earlier  # noqa: SLF001
    response = await _send_request(self, request)
    if isinstance(request, JoinGroupRequest):
        self._earlier_member_id = None
    if getattr(response, "error_code", 0) == FencedInstanceIdError.errno:
        self._is_fenced = True
    return response


# A commit can take the group's offsets back.
#
# Faults: a member that the group has dropped commits without a generation, which Kafka obeys while the group is empty,
# so that the offsets of a successor that has left are lost; a commit that fails is sent again under whatever generation
# the member has by then, when the partition may be another member's; the request is shielded, so that a cancelled
# commit is still sent, perhaps after the next one.
# Report: none. Done: a `Membership` commits for the consumer.

_NO_GENERATION = OffsetCommitRequest.DEFAULT_GENERATION_ID


class Membership:
    """Commits for a started consumer that has a group, as a member only, and under the generation in which it began."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._coordinator = consumer._coordinator  # noqa: SLF001
        self._send = self._coordinator._do_commit_offsets  # noqa: SLF001
        self._coordinator._do_commit_offsets = self._send_as_member  # noqa: SLF001
        self._generation = _NO_GENERATION
        self._sending: asyncio.Task[Any] | None = None
        self._committing = asyncio.Lock()

    @property
    def dropped(self) -> bool:
        """Whether the group does not know this member: before its first join, or after the group has dropped it."""
        return bool(self._coordinator.generation == _NO_GENERATION)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """One after the other. When it has ended, cancelled or not, no request of it is under way in this client.

        Raises:
            KafkaError: as aiokafka's; CommitFailedError where the group is, or has come to be, at another generation.
        """
        async with self._committing:
            self._generation = self._coordinator.generation
            try:
                await self._consumer.commit(dict(offsets))
            finally:
                sending, self._sending = self._sending, None
                if sending is not None:
                    sending.cancel()
                    await asyncio.gather(sending, return_exceptions=True)

    async def _send_as_member(self, assignment: Any, offsets: Mapping[TopicPartition, Any]) -> None:
        if self._coordinator.generation == _NO_GENERATION:
            raise UnknownMemberIdError(self._coordinator.group_id)
        if self._coordinator.generation != self._generation:
            raise IllegalGenerationError(self._coordinator.group_id)
        self._sending = asyncio.current_task()
        await self._send(assignment, offsets)


# A refused right on the group is raised for ever.
#
# Fault: `getmany` repeats the error of the coordinator's heartbeat, also after the right was granted. Report: none.
# Done: the consumer joins again, which asks the broker anew. Test: tests/end_to_end/test_secured_kafka.py, without the
# call.


def join_again(consumer: AIOKafkaConsumer) -> None:
    consumer._coordinator.request_rejoin()  # noqa: SLF001


# A resumed partition waits for the end of a fetch that it is not part of.
#
# Fault: a consumer has one fetch at a time for each broker. A partition that was paused when the fetch began is fetched
# only after it, and it lasts up to `fetch_max_wait_ms` where the other partitions have no records.
# Report: none. Done: while a partition is paused, fetches wait shortly.


def set_fetch_wait(consumer: AIOKafkaConsumer, milliseconds: int) -> None:
    """How long the next fetches wait for records, at most."""
    consumer._fetcher._fetch_max_wait_ms = milliseconds  # noqa: SLF001


# Offsets of several topics cost a pause for each topic.
#
# Fault: a consumer has the metadata of its assigned topics only. A request for offsets adds the first other topic that
# it meets, and is repeated after `retry_backoff_ms`, until it has met all. Report: none.
# Done: all topics are added at once, before the request.


async def add_topics(consumer: AIOKafkaConsumer, topics: Collection[str]) -> None:
    """Fetch the metadata of these topics, which exist, in addition to what the consumer has."""
    client: AIOKafkaClient = consumer._client  # noqa: SLF001
    await client.set_topics(client._topics.union(topics))  # noqa: SLF001


# `send_batch` times out early, queues with a closed producer, and `send` refuses empty records.
#
# Faults: each wait for the partition's queue takes the time since the first wait off its timeout, so that with many
# batches KafkaTimeoutError comes after a second of 40; a batch that waited is queued with a producer that was closed
# meanwhile, and its future is never done; `send` asserts that a record has a key or a value.
# Report: none; #528 "[Producer] Performance drop when 'send' is called from multiple Futures" (open) is about the same
# queue, and PR #814 would replace it.
# Done: the batch is appended to the queue at once. How much is queued is bounded by what is in flight.


def queued_batch(
    producer: AIOKafkaProducer, batch: BatchBuilder, partition: TopicPartition
) -> asyncio.Future[RecordMetadata]:
    """A future of the batch's acknowledgement. The metadata of its topic must be known.

    Cancelling the future leaves the batch queued.

    Raises:
        KafkaError: the producer is closed, or has failed for good.
    """
    accumulator = producer._message_accumulator  # noqa: SLF001
    if accumulator._closed:  # noqa: SLF001
        raise ProducerClosed
    if accumulator._exception is not None:  # noqa: SLF001
        raise copy.copy(accumulator._exception)  # noqa: SLF001
    return asyncio.shield(accumulator._append_batch(batch, partition).future)  # noqa: SLF001


# Closing a client raises CancelledError, or never ends.
#
# Faults: a consumer cancels its own tasks in `stop` and lets their CancelledError out; a producer sends all that is
# queued before it stops, which never ends without a broker.
# Reports: #647 "Stop consumer raises CancelledError" (open); #1101 "`AIOKafkaProducer` appears to hang forever if Kafka
# is down for `send_and_wait` and `stop()`" (open).
# Done: closing has a time limit, and then the connections are closed.

_CLOSE_SECONDS = 5.0


async def close(client: AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient, *, name: str) -> None:
    """Close it, whatever its connections are like. `name`: for the log."""
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await (client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise
    except TimeoutError:
        _log.warning(LogEvent.CLOSE_TIMED_OUT, client=name, timeout_seconds=_CLOSE_SECONDS)
    except KafkaError as error:
        _log.warning(LogEvent.CLOSE_TIMED_OUT, client=name, cause=repr(error))
    else:
        return
    connections: AIOKafkaClient = client.client if isinstance(client, AIOKafkaProducer) else client._client  # noqa: SLF001
    await connections.close()


# The answer to a DescribeGroups request of version 3 is read as one of version 2.
#
# Fault: it lacks the authorized operations, so that the answer cannot be parsed. Report: none.
# Done: a request with the right answer.


class DescribeGroupsRequestV3(DescribeGroupsRequest_v3):  # type: ignore[misc]  # aiokafka is untyped
    RESPONSE_TYPE = DescribeGroupsResponse_v3
