"""The artifact that a package URL, or another name of an artifact, stands for.

Source: the package-url specification and its types `oci`, `docker`, `github`, `bitbucket` and `golang`. An `oci` URL
has its registry in the qualifier `repository_url`, with or without the image's name.
"""

import re
from typing import Final, NamedTuple
from urllib.parse import unquote

from schemas.adapters.fields import commit_of, split_image, split_package_url
from schemas.adapters.foreign import Artifact
from schemas.adapters.repository_urls import repository_of

_IMAGES: Final = frozenset({"oci", "docker"})
_REPOSITORIES: Final = frozenset({"git", "github", "gitlab", "bitbucket", "golang"})
"""Types whose version can be a commit of the package's own repository."""
_HEX_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}", re.IGNORECASE)


class Package(NamedTuple):
    """`name`: of the package, of an image with its registry. None where the text has none."""

    artifact: Artifact
    name: str | None


def read_artifact_id(text: str) -> Package:
    """A package URL; else a commit, a digest, an image reference, or any other text as a version."""
    found = split_package_url(text)
    if found is None:
        return _without_package_url(text)
    path, version, digest = found
    kind, _, name = path.partition("/")
    kind = kind.lower()
    qualifiers = _qualifiers(text)
    if kind in _IMAGES:
        image = _image(name, qualifiers.get("repository_url"))
        return Package(Artifact(image=image or None, tag=version, digest=digest), image or None)
    commit = commit_of(version) if kind in _REPOSITORIES else None
    tag = version if commit is None else None
    if commit is None and (source := qualifiers.get("vcs_url")) is not None:
        location, _, revision = source.rpartition("@")  # git+https://github.com/acme/shop.git@<commit>
        commit = commit_of(revision)
        name = (repository_of(location) if commit is not None else None) or name
    return Package(Artifact(commit=commit, tag=tag, digest=digest), name or None)


def is_identified(artifact: Artifact) -> bool:
    """Whether it names one version, not only an image."""
    return artifact.commit is not None or artifact.tag is not None or artifact.digest is not None


def _without_package_url(text: str) -> Package:
    if _HEX_DIGEST.fullmatch(text):
        return Package(Artifact(digest=f"sha256:{text.lower()}"), None)
    if _DIGEST.fullmatch(text):
        return Package(Artifact(digest=text.lower()), None)
    commit = commit_of(text)
    if commit is not None:
        return Package(Artifact(commit=commit), None)
    image, tag, digest = split_image(text)
    if image and (tag or digest):
        return Package(Artifact(image=image, tag=tag, digest=digest), image)
    return Package(Artifact(tag=text), None)


def _qualifiers(url: str) -> dict[str, str]:
    _, _, given = url.partition("#")[0].partition("?")
    pairs = (part.partition("=")[::2] for part in given.split("&") if part)
    return {name: unquote(value) for name, value in pairs if value}


def _image(name: str, registry: str | None) -> str:
    if registry is None:
        return name
    location = registry.partition("://")[2] or registry
    location = location.strip("/")
    return location if location.endswith(f"/{name}") else f"{location}/{name}"
