"""What the worker would decide on records, one after the other, if nothing else happened: for plans.

Stored rows are loaded once; each decision then sees the effects of the earlier ones, per release and per release
number. Nothing is written.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Protocol
from uuid import UUID

from schemas.confusables import collides
from schemas.event import ReleaseReference
from schemas.incoming import DerivedRelease
from worker.ports import Decider
from worker.release_simulation import ReleaseSimulation
from worker.rules.message import Message
from worker.rules.numbers import next_number
from worker.rules.rows import Activity, Rejection
from worker.rules.state import Outcome, Rejected, State
from worker.stored_rows import ReleaseRows

Number = tuple[date, int, UUID]
"""A release's date, number and component."""


class Rows(Protocol):
    """The stored rows. Every method raises Unavailable where the database does not answer."""

    async def rows_of(self, release_ids: Sequence[UUID]) -> Sequence[ReleaseRows]:
        """The rows of these releases; none for a release that does not exist."""
        ...

    async def rejections_of(self, event_ids: Sequence[UUID]) -> Mapping[UUID, Rejection]:
        """The rejections with these ids."""
        ...

    async def activities_of(self, event_ids: Sequence[UUID]) -> Mapping[UUID, Activity]:
        """The first activities of these events, by id."""
        ...

    async def same_number(self, release_date: date, release_number: int, component_id: UUID) -> Mapping[UUID, str]:
        """The releases with this date, number and component, and the deployment track of each."""
        ...

    async def numbers(self, release_date: date, component_id: UUID) -> Mapping[str, int]:
        """The highest number of each track of a component on one day."""
        ...

    async def find_releases(self, references: Sequence[ReleaseReference]) -> Sequence[UUID | None]:
        """The release of each reference; None: there is none yet."""
        ...


