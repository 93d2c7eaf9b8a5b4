"""What an operation of an Argo CD Application deploys: its sources, their revisions, and the artifact.

Source: argoproj.io/v1alpha1, `OperationState`, `SyncOperation` and `SyncOperationResult`.
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from schemas.adapters.fields import Path, commit_of, member, split_image, text
from schemas.adapters.foreign import Artifact
from schemas.adapters.kubernetes import RELEASE_ID, list_at, release_id, release_marker

Body = Mapping[str, Any]
At = tuple[Path, ...]
"""The path of an Application in a body, or of one of its members."""

_EXACT_VERSION: Final = re.compile(r"v?[0-9]+\.[0-9]+\.[0-9]+(?:[-+][0-9A-Za-z.+-]+)?")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_OCI: Final = "oci://"


def state_of(at: At) -> At:
    """The path of the Application's last operation."""
    return (*at, "status", "operationState")


def artifact_of(body: Body, at: At, *, images: bool) -> Artifact:
    """What the operation deploys. It must be the same in all events of one operation.

    `images`: the images that run are the operation's: it has succeeded, and the Application is healthy. Before that
    they are those of the operation before it, or of both.
    """
    source, revision = deployed(body, at)
    url = text(body, *source, "repoURL") or ""
    commit = tag = digest = image = None
    if text(body, *source, "chart") is None and not url.startswith(_OCI):
        commit = commit_of(revision)
    elif revision is not None and _DIGEST.fullmatch(revision) is not None:
        digest = revision
    else:
        tag = revision
    references = _overridden_images(body, source) or (_running_images(body, at) if images else ())
    id_ = _release_id(body, at)
    if len(references) == 1 and commit is None and tag is None and digest is None and id_ is None:
        image, tag, digest = split_image(references[0])
    return Artifact(commit=commit, image=image, tag=tag, digest=digest, images=references, release_id=id_)


def deployed(body: Body, at: At) -> tuple[At, str | None]:
    """The path of the source that is deployed, and its revision: the first that is not only a reference to values."""
    for number, source in enumerate(_sources(body, at)):
        if any(text(body, *source, name) is not None for name in ("chart", "path")) or not (text(body, *source, "ref")):
            found = revisions_of(body, at)
            revision = found[number] if number < len(found) else None
            return source, revision or _exact(text(body, *source, "targetRevision"))
    return (*at, "spec", "source"), None


def revisions_of(body: Body, at: At) -> list[str | None]:
    """The operation's revision of each source. Not `status.sync`: it is of the last comparison, and can be older."""
    for holder in ((*state_of(at), "syncResult"), (*state_of(at), "operation", "sync")):
        if several := list_at(body, *holder, "revisions"):
            return [text(body, *holder, "revisions", number) for number in range(len(several))]
        if (revision := text(body, *holder, "revision")) is not None:
            return [revision]
    return []


def _sources(body: Body, at: At) -> list[At]:
    """The paths of the operation's sources, in order; the Application's, while the operation does not have its own."""
    result, sync = (*state_of(at), "syncResult"), (*state_of(at), "operation", "sync")
    for holder in (result, sync, (*at, "spec")):
        if several := list_at(body, *holder, "sources"):
            return [(*holder, "sources", number) for number in range(len(several))]
        if text(body, *holder, "source", "repoURL") is not None:
            return [(*holder, "source")]
    return []


def _exact(target: str | None) -> str | None:
    """A target that can only be one revision: an operation that has no revision yet will have this one."""
    return target if commit_of(target) is not None or _EXACT_VERSION.fullmatch(target or "") is not None else None


def _running_images(body: Body, at: At) -> tuple[str, ...]:
    found = list_at(body, *at, "status", "summary", "images")
    return tuple(image for image in found if isinstance(image, str) and image)


def _overridden_images(body: Body, source: At) -> tuple[str, ...]:
    """Kustomize's `name=new-name:tag`: they are known from the start of the operation."""
    found = list_at(body, *source, "kustomize", "images")
    return tuple(image.rpartition("=")[2] for image in found if isinstance(image, str) and image)


def _release_id(body: Body, at: At) -> UUID | None:
    """Of the operation's `info`, or else of the Application."""
    info = (*state_of(at), "operation", "info")
    for number, one in enumerate(list_at(body, *info)):
        if member(one, "name") == RELEASE_ID:
            return release_id(text(body, *info, number, "value"), *info, number, "value")
    return release_marker(body, *at, "metadata")
