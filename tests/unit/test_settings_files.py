"""Settings from files of editors, secret stores and orchestrators: byte order marks, line ends, unreadable files."""

from pathlib import Path

import pytest

from tests.unit.environment import Environment
from worker.environment_variables import environment as named_environment
from worker.rules.errors import ConfigurationError
from worker.settings import load, unknown_names
from worker.sources_file import allowed_sources

MARK = b"\xef\xbb\xbf"
"""A UTF-8 byte order mark, as Windows editors write it."""

URL = "postgresql+asyncpg://rudder:geheim@db/rudder"

SERVICE_LINKS = {
    "RUDDER_SERVICE_HOST": "10.0.0.1",
    "RUDDER_SERVICE_PORT": "80",
    "RUDDER_SERVICE_PORT_HTTP": "80",
    "RUDDER_PORT": "tcp://10.0.0.1:80",
    "RUDDER_PORT_80_TCP": "tcp://10.0.0.1:80",
    "RUDDER_PORT_80_TCP_PROTO": "tcp",
    "RUDDER_PORT_80_TCP_PORT": "80",
    "RUDDER_PORT_80_TCP_ADDR": "10.0.0.1",
    "RUDDER_WORKER_SERVICE_HOST": "10.0.0.2",
    "RUDDER_WORKER_PORT": "udp://10.0.0.2:53",
    "RUDDER_WORKER_PORT_53_UDP": "udp://10.0.0.2:53",
    "RUDDER_HTTP_SERVICE_PORT": "8080",
}
"""The variables that Kubernetes sets for services named `rudder`, `rudder-worker` and `rudder-http`."""


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environment:
    return Environment(monkeypatch, tmp_path)


@pytest.mark.parametrize("line_end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", MARK])
def test_secret_file_loses_byte_order_mark_and_line_end(environment: Environment, mark: bytes, line_end: bytes) -> None:
    (environment.folder / "url").write_bytes(mark + URL.encode() + line_end)
    (environment.folder / "password").write_bytes(mark + b" p\xc3\xa4ss " + line_end)
    environment.set(
        {
            "RUDDER_DATABASE_URL_FILE": "url",
            "RUDDER_KAFKA_SASL_PASSWORD_FILE": "password",
            "RUDDER_KAFKA_SASL_USERNAME": "u",
            "RUDDER_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        }
    )
    settings = load()
    assert settings.database_url.get_secret_value() == URL
    assert settings.kafka_sasl_password is not None
    assert settings.kafka_sasl_password.get_secret_value() == " päss "


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", MARK])
def test_env_file_loses_byte_order_mark_and_line_ends(environment: Environment, mark: bytes, line_end: bytes) -> None:
    """Without the removal the byte order mark would become part of the first name."""
    lines = (b"RUDDER_GROUP_ID=ours", b"RUDDER_CONCURRENCY=3", b"")
    (environment.folder / ".env").write_bytes(mark + line_end.join(lines))
    assert (load().group_id, load().concurrency) == ("ours", 3)
    assert list(unknown_names(named_environment())) == []


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", MARK])
def test_sources_file_loses_byte_order_mark_and_line_ends(tmp_path: Path, mark: bytes, line_end: bytes) -> None:
    path = tmp_path / "sources.toml"
    path.write_bytes(mark + line_end.join((b"[organizations]", b'acme = ["/ci/*"]', b"")))
    sources = allowed_sources(path)
    assert sources is not None
    assert sources.allow("/ci/1", organization_id="acme")


def test_variable_loses_byte_order_mark(environment: Environment) -> None:
    """A secret created from a file with a byte order mark becomes a variable with one."""
    environment.set({"RUDDER_DATABASE_URL": f"\ufeff{URL}", "RUDDER_GROUP_ID": "\ufeffours"})
    settings = load()
    assert (settings.database_url.get_secret_value(), settings.group_id) == (URL, "ours")


def test_unreadable_env_file_is_one_line(environment: Environment) -> None:
    """A process's own memory is a file that exists and that no user, not even root, can read from its start."""
    (environment.folder / ".env").symlink_to("/proc/self/mem")
    with pytest.raises(ConfigurationError, match=r"^\.env cannot be read: "):
        load()


def test_env_directory_is_a_warning(environment: Environment) -> None:
    """`.env` may be a Python environment; a container runtime creates a folder if a mounted file is missing."""
    (environment.folder / ".env").mkdir()
    assert load().group_id == "rudder-worker"
    [warning] = unknown_names(named_environment())
    assert warning.startswith(".env is a directory")


def test_service_link_in_http_port_is_named(environment: Environment) -> None:
    environment.set({"RUDDER_HTTP_PORT": "tcp://10.0.0.1:80"})
    with pytest.raises(ConfigurationError) as raised:
        load()
    line = str(raised.value)
    assert all(words in line for words in ("RUDDER_HTTP_PORT", "service link", "enableServiceLinks: false"))
    assert len(line.splitlines()) == 1


def test_service_link_in_gateway_port_is_not_read(environment: Environment) -> None:
    """Kubernetes sets it in every pod beside a service named rudder-gateway, in those of `run` too."""
    environment.set({"RUDDER_GATEWAY_PORT": "tcp://10.0.0.1:80"})
    assert load().gateway_port == 8088
    environment.set({"RUDDER_GATEWAY_PORT": "8089"})
    assert load().gateway_port == 8089


def test_service_links_are_no_unknown_settings(environment: Environment) -> None:
    environment.set(SERVICE_LINKS)
    load()
    assert list(unknown_names(named_environment())) == []


@pytest.mark.parametrize("name", ["RUDDER_HTP_PORT", "RUDDER_SERVICE", "RUDDER_PORTS"])
def test_typing_error_beside_service_links_is_a_warning(environment: Environment, name: str) -> None:
    environment.set({**SERVICE_LINKS, name: "8080"})
    [warning] = unknown_names(named_environment())
    assert name in warning
