"""Several worker processes on one machine: each a member of its own, and a number that cannot work is refused."""

from pathlib import Path

import pytest

from tests.unit.environment import Environment
from worker.rules.errors import ConfigurationError
from worker.settings import Settings, load

POSTGRES = {"RUDDER_DATABASE_URL": "postgresql+asyncpg://u:s3cret@h/d"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environment:
    return Environment(monkeypatch, tmp_path)


def test_each_process_has_its_own_names_and_port(environment: Environment) -> None:
    """And all else alike."""
    environment.set({**POSTGRES, "RUDDER_GROUP_INSTANCE_ID": "host-7", "RUDDER_KAFKA_CLIENT_ID": "ours"})
    settings = load(processes=3, http_port=9000)
    own = [settings.of_process(number) for number in range(3)]
    assert [each.group_instance_id for each in own] == ["host-7-0", "host-7-1", "host-7-2"]
    assert [each.kafka_client_id for each in own] == ["ours-0", "ours-1", "ours-2"]
    assert [each.http_port for each in own] == [9000, 9001, 9002]
    different = {"group_instance_id", "kafka_client_id", "http_port"}
    assert all(each.model_dump(exclude=different) == settings.model_dump(exclude=different) for each in own)


def test_missing_instance_id_and_port_stay_missing(environment: Environment) -> None:
    """No static membership, and any port that is free."""
    environment.set(POSTGRES)
    own = load(processes=2, http_port=0).of_process(1)
    assert (own.group_instance_id, own.http_port) == (None, 0)


def test_default_is_one_process(environment: Environment) -> None:
    assert load().processes == 1


@pytest.mark.parametrize(
    "accepted",
    [
        {**POSTGRES, "RUDDER_PROCESSES": "2", "RUDDER_HTTP_PORT": "65534"},
        {**POSTGRES, "RUDDER_PROCESSES": "99999", "RUDDER_HTTP_PORT": "0"},
        {"RUDDER_PROCESSES": "1", "RUDDER_HTTP_PORT": "65535"},
    ],
)
def test_valid_process_settings_are_accepted(environment: Environment, accepted: dict[str, str]) -> None:
    environment.set(accepted)
    assert load().processes == int(accepted["RUDDER_PROCESSES"])


@pytest.mark.parametrize(
    ("refused", "line"),
    [
        (
            {"RUDDER_PROCESSES": "2"},
            (
                "RUDDER_PROCESSES=2 requires a database server, because a SQLite file serves one process; "
                "set RUDDER_DATABASE_URL to PostgreSQL or SQL Server"
            ),
        ),
        (
            {**POSTGRES, "RUDDER_PROCESSES": "3", "RUDDER_HTTP_PORT": "65534"},
            (
                "RUDDER_PROCESSES=3 requires a port for each process, from RUDDER_HTTP_PORT=65534 on, "
                "but the highest port is 65535"
            ),
        ),
        ({**POSTGRES, "RUDDER_PROCESSES": "0"}, "RUDDER_PROCESSES: input should be greater than 0"),
    ],
)
def test_invalid_process_settings_are_refused_in_one_line(
    environment: Environment, refused: dict[str, str], line: str
) -> None:
    environment.set(refused)
    with pytest.raises(ConfigurationError) as raised:
        load()
    assert str(raised.value) == line
    assert "s3cret" not in repr(raised.value.__cause__)


def test_processes_option_overrides_the_environment(environment: Environment) -> None:
    environment.set({**POSTGRES, "RUDDER_PROCESSES": "4"})
    assert isinstance(load(processes=2), Settings)
    assert load(processes=2).processes == 2
