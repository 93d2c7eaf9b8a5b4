"""The rows of `app_environments` against what the deployments of all releases had them point at.

Every success that is its environment's attempt of the latest event points the row there, if it is later than what the
row points at: so the row has the latest of all, in whatever order the releases were handled. A worker moves the pointer
in the transaction of the event, and the rows are read here before the tables and after the group's commits. So whatever
a pointer is at must be known, and it cannot be behind an event that was committed.

The rows themselves are another system's. One may be younger than the deployments of its environment, and then point at
none of them: that is counted, and is no finding. Where two have one environment, component and track, a worker may move
one of them alone, and neither is called late.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from worker.rules.rows import PointerMove
from worker.stored_rows import Pointing
from worker.verify.findings import Finding, Kind, Place

TABLE = "app_environments"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointed:
    """What a record had a row point at, if there was one. `number`: its place among those of its release. `certain`:
    the record was committed and the log tells of it.
    """

    move: PointerMove
    at: datetime
    place: Place
    number: int
    certain: bool

    @property
    def rank(self) -> tuple[datetime, UUID, int]:
        """The highest wins. Within a release times never go back, and of equal ones the later record counts."""
        return self.at, self.move.release_id, self.number


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What there is to say of a row. `pointed`: how it came to point there, None where no record tells. `owner`: the
    release that has the deployment, None where none has. `told`: whether its records tell of all that it had rows point
    at; where no release has it, whether the one that the row names could be read. `latest`: what is certain to have
    been its environment's; None where it has more than one row as well.
    """

    pointed: Pointed | None
    owner: UUID | None
    told: bool
    latest: Pointed | None


def points_at_nothing(row: Pointing) -> bool:
    return row.attempt is None and row.release is None and row.name is None


def pointing_findings(row: Pointing, known: Known) -> Iterator[Finding | None]:
    """At most one; None: it cannot be told."""
    pointed, latest = known.pointed, known.latest
    where = f"environment {row.environment} of component {row.component}, track {row.track}"
    if pointed is not None:
        move = pointed.move
        its_key = (move.environment_id, str(move.component_id), move.deployment_track_id)
        if its_key != (row.environment, row.component, row.track):
            expected = f"{where}: one of its own deployments"
            yield _finding(row, Kind.CONTRADICTORY, expected, f"one of {' '.join(its_key)}", pointed)
        elif _said(move) != (row.release, row.attempt, row.name):
            yield _finding(row, Kind.CONTRADICTORY, f"{where}: {_told(*_said(move))}", _as_found(row), pointed)
        elif latest is not None and latest.rank > pointed.rank:
            expected = f"{where}: {_told(*_said(latest.move))} of {latest.at}"
            yield _finding(row, Kind.CONTRADICTORY, expected, f"{_as_found(row)} of {pointed.at}", latest)
    elif not known.told:
        yield None
    elif known.owner is None:
        yield _finding(row, Kind.INVENTED, f"{where}: a deployment that there is", _as_found(row))
    else:
        expected = f"{where}: a deployment that succeeded, and was its environment's latest then"
        yield _finding(row, Kind.CONTRADICTORY, expected, _as_found(row), release=known.owner)


def _finding(
    row: Pointing,
    kind: Kind,
    expected: str,
    found: str,
    by: Pointed | None = None,
    *,
    release: UUID | None = None,
) -> Finding:
    return Finding(
        kind=kind,
        place=by.place if by else None,
        table=TABLE,
        row=row.row,
        release=by.move.release_id if by else release,
        expected=expected,
        found=found,
    )


def _said(move: PointerMove) -> tuple[str, str, str]:
    return str(move.release_id), str(move.deployment_id), move.deployment_name


def _as_found(row: Pointing) -> str:
    return _told(row.release, row.attempt, row.name)


def _told(release: str | None, attempt: str | None, name: str | None) -> str:
    return f"deployment {attempt}, {name}, of release {release}"
