"""Follows what runs where: the current deployment of each environment, and the status of each deployment."""

import asyncio
import json
import os

from aiokafka import AIOKafkaConsumer, ConsumerRecord

STATES = os.environ.get("STATE_TOPIC", "rudder.deployment-state")
CHANGES = os.environ.get("STATUS_TOPICS", "rudder.deployment-status").split(",")
STATE, CHANGE = b"dev.rudder.deployment.state.v1", b"dev.rudder.deployment.status_changed.v1"
versions: dict[str, int] = {}  # by environment and by deployment


def take(record: ConsumerRecord) -> None:
    kind = dict(record.headers).get("ce_type")
    if record.topic == STATES and record.value is None:  # a tombstone: the release was deleted
        if versions.pop(name := f"environment {record.key.decode()}", None) is not None:
            print(json.dumps({"name": name, "status": None}), flush=True)
    elif kind in (STATE, CHANGE):  # not dead letters and events of releases, where one topic has all
        data = json.loads(record.value)
        names = [f"deployment {data['deployment_id']}"]
        if kind == STATE:
            names.append(f"environment {record.key.decode()}")
        for name in names:
            version = data["release_version"] or 0
            if version > versions.get(name, -1):  # else it repeats, or is older than what is known
                versions[name] = version
                change = {"name": name, "deployment": data["deployment_id"], "status": data["status"]}
                print(json.dumps({**change, "version": version}), flush=True)


async def main() -> None:
    servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092")
    # Without a group it reads every partition from the beginning: the state topic first, then the others.
    consumer = AIOKafkaConsumer(STATES, bootstrap_servers=servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        for partition, end in (await consumer.end_offsets(consumer.assignment())).items():
            while await consumer.position(partition) < end:
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    for record in records:
                        take(record)
        consumer.subscribe([STATES, *CHANGES])
        async for record in consumer:
            take(record)
    finally:
        await consumer.stop()


asyncio.run(main())
