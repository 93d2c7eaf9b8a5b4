"""The producer, on every broker: acknowledged records are in their topic in order; others can be retried."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest
from confluent_kafka import Message
from structlog.testing import capture_logs

from tests.conformance.deadlines import until
from tests.conformance.members import connection
from tests.conformance.producers import headers_of, read_all
from tests.testkit.apache_kafka import ApacheKafka
from tests.testkit.clients import HEADERS
from tests.testkit.topics import MakeTopic
from worker.demo.broker import free_port
from worker.kafka.connection import Connection
from worker.kafka.publisher import KafkaPublisher
from worker.kafka.topic_check import KafkaTopicCheck
from worker.ports import OutgoingRecord
from worker.rules.errors import RecordRefused, Unavailable
from worker.telemetry import LogEvent

SHORT_SECONDS = 2.0
RECORDS_AT_ONCE = 400


@pytest.fixture
async def publisher(bootstrap_servers: str) -> AsyncIterator[KafkaPublisher]:
    publisher = KafkaPublisher(connection(bootstrap_servers))
    await publisher.start()
    try:
        yield publisher
    finally:
        await publisher.stop()


@pytest.fixture
async def impatient(bootstrap_servers: str) -> AsyncIterator[KafkaPublisher]:
    """A publisher with a short request timeout."""
    publisher = KafkaPublisher(connection(bootstrap_servers, request_timeout_seconds=SHORT_SECONDS))
    await publisher.start()
    try:
        yield publisher
    finally:
        await publisher.stop()


def numbered(topic: str, numbers: range) -> list[OutgoingRecord]:
    return [OutgoingRecord(topic=topic, key=b"key", value=b"%d" % n, headers=()) for n in numbers]


async def warm_up(publisher: KafkaPublisher, topic: str, produced: list[object]) -> None:
    """The leader of a new topic may refuse the first requests: they are repeated."""
    await publisher.publish(numbered(topic, range(1)))
    produced.clear()


def values(messages: list[Message]) -> list[int]:
    return [int(message.value() or b"-1") for message in messages]


async def held(bootstrap_servers: str, topic: str) -> list[Message]:
    return await asyncio.to_thread(read_all, bootstrap_servers, topic)


async def test_published_record_is_unchanged(
    publisher: KafkaPublisher, bootstrap_servers: str, topics: MakeTopic
) -> None:
    """Key, value and headers, repeated names and null values among them; a tombstone is one."""
    topic = await topics()
    whole = OutgoingRecord(topic=topic, key=b"\xffkey", value=b"\x00value", headers=tuple(HEADERS))
    await publisher.publish([whole, OutgoingRecord(topic=topic, key=None, value=None, headers=())])
    first, tombstone = await held(bootstrap_servers, topic)
    assert (first.key(), first.value(), headers_of(first)) == (b"\xffkey", b"\x00value", tuple(HEADERS))
    assert (tombstone.key(), tombstone.value(), headers_of(tombstone)) == (None, None, ())


async def test_acknowledged_record_has_its_offset(publisher: KafkaPublisher, topics: MakeTopic) -> None:
    topic = await topics()
    [outgoing_record] = numbered(topic, range(1))
    assert [await publisher.produce(outgoing_record) for _ in range(3)] == [(0, 0), (0, 1), (0, 2)]


async def test_record_goes_to_its_partition_unchanged(
    bootstrap_servers: str, publisher: KafkaPublisher, topics: MakeTopic
) -> None:
    """Whatever the key says; null is not empty, and headers keep their order and repetitions."""
    topic = await topics(partitions=3)
    headers = (("x", None), ("y", b""), ("x", b"2"), ("x", None))
    contents = [(key, value) for key in (None, b"", b"key") for value in (b"", b"value", None)]
    positions = [
        await publisher.produce(OutgoingRecord(topic=topic, key=key, value=value, headers=headers, partition=2))
        for key, value in contents
    ]
    assert positions == [(2, number) for number in range(len(contents))]
    found = await held(bootstrap_servers, topic)
    assert [(one.partition(), one.key(), one.value()) for one in found] == [(2, *content) for content in contents]
    assert {headers_of(one) for one in found} == {headers}


async def test_running_broker_answers_the_probe(publisher: KafkaPublisher) -> None:
    await publisher.ping()
    await publisher.stop()
    with pytest.raises(Unavailable):
        await publisher.ping()


async def test_empty_publication_returns_at_once(publisher: KafkaPublisher) -> None:
    await publisher.publish([])


async def test_order_within_each_topic_is_kept(
    publisher: KafkaPublisher, bootstrap_servers: str, topics: MakeTopic
) -> None:
    """The batches are sent concurrently."""
    names = [await topics(name_hint=f"out{number}") for number in range(3)]
    mixed = [
        outgoing_record for n in range(20) for name in names for outgoing_record in numbered(name, range(n, n + 1))
    ]
    await publisher.publish(mixed)
    for name in names:
        assert values(await held(bootstrap_servers, name)) == list(range(20))


@pytest.fixture
def produced(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The requests to produce, as they are sent."""
    sent: list[object] = []
    send = AIOKafkaClient.send

    async def counted(self: AIOKafkaClient, node_id: object, request: object, **options: object) -> object:
        if isinstance(request, ProduceRequest):
            sent.append(request)
        return await send(self, node_id, request, **options)

    monkeypatch.setattr(AIOKafkaClient, "send", counted)
    return sent


