"""What a run of Tekton deploys: from its markers, its parameters, or its results.

Tekton gives no name a meaning. The names here are those of the tasks in the Tekton catalog and the type hints of
Tekton Chains (`IMAGE_URL`, `IMAGE_DIGEST`, `CHAINS-GIT_COMMIT`); case and the choice of `-` or `_` do not matter.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from schemas.adapters.fields import Path, commit_of, member, split_image
from schemas.adapters.foreign import Artifact
from schemas.adapters.kubernetes import list_at, marker, release_marker

Body = Mapping[str, Any]
At = Sequence[Path]

_COMMIT_NAMES: Final = (
    "chains-git-commit",
    "git-commit",
    "commit",
    "commit-sha",
    "commit-id",
    "git-revision",
    "revision",
)
_IMAGE_NAMES: Final = ("image-url", "image", "image-ref", "image-reference")
_TAG_NAMES: Final = ("image-tag", "tag")
_URL_SUFFIX: Final = "image-url"
_DIGEST_SUFFIX: Final = "image-digest"
_OUTPUTS_SUFFIX: Final = "artifact-outputs"
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_COMMIT_MARKER: Final = "pipelinesascode.tekton.dev/sha"
_VALUE_CHARS_MAX: Final = 2_000
_RESULTS: Final = ("results", "pipelineResults", "taskResults")
"""Of the API's versions v1, v1beta1 for PipelineRuns, and v1beta1 for TaskRuns."""


def artifact_of(body: Body, at: At, *, is_finished: bool) -> Artifact:
    """What a run deploys; an empty artifact: it does not name it, or not yet.

    It must be the same in all events of a run, and a run has its results only at its end. So markers and parameters
    come first, and then the results are only `images`, which a mapping can select.
    """
    given = _values(list_at(body, *at, "spec", "params"))
    image, tag, digest = _image(given)
    artifact = Artifact(
        commit=commit_of(marker(body, _COMMIT_MARKER, *at, "metadata")) or _commit(given),
        image=image,
        tag=tag,
        digest=digest,
        release_id=release_marker(body, *at, "metadata"),
    )
    is_identified = any((artifact.commit, artifact.tag, artifact.digest, artifact.release_id))
    if not is_finished:
        return artifact if is_identified else Artifact()
    results = _results(body, at)
    images = tuple(_references(results))
    if is_identified:
        return replace(artifact, images=images)
    made = _values(results)
    image, tag, digest = split_image(images[0]) if len(images) == 1 else (None, None, None)
    found = Artifact(
        commit=_commit(made), image=image, tag=tag or _first(made, _TAG_NAMES), digest=digest, images=images
    )
    return found if any((found.commit, found.tag, found.digest)) or len(images) > 1 else Artifact()


def named_value(body: Body, at: At, names: Sequence[str]) -> str | None:
    """The first parameter with one of these names, or else the first result."""
    parameters = _values(list_at(body, *at, "spec", "params"))
    return _first(parameters, names) or _first(_values(_results(body, at)), names)


def _results(body: Body, at: At) -> Sequence[object]:
    return next((found for name in _RESULTS if (found := list_at(body, *at, "status", name))), ())


def _values(members: Sequence[object]) -> dict[str, str]:
    """The texts among parameters or results, by name; the first of repeated ones. Tasks append a line feed."""
    found: dict[str, str] = {}
    for one in members:
        name, value = member(one, "name"), member(one, "value")
        if isinstance(name, str) and isinstance(value, str) and 0 < len(value) <= _VALUE_CHARS_MAX and value.strip():
            found.setdefault(_normalised(name), value.strip())
    return found


def _normalised(name: str) -> str:
    return name.lower().replace("_", "-")


def _first(values: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((values[name] for name in names if name in values), None)


def _commit(values: Mapping[str, str]) -> str | None:
    """The first full hash: `revision` can also be a branch."""
    return next((commit for name in _COMMIT_NAMES if (commit := commit_of(values.get(name))) is not None), None)


def _image(values: Mapping[str, str]) -> tuple[str | None, str | None, str | None]:
    reference = _first(values, _IMAGE_NAMES)
    image, tag, digest = split_image(reference) if reference is not None else (None, None, None)
    given = values.get(_DIGEST_SUFFIX, "")
    return image, tag or _first(values, _TAG_NAMES), digest or (given if _DIGEST.fullmatch(given) else None)


def _references(results: Sequence[object]) -> Iterator[str]:
    """The images that the type hints of Tekton Chains name: `*IMAGE_URL` with `*IMAGE_DIGEST`, `*ARTIFACT_OUTPUTS`."""
    values = _values(results)
    for name, url in values.items():
        digest = values.get(name.removesuffix(_URL_SUFFIX) + _DIGEST_SUFFIX, "")
        if name.endswith(_URL_SUFFIX):
            yield f"{url}@{digest}" if _DIGEST.fullmatch(digest) and "@" not in url else url
    for one in results:
        hint, uri, sha256 = member(one, "name"), member(one, "value", "uri"), member(one, "value", "digest")
        if not isinstance(hint, str) or not isinstance(uri, str) or not isinstance(sha256, str):
            continue
        if _normalised(hint).endswith(_OUTPUTS_SUFFIX) and _DIGEST.fullmatch(sha256) and len(uri) <= _VALUE_CHARS_MAX:
            yield f"{uri}@{sha256}"
