"""When the certificates of a Kafka connection expire: those of its files, and those that brokers present."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from worker.kafka.connection import Connection
from worker.telemetry import LogEvent

_CONNECT_SECONDS = 5.0

_SOON = timedelta(days=30)
"""The default of `doctor --certificates`."""

_PEM_BEGIN, _PEM_END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"

_UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x17, 0x18, 0xA0
"""Tags of DER that lead to the validity of a certificate (RFC 5280, 4.1)."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.kafka")


def of_files(connection: Connection) -> Iterator[tuple[str, datetime]]:
    """The name of each file and the end of the validity of each certificate in it.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file has a certificate that cannot be read.
    """
    if "SSL" not in connection.security_protocol:
        return
    for path in (connection.ssl_cafile, connection.ssl_certfile):
        if path is not None:
            for pem in _certificates(Path(path).read_text("ascii", "replace")):
                yield path, expiry(ssl.PEM_cert_to_DER_cert(pem))


def warn_of_expiry(connection: Connection, *, now: datetime) -> None:
    """Log each certificate of the files that expires soon. Files that cannot be read are reported when a client uses
    them.
    """
    try:
        found = list(of_files(connection))
    except (OSError, ValueError):
        return
    for path, expires_at in found:
        if expires_at - now < _SOON:
            _log.warning(
                LogEvent.CERTIFICATE_EXPIRES,
                file=path,
                expires_at=expires_at.isoformat(),
                advice="replace the certificate; the worker reads the file again by itself",
            )


async def of_servers(connection: Connection) -> list[tuple[str, datetime | str]]:
    """Each bootstrap server with the end of the validity of its certificate, or with the cause why it is not known."""
    if "SSL" not in connection.security_protocol:
        return []
    found: list[tuple[str, datetime | str]] = []
    for server in connection.bootstrap_servers.split(","):
        try:
            found.append((server.strip(), await _of_server(connection, server.strip())))
        except (OSError, ValueError, TimeoutError) as error:
            found.append((server.strip(), str(error) or type(error).__name__))
    return found


async def _of_server(connection: Connection, server: str) -> datetime:
    host, _, port = server.rpartition(":")
    context = connection.current()["ssl_context"]
    async with asyncio.timeout(_CONNECT_SECONDS):
        _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    try:
        presented = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()
        with suppress(OSError):  # the server may have closed the connection that nothing was sent over
            await writer.wait_closed()
    return expiry(presented)


def _certificates(text: str) -> Iterator[str]:
    for part in text.split(_PEM_BEGIN)[1:]:
        body, end, _ = part.partition(_PEM_END)
        if not end:
            raise ValueError("a certificate has no end")
        yield _PEM_BEGIN + body + _PEM_END


def expiry(der: bytes) -> datetime:
    """The end of a certificate's validity. Raises ValueError for other bytes."""
    try:
        _, certificate, _ = _element(der)
        _, fields, _ = _element(certificate)
        tag, _, rest = _element(fields)
        if tag == _VERSION:
            fields = rest
        for _ in range(3):  # serial number, signature, issuer
            _, _, fields = _element(fields)
        _, validity, _ = _element(fields)
        _, _, rest = _element(validity)
        tag, text, _ = _element(rest)
        formats = {_UTC_TIME: "%y%m%d%H%M%SZ", _GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}
        return datetime.strptime(text.decode("ascii"), formats[tag]).replace(tzinfo=UTC)
    except (IndexError, KeyError, ValueError) as error:
        raise ValueError("a certificate cannot be read") from error


def _element(der: bytes) -> tuple[int, bytes, bytes]:
    """The tag and the content of the first element, and what is behind it."""
    tag, length, begin = der[0], der[1], 2
    if length & 0x80:
        begin += length & 0x7F
        length = int.from_bytes(der[2:begin], "big")
    return tag, der[begin : begin + length], der[begin + length :]
