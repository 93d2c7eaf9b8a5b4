"""An artifact's id, mostly a package URL, becomes commit, image, tag and digest."""

import pytest

from schemas.adapters.foreign import Artifact
from schemas.adapters.package_urls import Package, is_identified, read_artifact_id
from schemas.adapters.repository_urls import repository_of

COMMIT = "58793660b22d6ceacbdc23b28a0562bca339702c"
HEX = "0b31b1c02ff458ad9b7b81cbdf8f028bd54699fa151f221d1e8de6817db93427"
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "artifact", "name"),
    [
        (f"pkg:oci/myapp@sha256%3A{HEX}", Artifact(image="myapp", digest=DIGEST), "myapp"),
        (
            f"pkg:oci/static@sha256%3A{HEX.upper()}?repository_url=gcr.io/distroless/static&tag=latest",
            Artifact(image="gcr.io/distroless/static", tag="latest", digest=DIGEST),
            "gcr.io/distroless/static",
        ),
        # CDviz writes the registry alone.
        (
            "pkg:oci/shop?repository_url=ghcr.io/acme&tag=0.6.2",
            Artifact(image="ghcr.io/acme/shop", tag="0.6.2"),
            "ghcr.io/acme/shop",
        ),
        (
            "pkg:oci/charts@0.4.0-11-gd6f6e7b?repository_url=https%3A%2F%2Fghcr.io%2Facme%2F",
            Artifact(image="ghcr.io/acme/charts", tag="0.4.0-11-gd6f6e7b"),
            "ghcr.io/acme/charts",
        ),
        (
            f"pkg:docker/customer/app@sha256:{HEX}?repository_url=gcr.io",
            Artifact(image="gcr.io/customer/app", digest=DIGEST),
            "gcr.io/customer/app",
        ),
        ("pkg:docker/cassandra@4.1", Artifact(image="cassandra", tag="4.1"), "cassandra"),
        ("pkg:DOCKER/cassandra@4.1", Artifact(image="cassandra", tag="4.1"), "cassandra"),
        ("pkg:oci/myapp", Artifact(image="myapp"), "myapp"),
        ("pkg:oci/", Artifact(), None),
        (f"pkg:github/acme/shop@{COMMIT}", Artifact(commit=COMMIT), "acme/shop"),
        (f"pkg:github/acme/shop@{COMMIT.upper()}#src", Artifact(commit=COMMIT), "acme/shop"),
        (f"pkg:git/git.example.com/acme/shop@{COMMIT}", Artifact(commit=COMMIT), "git.example.com/acme/shop"),
        ("pkg:github/acme/shop@v1.4.2", Artifact(tag="v1.4.2"), "acme/shop"),
        (
            "pkg:golang/mygit.com/myorg/myapp@234fd47e07d1004f0aed9c",
            Artifact(tag="234fd47e07d1004f0aed9c"),
            "mygit.com/myorg/myapp",
        ),
        ("pkg:npm/%40acme/shop@1.2.3", Artifact(tag="1.2.3"), "@acme/shop"),
        # 40 hexadecimal digits are a commit only where versions are those of a repository.
        (f"pkg:generic/shop@{COMMIT}", Artifact(tag=COMMIT), "shop"),
        (
            f"pkg:generic/shop@1.2?vcs_url=git%2Bhttps://github.com/acme/shop.git%40{COMMIT}",
            Artifact(commit=COMMIT, tag="1.2"),
            "acme/shop",
        ),
        (f"pkg:generic/shop@1.2?vcs_url=%40{COMMIT}", Artifact(commit=COMMIT, tag="1.2"), "shop"),
        ("pkg:generic/shop@1.2?vcs_url=git%2Bhttps://github.com/acme/shop%40main", Artifact(tag="1.2"), "shop"),
        (HEX, Artifact(digest=DIGEST), None),
        (f"sha256:{HEX.upper()}", Artifact(digest=DIGEST), None),
        (COMMIT, Artifact(commit=COMMIT), None),
        (
            f"ghcr.io/acme/shop:1.2@{DIGEST}",
            Artifact(image="ghcr.io/acme/shop", tag="1.2", digest=DIGEST),
            "ghcr.io/acme/shop",
        ),
        ("six-1.14.0-py2.py3-none-any.whl", Artifact(tag="six-1.14.0-py2.py3-none-any.whl"), None),
        (":1.2", Artifact(tag=":1.2"), None),
    ],
)
def test_artifact_id_is_read(text: str, artifact: Artifact, name: str | None) -> None:
    assert read_artifact_id(text) == Package(artifact, name)


@pytest.mark.parametrize(
    ("artifact", "expected"),
    [
        (Artifact(), False),
        (Artifact(image="shop"), False),
        (Artifact(commit=COMMIT), True),
        (Artifact(tag="1.2"), True),
        (Artifact(digest=DIGEST), True),
    ],
)
def test_image_alone_identifies_no_version(artifact: Artifact, *, expected: bool) -> None:
    assert is_identified(artifact) is expected


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://github.com/acme/shop.git", "acme/shop"),
        ("https://ci:secret@git.example.com:8443/acme/group/shop", "acme/group/shop"),
        ("ssh://git@github.com/acme/shop.git", "acme/shop"),
        ("git+https://github.com/acme/shop", "acme/shop"),
        ("git@github.com:acme/shop.git", "acme/shop"),
        ("github.com:acme/shop", "acme/shop"),
        ("https://acme@dev.azure.com/acme/Fabrikam%20Fiber/_git/shop", "shop"),
        ("https://api.github.com/repos/acme/shop", "acme/shop"),
        ("https://github.com/", None),
        ("https://[", None),
        ("C:/build/shop", None),
        ("/srv/git/shop.git", None),
        ("", None),
        (None, None),
    ],
)
def test_repository_is_read_from_its_url(url: str | None, name: str | None) -> None:
    assert repository_of(url) == name
