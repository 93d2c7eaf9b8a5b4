"""Brings a database to a revision, from code: the installed package has no alembic.ini.

The functions that change a database run an event loop of their own and so are called outside of any.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import URL, make_url

import migrations
from worker.db.engine import completed_url


class RevisionUnreachable(Exception):
    """There is no such revision, or no way to it from where the database is."""


def upgrade(url: str, revision: str = "head") -> None:
    """Migrates the database up to `revision`. Each revision commits on its own; a failed one leaves no trace."""
    with _reaching(revision):
        command.upgrade(_config(completed_url(url)), revision)


def downgrade(url: str, revision: str) -> None:
    """Migrates the database down to `revision`; `base` takes back everything the migrations made."""
    with _reaching(revision):
        command.downgrade(_config(completed_url(url)), revision)


def script(url: str, *, start: str | None = None, revision: str = "head") -> str:
    """The SQL that leads from `start` (default: an empty database) to `revision`, up or down, for a DBA to run.

    Of `url` only the kind of database matters: nothing is connected to and no driver is loaded. Downwards, `start`
    defaults to the head.
    """
    text = StringIO()
    config = _config(url, output=text)
    scripts = ScriptDirectory.from_config(config)
    with _reaching(revision):
        if _leads_down(scripts, start=start, revision=revision):
            command.downgrade(config, f"{start or 'head'}:{revision}", sql=True)
        else:
            command.upgrade(config, f"{start}:{revision}" if start else revision, sql=True)
    return text.getvalue()


@contextmanager
def _reaching(revision: str) -> Iterator[None]:
    try:
        yield
    except (CommandError, RevisionError) as error:
        raise RevisionUnreachable(f"no way from where the database is to revision {revision}: {error}") from error


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
