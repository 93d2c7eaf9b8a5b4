"""Plan files: the plan that an operator reviewed is the one that a command executes.

A file names the database, the cluster and the group of its plan, and has the SHA-256 of all its content. A file that
was edited, or that belongs elsewhere, is refused before anything is done.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from worker.rules.errors import ConfigurationError

_VERSION = 1
_BYTES_MAX = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a plan was made for. `database`: its row in `database_identity`, which a copy of the database keeps.
    `cluster`: the id of the Kafka cluster. `group`: the consumer group.
    """

    database: UUID
    cluster: str
    group: str

    def as_json(self) -> dict[str, str]:
        return {"database": str(self.database), "cluster": self.cluster, "group": self.group}


_SETTINGS = {
    "database": "RUDDER_DATABASE_URL",
    "cluster": "RUDDER_KAFKA_BOOTSTRAP_SERVERS",
    "group": "RUDDER_GROUP_ID",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFile:
    """A plan as JSON values. `kind`: the command that made it and may execute it."""

    kind: str
    target: Target
    content: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        """Of the whole plan, in hexadecimal; it does not depend on line breaks or the order of keys."""
        return sha256(_canonical(self._body()).encode()).hexdigest()

    def text(self) -> str:
        return json.dumps({**self._body(), "sha256": self.sha256}, ensure_ascii=False, indent=1) + "\n"

    def write(self, path: Path) -> None:
        """Raises ConfigurationError where the file exists or cannot be written: a reviewed plan is never replaced."""
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(self.text())
        except FileExistsError as error:
            raise ConfigurationError(f"{path} exists; name another file for the plan, or remove it") from error
        except OSError as error:
            raise ConfigurationError(f"the plan cannot be written to {path}: {error.strerror or error}") from error

    def require(self, target: Target) -> None:
        """Raises ConfigurationError if the plan was made for another database, cluster or group."""
        made_for, here = self.target.as_json(), target.as_json()
        for name, setting in _SETTINGS.items():
            if made_for[name] != here[name]:
                raise ConfigurationError(
                    f"the plan belongs to another {name} ({made_for[name]}, not {here[name]}): "
                    f"correct {setting}, or make a new plan"
                )

    def _body(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "version": _VERSION,
            "target": self.target.as_json(),
            "content": dict(self.content),
        }


def read_plan(path: Path, *, kind: str) -> PlanFile:
    """The plan in a file. Call `require` before the plan is executed.

    Raises:
        ConfigurationError: the file cannot be read, was changed after it was written, or is a plan of another command.
    """
    try:
        if path.stat().st_size > _BYTES_MAX:
            raise ConfigurationError(f"{path} is no plan: it is larger than {_BYTES_MAX // 1024 // 1024} MiB")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is no plan of rudder-worker: it is not UTF-8 text") from error
    except OSError as error:
        raise ConfigurationError(f"the plan {path} cannot be read: {error.strerror or error}") from error
    try:
        found = json.loads(text)
        target = Target(**{**found["target"], "database": UUID(found["target"]["database"])})
        plan = PlanFile(kind=found["kind"], target=target, content=dict(found["content"]))
        digest, version = found["sha256"], found["version"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigurationError(f"{path} is no plan of rudder-worker; make one with --output") from error
    if version != _VERSION:
        raise ConfigurationError(f"{path} is a plan of another version of rudder-worker; make a new plan")
    if digest != plan.sha256:
        raise ConfigurationError(f"{path} was changed after it was written; make a new plan and review it")
    if plan.kind != kind:
        raise ConfigurationError(f"{path} is a plan of `{plan.kind}`, not of `{kind}`")
    return plan


def _canonical(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
