"""Results on standard output, for a command that must finish even if no one reads them."""

import json
import os
import sys

from worker.cli.exits import complain


class Results:
    """Writes lines until that fails; then it writes nothing more, and the command continues.

    A closed pipe (`| head -1`) is not a failure. For any other error `failed` is set, and one line is printed on
    standard error. Characters that the encoding does not have are written as escapes.
    """

    def __init__(self) -> None:
        self._open = sys.stdout is not None
        self.failed = False
        if self._open:
            reconfigure = getattr(sys.stdout, "reconfigure", None)
            if reconfigure is not None:  # not in tests that replace it
                reconfigure(errors="backslashreplace")
        # An escape of the encoding would not be valid JSON.
        self._all_ascii = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") != "utf8"

    def line(self, text: str) -> None:
        """Write one line, at once."""
        if not self._open:
            return
        try:
            print(text, flush=True)
        except BrokenPipeError:
            self._close()
        except OSError as error:
            self._close()
            self.failed = True
            complain(f"standard output cannot be written: {error.strerror}; no more results are printed")

    def json(self, value: object) -> None:
        """Write one line of JSON."""
        self.line(json.dumps(value, ensure_ascii=self._all_ascii))

    def _close(self) -> None:
        """Redirect standard output to the null device: the interpreter flushes it at exit, which would fail again."""
        self._open = False
        devnull = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(devnull, sys.stdout.fileno())
        finally:
            os.close(devnull)
