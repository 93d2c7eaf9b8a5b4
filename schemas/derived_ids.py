"""The namespace of all ids that are derived from names (UUIDv5), and the ids of what foreign events create.

The namespace must never change: every known event would count as new.
"""

from typing import Final
from uuid import UUID, uuid5

NAMESPACE: Final = UUID("6f1d5f6e-2f0a-5c0b-9d43-7b0d3f2f5a11")


def derived_release_id(*, organization_id: str, component_id: UUID, deployment_track_id: str, artifact: str) -> UUID:
    """The id of the release of one artifact: deployments of it to several environments meet in one release.

    `artifact`: an image's digest or tag, else a commit. Line feeds separate the names; none of them may have one.
    """
    return uuid5(NAMESPACE, f"release\n{organization_id}\n{component_id}\n{deployment_track_id}\n{artifact}")


def run_id(*, source: str, run: str, environment_id: str, config_revision: int) -> UUID:
    """The id of the activity that says which attempt one deployment of a foreign source has."""
    return uuid5(NAMESPACE, f"run\n{config_revision}\n{source}\n{run}\n{environment_id}")


def first_part_id(*, source: str, run: str, environment_id: str, config_revision: int) -> UUID:
    """The id of the activity that says which attempt the first deployment of a run of several has."""
    return uuid5(NAMESPACE, f"first part\n{config_revision}\n{source}\n{run}\n{environment_id}")
