"""A mapping file that is proposed from foreign records: a rule for each repository, application, service or project."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from schemas.adapters.foreign import ForeignEvent

_SUBJECTS: Final = ("repository", "application", "service", "project", "pipeline")
"""What a rule is proposed for: the first of these that the record has."""

_HEAD: Final = """\
# Proposed from {records}. Replace what stands in angle brackets; then run
#   rudder-worker mapping test FILE PAYLOAD…
# See docs/reference/mapping.md.
"""


@dataclass(slots=True)
class Proposal:
    """Collects what records name. `optional`: pipelines whose runs may be deployments."""

    records: int = 0
    environments: set[str] = field(default_factory=set)
    subjects: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    nameless: set[tuple[str, str]] = field(default_factory=set)
    optional: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    formats: set[str] = field(default_factory=set)

    def add(self, event: ForeignEvent) -> None:
        self.records += 1
        self.formats.add(str(event.format))
        scope = event.scope
        subject = next(((name, scope[name]) for name in _SUBJECTS if name in scope), None)
        if subject is None:
            return
        if event.optional:
            if "pipeline" in scope and subject[0] != "pipeline":
                self.optional.setdefault(subject, set()).add(scope["pipeline"])
            return
        self.subjects.setdefault(subject, set()).add(str(event.format))
        if "environment" in scope:
            self.environments.add(scope["environment"])
        else:
            self.nameless.add(subject)

    def text(self, *, organization: str | None = None) -> str:
        """The file, in YAML. It is valid, and each id that is missing is named."""
        document: dict[str, Any] = {
            "organization": organization or "<the organization's id>",
            "project": "<the project's id, a UUID>",
            "environments": {name: f"<the id of {name}>" for name in sorted(self.environments)},
            "rules": [self._rule(subject) for subject in sorted(self.subjects)],
        }
        for subject, pipelines in sorted(self.optional.items()):
            document["rules"][:0] = [
                {"match": _match(subject) | {"pipeline": pipeline}, "ignore": True} for pipeline in sorted(pipelines)
            ]
        records = f"{self.records} records ({', '.join(sorted(self.formats)) or 'none'})"
        return _HEAD.format(records=records) + _dumped(document)

    def _rule(self, subject: tuple[str, str]) -> dict[str, Any]:
        name = subject[1].rsplit("/", 1)[-1]
        rule: dict[str, Any] = {"match": _match(subject), "component": f"<the id of {name}, a UUID>"}
        if subject in self.nameless:
            rule["environment"] = "<the environment's id>"
        return rule


def _match(subject: tuple[str, str]) -> dict[str, str]:
    return {subject[0]: subject[1]}


def _dumped(document: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True, width=120)


def proposed(events: Iterable[ForeignEvent], *, organization: str | None = None) -> str:
    """The text of the file for these events."""
    proposal = Proposal()
    for event in events:
        proposal.add(event)
    return proposal.text(organization=organization)
