"""What the adapters of Kubernetes objects share, and that each recognises its own payloads alone."""

import json

import pytest

from schemas.adapters import argocd, flagger, flux, tekton
from schemas.adapters.foreign import Format, Unreadable
from schemas.adapters.kubernetes import list_at, marker, release_id, release_marker, repository_scope
from tests.unit.schemas.adapters.vendor_payloads import PAYLOADS, files

ADAPTERS = (argocd, tekton, flux, flagger)
OWN = {"argocd/captured": Format.ARGOCD, "tekton": Format.TEKTON, "flux": Format.FLUX}
RELEASE_ID = "0b6f1a52-5a4e-4c7f-9a34-0a6b3a0f5c11"


def own_format(name: str) -> Format | None:
    if name.endswith("flagger-monitoring-1.json"):
        return Format.FLAGGER
    return next((format_ for folder, format_ in OWN.items() if name.startswith(f"{folder}/")), None)


@pytest.mark.parametrize("folder", sorted(path.name for path in PAYLOADS.iterdir() if path.is_dir()))
def test_shapes_are_those_of_their_own_payloads(folder: str) -> None:
    for name in files(folder):
        body = json.loads((PAYLOADS / folder / name).read_text("utf-8"))
        if isinstance(body, dict):
            expected = own_format(f"{folder}/{name}")
            found = [adapter.FORMAT for adapter in ADAPTERS if adapter.has_shape(body)]
            assert found == ([expected] if expected is not None else []), name


def test_annotation_comes_before_the_label() -> None:
    body = {"metadata": {"annotations": {"a": "1", "c": ""}, "labels": {"a": "2", "b": "3", "c": "4"}}}
    assert [marker(body, name, "metadata") for name in ("a", "b", "c", "d")] == ["1", "3", "4", None]


def test_release_id_is_a_uuid() -> None:
    assert release_id(None, "x") is None
    assert str(release_id(RELEASE_ID, "x")) == RELEASE_ID
    with pytest.raises(Unreadable, match=r"^/metadata/labels/rudder\.dev~1release-id: is not a UUID$"):
        release_marker({"metadata": {"labels": {"rudder.dev/release-id": "seven"}}}, "metadata")


@pytest.mark.parametrize("url", [None, "", "shop", "oci://ghcr.io/acme/shop", "ghcr.io/acme/charts", "https:///shop"])
def test_text_that_is_no_repository_has_no_scope(url: str | None) -> None:
    assert repository_scope(url) == {}


def test_text_is_no_list() -> None:
    assert list_at({"images": "shop"}, "images") == ()
    assert list_at({"images": ["shop"]}, "images") == ["shop"]
