"""Each fault of `worker.kafka.aiokafka_workarounds` in plain aiokafka. A failing test: a workaround may be obsolete."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from inspect import signature
from types import SimpleNamespace
from typing import Any

import aiokafka.errors
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.conn import AIOKafkaConnection, ScramAuthenticator
from aiokafka.consumer.fetcher import READ_COMMITTED, Fetcher, FetchResult, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import (
    CorruptRecordException,
    KafkaConnectionError,
    KafkaTimeoutError,
    ProducerClosed,
    RequestTimedOutError,
    StaleMetadata,
    for_code,
)
from aiokafka.producer import message_accumulator
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator
from aiokafka.protocol.admin import DescribeGroupsRequest_v3, DescribeGroupsResponse_v2, DescribeGroupsResponse_v3
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.metadata import MetadataRequest, MetadataRequest_v1, MetadataRequest_v5
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import OffsetAndMetadata
from cramjam import DecompressionError

from tests.conformance.batches import batch_around, batch_of_zeros, lenient_name_batch
from worker.demo.broker import free_port
from worker.kafka import aiokafka_workarounds as workarounds

PARTITION = TopicPartition("out", 0)
WAIT_SECONDS = 60.0


@pytest.fixture(autouse=True)
def _installed() -> None:
    workarounds.install()


def test_version_of_aiokafka_is_the_one_that_was_read() -> None:
    """After an upgrade: run the other tests, read the changes of aiokafka, then set the version here."""
    assert version("aiokafka") == workarounds.VERSION


def test_upstream_metadata_request_creates_topics() -> None:
    request = MetadataRequest.__new__(MetadataRequest)
    workarounds._init_metadata_request(request, ["x"])
    assert request.build(MetadataRequest_v5).allow_auto_topic_creation is True
    assert MetadataRequest(["x"]).build(MetadataRequest_v5).allow_auto_topic_creation is False
    assert MetadataRequest(None).build(MetadataRequest_v1).topics is None


def test_upstream_client_reads_no_credentials_anew() -> None:
    """Only OAuth tokens have a provider argument, and no argument limits the time of connecting."""
    assert [name for name in signature(AIOKafkaClient).parameters if "ssl" in name or "sasl" in name] == [
        "ssl_context",
        "sasl_mechanism",
        "sasl_plain_username",
        "sasl_plain_password",
        "sasl_kerberos_service_name",
        "sasl_kerberos_domain_name",
        "sasl_oauth_token_provider",
    ]
    assert [name for name in signature(AIOKafkaClient).parameters if "timeout" in name] == ["request_timeout_ms"]


def test_upstream_login_fails_by_an_error_of_no_kafka() -> None:
    authenticator = ScramAuthenticator(
        loop=None, sasl_plain_username="u", sasl_plain_password="p", sasl_mechanism="SCRAM-SHA-256"
    )
    with pytest.raises(ValueError, match="nonce") as caught:
        authenticator.process_server_first_message("r=another,s=c2FsdA==,i=4096")
    assert not isinstance(caught.value, aiokafka.errors.KafkaError)


async def _no_connection(_node_id: object) -> None:
    return None


async def test_upstream_never_bootstraps_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client sends requests to the brokers of its last metadata only, never to the bootstrap servers again."""
    client = AIOKafkaClient(bootstrap_servers=f"127.0.0.1:{free_port()}")
    called: list[str] = []
    monkeypatch.setattr(AIOKafkaClient, "bootstrap", lambda _: called.append("bootstrap"))
    monkeypatch.setattr(client, "_get_conn", _no_connection)
    assert await workarounds._metadata_of_known_brokers(client, client.cluster, set()) is False
    assert called == []
    await client.close()