async def test_small_records_of_one_topic_share_a_request(
    publisher: KafkaPublisher, bootstrap_servers: str, topics: MakeTopic, produced: list[object]
) -> None:
    """The status events of a hot release would else wait for each other's acknowledgements."""
    topic = await topics()
    publisher.limits = {topic: 1_048_588}
    await warm_up(publisher, topic, produced)
    await publisher.publish(numbered(topic, range(1, 65)))
    assert len(produced) == 1
    assert values(await held(bootstrap_servers, topic)) == list(range(65))


@pytest.mark.parametrize("limit", [None, 100_000])
async def test_record_that_may_be_refused_is_awaited_alone(
    publisher: KafkaPublisher, topics: MakeTopic, produced: list[object], limit: int | None
) -> None:
    """Else the next one could be written in its place: the topic's limit is unknown, or less than a batch may have."""
    topic = await topics()
    publisher.limits = {} if limit is None else {topic: limit}
    await warm_up(publisher, topic, produced)
    await publisher.publish(numbered(topic, range(1, 6)))
    assert len(produced) == 5


async def test_records_of_a_lowered_limit_are_sent_singly(
    publisher: KafkaPublisher, bootstrap_servers: str, topics: MakeTopic
) -> None:
    """The limit was looked up before it was lowered, so that the records went out together."""
    topic = await topics(configs={"max.message.bytes": "1500"})
    publisher.limits = {topic: 1_048_588}
    contents = [os.urandom(600) for _ in range(8)]
    await publisher.publish([with_shorter_forms(topic, content, b"-1") for content in contents])
    assert [message.value() for message in await held(bootstrap_servers, topic)] == contents


async def test_many_messages_are_published_concurrently(
    publisher: KafkaPublisher, bootstrap_servers: str, topics: MakeTopic
) -> None:
    """Each batch keeps its order, as the batches of many releases do."""
    topic = await topics()
    await asyncio.gather(*(publisher.publish(numbered(topic, range(start, start + 5))) for start in range(0, 100, 5)))
    found = values(await held(bootstrap_servers, topic))
    for start in range(0, 100, 5):
        assert [value for value in found if start <= value < start + 5] == list(range(start, start + 5))
    assert len(found) == 100


@pytest.mark.parametrize("bootstrap_servers", ["apache"], indirect=True)  # the embedded broker creates unknown topics
async def test_many_empty_records_are_published_concurrently(
    publisher: KafkaPublisher, bootstrap_servers: str, topics: MakeTopic
) -> None:
    """Each record is a batch of its own, as dead letters of unreadable records are. Every publication ends."""
    topic = await topics()
    headers = [(("n", b"%d" % number),) for number in range(RECORDS_AT_ONCE)]
    with capture_logs() as logs:
        async with asyncio.TaskGroup() as group:
            for one in headers:
                empty = OutgoingRecord(topic=topic, key=None, value=None, headers=one)
                group.create_task(publisher.publish([empty]))
    assert logs == []
    received = await held(bootstrap_servers, topic)
    assert sorted(tuple(headers_of(message)) for message in received) == sorted(headers)


