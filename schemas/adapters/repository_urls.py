"""Read the name of a Git repository from its URL."""

import re
from typing import Final
from urllib.parse import unquote

from schemas.adapters.repositories import host_of, path_of

_SCP: Final = re.compile(r"(?:[^@/:\s]+@)?[^@/:\s]+:(?!/)(\S+)")
_API_PATH: Final = "repos/"
"""Of the REST API of GitHub, whose URLs Azure DevOps sends."""


def repository_of(url: str | None) -> str | None:
    """The full name of a Git repository (`acme/shop`) from its URL, of HTTPS, SSH or `git@github.com:acme/shop.git`.

    Of Azure DevOps' URLs it is what follows `/_git/`.
    """
    if url is None:
        return None
    url = url.removeprefix("git+")
    if host_of(url) is not None:
        path = path_of(url)
    else:
        found = _SCP.fullmatch(url)
        path = found[1] if found is not None else None
    name = unquote(path or "").strip("/").removesuffix(".git").removeprefix(_API_PATH).rpartition("_git/")[2]
    return name or None
