"""What aiokafka's client, on which its consumer, producer and admin client are built, does not do by itself.

It offers no seam for any of this, so that names in its module are replaced.

- It logs in for ever with the password and the certificate that it was made with.
- It knows only the brokers of its last metadata: when none of these listens any more, it never asks the bootstrap
  servers again (Kafka's own client does since KIP-899 and KIP-1102).
- It keeps a connection to a broker's earlier address until a request on it times out, and has that long to connect.
  A host that accepts connections and does not answer, or drops packets, takes two such timeouts.
"""

import asyncio
from typing import Any, Protocol

import aiokafka.client
import structlog
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import CloseReason, create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from worker.kafka.refusals import is_login_refused
from worker.telemetry import LogEvent

_KNOWN_BROKERS_SECONDS = 10.0
"""How long the known brokers have for an answer before the bootstrap servers are asked as well."""

_BOOTSTRAP_SECONDS = 5.0
"""How long one bootstrap server has."""

_CONNECT_SECONDS = 10.0
"""How long one connection may take, TLS and login included; Kafka's own client has as long. A client makes one
connection at a time."""

_UNANSWERED_SECONDS = 10.0
"""After how long without an answer to a request the metadata is fetched anew, again and again. Also a fetch of records
is answered within half a second; only the answer to a join of the group may take longer than this."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.kafka")
_metadata_of_known_brokers = AIOKafkaClient._metadata_update  # noqa: SLF001
_send = AIOKafkaClient.send


class Credentials(Protocol):
    """What a connection needs, asked for anew for each. aiokafka hands the `ssl_context` of a client to each of its
    connections without a look, which is how this one gets there.
    """

    def current(self) -> dict[str, Any]:
        """The arguments `ssl_context` and `sasl_plain_password`. Raises OSError, ValueError: they cannot be read."""
        ...

    def refused(self, error: BaseException) -> None:
        """A broker, or the reading of a file, refused them."""
        ...

    def accepted(self) -> None: ...

    def failed(self, server: str, error: Exception) -> None:
        """No connection to `host:port`, for whatever reason."""
        ...


def install() -> None:
    """For every client of this process."""
    aiokafka.client.create_conn = _connect
    AIOKafkaClient._metadata_update = _metadata_update  # noqa: SLF001
    AIOKafkaClient.send = _send_and_look


async def _connect(host: str, port: int, *, ssl_context: Any = None, **arguments: Any) -> Any:
    if not hasattr(ssl_context, "current"):
        return await create_conn(host, port, ssl_context=ssl_context, **arguments)
    credentials: Credentials = ssl_context
    try:
        arguments |= credentials.current()
    except (OSError, ValueError) as error:
        credentials.refused(error)
        raise KafkaConnectionError(f"Connection at {host}:{port} is not tried: {error}") from error
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            connection = await create_conn(host, port, **arguments)
    except Exception as error:
        credentials.failed(f"{host}:{port}", error)
        if is_login_refused(error):
            credentials.refused(error)
        if isinstance(error, AssertionError | ValueError) and not isinstance(error, OSError):
            # Its SASL dialogues check in this way what a server answers.
            raise KafkaConnectionError(f"Connection at {host}:{port} failed: {error!r}") from error
        raise
    credentials.accepted()
    return connection


async def _send_and_look(self: AIOKafkaClient, node_id: Any, request: Any, **arguments: Any) -> Any:
    """Sends a request. While it has no answer, the metadata is fetched: the broker may have another address by now."""
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def fetch_metadata() -> None:
        nonlocal timer
        self.force_metadata_update()
        timer = loop.call_later(_UNANSWERED_SECONDS, fetch_metadata)

    timer = loop.call_later(_UNANSWERED_SECONDS, fetch_metadata)
    try:
        return await _send(self, node_id, request, **arguments)
    finally:
        timer.cancel()


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


def _close_old_addresses(client: AIOKafkaClient) -> None:
    """Requests on these connections fail at once, and are sent again to the new address."""
    for (node_id, _), connection in list(client._conns.items()):  # noqa: SLF001
        broker = client.cluster.broker_metadata(node_id)
        if broker is not None and (broker.host, broker.port) != (connection.host, connection.port):
            connection.close(reason=CloseReason.OUT_OF_SYNC)


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
