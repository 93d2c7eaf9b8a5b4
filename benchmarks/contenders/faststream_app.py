"""FastStream, as its documentation has it: a subscriber with a pydantic model, acknowledged by hand once all is done.

The handler is that of the plain loop. With one worker it takes one message at a time; with more, partitions are taken
side by side, each in its order, which is the most concurrency that FastStream offers with manual acknowledgement.
"""

import asyncio

import uvloop
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, KafkaMessage

from benchmarks.contenders.environment import Environment, read_environment
from benchmarks.contenders.orm_events import DeploymentEvent
from benchmarks.contenders.orm_handler import OrmHandler
from benchmarks.contenders.orm_log import Place


def application(environment: Environment) -> FastStream:
    broker = KafkaBroker(environment.bootstrap_servers, acks="all", enable_idempotence=True, logger=None)
    handler = OrmHandler(environment.database_url, connections=environment.concurrency)
    topics = {"deployment": environment.deployment_status_topic, "release": environment.release_status_topic}
    subscriber = broker.subscriber(
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
        place = Place(topic=record.topic, partition=record.partition, offset=record.offset)
        records = await handler.handle(event, place)
        await asyncio.gather(
            *(
                broker.publish(record.value, topics[record.about], key=record.key, headers=dict(record.headers))
                for record in records
            )
        )
        await message.ack()

    subscriber(handle, decoder=decode)
    return FastStream(broker, after_shutdown=[handler.close], logger=None)


if __name__ == "__main__":
    uvloop.run(application(read_environment()).run())