async def test_unknown_topic_is_unavailable(
    impatient: KafkaPublisher, bootstrap_servers: str, topics: MakeTopic
) -> None:
    """An operator may still create the topic; records of other topics are published meanwhile."""
    known = await topics()
    unknown = OutgoingRecord(topic=f"never-created.{known}", key=None, value=b"1", headers=())
    with pytest.raises(Unavailable, match="never-created"):
        async with asyncio.timeout(60):
            await impatient.publish([*numbered(known, range(1)), unknown])
    await impatient.publish(numbered(known, range(1, 2)))
    assert values(await held(bootstrap_servers, known)) == [0, 1]


async def test_record_too_large_for_its_topic_blocks_no_other(
    publisher: KafkaPublisher, bootstrap_servers: str, topics: MakeTopic
) -> None:
    """The operator can raise the topic's limit; the producer works on in the meantime."""
    topic = await topics(configs={"max.message.bytes": "1000"})
    large = OutgoingRecord(topic=topic, key=b"key", value=os.urandom(5_000), headers=())
    for number in range(3):
        with pytest.raises(Unavailable, match=topic):
            await publisher.publish([large])
        await publisher.publish(numbered(topic, range(number, number + 1)))
    assert values(await held(bootstrap_servers, topic)) == [0, 1, 2]


def with_shorter_forms(topic: str, *values: bytes) -> OutgoingRecord:
    first, *others = values
    shorter = None
    if others:

        def shorter() -> OutgoingRecord:
            return with_shorter_forms(topic, *others)

    return OutgoingRecord(topic=topic, key=b"key", value=first, headers=(), shorter=shorter)


@pytest.mark.parametrize("known", [False, True], ids=["the limit is unknown", "the limit is known"])
async def test_record_too_large_for_its_topic_is_sent_shorter(
    publisher: KafkaPublisher, bootstrap_servers: str, topics: MakeTopic, known: bool
) -> None:
    """The longest that the broker takes; the records behind it follow. The log has its size, and the limit."""
    topic = await topics(configs={"max.message.bytes": "1000"})
    if known:
        publisher.limits = {topic: 1000}
    forms = with_shorter_forms(topic, os.urandom(50_000), os.urandom(2_000), b"-1", b"-2")
    with capture_logs() as logs:
        await publisher.publish([*numbered(topic, range(1)), forms, *numbered(topic, range(1, 3))])
    assert values(await held(bootstrap_servers, topic)) == [0, -1, 1, 2]
    sent = [log for log in logs if log["event"] == LogEvent.RECORD_SHORTENED]
    assert [log["topic"] for log in sent] == [topic, topic]
    assert sent[0]["size_bytes"] > 50_000
    assert [log["limit_bytes"] for log in sent] == [1000 if known else None] * 2
    replaced = [log for log in logs if log["event"] == LogEvent.PRODUCER_REPLACED]
    assert not (known and replaced), "the broker was asked although its answer was known"


async def test_produced_record_too_large_is_refused(publisher: KafkaPublisher, topics: MakeTopic) -> None:
    """For good: it is not written, and the next record is."""
    topic = await topics(configs={"max.message.bytes": "2000"})
    with pytest.raises(RecordRefused, match="too large"):
        await publisher.produce(OutgoingRecord(topic=topic, key=b"k", value=os.urandom(9_000), headers=()))
    assert await publisher.produce(OutgoingRecord(topic=topic, key=b"k", value=b"small", headers=())) == (0, 0)


