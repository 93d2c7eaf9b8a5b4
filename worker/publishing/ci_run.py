"""The source and the ids of events that a CI job publishes.

A CI system names each run of a job in environment variables. An id is made of that name and of what the event is about,
so a step that is repeated within its job sends the id it sent before. A job that is run again is another run: it
deploys again, so its events have other ids. The names of the variables are the vendors', whose
pages docs/how-to/publish-events.md names.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote

from schemas.event import Event
from schemas.incoming import ActivityRecorded, DeploymentChange
from schemas.json_text import compact
from schemas.types import short_type

_DIGEST_CHARS = 32
_RUN_CHARS_MAX = 120
_URL_CHARS = "/:@-._~!$&'()*+,;=?%"


@dataclass(frozen=True, slots=True, kw_only=True)
class CiRun:
    """One run of one job. `parts` identifies it among all runs of the system, retries included."""

    system: str
    source: str
    parts: tuple[str, ...]

    def event_id(self, event: Event) -> str:
        """At most 255 characters: the run, readable; the type; a digest of the complete identity.

        Two events of one run differ in their id unless they agree in type, release, environment, config_revision and
        attempt; two activities unless all their data agree.
        """
        short = short_type(event.type)
        about = (self.system, self.source, *self.parts, short, *_subject(event))
        digest = sha256("\n".join(map(_quoted, about)).encode()).hexdigest()[:_DIGEST_CHARS]
        return f"{_quoted('/'.join(self.parts), safe='/-._~')[:_RUN_CHARS_MAX]}/{short}/{digest}"


def ci_run(environment: Mapping[str, str]) -> CiRun | None:
    """The run that the variables identify; None without a CI system, or if a variable is missing."""
    for found in _SYSTEMS:
        if run := found({name: value for name, value in environment.items() if value}):
            return run
    return None


def named_run(name: str, *, source: str) -> CiRun:
    """A run with a name from the publisher, for CI systems without variables of their own."""
    return CiRun(system="", source=source, parts=(name,))


def _quoted(text: str, *, safe: str = "/") -> str:
    """Percent-encoded. A byte that is not UTF-8, which Python reads as a surrogate, is encoded as that byte."""
    return quote(text, safe=safe, errors="surrogateescape")


def _subject(event: Event) -> tuple[str, ...]:
    data = event.data
    release = str(data.release_id)
    match data:
        case DeploymentChange():
            return (release, data.environment_id, str(data.config_revision), str(data.attempt or ""))
        case ActivityRecorded():
            return (release, compact(data.model_dump(mode="json")))
        case _:
            return (release,)


def _run(system: str, source: str | None, *parts: str | None) -> CiRun | None:
    known = tuple(part for part in parts if part is not None)
    if source is None or len(known) < len(parts):
        return None
    return CiRun(system=system, source=_quoted(source.rstrip("/"), safe=_URL_CHARS), parts=known)


def _joined(base: str | None, *path: str | None, separator: str = "/") -> str | None:
    known = [part for part in path if part is not None]
    return None if base is None or len(known) < len(path) else separator.join([base.rstrip("/"), *known])


def _github(given: Mapping[str, str]) -> CiRun | None:
    if given.get("GITHUB_ACTIONS") != "true":
        return None
    source = _joined(given.get("GITHUB_SERVER_URL", "https://github.com"), given.get("GITHUB_REPOSITORY"))
    attempt = given.get("GITHUB_RUN_ATTEMPT", "1")
    return _run("GitHub Actions", source, given.get("GITHUB_RUN_ID"), attempt, given.get("GITHUB_JOB"))


def _gitlab(given: Mapping[str, str]) -> CiRun | None:
    if "GITLAB_CI" not in given:
        return None
    source = given.get("CI_PROJECT_URL") or _joined(given.get("CI_SERVER_URL", ""), given.get("CI_PROJECT_PATH"))
    return _run("GitLab CI", source, given.get("CI_JOB_ID"))


def _azure(given: Mapping[str, str]) -> CiRun | None:
    if "TF_BUILD" not in given:
        return None
    collection = given.get("SYSTEM_COLLECTIONURI") or given.get("SYSTEM_TEAMFOUNDATIONCOLLECTIONURI", "")
    source = _joined(collection, given.get("SYSTEM_TEAMPROJECT"))
    if "RELEASE_RELEASEID" in given:  # a classic release: BUILD_BUILDID is its artifact's
        names = ["RELEASE_RELEASEID", "RELEASE_ENVIRONMENTID", "RELEASE_ATTEMPTNUMBER"]
    else:
        names = ["BUILD_BUILDID", "SYSTEM_JOBID"]
    return _run("Azure Pipelines", source, *map(given.get, names))


def _buildkite(given: Mapping[str, str]) -> CiRun | None:
    if "BUILDKITE" not in given:
        return None
    source = _joined(
        "https://buildkite.com", given.get("BUILDKITE_ORGANIZATION_SLUG"), given.get("BUILDKITE_PIPELINE_SLUG")
    )
    return _run("Buildkite", source, given.get("BUILDKITE_BUILD_NUMBER"), given.get("BUILDKITE_JOB_ID"))


def _circleci(given: Mapping[str, str]) -> CiRun | None:
    if "CIRCLECI" not in given:
        return None
    repository = _joined(given.get("CIRCLE_PROJECT_USERNAME"), given.get("CIRCLE_PROJECT_REPONAME"))
    source = _joined("https://circleci.com", repository or given.get("CIRCLE_PROJECT_ID"))
    return _run("CircleCI", source, given.get("CIRCLE_WORKFLOW_ID"), given.get("CIRCLE_JOB"))


def _jenkins(given: Mapping[str, str]) -> CiRun | None:
    """The build, not the stage: a stage that is retried within its build sends the same ids."""
    if not {"JENKINS_URL", "JENKINS_HOME"} & given.keys() and not given.get("BUILD_TAG", "").startswith("jenkins-"):
        return None
    # Jenkins sets URLs only if its own address is configured.
    source = given.get("JOB_URL") or _joined("/jenkins", given.get("JOB_NAME"))
    return _run("Jenkins", source, given.get("BUILD_NUMBER"))


_SYSTEMS: tuple[Callable[[Mapping[str, str]], CiRun | None], ...] = (
    _github,
    _gitlab,
    _azure,
    _buildkite,
    _circleci,
    _jenkins,  # last: its variables have names that others may use
)
