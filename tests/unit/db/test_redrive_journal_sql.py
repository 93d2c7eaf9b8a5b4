"""The statement of the redrive journal that decides who sends a record, as SQL Server gets it."""

from dataclasses import replace
from uuid import UUID

from sqlalchemy.dialects import mssql

from worker.db.redrive_journal import claim_statement
from worker.rules.message import RecordPosition
from worker.stored_redrives import JournalRow, Pinned, State


def compiled(row: JournalRow) -> str:
    statement = claim_statement(UUID(int=1), row, end_offset=7, claim="mine")
    return " ".join(str(statement.compile(dialect=mssql.dialect())).split())  # type: ignore[no-untyped-call]


def test_claim_is_one_conditional_update_on_sql_server() -> None:
    """A record in SENDING keeps its end offset, and must have the claim that was read."""
    pinned = Pinned(UUID(int=2), RecordPosition("events", 0, 5))
    row = JournalRow(number=0, pinned=pinned, release_id=None, predicted="applied")
    planned = compiled(row)
    assert planned.startswith("UPDATE redrive_records SET state=:state, end_offset=:end_offset, detail=:detail WHERE ")
    assert planned.count("redrive_records.state = ") == 2
    sending = compiled(replace(row, state=State.SENDING, end_offset=3, claim="killed"))
    assert "end_offset=redrive_records.end_offset" in sending
