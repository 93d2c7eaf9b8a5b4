"""Where npm packages come from: `npm ci` with a lock file once, and the repository's cache ever after."""

import fcntl
import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CACHE = Path(__file__).parents[2] / ".cache" / "npm"
_FILES = ("package.json", "package-lock.json", ".npmrc")
_NPM_TIMEOUT_SECONDS = 300
_OUTPUT_TAIL_CHARACTERS = 2_000


class NodeUnavailable(Exception):
    """There is no Node.js on this machine, or npm cannot install the packages; the message says why."""


def node() -> str:
    """The path of `node`. NodeUnavailable."""
    found = shutil.which("node")
    if found is None:
        raise NodeUnavailable("there is no node")
    return found


def node_modules(folder: Path) -> Path:
    """The installed packages of a folder with `package.json`, `package-lock.json` and `.npmrc`. NodeUnavailable."""
    contents = b"".join((folder / name).read_bytes() for name in _FILES)
    installed = _CACHE / folder.name
    # The mark holds the digest and is written last: half an installation, or one of other packages, does not count.
    mark, digest = installed / "installed", hashlib.sha256(contents).hexdigest()
    installed.mkdir(parents=True, exist_ok=True)
    with _locked(installed / "lock"):
        if not (mark.is_file() and mark.read_text(encoding="ascii") == digest):
            for name in _FILES:
                shutil.copy(folder / name, installed / name)
            _install(installed)
            mark.write_text(digest, encoding="ascii")
    return installed / "node_modules"


def _install(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise NodeUnavailable("the packages are not in the cache and there is no npm to install them")
    done = subprocess.run(
        [npm, "ci", "--prefer-offline", "--no-progress"],
        cwd=folder,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_NPM_TIMEOUT_SECONDS,
    )
    if done.returncode != 0:
        raise NodeUnavailable(f"npm could not install the packages: {done.stdout[-_OUTPUT_TAIL_CHARACTERS:]}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
