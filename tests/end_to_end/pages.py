"""The commands of the pages, run as a reader types them.

A page's `sh` blocks are run in order by one shell, in an empty folder. A comment on the line above
a block changes that:

`<!-- not run: REASON -->`     the block is not run
`<!-- terminal: NAME -->`      it is run in the background until the end of the page, in a terminal of its own
`<!-- file: NAME -->`          it is saved as a file; in any language
`<!-- output -->`              what the block before has printed; `…` is any text, alone on a line any lines
`<!-- output: NAME -->`        what the terminal has printed since its last such block; waited for

A comment without a block is a step that no command of the page makes:

`<!-- interrupt: NAME -->`     Ctrl-C in the terminal, and the end of its command
`<!-- event: NAME -->`         what happens to the reader, such as an outage; the test causes it
"""

import asyncio
import os
import re
import shlex
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.conformance.deadlines import WAIT_SECONDS
from tests.testkit.forked_command import forked_command
from worker.demo.broker import dying_with_parent

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

SHELL = "sh"
SHELLS = frozenset({SHELL, "bash", "console", "shell", "zsh"})
"""Languages whose blocks are run, unless a comment gives the reason why not."""

ANY: Final = "…"
_BLOCK = re.compile(
    r"""^(?:<!--\ (?P<mark>[^\n]*)\ -->\n)?
    (?P<indent>\ *)```(?P<language>\w*)\n
    (?P<text>.*?)
    ^(?P=indent)```$""",
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
_MARK = re.compile(r"(not run|terminal|file|output)(?:: (.*))?")
_STEP = re.compile(r"^<!-- (?P<mark>interrupt|event): (?P<argument>[^\n]*) -->$", re.MULTILINE)
_KAFKA_PORT = "9092"
_HTTP_PORT = "8080"
_GATEWAY_PORT = "8088"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page, or a step without one, which has no text. `mark` and `argument` are those of the
    comment.
    """

    line: int
    language: str
    text: str
    mark: str | None = None
    argument: str | None = None

    @property
    def is_run(self) -> bool:
        return self.language == SHELL and self.mark is None


def pages() -> Sequence[Path]:
    """Every page of the site, and the README."""
    return [ROOT / "README.md", *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)]


def blocks(text: str) -> Sequence[Block]:
    """The blocks and steps of a page, in its order."""
    found = [
        Block(
            line=text.count("\n", 0, step.start()) + 1,
            language="",
            text="",
            mark=step["mark"],
            argument=step["argument"],
        )
        for step in _STEP.finditer(text)
    ]
    for match in _BLOCK.finditer(text):
        marked = None if match["mark"] is None else _MARK.fullmatch(match["mark"])
        found.append(
            Block(
                line=text.count("\n", 0, match.start("indent")) + 1,
                language=match["language"],
                text=textwrap.dedent(match["text"]),
                mark=marked and marked[1],
                argument=marked and marked[2],
            )
        )
    return sorted(found, key=lambda block: block.line)


def output_pattern(expected: str) -> re.Pattern[str]:
    """The pattern of the outputs that match an output block."""
    lines = [
        "(?:.*\n)*?" if line == ANY else ".*".join(map(re.escape, line.split(ANY))) + "\n"
        for line in expected.splitlines()
    ]
    return re.compile("".join(lines))


class Failed(Exception):
    """A page's command failed, or printed something else than the page says."""


@dataclass(slots=True)
class Terminal:
    """A shell and its output."""

    process: asyncio.subprocess.Process
    output: str = ""
    _seen: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _ended: bool = False

    async def read(self) -> None:
        """Collects the output until its end."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            async with self._changed:
                self.output += line.decode()
                self._changed.notify_all()
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def shown(self, expected: str) -> None:
        """Returns once the output since the last call has `expected`. Raises Failed at the end of the output."""
        pattern = output_pattern(expected)

        def found() -> bool:
            return pattern.search(self.output, self._seen) is not None

        try:
            async with asyncio.timeout(WAIT_SECONDS), self._changed:
                await self._changed.wait_for(lambda: found() or self._ended)
        except TimeoutError:
            pass  # what is missing is named below
        match = pattern.search(self.output, self._seen)
        if match is None:
            raise Failed(f"expected:\n{expected}\nfound:\n{self.output[self._seen :]}")
        self._seen = match.end()

    async def interrupt(self) -> None:
        """Sends Ctrl-C and waits for the end of the process; nothing to do if it has ended."""
        if self.process.returncode is not None:
            return
        with suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(self.process.pid, signal.SIGINT)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self.process.wait()
        finally:
            if self.process.returncode is None:
                os.killpg(self.process.pid, signal.SIGKILL)
                await self.process.wait()


@dataclass(slots=True)
class Reader:
    """Follows pages in `folder`, as a reader would. Ports of the pages are replaced by those of `environment`."""

    folder: Path
    environment: Mapping[str, str]
    events: Mapping[str, Callable[[], None]]
    """By the name that pages give them; they block."""
    _stack: AsyncExitStack
    _terminals: dict[str, Terminal] = field(default_factory=dict)
    _shell: asyncio.subprocess.Process | None = None
    _printed: str = ""
    _scripts: int = 0

    async def follow(self, page: Path) -> str:
        """Runs the blocks of the page and returns their output. Raises Failed with the line of the page."""
        printed = ""
        for block in blocks(await asyncio.to_thread(page.read_text, "utf-8")):
            try:
                await self._do(block)
            except Failed as failure:
                raise Failed(f"{page.name}:{block.line}: {failure}") from None
            if block.is_run:
                printed += self._printed
        return printed

    async def run(self, script: str) -> str:
        """Runs the script in the reader's shell and returns both output streams. Raises Failed."""
        if self._shell is None:
            self._shell = await self._process("bash", "-euo", "pipefail", stdin=asyncio.subprocess.PIPE)
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._scripts += 1
        path, output = (self.folder / f".script-{self._scripts}{suffix}" for suffix in (".sh", ".out"))
        path.write_text(script, encoding="utf-8")
        self._shell.stdin.write(
            f". {shlex.quote(str(path))} </dev/null >{shlex.quote(str(output))} 2>&1; echo\n".encode()
        )
        try:
            ended = await asyncio.wait_for(self._shell.stdout.readline(), WAIT_SECONDS)
        except TimeoutError:
            ended = b""
        printed = output.read_text(encoding="utf-8")
        if not ended:
            raise Failed(f"a command failed or did not end:\n{script}\nit printed:\n{printed}")
        return printed

    async def _do(self, block: Block) -> None:
        text = block.text
        for port, used in (
            (_KAFKA_PORT, self._kafka_port),
            (_HTTP_PORT, self.environment["RUDDER_HTTP_PORT"]),
            (_GATEWAY_PORT, self.environment.get("RUDDER_GATEWAY_PORT", _GATEWAY_PORT)),
        ):
            text = text.replace(port, used)
        if block.is_run:
            self._printed = await self.run(text)
        elif block.mark == "terminal":
            assert block.argument is not None
            await self.open(block.argument, text)
        elif block.mark == "file":
            assert block.argument is not None
            (self.folder / block.argument).write_text(text, encoding="utf-8")
        elif block.mark == "interrupt":
            assert block.argument is not None
            await self._terminals[block.argument].interrupt()
        elif block.mark == "event":
            assert block.argument is not None
            if block.argument not in self.events:
                raise Failed(f"the test causes no event of this name: {block.argument}")
            await asyncio.to_thread(self.events[block.argument])
        elif block.mark == "output" and block.argument is not None:
            await self._terminals[block.argument].shown(text)
        elif block.mark == "output" and output_pattern(text).fullmatch(self._printed) is None:
            raise Failed(f"expected:\n{text}\nfound:\n{self._printed}")

    @property
    def _kafka_port(self) -> str:
        return self.environment["RUDDER_KAFKA_BOOTSTRAP_SERVERS"].rpartition(":")[2]

    async def open(self, name: str, script: str) -> Terminal:
        """A terminal that runs the script until the end."""
        terminal = self._terminals[name] = Terminal(await self._process("bash", "-euo", "pipefail", "-c", script))
        reading = asyncio.create_task(terminal.read())
        self._stack.push_async_callback(asyncio.wait_for, reading, WAIT_SECONDS)
        self._stack.push_async_callback(terminal.interrupt)
        return terminal

    async def _process(self, *command: str, stdin: int = asyncio.subprocess.DEVNULL) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *dying_with_parent(list(command)), cwd=self.folder, env=self.environment, start_new_session=True,
            stdin=stdin, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        if stdin == asyncio.subprocess.PIPE:
            self._stack.push_async_callback(_close, process)
        return process


async def _close(shell: asyncio.subprocess.Process) -> None:
    assert shell.stdin is not None
    shell.stdin.close()
    try:
        await asyncio.wait_for(shell.communicate(), WAIT_SECONDS)
    finally:
        if shell.returncode is None:
            os.killpg(shell.pid, signal.SIGKILL)
            await shell.wait()


@asynccontextmanager
async def reader(
    folder: Path,
    settings: Mapping[str, str],
    *,
    programs: Sequence[Path] = (),
    events: Mapping[str, Callable[[], None]] = MappingProxyType({}),
) -> AsyncIterator[Reader]:
    """A reader with the worker's command on the path; its terminals are interrupted at the end, the last one first.

    `programs`: further folders of the path. `events`: what pages name in `event` comments.
    """
    async with AsyncExitStack() as stack:
        command = stack.enter_context(forked_command())
        path = [command, Path(sys.executable).parent, *programs]
        environment = {
            "PATH": os.pathsep.join([*map(str, path), os.environ["PATH"]]),
            "HOME": str(folder),
            "PYTHONUNBUFFERED": "1",
            **settings,
        }
        yield Reader(folder, environment, events, stack)