class Prediction:
    """Call `load` for records before `decide` for them. `decider`: the rules, with the operator's allowed sources."""

    def __init__(self, rows: Rows, decider: Decider) -> None:
        self._rows = rows
        self._decider = decider
        self.releases: dict[UUID, ReleaseSimulation] = {}
        """By id, as they are after the decisions so far; those that do not exist included."""
        self.stored: dict[UUID, ReleaseRows] = {}
        """As they were loaded."""
        self.rejections: dict[UUID, Rejection] = {}
        """By event, as they are after the decisions so far."""
        self._activities: dict[UUID, Activity] = {}
        self._tracks: dict[Number, dict[UUID, str]] = defaultdict(dict)
        self._highest: dict[tuple[date, UUID], dict[str, int]] = {}
        self._found: dict[tuple[ReleaseReference, tuple[UUID, ...]], UUID] = {}

    async def load(self, messages: Sequence[Message]) -> None:
        """Load what the decisions on these records depend on. What is loaded already keeps its state.

        Raises:
            Unavailable: the database does not answer.
            ValueError: a release or a deployment has a status that is none of the worker's.
        """
        given = [one.reference for one in messages if one.reference is not None]
        new = [reference for reference in given if (reference, reference.runs) not in self._found]
        for reference, found in zip(new, await self._rows.find_releases(new) if new else (), strict=True):
            self._found[reference, reference.runs] = found or reference.derived_id
        derived = {one.reference.derived_id for one in messages if one.reference is not None}
        messages = [self._resolved(one) for one in messages]
        event_ids = {one.id for one in messages} | {one.corrects for one in messages if one.corrects is not None}
        new_ids = list(event_ids - self.rejections.keys())
        self.rejections |= await self._rows.rejections_of(new_ids)
        self._activities |= await self._rows.activities_of(new_ids)
        release_ids = {one.release_id for one in messages if one.release_id is not None} | derived
        release_ids -= self.releases.keys()
        for rows in await self._rows.rows_of(sorted(release_ids)):
            self.stored[rows.release["id"]] = rows
        for release_id in release_ids:
            stored = self.stored.get(release_id)
            self.releases[release_id] = ReleaseSimulation() if stored is None else ReleaseSimulation.of(stored)
        for number in {number for one in messages if (number := _number(one)) is not None} - self._tracks.keys():
            self._tracks[number] = dict(await self._rows.same_number(*number))
        for day in {day for one in messages if (day := _day(one)) is not None} - self._highest.keys():
            self._highest[day] = dict(await self._rows.numbers(*day))

    def decide(self, message: Message) -> Outcome:
        """The outcome after all that was decided before."""
        message = self._resolved(message)
        state = self._state(message)
        outcome = self._decider(state, message)
        self._write(outcome, message)
        return outcome

    def _resolved(self, message: Message) -> Message:
        """With the release that is stored, or that an earlier decision has created."""
        reference = message.reference
        if reference is None:
            return message
        found = self._found.get((reference, reference.runs), reference.derived_id)
        created = self.releases.get(reference.derived_id)
        if found == reference.derived_id and (created is None or created.release is None):
            found = self._created(reference) or found
        return message.resolved(found)

    def _created(self, reference: ReleaseReference) -> UUID | None:
        """As `worker.db.queries.release_query`, of the releases that decisions have created."""
        for simulation in self.releases.values():
            if simulation.release is not None and not simulation.runs.keys().isdisjoint(reference.runs):
                of_run: UUID = simulation.release["id"]
                return of_run
        releases = [one.release for one in self.releases.values() if one.release is not None]
        same = [
            release
            for release in releases
            if release["component_id"] == reference.component_id
            and release["deployment_track_id"] == reference.deployment_track_id
            and release["organization_id"] == reference.organization_id
        ]
        wanted = [("commit_hash", reference.commit_hash), *(("image_tag", text) for text in reference.image_tags)]
        for column, text in wanted:
            with_text = [release for release in same if text is not None and release[column] == text]
            if with_text:
                latest = max(with_text, key=lambda release: (release["release_date"], release["release_number"]))
                id_: UUID = latest["id"]
                return id_
        for release in same:
            if (release["release_date"], release["release_number"]) == reference.number:
                named: UUID = release["id"]
                return named
        return None

    def _state(self, message: Message) -> State:
        release_id = message.release_id
        simulation = ReleaseSimulation() if release_id is None else self.releases[release_id]
        simulation.rejections = self.rejections
        state = simulation.state(message, number_taken=self._number_taken(message))
        if (day := _day(message)) is not None and state.release is None:
            state = replace(state, next_number=next_number(self._highest.get(day, {}).items(), _track(message)))
        if state.activities or (first := self._activities.get(message.id)) is None:
            return state
        return State(activities=(first,))  # the identity was used by an event of another release

    def _number_taken(self, message: Message) -> bool:
        number = _number(message)
        if number is None:
            return False
        others = [track for id_, track in self._tracks[number].items() if id_ != message.release_id]
        track = _track(message)
        return track in others or collides(track, others) is not None

    def _write(self, outcome: Outcome, message: Message) -> None:
        release_id = message.release_id
        simulation = self.releases[release_id] if release_id is not None else ReleaseSimulation()
        simulation.rejections = self.rejections
        created = simulation.release is None
        simulation.write(outcome, message.id)
        number = _number(message)
        if created and simulation.release is not None and number is not None and release_id is not None:
            self._tracks[number][release_id] = _track(message)
        if created and simulation.release is not None:
            self._count_number(simulation.release)
        if not isinstance(outcome, Rejected) and (activities := simulation.activities.get(message.id)):
            self._activities[message.id] = activities[0]

    def _count_number(self, release: Mapping[str, Any]) -> None:
        """A release was created."""
        highest = self._highest.get((release["release_date"], release["component_id"]))
        if highest is not None:
            track = release["deployment_track_id"]
            highest[track] = max(release["release_number"], highest.get(track, 0))


def _number(message: Message) -> Number | None:
    fields = message.release_fields
    if fields is None or isinstance(fields, DerivedRelease):
        return None
    return fields.release_date, fields.release_number, fields.component_id


def _day(message: Message) -> tuple[date, UUID] | None:
    """The date and component of a release that takes the next free number."""
    fields = message.release_fields
    return (fields.release_date, fields.component_id) if isinstance(fields, DerivedRelease) else None


def _track(message: Message) -> str:
    fields = message.release_fields
    return "" if fields is None else fields.deployment_track_id
