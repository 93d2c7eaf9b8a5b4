"""When certificates expire, read from their bytes and compared with OpenSSL's reading."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from worker.kafka.certificates import expiry, of_files, warn_of_expiry
from worker.kafka.connection import Connection
from worker.telemetry import LogEvent

NOW = datetime.now(UTC)


def certificate(folder: Path, name: str, *, days: int) -> Path:
    path = folder / f"{name}.pem"
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(folder / "key.pem"))
    openssl("req", "-x509", *key, "-subj", f"/CN={name}", "-days", str(days), "-out", str(path))
    return path


def openssl(*arguments: str) -> str:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True).stdout


def by_openssl(path: Path) -> datetime:
    text = openssl("x509", "-in", str(path), "-noout", "-enddate").strip().removeprefix("notAfter=")
    return datetime.strptime(text, "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)


def connection(cafile: Path, certfile: Path | None = None, protocol: str = "SSL") -> Connection:
    return Connection(
        bootstrap_servers="127.0.0.1:1",
        client_id="test",
        security_protocol=protocol,
        ssl_cafile=str(cafile),
        ssl_certfile=None if certfile is None else str(certfile),
    )


@pytest.mark.parametrize("days", [20, 20_000])
def test_end_of_validity_is_that_of_openssl(tmp_path: Path, days: int) -> None:
    """In both of the forms in which certificates write a time: up to 2049, and after it."""
    path = certificate(tmp_path, "one", days=days)
    assert list(of_files(connection(path))) == [(str(path), by_openssl(path))]


def test_every_certificate_of_a_file_is_read(tmp_path: Path) -> None:
    paths = [certificate(tmp_path, name, days=days) for name, days in (("one", 5), ("other", 400))]
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("a comment\n" + "".join(path.read_text() for path in paths))
    found = list(of_files(connection(bundle, paths[0])))
    assert [expires_at for _, expires_at in found] == [*map(by_openssl, paths), by_openssl(paths[0])]
    assert list(of_files(connection(bundle, protocol="PLAINTEXT"))) == []


@pytest.mark.parametrize("der", [b"", b"\x30", b"\x30\x03abc", b"\x30\x82\xff\xff\x30\x00", bytes(200)])
def test_bytes_that_are_no_certificate_are_an_error(der: bytes) -> None:
    with pytest.raises(ValueError, match="certificate cannot be read"):
        expiry(der)


def test_worker_logs_certificates_that_expire_soon(tmp_path: Path) -> None:
    """A file that is missing is reported by the client that needs it."""
    soon, later = certificate(tmp_path, "soon", days=20), certificate(tmp_path, "later", days=400)
    with capture_logs() as logs:
        warn_of_expiry(connection(later, soon), now=NOW)
        warn_of_expiry(connection(tmp_path / "none.pem"), now=NOW)
    [event] = logs
    assert (event["event"], event["file"], event["log_level"]) == (LogEvent.CERTIFICATE_EXPIRES, str(soon), "warning")