@pytest.mark.parametrize(
    ("update", "closed"),
    [(workarounds._metadata_of_known_brokers, False), (workarounds._metadata_update, True)],
    ids=["upstream", "here"],
)
async def test_upstream_keeps_a_connection_to_an_old_address(
    update: Callable[[AIOKafkaClient, Any, Any], Awaitable[bool]], *, closed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = AIOKafkaClient(bootstrap_servers="127.0.0.1:1")
    metadata = SimpleNamespace(API_VERSION=0, brokers=[(7, "new", 9092)], topics=[], controller_id=7, cluster_id=None)
    closings: list[object] = []

    async def send(_request: object) -> object:
        return metadata

    old = SimpleNamespace(host="old", port=9092, send=send, close=lambda reason: closings.append(reason))

    async def connection(_node_id: object) -> object:
        return old

    client.cluster.update_metadata(
        SimpleNamespace(API_VERSION=0, brokers=[(7, "old", 9092)], topics=[], controller_id=7, cluster_id=None)
    )
    client._conns[7, 0] = old
    monkeypatch.setattr(client, "_get_conn", connection)
    assert await update(client, client.cluster, set()) is True
    assert client.cluster.broker_metadata(7).host == "new"
    assert bool(closings) == closed
    client._conns.clear()
    await client.close()


@pytest.mark.parametrize(
    ("send", "error"),
    [(workarounds._connection_send, RuntimeError), (workarounds._send_or_close, KafkaConnectionError)],
    ids=["upstream", "here"],
)
async def test_upstream_write_to_a_reset_connection_is_unexpected(
    send: Callable[[AIOKafkaConnection, Any], Any], error: type[Exception]
) -> None:
    """uvloop raises RuntimeError where asyncio raises nothing."""

    def write(_data: object) -> None:
        raise RuntimeError("the handler is closed")

    connection = AIOKafkaConnection("127.0.0.1", 1)
    connection._versions = {3: (0, 5)}
    connection._writer = SimpleNamespace(
        write=write, close=lambda: None, transport=SimpleNamespace(is_closing=lambda: True)
    )
    with pytest.raises(error):
        send(connection, MetadataRequest([]))


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        pytest.param(batch_around(lenient_name_batch(), codec="none", records=3), UnicodeDecodeError, id="header name"),
        pytest.param(batch_around(b"no records", codec="none", records=2), CorruptRecordException, id="content"),
        pytest.param(batch_around(b"no gzip", codec="zstd", records=2), DecompressionError, id="codec"),
    ],
)
def test_upstream_raises_at_a_record_that_it_cannot_read(raw: bytes, error: type[Exception]) -> None:
    """Every further fetch raises again, so the partition would be blocked."""
    with pytest.raises(error):
        list(MemoryRecords(raw).next_batch())


def test_upstream_decompresses_a_batch_whatever_its_length() -> None:
    [record] = MemoryRecords(batch_of_zeros("zstd", records=1, value_bytes=50_000_000)).next_batch()
    assert len(record.value) == 50_000_000


def test_upstream_keeps_fetched_records_that_are_thrown_away() -> None:
    """Until a garbage collection, which may come much later."""

    def kept(is_current: Callable[[FetchResult, TopicPartition], bool]) -> bool:
        raw = MemoryRecords(batch_of_zeros("none", records=2, value_bytes=1))
        records = PartitionRecords(PARTITION, raw, [], 0, None, None, True, READ_COMMITTED)
        assignment = SimpleNamespace(active=True, state_value=lambda _: SimpleNamespace(paused=True))
        fetched = FetchResult(PARTITION, assignment=assignment, partition_records=records, backoff=0.1)
        assert next(records).offset == 0
        reference = weakref.ref(records)
        del records
        assert not is_current(fetched, PARTITION)
        return reference() is not None

    gc.disable()
    try:
        assert kept(workarounds._is_current)
        assert not kept(FetchResult.check_assignment)
    finally:
        gc.enable()


