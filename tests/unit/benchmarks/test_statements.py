"""Other contenders run the worker's own SQL, for every statement that an event of the stream can cause."""

import json
import random
import re
from dataclasses import dataclass, replace
from uuid import UUID

import pytest

from benchmarks import java_statements, statements
from benchmarks.worker_statements import NOTHING, SESSION, alone, asks, writes_by_shape
from schemas.types import EventType
from tests.unit.benchmarks.stream_messages import stream_messages
from tests.unit.rules.release_scenario import Scenario, fields
from worker.db import loads
from worker.db.pointers import ComponentKey
from worker.db.postgresql import session as postgresql
from worker.db.postgresql.fragments import FRAGMENTS
from worker.db.statement import numbered
from worker.db.writes import write_set_of
from worker.rules.message import Message
from worker.rules.query import query_of
from worker.rules.state import Applied, Outcome, Stale, State

KINDS = [kind for kind in EventType if ".deployment." in kind]
ENVIRONMENTS = ("staging", "development")
VERSION = 4711
QUERIES = loads.Loads.of(FRAGMENTS, ComponentKey.UUID, to_statement=numbered)

Sent = tuple[str, tuple[object, ...]]


class Loads(Scenario):
    """Keeps the rows that the last message loaded."""

    state = State()

    def handle(self, sent: Message) -> Outcome:
        self.state = self.world.load(sent)
        return super().handle(sent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """An event, its outcome, and the two statements that the worker sends for it."""

    message: Message
    outcome: Applied | Stale
    asked: Sent
    written: Sent


@pytest.fixture(scope="module")
def turns() -> list[Turn]:
    """Events of every kind in many orders, without rejected ones: the stream has none."""
    return _turns()


@pytest.fixture(scope="module")
def stream_turns() -> list[Turn]:
    """The first events of the benchmark's stream."""
    return _stream_turns()


def _stream_turns() -> list[Turn]:
    turns = []
    for message, world in stream_messages(1_500):
        state = world.load(message)
        outcome = world.take(message)
        assert isinstance(outcome, Applied)
        turns.append(_turn(message, state, outcome))
    return turns


def _turns() -> list[Turn]:
    dice = random.Random(7)
    turns = []
    for _ in range(60):
        scenario = Loads()
        for position in range(12):
            known = bool(scenario.world.releases)
            outcome = scenario.add(
                dice.choice(KINDS),
                at=position,  # as in the stream: events out of order leave more than one time in a row
                block=fields() if not known or dice.random() < 0.3 else None,
                environment_id=dice.choice(ENVIRONMENTS),
                config_revision=dice.choice((1, 2)),
                comment="why",
                actor="who",
                config_mapping_revision=3,
                schema_based_config_revision=4,
                api_settings={"replicas": 5},
            )
            if isinstance(outcome, Applied | Stale):
                turns.append(_turn(scenario.messages[-1], scenario.state, outcome))
    return turns


def _turn(message: Message, state: State, outcome: Applied | Stale) -> Turn:
    query = query_of(message)
    if state.release is not None:
        state = replace(state, release_version=VERSION)
    statement, values_of = QUERIES.by_variant[query.variant]
    written, values = postgresql.written(write_set_of(outcome.changes, query, state, None))
    sql, values = alone(written.sql, values)
    return Turn(message=message, outcome=outcome, asked=(statement.sql, values_of(query)), written=(sql, tuple(values)))


def test_every_event_loads_known_statements_only(turns: list[Turn]) -> None:
    assert {turn.asked[0] for turn in turns} == {statement.sql for statement in asks().values()}


def test_every_event_writes_known_statements_only(turns: list[Turn]) -> None:
    """Every shape of a write occurs, and every event has one of these shapes."""
    assert {turn.written[0] for turn in turns} == {statement.sql for statement in writes_by_shape().values()}


def test_parameter_names_match_the_workers_values(turns: list[Turn]) -> None:
    """A contender that sets the parameters by name writes the values that the worker writes for decided events."""
    names = {statement.sql: statement.names for statement in writes_by_shape().values()}
    for turn in turns:
        sql, parameters = turn.written
        values = _by_name(names[sql], parameters)
        changes = turn.outcome.changes
        for position, activity in enumerate(changes.activities):
            assert values[f"entry_{position}_id"] == activity.id
            assert values[f"entry_{position}_data"] == activity.activity_data
            assert values[f"entry_{position}_deployment"] == activity.deployment_id
        assert values["release"] == turn.message.release_id
        assert values["at"] == turn.message.at
        assert values.get("version", VERSION) == VERSION
        assert values.get(NOTHING) is None
        if (target := changes.new_deployment or next(iter(changes.deployment_moves), None)) is not None:
            row, content = target.deployment, target.optional_fields
            assert (values["deployment"], values["status"], values["comment"]) == (row.id, row.status, content.comment)
            assert values["config_mapping_revision"] == content.config_mapping_revision
            assert values["schema_based_config_revision"] == content.schema_based_config_revision
            assert values["api_settings"] == content.api_settings
            assert values["deployed_by"] == row.deployed_by
        for move in changes.deployment_moves:
            prefix = "superseded_" if changes.new_deployment else ""
            assert values[f"{prefix}deployment"] == move.deployment.id
            assert values[f"{prefix}previous"] == move.previous
        if moved := changes.release_move:
            assert (values["release_status"], values["release_previous"]) == (moved.status, moved.previous)


def test_event_is_looked_up_by_its_first_activity(turns: list[Turn]) -> None:
    names = {statement.sql: statement.names for statement in asks().values()}
    for turn in turns:
        sql, parameters = turn.asked
        values = _by_name(names[sql], parameters)
        assert values["event_id"] == turn.outcome.changes.activities[0].id
        assert values["attempt"] is None


def test_file_for_java_matches_the_workers_statements() -> None:
    """`python -m benchmarks.java_statements` writes the file."""
    assert java_statements.FILE.read_text("utf-8") == java_statements.text()


def test_java_gets_a_value_for_each_question_mark() -> None:
    contents = json.loads(java_statements.text())
    for statement in (contents["entries"], *contents["asks"].values(), *contents["writes"].values()):
        assert statement["sql"].count("?") == len(statement["names"]) > 0
        assert "$" not in statement["sql"].replace("{12}$'", "")  # the one that ends a pattern


def test_repeated_parameter_is_repeated_for_java() -> None:
    contents = json.loads(java_statements.text())
    assert contents["asks"]["started"]["names"].count("release_id") > asks()["started"].names.count("release_id") == 1


def test_session_settings_match_the_workers() -> None:
    assert SESSION["plan_cache_mode"] == "force_generic_plan"
    for name, value in SESSION.items():
        assert f"SET {name} = {value}'" in statements.preparation()


def test_statement_of_one_message_has_no_setting_of_a_batch() -> None:
    """Other programs have one message a transaction, and the session's own settings."""
    for statement in writes_by_shape().values():
        assert "set_config" not in statement.sql
        numbers = [int(number) for number in re.findall(r"\$(\d+)", statement.sql)]
        assert numbers == list(range(1, len(statement.names) + 1))


def test_pgbench_sends_the_workers_statements(stream_turns: list[Turn]) -> None:
    """The script has every statement that the worker sends for the stream's events, apart from the parameters."""
    script = _without_values(statements.script())
    content = {sql for turn in stream_turns for sql, _ in (turn.asked, turn.written)}
    assert len(content) > 5
    assert [sql for sql in content if _without_parameters(sql) not in script] == []


def test_pgbench_defines_every_variable() -> None:
    """pgbench would leave an undefined variable in the statement unchanged."""
    script = statements.script()
    given = set(re.findall(r"\\set (\w+)", script)) | set(re.findall(r"AS (\w+)", script))
    given |= set(re.findall(r"AS (\w+)", statements.preparation()))
    given |= {name for names in re.findall(r"AS answer \(([^)]*)\)", script) for name in names.split(", ")}
    sent = set(re.findall(r"(?<!:):([a-z_]\w*)", script))
    assert sent <= given | {"scale"}
    assert {"release", "release_version", "entry_0", "at", "deployment", "attempt"} <= sent


def test_constant_texts_of_pgbench_hold_no_row_id() -> None:
    """Row ids differ in each transaction; constant texts contain only values that many rows share."""
    ids = re.findall(r"'([0-9a-f]{8}-[0-9a-f-]{27})'::text AS (\w+)", statements.preparation())
    assert {name for _, name in ids} == {"project", "component"}


def _by_name(names: tuple[str, ...], parameters: tuple[object, ...]) -> dict[str, object]:
    """The values by name; equal names have equal values."""
    values: dict[str, object] = {}
    for name, value in zip(names, parameters, strict=True):
        assert values.setdefault(name, value) == value, name
        assert name not in {"release", "deployment"} or isinstance(value, UUID)
    return values


def _without_parameters(sql: str) -> str:
    return _plain(re.sub(r"\$\d+", "NULL", sql))


def _without_values(script: str) -> str:
    """pgbench's script without variable names, and without the expressions that hide a null from the planner."""
    return _plain(re.sub(r"(?<!:):[a-z_]\w*|\(SELECT NULL::\w+\)", "NULL", script))


def _plain(text: str) -> str:
    return " ".join(text.split())
