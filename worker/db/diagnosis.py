"""What `doctor` checks of a database. It only reads, so a login that only reads is enough."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import exists, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.db.database_url import require_database
from worker.db.dialect import READ_ONLY, translating
from worker.db.engine import open_engine
from worker.db.inspection import current_revision
from worker.db.models import Base

_REJECTIONS = Base.metadata.tables["release_event_rejections"].c
_DISMISSALS = Base.metadata.tables["release_event_dismissals"].c

_CLOCK_READINGS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """`clock_ahead_seconds`: how far the server's clock is ahead of this machine's, None where it has none of its own;
    measured by a query of `round_trip_seconds`. `oldest_open`: the time of the oldest open dead letter of each input
    topic; None where the database is at another revision than `head`.
    """

    product: str
    revision: str | None
    clock_ahead_seconds: float | None
    round_trip_seconds: float
    advice: tuple[str, ...]
    oldest_open: Mapping[str, datetime] | None


async def diagnose(url: str, *, head: str, timeout_seconds: float) -> Diagnosis:
    """Raises Unavailable where the database does not answer, ConfigurationError where there is none or it refuses the
    login.
    """
    require_database(url)
    engine, dialect = open_engine(url, timeout_seconds=timeout_seconds)
    try:
        with translating(dialect):
            async with engine.connect() as connection:
                await connection.execution_options(**READ_ONLY)
                async with connection.begin():
                    revision = await current_revision(connection)
                    ahead, round_trip = await _clock(connection, dialect.utc_now)
                    return Diagnosis(
                        product=_product(connection),
                        revision=revision,
                        clock_ahead_seconds=ahead,
                        round_trip_seconds=round_trip,
                        advice=tuple(await dialect.advice(connection)) if revision is not None else (),
                        oldest_open=await _oldest_open(connection) if revision == head else None,
                    )
    finally:
        await engine.dispose()


def _product(connection: AsyncConnection) -> str:
    dialect = connection.dialect
    version: tuple[object, ...] = getattr(dialect, "server_version_info", None) or ()
    return f"{dialect.name} {'.'.join(map(str, version))}".strip()


async def _clock(connection: AsyncConnection, utc_now: str | None) -> tuple[float | None, float]:
    """Of several readings the one with the shortest round trip: the server read its clock in its middle, or nearly."""
    if utc_now is None:
        return None, 0.0
    readings = []
    for _ in range(_CLOCK_READINGS):
        began_at, began = datetime.now(UTC), time.perf_counter()
        found = (await connection.execute(text(f"SELECT {utc_now}"))).scalar_one()
        round_trip = time.perf_counter() - began
        ahead = (found.replace(tzinfo=UTC) - began_at).total_seconds() - round_trip / 2
        readings.append((round_trip, ahead))
    round_trip, ahead = min(readings)
    return ahead, round_trip


async def _oldest_open(connection: AsyncConnection) -> dict[str, datetime]:
    dismissed = select(_DISMISSALS.rejection_id).where(_DISMISSALS.rejection_id == _REJECTIONS.id)
    query = (
        select(_REJECTIONS.topic, func.min(_REJECTIONS.created_at).label("oldest"))
        .where(_REJECTIONS.resolved_at.is_(None), ~exists(dismissed))
        .group_by(_REJECTIONS.topic)
    )
    return {row.topic: row.oldest for row in await connection.execute(query)}
