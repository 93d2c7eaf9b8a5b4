"""The parts of a database URL, which is written as SQLAlchemy's URLs are.

It is read without SQLAlchemy, which takes more than 20 MB: a worker on PostgreSQL needs nothing else of it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, quote_plus, unquote

_FORM: Final = re.compile(
    r"(?P<drivername>[\w+]+)://"
    r"(?:(?P<username>[^:/]*)(?::(?P<password>[^@]*))?@)?"
    r"(?:\[(?P<ipv6_host>[^/?]+)\]|(?P<host>[^/:?]+))?"
    r"(?::(?P<port>[^/?]*))?"
    r"(?:/(?P<database>[^?]*))?"
    r"(?:\?(?P<query>.*))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseUrl:
    """The parts, decoded. `query`: a parameter that is given several times has a tuple."""

    drivername: str
    username: str | None = None
    password: str | None = None
    host: str | None = None
    port: int | None = None
    database: str | None = None
    query: Mapping[str, str | tuple[str, ...]]

    def masked(self) -> str:
        """As text, with asterisks for the password."""
        password = "" if self.password is None else ":***"
        login = "" if self.username is None else f"{quote(self.username, safe=' +')}{password}@"
        host = self.host or ""
        host = f"[{host}]" if ":" in host else host
        port = "" if self.port is None else f":{self.port}"
        database = "" if self.database is None else f"/{quote(self.database, safe=' +/')}"
        parameters = [
            f"{quote_plus(name)}={quote_plus(each)}"
            for name, value in sorted(self.query.items())
            for each in ((value,) if isinstance(value, str) else value)
        ]
        query = f"?{'&'.join(parameters)}" if parameters else ""
        return f"{self.drivername}://{login}{host}{port}{database}{query}"


def url_parts(url: str) -> DatabaseUrl:
    """As SQLAlchemy's `make_url`. Raises ValueError for a text that is no such URL."""
    match = _FORM.match(url)
    if match is None:
        raise ValueError("no database URL")
    query: dict[str, str | tuple[str, ...]] = {}
    for name, value in parse_qsl(match["query"] or ""):
        earlier = query.get(name)
        query[name] = value if earlier is None else (*((earlier,) if isinstance(earlier, str) else earlier), value)
    decoded = {name: match[name] and unquote(match[name]) for name in ("username", "password", "database")}
    return DatabaseUrl(
        drivername=match["drivername"],
        host=match["host"] or match["ipv6_host"],
        port=int(match["port"]) if match["port"] else None,
        query=query,
        **decoded,
    )
