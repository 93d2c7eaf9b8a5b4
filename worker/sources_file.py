"""The file in RUDDER_SOURCES_FILE: the event sources of each organization, in TOML. It is read once, at start."""

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from schemas.detail import pointer, printable
from schemas.text import SOURCE_UNITS_MAX, Name, utf16_units
from worker.rules.allowed_sources import ANY, AllowedSources
from worker.rules.errors import ConfigurationError

FILE_BYTES_MAX = 1_048_576
ORGANIZATIONS_MAX = 10_000
SOURCES_MAX = 1_000
"""Per organization: an event's source is compared with each prefix."""

_LINE_CHARS_MAX = 500


def _pattern(text: str) -> str:
    if ANY in text[:-1]:
        raise ValueError(f"{ANY} is allowed only as the last character, where it matches any suffix")
    if not text.isprintable():
        raise ValueError("contains control characters, which no event source has")
    if utf16_units(text.removesuffix(ANY)) > SOURCE_UNITS_MAX:
        raise ValueError(f"is longer than {SOURCE_UNITS_MAX} UTF-16 code units, the limit of an event source")
    return text


_Pattern = Annotated[str, Field(min_length=1), AfterValidator(_pattern)]


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    organizations: dict[Name, Annotated[list[_Pattern], Field(max_length=SOURCES_MAX)]] = Field(
        min_length=1, max_length=ORGANIZATIONS_MAX
    )


def allowed_sources(path: Path | None) -> AllowedSources | None:
    """The allow-list in the file; without a file None: all sources are allowed.

    Raises:
        ConfigurationError: one clear line, of the first problem.
    """
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
        if len(raw) > FILE_BYTES_MAX:
            raise _refusal(path, f"has more than {FILE_BYTES_MAX} bytes")
        document = _File.model_validate(tomllib.loads(raw.decode("utf-8-sig")))
    except OSError as error:
        raise _refusal(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _refusal(path, "is not UTF-8 text") from error
    except ValidationError as error:
        raise _refusal(path, _first(error)) from error
    except tomllib.TOMLDecodeError as error:
        raise _refusal(path, f"is not TOML: {error}") from error
    except RecursionError as error:
        raise _refusal(path, "is nested too deep") from error
    return AllowedSources.of(document.organizations)


def _first(error: ValidationError) -> str:
    problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
    message = problem["msg"].removeprefix("Value error, ")
    return f"{pointer(problem['loc'])}: {message[0].lower()}{message[1:]}"


def _refusal(path: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(printable(f"RUDDER_SOURCES_FILE={path}: {problem}")[:_LINE_CHARS_MAX])
