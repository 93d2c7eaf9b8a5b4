"""Each test of an upstream trait fails once aiokafka has mended it: then the worker's own part for it can go."""

from inspect import signature

import aiokafka.errors
import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import for_code
from aiokafka.protocol.group import HeartbeatRequest

from worker.demo.broker import free_port
from worker.kafka import aiokafka_client, membership


async def test_aiokafka_never_bootstraps_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks the brokers of its last metadata, whatever the bootstrap servers would say."""
    client = AIOKafkaClient(bootstrap_servers=f"127.0.0.1:{free_port()}")
    asked: list[str] = []
    monkeypatch.setattr(AIOKafkaClient, "bootstrap", lambda _: asked.append("bootstrap"))
    monkeypatch.setattr(client, "_get_conn", _nobody)
    assert await aiokafka_client._metadata_of_known_brokers(client, client.cluster, set()) is False
    assert asked == []
    await client.close()


async def _nobody(_node_id: object) -> None:
    return None


def test_aiokafka_does_not_know_a_fenced_member() -> None:
    """Its commits and heartbeats name no instance id either."""
    assert not hasattr(aiokafka.errors, "FencedInstanceIdError")
    assert "group_instance_id" not in signature(HeartbeatRequest).parameters
    membership.install()
    assert for_code(82) is membership.FencedInstanceIdError
