"""Where settings are read from: environment variables, a `.env` file, and files that hold a secret."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource

from worker.rules.errors import ConfigurationError

PREFIX = "RUDDER_"
ENV_FILE = ".env"
ENCODING = "utf-8-sig"
"""UTF-8. A byte order mark, which some editors put before the first character, is dropped."""

BYTE_ORDER_MARK = "\ufeff"
SECRETS = ("database_url", "kafka_sasl_password", "kafka_ssl_keyfile_password")
"""Settings that may also be given as the path of a file: `RUDDER_<NAME>_FILE`."""

_SERVICE_LINK = re.compile(
    rf"{PREFIX}(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_SERVICE_LINK_URL = re.compile(r"(?:tcp|udp|sctp)://\S+")


def environment() -> Mapping[str, str]:
    """All variables, of the `.env` file and, before it, of the environment. Call `settings.load` first: it reports an
    unreadable `.env` file.
    """
    from_file = {name: value or "" for name, value in dotenv_values(ENV_FILE, encoding=ENCODING).items()}
    return from_file | dict(os.environ)


def secret_file(name: str) -> str | None:
    """The path in `RUDDER_<NAME>_FILE`, if that is set."""
    return environment().get(f"{PREFIX}{name.upper()}_FILE") or None


def read_secret(path: str) -> str:
    """The file's text without its last line end. Raises OSError, UnicodeDecodeError."""
    return Path(path).read_text(encoding=ENCODING).rstrip("\r\n")


def is_service_link_url(value: str) -> bool:
    """Whether the value is one that Kubernetes sets for a service of the pod's namespace, as `tcp://10.0.0.1:80`.

    A service named `rudder-http` sets RUDDER_HTTP_PORT to such a value.
    """
    return _SERVICE_LINK_URL.fullmatch(value) is not None


def is_service_link(name: str, value: str) -> bool:
    """Whether Kubernetes set this variable for a service of the pod's namespace."""
    return _SERVICE_LINK.fullmatch(name) is not None or (name.endswith("_PORT") and is_service_link_url(value))


class SecretFiles(PydanticBaseSettingsSource):
    """Reads secrets from the files in `RUDDER_<NAME>_FILE`."""

    def __init__(self, settings_cls: type[BaseSettings], dotenv: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._dotenv = dict(dotenv.env_vars) if isinstance(dotenv, DotEnvSettingsSource) else {}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        del field
        name = f"{PREFIX}{field_name}_FILE"
        path = os.environ.get(name.upper()) or self._dotenv.get(name.lower())
        return path, field_name, False

    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for secret in SECRETS:
            path, _, _ = self.get_field_value(self.settings_cls.model_fields[secret], secret)
            if not path:
                continue
            name = f"{PREFIX}{secret.upper()}"
            if secret in self.current_state:
                raise ConfigurationError(f"{name} and {name}_FILE are both set; remove one of them")
            try:
                found[secret] = read_secret(path)
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"{name}_FILE cannot be read: {error}") from error
        return found
