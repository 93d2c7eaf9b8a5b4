"""The models' tables, under the names that Core statements use."""

from typing import cast

from sqlalchemy import Table

from worker.db import models

RELEASES = cast("Table", models.Release.__table__)
DEPLOYMENTS = cast("Table", models.ReleaseDeployment.__table__)
ACTIVITY_LOGS = cast("Table", models.ReleaseActivityLog.__table__)
BASE_REVISIONS = cast("Table", models.ReleaseApimBaseRevision.__table__)
REJECTIONS = cast("Table", models.ReleaseEventRejection.__table__)
