"""Fails once aiokafka no longer lets brokers create what is asked for: `worker.kafka.topic_creation` can then go."""

from aiokafka.protocol.metadata import MetadataRequest, MetadataRequest_v1, MetadataRequest_v5

from worker.kafka import topic_creation
from worker.kafka.connection import Connection


def test_client_arguments_forbid_topic_creation() -> None:
    """Every client gets its arguments there, and makes its requests as this test does."""
    Connection(bootstrap_servers="127.0.0.1:1", client_id="test").arguments()
    assert MetadataRequest(["x"]).build(MetadataRequest_v5).allow_auto_topic_creation is False
    assert MetadataRequest(None).build(MetadataRequest_v1).topics is None


def test_aiokafka_allows_topic_creation_by_default() -> None:
    request = MetadataRequest.__new__(MetadataRequest)
    topic_creation._original(request, ["x"])
    assert request.build(MetadataRequest_v5).allow_auto_topic_creation is True