async def test_unshortenable_record_reports_size_and_limit(publisher: KafkaPublisher, topics: MakeTopic) -> None:
    """The error has the figures that an operator needs to raise the limit."""
    topic = await topics(configs={"max.message.bytes": "1000"})
    publisher.limits = {topic: 1000}
    with pytest.raises(Unavailable, match=r"a record of 5\d\d\d bytes.*max.message.bytes is 1000: raise it"):
        await publisher.publish([with_shorter_forms(topic, os.urandom(5_000))])


async def test_small_records_too_large_together_are_sent_singly(
    publisher: KafkaPublisher, bootstrap_servers: str, topics: MakeTopic
) -> None:
    """aiokafka sends them in one batch, which the broker measures as a whole; none of them is sent shorter."""
    topic = await topics(configs={"max.message.bytes": "1500"})
    contents = [os.urandom(600) for _ in range(8)]
    together = (publisher.publish([with_shorter_forms(topic, content, b"-1")]) for content in contents)
    await asyncio.gather(*together)
    assert sorted(message.value() or b"" for message in await held(bootstrap_servers, topic)) == sorted(contents)


async def test_record_beyond_the_clients_limit_is_sent_shorter(
    publisher: KafkaPublisher, bootstrap_servers: str, topics: MakeTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client shortens it first: the broker would close the connection without a response."""
    topic = await topics()
    producer = publisher._producer
    monkeypatch.setattr(producer, "_max_request_size", 100_000)
    await publisher.publish([with_shorter_forms(topic, bytes(200_000), b"-1")])
    assert values(await held(bootstrap_servers, topic)) == [-1]
    assert publisher._producer is producer, "a refusal before sending leaves no gap in the sequence numbers"


async def test_large_record_delays_no_other_topic(
    publisher: KafkaPublisher, bootstrap_servers: str, topics: MakeTopic
) -> None:
    """One topic's failure is reported, the other's records are published all the same."""
    narrow = await topics(configs={"max.message.bytes": "1000"})
    wide = await topics()
    large = OutgoingRecord(topic=narrow, key=b"key", value=os.urandom(5_000), headers=())
    with pytest.raises(Unavailable, match=narrow):
        await publisher.publish([large, *numbered(wide, range(5))])
    assert values(await held(bootstrap_servers, wide)) == [0, 1, 2, 3, 4]


async def test_ten_megabytes_pass_where_the_topic_allows_them(
    publisher: KafkaPublisher, bootstrap_servers: str, topics: MakeTopic
) -> None:
    """A dead letter is as large as the record that came in."""
    topic = await topics(configs={"max.message.bytes": str(12 * 1024 * 1024)})
    value = os.urandom(10 * 1024 * 1024)
    await publisher.publish([OutgoingRecord(topic=topic, key=b"key", value=value, headers=())])
    [message] = await held(bootstrap_servers, topic)
    assert message.value() == value


async def test_unresponsive_broker_at_the_start_is_unavailable() -> None:
    """The start fails with an error that the caller may retry."""
    publisher = KafkaPublisher(connection(f"127.0.0.1:{free_port()}", request_timeout_seconds=SHORT_SECONDS))
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"does not answer: 127\.0\.0\.1:\d+: .*(?:refused|Connect call failed)"):
            await publisher.start()
    await publisher.stop()


@pytest.mark.parametrize("security_protocol", ["SSL", "PLAINTEXT"])
async def test_port_of_another_protocol_is_named(security_protocol: str) -> None:
    """A broker closes the connection of a client that begins in another way; the line names the setting."""
    async with await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0) as server:
        at = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        publisher = KafkaPublisher(
            Connection(
                bootstrap_servers=at,
                client_id="tests",
                security_protocol=security_protocol,
                request_timeout_seconds=SHORT_SECONDS,
            )
        )
        with pytest.raises(Unavailable, match=f"{at} does not answer: .*PROTOCOL={security_protocol}"):
            await publisher.start()


async def test_output_topic_with_a_tiny_limit_is_a_problem(publisher: KafkaPublisher, topics: MakeTopic) -> None:
    """Everything that goes there would be refused and attempted for ever: /readyz and the log name the topic."""
    input_topic, usable = await topics(), await topics(configs={"max.message.bytes": "1024"})
    narrow, letters = [await topics(configs={"max.message.bytes": "1023"}) for _ in range(2)]
    found = await KafkaTopicCheck(
        publisher,
        inputs=[input_topic],
        outputs={"RUDDER_A_TOPIC": usable, "RUDDER_B_TOPIC": narrow, "RUDDER_C_TOPIC": letters},
        dead_letters=letters,
    ).check()
    problem = "has max.message.bytes=1023, and no record of the worker fits: set it to 16384 or more"
    assert found.outputs == (
        f"topic {narrow} (RUDDER_B_TOPIC) {problem}",
        f"topic {letters} (RUDDER_C_TOPIC) {problem}",
    )
    assert [line for line in found.advice if narrow in line or letters in line] == []


async def test_topic_with_the_wrong_cleanup_policy_is_a_warning(publisher: KafkaPublisher, topics: MakeTopic) -> None:
    """Compaction deletes events; without it states are deleted by time."""
    compacted = {"cleanup.policy": "compact"}
    good, wrong = await topics(configs=compacted), await topics()
    events = await topics(configs=compacted)
    for states, warned in ((good, {events}), (wrong, {events, wrong})):
        found = await KafkaTopicCheck(
            publisher,
            inputs=[events],
            outputs={"RUDDER_DEPLOYMENT_STATE_TOPIC": states},
            dead_letters="none",
            states=states,
        ).check()
        assert len(found.warnings) == len(warned)
        assert all(any(topic in line for line in found.warnings) for topic in warned)
    assert found.warnings[1] == (
        f"cleanup.policy of topic {wrong} (RUDDER_DEPLOYMENT_STATE_TOPIC) is delete: states that do not change are "
        "deleted after the retention time; set it to compact, then run rudder-worker state publish"
    )


async def test_publisher_that_is_not_started_is_unavailable() -> None:
    """The publisher is in this state while its producer is replaced."""
    with pytest.raises(Unavailable):
        await KafkaPublisher(connection("127.0.0.1:1")).publish(numbered("topic", range(1)))


@pytest.mark.parametrize("bootstrap_servers", ["apache"], indirect=True)
async def test_broker_crash_loses_and_repeats_no_record(
    publisher: KafkaPublisher, bootstrap_servers: str, apache_kafka: ApacheKafka, topics: MakeTopic
) -> None:
    """A broker killed during a publication and restarted has all records, in order and once each."""
    topic = await topics()
    restarted = asyncio.Event()

    async def publish_until_restarted() -> int:
        count = 0
        while not restarted.is_set():  # however fast the machine is, the broker is killed during a publication
            try:
                await publisher.publish(numbered(topic, range(count, count + 1)))
            except Unavailable:  # as the worker does: what is not acknowledged is published again
                continue
            count += 1
        return count

    publishing = asyncio.create_task(publish_until_restarted())

    async def under_way() -> bool:
        return len(await held(bootstrap_servers, topic)) >= 20

    await until(under_way, what="the first records are there")
    await asyncio.to_thread(apache_kafka.kill)
    await asyncio.to_thread(apache_kafka.start)
    restarted.set()
    async with asyncio.timeout(120):
        count = await publishing
    found = values(await held(bootstrap_servers, topic))
    assert list(dict.fromkeys(found)) == list(range(count))


@pytest.mark.parametrize("bootstrap_servers", ["apache"], indirect=True)
async def test_stop_does_not_wait_for_a_lost_broker(
    bootstrap_servers: str, apache_kafka: ApacheKafka, topics: MakeTopic
) -> None:
    """aiokafka sends what is queued first, for as long as it takes; an orchestrator would kill the worker."""
    topic = await topics()
    publisher = KafkaPublisher(connection(bootstrap_servers))
    await publisher.start()
    await publisher.publish(numbered(topic, range(1)))
    await asyncio.to_thread(apache_kafka.kill)
    try:
        publishing = asyncio.ensure_future(publisher.publish(numbered(topic, range(1, 2))))
        async with asyncio.timeout(60):
            await publisher.stop()
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
    finally:
        await asyncio.to_thread(apache_kafka.ensure_running)
