"""PgBouncer in front of the tests' PostgreSQL, if Debian's package is installed."""

import os
import pwd
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url

from tests.testkit.availability import started
from tests.testkit.server_process import ServerProcess
from worker.demo.broker import free_port

_START_TIMEOUT_SECONDS = 20.0
_PLACES = ("/usr/sbin/pgbouncer", "/usr/local/bin/pgbouncer", "/opt/homebrew/bin/pgbouncer")


class PgbouncerMissing(Exception):
    """PgBouncer is not installed on this machine."""


class Pgbouncer:
    """One pooler with a configuration of its own, on a free port of 127.0.0.1. It accepts every login."""

    def __init__(self, url: str, *, pool_mode: str, **settings: str) -> None:
        """`url`: that of the database. `settings`: PgBouncer's."""
        binary = shutil.which("pgbouncer") or next(filter(os.path.exists, _PLACES), None)
        if binary is None:
            raise PgbouncerMissing("pgbouncer is not installed: apt-get install pgbouncer")
        behind = make_url(url)
        self._port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="rudder-pgbouncer-"))
        lines = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self._port),
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": pool_mode,
            **settings,
        }
        configuration = self._folder / "pgbouncer.ini"
        configuration.write_text(
            f"[databases]\n* = host={behind.host} port={behind.port} user={behind.username}\n[pgbouncer]\n"
            + "".join(f"{name} = {value}\n" for name, value in lines.items())
        )
        user, group = _unprivileged()
        if user is not None and group is not None:
            for path in (self._folder, configuration):
                os.chown(path, user, group)
        self._child = ServerProcess([binary, str(configuration)], log=self._folder / "log", user=user, group=group)
        self.url = behind.set(host="127.0.0.1", port=self._port).render_as_string(hide_password=False)

    def start(self) -> None:
        self._child.start(ready=self._ready, timeout_seconds=_START_TIMEOUT_SECONDS)

    def close(self) -> None:
        self._child.end(signal.SIGTERM)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1.0):
                return True
        except OSError:
            return False


@contextmanager
def pgbouncer(url: str, *, pool_mode: str, **settings: str) -> Iterator[str]:
    """The URL of the same database through a pooler."""
    with started("pgbouncer", lambda: Pgbouncer(url, pool_mode=pool_mode, **settings), missing=PgbouncerMissing) as own:
        yield own.url


def _unprivileged() -> tuple[int | None, int | None]:
    """The user and group that run it: PgBouncer refuses to run as root."""
    if os.geteuid() != 0:
        return None, None
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid
