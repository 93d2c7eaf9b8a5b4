"""The broker alone, through the worker's own client library: batches in, the same number of status records out."""

import asyncio
import signal
from typing import Final

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.contenders.echo import HEADERS, VALUE, Echo
from benchmarks.contenders.environment import Environment, read_environment

_POLL_TIMEOUT_MS: Final = 200
_POLL_RECORDS_MAX: Final = 500


async def main(environment: Environment) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    consumer = AIOKafkaConsumer(
        environment.input_topic,
        bootstrap_servers=environment.bootstrap_servers,
        group_id=environment.group_id,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=environment.bootstrap_servers, acks="all", enable_idempotence=True, linger_ms=0
    )
    echo = Echo(environment)
    async with producer, consumer:
        while not stop.is_set():
            batches = await consumer.getmany(timeout_ms=_POLL_TIMEOUT_MS, max_records=_POLL_RECORDS_MAX)
            sent = [
                await producer.send(topic, VALUE, key=record.key, headers=HEADERS)
                for batch in batches.values()
                for record in batch
                for topic in echo.topics()
            ]
            if batches:
                await asyncio.gather(*sent)
                places = {
                    TopicPartition(*partition): batch[-1].offset + 1 for partition, batch in batches.items() if batch
                }
                await consumer.commit(places)


if __name__ == "__main__":
    uvloop.run(main(read_environment()))
