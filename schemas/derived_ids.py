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


class RunIds:
    """The ids of the activities that say which attempt a run of a foreign source has in one environment of a component
    and track.
    """

    def __init__(
        self, *, organization_id: str, component_id: UUID, deployment_track_id: str, environment_id: str, source: str
    ) -> None:
        self._names = f"{organization_id}\n{component_id}\n{deployment_track_id}\n{environment_id}\n{source}"

    def of(self, run: str) -> UUID:
        """Of the run itself."""
        return uuid5(NAMESPACE, f"run\n{self._names}\n{run}")

    def of_first_part(self, run: str) -> UUID:
        """Of the first deployment of a run that has several."""
        return uuid5(NAMESPACE, f"first part\n{self._names}\n{run}")
