"""The file in RUDDER_GATEWAY_KEYS_FILE: the keys of the gateway, in TOML. It is read at start and at each SIGHUP."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from schemas.detail import pointer, printable
from schemas.text import Name
from worker.gateway.credentials import SIGNING_PREFIX, signing_key
from worker.gateway.keys import ANY, Key, Keys
from worker.gateway.webhooks import NAME
from worker.rules.errors import ConfigurationError

FILE_BYTES_MAX = 1_048_576
KEYS_MAX = 1_000
KEYS_OF_SOURCE_MAX = 100
"""A signature is compared with that of each key, and each costs a pass over the body."""
SECRET_CHARS_MIN = 16
_PATTERNS_MAX = 1_000
_LINE_CHARS_MAX = 500


def _secret(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if len(text) < SECRET_CHARS_MIN:
        raise ValueError(f"is shorter than {SECRET_CHARS_MIN} characters")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("may have only printable ASCII characters without blanks, because it is sent in a header")
    if text.startswith(SIGNING_PREFIX) and signing_key(text.encode()) is None:
        raise ValueError(f"begins with {SIGNING_PREFIX} and does not continue in base64")
    return secret


def _source(text: str) -> str:
    if NAME.fullmatch(text) is None:
        raise ValueError("is not the name of a source: use up to 63 lower-case letters, digits and hyphens")
    return text


def _project(text: str) -> str:
    if ANY in text[:-1]:
        raise ValueError(f"{ANY} is allowed only as the last character, where it matches any suffix")
    return text


class _Key(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    secret: Annotated[SecretStr, AfterValidator(_secret)]
    organizations: Annotated[list[Name], Field(max_length=_PATTERNS_MAX)] = []
    webhooks: Annotated[list[Annotated[str, AfterValidator(_source)]], Field(max_length=_PATTERNS_MAX)] = []
    projects: Annotated[
        list[Annotated[str, Field(min_length=1), AfterValidator(_project)]] | None,
        Field(min_length=1, max_length=_PATTERNS_MAX),
    ] = None

    def key(self) -> Key:
        return Key(
            name=self.name,
            secret=self.secret.get_secret_value().encode(),
            organizations=frozenset(self.organizations),
            webhooks=frozenset(self.webhooks),
            projects=None if self.projects is None else tuple(self.projects),
        )


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    keys: Annotated[list[_Key], Field(min_length=1, max_length=KEYS_MAX)]


def gateway_keys(path: Path | None) -> Keys:
    """The keys in the file.

    Raises:
        ConfigurationError: one clear line, of the first problem, without a secret.
    """
    if path is None:
        raise ConfigurationError(
            "RUDDER_GATEWAY_KEYS_FILE is not set: the gateway accepts nothing without a key; "
            "docs/how-to/gateway.md shows the file"
        )
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
        if len(raw) > FILE_BYTES_MAX:
            raise _refusal(path, f"has more than {FILE_BYTES_MAX} bytes")
        keys = [one.key() for one in _File.model_validate(tomllib.loads(raw.decode("utf-8-sig"))).keys]
    except OSError as error:
        raise _refusal(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise _refusal(path, "is not UTF-8 text") from None
    except ValidationError as error:
        raise _refusal(path, _first(error)) from None
    except tomllib.TOMLDecodeError as error:
        raise _refusal(path, f"is not TOML: {error}") from None
    except RecursionError:
        raise _refusal(path, "is nested too deep") from None
    for problem in _problems(keys):
        raise _refusal(path, problem)
    return Keys(keys)


def _problems(keys: Iterable[Key]) -> Iterable[str]:
    names: set[str] = set()
    of_source: dict[str, int] = {}
    for key in keys:
        if key.name in names:
            yield f"two keys have the name {key.name}"
        names.add(key.name)
        if not key.organizations and not key.webhooks:
            yield f"key {key.name} is for nothing: give it organizations or webhooks"
        for source in key.webhooks:
            of_source[source] = of_source.get(source, 0) + 1
    for source, count in of_source.items():
        if count > KEYS_OF_SOURCE_MAX:
            yield f"{count} keys are for webhooks of {source}, more than {KEYS_OF_SOURCE_MAX}"


def _first(error: ValidationError) -> str:
    problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
    message = problem["msg"].removeprefix("Value error, ")
    return f"{pointer(problem['loc'])}: {message[0].lower()}{message[1:]}"


def _refusal(path: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(printable(f"RUDDER_GATEWAY_KEYS_FILE={path}: {problem}")[:_LINE_CHARS_MAX])
