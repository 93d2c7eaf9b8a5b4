"""Settings come from the environment, a `.env` file and files of secrets; no message contains a secret."""

from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import ValidationError

from tests.unit.environment import SASL, SECRET, Environment
from worker.settings import Settings, load, unknown_names


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environment:
    return Environment(monkeypatch, tmp_path)


def test_defaults_match_the_contract(environment: Environment) -> None:
    """CONTRACT.md, "Topics", "Databases and brokers" and "Commands"."""
    settings = load()
    assert settings.input_topics == ("rudder.deployment-events",)
    assert settings.deployment_status_topic == "rudder.deployment-status"
    assert settings.release_status_topic == "rudder.release-status"
    assert settings.dead_letter_topic == "rudder.dead-letters"
    assert settings.deployment_state_topic == "rudder.deployment-state"
    assert settings.event_bytes_max == 1_048_576
    assert settings.content_mode == "binary"
    assert settings.group_id == "rudder-worker"
    assert settings.http_host == "127.0.0.1"
    assert settings.http_port == 8080
    assert settings.database_url.get_secret_value().startswith("sqlite+aiosqlite:///")


@pytest.mark.parametrize("where", ["environment", ".env"])
def test_setting_is_read_only_with_its_prefix(environment: Environment, where: str) -> None:
    environment.give(where, {"RUDDER_GROUP_ID": "ours", "HTTP_PORT": "1", "CONCURRENCY": "nonsense"})
    settings = load()
    assert (settings.group_id, settings.http_port, settings.concurrency) == ("ours", 8080, 64)


def test_environment_overrides_the_file_and_arguments_both(environment: Environment) -> None:
    environment.write({"RUDDER_GROUP_ID": "file", "RUDDER_CONCURRENCY": "3", "RUDDER_ATTEMPTS_MAX": "2"})
    environment.set({"RUDDER_GROUP_ID": "environment", "RUDDER_ATTEMPTS_MAX": "4"})
    settings = load(attempts_max=6)
    assert (settings.concurrency, settings.group_id, settings.attempts_max) == (3, "environment", 6)


def test_pool_size_does_not_depend_on_the_concurrency(environment: Environment) -> None:
    """Messages share round trips, and so connections."""
    environment.set({"RUDDER_CONCURRENCY": "400"})
    assert load().connections_max == 3
    environment.set({"RUDDER_DATABASE_CONNECTIONS_MAX": "2"})
    assert load().connections_max == 2


def test_settings_are_immutable(environment: Environment) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load().group_id = "other"  # type: ignore[misc]  # the model is frozen


@pytest.mark.parametrize(
    ("text", "topics"),
    [("a", ("a",)), ("a,b", ("a", "b")), (" a , b ,", ("a", "b")), ("a.b_c-D9", ("a.b_c-D9",))],
)
@pytest.mark.parametrize("where", ["environment", ".env"])
def test_topics_are_separated_by_commas(
    environment: Environment, where: str, text: str, topics: tuple[str, ...]
) -> None:
    environment.give(where, {"RUDDER_INPUT_TOPICS": text})
    assert load().input_topics == topics


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RUDDER_DATABASE_URL", f"postgresql+asyncpg://u:{quote(SECRET, safe='')}@h/d"),
        ("RUDDER_KAFKA_SASL_PASSWORD", SECRET),
        ("RUDDER_KAFKA_SSL_KEYFILE_PASSWORD", SECRET),
    ],
)
@pytest.mark.parametrize("line_end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("where", ["environment", ".env"])
def test_secret_can_come_from_a_file(
    environment: Environment, where: str, line_end: str, name: str, value: str
) -> None:
    """Orchestrators mount secrets as files; the last line end is removed."""
    given = {**SASL, "RUDDER_KAFKA_SSL_CERTFILE": "cert.pem", "RUDDER_KAFKA_SSL_KEYFILE": "key.pem"}
    given.pop(name, None)
    secret_file = environment.folder / "secret"
    secret_file.write_bytes((value + line_end).encode())
    environment.set(given)
    environment.give(where, {f"{name}_FILE": str(secret_file)})
    secret = getattr(load(), name.removeprefix("RUDDER_").lower())
    assert secret.get_secret_value() == value


@pytest.mark.parametrize("where", ["environment", "file"])
def test_password_keeps_its_blanks(environment: Environment, where: str) -> None:
    """Blanks are part of the password; without them the login would fail without a visible cause."""
    given = {**SASL, "RUDDER_KAFKA_SASL_PASSWORD": " two blanks "}
    if where == "file":
        (environment.folder / "secret").write_text(given.pop("RUDDER_KAFKA_SASL_PASSWORD") + "\n")
        given["RUDDER_KAFKA_SASL_PASSWORD_FILE"] = "secret"
    environment.set(given)
    password = load().kafka_sasl_password
    assert password is not None
    assert password.get_secret_value() == " two blanks "


@pytest.mark.parametrize("protocol_value", ["a:9092", "a:9092,b:9093", "a:9092 , b:9092", "[::1]:9092", "10.0.0.1:1"])
def test_brokers_are_given_as_host_and_port(environment: Environment, protocol_value: str) -> None:
    environment.set({"RUDDER_KAFKA_BOOTSTRAP_SERVERS": protocol_value})
    assert load().kafka_bootstrap_servers == protocol_value


def test_text_forms_of_the_settings_show_no_secret(environment: Environment) -> None:
    environment.set({**SASL, "RUDDER_DATABASE_URL": f"postgresql+asyncpg://u:{quote(SECRET, safe='')}@h/d"})
    environment.set({"RUDDER_KAFKA_SSL_CERTFILE": "c", "RUDDER_KAFKA_SSL_KEYFILE": "k"})
    environment.set({"RUDDER_KAFKA_SSL_KEYFILE_PASSWORD": SECRET})
    settings = load()
    for text in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert SECRET not in text
        assert quote(SECRET, safe="") not in text
        assert "w#rd" not in text


def test_unknown_name_has_the_nearest_setting() -> None:
    """Existing settings, files of secrets, the tests' variables and other programs' variables cause no warning."""
    environment = {
        "RUDDER_HTP_PORT": "1",
        "RUDDER_INPUT_TOPIC": "a",
        "RUDDER_GROUP_ID_FILE": "only secrets have files",
        "RUDDER_ZZZZZZZZZZZZZZZ": "1",
        "RUDDER_HTTP_PORT": "1",
        "RUDDER_DATABASE_URL_FILE": "x",
        "RUDDER_TEST_REQUIRE": "x",
        "HTP_PORT": "1",
        "RUDDERLESS": "1",
    }
    assert list(unknown_names(environment)) == [
        "RUDDER_GROUP_ID_FILE is not a setting; did you mean RUDDER_GROUP_ID?",
        "RUDDER_HTP_PORT is not a setting; did you mean RUDDER_HTTP_PORT?",
        "RUDDER_INPUT_TOPIC is not a setting; did you mean RUDDER_INPUT_TOPICS?",
        "RUDDER_ZZZZZZZZZZZZZZZ is not a setting",
    ]


def test_every_setting_has_a_description() -> None:
    """The generated reference prints the descriptions."""
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
