"""Brings a database to a revision, from code: the installed package has no alembic.ini.

The functions that change a database run an event loop of their own and so are called outside of any. All revisions on
the way are one transaction.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import URL, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

import migrations
from worker.db.dialect import dialect_of
from worker.db.engine import completed_url, connect_arguments
from worker.rules.errors import ConfigurationError
from worker.telemetry import LogEvent

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.migrations")


class MigrationFailed(ConfigurationError):
    """The database refused it, or there is no such revision, or no way to it. The database is as it was."""


def upgrade(url: str, revision: str = "head", *, lock_timeout_seconds: int | None = None) -> None:
    """Migrates the database up to `revision`. `lock_timeout_seconds`: how long another migration is waited for.

    Raises:
        MigrationFailed: nothing was changed.
    """
    with _reporting(url, revision):
        command.upgrade(_connecting(url, lock_timeout_seconds), revision)


def downgrade(url: str, revision: str) -> None:
    """Migrates the database down to `revision`; `base` takes back everything the migrations made.

    Raises:
        MigrationFailed: nothing was changed.
    """
    with _reporting(url, revision):
        command.downgrade(_connecting(url), revision)


def script(url: str, *, start: str | None = None, revision: str = "head") -> str:
    """The SQL that leads from `start` (default: an empty database) to `revision`, up or down, for a DBA to run.

    Of `url` only the kind of database matters: nothing is connected to and no driver is loaded. Downwards, `start`
    defaults to the head.
    """
    text = StringIO()
    config = _config(url, output=text)
    scripts = ScriptDirectory.from_config(config)
    with _reporting(url, revision):
        if _leads_down(scripts, start=start, revision=revision):
            command.downgrade(config, f"{start or 'head'}:{revision}", sql=True)
        else:
            command.upgrade(config, f"{start}:{revision}" if start else revision, sql=True)
    return text.getvalue()


@contextmanager
def _reporting(url: str, revision: str) -> Iterator[None]:
    try:
        yield
    except (CommandError, RevisionError) as error:
        raise MigrationFailed(f"no way from where the database is to revision {revision}: {error}") from error
    except Exception as error:
        # What a driver raises depends on the driver: what it takes for its own is the database's answer.
        if not isinstance(error, SQLAlchemyError) and dialect_of(url).reaction(error) is None:
            raise
        text = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        raise MigrationFailed(f"the migration to revision {revision} failed and changed nothing: {text}") from error


def _connecting(url: str, lock_timeout_seconds: int | None = None) -> Config:
    config = _config(completed_url(url))
    config.attributes["connect_args"] = connect_arguments(url)
    config.attributes["waiting"] = _log_waiting
    if lock_timeout_seconds is not None:
        config.attributes["lock_timeout_seconds"] = lock_timeout_seconds
    return config


def _log_waiting(timeout_seconds: int) -> None:
    _log.warning(LogEvent.MIGRATION_WAITING, timeout_seconds=timeout_seconds)


def _config(url: str | URL | None = None, *, output: StringIO | None = None) -> Config:
    config = Config(output_buffer=output)
    config.set_main_option("path_separator", "os")
    # ConfigParser reads a per cent sign as the start of an interpolation.
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    if url is not None:
        # As an attribute, not an option: a password may hold per cent signs, and an option would be text without one.
        config.attributes["url"] = make_url(url)
    return config


def _leads_down(scripts: ScriptDirectory, *, start: str | None, revision: str) -> bool:
    if revision == "base":
        return True
    if start is None:
        return False
    target = scripts.get_revision(revision)
    below = [step.revision for step in scripts.iterate_revisions(start, "base")]
    return target is not None and target.revision in below[1:]
