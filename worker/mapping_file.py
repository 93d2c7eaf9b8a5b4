"""The file in RUDDER_MAPPING_FILE, in YAML. It is read at start and again at each SIGHUP."""

import re
from collections.abc import Hashable
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import yaml
from pydantic import ValidationError

from schemas.detail import pointer, printable
from schemas.mapping import Mapping
from schemas.mapping_rules import MappingFile
from worker.live_file import LiveFile
from worker.rules.errors import ConfigurationError
from worker.telemetry import LogEvent

FILE_BYTES_MAX = 1_048_576
_LINE_CHARS_MAX = 500

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.mapping")


class _Loader(yaml.SafeLoader):
    """Refuses a name that is repeated: YAML keeps the last one, and the first would be without effect."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - as PyYAML's
        names = set[Hashable]()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if not isinstance(name, Hashable) or name in names:
                raise yaml.constructor.ConstructorError(None, None, f"the name {name!r} is repeated", node.start_mark)
            names.add(name)
        return super().construct_mapping(node, deep=deep)


# Texts stay texts: a version such as 1.10 is no number, and a date no date.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in {"null", "merge"}]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))


def load_mapping(path: Path, *, setting: str = "RUDDER_MAPPING_FILE=") -> Mapping:
    """`setting`: what the message begins with, before the path.

    Raises:
        ConfigurationError: one clear line, of the first problem.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
        if len(raw) > FILE_BYTES_MAX:
            raise _refusal(setting, path, f"has more than {FILE_BYTES_MAX} bytes")
        document = yaml.load(raw.decode("utf-8-sig"), _Loader)  # noqa: S506 - a safe loader
        return Mapping(MappingFile.model_validate({} if document is None else document))
    except OSError as error:
        raise _refusal(setting, path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _refusal(setting, path, "is not UTF-8 text") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        raise _refusal(setting, path, f"{where}{error.problem or error.context or 'is not YAML'}") from error
    except yaml.YAMLError as error:
        raise _refusal(setting, path, f"is not YAML: {error}") from error
    except ValidationError as error:
        raise _refusal(setting, path, _first(error)) from error
    except RecursionError as error:
        raise _refusal(setting, path, "is nested too deep") from error
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:  # a tag's constructor
        raise _refusal(setting, path, "a value does not fit its tag; leave out tags such as !!int") from error


class LiveMapping(LiveFile[Mapping]):
    """The mapping as it was read last. A service: `run` reads the file again on request."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigurationError: as `load_mapping`."""
        super().__init__(
            partial(load_mapping, path),
            read_again=lambda mapping: _log.info(LogEvent.MAPPING_READ, path=str(path), rules=len(mapping.file.rules)),
            refused=lambda error: _log.error(LogEvent.MAPPING_REFUSED, cause=str(error)),
        )


# Pydantic's messages use Python's type names.
_MESSAGES = {"tuple_type": "should be a list", "dict_type": "should be a mapping", "model_type": "should be a mapping"}


def _first(error: ValidationError) -> str:
    problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
    message = _MESSAGES.get(problem["type"], problem["msg"]).removeprefix("Value error, ")
    return f"{pointer(problem['loc'])}: {message[:1].lower()}{message[1:]}".removeprefix(": ")


def _refusal(setting: str, path: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(printable(f"{setting}{path}: {problem}")[:_LINE_CHARS_MAX])