def test_upstream_fetches_a_resumed_partition_after_the_others() -> None:
    """A fetch is in flight that it is not part of. How long that may take is read when a fetch begins."""

    def requests(*in_flight: int) -> list[tuple[int, Any]]:
        state = SimpleNamespace(has_valid_position=True, paused=False, position=0)
        fetcher = SimpleNamespace(
            _client_rack=None,
            _fetch_max_bytes=1,
            _fetch_max_wait_ms=250,
            _fetch_min_bytes=1,
            _fetcher_timeout=1.0,
            _in_flight=set(in_flight),
            _isolation_level=READ_COMMITTED,
            _max_partition_fetch_bytes=1,
            _records={},
            _select_read_replica=lambda _: 1,
        )
        workarounds.set_fetch_wait(SimpleNamespace(_fetcher=fetcher), 20)
        assignment = SimpleNamespace(tps={PARTITION}, state_value=lambda _: state)
        found: list[tuple[int, Any]] = Fetcher._get_actions_per_node(fetcher, assignment)[0]
        return found

    assert requests(1) == []
    [(node_id, request)] = requests()
    assert (node_id, request._max_wait_ms) == (1, 20)


def test_upstream_does_not_know_a_fenced_member() -> None:
    """Its commits and heartbeats name no instance id either."""
    assert not hasattr(aiokafka.errors, "FencedInstanceIdError")
    assert "group_instance_id" not in signature(HeartbeatRequest).parameters
    assert for_code(82) is workarounds.FencedInstanceIdError


class FakeCoordinator(GroupCoordinator):  # type: ignore[misc]  # aiokafka is untyped
    """Its commits, without a broker: `sent` has the generation of each request."""

    def __init__(self, *, generation: int) -> None:
        self.group_id, self.generation, self.member_id, self.coordinator_id = "group", generation, "member", 0
        self._retry_backoff_ms = 0
        self._commit_lock = asyncio.Lock()
        self.sent: list[int] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self.next_generation: int | None = None

    def __del__(self, *_: object) -> None: ...

    async def ensure_coordinator_known(self) -> None: ...

    async def _send_req(self, request: Any) -> Any:
        self.sent.append(request._consumer_group_generation_id)
        await self.answering.wait()
        if self.next_generation is not None:
            self.generation, self.next_generation = self.next_generation, None
            raise RequestTimedOutError
        return SimpleNamespace(topics=[])

    def commit(self) -> Awaitable[None]:
        committing: Awaitable[None] = self.commit_offsets(None, {PARTITION: OffsetAndMetadata(1, "")})
        return committing


async def test_upstream_dropped_member_commits() -> None:
    """Without a generation, which the broker takes for a client that needs no group."""
    coordinator = FakeCoordinator(generation=-1)
    await coordinator.commit()
    assert coordinator.sent == [-1]


async def test_upstream_repeats_a_commit_under_the_next_generation() -> None:
    coordinator = FakeCoordinator(generation=1)
    coordinator.next_generation = 2
    await coordinator.commit()
    assert coordinator.sent == [1, 2]


async def test_upstream_cancelled_commit_is_still_sent() -> None:
    coordinator = FakeCoordinator(generation=1)
    coordinator.answering.clear()
    committing = asyncio.ensure_future(coordinator.commit())
    while not coordinator.sent:
        await asyncio.sleep(0)
    committing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await committing
    [request] = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not request.done()
    coordinator.answering.set()
    await request


async def test_upstream_request_for_offsets_adds_one_topic_a_try() -> None:
    client = AIOKafkaClient()
    fetcher = object.__new__(Fetcher)
    fetcher._client = client
    with pytest.raises(StaleMetadata):
        await fetcher._proc_offset_requests({TopicPartition(topic, 0): -1 for topic in ("one", "two")})
    assert len(client._topics) == 1


def accumulator() -> MessageAccumulator:
    return MessageAccumulator(ClusterMetadata(), 16_384, 0, WAIT_SECONDS)


def a_batch(queue: MessageAccumulator) -> BatchBuilder:
    batch = queue.create_builder()
    batch.append(timestamp=None, key=b"key", value=b"value")
    batch.close()
    return batch


