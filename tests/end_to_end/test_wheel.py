"""The built wheel, installed where no checkout is: it can migrate, publish and run."""

import asyncio
import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.end_to_end.release_records import ReleaseRecords
from tests.end_to_end.system import System
from tests.end_to_end.worker_process import ROOT, WorkerProcess

TIMEOUT_SECONDS = 120
# The checkout is on this environment's path by its .pth file, which a path to plain packages does not read.
DEPENDENCIES = sysconfig.get_paths()["purelib"]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a fresh environment with the wheel in it; its dependencies are the development environment's."""
    folder = tmp_path_factory.mktemp("wheel")
    build = "import sys; from hatchling.builders.wheel import WheelBuilder; print(*WheelBuilder(sys.argv[1]).build("
    build += "directory=sys.argv[2], versions=['standard']))"
    _run([sys.executable, "-c", build, str(ROOT), str(folder)])
    [wheel] = folder.glob("*.whl")
    environment = folder / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    python = environment / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "-q"]
    _run([*install, "--disable-pip-version-check", str(wheel)])
    [packages] = environment.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(f"{DEPENDENCIES}\n", encoding="utf-8")
    return environment / "bin" / "rudder-worker"


def _run(command: list[str], *, cwd: Path | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, env=environment, cwd=cwd
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_imported_code_is_the_wheels(installed: Path, tmp_path: Path) -> None:
    """All three packages come from the environment, none from the checkout."""
    program = "import worker, schemas, migrations; print(worker.__file__, schemas.__file__, migrations.__file__)"
    places = _run([str(installed.with_name("python")), "-c", program], cwd=tmp_path).split()
    assert len(places) == 3
    assert all(Path(place).is_relative_to(installed.parents[1]) for place in places), places


def test_wheel_contains_every_data_file(installed: Path, tmp_path: Path) -> None:
    """Revisions and JSON Schemas, and the versions agree."""
    assert _run([str(installed), "--version"], cwd=tmp_path).startswith("rudder-worker ")
    [packages] = installed.parents[1].glob("lib/python*/site-packages")
    for pattern in ("migrations/versions/*.py", "schemas/**/*.json", "worker/py.typed"):
        named = (path.relative_to(ROOT) for path in ROOT.glob(pattern))
        expected = sorted(str(path) for path in named if not path.is_relative_to("schemas/history"))
        assert sorted(str(path.relative_to(packages)) for path in packages.glob(pattern)) == expected
    assert list(packages.glob("tests*")) == []


async def test_installed_command_migrates_publishes_and_runs(installed: Path, bare_system: System) -> None:
    """From an empty folder, against a broker and a database."""
    builder, settings = ReleaseRecords(), bare_system.settings

    def command(*arguments: str, name: str) -> WorkerProcess:
        return WorkerProcess(
            *arguments,
            settings=settings,
            folder=bare_system.folder,
            name=name,
            command=[str(installed)],
            python_path=None,
        )

    with command("migrate", name="migrate") as migrating:
        assert await migrating.ended() == 0, migrating.output()
    events = [json.dumps(_structured(record.value, record.headers)) for record in builder.approved()]
    lines = bare_system.folder / "events.jsonl"
    await asyncio.to_thread(lines.write_text, "\n".join(events), "utf-8")
    with command("publish", "--file", str(lines), name="publish") as publishing:
        assert await publishing.ended() == 0, publishing.output()
    with command("run", name="run") as worker:
        await worker.ready()
        await bare_system.caught_up(worker)
        assert await worker.stop() == 0
    [release] = (await bare_system.rows())["releases"]
    assert (release["id"], release["status"]) == (builder.release_id, "APPROVED")


def _structured(value: bytes | None, headers: tuple[tuple[str, bytes | None], ...]) -> dict[str, object]:
    attributes = {name[3:]: (text or b"").decode() for name, text in headers if name.startswith("ce_")}
    return {**attributes, "data": json.loads(value or b"")}
