"""A service's user may not look into the folder that HOME names: PostgreSQL is connected to all the same."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import asyncio, os, pwd, sys
import asyncpg
from tests.conformance.stores import migrate, opened

async def connect():
    async with opened(sys.argv[1], check=False) as store:
        await store.ping()

asyncio.run(migrate(sys.argv[1]))
asyncio.run(connect())  # what is imported by the way must be readable, too
if os.geteuid() == 0:
    nobody = pwd.getpwnam("nobody")
    os.setgroups([]), os.setgid(nobody.pw_gid), os.setuid(nobody.pw_uid)
os.environ["HOME"] = sys.argv[2]
asyncio.run(connect())
from worker.db.postgresql import default_files as postgresql_default_files
asyncpg.connect_utils._dot_postgresql_path = postgresql_default_files._path
try:
    asyncio.run(asyncpg.connect(sys.argv[1].replace("+asyncpg", "")))
except PermissionError:
    print("asyncpg alone does not connect")
"""


def test_postgresql_connects_without_a_readable_home(postgres_url: str, tmp_path: Path) -> None:
    """Once asyncpg alone connects as well, `worker.db.postgresql.default_files` can go."""
    home = tmp_path / "home"
    home.mkdir(mode=0o000)
    command = [sys.executable, "-c", PROGRAM, postgres_url, str(home)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (ended.returncode, ended.stdout) == (0, "asyncpg alone does not connect\n"), ended.stderr
