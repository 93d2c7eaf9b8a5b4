"""The copy made at an await equals the state that a process leaves when it is killed there."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from tests.deterministic.ending import rows
from tests.deterministic.process import Process
from tests.deterministic.remains import database_files, lay_out
from tests.deterministic.scenario import BEGAN_SECONDS, scenario
from worker.db import migration


class Killed(Process):
    """A process that sends itself SIGKILL at one of its awaits."""

    point: int | None = None

    def _suspended(self, where: str) -> None:
        super()._suspended(where)
        if len(self.deaths) == self.point:
            os.kill(os.getpid(), signal.SIGKILL)


def live(path: Path, *, point: int | None, effects_at_once: bool) -> Process:
    process = Killed(scenario(), path, now_seconds=BEGAN_SECONDS, effects_at_once=effects_at_once, watched=True)
    process.point = point
    process.run()
    return process


@pytest.mark.parametrize("effects_at_once", [False, True], ids=["before a commit", "after a commit"])
def test_copy_of_a_running_process_equals_a_killed_one(tmp_path: Path, *, effects_at_once: bool) -> None:
    path, copied = tmp_path / "worker.db", tmp_path / "copied.db"
    migration.upgrade(f"sqlite+aiosqlite:///{path}", "head")
    migrated = database_files(path)
    deaths = live(path, point=None, effects_at_once=effects_at_once).deaths
    in_commits = [point for point, one in enumerate(deaths, start=1) if "database commit" in one.unanswered]
    point = in_commits[len(in_commits) // 2]

    lay_out(migrated, path)
    arguments = {"point": point, "effects_at_once": effects_at_once}
    process = multiprocessing.get_context("spawn").Process(target=live, args=(path,), kwargs=arguments)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    lay_out(deaths[point - 1].files, copied)
    assert {suffix: len(content) for suffix, content in database_files(path).items()} == {
        suffix: len(content) for suffix, content in database_files(copied).items()
    }
    left = rows(path)
    assert left == rows(copied)
    assert left["release_activity_logs"]
