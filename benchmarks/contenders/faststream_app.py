"""FastStream, as its documentation has it: a subscriber with a pydantic model, acknowledged by hand once all is done.

The handler is that of the plain loop. Each way that FastStream offers competes, and the best counts:

- One worker: one message at a time, acknowledged (an offset commit, a round trip to the broker) one by one.
- `max_workers=16`: a consumer for each of the 16 partitions, each in its order. More workers than partitions are idle,
  and with manual acknowledgement there is no other concurrency: `AckPolicy.ACK_FIRST` would lose events.
- `batches`: `batch=True` hands out what a poll has fetched, up to 500 records as Kafka's own client does by default;
  releases run side by side, each message with a transaction of its own, and one commit acknowledges all of them.

Everywhere: uvloop; no logging of each message (`logger=None`); an idempotent producer without a linger, as every record
is awaited; as many connections as messages at the same time.
"""

import asyncio
import sys
from collections import defaultdict
from typing import Final
from uuid import UUID

import uvloop
from aiokafka import ConsumerRecord
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, KafkaMessage

from benchmarks.contenders.environment import Environment, read_environment
from benchmarks.contenders.orm_events import DeploymentEvent
from benchmarks.contenders.orm_handler import OrmHandler
from benchmarks.contenders.orm_log import Place

_BATCH_RECORDS_MAX: Final = 500

Handled = tuple[DeploymentEvent, "ConsumerRecord[bytes, bytes]"]


class Application:
    """The broker, and what is done for one event."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.broker = KafkaBroker(environment.bootstrap_servers, acks="all", enable_idempotence=True, logger=None)
        self.handler = OrmHandler(environment.database_url, connections=environment.concurrency)
        self._topics = {
            "deployment": environment.deployment_status_topic,
            "release": environment.release_status_topic,
        }

    def app(self) -> FastStream:
        return FastStream(self.broker, after_shutdown=[self.handler.close], logger=None)

    async def take(self, event: DeploymentEvent, record: "ConsumerRecord[bytes, bytes]") -> None:
        """One transaction, then its status events, acknowledged."""
        place = Place(topic=record.topic, partition=record.partition, offset=record.offset)
        records = await self.handler.handle(event, place)
        await asyncio.gather(
            *(
                self.broker.publish(each.value, self._topics[each.about], key=each.key, headers=dict(each.headers))
                for each in records
            )
        )


def one_by_one(environment: Environment) -> FastStream:
    application = Application(environment)
    subscriber = application.broker.subscriber(
        environment.input_topic,
        group_id=environment.group_id,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.MANUAL,
        max_workers=environment.concurrency,
    )

    async def decode(message: KafkaMessage) -> DeploymentEvent:
        return DeploymentEvent.model_validate_json(message.body)

    async def handle(event: DeploymentEvent, message: KafkaMessage) -> None:
        record = message.raw_message
        if isinstance(record, tuple):
            raise TypeError("a batch, though none was asked for")
        await application.take(event, record)
        await message.ack()

    subscriber(handle, decoder=decode)
    return application.app()


def batches(environment: Environment) -> FastStream:
    application = Application(environment)
    slots = asyncio.Semaphore(environment.concurrency)
    subscriber = application.broker.subscriber(
        environment.input_topic,
        group_id=environment.group_id,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.MANUAL,
        batch=True,
        max_records=_BATCH_RECORDS_MAX,
    )

    async def decode(message: KafkaMessage) -> list[DeploymentEvent]:
        return [DeploymentEvent.model_validate_json(value) for value in message.body]

    async def in_order(handled: list[Handled]) -> None:
        for event, record in handled:
            async with slots:
                await application.take(event, record)

    async def handle(events: list[DeploymentEvent], message: KafkaMessage) -> None:
        records = message.raw_message
        if not isinstance(records, tuple):
            raise TypeError("one record, though a batch was asked for")
        by_release: defaultdict[UUID, list[Handled]] = defaultdict(list)
        for event, record in zip(events, records, strict=True):
            by_release[event.data.release_id].append((event, record))
        async with asyncio.TaskGroup() as group:
            for handled in by_release.values():
                group.create_task(in_order(handled))
        await message.ack()

    subscriber(handle, decoder=decode)
    return application.app()


if __name__ == "__main__":
    application = batches if "batches" in sys.argv[1:] else one_by_one
    uvloop.run(application(read_environment()).run())
