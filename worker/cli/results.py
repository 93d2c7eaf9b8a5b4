"""Results on standard output, for a command whose work must not depend on who reads them."""

import json
import os
import sys

from worker.cli.exits import complain


class Results:
    """Writes lines until that fails; from then on nothing is written, and the command goes on.

    A reader that has seen enough (`| head -1`) is no failure. A device that refuses the lines is: `failed` is then set,
    and one line on standard error says so. What the terminal's encoding does not have is written as an escape.
    """

    def __init__(self) -> None:
        self._open = sys.stdout is not None
        self.failed = False
        if self._open:
            reconfigure = getattr(sys.stdout, "reconfigure", None)
            if reconfigure is not None:  # a test's stand-in has none
                reconfigure(errors="backslashreplace")
        # An escape of the terminal's encoding is none of JSON's.
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
            complain(f"standard output cannot be written, and no more is written there: {error.strerror}")

    def json(self, value: object) -> None:
        """Write one line of JSON."""
        self.line(json.dumps(value, ensure_ascii=self._all_ascii))

    def _close(self) -> None:
        """Point standard output elsewhere, or the interpreter would try once more at its end, and fail."""
        self._open = False
        devnull = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(devnull, sys.stdout.fileno())
        finally:
            os.close(devnull)