async def test_upstream_batch_is_queued_with_a_closed_producer() -> None:
    queue = accumulator()
    first = await queue.add_batch(a_batch(queue), PARTITION, WAIT_SECONDS)
    waiting = asyncio.ensure_future(queue.add_batch(a_batch(queue), PARTITION, WAIT_SECONDS))
    await asyncio.sleep(0)
    sent = queue._pop_batch(PARTITION)
    queue._closed = True
    second = await waiting  # once fixed, this raises ProducerClosed
    assert not second.done()
    with pytest.raises(ProducerClosed):
        workarounds.queued_batch(SimpleNamespace(_message_accumulator=queue), a_batch(queue), PARTITION)
    sent.done_noack()
    queue._pop_batch(PARTITION).done_noack()
    assert (await first, await second) == (None, None)


async def test_upstream_batch_times_out_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits 10 of 60 seconds: each wait of a second subtracts the total time so far."""
    now_seconds = 0.0

    async def one_second(*, timeout: float) -> None:  # noqa: ASYNC109 - as upstream has it
        nonlocal now_seconds
        now_seconds += 1.0

    queue = accumulator()
    batch = a_batch(queue)
    monkeypatch.setattr(message_accumulator, "time", SimpleNamespace(monotonic=lambda: now_seconds))
    queue._batches[PARTITION] = [SimpleNamespace(wait_drain=one_second)]
    with pytest.raises(KafkaTimeoutError):
        await queue.add_batch(batch, PARTITION, WAIT_SECONDS)
    assert now_seconds < WAIT_SECONDS / 2


async def test_upstream_refuses_a_record_without_key_and_value() -> None:
    producer = AIOKafkaProducer(bootstrap_servers="127.0.0.1:1")
    with pytest.raises(AssertionError, match="key or value"):
        await producer.send("topic")
    await producer.stop()


async def test_upstream_consumer_stop_raises_its_own_cancellation() -> None:
    """`stop` cancels and awaits a fetch that waits for its next attempt, and raises its CancelledError."""
    fetcher = object.__new__(Fetcher)
    fetcher._fetch_task = asyncio.ensure_future(asyncio.Event().wait())
    fetcher._fetch_waiters = set()
    fetcher._pending_tasks = {asyncio.ensure_future(asyncio.Event().wait())}
    await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await fetcher.close()


class Closed:
    """The parts of a consumer that `close` uses, and its connections."""

    def __init__(self, stop: Callable[[], Awaitable[object]]) -> None:
        self.stop = stop
        self._client = self
        self.connections_closed = False

    async def close(self) -> None:
        self.connections_closed = True


async def test_close_does_not_pass_on_a_cancellation_of_aiokafka() -> None:
    async def stop() -> None:
        raise asyncio.CancelledError

    client = Closed(stop)
    await workarounds.close(client, name="consumer")
    assert client.connections_closed


async def test_close_can_be_cancelled() -> None:
    closing = asyncio.ensure_future(workarounds.close(Closed(asyncio.Event().wait), name="consumer"))
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing


async def test_upstream_producer_with_a_queued_batch_does_not_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a broker the batch is never sent; the worker's `close` gives up after a timeout."""
    queue = accumulator()
    await queue.add_batch(a_batch(queue), PARTITION, WAIT_SECONDS)
    stopping = asyncio.ensure_future(queue.close())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not stopping.done()
    stopping.cancel()
    monkeypatch.setattr(workarounds, "_CLOSE_SECONDS", 0.0)
    client = Closed(queue.close)
    await workarounds.close(client, name="producer")
    assert client.connections_closed


def test_upstream_reads_described_groups_as_version_2() -> None:
    assert DescribeGroupsRequest_v3.RESPONSE_TYPE is DescribeGroupsResponse_v2
    assert workarounds.DescribeGroupsRequestV3.RESPONSE_TYPE is DescribeGroupsResponse_v3


async def test_upstream_cancelled_poll_counts_as_under_way() -> None:
    """A consumer that no longer polls is then never detected, so `worker.kafka.consumer_client` cancels no poll."""
    subscription = SubscriptionState()
    with pytest.raises(asyncio.CancelledError), subscription.fetch_context():
        raise asyncio.CancelledError
    assert subscription._fetch_count == 1
