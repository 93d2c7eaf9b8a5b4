"""Every await is a place to die: whichever it is, the restarted worker ends with what an undisturbed one ends with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deterministic.ending import LinkedEvent, ending, told_too_early
from tests.deterministic.mutants import HIDDEN_WHILE_ALIVE, SEEN_ANYWAY, Mutant
from tests.deterministic.process import Process
from tests.deterministic.remains import Files, Remains, database_files, lay_out
from tests.deterministic.scenario import BEGAN_SECONDS, scenario
from worker.db import migration

POINTS_MIN = 200
KINDS = {"database", "database commit", "publication", "offsets"}

both_ways = pytest.mark.parametrize(
    "effects_at_once", [False, True], ids=["unanswered is undone", "unanswered is done"]
)


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Files:
    path = tmp_path_factory.mktemp("migrated") / "worker.db"
    migration.upgrade(f"sqlite+aiosqlite:///{path}", "head")
    return database_files(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "worker.db"


def undisturbed(migrated: Files, path: Path, *, effects_at_once: bool) -> tuple[LinkedEvent, list[Remains]]:
    """How it ends, and what there would be if it had died at each of its awaits."""
    lay_out(migrated, path)
    broker = scenario()
    process = Process(broker, path, now_seconds=BEGAN_SECONDS, effects_at_once=effects_at_once, watched=True)
    process.run()
    return ending(broker, path), process.deaths


def wrong(deaths: list[Remains], expected: LinkedEvent, path: Path) -> Iterator[str]:
    """The deaths after which not all is as it should be, at once or when the next process has done the rest.

    The next process is a function of what is left and of the time: a death that leaves what the one before left has
    its result.
    """
    left: tuple[object, ...] = ()
    for point, remains in enumerate(deaths, start=1):
        before, left = left, (remains.files, remains.broker, remains.now_seconds)
        if left == before:
            continue
        place = f"{point}: {remains.where}, unanswered: {sorted(remains.unanswered)}"
        lay_out(remains.files, path)
        if early := told_too_early(remains.broker, path):
            yield f"{place}: told too early: {early}"
        lay_out(remains.files, path)
        broker = remains.broker.copy()
        Process(broker, path, now_seconds=remains.now_seconds).run()
        if ending(broker, path) != expected:
            yield f"{place}: ends differently"


@both_ways
def test_two_runs_suspend_at_the_same_points(migrated: Files, path: Path, *, effects_at_once: bool) -> None:
    first, second = (undisturbed(migrated, path, effects_at_once=effects_at_once) for _ in range(2))
    assert first[0] == second[0]
    assert [(one.where, one.now_seconds, one.unanswered) for one in first[1]] == [
        (one.where, one.now_seconds, one.unanswered) for one in second[1]
    ]


def test_time_of_the_effect_before_its_answer_does_not_matter(migrated: Files, path: Path) -> None:
    ends = [undisturbed(migrated, path, effects_at_once=at_once)[0] for at_once in (False, True)]
    assert ends[0] == ends[1]


@both_ways
def test_death_at_any_await_has_the_same_result(migrated: Files, path: Path, *, effects_at_once: bool) -> None:
    expected, deaths = undisturbed(migrated, path, effects_at_once=effects_at_once)
    assert len(deaths) >= POINTS_MIN
    assert {kind for remains in deaths for kind in remains.unanswered} == KINDS
    assert not list(wrong(deaths, expected, path))


@pytest.mark.parametrize("mutant", [*HIDDEN_WHILE_ALIVE, *SEEN_ANYWAY], ids=lambda mutant: mutant.__name__)
def test_faulty_worker_does_not_survive_every_death(mutant: Mutant, migrated: Files, path: Path) -> None:
    expected, _ = undisturbed(migrated, path, effects_at_once=False)
    with pytest.MonkeyPatch.context() as patch:
        mutant(patch)
        # Effects at once leave more between the steps: what is to be found is found sooner there.
        lives = [undisturbed(migrated, path, effects_at_once=at_once) for at_once in (True, False)]
        assert [end == expected for end, _ in lives] == [mutant in HIDDEN_WHILE_ALIVE] * 2
        assert any(any(wrong(deaths, expected, path)) for _, deaths in lives)
